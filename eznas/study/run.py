"""A run from its settings to its result: prepare, evolve, choose, measure, write."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from eznas.errors import ConfigError, RunError
from eznas.evolution import Search, check_objectives, check_seeds
from eznas.fitness import objectives_named
from eznas.programs import Program, parse
from eznas.proxies import ProgramProxy, proxy_named, published_proxy
from eznas.runs import Candidate, Journal, RunFolder, SearchState, hall_of_fame, load_front
from eznas.runs.badges import load_badges
from eznas.runs.config import RunConfig, changed_config, config_from, load_config, to_toml
from eznas.runs.journal import GROWING
from eznas.runs.manifest import MANIFEST, Extension, Manifest
from eznas.runs.records import GenerationSummary
from eznas.runs.stopping import is_finished, stopped_by
from eznas.statistics import in_use
from eznas.study.badges import measure_badges
from eznas.study.evaluate import StoreScores, bank_evaluator, capture_stores, make_assessor, make_evaluator
from eznas.study.interim import Interim
from eznas.study.machine import Machine, check_machine, open_workers, single_threaded
from eznas.study.manifest import DATA, DEVICE, data_of, make_manifest, version_changes, with_versions_noted
from eznas.study.measure import FoldResult, measure, pick_of_fold
from eznas.study.observer import Observer, Silent
from eznas.study.outlook import outline_of
from eznas.study.problem import Given, Problem, prepare
from eznas.study.results import Study
from eznas.workers import Pool

ShouldStop = Callable[[], bool]
READING = "Reading the networks and their accuracies"


def evolve(
    config: RunConfig | Path | str | None = None,
    *,
    networks: Any = None,
    accuracies: Any = None,
    images: Any = None,
    run_dir: Path | str | None = None,
    machine: Machine | None = None,
    observer: Observer | None = None,
    should_stop: ShouldStop = lambda: False,
) -> Study:
    """Evolve proxies and measure the best on networks they have never seen.

    Args:
        config: settings, or the path of a TOML file with them; None takes the defaults.
        networks: of your own, in place of those the settings name: a mapping or pairs of names and modules, or of names
            and functions that make modules; or ``python:package.module:function``.
        accuracies: of your own networks: a CSV file, a mapping from names to accuracies, rows, or a data frame.
        images: (images, classes) to excite your networks with, (batch, channels, height, width) and (batch,).
        run_dir: a new or empty folder for the run; None makes one under ``runs/``.
        machine: workers, device, cache.
        observer: told how it goes on; without one `eznas.study` is silent, and `eznas` shows it where somebody looks.
        should_stop: asked after every generation.

    Returns:
        The finished run, or, if stopped early, a run without a front that `resume` can go on with. A run on networks
        that were handed over as objects is gone on with by `resume` with the same objects.

    Raises:
        EznasError: with one readable sentence.
    """
    settings = config if isinstance(config, RunConfig) else load_config(Path(config) if config is not None else None)
    settings, given = _with_given(settings, networks, accuracies, images)
    machine = machine or Machine()
    check_machine(machine)
    problem = _prepared(settings, given, observer)
    folder = RunFolder.create(Path(run_dir) if run_dir is not None else new_run_path(settings))
    return _begun(folder, problem, machine, observer, should_stop, None)


def resume(
    run_dir: Path | str,
    *,
    networks: Any = None,
    accuracies: Any = None,
    images: Any = None,
    machine: Machine | None = None,
    observer: Observer | None = None,
    should_stop: ShouldStop = lambda: False,
    any_version: bool = False,
) -> Study:
    """Go on with a run from its last finished generation; the result equals that of an undisturbed run.

    A finished run is left as it is.

    Args:
        run_dir: folder of the run.
        networks, accuracies, images: as `evolve` was given them, if they were objects.
        machine: workers, device, cache.
        observer: told how it goes on; without one `eznas.study` is silent, and `eznas` shows it where somebody looks.
        should_stop: asked after every generation.
        any_version: go on with other versions of packages than before, and note it in the manifest; the result may
            then differ from that of an undisturbed run.

    Raises:
        RunError: if the folder is not a run, is damaged or locked, or its settings, files or versions or the data it
            was started with have changed.
    """
    machine = machine or Machine()
    check_machine(machine)
    folder = RunFolder.open(Path(run_dir))
    recorded = Manifest.read(folder.path)
    changes = {} if _is_complete(folder) else _version_changes(folder, recorded, machine.device, any_version)
    settings = load_config(folder.path / "config.toml")
    recorded.check_settings(settings, folder.path)
    settings, given = _with_given(settings, networks, accuracies, images)
    (observer or Silent()).stage(READING)
    problem = prepare(settings, given)
    _check_data(folder, recorded, problem)
    with folder.writing():
        if changes:
            folder.replace(MANIFEST, with_versions_noted(folder.manifest(), machine.device).model_dump_json(indent=1))
        return _run(folder, problem, machine, observer or Silent(), should_stop)


def extend(
    run_dir: Path | str,
    overrides: Sequence[str] = (),
    *,
    new_dir: Path | str | None = None,
    networks: Any = None,
    accuracies: Any = None,
    images: Any = None,
    machine: Machine | None = None,
    observer: Observer | None = None,
    should_stop: ShouldStop = lambda: False,
) -> Study:
    """A new run that begins with the archive of a finished one, under changed settings; the old run stays as it is.

    If the networks, accuracies and conditions are those of the old run, every program it evaluated is taken over with
    its scores, and the new run goes on from its last generation: with more generations alone it ends as a run that had
    been asked for as many from the start. Otherwise the best programs of the old run are evaluated anew as seeds.

    Args:
        run_dir: folder of the finished run.
        overrides: settings to change as ``section.key=value``, such as ``evolution.n_generations=80``.
        new_dir: a new or empty folder; None makes one under ``runs/``.
        networks, accuracies, images, machine, observer, should_stop: as `evolve`.

    Raises:
        RunError: if the old run is not finished.
        ConfigError: if nothing is left to do.
    """
    machine = machine or Machine()
    check_machine(machine)
    old = RunFolder.open(Path(run_dir))
    load_front(old.path)  # a finished run has one
    recorded = old.manifest()
    before = load_config(old.path / "config.toml")
    recorded.check_settings(before, old.path)
    settings, given = _with_given(changed_config(before, overrides), networks, accuracies, images)
    problem = _prepared(settings, given, observer)
    state = Journal(old, before.checkpoints).load(read_only=True)
    is_same = DEVICE not in version_changes(recorded, machine.device) and _data_differences(recorded, problem) == []
    goes_on = is_same and _same_search(before, settings)
    stop = stopped_by(settings.evolution, state) if goes_on else None
    if stop is not None:
        more = {"n_generations": str(2 * max(state.generation, 1)), "target": "''"}.get(stop.setting, "0")
        raise ConfigError(
            f"Run {old.path} has {state.generation} generations already, and so many are asked for ({stop.reason}); "
            f"extend it with --set evolution.{stop.setting}={more}"
        )
    archive = [] if goes_on else _fitting(settings, hall_of_fame(state))[:N_ARCHIVE]
    extends = Extension(
        run=old.path.resolve().name,
        settings_digest=recorded.settings_digest,
        goes_on=goes_on,
        seeds=tuple(program.text for program in archive),
        n_learnt_from=0 if goes_on or problem.folds else _n_learnt_from(recorded, problem),
    )
    folder = RunFolder.create(Path(new_dir) if new_dir is not None else new_run_path(settings))
    return _begun(folder, problem, machine, observer, should_stop, extends, (old, state) if goes_on else None)


N_ARCHIVE = 60
"""Best programs of a finished run that a run on other data begins with."""


def _same_search(before: RunConfig, after: RunConfig) -> bool:
    """Whether programs of the two runs are assessed alike, and bred in the same language from the same seeds."""
    keys = ("primitive_set", "objectives", "aggregate", "direction", "seeds", "max_size", "max_height")
    samples = zip(before.all_samples, after.all_samples, strict=False)
    return all(getattr(before.evolution, key) == getattr(after.evolution, key) for key in keys) and all(
        one.weight == other.weight and before.probe_of(one).storage == after.probe_of(other).storage
        for one, other in samples
    )


def _fitting(settings: RunConfig, archive: Sequence[Candidate]) -> list[Program]:
    """The programs of an archive that the language and the limits of a run allow."""
    found = []
    for candidate in archive:
        with suppress(ConfigError):
            check_seeds(settings.evolution, [candidate.program])
            found.append(candidate.program)
    return found


def _n_learnt_from(recorded: Manifest, problem: Problem) -> int:
    """Networks to report on that the extended run evolved or selected on."""
    learnt = {spec for sample in recorded.samples for part in ("evolve", "select") for spec in sample.networks[part]}
    return sum(arch.spec in learnt for family in problem.families for arch in family.networks("report"))


def _begun(
    folder: RunFolder,
    problem: Problem,
    machine: Machine,
    observer: Observer | None,
    should_stop: ShouldStop,
    extends: Extension | None,
    taken_over: tuple[RunFolder, SearchState] | None = None,
) -> Study:
    """A new run in its folder, perhaps with all programs of another; nothing of it stays if it fails before its first
    generation."""
    with folder.writing():
        try:
            folder.replace("config.toml", to_toml(problem.config))
            folder.replace(MANIFEST, make_manifest(problem, extends, machine.device).model_dump_json(indent=1))
            if taken_over is not None:  # last: a run that is killed before it is resumed from nothing
                old, state = taken_over
                for name in GROWING:
                    shutil.copyfile(old.path / name, folder.path / name)
                Journal(folder, problem.config.checkpoints).adopt(state)
            return _run(folder, problem, machine, observer or Silent(), should_stop)
        except Exception:
            folder.discard_unless_begun()
            raise


def _run(folder: RunFolder, problem: Problem, machine: Machine, observer: Observer, should_stop: ShouldStop) -> Study:
    """All that is left to do of a run, or as much of it as there is time for until it is asked to stop."""
    try:
        return _run_to_the_end(folder, problem, machine, observer, should_stop)
    except KeyboardInterrupt:
        if should_stop():  # whoever asked did not wait for the end of a generation, a capture or a measurement
            return Study(folder.path)
        raise


def _run_to_the_end(
    folder: RunFolder, problem: Problem, machine: Machine, observer: Observer, should_stop: ShouldStop
) -> Study:
    config = problem.config
    if _is_complete(folder):
        Journal(folder, config.checkpoints).load(read_only=True)  # refuses one that was changed
        return Study(folder.path)
    extends = Manifest.read(folder.path).extends
    problem = _with_notes(problem, extends)
    named = [seed_named(text) for text in config.evolution.seeds]
    archive = [parse(text) for text in (extends.seeds if extends else ())]
    observer.begin(outline_of(problem, machine))
    with single_threaded(), open_workers(machine, observer) as pool, ExitStack() as held:
        job = _Job(problem, machine, observer, pool, should_stop, named, held)
        state = job.search(folder, problem, "Evolving", archive, Interim(folder, config))
        if not is_finished(config.evolution, state):
            return Study(folder.path)
        results: list[FoldResult] = []
        for number in range(len(problem.folds)):
            result = job.fold(folder, number)
            if result is None:
                return Study(folder.path)
            results.append(result)
        if not _has_front(folder):
            measure(
                folder,
                problem,
                state,
                pool,
                observer,
                machine=machine,
                learnt=job.stored,
                stored=job.stored() if problem.folds else None,
                found_by_folds=results,
            )
    if config.report.badge_networks and load_badges(folder.path) is None:
        measure_badges(folder, problem, observer)
    observer.stage("Writing the report")
    from eznas.reporting import write_figures, write_report

    write_figures(folder.path)
    write_report(folder.path)  # last: with it the run is complete
    return Study(folder.path)


class _Job:
    """The searches of one run: they share the statistics and the workers."""

    def __init__(
        self,
        problem: Problem,
        machine: Machine,
        observer: Observer,
        pool: Pool,
        should_stop: ShouldStop,
        seeds: Sequence[Program],
        held: ExitStack,
    ) -> None:
        self._problem, self._machine, self._observer, self._pool = problem, machine, observer, pool
        self._should_stop, self._seeds, self._held = should_stop, seeds, held
        self._stores: Any = None
        self._bank: Any = None

    def search(
        self,
        folder: RunFolder,
        problem: Problem,
        stage: str,
        archive: Sequence[Program] = (),
        interim: Interim | None = None,
    ) -> SearchState:
        """One search, from where its folder says; finished, unless it was asked to stop.

        It starts from the seeds that the settings name, and from the archive of another run, if it is given one. The
        searches of a cross-fitted report are given none: such an archive knows the networks that they must not see.
        """
        settings = problem.config.evolution
        journal = Journal(folder, problem.config.checkpoints)
        state = journal.load(note=self._observer.note)
        if is_finished(settings, state):
            return state
        assessor = make_assessor(problem, self._evaluator())
        seeds = tuple({program.digest: program for program in (*self._seeds, *archive)}.values())
        search = Search(settings, problem.config.seed, assessor, journal, state, seeds=seeds, listener=self._observer)
        self._observer.stage(stage)

        def told(summary: GenerationSummary, now: SearchState) -> None:
            self._observer.generation(summary, now, settings)
            if interim is not None:
                interim.write(now)

        search.run(told, self._should_stop)
        if interim is not None and state.generation >= 0:
            interim.write(state, is_last=True)
        stop = stopped_by(settings, state)
        if stop is not None and stop.setting != "n_generations":
            self._observer.note(f"{stage} ended after generation {state.generation}: {stop.reason}")
        return state

    def fold(self, folder: RunFolder, number: int) -> FoldResult | None:
        """One search of a cross-fitted report; None if it was asked to stop."""
        problem = self._problem.fold(number)
        place = RunFolder(folder.path / "folds" / str(number + 1))
        (place.path / "checkpoints").mkdir(parents=True, exist_ok=True)
        n_folds = len(self._problem.folds)
        state = self.search(place, problem, f"Evolving for fold {number + 1} of {n_folds}")
        if not is_finished(problem.config.evolution, state):
            return None
        (family,) = problem.families
        positions = {arch: position for position, arch in enumerate(family.stored)}
        return pick_of_fold(problem, state, self.stored(), positions)

    def stored(self) -> StoreScores:
        """Scores of the stored networks."""
        return StoreScores(self._evaluator())

    def _evaluator(self) -> Any:
        """An evaluator whose states the workers hold now."""
        if self._problem.config.evolution.regime == "two-level":
            if self._bank is None:
                self._bank = bank_evaluator(self._problem, "evolve", self._machine, self._observer, self._pool)
            return self._bank
        if self._stores is None:
            self._stores = capture_stores(self._problem, self._machine, self._observer, self._pool)
            self._held.enter_context(in_use([store.folder for store in self._stores]))
        return make_evaluator(self._problem, self._stores, self._pool, self._machine)


# --- before a run -------------------------------------------------------------------------------------------------


def _prepared(settings: RunConfig, given: Given | None, observer: Observer | None) -> Problem:
    """The problem, with everything checked that would stop the run later."""
    for name in settings.report.baselines:
        published_proxy(name)
    check_seeds(settings.evolution, [seed_named(text) for text in settings.evolution.seeds])
    (observer or Silent()).stage(READING)
    problem = prepare(settings, given)
    check_objectives(objectives_named(settings.evolution.objectives), problem.labels("evolve"))
    for note in problem.notes:
        (observer or Silent()).note(note)
    return problem


def _with_given(settings: RunConfig, networks: Any, accuracies: Any, images: Any) -> tuple[RunConfig, Given | None]:
    """Settings that name networks of one's own, and what was handed over as objects."""
    if networks is None and accuracies is None and images is None:
        return settings, None
    named: dict[str, Any] = {"name": "python"}
    if isinstance(networks, str):
        named["networks"] = networks
    elif networks is not None:
        named["networks"] = "given"
    if isinstance(accuracies, str | Path):
        named["accuracies"] = str(accuracies)
    elif accuracies is not None:
        named["accuracies"] = "given"
    if settings.samples:
        raise ConfigError("Networks of your own are one of the [[samples]] of a run with several; name them there")
    benchmark = {**settings.benchmark.model_dump(exclude_defaults=True), **named}
    table = settings.model_dump(mode="json", exclude={"benchmark", "networks"}, exclude_none=True)
    changed = config_from({**table, "benchmark": benchmark})
    return changed, Given(
        networks=None if isinstance(networks, str) else networks,
        accuracies=None if isinstance(accuracies, str | Path) else accuracies,
        images=images,
    )


def _with_notes(problem: Problem, extends: Extension | None) -> Problem:
    """The problem, with what a reader must know of the run that this one extends."""
    if extends is None or not extends.n_learnt_from:
        return problem
    note = (
        f"Run {extends.run}, whose best programs this run starts from, learnt from {extends.n_learnt_from} of the "
        "networks that are reported on."
    )
    return replace(problem, notes=(*problem.notes, note))


def seed_named(text: str) -> Program:
    """The program of a seed.

    Raises:
        ConfigError: if it is a proxy without a program.
    """
    proxy = proxy_named(text).proxy
    if not isinstance(proxy, ProgramProxy):
        raise ConfigError(
            f"evolution.seeds: {text!r} is no program of the language; name one that is (eznas estimators), a program "
            "file, RUN:ID or a formula"
        )
    return proxy.program.canonical


def _check_data(folder: RunFolder, recorded: Manifest, problem: Problem) -> None:
    different = _data_differences(recorded, problem)
    if different:
        raise RunError(
            f"Run {folder.path} was started with other {' and other '.join(different)} than this machine gives now; "
            f"restore EZNAS_DATA, the networks and the package versions in its manifest.json, or evolve anew"
        )


def _data_differences(recorded: Manifest, problem: Problem) -> list[str]:
    """What of the data of a run is another now, in words."""
    now = data_of(problem)
    return [key.removesuffix("_digest") for key in DATA if getattr(recorded, key) != now[key]]


def _version_changes(
    folder: RunFolder, manifest: Manifest, device: str, any_version: bool
) -> Mapping[str, tuple[str, str]]:
    """The packages of other versions than before, and another device; an error unless they may be."""
    changes = version_changes(manifest, device)
    if changes and not any_version:
        said = ", ".join(f"{name} {before} (now {now})" for name, (before, now) in changes.items())
        kinds = "versions" if changes.keys() - {DEVICE} else "devices"
        packages = " ".join(f"{name}=={before}" for name, (before, _) in changes.items() if name != DEVICE)
        wanted = [f"install {packages}"] if packages else []
        wanted += [f"give --device {changes[DEVICE][0]}"] if DEVICE in changes else []
        raise RunError(
            f"Run {folder.path} was made with {said}, and numbers of two {kinds} must not mix; "
            f"{', '.join(wanted)}, evolve anew, or go on all the same with --any-version, which the manifest notes"
        )
    return changes


def _is_complete(folder: RunFolder) -> bool:
    """Whether there is nothing left to do."""
    return Study(folder.path).is_complete and _has_front(folder)


def _has_front(folder: RunFolder) -> bool:
    """Whether there is a front to read; a damaged one is measured again."""
    try:
        load_front(folder.path)
    except RunError:
        return False
    return True


def new_run_path(config: RunConfig) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for attempt in range(1000):
        path = Path("runs") / (f"{stamp}-{config.name}" + (f"-{attempt}" if attempt else ""))
        if not path.exists():
            return path
    raise RunError("Cannot find an unused name for the run folder under runs/; give --run-dir")

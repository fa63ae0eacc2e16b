"""A run from its settings to its result: prepare, evolve, choose, measure, write."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

from eznas.config import RunConfig, check_recorded, load_config, to_toml
from eznas.errors import RunError
from eznas.evaluation import PopulationEvaluator
from eznas.evolution import Assessor, Journal, RunFolder, Search, is_finished
from eznas.proxies import KNOWN_PROGRAMS, by_name
from eznas.statistics import ShardFile, ShardWriter, Spread, StatisticsStore, ensure_store
from eznas.study.machine import Machine, check_machine, single_threaded
from eznas.study.manifest import make_manifest, version_changes, with_versions_noted
from eznas.study.measure import measure
from eznas.study.observer import Observer, Silent
from eznas.study.problem import Problem, labels_of, prepare
from eznas.study.results import Study
from eznas.workers import Pool, open_pool


def evolve(
    config: RunConfig | Path | str | None = None,
    *,
    run_dir: Path | str | None = None,
    machine: Machine | None = None,
    observer: Observer | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Study:
    """Evolve proxies and measure the best on networks they have never seen.

    Args:
        config: settings, or the path of a TOML file with them; None takes the defaults.
        run_dir: a new or empty folder for the run; None makes one under ``runs/``.
        machine: workers, device, cache.
        observer: told how it goes on.
        should_stop: asked after every generation.

    Returns:
        The finished run, or, if stopped early, a run without a front that `resume` can go on with.

    Raises:
        EznasError: with one readable sentence.
    """
    settings = config if isinstance(config, RunConfig) else load_config(Path(config) if config is not None else None)
    _check_baselines(settings)
    machine = machine or Machine()
    check_machine(machine)
    problem = prepare(settings)
    folder = RunFolder.create(Path(run_dir) if run_dir is not None else _new_run_path(settings))
    with folder.writing():
        try:
            folder.replace("config.toml", to_toml(settings))
            folder.replace("manifest.json", json.dumps(make_manifest(problem), indent=1))
            return _run(folder, problem, machine, observer or Silent(), should_stop)
        except Exception:
            folder.discard_unless_begun()
            raise


def resume(
    run_dir: Path | str,
    *,
    machine: Machine | None = None,
    observer: Observer | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    any_version: bool = False,
) -> Study:
    """Go on with a run from its last finished generation; the result equals that of an undisturbed run.

    A finished run is left as it is.

    Args:
        run_dir: folder of the run.
        machine: workers, device, cache.
        observer: told how it goes on.
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
    recorded = folder.read_json("manifest.json")
    changes = {} if _is_complete(folder) else _version_changes(folder, recorded, any_version)
    settings = load_config(folder.path / "config.toml")
    check_recorded(settings, recorded, folder.path)
    problem = prepare(settings)
    now = make_manifest(problem)
    for key in ("benchmark", "labels_digest", "networks", "images_digest"):
        if recorded.get(key) != now[key]:
            raise RunError(
                f"Run {folder.path} was started with another {key.replace('_', ' ')} than this machine gives now; "
                f"restore EZNAS_DATA and the package versions in its manifest.json, or evolve anew"
            )
    with folder.writing():
        if changes:
            folder.replace("manifest.json", json.dumps(with_versions_noted(folder.manifest()), indent=1))
        return _run(folder, problem, machine, observer or Silent(), should_stop)


def _run(
    folder: RunFolder, problem: Problem, machine: Machine, observer: Observer, should_stop: Callable[[], bool]
) -> Study:
    config = problem.config
    journal = Journal(folder, config.checkpoints)
    state = journal.load()
    if is_finished(config.evolution, state) and _is_complete(folder):
        return Study(folder.path)
    with single_threaded(), _pool(machine, observer) as pool:
        if not is_finished(config.evolution, state):
            store = capture_store(problem, machine, observer, pool)
            assessor = make_assessor(problem, store, pool, machine)
            search = Search(config.evolution, config.seed, assessor, journal, state)
            observer.stage("Evolving")
            state = search.run(lambda s, now: observer.generation(s, now, config.evolution), should_stop)
        if not is_finished(config.evolution, state):
            return Study(folder.path)
        if not _has_front(folder):
            measure(folder, problem, state, pool, observer)
    observer.stage("Writing the report")
    from eznas.reporting import write_figures, write_report

    write_figures(folder.path)
    write_report(folder.path)  # last: with it the run is complete
    return Study(folder.path)


def _version_changes(
    folder: RunFolder, manifest: Mapping[str, Any], any_version: bool
) -> Mapping[str, tuple[str, str]]:
    """The packages of other versions than before; an error unless they may be."""
    try:
        changes = version_changes(manifest)
    except (AttributeError, IndexError, KeyError, TypeError):
        raise RunError(f"{folder.path / 'manifest.json'} does not say the versions of packages; evolve anew") from None
    if changes and not any_version:
        said = ", ".join(f"{name} {before} (now {now})" for name, (before, now) in changes.items())
        wanted = " ".join(f"{name}=={before}" for name, (before, _) in changes.items())
        raise RunError(
            f"Run {folder.path} was made with {said}, and numbers of two versions must not mix; install {wanted}, "
            f"evolve anew, or go on all the same with --any-version, which the manifest notes"
        )
    return changes


def _is_complete(folder: RunFolder) -> bool:
    """Whether there is nothing left to do."""
    return (folder.path / "report.html").is_file() and _has_front(folder)


def _has_front(folder: RunFolder) -> bool:
    """Whether there is a front to read; a damaged one is measured again."""
    from eznas.reporting import load_front

    try:
        load_front(folder.path)
    except RunError:
        return False
    return True


def capture_store(problem: Problem, machine: Machine, observer: Observer, pool: Pool | None = None) -> StatisticsStore:
    """The statistics of the networks to evolve on, captured unless they are in the cache.

    Workers, if the machine has any, are those of `pool`; each captures one shard at a time.
    """
    observer.stage("Capturing statistics")
    store, _ = ensure_store(
        machine.stores,
        problem.parts.evolve,
        problem.capture_settings(),
        problem.conditions.network,
        problem.conditions.inputs,
        targets=problem.targets,
        statistics=problem.statistics,
        networks_per_shard=problem.config.evaluation.networks_per_shard,
        progress=observer.advance,
        spread=_spread(pool) if pool is not None and machine.workers else None,
    )
    return store


def _spread(pool: Pool) -> Spread:
    """Has the workers of a pool write the shards of a store."""

    def write(
        writer: ShardWriter, spans: Sequence[tuple[int, int]], done: Callable[[int], None]
    ) -> list[list[ShardFile]]:
        pool.deploy(copy, [(writer,)] * pool.n_workers)
        return pool.map("write", spans, done)

    return write


def make_assessor(problem: Problem, store: StatisticsStore, pool: Pool, machine: Machine) -> Assessor:
    """What ranks programs on the networks to evolve on."""
    settings = problem.config.evaluation
    evaluator = PopulationEvaluator(
        pool,
        [store],
        device=machine.device,
        tile_bytes=settings.tile_kib * 1024,
        memory_bytes=settings.memory_mib * 1024**2,
        timeout=settings.timeout_seconds or None,
    )
    evolution = problem.config.evolution
    return Assessor(
        evaluator,
        labels_of(problem.tasks("evolve")),
        evolution.aggregate,
        evolution.direction == "either",
        evolution.early_confidence if evolution.early_decisions else None,
    )


@contextmanager
def _pool(machine: Machine, observer: Observer) -> Iterator[Pool]:
    if machine.workers:
        observer.stage(f"Starting {machine.workers} Ray worker(s)")
    pool = open_pool(machine.workers, machine.ray_address, on_gpu=machine.device == "cuda")
    try:
        yield pool
    finally:
        pool.close()


def _check_baselines(config: RunConfig) -> None:
    for name in config.report.baselines:
        if name not in KNOWN_PROGRAMS:
            by_name(name)


def _new_run_path(config: RunConfig) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for attempt in range(1000):
        path = Path("runs") / (f"{stamp}-{config.name}" + (f"-{attempt}" if attempt else ""))
        if not path.exists():
            return path
    raise RunError("Cannot find an unused name for the run folder under runs/; give --run-dir")

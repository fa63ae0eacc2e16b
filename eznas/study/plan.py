"""What a run would do, told before it is begun: its networks, images and tasks, its time and its place on disk, and
everything that would stop it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import torch

from eznas.bank import Bank, BankKey
from eznas.bank.build import BankWorker
from eznas.benchmarks import Part, Split
from eznas.errors import EznasError
from eznas.evaluation import PopulationEvaluator
from eznas.evolution import check_objectives, check_seeds
from eznas.evolution.grammar import Grammar
from eznas.evolution.two_level import listed_words, rehearse
from eznas.evolution.variation import Variation
from eznas.fitness import objectives_named
from eznas.names import one_line, shown
from eznas.programs import Program
from eznas.proxies import measured, published_proxy
from eznas.randomness import stream
from eznas.runs.config import RunConfig, SampleSettings
from eznas.scoring import score_networks
from eznas.statistics import StoreKey, ensure_store
from eznas.statistics.store import MANIFEST
from eznas.study.choose import POOL_SIZE
from eznas.study.machine import Machine, check_machine, single_threaded
from eznas.study.observer import Observer, Silent
from eznas.study.outlook import REPORT_SECONDS, SIMPLIFY_SECONDS
from eznas.study.problem import Family, Problem, family_of, own_networks, prepare
from eznas.study.run import READING, seed_named
from eznas.workers import Pool, open_pool

N_TRIED: Final = 4
"""Networks of each family that are captured to see what all will take."""
N_PROGRAMS: Final = 100
"""Random programs that are evaluated on them, and offspring of these."""
N_SHOWN: Final = 2
"""Networks of each family that are shown all words of a run at two levels."""
VALUE_BYTES: Final = 9
"""Of a word on a network in a bank: the number, and why there is none."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run will take, by what a few networks and programs take here.

    Attributes:
        capture, evolve, report: seconds of processor time of each worker, which is what idle cores take; at two levels
            networks are captured while it evolves.
        n_bytes: of the statistics in the cache, or of the values in banks.
        n_known: of these, there already.
    """

    capture: float
    evolve: float
    report: float
    n_bytes: int
    n_known: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run would do.

    Attributes:
        problems: what would stop it, a sentence each; without any it can begin.
        notes: what would be assumed or left out.
        problem: the networks with accuracies; None if there are problems with them.
        n_programs: most programs that it would evaluate, over all its searches.
        estimate: None if there are problems.
    """

    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()
    problem: Problem | None = None
    n_programs: int = 0
    estimate: Estimate | None = None

    def rows(self) -> list[dict[str, Any]]:
        """For a table: each family with its networks by part, its data sets, labels and images."""
        families = () if self.problem is None else self.problem.families
        return [_row(family, bool(self.problem and self.problem.folds)) for family in families]


def plan(
    config: RunConfig,
    *,
    problems: Sequence[str] = (),
    machine: Machine | None = None,
    run_dir: Path | None = None,
    observer: Observer | None = None,
) -> Plan:
    """What a run with these settings would do; nothing is written but into a folder that is removed.

    Args:
        config: the settings.
        problems: with the settings, known before.
        machine: where it would work.
        run_dir: its folder.
        observer: told what is read and tried, which takes seconds.
    """
    machine, observer = machine or Machine(), observer or Silent()
    observer.stage(READING)
    found = list(problems)
    _tried(found, check_machine, machine)
    for name in config.report.baselines:
        _tried(found, published_proxy, name, where="report.baselines")
    for text in config.evolution.seeds:
        program = _tried(found, seed_named, text, where="evolution.seeds")
        if program is not None:
            _tried(found, check_seeds, config.evolution, [program])
    if run_dir is not None and run_dir.exists() and (not run_dir.is_dir() or any(run_dir.iterdir())):
        found.append(f"Run folder {run_dir} is not empty; give another --run-dir, or use eznas resume")
    objectives = _tried(found, objectives_named, config.evolution.objectives, where="evolution.objectives")
    with single_threaded():
        problem = _tried(found, prepare, config)
        if problem is None:
            found[-1:] = _of_each(config, found[-1])
            return Plan(problems=tuple(dict.fromkeys(found)))
        if objectives is not None:
            _tried(found, check_objectives, objectives, problem.labels("evolve"))
        settings = config.evolution
        first = settings.initial_size if settings.regime == "nsga2" else settings.population_size
        n_programs = (first + settings.n_generations * settings.population_size) * (1 + len(problem.folds))
        estimate = None
        if not found:
            estimate = _tried(found, _estimated, problem, machine, n_programs, observer)
        if estimate is not None:
            free = _free_bytes(machine.stores)
            if estimate.n_bytes - estimate.n_known > free:
                found.append(
                    f"The statistics take {estimate.n_bytes / 1e9:.1f} GB, and {machine.stores} has {free / 1e9:.1f} "
                    "GB free; set EZNAS_CACHE to a larger disk, or probe.batch_size or benchmark.n_evolve lower"
                )
    return Plan(
        problems=tuple(dict.fromkeys(found)), notes=problem.notes, problem=problem, n_programs=n_programs,
        estimate=estimate,
    )  # fmt: skip


def _tried(problems: list[str], call: Callable[..., T], *arguments: Any, where: str = "") -> T | None:
    """What a call gives; None, and its sentence among the problems, if it raises an error for people."""
    try:
        return call(*arguments)
    except EznasError as error:
        problems.append(f"{str(error).rstrip('.')}{f' (in {where})' if where else ''}")
        return None


def _of_each(config: RunConfig, said: str) -> list[str]:
    """What is wrong with the samples, each by itself; what was said of all of them if nothing is."""
    found: list[str] = []
    for sample in config.all_samples:
        if _tried(found, family_of, config, sample, sample.name, None) is None and sample.is_own:
            told = " ".join(found)
            found += [one for one in _of_files(sample) if sample.accuracies is None or sample.accuracies not in told
                      or sample.accuracies not in one]  # fmt: skip
    return list(dict.fromkeys(found)) or [said]


def _of_files(sample: SampleSettings) -> list[str]:
    """What is wrong with each of the places that a sample of a user's own names."""
    found: list[str] = []
    _tried(found, own_networks, sample, None)
    if sample.accuracies is None:
        found.append("Accuracies of your own networks are named by benchmark.accuracies (--accuracies FILE.csv)")
    elif not os.path.isfile(sample.accuracies):
        found.append(f"Cannot read the accuracies {shown(sample.accuracies, 200)}: no such file; check the path")
    return found


def _row(family: Family, is_cross_fitted: bool) -> dict[str, Any]:
    conditions = family.conditions
    parts = {part: len(family.networks(part)) for part in ("evolve", "select", "report")}  # type: ignore[arg-type]
    if family.settings.left_out:
        parts |= {"evolve": 0, "select": 0}
    split, last = (_stated(family, part) for part in ("evolve", "report"))
    epochs = family.settings.epochs
    labels = split if split == last else f"{split}, report {last}"
    return {
        "sample": family.name,
        "networks": len(family.benchmark.architectures),
        **parts,
        "report": "all, cross-fitted" if is_cross_fitted else parts["report"],
        "tasks": ", ".join(family.datasets),
        "accuracies": f"{labels}{'' if epochs is None else f', {epochs} epochs'}",
        "images": f"{conditions.batch_size} of {one_line(conditions.images, 40)}, "
        f"{conditions.channels} x {conditions.input_size} x {conditions.input_size}",
    }


def _stated(family: Family, part: Part) -> str:
    """The split that accuracies are of, as their source says it."""
    split = family.splits[part]
    is_unstated = split is Split.TEST and not set(family.datasets) - family.benchmark.unstated_splits
    return "of a split not stated" if is_unstated else split.value


# --- what it takes ------------------------------------------------------------------------------------------------


def _estimated(problem: Problem, machine: Machine, n_programs: int, observer: Observer) -> Estimate:
    """By a few networks of each family and a few random programs or words, in this process."""
    device = machine.device if torch.cuda.is_available() else "cpu"  # which the cluster alone may have
    pool = open_pool(0, None, on_gpu=device != "cpu")
    try:
        if problem.config.evolution.regime == "two-level":
            found = _of_two_levels(problem, machine, device, observer)
        else:
            found = _of_programs(problem, machine, device, n_programs, pool, observer)
        published = [published_proxy(name) for name in problem.config.report.baselines]
        report = found.report
        for family in problem.families:
            observer.stage(f"Trying the published proxies on {family.name}")
            few = _spread(family.networks("report"))[:2]
            start = time.process_time()
            score_networks(published, few, family.conditions, pool, device=device)
            report += (time.process_time() - start) / len(few) * len(family.networks("report"))
    finally:
        pool.close()
    start, each = SIMPLIFY_SECONDS
    alone = start + each * problem.config.report.front_size + REPORT_SECONDS  # not spread over workers
    return replace(found, report=report / max(1, machine.workers) + alone)


def _of_programs(
    problem: Problem, machine: Machine, device: str, n_programs: int, pool: Pool, observer: Observer
) -> Estimate:
    """What statistics, and programs on them, take; of the report what the choice takes, on one worker."""
    n_workers = max(1, machine.workers)
    capture = evolve = report = 0.0
    n_bytes = n_known = 0
    for family, key in zip(problem.learnt, problem.store_keys(machine.device), strict=True):
        observer.stage(f"Trying {N_TRIED} networks of {family.name}")
        n = len(key.architectures)
        small = replace(key, architectures=_spread(key.architectures), device=device)
        with tempfile.TemporaryDirectory(prefix="eznas-plan-") as place:
            once, of_programs, size = _of_store(small, Path(place), problem, pool)
        is_known = (machine.stores / str(key) / MANIFEST).exists()
        capture += 0.0 if is_known else once * n
        n_bytes += round(size * n)
        n_known += round(size * n) if is_known else 0
        evolve += of_programs * n * n_programs
        n_select = 0 if problem.folds else len(family.networks("select"))
        report += (once + of_programs * POOL_SIZE) * n_select
    return Estimate(
        capture=capture / n_workers, evolve=evolve / n_workers, report=report, n_bytes=n_bytes, n_known=n_known
    )


def _of_two_levels(problem: Problem, machine: Machine, device: str, observer: Observer) -> Estimate:
    """What words and sentences take; of the report what words take on other networks, on one worker.

    A few networks of each family are shown all words that the run begins with, and then as few as a later generation
    has; the sentences are those of random words.
    """
    config, n_workers = problem.config, max(1, machine.workers)
    settings = config.evolution
    first = listed_words(problem.primitive_set, settings.n_words, config.seed)
    later = _some(first, max(1, settings.n_new_words))
    words = report = 0.0
    n_evolve = n_known = 0
    for family in problem.families:
        observer.stage(f"Trying {len(first):,} words on {N_SHOWN} networks of {family.name}")
        stored = () if family.settings.left_out else family.stored
        n_missing = _n_missing(machine, family, first, stored)
        others = [*(() if problem.folds or family.settings.left_out else family.networks("select"))]
        others += [] if problem.folds else family.networks("report")
        few = _spread(stored or family.networks("report"))[:N_SHOWN]
        worker = BankWorker(family.conditions.drawn(), device)
        each_later = _of_block(worker, later, few)
        each = _of_block(worker, first, few) if n_missing else 0.0
        words += each * n_missing + each_later * len(stored) * settings.n_generations
        report += each_later * len(others)
        n_evolve += len(stored)
        n_known += len(stored) - n_missing
    observer.stage("Trying sentences")
    start = time.process_time()
    share = rehearse(settings, config.seed, problem.primitive_set, problem.labels("evolve", of_store=True), len(first))
    sentences = (time.process_time() - start) / share * (settings.n_generations + 1)
    n_values = len(first) * n_evolve + settings.n_new_words * settings.n_generations * n_evolve
    return Estimate(
        capture=0.0, evolve=words / n_workers + sentences, report=report, n_bytes=VALUE_BYTES * n_values,
        n_known=VALUE_BYTES * len(first) * n_known,
    )  # fmt: skip


def _of_block(worker: BankWorker, words: tuple[str, ...], few: Sequence[Any]) -> float:
    """Seconds of a network with these words."""
    worker.block(words, ())  # made ready once in a run
    start = time.process_time()
    worker.block(words, few)
    return (time.process_time() - start) / len(few)


def _n_missing(machine: Machine, family: Family, words: tuple[str, ...], networks: Sequence[Any]) -> int:
    """Networks of which the bank lacks one of the words."""
    key = BankKey(family.conditions, machine.device)
    if not networks or not (machine.banks / str(key)).exists():
        return len(networks)
    bank = Bank.open(machine.banks, family.conditions, machine.device)
    return sum(len(lacking) for _, lacking in bank.missing(words, networks))


def _some(words: tuple[str, ...], n: int) -> tuple[str, ...]:
    """So many of some words, evenly drawn."""
    return words if n >= len(words) else tuple(words[place * len(words) // n] for place in range(n))


def _of_store(key: StoreKey, place: Path, problem: Problem, pool: Pool) -> tuple[float, float, float]:
    """Seconds to capture a network, seconds of a program on it, and bytes of it."""
    start = time.process_time()
    store, _ = ensure_store(place, key, measure=measured)
    captured = (time.process_time() - start) / store.n_networks
    evaluator = PopulationEvaluator(pool, [store], device=key.device)
    first, next_ones = _two_generations(problem)
    evaluator.evaluate(first)  # what the next share with these is known then, as in a run
    start = time.process_time()
    evaluator.evaluate(next_ones)
    evaluated = (time.process_time() - start) / store.n_networks / max(1, len(next_ones))
    return captured, evaluated, store.nbytes / store.n_networks


def _two_generations(problem: Problem) -> tuple[list[Program], list[Program]]:
    """Random programs, and offspring of theirs."""
    settings, seed = problem.config.evolution, problem.config.seed
    grammar = Grammar(problem.primitive_set, max_size=settings.max_size, max_height=settings.max_height)
    variation = Variation(grammar, initial_height=(2, settings.initial_height))
    first = [one.program for one in variation.initial(N_PROGRAMS, stream(seed, "plan", 0))]
    rng = stream(seed, "plan", 1)
    offspring, _ = variation.offspring(first, N_PROGRAMS, rng, immigrants=settings.immigrants)
    return first, [one.program for one in offspring]


def _spread(architectures: Sequence[Any]) -> tuple[Any, ...]:
    """A few of many, from within."""
    n = len(architectures)
    places = {(2 * number + 1) * n // (2 * N_TRIED) for number in range(N_TRIED)}
    return tuple(architectures[place] for place in sorted(places))


def _free_bytes(folder: Path) -> int:
    """Of the disk that a folder is on or would be on."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free

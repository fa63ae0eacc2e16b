"""Workloads: stores of reduced NAS-Bench-201 networks, and the populations of a real run over the small one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from eznas.evolution import Grammar, Search, Variation
from eznas.location import DATA_VARIABLE
from eznas.programs import Program
from eznas.randomness import stream
from eznas.runs.config import EvolutionSettings, RunConfig, config_from
from eznas.runs.journal import SearchState
from eznas.statistics import StatisticsStore, ensure_store
from eznas.study import Machine, Problem, cache_folder, make_assessor, make_evaluator, prepare
from eznas.workers import Pool
from primitives import PRIMITIVE_SETS

Settings = Mapping[str, Any]
"""What ``bench.toml`` holds."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Networks to evaluate on.

    Attributes:
        problem: their settings, architectures and images.
        store: their statistics.
    """

    problem: Problem
    store: StatisticsStore

    @property
    def folder(self) -> str:
        """Where another process finds the statistics."""
        return str(self.store.folder)

    @property
    def accuracies(self) -> np.ndarray:
        """(n_networks,) trained accuracies."""
        return self.problem.samples("evolve")[0].accuracies[: self.store.n_networks]


def use_embedded_data() -> None:
    """Take the accuracies and images that come with packages, whatever else this machine has."""
    os.environ.pop(DATA_VARIABLE, None)


def run_config(settings: Settings, *, n_networks: int, batch_size: int, cells_per_stage: int = 1) -> RunConfig:
    """Settings of a run with default evolution over reduced networks."""
    return config_from(
        {
            "seed": settings["seed"],
            "benchmark": {"n_evolve": n_networks},
            "networks": {"cells_per_stage": cells_per_stage},
            "probe": {"images": "digits", "batch_size": batch_size, "input_size": settings["input_size"]},
            "evolution": {
                "n_generations": max(settings["generations"]),
                "population_size": settings["population_size"],
                "initial_size": settings["population_size"],
            },
        }
    )


def make_workload(config: RunConfig, n_networks: int | None = None) -> Workload:
    """The statistics of the networks of a run, or of the first of them, captured unless they are in the cache."""
    problem = prepare(config)
    (key,) = problem.store_keys()
    store, _ = ensure_store(
        cache_folder(),
        replace(key, architectures=key.architectures[:n_networks]),
        networks_per_shard=config.evaluation.networks_per_shard,
    )
    return Workload(problem, store)


class _Collector:
    """Stands in for the journal of a run: keeps the programs that every generation evaluated, in memory."""

    def __init__(self) -> None:
        self.populations: list[list[str]] = []

    def record(
        self, state: SearchState, found: Sequence[Any], failures: Sequence[Any], summary: Mapping[str, Any]
    ) -> None:
        """Called at the end of every generation."""
        programs = [candidate.program for candidate in found] + [program for program, _ in failures]
        self.populations.append([program.text for program in programs])


def evolve_populations(workload: Workload, pool: Pool) -> list[list[str]]:
    """The programs that each generation of a real run evaluated, ranked or not; index 0 is the random start."""
    config = workload.problem.config
    assessor = make_assessor(workload.problem, make_evaluator(workload.problem, [workload.store], pool, Machine()))
    collector = _Collector()
    Search(config.evolution, config.seed, assessor, collector).run()  # type: ignore[arg-type]
    return collector.populations


def random_start(config: RunConfig, n: int) -> list[str]:
    """The first `n` programs that a run with these settings would begin with; more only extend fewer."""
    evolution = config.evolution
    grammar = _grammar(evolution, evolution.max_size, evolution.max_height)
    variation = Variation(grammar, initial_height=(2, evolution.initial_height))
    return _texts(one.program for one in variation.initial(n, stream(config.seed, "variation", 0)))


def large_trees(config: RunConfig, n: int, *, max_size: int, heights: tuple[int, int]) -> list[str]:
    """Random programs beyond the limits of a run."""
    variation = Variation(_grammar(config.evolution, max_size, heights[1]), initial_height=heights)
    return _texts(one.program for one in variation.initial(n, stream(config.seed, "bench", "large")))


def _grammar(evolution: EvolutionSettings, max_size: int, max_height: int) -> Grammar:
    return Grammar(PRIMITIVE_SETS[evolution.primitive_set], max_size=max_size, max_height=max_height)


def _texts(programs: Any) -> list[str]:
    canonical: list[Program] = [program.canonical for program in programs]
    return [program.text for program in canonical]


def target_folder() -> Path:
    """Where results go."""
    folder = Path("runs") / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder

"""The statistics of a run, and programs on them: stores captured, an assessor made, scores of the stored networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eznas.bank import Bank, BankEvaluator, Column
from eznas.benchmarks import Part
from eznas.errors import StoreError
from eznas.evaluation import PopulationEvaluator
from eznas.evolution import Assessor
from eznas.files import size_text
from eznas.fitness import objectives_named
from eznas.programs import Program
from eznas.proxies import measured
from eznas.statistics import (
    ShardFile,
    ShardWriter,
    Spread,
    StatisticsStore,
    ensure_store,
    keep_within,
    stores_on_disk,
)
from eznas.study.machine import BOUND_VARIABLE, Machine, cache_bound
from eznas.study.observer import Observer
from eznas.study.problem import Problem
from eznas.workers import Pool


@dataclass(frozen=True, slots=True)
class StoreScores:
    """Values of programs on the stored networks."""

    evaluator: PopulationEvaluator | BankEvaluator

    def raw(self, programs: Sequence[Program]) -> npt.NDArray[np.float64]:
        """(n_programs, n_networks) values; non-finite where a program failed."""
        return self.evaluator.evaluate(programs).scores


def capture_stores(
    problem: Problem, machine: Machine, observer: Observer, pool: Pool | None = None
) -> list[StatisticsStore]:
    """The statistics of the networks to evolve on, captured unless they are in the cache; one store for each family.

    Workers, if the machine has any, are those of `pool`; each captures one shard at a time.
    """
    spread = _spread(pool) if pool is not None and machine.workers else None
    stores: list[StatisticsStore] = []
    any_new = False
    for family, key in zip(problem.learnt, problem.store_keys(machine.device), strict=True):
        observer.stage(f"Capturing statistics of {len(key.architectures)} {family.name} networks")
        store, is_new = ensure_store(
            machine.stores,
            key,
            networks_per_shard=problem.config.evaluation.networks_per_shard,
            progress=observer.advance,
            spread=spread,
            measure=measured,
        )
        if is_new:
            observer.note(f"{size_text(store.nbytes)} of statistics are in {store.folder}")
            any_new = True
        stores.append(store)
    if any_new:
        _bound_cache(machine, [store.folder for store in stores], observer)
    return stores


def _bound_cache(machine: Machine, used: Sequence[Path], observer: Observer) -> None:
    """Say how large the cache has become, and remove what was used least recently if it is larger than it may be."""
    bound = cache_bound()
    try:
        gone = keep_within(machine.stores, bound, used)
        n_bytes = sum(store.n_bytes for store in stores_on_disk(machine.stores))
    except StoreError as error:
        observer.note(str(error))
        return
    if gone:
        freed = size_text(sum(store.n_bytes for store in gone))
        observer.note(f"{len(gone)} store(s) of statistics that were used least recently were removed, {freed}")
    more = "; eznas data prune frees it" if n_bytes > bound else ""
    observer.note(
        f"The cache {machine.stores} holds {size_text(n_bytes)} of statistics, of {size_text(bound)} that it may "
        f"({BOUND_VARIABLE}){more}"
    )


def _spread(pool: Pool) -> Spread:
    """Has the workers of a pool write the shards of a store."""

    def write(
        writer: ShardWriter, spans: Sequence[tuple[int, int]], done: Callable[[int], None]
    ) -> list[list[ShardFile]]:
        def told(n_done: int, item: int, result: Any) -> None:
            del item, result
            done(n_done)

        pool.deploy(copy, [(writer,)] * pool.n_workers)
        return pool.map("write", spans, told)

    return write


def make_evaluator(
    problem: Problem, stores: Sequence[StatisticsStore], pool: Pool, machine: Machine
) -> PopulationEvaluator:
    """What scores programs on the stored networks, one family after the other."""
    settings = problem.config.evaluation
    return PopulationEvaluator(
        pool,
        stores,
        device=machine.device,
        tile_bytes=settings.tile_kib * 1024,
        memory_bytes=settings.memory_mib * 1024**2,
        timeout=settings.timeout_seconds or None,
    )


def bank_evaluator(problem: Problem, part: Part, machine: Machine, observer: Observer, pool: Pool) -> BankEvaluator:
    """What scores programs on the networks of a part by way of banks, one family after the other.

    In a cross-fitted run the stored networks are all of them, whatever the part.
    """
    columns = [
        Column(
            Bank.open(machine.banks, family.conditions, machine.device),
            family.stored if part == "evolve" else family.networks(part),
        )
        for family in problem.families_of(part)
    ]
    return BankEvaluator(pool, columns, progress=observer.advance)


def make_assessor(problem: Problem, evaluator: PopulationEvaluator | BankEvaluator) -> Assessor:
    """What ranks programs on the networks to evolve on."""
    evolution = problem.config.evolution
    return Assessor(
        evaluator,
        problem.labels("evolve", of_store=True),
        evolution.aggregate,
        may_turn=evolution.direction == "either",
        objectives=objectives_named(evolution.objectives),
        weights=problem.weights,
    )

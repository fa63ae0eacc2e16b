"""Ways of evaluating populations, each timed in a process of its own, with the scores it gave.

One core is timed in processor seconds: other work on the machine disturbs them less than the clock, and on an idle one
the two agree. Several workers are timed by the clock.
"""

from __future__ import annotations

import multiprocessing
import statistics
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from eznas.evaluation import (
    MEMORY_BYTES,
    TILE_BYTES,
    PopulationEvaluator,
    ShardExecutor,
    evaluate,
    make_plan,
    network_of,
)
from eznas.programs import Program, parse
from eznas.statistics import ShapeGroup, Shard, StatisticsStore
from eznas.workers import Pool, open_pool
from primitives import Primitive

Population = Sequence[str]
"""Programs as text."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timed:
    """One population, evaluated one way.

    Attributes:
        processor: processor seconds of each repeat.
        clock: seconds by the clock of each repeat.
        scores: (n_programs, n_networks); NaN where a program failed.
    """

    processor: list[float]
    clock: list[float]
    scores: np.ndarray

    @property
    def seconds(self) -> float:
        """Median processor seconds."""
        return statistics.median(self.processor)

    @property
    def elapsed(self) -> float:
        """Median seconds by the clock."""
        return statistics.median(self.clock)

    @property
    def rate(self) -> float:
        """Programs per processor second."""
        return len(self.scores) / self.seconds


def require_equal(expected: Timed, found: Timed) -> None:
    """Two ways must fail together and agree to 1e-5, or their speeds mean nothing."""
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5, atol=0, equal_nan=True)


# ------------------------------------------------------------------------------------------------------- processes


def in_fresh_process(way: Callable[..., T], *arguments: Any) -> tuple[T, float]:
    """What a function gives in a new process with one thread, and the MiB it needed above the idle process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(in_this_process, way, *arguments).result()


def in_this_process(way: Callable[..., T], *arguments: Any) -> tuple[T, float]:
    """What a function gives, on one thread, and the MiB by which it raised the most that this process ever needed."""
    torch.set_num_threads(1)
    idle = _resident("VmRSS")
    result = way(*arguments)
    return result, _resident("VmHWM") - idle


def _resident(field: str) -> float:
    """MiB: resident now (VmRSS) or at most so far (VmHWM); NaN where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return float("nan")
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def _forked(way: Callable[[], T]) -> T:
    """What a function gives in a copy of this process, which keeps its state."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(way()))
    process.start()
    sender.close()
    result: T = receiver.recv()
    process.join()
    return result


def stopwatch(way: Callable[[], np.ndarray]) -> tuple[float, float, np.ndarray]:
    """Processor seconds, seconds by the clock, and what the function gave, with NaN for anything not finite."""
    clock, processor = time.perf_counter(), time.process_time()
    scores = way()
    processor, clock = time.process_time() - processor, time.perf_counter() - clock
    return processor, clock, np.where(np.isfinite(scores), scores, np.nan)


def _timed(runs: Sequence[tuple[float, float, np.ndarray]]) -> Timed:
    processor, clock, scores = zip(*runs, strict=True)
    for again in scores[1:]:
        np.testing.assert_array_equal(again, scores[0])
    return Timed(list(processor), list(clock), scores[0])


# ------------------------------------------------------------------------------------------------------------ ways


def plain(folder: str, populations: Sequence[Population], repeats: int) -> list[Timed]:
    """The definition: program by program, network by network, layer by layer."""
    networks = [network_of(shard, n) for shard in shards_of(folder) for n in range(shard.n_networks)]

    def loop(programs: Sequence[Program]) -> np.ndarray:
        outcomes = [[evaluate(program, network) for network in networks] for program in programs]
        return np.array([[v if isinstance(v, float) else np.nan for v in row] for row in outcomes])

    return [
        _timed([stopwatch(partial(loop, _parsed(population))) for _ in range(repeats)]) for population in populations
    ]


def shared(
    folder: str, populations: Sequence[Population], repeats: int, tile_bytes: int | None = TILE_BYTES
) -> list[Timed]:
    """The population as one graph over tiles, each time with nothing kept from before."""
    return [
        _timed([_shared_once(folder, _parsed(population), tile_bytes) for _ in range(repeats)])
        for population in populations
    ]


def _shared_once(folder: str, programs: Sequence[Program], tile_bytes: int | None) -> tuple[float, float, np.ndarray]:
    evaluator = make_evaluator(open_pool(0), folder, tile_bytes)
    return stopwatch(lambda: evaluator.evaluate(programs).scores)


def whole(folder: str, populations: Sequence[Population], repeats: int) -> list[Timed]:
    """The same as `shared`, without tiles: the layers of one shape, of all networks together, are one tensor."""
    shard = joined(shards_of(folder))
    plans = [make_plan(_parsed(population)) for population in populations]
    runs = [partial(lambda plan: ShardExecutor(shard, tile_bytes=None).run(plan), plan) for plan in plans]
    return [_timed([stopwatch(run) for _ in range(repeats)]) for run in runs]


def joined(shards: Sequence[Shard]) -> Shard:
    """The networks of several shards, in this order, in one."""
    parts: dict[tuple[torch.Size, ...], list[tuple[Tensor, ShapeGroup]]] = defaultdict(list)
    n_layers = 0
    for shard in shards:
        for group in shard.groups:
            shapes = tuple(tensor.shape[1:] for tensor in group.tensors.values())
            parts[shapes].append((group.rows + n_layers, group))
        n_layers += shard.n_layers
    first = np.cumsum([0, *(shard.n_networks for shard in shards)])
    return Shard(
        n_networks=int(first[-1]),
        layer_network=torch.cat([s.layer_network + int(n) for s, n in zip(shards, first, strict=False)]),
        layer_depth=torch.cat([shard.layer_depth for shard in shards]),
        groups=tuple(
            ShapeGroup(
                torch.cat([rows for rows, _ in same]),
                {name: torch.cat([group.tensors[name] for _, group in same]) for name in shards[0].statistics},
            )
            for same in parts.values()
        ),
        quantities={name: torch.cat([shard.quantities[name] for shard in shards]) for name in shards[0].quantities},
    )


def shared_each(jobs: Sequence[tuple[str, Population]], repeats: int) -> list[Timed]:
    """The same for populations with a store each."""
    return [shared(folder, [population], repeats)[0] for folder, population in jobs]


def kept(folder: str, earlier: Sequence[Population], population: Population, repeats: int) -> Timed:
    """The same as `shared` with the results that the evaluation of earlier populations left behind.

    Every repeat is a copy of the process made after the earlier populations, so that each finds the same results.
    """
    evaluator = make_evaluator(open_pool(0), folder)
    for before in earlier:
        evaluator.evaluate(_parsed(before))
    programs = _parsed(population)
    return _timed([_forked(lambda: stopwatch(lambda: evaluator.evaluate(programs).scores)) for _ in range(repeats)])


def with_pool(pool: Pool, folder: str, populations: Sequence[Population], repeats: int) -> list[Timed]:
    """Populations one after the other on the workers of a pool, results kept between them; start-up is not timed."""
    runs = []
    for _ in range(repeats):
        evaluator = make_evaluator(pool, folder)
        evaluator.evaluate([])  # the workers open their shards now
        runs.append([_with_evaluator(evaluator, _parsed(population)) for population in populations])
    return [_timed(of_one) for of_one in zip(*runs, strict=True)]


def _with_evaluator(evaluator: PopulationEvaluator, programs: Sequence[Program]) -> tuple[float, float, np.ndarray]:
    return stopwatch(lambda: evaluator.evaluate(programs).scores)


def make_evaluator(
    pool: Pool, folder: str, tile_bytes: int | None = TILE_BYTES, memory_bytes: int = MEMORY_BYTES
) -> PopulationEvaluator:
    """An evaluator as a run with default settings makes it."""
    store = StatisticsStore.open(Path(folder), verify=False)
    return PopulationEvaluator(pool, [store], tile_bytes=tile_bytes, memory_bytes=memory_bytes)


def traced(folder: str, populations: Sequence[Population], memory_bytes: int) -> list[tuple[float, float]]:
    """Seconds by the clock, and MiB above those before, twenty times a second while populations are evaluated.

    What is mapped counts as soon as it was read.
    """
    trace, is_done = list[tuple[float, float]](), threading.Event()
    idle, start = _resident("VmRSS"), time.perf_counter()

    def watch() -> None:
        while not is_done.wait(0.05):
            trace.append((time.perf_counter() - start, _resident("VmRSS") - idle))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        evaluator = make_evaluator(open_pool(0), folder, memory_bytes=memory_bytes)
        for population in populations:
            evaluator.evaluate(_parsed(population))
    finally:
        is_done.set()
        watcher.join()
    return trace


def read_speed(n_bytes: int) -> float:
    """Bytes per processor second at which one thread sums a tensor, which should be larger than any cache."""
    values = torch.ones(n_bytes // 4)
    spent = [stopwatch(lambda: values.sum().numpy())[0] for _ in range(6)]
    return values.nbytes / statistics.median(spent[1:])


def shards_of(folder: str, device: str = "cpu") -> list[Shard]:
    """All statistics of a store, mapped."""
    store = StatisticsStore.open(Path(folder), verify=False)
    return [store.shard(index, device) for index in range(store.n_shards)]


def _parsed(population: Population) -> list[Program]:
    return [parse(text) for text in population]


# --------------------------------------------------------------------------------------------------------- profile


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """Where the time of one operator went: processor seconds, calls, and its most expensive argument shapes."""

    name: str
    seconds: float
    n_calls: int
    shapes: tuple[tuple[str, float, int], ...]  # shapes of the arguments, seconds, calls


def profiled(folder: str, population: Population) -> tuple[float, list[OperatorTime]]:
    """Processor seconds of a shared evaluation in which every operator is timed, and the operators, slowest first."""
    programs = _parsed(population)
    with _watched_operators() as (seconds, calls):
        total, _, _ = _shared_once(folder, programs, TILE_BYTES)
    by_operator: dict[str, list[tuple[str, float, int]]] = defaultdict(list)
    for (name, shapes), spent in seconds.items():
        by_operator[name].append((shapes, spent, calls[name, shapes]))
    times = []
    for name, rows in by_operator.items():
        rows.sort(key=lambda row: -row[1])
        times.append(OperatorTime(name, sum(row[1] for row in rows), sum(row[2] for row in rows), tuple(rows[:3])))
    return total, sorted(times, key=lambda one: -one.seconds)


@contextmanager
def _watched_operators() -> Iterator[tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]]:
    """Seconds and calls by operator and argument shapes, of every call made meanwhile."""
    seconds: Counter[tuple[str, str]] = Counter()
    calls: Counter[tuple[str, str]] = Counter()
    unwatched = Primitive.__call__

    def watched(operator: Primitive, *arguments: Any) -> Tensor:
        start = time.process_time()
        try:
            return unwatched(operator, *arguments)
        finally:
            spent = time.process_time() - start
            key = operator.name, " ".join("x".join(map(str, a.shape)) for a in arguments if isinstance(a, Tensor))
            seconds[key] += spent
            calls[key] += 1

    Primitive.__call__ = watched  # type: ignore[method-assign]
    try:
        yield seconds, calls
    finally:
        Primitive.__call__ = unwatched  # type: ignore[method-assign]

"""Choosing architectures: uniformly or by accuracy, and parts that share nothing, not even under another name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from eznas.benchmarks.benchmark import FULL_TRAINING, Benchmark
from eznas.benchmarks.split import Split
from eznas.errors import BenchmarkError
from eznas.randomness import stream
from eznas.spaces import Architecture, nb201

Strategy = Literal["uniform", "stratified"]
STRATEGIES: Final[tuple[Strategy, ...]] = get_args(Strategy)

PART_SHARES: Final[Mapping[str, float]] = MappingProxyType({"evolve": 0.3, "select": 0.2, "report": 0.5})
"""Shares of the benchmark that are dealt to each part; the architectures of a part are drawn from its share."""
FREQUENT_SHARE: Final = 0.005
"""A function that a larger share of all architectures computes is dealt architecture by architecture."""


def uniform(pool: Sequence[Architecture], n: int, rng: np.random.Generator) -> tuple[Architecture, ...]:
    """`n` architectures of the pool, every subset equally likely, in the order of the pool.

    Raises:
        BenchmarkError: if `n` is negative or the pool has fewer.
    """
    _check_size(n, len(pool))
    return tuple(pool[position] for position in np.sort(rng.choice(len(pool), size=n, replace=False)))


def stratified(
    pool: Sequence[Architecture],
    accuracies: npt.NDArray[np.float64],
    n: int,
    rng: np.random.Generator,
    *,
    n_strata: int = 10,
) -> tuple[Architecture, ...]:
    """`n` architectures spread evenly over the accuracy *ranks* of the pool, in the order of the pool.

    The pool is sorted by accuracy (equal accuracies in random order) and cut into `n_strata` parts of equal size; each
    part gives n / n_strata architectures, drawn uniformly, and a remainder falls on randomly chosen parts, one each. So
    the subset has the accuracy distribution of the pool with less noise than a uniform draw; it does not favour any
    range of accuracies. With n below `n_strata` there are n parts.

    Args:
        pool: the architectures.
        accuracies: (len(pool),) accuracies, any unit.
        n: how many to draw.
        rng: draws.
        n_strata: parts, at least 1.

    Raises:
        BenchmarkError: if the lengths differ, `n_strata` is below 1, `n` is negative or the pool has fewer.
    """
    _check_size(n, len(pool))
    if len(accuracies) != len(pool) or n_strata < 1:
        raise BenchmarkError(
            f"A stratified draw needs one accuracy per architecture and at least one stratum, but it got "
            f"{len(accuracies)} accuracies for {len(pool)} architectures and n_strata={n_strata}; correct them."
        )
    if n == 0:
        return ()
    order = np.lexsort((rng.permutation(len(pool)), accuracies))
    strata = np.array_split(order, min(n, n_strata))
    quotas = np.full(len(strata), n // len(strata))
    # strata differ in size by one at most, the larger ones first, so a remainder that fills the pool fits there
    remainder = n % len(strata)
    roomy = np.flatnonzero([len(stratum) > n // len(strata) for stratum in strata])
    quotas[rng.choice(roomy, size=remainder, replace=False)] += 1
    chosen = [rng.choice(stratum, size=quota, replace=False) for stratum, quota in zip(strata, quotas, strict=True)]
    return tuple(pool[position] for position in np.sort(np.concatenate(chosen)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """Three sets of architectures without one in common, nor, the most frequent apart, a function.

    Attributes:
        evolve: what programs evolve on.
        select: what the winners of a run are chosen on.
        report: what figures are reported on; seen by nothing before.
    """

    evolve: tuple[Architecture, ...]
    select: tuple[Architecture, ...]
    report: tuple[Architecture, ...]


def partition(
    benchmark: Benchmark,
    *,
    n_evolve: int,
    n_select: int,
    n_report: int,
    seed: int,
    strategy: Strategy = "uniform",
    dataset: str = "cifar10",
    split: Split = Split.VALIDATION,
    epochs: int = FULL_TRAINING,
) -> Partition:
    """Disjoint sets of architectures for evolving, selecting and reporting, each like the whole benchmark.

    Cells that compute the same function under different names would carry accuracies from one part to another, so whole
    function classes (`nb201.reduced_function`) are dealt to the three parts at random, in the proportions of
    `PART_SHARES`, before cells are drawn within each. The few functions that more than `FREQUENT_SHARE` of all cells
    compute, such as the network that outputs zero, are dealt cell by cell instead: without them a part would not look
    like the benchmark, and a proxy would be judged on networks of a kind it never met.

    What a part is depends on the seed and its own size alone.

    Args:
        benchmark: what to draw from.
        n_evolve: size of `evolve`.
        n_select: size of `select`.
        n_report: size of `report`.
        seed: the same seed gives the same parts.
        strategy: how `evolve` is drawn; `select` and `report` are always uniform within what was dealt to them.
        dataset: whose accuracies ``"stratified"`` sorts by.
        split: likewise.
        epochs: likewise.

    Raises:
        BenchmarkError: if the strategy is unknown, too few architectures were dealt to a part, or a stratified draw
            finds no such accuracies.
    """
    if strategy not in STRATEGIES:
        raise BenchmarkError(
            f"The strategy of a partition must be one of {', '.join(STRATEGIES)}, but it is {strategy!r}; use one of "
            "them."
        )
    pools = _dealt(benchmark.architectures, stream(seed, "partition", "deal"))
    report = uniform(pools["report"], n_report, stream(seed, "partition", "report"))
    select = uniform(pools["select"], n_select, stream(seed, "partition", "select"))
    rng = stream(seed, "partition", "evolve")
    if strategy == "uniform":
        evolve = uniform(pools["evolve"], n_evolve, rng)
    else:
        accuracies = benchmark.accuracies(pools["evolve"], dataset, split, epochs)
        evolve = stratified(pools["evolve"], accuracies, n_evolve, rng)
    return Partition(evolve=evolve, select=select, report=report)


def function_of(arch: Architecture) -> tuple[str, str]:
    """A key that architectures computing the same function share."""
    return (arch.space, nb201.reduced_function(arch) if arch.space == nb201.NAME else arch.spec)


def is_frequent(n_cells: int, n_all: int) -> bool:
    """Whether a function that `n_cells` of `n_all` cells compute is dealt cell by cell."""
    return n_cells > max(1.0, FREQUENT_SHARE * n_all)


def _dealt(pool: tuple[Architecture, ...], rng: np.random.Generator) -> dict[str, tuple[Architecture, ...]]:
    """Architectures of each part, in the order of the pool; those of one function together unless it is frequent."""
    members: dict[tuple[str, str], list[int]] = {}
    for position, arch in enumerate(pool):
        members.setdefault(function_of(arch), []).append(position)
    bundles = [
        bundle
        for cells in members.values()
        for bundle in ([[cell] for cell in cells] if is_frequent(len(cells), len(pool)) else [cells])
    ]
    names = list(PART_SHARES)
    chosen = rng.choice(len(names), size=len(bundles), p=list(PART_SHARES.values()))
    dealt: dict[str, list[int]] = {name: [] for name in names}
    for bundle, part in zip(bundles, chosen, strict=True):
        dealt[names[part]].extend(bundle)
    return {name: tuple(pool[position] for position in sorted(positions)) for name, positions in dealt.items()}


def _check_size(n: int, n_available: int) -> None:
    if not 0 <= n <= n_available:
        raise BenchmarkError(
            f"A draw must ask for 0 to {n_available} architectures, as many as are left, but it asks for {n}; ask for "
            "fewer."
        )

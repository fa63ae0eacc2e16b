"""Choosing architectures: uniformly or by accuracy, and parts that share nothing, not even under another name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from eznas.benchmarks.benchmark import Benchmark
from eznas.benchmarks.sample import learning_split
from eznas.benchmarks.split import Split
from eznas.errors import BenchmarkError
from eznas.randomness import stream
from eznas.spaces import SPACES, Architecture

Strategy = Literal["uniform", "stratified"]
STRATEGIES: Final[tuple[Strategy, ...]] = get_args(Strategy)

PART_SHARES: Final[Mapping[str, float]] = MappingProxyType({"evolve": 0.3, "select": 0.2, "report": 0.5})
"""Shares of the benchmark that are dealt to each part; the architectures of a part are drawn from its share."""
FREQUENT_SHARE: Final = 0.005
"""A function that a larger share of all architectures computes is dealt architecture by architecture."""
FEW: Final = 500
"""A benchmark of fewer architectures is dealt by count, in the proportions of `SHARES_OF_FEW`."""
SHARES_OF_FEW: Final[Mapping[str, float]] = MappingProxyType({"evolve": 0.4, "select": 0.2, "report": 0.4})

Sizes = tuple[int | None, int | None, int | None]
"""How many architectures to evolve, to select and to report on; None means all that were dealt to that part."""


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
    sizes: Sizes | None = None,
    *,
    seed: int,
    strategy: Strategy = "uniform",
    dataset: str | None = None,
    split: Split | None = None,
    epochs: int | None = None,
) -> Partition:
    """Disjoint sets of architectures for evolving, selecting and reporting, each like the whole benchmark.

    Architectures that compute the same function under different names would carry accuracies from one part to another,
    so whole function classes (`function_of`) are dealt to the three parts at random, in the proportions of
    `PART_SHARES`, before architectures are drawn within each. The few functions that more than `FREQUENT_SHARE` of all
    compute, such as the network that outputs zero, are dealt one by one instead: without them a part would not look
    like the benchmark, and a proxy would be judged on networks of a kind it never met.

    Of fewer than `FEW` architectures chance would leave a part too small, so whole functions are dealt by count, in
    the proportions of `SHARES_OF_FEW`; or, if all three sizes are given and do not fit into those, in theirs.

    What a part is depends on the seed and its own size alone, but for this last case.

    Args:
        benchmark: what to draw from.
        sizes: of `evolve`, `select` and `report`; None (or None in a place) means all that were dealt to them.
        seed: the same seed gives the same parts.
        strategy: how `evolve` is drawn; `select` and `report` are always uniform within what was dealt to them.
        dataset: whose accuracies ``"stratified"`` sorts by; None means the benchmark's first.
        split: likewise; None means what a search may learn from.
        epochs: likewise; None means the full training.

    Raises:
        BenchmarkError: if the strategy is unknown, too few architectures were dealt to a part, or a stratified draw
            finds no such accuracies.
    """
    if strategy not in STRATEGIES:
        raise BenchmarkError(
            f"The strategy of a partition must be one of {', '.join(STRATEGIES)}, but it is {strategy!r}; use one of "
            "them."
        )
    asked = sizes or (None, None, None)
    pools = _dealt(benchmark, stream(seed, "partition", "deal"))
    if len(benchmark.architectures) < FEW and None not in asked and not _fit(asked, pools):
        shares = {name: float(size or 0) + 1e-9 for name, size in zip(PART_SHARES, asked, strict=True)}
        proposed = _dealt(benchmark, stream(seed, "partition", "deal"), shares)
        pools = proposed if _fit(asked, proposed) else pools
    if not all(pools.values()):
        raise BenchmarkError(
            f"The {len(benchmark.architectures)} networks of benchmark {benchmark.name!r} compute too few different "
            "functions to be divided into three parts; add networks."
        )
    n_evolve, n_select, n_report = _sizes(benchmark, pools, asked)
    report = uniform(pools["report"], n_report, stream(seed, "partition", "report"))
    select = uniform(pools["select"], n_select, stream(seed, "partition", "select"))
    rng = stream(seed, "partition", "evolve")
    if strategy == "uniform":
        evolve = uniform(pools["evolve"], n_evolve, rng)
    else:
        accuracies = _learned(benchmark, pools["evolve"], dataset, split, epochs)
        evolve = stratified(pools["evolve"], accuracies, n_evolve, rng)
    return Partition(evolve=evolve, select=select, report=report)


def folds(
    benchmark: Benchmark,
    k: int,
    seed: int,
    *,
    dataset: str | None = None,
    split: Split | None = None,
    epochs: int | None = None,
) -> tuple[tuple[Architecture, ...], ...]:
    """`k` disjoint sets that cover the benchmark, for measuring on each what was found on the others.

    Function classes (`function_of`, the most frequent one by one as in `partition`) are sorted by mean accuracy (equal
    ones in random order) and cut into groups of k neighbours; each group gives every fold one class, at random, its
    larger classes to the smaller folds. So a function is in one fold, and each fold has the accuracies of the whole.
    Sizes differ by one at most where every architecture computes a function of its own, else by about the size of the
    largest class.

    Args:
        benchmark: what to divide.
        k: number of folds, from 2 to the number of distinct functions.
        seed: the same seed gives the same folds.
        dataset: whose accuracies to sort by; None means the benchmark's first.
        split: likewise; None means what a search may learn from.
        epochs: likewise; None means the full training.

    Returns:
        k tuples of architectures, each in the order of the benchmark.

    Raises:
        BenchmarkError: if `k` is below 2 or there are fewer functions, or there are no such accuracies.
    """
    pool = benchmark.architectures
    classes = _bundles(benchmark)
    if not 2 <= k <= len(classes):
        raise BenchmarkError(
            f"Benchmark {benchmark.name!r} can be divided into 2 to {len(classes)} folds, as many as it has different "
            f"functions, but {k} are asked for; ask for another number."
        )
    accuracies = _learned(benchmark, pool, dataset, split, epochs)
    rng = stream(seed, "folds")
    order = np.lexsort((rng.permutation(len(classes)), [accuracies[members].mean() for members in classes]))
    dealt: list[list[int]] = [[] for _ in range(k)]
    for first in range(0, len(classes), k):
        group = sorted((classes[position] for position in order[first : first + k]), key=len, reverse=True)
        smallest_first = sorted(rng.permutation(k), key=lambda fold: len(dealt[fold]))
        for members, fold in zip(group, smallest_first, strict=False):  # the last group may be shorter
            dealt[fold].extend(members)
    return tuple(tuple(pool[position] for position in sorted(positions)) for positions in dealt)


def _learned(
    benchmark: Benchmark,
    architectures: tuple[Architecture, ...],
    dataset: str | None,
    split: Split | None,
    epochs: int | None,
) -> npt.NDArray[np.float64]:
    """The accuracies to sort by."""
    name = benchmark.datasets[0] if dataset is None else dataset
    of = learning_split(benchmark, (name,), epochs) if split is None else split
    return benchmark.accuracies(architectures, name, of, epochs)


def function_of(arch: Architecture) -> tuple[str, str]:
    """A key that architectures computing the same function share; each its own in a space that is not of `SPACES`."""
    space = SPACES.get(arch.space)
    return (arch.space, arch.spec if space is None else space.function(arch))


def is_frequent(n_cells: int, n_all: int) -> bool:
    """Whether a function that `n_cells` of `n_all` cells compute is dealt cell by cell; never one of `FEW`."""
    return n_all >= FEW and n_cells > max(1.0, FREQUENT_SHARE * n_all)


def _bundles(benchmark: Benchmark) -> list[list[int]]:
    """Positions of architectures that must stay together: those of one function, unless it is frequent."""
    members: dict[object, list[int]] = {}
    for position, key in enumerate(benchmark.functions or map(function_of, benchmark.architectures)):
        members.setdefault(key, []).append(position)
    return [
        bundle
        for cells in members.values()
        for bundle in ([[cell] for cell in cells] if is_frequent(len(cells), len(benchmark.architectures)) else [cells])
    ]


def _fit(sizes: Sizes, pools: Mapping[str, tuple[Architecture, ...]]) -> bool:
    """Whether every part was dealt as many architectures as are asked for."""
    return all((size or 0) <= len(pool) for size, pool in zip(sizes, pools.values(), strict=True))


def _dealt(
    benchmark: Benchmark, rng: np.random.Generator, shares: Mapping[str, float] = SHARES_OF_FEW
) -> dict[str, tuple[Architecture, ...]]:
    """Architectures of each part, in the order of the benchmark; of few by count, in the proportions of `shares`."""
    pool = benchmark.architectures
    bundles = _bundles(benchmark)
    names = list(PART_SHARES)
    dealt: dict[str, list[int]] = {name: [] for name in names}
    if len(pool) < FEW:
        for number in sorted(rng.permutation(len(bundles)), key=lambda number: -len(bundles[number])):
            neediest = min(names, key=lambda name: len(dealt[name]) / shares[name])
            dealt[neediest].extend(bundles[number])
    else:
        chosen = rng.choice(len(names), size=len(bundles), p=list(PART_SHARES.values()))
        for bundle, part in zip(bundles, chosen, strict=True):
            dealt[names[part]].extend(bundle)
    return {name: tuple(pool[position] for position in sorted(positions)) for name, positions in dealt.items()}


def _sizes(benchmark: Benchmark, pools: Mapping[str, tuple[Architecture, ...]], sizes: Sizes) -> tuple[int, int, int]:
    """The sizes asked for, all of a part where none is, each checked against what was dealt."""
    found = {name: len(pool) if size is None else size for (name, pool), size in zip(pools.items(), sizes, strict=True)}
    for name, size in found.items():
        if not 0 <= size <= len(pools[name]):
            largest = ", ".join(f"benchmark.n_{part} = {len(pool)}" for part, pool in pools.items())
            raise BenchmarkError(
                f"benchmark.n_{name} must be 0 to {len(pools[name])}, as many of the {len(benchmark.architectures)} "
                f"networks of benchmark {benchmark.name!r} as were dealt to that part, but it is {size}; the largest "
                f"sizes are {largest}."
            )
    return found["evolve"], found["select"], found["report"]


def _check_size(n: int, n_available: int) -> None:
    if not 0 <= n <= n_available:
        raise BenchmarkError(
            f"A draw must ask for 0 to {n_available} architectures, as many as are left, but it asks for {n}; ask for "
            "fewer."
        )

"""Biases: whom a proxy places too high or too low, by size, by operation, and one by one.

The ranking difference of a network is its rank by accuracy less its rank by score, ranks from 0 for the best, over the
number of networks: positive is over-estimated. Ties have their mean rank, the expectation over breaking them by chance.

Source: `Ning et al. 2021 <https://arxiv.org/abs/2008.03064>`_.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import scipy

from eznas.fitness import Criterion, kendall_tau_b, quintiles
from eznas.fitness.labels import MIN_NETWORKS, FloatArray
from eznas.fitness.ranks import kendall_resampled
from eznas.randomness import stream

N_RESAMPLES = 1_000
"""Of an interval; of large groups, where they are all alike, fewer, but `LEAST_RESAMPLES`."""
LEAST_RESAMPLES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeGroup:
    """Networks of about one size.

    Attributes:
        n: how many.
        low, high: the smallest and the largest of them.
        difference: their mean ranking difference.
        tau: tau-b within the group, with its 95 % percentile interval; None for fewer than five networks, or where all
            are alike.
    """

    n: int
    low: float
    high: float
    difference: float
    tau: Criterion | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Pairs of networks that differ in one place, one having `before` there and the other `after`.

    Attributes:
        before, after: the operations.
        n: pairs.
        truth: share of them in which the accuracy rises from before to after; an equal one counts half.
        estimate: the same of the score.
    """

    before: str
    after: str
    n: int
    truth: float
    estimate: float


def ranking_differences(x: FloatArray, y: FloatArray) -> FloatArray:
    """(n,) ranking differences of (n,) scores, failures ``-inf``, and (n,) accuracies."""
    by_score, by_accuracy = (scipy.stats.rankdata(-v) for v in (x, y))
    return np.asarray((by_accuracy - by_score) / len(x))


def size_bias(x: FloatArray, y: FloatArray, sizes: FloatArray) -> tuple[SizeGroup, ...]:
    """Bias by size: five groups, the smallest networks first; equal sizes are never split, empty groups left out.

    Args:
        x, y: as `ranking_differences`.
        sizes: (n,) MACs or parameters.
    """
    differences, groups = ranking_differences(x, y), quintiles(sizes)
    found = []
    for group in np.unique(groups):
        here = groups == group
        known = here.sum() >= MIN_NETWORKS and x[here].min() != x[here].max() and y[here].min() != y[here].max()
        found.append(
            SizeGroup(
                n=int(here.sum()),
                low=float(sizes[here].min()),
                high=float(sizes[here].max()),
                difference=float(differences[here].mean()),
                tau=_tau(x[here], y[here]) if known else None,
            )
        )
    return tuple(found)


def _tau(x: FloatArray, y: FloatArray) -> Criterion:
    n = len(x)
    n_resamples = max(LEAST_RESAMPLES, min(N_RESAMPLES, 200_000 // n))
    draws = stream(0, "size bias").multinomial(n, np.full(n, 1 / n), size=n_resamples)
    spread = kendall_resampled(x, y, draws.astype(np.float64))
    low, high = np.percentile(spread[np.isfinite(spread)], (2.5, 97.5))
    return Criterion(value=kendall_tau_b(x, y), low=float(low), high=float(high))


Pairs = dict[tuple[str, str], list[tuple[int, int]]]
"""By (before, after) the positions of networks that have them in the one place in which they differ."""


def pairs_one_edit_apart(places: Sequence[Sequence[str]]) -> Pairs:
    """All pairs of networks that differ in one place, each once; before comes first in the alphabet.

    Args:
        places: of each network what stands in its places.
    """
    found: Pairs = defaultdict(list)
    for place in range(max(map(len, places), default=0)):
        alike: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for network, texts in enumerate(places):
            if place < len(texts):
                alike[(*texts[:place], *texts[place + 1 :])].append(network)
        for members in alike.values():
            for pair in combinations(members, 2):
                first, second = sorted(pair, key=lambda network: places[network][place])
                before, after = places[first][place], places[second][place]
                if before != after and len(places[first]) == len(places[second]):
                    found[before, after].append((first, second))
    return dict(found)


def edit_bias(x: FloatArray, y: FloatArray, pairs: Pairs) -> tuple[Edit, ...]:
    """Bias by operation, in the direction in which the accuracy rises more often; most frequent edits first.

    Args:
        x, y: as `ranking_differences`.
        pairs: as `pairs_one_edit_apart`.
    """
    found = []
    for (before, after), positions in pairs.items():
        first, second = np.array(positions).T
        truth, estimate = (_share_rising(v[first], v[second]) for v in (y, x))
        if truth < 0.5:
            before, after, truth, estimate = after, before, 1 - truth, 1 - estimate
        found.append(Edit(before=before, after=after, n=len(positions), truth=truth, estimate=estimate))
    return tuple(sorted(found, key=lambda edit: (-edit.n, edit.before, edit.after)))


def _share_rising(before: FloatArray, after: FloatArray) -> float:
    return float(np.mean((after > before) + 0.5 * (after == before)))


def most_misjudged(x: FloatArray, y: FloatArray, n: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Positions of the n most over-estimated networks and of the n most under-estimated, the worst case first."""
    order = np.argsort(-ranking_differences(x, y), kind="stable")
    n = min(n, math.floor(len(order) / 2))
    return tuple(order[:n].tolist()), tuple(order[::-1][:n].tolist())

"""What a proxy's first and last picks are worth: precision, best and worst rank, and the order within them.

M networks have accuracies and scores. Ranks count from 0, the best: r_i by accuracy and n_i by score. Of k networks,

* precision at the top: #{r_i < k and n_i < k} / k; at the bottom: #{r_i >= M - k and n_i >= M - k} / k;
* best rank: (min of r_i over n_i < k, + 1) / M, and worst rank with the maximum; lower is better in both;
* tau within the predicted top or bottom: tau-b over those k networks.

Equal scores and equal accuracies have no order of their own. Every value is the expectation over breaking both kinds of
ties uniformly at random, independently of each other: in closed form but for tau within, whose k networks are drawn
`N_DRAWS` times where a tie straddles place k. `by_chance` is the plain definition, tested equal.

Source: `Ning et al. 2021 <https://arxiv.org/abs/2008.03064>`_ for the criteria; it breaks ties by position.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from eznas.fitness import kendall_tau_b
from eznas.fitness.labels import MIN_NETWORKS, FloatArray

RANK_SHARES: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.2)
"""Shares K of the networks of the best and the worst rank."""
PRECISION_SHARES: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0)
"""Shares K of the networks of the precisions, and of tau within."""
N_DRAWS: Final = 100
"""Draws of the k networks where a tie straddles place k, of tau within alone."""


def n_of_share(share: float, n: int) -> int:
    """k of a share K of n networks: K times n, rounded down; 0 says that the share has no network."""
    return int(share * n + 1e-9)  # 0.29 times 100 is 28.999...


# ------------------------------------------------------------------------------------------------ the plain definition


def by_chance(x: FloatArray, y: FloatArray, k: int, rng: np.random.Generator, n_draws: int) -> dict[str, float]:
    """The mean of each of `PICKS` over `n_draws` ways of breaking ties, each a permutation of the networks.

    Args:
        x: (n,) scores, higher better, failures ``-inf``.
        y: (n,) accuracies.
        k: picks, from 1 to n.
        rng: breaks the ties.
        n_draws: at least 1.
    """
    found: dict[str, list[float]] = {name: [] for name in PICKS}
    for _ in range(n_draws):
        n, r = _ranks(x, rng), _ranks(y, rng)
        found["precision_top"].append(float(np.sum((n < k) & (r < k))) / k)
        found["precision_bottom"].append(float(np.sum((n >= len(x) - k) & (r >= len(x) - k))) / k)
        found["best_rank"].append((float(r[n < k].min()) + 1) / len(x))
        found["worst_rank"].append((float(r[n < k].max()) + 1) / len(x))
    return {name: float(np.mean(values)) for name, values in found.items()}


def _ranks(v: FloatArray, rng: np.random.Generator) -> FloatArray:
    """(n,) ranks from 0, the highest value first, ties in random order."""
    ranks = np.empty(len(v))
    ranks[np.lexsort((rng.permutation(len(v)), -v))] = np.arange(len(v))
    return ranks


# --------------------------------------------------------------------------------------------------- the closed forms


def precision_top(x: FloatArray, y: FloatArray, k: int) -> float:
    """Expected share of the k best by score that are among the k best by accuracy; arguments as `by_chance`.

    Ties of scores and of accuracies are broken independently, so that the chances of a network multiply.
    """
    return float(_chances_of_top(x, k) @ _chances_of_top(y, k)) / k


def precision_bottom(x: FloatArray, y: FloatArray, k: int) -> float:
    """Expected share of the k worst by score that are among the k worst by accuracy; arguments as `by_chance`."""
    return precision_top(-x, -y, k)


def best_rank(x: FloatArray, y: FloatArray, k: int) -> float:
    """Expected place of the best by accuracy of the k best by score, over n, in (0, 1]; arguments as `by_chance`.

    Networks are visited in order of accuracy, those of one accuracy together: of a group of g places from a on in which
    c networks are picked, the first picked is expected at a + (g + 1)/(c + 1) - 1. Of the networks that tie at place k
    the number picked in the group is hypergeometric, given that none was picked before.
    """
    chances = _chances_of_top(x, k)
    order = np.argsort(-y, kind="stable")
    starts = np.flatnonzero(np.diff(-y[order], prepend=np.nan))
    sizes = np.diff(starts, append=len(y))
    n_sure = np.add.reduceat(chances[order] == 1, starts)
    n_open = np.add.reduceat((chances[order] > 0) & (chances[order] < 1), starts)
    remaining = int(n_open.sum())
    n_drawn = k - int(n_sure.sum())
    expected, reached = 0.0, 1.0
    for group in np.flatnonzero(n_sure + n_open):
        start, size, sure, may = (int(v[group]) for v in (starts, sizes, n_sure, n_open))
        none = 0.0
        for drawn, chance in _hypergeometric(remaining, may, n_drawn):
            if sure + drawn == 0:
                none = chance
            else:
                expected += reached * chance * (start + (size + 1) / (sure + drawn + 1) - 1)
        reached *= none
        remaining -= may
        if reached == 0.0:
            break
    return (expected + 1) / len(y)


def worst_rank(x: FloatArray, y: FloatArray, k: int) -> float:
    """Expected place of the worst by accuracy of the k best by score, over n, in (0, 1]; arguments as `by_chance`."""
    return 1 - best_rank(x, -y, k) + 1 / len(y)


PICKS: Final[Mapping[str, Callable[[FloatArray, FloatArray, int], float]]] = MappingProxyType({
    "precision_top": precision_top,
    "precision_bottom": precision_bottom,
    "best_rank": best_rank,
    "worst_rank": worst_rank,
})  # fmt: skip
"""Criteria of k picks by name."""


def tau_within(x: FloatArray, y: FloatArray, k: int, rng: np.random.Generator, *, top: bool) -> float:
    """tau-b among the k best (or worst) by score, the mean over `N_DRAWS` draws where a tie straddles place k.

    Args:
        x, y, k: as `by_chance`.
        rng: draws among the tied.
        top: the best, or the worst.

    Returns:
        NaN for fewer than five networks, or if a list is constant in every draw; a draw in which one is does not count.
    """
    if k < MIN_NETWORKS:
        return math.nan
    chances = _chances_of_top(x if top else -x, k)
    sure, tied = np.flatnonzero(chances == 1), np.flatnonzero((chances > 0) & (chances < 1))
    if not tied.size:
        return _tau(x[sure], y[sure])
    values = []
    for _ in range(N_DRAWS):
        picked = np.concatenate([sure, rng.choice(tied, size=k - sure.size, replace=False)])
        values.append(_tau(x[picked], y[picked]))
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def _tau(x: FloatArray, y: FloatArray) -> float:
    return math.nan if x.min() == x.max() or y.min() == y.max() else kendall_tau_b(x, y)


def _chances_of_top(v: FloatArray, k: int) -> FloatArray:
    """(n,) chance of each entry to be among the k highest."""
    ordered = np.sort(-v)
    first = np.searchsorted(ordered, -v, side="left")
    size = np.searchsorted(ordered, -v, side="right") - first
    return np.asarray(np.clip((k - first) / size, 0, 1))


def _hypergeometric(n: int, n_marked: int, n_drawn: int) -> list[tuple[int, float]]:
    """Marked ones among `n_drawn` of n drawn without replacement, `n_marked` of them marked: (how many, chance)."""
    if n_marked == 0 or n_drawn == 0:
        return [(0, 1.0)]
    if n_marked == 1:
        return [(0, 1 - n_drawn / n), (1, n_drawn / n)]
    fewest, most = max(0, n_drawn - (n - n_marked)), min(n_marked, n_drawn)
    whole = _log_choose(n, n_drawn)
    return [
        (m, math.exp(_log_choose(n_marked, m) + _log_choose(n - n_marked, n_drawn - m) - whole))
        for m in range(fewest, most + 1)
    ]


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

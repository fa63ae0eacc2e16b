"""Where a proxy stands by the criteria of the study of estimators, beside those of a measurement.

* Pearson: of scores and accuracies; a failed network counts with the lowest finite score, in the proxy's direction.
* sparse tau: tau-b with accuracies rounded to 1 percent point, which ignores differences too small to matter.
* top rho: rho within the top tenth by accuracy, those tied with its last network included.
* partial tau: given the logarithms of parameters and MACs, see `eznas.fitness.criteria`.
* weighted tau: with weights 1/(rank + 1), added; the mean of ranking by scores and by accuracies, ties as in scipy.
* of the first and last picks: see `eznas.assessment.picks`.

Sources: `Ning et al. 2021 <https://arxiv.org/abs/2008.03064>`_; `Vigna 2015 <https://doi.org/10.1145/2736277.2741088>`_
for weighted tau.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import scipy

from eznas.assessment.picks import PICKS, PRECISION_SHARES, RANK_SHARES, n_of_share, tau_within
from eznas.fitness import OBJECTIVES, Labels, kendall_tau_b, spearman
from eznas.fitness.criteria import top_threshold
from eznas.fitness.labels import MIN_NETWORKS, FloatArray


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Standing:
    """One proxy on one sample. A criterion without a value is NaN; a share with no network is left out.

    Attributes:
        criteria: by name, those of `STANDING`.
        picks: by name (`PICKS`, ``tau_top`` and ``tau_bottom``) and share K of the networks.
    """

    criteria: Mapping[str, float]
    picks: Mapping[str, Mapping[float, float]]


def pearson(x: FloatArray, labels: Labels) -> float:
    """Pearson correlation of (n,) scores and accuracies; NaN if all finite scores are equal.

    Infinitely low scores count as the lowest finite one.
    """
    finite = np.isfinite(x)
    if not finite.any():
        return math.nan
    filled = np.where(finite, x, x[finite].min())
    spread = np.ptp(filled)
    if spread == 0:
        return math.nan
    with np.errstate(over="ignore"):
        scaled = filled / np.abs(filled).max()  # squares of huge scores overflow
    centred, y = scaled - scaled.mean(), labels.accuracies - labels.accuracies.mean()
    return float(centred @ y / np.sqrt((centred @ centred) * (y @ y)))


def sparse_tau(x: FloatArray, labels: Labels) -> float:
    """tau-b of (n,) scores with accuracies in bins of 1 percent point; NaN if there is one bin."""
    return _or_nan(kendall_tau_b, x, np.round(labels.accuracies))


def top_rho(x: FloatArray, labels: Labels) -> float:
    """rho of (n,) scores within the top tenth by accuracy; NaN for fewer than five networks there."""
    top = labels.accuracies >= np.sort(labels.accuracies)[top_threshold(len(x))]
    return _or_nan(spearman, x[top], labels.accuracies[top]) if top.sum() >= MIN_NETWORKS else math.nan


def partial_tau(x: FloatArray, labels: Labels) -> float:
    """Partial tau-b of (n,) scores given log parameters and log MACs; NaN without covariates."""
    of = OBJECTIVES["partial_tau"].of
    if labels.covariates is None or of is None:
        return math.nan
    return float(of(x[None, :], labels)[0][0])


def weighted_tau(x: FloatArray, labels: Labels) -> float:
    """Additive hyperbolic weighted tau of (n,) scores, in which the order of the best counts most."""
    ranks = scipy.stats.rankdata(x, method="dense")  # failures are -inf, which has no place in differences
    return _or_nan(lambda a, b: float(scipy.stats.weightedtau(a, b).statistic), ranks, labels.accuracies)


STANDING: Final[Mapping[str, Callable[[FloatArray, Labels], float]]] = MappingProxyType({
    "pearson": pearson,
    "sparse_tau": sparse_tau,
    "top_rho": top_rho,
    "partial_tau": partial_tau,
    "weighted_tau": weighted_tau,
})  # fmt: skip
"""Criteria of the study, by name, that are no criteria of a measurement."""


def standing_of(x: FloatArray, labels: Labels, rng: np.random.Generator) -> Standing:
    """Every criterion of the study.

    Args:
        x: (n,) scores in which higher is better, failures ``-inf``; not all equal.
        labels: of the same n networks.
        rng: draws where an expectation has no closed form.
    """
    y, n = labels.accuracies, labels.accuracies.size
    picks: dict[str, dict[float, float]] = {}
    for name, function in PICKS.items():
        shares = RANK_SHARES if name.endswith("rank") else PRECISION_SHARES
        picks[name] = {share: function(x, y, k) for share in shares if (k := n_of_share(share, n)) >= 1}
    for name, top in (("tau_top", True), ("tau_bottom", False)):
        picks[name] = {
            share: tau_within(x, y, k, rng, top=top) for share in PRECISION_SHARES if (k := n_of_share(share, n)) >= 1
        }
    return Standing(criteria={name: of(x, labels) for name, of in STANDING.items()}, picks=picks)


def _or_nan(function: Callable[[FloatArray, FloatArray], float], x: FloatArray, y: FloatArray) -> float:
    return math.nan if x.min() == x.max() or y.min() == y.max() else function(x, y)

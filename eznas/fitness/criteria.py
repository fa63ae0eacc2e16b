"""What tau over all networks hides: the order among the best, within equal size, beyond size, and of the first picks.

Each criterion is defined for one list of scores, in plain loops, and again for many programs at once; tests hold the
two together. All take scores in which higher is better and failed networks are ``-inf``. Where a criterion has no value
(one score for all networks, too few networks) it is NaN, never a number that stands for it.

* top: tau-b among the top tenth by *accuracy*, the networks that a search is about; those tied with the last of them
  belong to it.
* level: rho within equal complexity, the plain mean over the levels with at least five networks whose accuracies
  differ. A level in which all scores are equal counts 0, what breaking ties by chance gives on average: left out, a
  proxy would gain by not ordering the levels that are hard.
* partial: the partial correlation given the logarithms of parameters and MACs. tau-b is the cosine of the two lists of
  signs of pairs and rho that of the two lists of centred ranks; the partial one is the cosine of what the lists of the
  covariates leave of each, by least squares. With t the correlations with the covariates and T those among them,

      (tau_xy - t_x' T+ t_y) / sqrt((1 - t_x' T+ t_x) (1 - t_y' T+ t_y)),

  which is Kendall's partial tau for one covariate. T+ is the pseudo-inverse: covariates that order the networks alike
  (parameters and MACs of NAS-Bench-201 cells do) count once, constant ones not at all.
* ndcg: normalised discounted cumulative gain of the first 1,000 (of all, if they are fewer), with gain 2^accuracy - 1,
  accuracy in percent. Ties share the mean of their places, the expectation over breaking them by chance.

Sources: `Ning et al. 2021 <https://arxiv.org/abs/2008.03064>`_ for top and level; `Kendall 1942
<https://doi.org/10.1093/biomet/32.3-4.277>`_ and `Kim 2015 <https://doi.org/10.5351/CSAM.2015.22.6.665>`_ for partial,
the latter with several covariates; `Järvelin and Kekäläinen 2002 <https://doi.org/10.1145/582415.582418>`_ for ndcg,
in the form of VKDNW (`Tybl and Neumann 2025 <https://arxiv.org/abs/2502.04975>`_).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import scipy

from eznas.errors import BenchmarkError
from eznas.fitness.concordance import Order
from eznas.fitness.labels import MIN_NETWORKS, Covariates, FloatArray, Labels
from eznas.fitness.ranks import (
    batched_tau,
    kendall_tau_b,
    kendall_tau_b_batch,
    spearman,
    spearman_batch,
    spearman_matrix,
)

TOP_SHARE: Final = 0.1
"""Of the networks, those called the top."""
N_FIRST: Final = 1000
"""Places that nDCG looks at."""
RESIDUE: Final = 1e-9
"""Share of a list that covariates must leave for a partial correlation to exist."""

Estimates = tuple[FloatArray, FloatArray]
"""(n_programs,) values and (n_programs,) standard errors over the choice of networks; NaN where not known."""


def covariates_of(labels: Labels, reader: str = "A criterion within equal size or beyond it") -> Covariates:
    """The covariates of a task, for whatever `reader` names.

    Raises:
        BenchmarkError: if it has none.
    """
    if labels.covariates is None:
        raise BenchmarkError(
            f"{reader} needs covariates (parameters, MACs and levels of the networks), which task {labels.task!r} "
            f"lacks; give them, or leave it out."
        )
    return labels.covariates


def top_threshold(n: int) -> int:
    """Position, in ascending order of n accuracies, from which on networks belong to the top tenth."""
    return math.ceil((1 - TOP_SHARE) * (n - 1))


# ------------------------------------------------------------------------------------------------ the plain definitions


def top_tau(x: FloatArray, labels: Labels) -> float:
    """tau-b of (n,) scores among the top tenth by accuracy; NaN for fewer than five networks there."""
    threshold = sorted(labels.accuracies.tolist())[top_threshold(len(x))]
    pairs = [(score, y) for score, y in zip(x.tolist(), labels.accuracies.tolist(), strict=True) if y >= threshold]
    if len(pairs) < MIN_NETWORKS:
        return math.nan
    scores, accuracies = zip(*pairs, strict=True)
    return kendall_tau_b(scores, accuracies)


def level_rho(x: FloatArray, labels: Labels) -> float:
    """Mean over complexity levels of rho of (n,) scores within the level; NaN without a level that can be ranked."""
    levels = covariates_of(labels).levels
    if len(set(x.tolist())) == 1:
        return math.nan
    found = []
    for level in sorted(set(levels.tolist())):
        scores, accuracies = x[levels == level], labels.accuracies[levels == level]
        if len(scores) >= MIN_NETWORKS and len(set(accuracies.tolist())) > 1:
            found.append(spearman(scores, accuracies) if len(set(scores.tolist())) > 1 else 0.0)
    return float(np.mean(found)) if found else math.nan


def partial_tau(x: FloatArray, labels: Labels) -> float:
    """Partial tau-b of (n,) scores and accuracies given log parameters and log MACs, by least squares on all pairs."""
    return _cosine_of_residues([_signs(v) for v in (x, labels.accuracies, *_sizes(labels))])


def partial_rho(x: FloatArray, labels: Labels) -> float:
    """Partial rho of (n,) scores and accuracies given log parameters and log MACs, by least squares on ranks."""
    ranks = [scipy.stats.rankdata(v) for v in (x, labels.accuracies, *_sizes(labels))]
    return _cosine_of_residues([v - v.mean() for v in ranks])


def ndcg(x: FloatArray, labels: Labels) -> float:
    """nDCG of (n,) scores, in [0, 1] for accuracies in percent; NaN if all scores are equal or no accuracy gains."""
    if len(set(x.tolist())) == 1:
        return math.nan
    gains = 2.0**labels.accuracies - 1
    places = min(N_FIRST, len(x))
    discounts = [1 / math.log2(place + 1) if place <= places else 0.0 for place in range(1, len(x) + 1)]

    def dcg(order: FloatArray) -> float:
        total, place = 0.0, 0
        for value in sorted(set(order.tolist()), reverse=True):
            tied = np.flatnonzero(order == value)
            share = sum(discounts[place : place + len(tied)]) / len(tied)
            total += sum(gains[i] * share for i in tied)
            place += len(tied)
        return total

    ideal = dcg(labels.accuracies)
    return dcg(x) / ideal if ideal > 0 else math.nan


def _sizes(labels: Labels) -> tuple[FloatArray, FloatArray]:
    covariates = covariates_of(labels)
    return covariates.log_parameters, covariates.log_macs


def _signs(v: FloatArray) -> FloatArray:
    """Signs of all pairs of a list that may hold -inf."""
    return np.array([float(a > b) - float(a < b) for i, a in enumerate(v) for b in v[:i]])


def _cosine_of_residues(lists: list[FloatArray]) -> float:
    """Of the first two lists, after least squares on the others."""
    given = np.stack(lists[2:], axis=1)
    residues = []
    for one in lists[:2]:
        left = one - given @ np.linalg.lstsq(given, one, rcond=None)[0]
        if not left @ left > RESIDUE * (one @ one):
            return math.nan
        residues.append(left / np.linalg.norm(left))
    return float(np.clip(residues[0] @ residues[1], -1, 1))


# ---------------------------------------------------------------------------------------------- many programs, one task


def top_tau_batch(scores: FloatArray, labels: Labels) -> Estimates:
    """`top_tau` of each row of (n_programs, n) scores."""
    threshold = np.sort(labels.accuracies)[top_threshold(scores.shape[1])]
    top = labels.accuracies >= threshold
    if top.sum() < MIN_NETWORKS:
        return _nothing(len(scores))
    found = batched_tau(scores[:, top], labels.accuracies[top])
    return found.tau, found.standard_error


def level_rho_batch(scores: FloatArray, labels: Labels) -> Estimates:
    """`level_rho` of each row of (n_programs, n) scores; levels are independent samples."""
    levels = covariates_of(labels).levels
    values, errors = [], []
    for level in np.unique(levels):
        here = levels == level
        accuracies = labels.accuracies[here]
        if here.sum() < MIN_NETWORKS or np.ptp(accuracies) == 0:
            continue
        rho = np.nan_to_num(spearman_batch(scores[:, here], accuracies), nan=0.0)
        values.append(rho)
        errors.append(spearman_standard_error(rho, int(here.sum())))
    if not values:
        return _nothing(len(scores))
    is_constant = (scores == scores[:, :1]).all(axis=1)
    value = np.where(is_constant, np.nan, np.mean(values, axis=0))
    return value, np.where(is_constant, np.nan, np.sqrt(np.sum(np.square(errors), axis=0)) / len(errors))


def partial_tau_batch(scores: FloatArray, labels: Labels) -> Estimates:
    """`partial_tau` of each row of (n_programs, n) scores; standard errors are not known."""
    targets = np.stack([labels.accuracies, *_sizes(labels)])
    return _partial_batch(kendall_tau_b_batch(scores, targets).T, kendall_tau_b_batch(targets, targets))


def partial_rho_batch(scores: FloatArray, labels: Labels) -> Estimates:
    """`partial_rho` of each row of (n_programs, n) scores; standard errors are not known."""
    targets = np.stack([labels.accuracies, *_sizes(labels)])
    return _partial_batch(spearman_matrix(scores, targets), spearman_matrix(targets, targets))


def ndcg_batch(scores: FloatArray, labels: Labels) -> Estimates:
    """`ndcg` of each row of (n_programs, n) scores; standard errors are not known."""
    gains = relative_gains(labels.accuracies)
    ideal = float(_shares(labels.accuracies[None, :])[0] @ gains)
    if not ideal > 0:
        return _nothing(len(scores))
    value = _shares(scores) @ gains / ideal
    value[(scores == scores[:, :1]).all(axis=1)] = np.nan
    return np.asarray(value), np.full(len(scores), np.nan)


def spearman_standard_error(rho: FloatArray, n: int) -> FloatArray:
    """Standard error of rho over the choice of n networks; NaN for fewer than five.

    Source: `Bonett and Wright 2000 <https://doi.org/10.1007/BF02294183>`_ for the variance of artanh rho, and the delta
    method.
    """
    if n < MIN_NETWORKS:
        return np.full_like(rho, np.nan)
    return np.asarray((1 - rho**2) * np.sqrt((1 + rho**2 / 2) / (n - 3)))


def partial(xy: FloatArray, xz: FloatArray, yz: FloatArray, zz: FloatArray) -> FloatArray:
    """Partial correlations from plain ones, by the formula of the module.

    Args:
        xy: (...) correlations of scores and accuracies.
        xz, yz: (..., k) theirs with k covariates; NaN for a constant covariate.
        zz: (..., k, k) those among the covariates.

    Returns:
        (...) in [-1, 1]; NaN where covariates leave nothing of a list.
    """
    xz, yz, zz = (np.nan_to_num(values, nan=0.0) for values in (xz, yz, zz))
    inverse = np.linalg.pinv(zz, rcond=RESIDUE, hermitian=True)

    def product(a: FloatArray, b: FloatArray) -> FloatArray:
        return np.asarray(np.einsum("...i,...ij,...j->...", a, inverse, b))

    left_x, left_y = 1 - product(xz, xz), 1 - product(yz, yz)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.clip((xy - product(xz, yz)) / np.sqrt(left_x * left_y), -1, 1)
    return np.asarray(np.where((left_x > RESIDUE) & (left_y > RESIDUE), found, np.nan))


def relative_gains(accuracies: FloatArray) -> FloatArray:
    """(n,) gains 2^accuracy - 1 over 2^(greatest accuracy): of the same ratios, and never beyond what floats hold."""
    top = accuracies.max()
    return np.asarray(np.exp2(accuracies - top) - np.exp2(-top))


def cumulative_discounts(n: int) -> FloatArray:
    """(n + 1,) sums of the discounts 1 / log2(place + 1) of the first 0 to n places; places beyond `N_FIRST` have 0."""
    places = np.arange(1, n + 1)
    return np.concatenate([[0.0], np.cumsum(np.where(places <= N_FIRST, 1 / np.log2(places + 1), 0.0))])


def _shares(rows: FloatArray) -> FloatArray:
    """(n_programs, n) mean discount of the places that each network may take, best first."""
    first, last = Order.of(rows).bounds
    sums, n = cumulative_discounts(rows.shape[1]), rows.shape[1]
    first, last = first.astype(np.int64), last.astype(np.int64)
    return np.asarray((sums[n - first] - sums[n - 1 - last]) / (last - first + 1))


def _partial_batch(with_targets: FloatArray, among: FloatArray) -> Estimates:
    """From (n_programs, 1 + k) correlations with accuracies and covariates, and (1 + k, 1 + k) those among these."""
    value = partial(with_targets[:, 0], with_targets[:, 1:], among[0, 1:], among[1:, 1:])
    return value, np.full(len(with_targets), np.nan)


def _nothing(n_programs: int) -> Estimates:
    return np.full(n_programs, np.nan), np.full(n_programs, np.nan)

"""Rank correlations, their standard errors and their bootstrap intervals.

Kendall's tau-b everywhere: networks tie often (parameter counts of NAS-Bench-201 take 28 values), and tau-b is the
variant that stays comparable when they do. `kendall_tau_b` and `spearman` are the plain definitions, by scipy; the
batched and resampled forms below are what a search uses, and tests hold them to the plain ones.

With s_ij = sign(x_i - x_j) sign(y_i - y_j) and n networks,

    A = mean over pairs of s_ij,  B = share of pairs untied in x,  C = share of pairs untied in y,
    tau_b = A / sqrt(B C)          (`Kendall 1945 <https://doi.org/10.1093/biomet/33.3.239>`_).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import scipy

from eznas.fitness.concordance import FloatArray, Order, concordance, total_concordance

Statistic = Literal["kendall", "spearman"]

MAX_ELEMENTS: Final = 2**17
"""Scores looked at together; few enough to stay in a core's cache, and never a matter of the result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchedTau:
    """Kendall's tau-b of many programs with one list of accuracies, and what is known about each value.

    All arrays have shape (n_programs,). A program with one score for all networks has `tau` and `standard_error` NaN.
    """

    tau: FloatArray
    standard_error: FloatArray  # of tau, see `kendall_standard_error`
    share_tied: FloatArray  # of the n (n - 1) / 2 pairs of networks, those with equal scores


# ---------------------------------------------------------------------------------------- the plain definitions


def kendall_tau_b(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Kendall's tau-b of two lists, in [-1, 1]; NaN if one of them is constant.

    Args:
        x: (n,) scores; ``-inf`` is allowed and ranks last, NaN is not.
        y: (n,) accuracies.

    Raises:
        ValueError: if the two differ in shape, hold NaN, or hold fewer than two networks.
    """
    x, y = _pair(x, y)
    return float(scipy.stats.kendalltau(x, y, variant="b", method="auto").statistic)


def spearman(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Spearman's rho (Pearson correlation of average ranks), in [-1, 1]; NaN if a list is constant.

    Args:
        x: (n,) scores; ``-inf`` is allowed and ranks last, NaN is not.
        y: (n,) accuracies.

    Raises:
        ValueError: if the two differ in shape, hold NaN, or hold fewer than two networks.
    """
    x, y = _pair(x, y)
    return float(spearman_batch(x[None, :], y)[0])


def scores_with_failures_last(scores: npt.ArrayLike, failed: npt.ArrayLike, direction: int) -> FloatArray:
    """Scores turned so that higher means better, with every failed network tied below all others.

    Args:
        scores: (..., n_networks) scores; entries marked failed may hold anything.
        failed: (..., n_networks) Booleans.
        direction: +1 if a higher score predicts a higher accuracy, -1 if a lower one does.

    Returns:
        (..., n_networks) float64. Failed networks hold ``-inf``: not a number in the score's range, only the one
        value below every finite score, so that they share the last rank *whatever the direction*.

    Raises:
        ValueError: if the direction is neither +1 nor -1, or a network not marked failed has a non-finite score.
    """
    scores, failed = np.asarray(scores, dtype=np.float64), np.asarray(failed, dtype=bool)
    if direction not in (1, -1):
        raise ValueError(f"The direction of a proxy must be +1 or -1, got {direction!r}.")
    unmarked = int((~np.isfinite(scores) & ~failed).sum())
    if unmarked:
        raise ValueError(f"{unmarked} non-finite score(s) are not marked as failed: pass failed=~np.isfinite(scores).")
    return np.where(failed, -np.inf, direction * scores)


# ------------------------------------------------------------------------------- many programs, one list of accuracies


def kendall_tau_b_batch(scores: npt.ArrayLike, y: npt.ArrayLike, *, max_elements: int = MAX_ELEMENTS) -> FloatArray:
    """Kendall's tau-b of each row of `scores` with `y`: equal to `kendall_tau_b`, for a whole population at once.

    Args:
        scores: (n_programs, n_networks) scores; ``-inf`` ranks last, NaN is refused.
        y: (n_networks,) accuracies, or (n_tasks, n_networks).
        max_elements: scores looked at together. Changes no value.

    Returns:
        (n_programs,) tau-b, or (n_tasks, n_programs); NaN where a row, or the accuracies, are constant.

    Raises:
        ValueError: if shapes disagree, NaN occurs, or there are fewer than two networks.
    """
    y = np.asarray(y, dtype=np.float64)
    scores, _ = _rows(scores, y if y.ndim < 2 else y[0])
    tasks = [Order.of(_rows(scores, task)[1][None, :]) for task in np.atleast_2d(y)]
    n_rows = max(1, max_elements // scores.shape[1])
    tau = np.empty((len(tasks), len(scores)))
    for start in range(0, len(scores), n_rows):
        x = Order.of(scores[start : start + n_rows])
        for found, task in zip(tau, tasks, strict=True):
            with np.errstate(divide="ignore", invalid="ignore"):
                share = total_concordance(x, task) / np.sqrt(x.n_untied * task.n_untied.astype(float))
            found[start : start + n_rows] = np.clip(share, -1, 1)
    return tau if y.ndim > 1 else tau[0]


def spearman_batch(scores: npt.ArrayLike, y: npt.ArrayLike) -> FloatArray:
    """Spearman's rho of each row of `scores` with `y`; arguments, result and errors as `kendall_tau_b_batch`."""
    scores, y = _rows(scores, y)
    return correlation(scipy.stats.rankdata(scores, axis=1), scipy.stats.rankdata(y)[None, :])


def spearman_matrix(first: npt.ArrayLike, second: npt.ArrayLike) -> FloatArray:
    """Spearman's rho of every row of one matrix with every row of another.

    Args:
        first: (n, n_networks) values without NaN.
        second: (m, n_networks) values without NaN.

    Returns:
        (n, m) in [-1, 1]; NaN where a row is constant.
    """
    a, b = (_standardised_ranks(np.asarray(values, dtype=np.float64)) for values in (first, second))
    return np.asarray(np.clip(a @ b.T, -1, 1))


def _standardised_ranks(rows: FloatArray) -> FloatArray:
    """(n, n_networks) average ranks with mean 0 and norm 1 in each row; NaN in a constant row.

    Sorting is all it takes where a row has no ties, which is several times faster than ranking with them.
    """
    order = np.argsort(rows, axis=1)
    ordered = np.take_along_axis(rows, order, axis=1)
    ranks = np.empty(rows.shape)
    np.put_along_axis(ranks, order, np.arange(1.0, rows.shape[1] + 1)[None, :], axis=1)
    tied = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    if tied.any():
        ranks[tied] = scipy.stats.rankdata(rows[tied], axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return np.asarray(ranks / np.linalg.norm(ranks, axis=1, keepdims=True))


def kendall_standard_error(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Standard error of tau-b over the choice of the n networks; NaN if tau-b is, 0 if the order is perfect.

    tau-b is a smooth function of three U-statistics. To first order its error is that of the U-statistic with kernel

        h_ij = s_ij / sqrt(B C) - tau/2 (untied_x_ij / B + untied_y_ij / C),

    whose variance is [4 (n-2) zeta_1 + 2 zeta_2] / (n (n-1)), where zeta_1 is the variance of what network i adds on
    average and zeta_2 the mean of h². The plug-in takes zeta_1 from the sample variance s² of the n per-network means
    of h, whose expectation is (n-2) [zeta_2 + (n-4) zeta_1] / (n-1)² because any two of them share a pair. The plain
    2 s/sqrt(n) is the same for many networks and about 8 % too large for 20.

    Returns:
        The standard error; NaN for fewer than five networks, from which zeta_1 cannot be estimated.

    Source: `Hoeffding 1948 <https://doi.org/10.1214/aoms/1177730196>`_, eq. 5.13 for the variance of a U-statistic;
    the kernel is the delta method applied to tau-b.

    Raises:
        ValueError: as `kendall_tau_b`.
    """
    x, y = _pair(x, y)
    return float(batched_tau(x[None, :], y).standard_error[0])


def batched_tau(scores: npt.ArrayLike, y: npt.ArrayLike, *, max_elements: int = MAX_ELEMENTS) -> BatchedTau:
    """tau-b, its standard error and the share of tied pairs, in one pass; arguments as `kendall_tau_b_batch`."""
    scores, y = _rows(scores, y)
    n_rows = max(1, max_elements // y.size)
    accuracies, parts = Order.of(y[None, :]), []
    for start in range(0, len(scores), n_rows):
        parts.append(_batched_tau(Order.of(scores[start : start + n_rows]), accuracies))
    columns = zip(*parts, strict=True) if parts else [(np.empty(0),)] * 3
    tau, error, share_tied = (np.concatenate(column) for column in columns)
    return BatchedTau(tau=tau, standard_error=error, share_tied=share_tied)


def _batched_tau(x: Order, y: Order) -> tuple[FloatArray, FloatArray, FloatArray]:
    """tau-b, its standard error and the share of tied pairs; all arrays (n_programs,)."""
    n = y.ranks.shape[1]
    agreement = concordance(x, y) / (n - 1)
    untied_x, untied_y = x.untied / (n - 1), y.untied[0] / (n - 1)  # of network i's n - 1 pairs
    a, b, c = agreement.mean(axis=1), untied_x.mean(axis=1), untied_y.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        tau = a / np.sqrt(b * c)
        means = agreement / np.sqrt(b * c)[:, None] - tau[:, None] / 2 * (untied_x / b[:, None] + untied_y / c)
        untied_both = _untied_in_both(x, y, b, float(c))
        square = untied_both / (b * c) * (1 + tau**2 / 2) - 0.75 * tau**2 * (1 / b + 1 / c)  # mean of h²
        error = _standard_error(means.var(axis=1, ddof=1), square, n)
    return np.clip(tau, -1, 1), error, 1 - b


def _standard_error(variance_of_means: FloatArray, mean_square: FloatArray, n: int) -> FloatArray:
    """The plug-in of `kendall_standard_error`; all arrays (n_programs,)."""
    if n < 5:
        return np.full_like(variance_of_means, np.nan)
    zeta_2 = np.maximum(mean_square, 0)  # rounding may put it a hair below 0; NaN stays NaN
    zeta_1 = np.maximum(((n - 1) ** 2 / (n - 2) * variance_of_means - zeta_2) / (n - 4), 0)
    return np.asarray(np.sqrt((4 * (n - 2) * zeta_1 + 2 * zeta_2) / (n * (n - 1))))


def _untied_in_both(x: Order, y: Order, b: FloatArray, c: float) -> FloatArray:
    """(n_programs,) share of pairs tied neither in x nor in y, from the shares `b` and `c` untied in each."""
    if c == 1:
        return b  # no ties among accuracies, the usual case
    n = y.ranks.shape[1]
    both = Order.of(x.bounds[0] * (n + 1.0) + y.bounds[0])
    return np.asarray(b + c - both.untied.mean(axis=1) / (n - 1))


# -------------------------------------------------------------------------------------------------- the bootstrap


def bootstrap_interval(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    statistic: Statistic = "kendall",
    n_resamples: int = 1000,
    level: float = 0.95,
    rng: np.random.Generator,
    max_elements: int = 2**22,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a rank correlation over the choice of networks.

    A resample is kept as how often each network was drawn, from which both correlations follow exactly without
    building the resampled lists: the result is that of drawing n networks with replacement and correlating those.

    Args:
        x: (n,) scores; ``-inf`` ranks last.
        y: (n,) accuracies.
        statistic: ``"kendall"`` (tau-b) or ``"spearman"`` (rho).
        n_resamples: how many times n networks are drawn with replacement.
        level: share of resamples inside the interval, in (0, 1).
        rng: the generator that draws them.
        max_elements: entries of the largest temporary array. Changes no value.

    Returns:
        (low, high). Resamples in which one list is constant have no correlation and are left out; if all are, NaN.

    Raises:
        ValueError: as `kendall_tau_b`; or for an unknown statistic, a level outside (0, 1), or no resamples.

    Source: `Efron 1979 <https://doi.org/10.1214/aos/1176344552>`_.
    """
    x, y = _pair(x, y)
    if statistic not in _RESAMPLED:
        raise ValueError(f"The bootstrap knows the statistics {sorted(_RESAMPLED)}, got {statistic!r}.")
    if not 0 < level < 1:
        raise ValueError(f"The level of an interval must lie between 0 and 1, got {level!r}.")
    if n_resamples < 1:
        raise ValueError(f"A bootstrap needs at least one resample, got {n_resamples!r}.")
    n = x.size
    n_batch = max(1, max_elements // n)
    values = np.empty(n_resamples)
    for start in range(0, n_resamples, n_batch):
        stop = min(start + n_batch, n_resamples)
        counts = rng.multinomial(n, np.full(n, 1 / n), size=stop - start)
        values[start:stop] = _RESAMPLED[statistic](x, y, counts.astype(np.float64))
    values = values[~np.isnan(values)]
    if not values.size:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def kendall_resampled(x: FloatArray, y: FloatArray, counts: FloatArray, *, max_elements: int = 2**22) -> FloatArray:
    """(n_resamples,) tau-b when network i occurs counts[r, i] times; counts is (n_resamples, n) of whole numbers.

    Two copies of one network are a tied pair. With s_ij the product of the signs of a pair, the pairs that agree less
    those that do not are c' s c for the counts c: whole numbers, which float32 holds exactly below 2**24.
    """
    codes = [np.unique(v, return_inverse=True)[1].astype(np.int32) for v in (x, y)]
    draws = counts.astype(np.float32)
    balance = np.zeros(len(counts))  # over ordered pairs
    width = max(1, max_elements // len(x))
    for start in range(0, len(x), width):
        part = slice(start, start + width)
        signs = np.prod([np.sign(code[:, None] - code[None, part]) for code in codes], axis=0, dtype=np.float32)
        balance += ((draws @ signs) * draws[:, part]).sum(axis=1, dtype=np.float64)
    n_pairs = counts.sum(axis=1) ** 2
    untied_x, untied_y = (n_pairs - (group_counts(v, counts)[0] ** 2).sum(axis=1) for v in (x, y))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(balance / np.sqrt(untied_x * untied_y))


def spearman_resampled(x: FloatArray, y: FloatArray, counts: FloatArray) -> FloatArray:
    """(n_resamples,) Spearman's rho when network i occurs counts[r, i] times; counts is (n_resamples, n)."""
    return correlation(ranks_resampled(x, counts), ranks_resampled(y, counts), weights=counts)


def ranks_resampled(v: FloatArray, counts: FloatArray) -> FloatArray:
    """(n_resamples, n) average rank of each entry, from 1/2 up, when network i occurs counts[r, i] times."""
    sizes, group = group_counts(v, counts)
    return np.asarray((np.cumsum(sizes, axis=1) - sizes + (sizes + 1) / 2)[:, group])


_RESAMPLED: Final = MappingProxyType[str, Callable[[FloatArray, FloatArray, FloatArray], FloatArray]](
    {"kendall": kendall_resampled, "spearman": spearman_resampled}
)


def group_counts(v: FloatArray, counts: FloatArray) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """Draws per group of equal values, (n_resamples, n_groups) in ascending order, and the (n,) group of each entry."""
    _, group = np.unique(v, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    return np.add.reduceat(counts[:, order], starts, axis=1), group


# ------------------------------------------------------------------------------------------------------- shared pieces


def correlation(x: FloatArray, y: FloatArray, weights: FloatArray | None = None) -> FloatArray:
    """(n_rows,) Pearson correlation of each row of x and y, each (n_rows | 1, n), with optional weights (n_rows, n)."""
    weights = np.ones((1, x.shape[1])) if weights is None else weights
    total = weights.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        x = x - (weights * x).sum(axis=1, keepdims=True) / total
        y = y - (weights * y).sum(axis=1, keepdims=True) / total
        covariance = (weights * x * y).sum(axis=1)
        result = covariance / np.sqrt((weights * x * x).sum(axis=1) * (weights * y * y).sum(axis=1))
    return np.asarray(np.clip(result, -1, 1))


def _pair(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 1:
        raise ValueError(f"A rank correlation needs two lists, shape (n,), but the scores have shape {x.shape}.")
    rows, y = _rows(x[None, :], y)
    return rows[0], y


def _rows(scores: npt.ArrayLike, y: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    scores, y = np.asarray(scores, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if scores.ndim != 2 or y.shape != scores.shape[1:]:
        raise ValueError(
            f"Expected scores of shape (n_programs, n_networks) and accuracies of shape (n_networks,), "
            f"got {scores.shape} and {y.shape}."
        )
    if y.size < 2:
        raise ValueError(f"A rank correlation needs at least two networks, got {y.size}.")
    if np.isnan(scores).any() or np.isnan(y).any():
        raise ValueError("NaN has no rank: pass the scores through scores_with_failures_last first.")
    return scores, y

"""What a program seen on some of its networks can still reach on all of them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from eznas.fitness.fitness import MAX_FAILED_SHARE, Aggregate, aggregated
from eznas.fitness.labels import MIN_NETWORKS, FloatArray, Labels
from eznas.fitness.ranks import batched_tau


def upper_bounds(
    scores: npt.ArrayLike,
    labels: Sequence[Labels],
    *,
    aggregate: Aggregate = "worst",
    weights: Sequence[float] | None = None,
    may_turn: bool = True,
    confidence: float = 0.99,
) -> FloatArray:
    """The tau-b that each program stays below on all networks with the given confidence, from those seen.

    The networks seen are a random sample of all: tau on k of N networks differs from tau on all N with a standard error
    of that of tau on k, times sqrt(1 - k/N). Each task gets its own one-sided normal bound; the bound of the aggregate
    is the aggregate of the bounds, which is never too low.

    Args:
        scores: (n_programs, n_networks) with NaN in the columns not looked at yet, the same for all programs. A
            program's failure on a network seen is ±inf.
        labels: the tasks, over all networks.
        aggregate, weights: of the tasks, as `assess_population` takes them.
        may_turn: whether a program may also predict by a low score.
        confidence: of the bound, one-sided, in (0.5, 1).

    Returns:
        (n_programs,) bounds. 1 where nothing can be said: a task with fewer than five networks or equal accuracies
        among those seen, or a program that failed somewhere or scores all alike so far. ``-inf`` for a program that
        failed on so many networks already that it is unrankable, whatever follows.

    Raises:
        ValueError: if the confidence is not in (0.5, 1).
    """
    if not 0.5 < confidence < 1:
        raise ValueError(f"The confidence of an early decision must lie between 0.5 and 1, got {confidence!r}.")
    scores = np.asarray(scores, dtype=np.float64)
    failed = np.isinf(scores)
    seen = ~np.isnan(scores).all(axis=0)
    z = NormalDist().inv_cdf(confidence)
    ups, downs = zip(*(_of_task(scores, failed, task, seen, z) for task in labels), strict=True)
    bounds = aggregated(np.stack(ups), aggregate, weights)
    if may_turn:
        bounds = np.maximum(bounds, aggregated(np.stack(downs), aggregate, weights))
    for task in labels:
        lost = failed[:, task.networks].sum(axis=1)
        bounds[lost > MAX_FAILED_SHARE * task.networks.size] = -np.inf
    return np.asarray(bounds)


def _of_task(
    scores: FloatArray, failed: npt.NDArray[np.bool_], task: Labels, seen: npt.NDArray[np.bool_], z: float
) -> tuple[FloatArray, FloatArray]:
    """(n_programs,) bounds of tau in the given direction and in the other."""
    here = seen[task.networks]
    accuracies, columns = task.accuracies[here], task.networks[here]
    ups, downs = np.ones(len(scores)), np.ones(len(scores))
    if columns.size < MIN_NETWORKS or np.ptp(accuracies) == 0:
        return ups, downs
    whole = np.flatnonzero(~failed[:, columns].any(axis=1))
    if not whole.size:
        return ups, downs
    found = batched_tau(scores[whole][:, columns], accuracies)
    margin = z * found.standard_error * np.sqrt(1 - columns.size / task.networks.size)
    for bounds, tau in ((ups, found.tau), (downs, -found.tau)):
        bounds[whole] = np.minimum(np.nan_to_num(tau + margin, nan=1.0), 1.0)
    return ups, downs

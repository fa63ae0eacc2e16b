"""The last word on a simplification: real scores, not algebra.

Algebra knows nothing of rounding, overflow or the guards inside operators, so a candidate is accepted only if it scores
networks it was not derived from as the original does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy
from numpy.typing import NDArray

from eznas.programs import Program

RELATIVE_TOLERANCE = 1e-6
"""Largest difference between two scores of one network, relative to the larger magnitude."""


def certify(
    original: Program,
    candidate: Program,
    score: Callable[[Program], NDArray[np.float64]],
    *,
    relative_tolerance: float = RELATIVE_TOLERANCE,
) -> bool:
    """Whether a candidate may stand for the original.

    Args:
        original: the program found.
        candidate: the smaller one.
        score: (n_networks,) float64 scores of a program on held-out networks, NaN or infinite where it failed.
        relative_tolerance: largest relative difference of two scores of one network.

    Returns:
        True if the same networks fail, at least one does not, the others agree to `relative_tolerance`, and all are
        ranked alike, ties included.

    Raises:
        ValueError: if `score` gives the two programs different numbers of networks.
    """
    before, after = (np.asarray(score(p), dtype=np.float64) for p in (original, candidate))
    if before.shape != after.shape or before.ndim != 1:
        raise ValueError(f"score must give one number per network, got shapes {before.shape} and {after.shape}")
    finite = np.isfinite(before)
    if not finite.any() or not np.array_equal(finite, np.isfinite(after)):
        return False
    before, after = before[finite], after[finite]
    largest = np.maximum(np.abs(before), np.abs(after))
    is_close = bool((np.abs(before - after) <= relative_tolerance * largest).all())
    return is_close and np.array_equal(scipy.stats.rankdata(before), scipy.stats.rankdata(after))

"""Stability: what scores keep when seeds or images are drawn anew."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Final

import numpy as np

from eznas.assessment.assessment import Stability
from eznas.fitness import kendall_tau_b, scores_with_failures_last
from eznas.fitness.labels import FloatArray

AVERAGED: Final = (1, 3, 5)
"""Draws whose scores are averaged."""


def stability_of(what: str, draws: FloatArray, accuracies: FloatArray) -> Stability:
    """The stability of one proxy over draws.

    Args:
        what: is drawn anew.
        draws: (n_draws, n) scores, higher better, not finite where the proxy failed; at least two draws.
        accuracies: (n,).

    Returns:
        NaN for a tau that does not exist. In a mean over draws a network that failed in one of them failed.

    Raises:
        ValueError: if there is one draw.
    """
    if len(draws) < 2:
        raise ValueError(f"Stability is seen in two draws or more, got {len(draws)}.")
    ranked = [scores_with_failures_last(row, ~np.isfinite(row), 1) for row in draws]
    between = [_tau(a, b) for a, b in combinations(ranked, 2)]
    averaged = {}
    for n in AVERAGED:
        if n <= len(draws):
            mean = draws[:n].mean(axis=0)
            averaged[n] = _tau(scores_with_failures_last(mean, ~np.isfinite(mean), 1), accuracies)
    known = [tau for tau in between if math.isfinite(tau)]
    return Stability(
        what=what,
        taus=tuple(_tau(row, accuracies) for row in ranked),
        retest=float(np.mean(known)) if known else math.nan,
        averaged=averaged,
    )


def _tau(x: FloatArray, y: FloatArray) -> float:
    return math.nan if x.min() == x.max() or y.min() == y.max() else kendall_tau_b(x, y)

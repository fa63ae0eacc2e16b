"""What evaluation hands to fitness: the scores of programs on networks, and a reason for every failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from eznas.programs import Invalid


@dataclass(frozen=True, eq=False)
class ScoreMatrix:
    """Scores of programs on networks.

    Attributes:
        scores: (n_programs, n_networks) float64; non-finite where a program failed.
        failures: for each program that failed somewhere, the first network (column) it failed on, and why.
    """

    scores: np.ndarray
    failures: Mapping[int, tuple[int, Invalid]]

    @property
    def n_failed(self) -> np.ndarray:
        """(n_programs,) number of networks each program failed on."""
        return (~np.isfinite(self.scores)).sum(axis=1)

"""Sums of few words with fitted weights: where a search over sentences begins.

On each sample the values of a word are centred and the accuracies are replaced by their ranks; all samples weigh the
same. Word after word is taken that says most of what the sum so far leaves unexplained, and after each all weights are
fitted anew by ridge regression. Least squares on ranks uses all labels at once, and so overfits far less than a search
that climbs a rank correlation; the sums are then what other sentences must beat.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.stats

from eznas.fitness import Labels
from eznas.fitness.ranks import kendall_tau_b_batch

LONGEST: Final = 24
"""Most words of a sum."""
RIDGE: Final = 1.0
"""Added to the diagonal of the products of words, of which each has that of the number of tasks."""
OUTLIER: Final = 3.0
"""A word is left out of sums if one network lies so many of its spreads, times the root of the networks, from the mean:
such a network would decide the weight, and another one the next time."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sum:
    """A weighted sum of words.

    Attributes:
        rows: of the words.
        weights: of their values.
    """

    rows: tuple[int, ...]
    weights: tuple[float, ...]


class Fit:
    """Words and accuracies as least squares sees them.

    Args:
        values: (n_words, n_networks), finite.
        labels: the tasks.
    """

    def __init__(self, values: Floats, labels: Sequence[Labels]) -> None:
        parts, targets = [], []
        for task in labels:
            part = values[:, task.networks]
            parts.append((part - part.mean(axis=1, keepdims=True)) / len(task.networks) ** 0.5)
            ranks = scipy.stats.rankdata(task.accuracies)
            targets.append((ranks - ranks.mean()) / ranks.std() / len(task.networks) ** 0.5)
        words = np.concatenate(parts, axis=1)
        self.target = np.concatenate(targets)
        self.scales = np.sqrt(np.square(words).sum(axis=1) / len(labels))
        largest = np.abs(words).max(axis=1)
        self.usable = (self.scales > 0) & np.isfinite(self.scales) & (largest < OUTLIER * self.scales)
        self.words = words / np.where(self.scales > 0, self.scales, 1.0)[:, None]
        self.with_target = self.words @ self.target

    def path(
        self, longest: int = LONGEST, ridge: float = RIDGE, *, without: frozenset[int] = frozenset()
    ) -> Iterator[Sum]:
        """Sums of 1, 2, 3, ... words, each with one word more than the last.

        Args:
            longest: most words.
            ridge: see `RIDGE`.
            without: rows that no sum may have, so that there are other paths.
        """
        is_open = self.usable.copy()
        is_open[list(without)] = False
        chosen: list[int] = []
        products = np.empty((0, len(self.words)))
        weights = np.empty(0)
        for _ in range(min(longest, int(is_open.sum()))):
            left = self.with_target - weights @ products
            left = np.where(is_open, np.abs(left), -np.inf)
            row = int(left.argmax())
            chosen.append(row)
            is_open[row] = False
            products = np.concatenate([products, (self.words @ self.words[row])[None]])
            gram = products[:, chosen] + ridge * np.eye(len(chosen))
            weights = np.linalg.solve(gram, self.with_target[chosen])
            yield Sum(tuple(chosen), tuple((weights / self.scales[chosen]).tolist()))


def left_out(values: Floats, labels: Sequence[Labels], longest: int = LONGEST) -> Floats:
    """What sums are worth where they were not fitted: spaces are left out in turn.

    Args:
        values: (n_words, n_networks), finite.
        labels: the tasks; those of the same networks are one space.
        longest: most words of a sum.

    Returns:
        (n_words_of_the_sum, n_spaces) Kendall's tau on the space that was left out, the mean over its tasks; NaN where
        a path ended early.
    """
    spaces: dict[bytes, list[int]] = {}
    for index, task in enumerate(labels):
        spaces.setdefault(task.networks.tobytes(), []).append(index)
    found = np.full((longest, len(spaces)), np.nan)
    for column, tasks in enumerate(spaces.values()):
        fit = Fit(values, [task for index, task in enumerate(labels) if index not in tasks])
        networks = labels[tasks[0]].networks
        sums = [np.asarray(one.weights) @ values[list(one.rows)][:, networks] for one in fit.path(longest)]
        taus = [kendall_tau_b_batch(np.stack(sums), labels[index].accuracies) for index in tasks]
        found[: len(sums), column] = np.mean(taus, axis=0)
    return found

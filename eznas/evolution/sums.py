"""Sums of few words with fitted weights: where a search over sentences begins.

On each sample the values of a word are centred and the accuracies are replaced by their ranks; all samples weigh the
same. Word after word is taken that says most of what the sum so far leaves unexplained, and after each all weights are
fitted anew by ridge regression. Least squares on ranks uses all labels at once, and so overfits far less than a search
that climbs a rank correlation; the sums are then what other sentences must beat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy

from eznas.fitness import Labels
from eznas.fitness.ranks import kendall_tau_b_batch

LONGEST: Final = 24
"""Most words of a sum."""
RIDGE: Final = 1.0
"""Added to the diagonal of the products of words, of which each has that of the number of tasks."""
TOP_TARGET: Final = 8
"""Power of the ranks, in shares, that sums for the top explain: the upper fifth has nearly all of its spread."""
TOP_WEIGHT: Final = 2
"""Power of the ranks by which networks weigh there."""
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
        of_top: whether the order among the best networks is wanted, more than that of all.
    """

    def __init__(self, values: Floats, labels: Sequence[Labels], *, of_top: bool = False) -> None:
        parts, targets = [], []
        for task in labels:
            part = values[:, task.networks]
            ranks = scipy.stats.rankdata(task.accuracies) / len(task.networks)
            weights = ranks**TOP_WEIGHT if of_top else np.ones(len(ranks))
            weights /= weights.sum()
            parts.append((part - (part @ weights)[:, None]) * weights**0.5)
            target = ranks**TOP_TARGET if of_top else ranks
            target = (target - target @ weights) * weights**0.5
            targets.append(target / np.linalg.norm(target))
        words = np.concatenate(parts, axis=1)
        self._ends = np.cumsum([part.shape[1] for part in parts])
        self.target = np.concatenate(targets)
        self.scales = np.sqrt(np.square(words).sum(axis=1) / len(labels))
        largest = np.abs(words).max(axis=1)
        self.usable = (self.scales > 0) & np.isfinite(self.scales) & (largest < OUTLIER * self.scales)
        self.words = words / np.where(self.scales > 0, self.scales, 1.0)[:, None]
        self.with_target = self.words @ self.target

    def path(
        self,
        longest: int = LONGEST,
        ridge: float = RIDGE,
        *,
        without: frozenset[int] = frozenset(),
        is_cautious: bool = False,
    ) -> Iterator[Sum]:
        """Sums of 1, 2, 3, ... words, each with one word more than the last.

        Args:
            longest: most words.
            ridge: see `RIDGE`.
            without: rows that no sum may have, so that there are other paths.
            is_cautious: whether a word must pay on most samples: what it says of the rest is the mean over the samples
                less its standard error, and not their sum.
        """
        is_open = self.usable.copy()
        is_open[list(without)] = False
        chosen: list[int] = []
        products = np.empty((0, len(self.words)))
        weights = np.empty(0)
        for _ in range(min(longest, int(is_open.sum()))):
            left = self._bounds(chosen, weights) if is_cautious else np.abs(self.with_target - weights @ products)
            left = np.where(is_open, left, -np.inf)
            row = int(left.argmax())
            chosen.append(row)
            is_open[row] = False
            products = np.concatenate([products, (self.words @ self.words[row])[None]])
            gram = products[:, chosen] + ridge * np.eye(len(chosen))
            weights = np.linalg.solve(gram, self.with_target[chosen])
            yield Sum(tuple(chosen), tuple((weights / self.scales[chosen]).tolist()))

    def _bounds(self, chosen: list[int], weights: Floats) -> Floats:
        """(n_words,) what words say of what a sum leaves: the mean over the samples less its standard error."""
        rest = self.target - weights @ self.words[chosen] if chosen else self.target
        starts = np.concatenate([[0], self._ends[:-1]])
        spans = zip(starts.tolist(), self._ends.tolist(), strict=True)
        said = np.stack([self.words[:, start:end] @ rest[start:end] for start, end in spans], axis=1)
        spread = said.std(axis=1, ddof=1) if said.shape[1] > 1 else np.zeros(len(said))
        return np.asarray(np.abs(said.mean(axis=1)) - spread / said.shape[1] ** 0.5)


def kinds(labels: Sequence[Labels], least: int) -> list[list[int]]:
    """The tasks that are left out together: those of one group if there are enough groups, else those of one space.

    Args:
        labels: the tasks; those of the same networks are one space.
        least: fewest groups that are enough.
    """
    groups: dict[str | bytes, list[int]] = {}
    spaces: dict[bytes, list[int]] = {}
    for index, task in enumerate(labels):
        space = task.networks.tobytes()
        spaces.setdefault(space, []).append(index)
        groups.setdefault(task.group or space, []).append(index)
    return list(groups.values() if len(groups) >= least else spaces.values())


def left_out(
    values: Floats,
    labels: Sequence[Labels],
    together: Sequence[Sequence[int]],
    longest: int = LONGEST,
    ridge: float = RIDGE,
    *,
    is_cautious: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Floats:
    """What sums are worth where they were not fitted: kinds of samples are left out in turn.

    Args:
        values: (n_words, n_networks), finite.
        labels: the tasks.
        together: indices of the tasks of each kind.
        longest: most words of a sum.
        ridge: as for `Fit.path`.
        is_cautious: as for `Fit.path`.
        progress: told the kinds done and all of them.

    Returns:
        (n_words_of_the_sum, n_kinds) Kendall's tau on the kind that was left out, the mean over its tasks; NaN where
        a path ended early.
    """
    found = np.full((longest, len(together)), np.nan)
    for column, tasks in enumerate(together):
        fit = Fit(values, [task for index, task in enumerate(labels) if index not in tasks])
        path = list(fit.path(longest, ridge, is_cautious=is_cautious))
        taus = []
        for index in tasks:
            networks = labels[index].networks
            sums = np.stack([np.asarray(one.weights) @ values[list(one.rows)][:, networks] for one in path])
            taus.append(kendall_tau_b_batch(sums, labels[index].accuracies))
        found[: len(path), column] = np.mean(taus, axis=0)
        progress(column + 1, len(together))
    return found

"""A search many times over: every repeat has streams of its own, so that any one can be run again alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from eznas.benchmarks import Split
from eznas.errors import ConfigError
from eznas.nas.searches import Outcome, Streams
from eznas.nas.table import Floats, Indices, SearchTable
from eznas.randomness import stream

Search = Callable[[Streams], Outcome]
"""A search with everything but its randomness, for example ``partial(score_search, table, scores, n=100)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The picks of many repeats on one data set and split.

    Attributes:
        dataset: name of the data set.
        split: images the accuracies were measured on.
        n: repeats.
        mean: mean accuracy in percent.
        std: standard deviation of single repeats in points (divisor n - 1); None for one repeat.
        low: lower end of the 95 % confidence interval of the mean (Student's t); None for one repeat.
        high: its upper end.
        rank: mean rank of the pick among all architectures, 1 is the best, equal accuracies share the better rank.
        regret: mean distance in points to the best architecture of the benchmark.
    """

    dataset: str
    split: Split
    n: int
    mean: float
    std: float | None
    low: float | None
    high: float | None
    rank: float
    regret: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """Independent repeats of one search.

    Attributes:
        outcomes: (n,) in the order of the repeats.
    """

    outcomes: tuple[Outcome, ...]

    @property
    def picks(self) -> Indices:
        """(n,) positions of the picked architectures."""
        return np.array([outcome.pick for outcome in self.outcomes], dtype=np.intp)

    def summaries(self, table: SearchTable) -> tuple[Summary, ...]:
        """One summary for each data set and split that the table reports, in its order."""
        return tuple(self.summary(table, dataset, split) for dataset, split in table.reported)

    def summary(self, table: SearchTable, dataset: str, split: Split) -> Summary:
        """How the picks fare on one data set and split that the table reports."""
        accuracies = table.reported[dataset, split]
        found = accuracies[self.picks]
        n, mean = len(found), float(found.mean())
        n_better = table.n - np.searchsorted(np.sort(accuracies), found, side="right")
        std, half = None, None
        if n > 1:
            std = float(found.std(ddof=1))
            half = _student_t(n - 1) * std / math.sqrt(n)
        return Summary(
            dataset=dataset,
            split=split,
            n=n,
            mean=mean,
            std=std,
            low=None if half is None else mean - half,
            high=None if half is None else mean + half,
            rank=float(1 + n_better.mean()),
            regret=float(accuracies.max() - mean),
        )

    def curves(self, table: SearchTable, dataset: str, split: Split) -> Floats:
        """(n, longest) accuracy in percent of the best architecture so far after each training.

        "Best" is by the accuracy that drives, so a curve of test accuracies may fall. A repeat that stopped earlier
        than the longest keeps its last value.

        Raises:
            ConfigError: if the search trains nothing.
        """
        longest = max(len(outcome.incumbents) for outcome in self.outcomes)
        if longest == 0:
            raise ConfigError("A search that trains nothing has no curve; use its summary")
        rows = [np.pad(o.incumbents, (0, longest - len(o.incumbents)), mode="edge") for o in self.outcomes]
        curves: Floats = table.reported[dataset, split][np.array(rows)]
        return curves


def repeat(search: Search, n: int, seed: int) -> Repeats:
    """`n` independent repeats of a search.

    Score-only searches with the same seed and number of candidates draw the same ones in the same repeat, which puts
    the proxies that are compared on equal terms.

    Raises:
        ConfigError: if `n` is below 1 or `seed` negative.
    """
    if n < 1:
        raise ConfigError(f"A search must be repeated at least once, got {n}")
    return Repeats(outcomes=tuple(repeat_once(search, position, seed) for position in range(n)))


def repeat_once(search: Search, position: int, seed: int) -> Outcome:
    """One repeat alone, equal to the one at that position of `repeat`.

    Raises:
        ConfigError: if `seed` is negative.
    """
    if seed < 0:
        raise ConfigError(f"The seed of a search must be 0 or more, got {seed}")
    return search(lambda purpose: stream(seed, "nas", position, purpose))


def _student_t(n_degrees: int) -> float:
    """97.5 % quantile of Student's t."""
    from scipy.stats import t

    return float(t.ppf(0.975, n_degrees))

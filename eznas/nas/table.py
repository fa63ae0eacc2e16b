"""What a search looks up: recorded accuracies, training times and neighbours of every architecture, in index order.

On NAS-Bench-201 with all its cells the neighbours of a cell are those one edit away. Other benchmarks list a part of
their space, where the edits of a network lead mostly outside; its neighbours are the `N_NEAREST` listed ones that
differ in the fewest places.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from eznas.benchmarks import Benchmark, Split, learning_split
from eznas.benchmarks.nb201 import SHORT_TRAINING
from eznas.errors import BenchmarkError, ConfigError
from eznas.spaces import Architecture, SearchSpace, nb201, space_of

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Training = Literal["short", "full"]
"""Which recorded training a search pays for: the benchmark's short one (12 epochs) or the full one."""

N_NEAREST: Final = 8
"""Neighbours of a network where a benchmark lists a part of its space."""
_REMEDY: Final = "give one value each, in the order of the architectures"


@dataclass(frozen=True, eq=False, kw_only=True)
class SearchTable:
    """A benchmark as searches see it. Architectures are known by their position.

    A search learns from accuracies on `dataset` and `split` alone; what is reported of its pick is `reported`.

    Attributes:
        architectures: (n,) architectures in index order.
        dataset: name of the data set that is searched on.
        split: images whose accuracies a search sees: validation, or test where a benchmark has nothing else.
        reported: for each (data set, split) the (n,) accuracies in percent after full training; has the searched one.
        short: (n,) accuracies in percent on `dataset` and `split` after 12 epochs of training; None if not recorded.
        seconds: (n,) simulated seconds of one training and its validation, for each kind of training whose times are
            recorded; without them only trainings can be counted.
        neighbours: (n, k) positions of the architectures that an edit leads to; None if nobody asked for them.
        mutation_probabilities: (k,) probability of each neighbour under mutation; None without neighbours.
        is_whole: whether neighbours are all that are one edit away, and not the nearest of those listed.
        pool: positions of the architectures that are scored, which searches by score draw from; None for all.

    Raises:
        BenchmarkError: if shapes disagree, the searched accuracies are lacking, a value is not a percentage or not a
            positive time, a neighbour is not in the table, or the probabilities do not sum to 1.
    """

    architectures: tuple[Architecture, ...]
    dataset: str
    split: Split
    reported: Mapping[tuple[str, Split], Floats]
    neighbours: Indices | None = None
    mutation_probabilities: Floats | None = None
    is_whole: bool = True
    pool: Indices | None = None
    short: Floats | None = None
    seconds: Mapping[Training, Floats] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.architectures)
        if (self.dataset, self.split) not in self.reported:
            raise BenchmarkError(
                f"A search on {self.dataset} {self.split.value} accuracies needs them among the reported ones, but "
                f"those are {', '.join(f'{d} {s.value}' for d, s in self.reported) or 'none'}; search on one of them."
            )
        percentages = {f"{d} {s.value}": values for (d, s), values in self.reported.items()}
        if self.short is not None:
            percentages["short"] = self.short
        for name, values in percentages.items():
            if values.shape != (n,) or not np.all((values >= 0) & (values <= 100)):
                raise BenchmarkError(
                    f"The {name} accuracies of a search table must be {n} percentages in 0..100, but they have shape "
                    f"{values.shape} or other values; {_REMEDY}."
                )
        for training, spent in self.seconds.items():
            if spent.shape != (n,) or not np.all((spent > 0) & np.isfinite(spent)):
                raise BenchmarkError(
                    f"The {training} training times of a search table must be {n} positive numbers of seconds, but "
                    f"they have shape {spent.shape} or other values; {_REMEDY}."
                )
        self._check_neighbours(n)
        object.__setattr__(self, "reported", MappingProxyType(dict(self.reported)))
        object.__setattr__(self, "seconds", MappingProxyType(dict(self.seconds)))

    def _check_neighbours(self, n: int) -> None:
        chances = self.mutation_probabilities
        if self.neighbours is None or chances is None:
            return
        shape = self.neighbours.shape
        if len(shape) != 2 or shape[0] != n or shape[1] < 1 or np.any((self.neighbours < 0) | (self.neighbours >= n)):
            raise BenchmarkError(
                f"The neighbours of a search table must be positions in 0..{n - 1}, one row for each of {n} "
                f"architectures, but their shape is {shape} or some lie outside; correct them."
            )
        if chances.shape != shape[1:] or np.any(chances < 0) or not np.isclose(chances.sum(), 1.0):
            raise BenchmarkError(
                f"The mutation probabilities of a search table must be {shape[1]} numbers that sum to 1, but they "
                f"have shape {chances.shape} and sum {chances.sum():g}; give one per neighbour."
            )

    @property
    def n(self) -> int:
        """Number of architectures."""
        return len(self.architectures)

    @property
    def n_scored(self) -> int:
        """Number of architectures that searches by score draw from."""
        return self.n if self.pool is None else len(self.pool)

    @property
    def moves(self) -> tuple[Indices, Floats]:
        """Neighbours and their probabilities under mutation.

        Raises:
            ConfigError: if the table was made without.
        """
        if self.neighbours is None or self.mutation_probabilities is None:
            raise ConfigError("A search that changes architectures needs neighbours; make the table with them")
        return self.neighbours, self.mutation_probabilities

    def fitness(self, training: Training) -> Floats:
        """(n,) accuracies in percent that a search is driven by; the full ones where no short ones are recorded."""
        if training == "short" and self.short is not None:
            return self.short
        return self.reported[self.dataset, self.split]

    def training_seconds(self, training: Training) -> Floats | None:
        """(n,) simulated seconds of the training that gives `fitness`; None if they are not recorded."""
        return self.seconds.get("full" if self.short is None else training)

    def describe_fitness(self, training: Training) -> str:
        """The accuracies of `fitness` in words: ``"cifar10 validation, 12 epochs"``."""
        is_short = training == "short" and self.short is not None
        return f"{self.dataset} {self.split.value}, {f'{SHORT_TRAINING} epochs' if is_short else 'full training'}"


def search_table(benchmark: Benchmark, dataset: str = "cifar10", *, with_neighbours: bool = True) -> SearchTable:
    """A benchmark as searches see it, with the training times that it records.

    Args:
        benchmark: the accuracies.
        dataset: what to search on. The validation accuracies drive, or test accuracies if there are no others.
        with_neighbours: whether a search will change architectures; to find the nearest of 20,001 takes seconds.

    Raises:
        BenchmarkError: if the benchmark has no such accuracies, or lists one network only.
    """
    split = learning_split(benchmark, (dataset,))
    full = benchmark.full_training
    lengths: dict[Training, int | None] = {"short": SHORT_TRAINING, "full": full}
    times = {
        training: benchmark.seconds[dataset, epochs]
        for training, epochs in lengths.items()
        if (dataset, epochs) in benchmark.seconds
    }
    is_whole = benchmark.architectures == nb201.all_architectures()
    neighbours: Indices | None = None
    chances: Floats | None = None
    if with_neighbours and is_whole:
        neighbours, chances = nb201.neighbour_indices(), np.array(nb201.MUTATION_PROBABILITIES)
    elif with_neighbours:
        neighbours = nearest(benchmark.architectures, N_NEAREST)
        chances = np.full(neighbours.shape[1], 1 / neighbours.shape[1])
    return SearchTable(
        architectures=benchmark.architectures,
        dataset=dataset,
        split=split,
        reported={(d, s): table for (d, s, epochs), table in benchmark.tables.items() if epochs == full},
        neighbours=neighbours,
        mutation_probabilities=chances,
        is_whole=is_whole,
        short=benchmark.tables.get((dataset, split, SHORT_TRAINING)),
        seconds=times,
    )


def nearest(architectures: Sequence[Architecture], n: int, *, block: int = 512) -> Indices:
    """Positions of the architectures that differ least from each, (len(architectures), n or fewer).

    Two differ in the places in which their texts do: the space's own places, or else the words and numbers of the text,
    those that one has more included. Of equally near ones the next in the list are taken, as in a ring.

    Args:
        architectures: of one space, two or more.
        n: neighbours of each; all others if there are no more.
        block: rows at a time, for memory alone.

    Raises:
        BenchmarkError: if there is one architecture only.
    """
    n_all = len(architectures)
    if n_all < 2:
        raise BenchmarkError("A search that changes architectures needs two or more in the benchmark, got one.")
    texts = [_places(space_of(arch), arch) for arch in architectures]
    codes: dict[tuple[int, str], int] = {}
    columns = [[codes.setdefault(place, len(codes)) for place in enumerate(places)] for places in texts]
    marks = np.zeros((n_all, len(codes)), dtype=np.float32)
    for row, found in enumerate(columns):
        marks[row, found] = 1
    lengths = np.array([len(places) for places in texts], dtype=np.float32)
    n = min(n, n_all - 1)
    everyone = np.arange(n_all)
    chosen = np.empty((n_all, n), dtype=np.intp)
    for start in range(0, n_all, block):
        rows = everyone[start : start + block]
        apart = np.maximum(lengths[rows, None], lengths[None]) - marks[rows] @ marks.T
        order = apart * n_all + (everyone[None] - rows[:, None]) % n_all
        order[np.arange(len(rows)), rows] = np.inf
        first = np.argpartition(order, n - 1, axis=1)[:, :n]
        ranked = np.argsort(np.take_along_axis(order, first, axis=1), axis=1)
        chosen[rows] = np.take_along_axis(first, ranked, axis=1)
    return chosen


def _places(space: SearchSpace[Any], arch: Architecture) -> tuple[str, ...]:
    return space.places(arch) if space.places is not None else tuple(re.findall(r"[a-z_]+|[0-9.]+", arch.spec))

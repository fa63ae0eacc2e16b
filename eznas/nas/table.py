"""What a search looks up: recorded accuracies, training times and neighbours of every architecture, in index order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from eznas.benchmarks import Benchmark, Split, learning_split
from eznas.benchmarks.nb201 import SHORT_TRAINING
from eznas.errors import BenchmarkError
from eznas.spaces import Architecture, nb201

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Training = Literal["short", "full"]
"""Which recorded training a search pays for: the benchmark's short one (12 epochs) or the full one."""

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
        neighbours: (n, k) positions of the architectures one edit away.
        mutation_probabilities: (k,) probability of each neighbour under mutation.

    Raises:
        BenchmarkError: if shapes disagree, the searched accuracies are lacking, a value is not a percentage or not a
            positive time, a neighbour is not in the table, or the probabilities do not sum to 1.
    """

    architectures: tuple[Architecture, ...]
    dataset: str
    split: Split
    reported: Mapping[tuple[str, Split], Floats]
    neighbours: Indices
    mutation_probabilities: Floats
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
        shape, chances = self.neighbours.shape, self.mutation_probabilities
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


def search_table(benchmark: Benchmark, dataset: str = "cifar10") -> SearchTable:
    """All NAS-Bench-201 cells as searches see them, with the training times that the benchmark records.

    Args:
        benchmark: accuracies of all 15,625 cells in the official order.
        dataset: what to search on. The validation accuracies drive, or test accuracies if there are no others.

    Raises:
        BenchmarkError: if the benchmark does not list exactly these cells, or has no such accuracies.
    """
    if benchmark.architectures != nb201.all_architectures():
        raise BenchmarkError(
            f"A search table needs all {nb201.N_CELLS} NAS-Bench-201 cells in the official order, but benchmark "
            f"{benchmark.name!r} lists {len(benchmark.architectures)} other architectures; load it with load_nb201."
        )
    split = learning_split(benchmark, (dataset,))
    full = benchmark.full_training
    lengths: dict[Training, int | None] = {"short": SHORT_TRAINING, "full": full}
    times = {
        training: benchmark.seconds[dataset, epochs]
        for training, epochs in lengths.items()
        if (dataset, epochs) in benchmark.seconds
    }
    return SearchTable(
        architectures=benchmark.architectures,
        dataset=dataset,
        split=split,
        reported={(d, s): table for (d, s, epochs), table in benchmark.tables.items() if epochs == full},
        neighbours=nb201.neighbour_indices(),
        mutation_probabilities=np.array(nb201.MUTATION_PROBABILITIES),
        short=benchmark.tables.get((dataset, split, SHORT_TRAINING)),
        seconds=times,
    )

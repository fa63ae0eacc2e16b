"""A benchmark: a search space's architectures with recorded accuracies, each known by data set, split and epochs.

Training times, where they are recorded, are known by data set and epochs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from eznas.benchmarks.split import Split
from eznas.errors import BenchmarkError
from eznas.names import shown
from eznas.spaces import Architecture

DATASETS: Final = ("cifar10", "cifar100", "imagenet16")
"""The data sets of NAS-Bench-201; other benchmarks have others."""

Column = tuple[str, Split, int | None]
"""What one table of accuracies is of: data set, split, epochs of training (None: in full, epochs not stated)."""


@dataclass(frozen=True, eq=False)
class Benchmark:
    """Recorded accuracies of architectures.

    Attributes:
        name: short name, for example ``"nb201"``.
        provenance: one sentence on where the numbers come from: source, seeds, epochs, which splits there are.
        architectures: (n_architectures,) distinct architectures of one search space, in the benchmark's own order.
        tables: for each (data set, split, epochs) an (n_architectures,) float64 array of accuracies in percent.
        seconds: for each (data set, epochs) with recorded times an (n_architectures,) float64 array of seconds that
            one training takes with one evaluation on the validation images.
        label_noise: for each data set where it is known, the standard deviation between repeated trainings of one
            architecture, in percent points.
        unstated_splits: data sets with one label whose source does not say which images it was measured on; they are
            filed under `Split.TEST` and reported as "split not stated".
        predicted: data sets whose accuracies are predictions of a model, not trainings; reported as "predicted".
        functions: (n_architectures,) texts, equal for architectures that compute the same function, where the source
            records them; None where they must be worked out.
        notes: what was assumed when the accuracies were read, one sentence each, for people.

    Raises:
        BenchmarkError: if there is no architecture, one repeats or is of another space, a table has another length or
            a value outside 0..100, or a time or noise is not positive and finite.
    """

    name: str
    provenance: str
    architectures: tuple[Architecture, ...]
    tables: Mapping[Column, npt.NDArray[np.float64]]
    seconds: Mapping[tuple[str, int | None], npt.NDArray[np.float64]] = field(default_factory=dict)
    label_noise: Mapping[str, float] = field(default_factory=dict)
    unstated_splits: frozenset[str] = frozenset()
    predicted: frozenset[str] = frozenset()
    functions: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check_architectures()
        tables = {}
        for column, values in self.tables.items():
            table = np.array(values, dtype=np.float64)  # a copy: the benchmark cannot change under its readers
            self._check(column, table)
            table.flags.writeable = False
            tables[column] = table
        object.__setattr__(self, "tables", MappingProxyType(tables))
        times = {}
        for (dataset, epochs), values in self.seconds.items():
            spent = np.array(values, dtype=np.float64)
            if spent.shape != (len(self.architectures),) or not np.all((spent > 0.0) & np.isfinite(spent)):
                raise BenchmarkError(
                    f"The {dataset} training times ({_length(epochs)}) of benchmark {self.name!r} must be "
                    f"{len(self.architectures)} positive numbers of seconds, but they have shape {spent.shape} or "
                    "other values; give one each, in the order of the architectures."
                )
            spent.flags.writeable = False
            times[dataset, epochs] = spent
        object.__setattr__(self, "seconds", MappingProxyType(times))
        for dataset, noise in self.label_noise.items():
            if not 0.0 < noise <= 100.0:
                raise BenchmarkError(
                    f"The label noise of {dataset} in benchmark {self.name!r} must be a standard deviation in percent "
                    f"points above 0, but it is {noise}; correct it, or leave it out where it is not known."
                )
        object.__setattr__(self, "label_noise", MappingProxyType(dict(self.label_noise)))

    def _check_architectures(self) -> None:
        if self.functions is not None and len(self.functions) != len(self.architectures):
            raise BenchmarkError(
                f"Benchmark {self.name!r} must have one function for each of its {len(self.architectures)} "
                f"architectures, but it has {len(self.functions)}; give one each, or none at all."
            )
        if len(self._positions) != len(self.architectures):
            n_repeated = len(self.architectures) - len(self._positions)
            raise BenchmarkError(
                f"The architectures of benchmark {self.name!r} must be distinct, but {n_repeated} of "
                f"{len(self.architectures)} repeat an earlier one; keep one entry of each."
            )
        spaces = sorted({arch.space for arch in self.architectures})
        if len(spaces) != 1:
            raise BenchmarkError(
                f"The architectures of benchmark {self.name!r} must be of one search space, but they are of "
                f"{', '.join(spaces) or 'none'}; make one benchmark for each."
            )

    def _check(self, column: Column, table: npt.NDArray[np.float64]) -> None:
        where = f"The {self.describe(column)} accuracies of benchmark {self.name!r}"
        if table.shape != (len(self.architectures),):
            raise BenchmarkError(
                f"{where} must hold one value per architecture, shape ({len(self.architectures)},), but their shape is "
                f"{table.shape}; give one value each, in the order of the architectures."
            )
        wrong = np.flatnonzero(~((table >= 0.0) & (table <= 100.0)))
        if wrong.size:
            raise BenchmarkError(
                f"{where} must be percentages in 0..100, but architecture {wrong[0]} has {table[wrong[0]]}; "
                "correct or leave out such entries."
            )

    @cached_property
    def _positions(self) -> Mapping[Architecture, int]:
        return {arch: position for position, arch in enumerate(self.architectures)}

    def _position(self, arch: Architecture) -> int:
        if arch not in self._positions:
            raise BenchmarkError(
                f"Architecture {shown(arch.spec)} of space {arch.space!r} is not one of the {len(self.architectures)} "
                f"architectures of benchmark {self.name!r}; pick from its list."
            )
        return self._positions[arch]

    @property
    def space(self) -> str:
        """Name of the search space of all architectures."""
        return self.architectures[0].space

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets with recorded accuracies, each once, in the order of the tables."""
        return tuple(dict.fromkeys(dataset for dataset, _, _ in self.tables))

    @cached_property
    def full_training(self) -> int | None:
        """Epochs of the benchmark's longest training; None where its source does not state them."""
        stated = [epochs for _, _, epochs in self.tables if epochs is not None]
        return max(stated) if stated and len(stated) == len(self.tables) else None

    def has(self, dataset: str, split: Split, epochs: int | None = None) -> bool:
        """Whether accuracies of this data set, split and length of training (None: the full one) are recorded."""
        return self._column(dataset, split, epochs) in self.tables

    def _column(self, dataset: str, split: Split, epochs: int | None) -> Column:
        return (dataset, split, self.full_training if epochs is None else epochs)

    def accuracies(
        self, archs: Sequence[Architecture], dataset: str, split: Split, epochs: int | None = None
    ) -> npt.NDArray[np.float64]:
        """Accuracies of some architectures.

        Args:
            archs: which, in any order.
            dataset: name of the data set.
            split: images the accuracies were measured on.
            epochs: of the training; None means the benchmark's full training.

        Returns:
            (len(archs),) float64 array in percent, a new one on each call.

        Raises:
            BenchmarkError: if nothing is recorded for this data set, split and epochs, or for an architecture.
        """
        column = self._column(dataset, split, epochs)
        if column not in self.tables:
            raise BenchmarkError(
                f"Benchmark {self.name!r} has no {self.describe(column)} accuracies; it has: "
                f"{', '.join(map(self.describe, self.tables)) or 'none at all'}; ask for one of these."
            )
        positions = [self._position(arch) for arch in archs]
        accuracies: npt.NDArray[np.float64] = self.tables[column][np.array(positions, dtype=np.intp)]
        return accuracies

    def of(self, archs: Sequence[Architecture]) -> Benchmark:
        """The benchmark of some of its architectures, with all that is recorded of them.

        Raises:
            BenchmarkError: if there is none, or one is not of this benchmark.
        """
        places = np.array([self._position(arch) for arch in archs], dtype=np.intp)
        return replace(
            self,
            architectures=tuple(archs),
            tables={column: values[places] for column, values in self.tables.items()},
            seconds={column: values[places] for column, values in self.seconds.items()},
            functions=None if self.functions is None else tuple(self.functions[place] for place in places),
        )

    def describe(self, column: Column) -> str:
        """A column in words: ``"cifar10 validation (200 epochs)"``, ``"own, split not stated (epochs not stated)"``."""
        dataset, split, epochs = column
        is_unstated = dataset in self.unstated_splits and split is Split.TEST
        of = ", split not stated" if is_unstated else f" {getattr(split, 'value', repr(split))}"
        return f"{dataset}{of} ({'predicted; ' if dataset in self.predicted else ''}{_length(epochs)})"


def _length(epochs: int | None) -> str:
    return "epochs not stated" if epochs is None else f"{epochs} epochs"

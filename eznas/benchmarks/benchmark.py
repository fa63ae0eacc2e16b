"""A benchmark: a search space's architectures with recorded accuracies, each known by data set, split and epochs.

Training times, where they are recorded, are known by data set and epochs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from eznas.architectures import Architecture
from eznas.benchmarks.split import Split
from eznas.errors import BenchmarkError

DATASETS: Final = ("cifar10", "cifar100", "imagenet16")
FULL_TRAINING: Final = 200  # epochs; the benchmarks also record short trainings, which rank networks differently

Column = tuple[str, Split, int]
"""What one table of accuracies is of: data set, split, epochs of training."""


@dataclass(frozen=True, eq=False)
class Benchmark:
    """Recorded accuracies of architectures.

    Attributes:
        name: short name, for example ``"nb201"``.
        provenance: one sentence on where the numbers come from: source, seeds, epochs.
        architectures: (n_architectures,) distinct architectures in the benchmark's own order.
        tables: for each (data set, split, epochs) an (n_architectures,) float64 array of accuracies in percent.
        seconds: for each (data set, epochs) with recorded times an (n_architectures,) float64 array of seconds that
            one training takes with one evaluation on the validation images.
        are_epochs_stated: whether the source says how long it trained; else full trainings are filed under
            `FULL_TRAINING` and reported without a number.

    Raises:
        BenchmarkError: if an architecture repeats, a table has another length or a value outside 0..100, or a time is
            not positive and finite.
    """

    name: str
    provenance: str
    architectures: tuple[Architecture, ...]
    tables: Mapping[Column, npt.NDArray[np.float64]]
    are_epochs_stated: bool = True
    seconds: Mapping[tuple[str, int], npt.NDArray[np.float64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self._positions) != len(self.architectures):
            n_repeated = len(self.architectures) - len(self._positions)
            raise BenchmarkError(
                f"The architectures of benchmark {self.name!r} must be distinct, but {n_repeated} of "
                f"{len(self.architectures)} repeat an earlier one; keep one entry of each."
            )
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
                    f"The {dataset} training times ({epochs} epochs) of benchmark {self.name!r} must be "
                    f"{len(self.architectures)} positive numbers of seconds, but they have shape {spent.shape} or "
                    "other values; give one each, in the order of the architectures."
                )
            spent.flags.writeable = False
            times[dataset, epochs] = spent
        object.__setattr__(self, "seconds", MappingProxyType(times))

    def _check(self, column: Column, table: npt.NDArray[np.float64]) -> None:
        where = f"The {describe(column)} accuracies of benchmark {self.name!r}"
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

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets with recorded accuracies, each once, in the order of the tables."""
        return tuple(dict.fromkeys(dataset for dataset, _, _ in self.tables))

    def has(self, dataset: str, split: Split, epochs: int = FULL_TRAINING) -> bool:
        """Whether accuracies of this data set, split and length of training are recorded."""
        return (dataset, split, epochs) in self.tables

    def accuracies(
        self, archs: Sequence[Architecture], dataset: str, split: Split, epochs: int = FULL_TRAINING
    ) -> npt.NDArray[np.float64]:
        """Accuracies of some architectures.

        Returns:
            (len(archs),) float64 array in percent, a new one on each call.

        Raises:
            BenchmarkError: if nothing is recorded for this data set, split and epochs, or for an architecture.
        """
        column = (dataset, split, epochs)
        if column not in self.tables:
            raise BenchmarkError(
                f"Benchmark {self.name!r} has no {describe(column)} accuracies; it has: "
                f"{', '.join(map(describe, self.tables)) or 'none at all'}; ask for one of these."
            )
        try:
            positions = [self._positions[arch] for arch in archs]
        except KeyError as error:
            arch = error.args[0]
            raise BenchmarkError(
                f"Architecture {arch.spec!r} of space {arch.space!r} is not one of the {len(self.architectures)} "
                f"architectures of benchmark {self.name!r}; pick from its list."
            ) from None
        accuracies: npt.NDArray[np.float64] = self.tables[column][np.array(positions, dtype=np.intp)]
        return accuracies


def describe(column: Column) -> str:
    """A column in words: ``"cifar10 validation (200 epochs)"``."""
    dataset, split, epochs = column
    return f"{dataset} {getattr(split, 'value', repr(split))} ({epochs} epochs)"

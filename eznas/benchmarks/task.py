"""A task: some architectures with one recorded accuracy each, and where those accuracies come from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eznas.benchmarks.benchmark import Benchmark
from eznas.benchmarks.split import Split
from eznas.errors import BenchmarkError
from eznas.spaces import Architecture


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Trained accuracies of some architectures on one data set.

    Attributes:
        dataset: name of the data set, which also names the task.
        split: images the accuracies were measured on.
        epochs: of the training.
        accuracies: (n_architectures,) percent.
    """

    dataset: str
    split: Split
    epochs: int
    accuracies: npt.NDArray[np.float64]

    @property
    def n(self) -> int:
        """Number of architectures."""
        return len(self.accuracies)


def make_tasks(
    benchmark: Benchmark, architectures: tuple[Architecture, ...], datasets: tuple[str, ...], split: Split, epochs: int
) -> tuple[Task, ...]:
    """One task per data set.

    Raises:
        BenchmarkError: if the benchmark does not record such accuracies.
    """
    return tuple(
        Task(dataset, split, epochs, benchmark.accuracies(architectures, dataset, split, epochs))
        for dataset in datasets
    )


def learning_split(benchmark: Benchmark, datasets: tuple[str, ...], epochs: int) -> Split:
    """The accuracies a search may learn from: validation if every data set has it, else test.

    A table with one label per network has no validation accuracy; the networks that are reported on are other networks
    all the same.

    Raises:
        BenchmarkError: if a data set has neither.
    """
    for split in (Split.VALIDATION, Split.TEST):
        if all(benchmark.has(dataset, split, epochs) for dataset in datasets):
            return split
    lacking = [d for d in datasets if not any(benchmark.has(d, s, epochs) for s in Split)]
    raise BenchmarkError(
        f"Benchmark {benchmark.name!r} ({benchmark.provenance}) has no {epochs}-epoch accuracies of "
        f"{', '.join(lacking)}; set EZNAS_DATA to a folder that has them, or choose others (eznas data status)"
    )

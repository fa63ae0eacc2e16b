"""A task: some architectures with one recorded accuracy each, and where those accuracies come from."""

from __future__ import annotations

from collections.abc import Sequence
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
        epochs: of the training; None where the source does not state them.
        accuracies: (n_architectures,) percent.
    """

    dataset: str
    split: Split
    epochs: int | None
    accuracies: npt.NDArray[np.float64]

    @property
    def n(self) -> int:
        """Number of architectures."""
        return len(self.accuracies)


def make_tasks(
    benchmark: Benchmark,
    architectures: tuple[Architecture, ...],
    datasets: tuple[str, ...],
    split: Split,
    epochs: int | None = None,
) -> tuple[Task, ...]:
    """One task per data set.

    Raises:
        BenchmarkError: if the benchmark does not record such accuracies.
    """
    length = benchmark.full_training if epochs is None else epochs
    return tuple(
        Task(dataset, split, length, benchmark.accuracies(architectures, dataset, split, epochs))
        for dataset in datasets
    )


def learning_split(benchmark: Benchmark, datasets: Sequence[str], epochs: int | None = None) -> Split:
    """The accuracies a search may learn from: validation if every data set has it, else test.

    A table with one label per network may have no validation accuracy; the networks that are reported on are other
    networks all the same.

    Raises:
        BenchmarkError: if a data set has neither.
    """
    return _first_split(benchmark, datasets, epochs, (Split.VALIDATION, Split.TEST))


def reporting_split(benchmark: Benchmark, datasets: Sequence[str], epochs: int | None = None) -> Split:
    """The accuracies a report is on: test if every data set has it, else validation, of networks seen by nothing else.

    Raises:
        BenchmarkError: if a data set has neither.
    """
    return _first_split(benchmark, datasets, epochs, (Split.TEST, Split.VALIDATION))


def _first_split(benchmark: Benchmark, datasets: Sequence[str], epochs: int | None, splits: tuple[Split, ...]) -> Split:
    for split in splits:
        if all(benchmark.has(dataset, split, epochs) for dataset in datasets):
            return split
    lacking = [d for d in datasets if not any(benchmark.has(d, s, epochs) for s in Split)]
    length = "full-training" if epochs is None else f"{epochs}-epoch"
    problem = f"no {length} accuracies of {', '.join(lacking)}"
    if not lacking:
        problem = f"neither validation nor test accuracies of all of {', '.join(datasets)}"
    raise BenchmarkError(
        f"Benchmark {benchmark.name!r} ({benchmark.provenance.rstrip('.')}) has {problem}; it has: "
        f"{', '.join(map(benchmark.describe, benchmark.tables)) or 'none at all'}; choose from these, or set "
        "EZNAS_DATA to a folder that has others (eznas data status)."
    )

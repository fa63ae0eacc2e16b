"""A sample: networks of a benchmark with labels under conditions, what a run or a report looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from eznas.benchmarks.benchmark import Benchmark
from eznas.benchmarks.split import Split
from eznas.conditions import Conditions
from eznas.errors import BenchmarkError
from eznas.spaces import Architecture

Part = Literal["evolve", "select", "report"]
PARTS: tuple[Part, ...] = ("evolve", "select", "report")


@dataclass(frozen=True, eq=False, kw_only=True)
class Sample:
    """Networks with one recorded accuracy each, and how they are built and excited. It knows nothing of proxies.

    Attributes:
        name: unique in a run.
        benchmark: with the accuracies.
        dataset: whose accuracies.
        part: what the networks are for.
        split: images the accuracies were measured on.
        epochs: of the training; None is the full training.
        architectures: the networks.
        conditions: how they are built and excited.
        weight: in a mean over samples.
    """

    name: str
    benchmark: Benchmark
    dataset: str
    part: Part
    split: Split
    epochs: int | None
    architectures: tuple[Architecture, ...]
    conditions: Conditions
    weight: float = 1.0

    @property
    def n(self) -> int:
        """Number of networks."""
        return len(self.architectures)

    @property
    def accuracies(self) -> npt.NDArray[np.float64]:
        """(n,) in percent.

        Raises:
            BenchmarkError: if the benchmark does not record them.
        """
        return self.benchmark.accuracies(self.architectures, self.dataset, self.split, self.epochs)

    @property
    def stated_epochs(self) -> int | None:
        """Epochs of the training; None if the source does not say."""
        return self.benchmark.full_training if self.epochs is None else self.epochs

    @property
    def stated_split(self) -> str:
        """The split in a word; of labels of which the source does not say it, or that no training gave, that."""
        if self.dataset in self.benchmark.predicted:
            return "predicted"
        is_unstated = self.dataset in self.benchmark.unstated_splits and self.split is Split.TEST
        return "unstated" if is_unstated else self.split.value


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

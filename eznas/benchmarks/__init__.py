"""Benchmarks: architectures with recorded accuracies, and how to divide them.

`load_benchmark` gives a `Benchmark` of the table `BENCHMARKS` by name, `load_accuracies` one of your own networks;
`partition` divides it into parts for evolving, selecting and reporting, `folds` into parts that take turns;
`data_status` says what this machine has.
"""

from __future__ import annotations

from eznas.benchmarks.benchmark import DATASETS, Benchmark, Column
from eznas.benchmarks.nb101 import load_nb101
from eznas.benchmarks.nb201 import load_nb201
from eznas.benchmarks.own import load_accuracies
from eznas.benchmarks.sample import PARTS, Part, Sample, learning_split, reporting_split
from eznas.benchmarks.sources import BENCHMARKS, BenchmarkSource, load_benchmark, networks_of, source_named
from eznas.benchmarks.split import Split
from eznas.benchmarks.status import DataSource, data_status
from eznas.benchmarks.subsets import STRATEGIES, Partition, Sizes, Strategy, folds, partition, stratified, uniform
from eznas.benchmarks.trained import (
    Card,
    Recipe,
    TrainedTable,
    Training,
    benchmark_of,
    label_noise,
    load_trained,
    read_trainings,
    shipped_names,
)

__all__ = [
    "BENCHMARKS",
    "DATASETS",
    "STRATEGIES",
    "Benchmark",
    "BenchmarkSource",
    "Card",
    "Column",
    "DataSource",
    "PARTS",
    "Part",
    "Partition",
    "Recipe",
    "Sample",
    "Sizes",
    "Split",
    "Strategy",
    "TrainedTable",
    "Training",
    "benchmark_of",
    "data_status",
    "folds",
    "label_noise",
    "learning_split",
    "load_accuracies",
    "load_benchmark",
    "load_nb101",
    "load_nb201",
    "load_trained",
    "networks_of",
    "partition",
    "read_trainings",
    "reporting_split",
    "shipped_names",
    "source_named",
    "stratified",
    "uniform",
]

"""Benchmarks: architectures with recorded accuracies, and how to divide them.

`load_nb201` gives a `Benchmark`; `partition` divides it into parts for evolving, selecting and reporting; `data_status`
says what this machine has.
"""

from __future__ import annotations

from eznas.benchmarks.benchmark import DATASETS, FULL_TRAINING, Benchmark, Column
from eznas.benchmarks.nb201 import load_nb201
from eznas.benchmarks.split import Split
from eznas.benchmarks.status import DataSource, data_status
from eznas.benchmarks.subsets import STRATEGIES, Partition, Strategy, partition, stratified, uniform
from eznas.benchmarks.task import Task, learning_split, make_tasks

__all__ = [
    "DATASETS",
    "FULL_TRAINING",
    "STRATEGIES",
    "Benchmark",
    "Column",
    "DataSource",
    "Partition",
    "Split",
    "Strategy",
    "Task",
    "data_status",
    "learning_split",
    "load_nb201",
    "make_tasks",
    "partition",
    "stratified",
    "uniform",
]

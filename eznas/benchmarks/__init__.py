"""Benchmarks: architectures with recorded accuracies, images to probe networks with, and how to divide them.

`load_nb201` gives a `Benchmark`; `partition` divides it into parts for evolving, selecting and reporting;
`image_batch` gives the images; `data_status` says what this machine has.
"""

from __future__ import annotations

from eznas.benchmarks.benchmark import DATASETS, FULL_TRAINING, Benchmark, Column
from eznas.benchmarks.images import IMAGE_FILES, N_CLASSES, default_image_source, image_batch
from eznas.benchmarks.location import DATA_VARIABLE, data_folder
from eznas.benchmarks.nb201 import load_nb201
from eznas.benchmarks.split import Split
from eznas.benchmarks.status import DataSource, data_status
from eznas.benchmarks.subsets import STRATEGIES, Partition, Strategy, partition, stratified, uniform
from eznas.benchmarks.task import Task, learning_split, make_tasks

__all__ = [
    "DATASETS",
    "DATA_VARIABLE",
    "FULL_TRAINING",
    "IMAGE_FILES",
    "N_CLASSES",
    "STRATEGIES",
    "Benchmark",
    "Column",
    "DataSource",
    "Partition",
    "Split",
    "Strategy",
    "Task",
    "data_folder",
    "data_status",
    "default_image_source",
    "image_batch",
    "learning_split",
    "load_nb201",
    "make_tasks",
    "partition",
    "stratified",
    "uniform",
]

"""What data this machine has: every source of accuracies and images, whether it is found, and whether it is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from eznas.benchmarks.analog import PACKAGE, analog_file, load_analog
from eznas.benchmarks.benchmark import Benchmark
from eznas.benchmarks.nb201 import TABLE_FILE, load_table
from eznas.conditions.images import DIGITS, IMAGE_FILES, N_CLASSES, load_image_file
from eznas.errors import BenchmarkError
from eznas.location import DATA_VARIABLE, data_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """One place data can come from.

    Attributes:
        name: benchmark or image source, for example ``"nb201"`` or ``"cifar10"``.
        kind: what it gives.
        location: the file in the data folder, or the Python package.
        found: whether it is there and can be read.
        detail: how many architectures or images and which labels; or why it was not found.
        in_use: whether it is what a run would read now.
    """

    name: str
    kind: Literal["accuracies", "images"]
    location: str
    found: bool
    detail: str
    in_use: bool


def data_status(data_dir: Path | None = None) -> tuple[DataSource, ...]:
    """Every known source, tried by reading it; never raises for missing or damaged data.

    Args:
        data_dir: the data folder; None means ``EZNAS_DATA`` of the environment.
    """
    folder, problem, is_named = None, f"no data folder is named; set {DATA_VARIABLE} to use one", False
    try:
        folder = data_folder(data_dir)
        is_named = folder is not None
    except BenchmarkError as error:
        problem, is_named = str(error), True

    table = _inspect(folder, problem, TABLE_FILE, lambda path: _describe_benchmark(load_table(path)))
    sources = [
        DataSource(
            name="nb201", kind="accuracies", location=TABLE_FILE, found=table[0], detail=table[1], in_use=table[0]
        ),
        _analog_status(in_use=not is_named),
    ]
    lacking = []
    for name, file in IMAGE_FILES.items():
        found, detail = _inspect(folder, problem, file, partial(_describe_images, n_classes=N_CLASSES[name]))
        lacking += [] if found else [name]
        sources.append(DataSource(name=name, kind="images", location=file, found=found, detail=detail, in_use=found))
    sources.append(
        DataSource(
            name=DIGITS,
            kind="images",
            location="scikit-learn",
            found=True,
            detail=f"1797 images in 10 classes; in place of {', '.join(lacking) or 'nothing'}",
            in_use=bool(lacking),
        )
    )
    return tuple(sources)


def _inspect(folder: Path | None, problem: str, file: str, read: Callable[[Path], str]) -> tuple[bool, str]:
    """Whether a file of the data folder can be read, and what is in it or what is wrong."""
    if folder is None:
        return False, problem
    try:
        return True, read(folder / file)
    except BenchmarkError as error:
        return False, str(error)


def _analog_status(*, in_use: bool) -> DataSource:
    try:
        found, detail = True, _describe_benchmark(load_analog())
    except BenchmarkError as error:
        found, detail = False, str(error)
    location = PACKAGE if analog_file() is None else f"{PACKAGE} (installed)"
    return DataSource(
        name="nb201", kind="accuracies", location=location, found=found, detail=detail, in_use=in_use and found
    )


def _describe_benchmark(benchmark: Benchmark) -> str:
    labels = []
    for dataset in benchmark.datasets:
        columns = [column for column in benchmark.tables if column[0] == dataset]
        splits = dict.fromkeys(split.value for _, split, _ in columns)
        epochs = dict.fromkeys(str(n) for _, _, n in columns)
        labels.append(f"{dataset} ({' and '.join(splits)}; {' and '.join(epochs)} epochs)")
    times = "; training times" if benchmark.seconds else ""
    return f"{len(benchmark.architectures)} architectures: {', '.join(labels)}{times}"


def _describe_images(path: Path, n_classes: int) -> str:
    images, labels = load_image_file(path, n_classes)
    height, width = images.shape[1:3]
    return f"{len(images)} images of {height}x{width} in {len(set(labels.tolist()))} classes"

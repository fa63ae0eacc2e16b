"""What data this machine has: every source of accuracies and images, whether it is found, and whether it is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from eznas.benchmarks.analog import PACKAGE, analog_file, load_analog
from eznas.benchmarks.benchmark import Benchmark
from eznas.benchmarks.sources import BENCHMARKS
from eznas.conditions import DIGITS, IMAGE_SETS, LabelledImages
from eznas.errors import BenchmarkError
from eznas.location import DATA_VARIABLE, data_folder

_T = TypeVar("_T", Benchmark, LabelledImages)


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

    sources = []
    for row in BENCHMARKS.values():
        found, detail = _inspect(folder, problem, row.load, _describe_benchmark)
        location = ", ".join(row.files)
        sources.append(
            DataSource(
                name=row.name, kind="accuracies", location=location, found=found, in_use=found,
                detail=f"{detail}; {row.good_for}" if found else detail,
            )
        )  # fmt: skip
        if row.name == "nb201":
            sources.append(_analog_status(in_use=not is_named))
    lacking = []
    for images in IMAGE_SETS.values():
        if images.file is not None:
            found, detail = _inspect(folder, problem, images.load, _describe_images)
            lacking += [] if found else [images.name]
            sources.append(
                DataSource(
                    name=images.name, kind="images", location=images.file, found=found, detail=detail, in_use=found
                )
            )
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


def _inspect(
    folder: Path | None, problem: str, load: Callable[[Path | None], _T], describe: Callable[[_T], str]
) -> tuple[bool, str]:
    """Whether something of the data folder can be read, and what is in it or what is wrong."""
    if folder is None:
        return False, problem
    try:
        return True, describe(load(folder))
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
        epochs = dict.fromkeys(str(n) for _, _, n in columns if n is not None)
        length = f"{' and '.join(epochs)} epochs" if epochs else "epochs not stated"
        predicted = "; predicted" if dataset in benchmark.predicted else ""
        labels.append(f"{dataset} ({' and '.join(splits)}; {length}{predicted})")
    times = "; training times" if benchmark.seconds else ""
    return f"{len(benchmark.architectures)} architectures: {', '.join(labels)}{times}"


def _describe_images(read: LabelledImages) -> str:
    height, width = read.images.shape[1:3]
    return f"{len(read.images)} images of {height}x{width} in {len(set(read.labels.tolist()))} classes"

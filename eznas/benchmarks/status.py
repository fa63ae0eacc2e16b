"""What data this machine has: every source of accuracies, by search space, and of images; what is found and used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from eznas.benchmarks.analog import PACKAGE, analog_file, load_analog
from eznas.benchmarks.benchmark import Benchmark, Column
from eznas.benchmarks.imported import SUFFIX, read_header, tables_in
from eznas.benchmarks.sources import BENCHMARKS, BenchmarkSource, imported_source
from eznas.benchmarks.split import Split
from eznas.conditions import DIGITS, IMAGE_SETS, LabelledImages
from eznas.errors import BenchmarkError
from eznas.location import DATA_VARIABLE, data_folder
from eznas.spaces import SPACES, nb201

_T = TypeVar("_T", Benchmark, LabelledImages)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """One place data can come from.

    Attributes:
        name: benchmark or image source, for example ``"nb201"`` or ``"cifar10"``.
        kind: what it gives.
        space: search space of the networks; empty for images.
        location: the file in the data folder, or the Python package.
        found: whether it is there and can be read.
        in_use: whether it is what a run would read now.
        n: networks or images; None where it was not found.
        columns: of accuracies: data set, split, epochs.
        unstated: data sets whose split is not stated.
        predicted: data sets whose accuracies are not of trainings.
        is_timed: whether there are training times.
        size: of images, in words.
        seeds: how many trainings of a network the labels are of.
        noise: standard deviation between trainings of one network by data set, in percent points, where it is known,
            and Kendall's tau between two trainings.
        good_for: what it can answer, and what not.
        problem: why it was not found, or cannot be used; empty if all is well.
    """

    name: str
    kind: Literal["accuracies", "images"]
    space: str = ""
    location: str
    found: bool
    in_use: bool
    n: int | None = None
    columns: tuple[Column, ...] = ()
    unstated: frozenset[str] = frozenset()
    predicted: frozenset[str] = frozenset()
    is_timed: bool = False
    size: str = ""
    seeds: str = ""
    noise: str = ""
    good_for: str = ""
    problem: str = ""

    @property
    def datasets(self) -> tuple[str, ...]:
        """Of the accuracies."""
        return tuple(dict.fromkeys(dataset for dataset, _, _ in self.columns))

    @property
    def splits(self) -> tuple[str, ...]:
        """Of the accuracies: validation, test, or that it is not stated."""
        return tuple(dict.fromkeys(self._split(column) for column in self.columns))

    @property
    def epochs(self) -> tuple[int, ...]:
        """Lengths of training that are stated."""
        return tuple(dict.fromkeys(epochs for _, _, epochs in self.columns if epochs is not None))

    @property
    def detail(self) -> str:
        """All of it in words."""
        if self.kind == "images":
            known = "" if self.n is None else f"{self.n} images {self.size}"
        else:
            known = "" if self.n is None else f"{self.n} architectures: {self._labels()}"
        parts = [
            known,
            "training times" if self.is_timed else "",
            f"trainings of each: {self.seeds}" if self.seeds else "",
            f"label noise {self.noise}" if self.noise else "",
            self.good_for,
            self.problem,
        ]
        return "; ".join(filter(None, parts))

    def _split(self, column: Column) -> str:
        is_unstated = column[0] in self.unstated and column[1] is Split.TEST
        return "split not stated" if is_unstated else column[1].value

    def _labels(self) -> str:
        """Data sets with splits and epochs: ``cifar10 (validation and test; 200 and 12 epochs)``."""
        said = []
        for dataset in self.datasets:
            here = [column for column in self.columns if column[0] == dataset]
            splits = dict.fromkeys(map(self._split, here))
            epochs = dict.fromkeys(str(n) for _, _, n in here if n is not None)
            length = f"{' and '.join(epochs)} epochs" if epochs else "epochs not stated"
            predicted = "; predicted" if dataset in self.predicted else ""
            said.append(f"{dataset} ({' and '.join(splits)}; {length}{predicted})")
        return ", ".join(said)


def data_status(data_dir: Path | None = None) -> tuple[DataSource, ...]:
    """Every known source and imported table, tried by reading it; never raises for missing or damaged data.

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
        sources.append(_benchmark_status(row, folder, problem))
        if row.name == "nb201":
            sources.append(_analog_status(in_use=not is_named))
    sources += [_table_status(path) for path in tables_in(folder)] if folder is not None else []
    sources.sort(key=lambda source: _order(source.space))
    lacking = []
    for images in IMAGE_SETS.values():
        if images.file is not None:
            read, why = _tried(folder, problem, images.load)
            lacking += [] if read else [images.name]
            sources.append(
                DataSource(
                    name=images.name, kind="images", location=images.file, found=read is not None, problem=why,
                    in_use=read is not None, **({} if read is None else _of_images(read)),
                )
            )  # fmt: skip
    sources.append(
        DataSource(
            name=DIGITS, kind="images", location="scikit-learn", found=True, n=1797, size="in 10 classes",
            good_for=f"in place of {', '.join(lacking) or 'nothing'}", in_use=bool(lacking),
        )
    )  # fmt: skip
    return tuple(sources)


def _order(space: str) -> tuple[int, str]:
    known = [*SPACES]
    return (known.index(space), "") if space in known else (len(known), space)


def _tried(folder: Path | None, problem: str, load: Callable[[Path | None], _T]) -> tuple[_T | None, str]:
    """Something of the data folder, or what is wrong."""
    if folder is None:
        return None, problem
    try:
        return load(folder), ""
    except BenchmarkError as error:
        return None, str(error)


def _benchmark_status(row: BenchmarkSource, folder: Path | None, problem: str) -> DataSource:
    comes_along = not row.files
    benchmark, why = _tried(Path() if comes_along else folder, problem, row.load)
    about: dict[str, Any] = {"problem": why} if benchmark is None else {
        **_of_benchmark(benchmark), "seeds": row.seeds, "good_for": row.good_for
    }  # fmt: skip
    found = benchmark is not None
    return DataSource(
        name=row.name, kind="accuracies", space=row.space, location=", ".join(row.files) or f"eznas ({row.name}.csv)",
        found=found, in_use=found,
        **about,
    )  # fmt: skip


def _analog_status(*, in_use: bool) -> DataSource:
    about: dict[str, Any]
    try:
        about = {"found": True, "in_use": in_use, **_of_benchmark(load_analog())}
        about |= {"seeds": "1", "good_for": "CIFAR-10 test accuracies of every cell without any file"}
    except BenchmarkError as error:
        about = {"found": False, "in_use": False, "problem": str(error)}
    location = PACKAGE if analog_file() is None else f"{PACKAGE} (installed)"
    return DataSource(name="nb201", kind="accuracies", space=nb201.NAME, location=location, **about)


def _of_benchmark(benchmark: Benchmark) -> dict[str, Any]:
    return {
        "n": len(benchmark.architectures), "columns": tuple(benchmark.tables), "is_timed": bool(benchmark.seconds),
        "predicted": benchmark.predicted,
        "noise": _noise({dataset: (deviation, None) for dataset, deviation in benchmark.label_noise.items()}),
    }  # fmt: skip


def _table_status(path: Path) -> DataSource:
    """An imported table, by what it says of itself and its checksum."""
    name = path.name.removesuffix(SUFFIX)
    try:
        header = read_header(path)
    except BenchmarkError as error:
        return DataSource(
            name=name, kind="accuracies", location=path.name, found=False, in_use=False, problem=str(error)
        )
    row = imported_source(header)
    return DataSource(
        name=name,
        kind="accuracies",
        space=header.space,
        location=path.name,
        found=True,
        in_use=header.is_buildable,
        n=header.n_networks,
        columns=tuple(column.column for column in header.columns),
        unstated=header.unstated,
        is_timed=bool(header.times),
        seeds=row.seeds,
        noise=_noise({dataset: (column.noise or 0.0, column.retest) for dataset, column in header.noise.items()}),
        good_for=row.good_for,
    )


def _noise(known: Mapping[str, tuple[float, float | None]]) -> str:
    return ", ".join(
        f"{dataset} {deviation:.2f} points{'' if tau is None else f' (test-retest tau {tau:.2f})'}"
        for dataset, (deviation, tau) in known.items()
    )


def _of_images(read: LabelledImages) -> dict[str, Any]:
    height, width = read.images.shape[1:3]
    return {"n": len(read.images), "size": f"of {height}x{width} in {len(set(read.labels.tolist()))} classes"}

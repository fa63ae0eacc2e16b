"""The benchmarks that are known by name, one row each, and those that were imported into the data folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from eznas.benchmarks import nb101, nb201, suite_zero
from eznas.benchmarks.benchmark import Benchmark
from eznas.benchmarks.imported import SUFFIX, TableHeader, load_table, read_header, table_file, tables_in
from eznas.errors import BenchmarkError
from eznas.location import DATA_VARIABLE, data_folder
from eznas.names import unknown
from eznas.spaces import darts
from eznas.spaces import nb101 as nb101_space
from eznas.spaces import nb201 as nb201_space


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkSource:
    """A benchmark and where it comes from.

    Attributes:
        name: as settings name it.
        space: name of the search space of its architectures.
        title: for people.
        load: reads it from a data folder (None: that of the environment).
        files: that it reads there.
        seeds: how many trainings of a network its labels are of, if known.
        good_for: what it can answer, and what not.
    """

    name: str
    space: str
    title: str
    load: Callable[[Path | None], Benchmark]
    files: tuple[str, ...]
    seeds: str = ""
    good_for: str


BENCHMARKS: Final[Mapping[str, BenchmarkSource]] = MappingProxyType(
    {
        source.name: source
        for source in (
            BenchmarkSource(
                name="nb201",
                space=nb201_space.NAME,
                title="NAS-Bench-201 (NATS-Bench TSS)",
                load=nb201.load_nb201,
                files=(nb201.TABLE_FILE,),
                seeds="validation 1, test the mean of 1 to 3",
                good_for="three data sets, validation and test accuracies of every cell; embedded for CIFAR-10 test",
            ),
            BenchmarkSource(
                name="nb101",
                space=nb101_space.NAME,
                title="NAS-Bench-101",
                load=nb101.load_nb101,
                files=(nb101.TABLE_FILE,),
                seeds="the maximum of 3",
                good_for="another space, many networks, four lengths of training; validation accuracies only",
            ),
            BenchmarkSource(
                name="nb101_zero",
                space=nb101_space.NAME,
                title="NAS-Bench-101 in NAS-Bench-Suite-Zero",
                load=suite_zero.load_nb101_zero,
                files=(suite_zero.NB101_FILE,),
                seeds="1 of 3",
                good_for="the graphs whose published scores are known, many of them twice; validation accuracies only",
            ),
            BenchmarkSource(
                name="nb301",
                space=darts.NAME,
                title="DARTS cells of NAS-Bench-301 in NAS-Bench-Suite-Zero",
                load=suite_zero.load_nb301,
                files=(suite_zero.NB301_FILE,),
                seeds="none, a surrogate",
                good_for="DARTS cells; accuracies predicted by a surrogate, not trained; validation only",
            ),
        )
    }
)
"""Every known benchmark by name."""


def source_named(name: str, data_dir: Path | None = None) -> BenchmarkSource:
    """The benchmark of a name: a row of `BENCHMARKS`, or an imported table of the data folder.

    Args:
        name: of a row, or of a table that ``eznas data import`` made.
        data_dir: the folder of data files; None means ``EZNAS_DATA`` of the environment.

    Raises:
        BenchmarkError: if there is no such benchmark, or the table is damaged.
    """
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    folder = data_folder(data_dir)
    imported = [] if folder is None else [path.name.removesuffix(SUFFIX) for path in tables_in(folder)]
    if folder is None or name not in imported:
        hint = "" if folder is not None else f"; imported tables are read from {DATA_VARIABLE}, which names no folder"
        raise BenchmarkError(unknown("benchmark", name, (*BENCHMARKS, *imported, "python")) + hint)
    return imported_source(read_header(table_file(folder, name), is_whole=False))


def imported_source(header: TableHeader) -> BenchmarkSource:
    """The source of an imported table."""
    splits = {column.split for column in header.columns}
    parts = [
        "several data sets" if len({column.dataset for column in header.columns}) > 1 else "",
        "one label, split not stated" if splits == {"unstated"} else "",
        "test accuracies only" if splits == {"test"} else "",
        "validation accuracies only" if splits == {"validation"} else "",
        "validation to learn from and test to report on" if splits >= {"test", "validation"} else "",
        "label noise known" if header.noise else "",
        "" if header.is_buildable else "this release cannot build these networks",
    ]
    return BenchmarkSource(
        name=header.name,
        space=header.space,
        title=header.title,
        load=lambda data_dir: load_table(_file_of(header.name, data_dir)),
        files=(f"{header.name}{SUFFIX}",),
        seeds=seeds_in_words(header),
        good_for=", ".join(filter(None, parts)),
    )


def seeds_in_words(header: TableHeader) -> str:
    """Trainings of a network by what its labels are, of the longest training: ``validation the mean of 3, test 1``."""
    said: dict[str, str] = {}
    for column in header.longest:
        fewest, most = column.trainings
        n = str(most) if fewest == most else f"{fewest} to {most}"
        words = {"recorded": n, "predicted": "none, predicted"}.get(column.label, f"the {column.label} of {n}")
        said.setdefault(column.split, words)
    if len(set(said.values())) == 1:
        return next(iter(said.values()))
    return ", ".join(f"{split} {words}" for split, words in sorted(said.items(), reverse=True))


def _file_of(name: str, data_dir: Path | None) -> Path:
    folder = data_folder(data_dir)
    if folder is None:
        raise BenchmarkError(f"The imported table {name!r} is read from a data folder, but none is named.")
    return table_file(folder, name)


def load_benchmark(name: str, data_dir: Path | None = None) -> Benchmark:
    """A benchmark by name.

    Args:
        name: of a row of `BENCHMARKS`, or of an imported table.
        data_dir: the folder of data files; None means ``EZNAS_DATA`` of the environment.

    Raises:
        BenchmarkError: if there is no such benchmark, or its data are missing or damaged.
    """
    return source_named(name, data_dir).load(data_dir)

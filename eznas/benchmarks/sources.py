"""The benchmarks that are known by name, one row each, and those that were imported into the data folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from eznas.benchmarks import nb101, nb201, nds, suite_zero, trained
from eznas.benchmarks.benchmark import Benchmark
from eznas.benchmarks.imported import SUFFIX, TableHeader, load_table, read_header, table_file, tables_in
from eznas.errors import ArchitectureError, BenchmarkError
from eznas.location import DATA_VARIABLE, data_folder
from eznas.names import shown, unknown
from eznas.spaces import SPACES, Architecture, darts, families, networks_named
from eznas.spaces import nb101 as nb101_space
from eznas.spaces import nb201 as nb201_space
from eznas.spaces.notation import check_sample_size, drawn, indices

_POSITIONS: Final = re.compile(r"[0-9][0-9\s,-]*")


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


def _nds(name: str, title: str, good_for: str) -> BenchmarkSource:
    return BenchmarkSource(
        name=name,
        space=nds.TABLES[name].space,
        title=title,
        load=partial(nds.load_nds, name),
        files=(nds.TABLE_FILE,),
        seeds="1",
        good_for=good_for,
    )


def _shipped(name: str) -> BenchmarkSource:
    """A family that was trained for this package."""
    return BenchmarkSource(
        name=name,
        space=families.NAME,
        title=families.families()[name.removeprefix(f"{families.NAME}_")].title,
        load=partial(trained.load_shipped, name),
        files=(),
        seeds="1, several of some",
        good_for="a small family of its own, trained here: generality is learnt from many; validation accuracies only",
    )


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
            _nds("nds_darts_in", "DARTS cells of NDS", "ImageNet; width and depth differ too; test accuracies only"),
            _nds("nds_amoeba_in", "Amoeba cells of NDS", "as nds_darts_in, with other operations"),
            _nds("nds_enas_in", "ENAS cells of NDS", "as nds_darts_in, with few operations"),
            _nds("nds_resnext_a_in", "ResNeXts of NDS", "ImageNet; residual networks of any width, depth and groups"),
            _nds(
                "nds_darts_fixed_in", "DARTS cells of NDS, one width and depth",
                "ImageNet, cells alone, but after 5 epochs; parameters and MACs say nothing here",
            ),
            *map(_shipped, trained.shipped_names()),
        )
    }
)  # fmt: skip
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
    imported = _imported(folder)
    if folder is None or name not in imported:
        hint = "" if folder is not None else f"; imported tables are read from {DATA_VARIABLE}, which names no folder"
        raise BenchmarkError(unknown("benchmark", name, (*BENCHMARKS, *imported, "python")) + hint)
    return imported_source(read_header(table_file(folder, name), is_whole=False))


def _imported(folder: Path | None) -> list[str]:
    """Names of the imported tables of a folder."""
    return [] if folder is None else [path.name.removesuffix(SUFFIX) for path in tables_in(folder)]


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


def networks_of(spec: str, data_dir: Path | None = None) -> tuple[Architecture, ...]:
    """The architectures that a specification names, those of a benchmark among them.

    Args:
        spec: what `networks_named` takes; or the name of a benchmark that is not the name of a search space, with
            ``:all``, ``:random:N[:SEED]`` (uniform, no replacement) or positions ``:3,10-12`` in its own order.
        data_dir: the folder of data files; None means ``EZNAS_DATA`` of the environment.

    Raises:
        ArchitectureError: if it names none.
        BenchmarkError: if the data of the benchmark are missing or damaged.
    """
    name, _, rest = (part.strip() for part in spec.partition(":"))
    if name in SPACES or not (name in BENCHMARKS or name in _imported(data_folder(data_dir))):
        return networks_named(spec)
    benchmark = load_benchmark(name, data_dir)
    known = benchmark.architectures

    def sample(rng: np.random.Generator, n: int) -> tuple[Architecture, ...]:
        check_sample_size(n, len(known), f"benchmark {name}")
        return tuple(known[place] for place in rng.choice(len(known), size=n, replace=False))

    if rest == "all":
        return known
    found = drawn(rest, name, sample, "networks", "random", name)
    if found is not None:
        return found
    if not _POSITIONS.fullmatch(rest):
        raise ArchitectureError(
            f"Networks of the benchmark {name} are named as {name}:all, {name}:random:N[:SEED] or by position, "
            f"{name}:3,10-12, got {shown(spec)}; others as {benchmark.space}:..."
        )
    return tuple(known[place] for place in indices(rest, name, len(known)))

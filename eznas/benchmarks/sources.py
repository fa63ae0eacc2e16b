"""The benchmarks that are known by name, one row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

from eznas.benchmarks import nb101, nb201, suite_zero, trained
from eznas.benchmarks.benchmark import Benchmark
from eznas.errors import BenchmarkError
from eznas.names import unknown
from eznas.spaces import darts, families
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
        good_for: what it can answer, and what not.
    """

    name: str
    space: str
    title: str
    load: Callable[[Path | None], Benchmark]
    files: tuple[str, ...]
    good_for: str


def _shipped(name: str) -> BenchmarkSource:
    """A family that was trained for this package."""
    return BenchmarkSource(
        name=name,
        space=families.NAME,
        title=families.families()[name.removeprefix(f"{families.NAME}_")].title,
        load=partial(trained.load_shipped, name),
        files=(),
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
                good_for="three data sets, validation and test accuracies of every cell; embedded for CIFAR-10 test",
            ),
            BenchmarkSource(
                name="nb101",
                space=nb101_space.NAME,
                title="NAS-Bench-101",
                load=nb101.load_nb101,
                files=(nb101.TABLE_FILE,),
                good_for="another space, many networks, four lengths of training; validation accuracies only",
            ),
            BenchmarkSource(
                name="nb101_zero",
                space=nb101_space.NAME,
                title="NAS-Bench-101 in NAS-Bench-Suite-Zero",
                load=suite_zero.load_nb101_zero,
                files=(suite_zero.NB101_FILE,),
                good_for="the graphs whose published scores are known, many of them twice; validation accuracies only",
            ),
            BenchmarkSource(
                name="nb301",
                space=darts.NAME,
                title="DARTS cells of NAS-Bench-301 in NAS-Bench-Suite-Zero",
                load=suite_zero.load_nb301,
                files=(suite_zero.NB301_FILE,),
                good_for="DARTS cells; accuracies predicted by a surrogate, not trained; validation only",
            ),
            *map(_shipped, trained.shipped_names()),
        )
    }
)
"""Every known benchmark by name."""


def load_benchmark(name: str, data_dir: Path | None = None) -> Benchmark:
    """A benchmark by name.

    Args:
        name: of a row of `BENCHMARKS`.
        data_dir: the folder of data files; None means ``EZNAS_DATA`` of the environment.

    Raises:
        BenchmarkError: if there is no such benchmark, or its data are missing or damaged.
    """
    if name not in BENCHMARKS:
        raise BenchmarkError(unknown("benchmark", name, BENCHMARKS))
    return BENCHMARKS[name].load(data_dir)

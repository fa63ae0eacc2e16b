"""The benchmarks that are known by name, one row each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from eznas.benchmarks import nb101, nb201, nds, suite_zero
from eznas.benchmarks.benchmark import Benchmark
from eznas.errors import ArchitectureError, BenchmarkError
from eznas.names import shown, unknown
from eznas.spaces import SPACES, Architecture, darts, networks_named
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
        good_for: what it can answer, and what not.
    """

    name: str
    space: str
    title: str
    load: Callable[[Path | None], Benchmark]
    files: tuple[str, ...]
    good_for: str


def _nds(name: str, title: str, good_for: str) -> BenchmarkSource:
    return BenchmarkSource(
        name=name,
        space=nds.TABLES[name].space,
        title=title,
        load=partial(nds.load_nds, name),
        files=(nds.TABLE_FILE,),
        good_for=good_for,
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
            _nds("nds_darts_in", "DARTS cells of NDS", "ImageNet; width and depth differ too; test accuracies only"),
            _nds("nds_amoeba_in", "Amoeba cells of NDS", "as nds_darts_in, with other operations"),
            _nds("nds_enas_in", "ENAS cells of NDS", "as nds_darts_in, with few operations"),
            _nds("nds_resnext_a_in", "ResNeXts of NDS", "ImageNet; residual networks of any width, depth and groups"),
            _nds(
                "nds_darts_fixed_in", "DARTS cells of NDS, one width and depth",
                "ImageNet, cells alone, but after 5 epochs; parameters and MACs say nothing here",
            ),
        )
    }
)  # fmt: skip
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
    if name not in BENCHMARKS or name in SPACES:
        return networks_named(spec)
    known = load_benchmark(name, data_dir).architectures

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
            f"{name}:3,10-12, got {shown(spec)}; others as {BENCHMARKS[name].space}:..."
        )
    return tuple(known[place] for place in indices(rest, name, len(known)))

"""Every known benchmark that is at hand keeps the contract, and a broken one does not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eznas.benchmarks import BENCHMARKS, Benchmark, Split, load_accuracies, shipped_names
from eznas.benchmarks.analog import load_analog
from eznas.spaces import SPACES, Architecture, nb201
from eznas.testing import check_benchmark

_FOLDER = os.environ.get("EZNAS_DATA")
_FOUND = [
    name
    for name, row in BENCHMARKS.items()
    if not row.files or (_FOLDER is not None and all((Path(_FOLDER) / file).is_file() for file in row.files))
]


@pytest.mark.parametrize("name", _FOUND)
def test_known_benchmarks(name: str) -> None:
    row = BENCHMARKS[name]
    benchmark = row.load(None)
    assert (benchmark.name, benchmark.space) == (row.name, row.space)
    check_benchmark(benchmark)


def test_the_embedded_benchmark() -> None:
    check_benchmark(load_analog())


@pytest.mark.parametrize("name", BENCHMARKS)
def test_rows(name: str) -> None:
    row = BENCHMARKS[name]
    assert row.name == name
    assert row.space in SPACES
    assert row.files or name in shipped_names()
    assert all(text and text.isprintable() for text in (row.title, row.good_for))


ARCHS = tuple(Architecture("toy", str(number)) for number in range(20))
TABLE = {("cifar10", Split.TEST, 200): np.linspace(10.0, 90.0, 20)}


def _toy(**changes: Any) -> Benchmark:
    return Benchmark(**{"name": "toy", "provenance": "Made up.", "architectures": ARCHS, "tables": TABLE, **changes})


def _writable(benchmark: Benchmark) -> None:
    benchmark.tables["cifar10", Split.TEST, 200].flags.writeable = True


def _repeated(benchmark: Benchmark) -> None:
    object.__setattr__(benchmark, "architectures", (ARCHS[0], *ARCHS[:-1]))


def _misread(benchmark: Benchmark) -> None:
    object.__setattr__(benchmark, "accuracies", lambda archs, *of: np.zeros(len(archs)))


def test_functions_that_are_not_those_of_the_space() -> None:
    cells = nb201.all_architectures()[:20]
    functions = tuple(map(nb201.reduced_function, cells))
    tables = {("cifar10", Split.TEST, 200): np.linspace(10.0, 90.0, 20)}
    check_benchmark(_toy(architectures=cells, tables=tables, functions=functions))
    with pytest.raises(AssertionError, match="functions of toy are those of its space"):
        check_benchmark(_toy(architectures=cells, tables=tables, functions=functions[::-1]))


def test_ones_own_benchmark() -> None:
    check_benchmark(_toy())
    check_benchmark(load_accuracies({arch.spec: 50 + number for number, arch in enumerate(ARCHS)}, ARCHS))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"provenance": "Made up. For tests."}, "are one sentence"),
        ({"provenance": ""}, "are one sentence"),
        ({"notes": ("no stop",)}, "are one sentence, but one is 'no stop'"),
        ({"tables": {}}, "records accuracies"),
        ({"tables": {("", Split.TEST, 200): TABLE["cifar10", Split.TEST, 200]}}, "states data set, split and epochs"),
        ({"tables": {("a", Split.TEST, 0): TABLE["cifar10", Split.TEST, 200]}}, "states data set, split and epochs"),
        ({"tables": {("a", Split.TEST, 200): np.linspace(0.1, 0.9, 20)}}, "as fractions would"),
        ({"tables": {("a", Split.TEST, 200): np.full(20, 9.0)}}, "accuracies that differ"),
        ({"unstated_splits": frozenset(["cifar100"])}, "whose split is not stated are filed under test"),
        ({"label_noise": {"cifar100": 0.2}}, "label noise of toy is of its data sets"),
        ({"predicted": frozenset(["cifar100"])}, "predicted accuracies of toy are of its data sets"),
    ],
)
def test_broken_promises(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_benchmark(_toy(**changes))


@pytest.mark.parametrize(
    ("spoil", "message"), [(_writable, "is read-only"), (_repeated, "are distinct"), (_misread, "give what it records")]
)
def test_spoilt_benchmarks(spoil: Callable[[Benchmark], None], message: str) -> None:
    benchmark = _toy()
    spoil(benchmark)
    with pytest.raises(AssertionError, match=message):
        check_benchmark(benchmark)

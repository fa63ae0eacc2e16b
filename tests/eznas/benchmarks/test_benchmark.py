"""The benchmark record: look-ups, what it refuses, and that it cannot change."""

from __future__ import annotations

import numpy as np
import pytest

from eznas.benchmarks import Benchmark, Split
from eznas.errors import BenchmarkError
from eznas.spaces import Architecture

ARCHS = tuple(Architecture("toy", name) for name in "abc")
COLUMN = ("cifar10", Split.TEST, 200)


def _toy(**changes: object) -> Benchmark:
    fields = {
        "name": "toy",
        "provenance": "Made up.",
        "architectures": ARCHS,
        "tables": {
            COLUMN: np.array([10.0, 20.0, 30.0]),
            ("cifar100", Split.VALIDATION, 12): np.array([1.0, 2.0, 3.0]),
            ("cifar100", Split.TEST, 12): np.array([4.0, 5.0, 6.0]),
        },
    }
    return Benchmark(**{**fields, **changes})  # type: ignore[arg-type]


def test_look_up() -> None:
    toy = _toy()
    assert toy.datasets == ("cifar10", "cifar100")
    assert toy.accuracies([ARCHS[2], ARCHS[0], ARCHS[2]], "cifar10", Split.TEST).tolist() == [30.0, 10.0, 30.0]
    assert toy.accuracies([], "cifar10", Split.TEST).shape == (0,)
    assert toy.accuracies([ARCHS[1]], "cifar100", Split.VALIDATION, epochs=12).tolist() == [2.0]
    assert toy.accuracies([ARCHS[1]], "cifar100", Split.TEST, epochs=12).tolist() == [5.0]


def test_has() -> None:
    toy = _toy()
    assert toy.has("cifar10", Split.TEST)
    assert not toy.has("cifar10", Split.VALIDATION)
    assert not toy.has("cifar10", Split.TEST, epochs=12)
    assert toy.has("cifar100", Split.TEST, epochs=12)


def test_missing_column_names_what_exists() -> None:
    message = (
        r"'toy' has no cifar10 validation \(200 epochs\) accuracies; it has: cifar10 test \(200 epochs\), "
        r"cifar100 validation \(12 epochs\), cifar100 test \(12 epochs\)"
    )
    with pytest.raises(BenchmarkError, match=message):
        _toy().accuracies(ARCHS, "cifar10", Split.VALIDATION)


def test_split_must_be_the_enumeration() -> None:
    with pytest.raises(BenchmarkError, match="has no cifar10 'test'"):
        _toy().accuracies(ARCHS, "cifar10", "test")  # type: ignore[arg-type]


def test_unknown_architecture() -> None:
    with pytest.raises(BenchmarkError, match="Architecture 'z' of space 'toy' is not one of the 3"):
        _toy().accuracies([Architecture("toy", "z")], "cifar10", Split.TEST)


def test_results_and_inputs_are_not_shared() -> None:
    values = np.array([10.0, 20.0, 30.0])
    toy = _toy(tables={COLUMN: values})
    values[0] = 99.0
    toy.accuracies(ARCHS, "cifar10", Split.TEST)[1] = 99.0
    assert toy.accuracies(ARCHS, "cifar10", Split.TEST).tolist() == [10.0, 20.0, 30.0]
    with pytest.raises(ValueError, match="read-only"):
        toy.tables[COLUMN][0] = 99.0
    with pytest.raises(TypeError):
        toy.tables[COLUMN] = values  # type: ignore[index]


@pytest.mark.parametrize("bad", [-0.1, 100.1, np.nan, np.inf])
def test_values_must_be_percentages(bad: float) -> None:
    with pytest.raises(BenchmarkError, match=r"must be percentages in 0..100, but architecture 1 has"):
        _toy(tables={COLUMN: np.array([10.0, bad, 30.0])})


def test_tables_must_cover_the_architectures() -> None:
    with pytest.raises(BenchmarkError, match=r"shape \(3,\), but their shape is \(2,\)"):
        _toy(tables={COLUMN: np.array([10.0, 20.0])})


def test_architectures_must_be_distinct() -> None:
    with pytest.raises(BenchmarkError, match="1 of 3 repeat an earlier one"):
        _toy(architectures=(ARCHS[0], ARCHS[1], ARCHS[0]))

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


def test_functions_are_one_each() -> None:
    assert _toy(functions=("f", "f", "g")).functions == ("f", "f", "g")
    with pytest.raises(BenchmarkError, match="one function for each of its 3 architectures, but it has 2"):
        _toy(functions=("f", "g"))


def test_one_space() -> None:
    assert _toy().space == "toy"
    with pytest.raises(BenchmarkError, match="must be of one search space, but they are of other, toy; make one"):
        _toy(architectures=(ARCHS[0], ARCHS[1], Architecture("other", "c")))
    with pytest.raises(BenchmarkError, match="but they are of none"):
        _toy(architectures=(), tables={})


def test_full_training_is_the_longest() -> None:
    toy = _toy()
    assert toy.full_training == 200
    assert toy.accuracies(ARCHS, "cifar10", Split.TEST, 200).tolist() == toy.tables[COLUMN].tolist()
    unstated = _toy(tables={("cifar10", Split.TEST, None): [1.0, 2.0, 3.0], ("cifar10", Split.TEST, 12): [4, 5, 6]})
    assert unstated.full_training is None
    assert unstated.accuracies(ARCHS, "cifar10", Split.TEST).tolist() == [1.0, 2.0, 3.0]
    assert not unstated.has("cifar10", Split.TEST, 200)
    with pytest.raises(BenchmarkError, match=r"no cifar10 test \(200 epochs\) .* cifar10 test \(epochs not stated\)"):
        unstated.accuracies(ARCHS, "cifar10", Split.TEST, 200)


def test_a_split_that_is_not_stated_is_said_so() -> None:
    toy = _toy(unstated_splits=frozenset(["cifar10"]))
    assert toy.describe(COLUMN) == "cifar10, split not stated (200 epochs)"
    assert toy.describe(("cifar100", Split.TEST, 12)) == "cifar100 test (12 epochs)"


@pytest.mark.parametrize("noise", [0.0, -1.0, float("nan"), 101.0])
def test_label_noise_is_a_standard_deviation(noise: float) -> None:
    assert _toy(label_noise={"cifar10": 0.2}).label_noise == {"cifar10": 0.2}
    with pytest.raises(BenchmarkError, match=r"label noise of cifar10 .* percent points above 0, but it is"):
        _toy(label_noise={"cifar10": noise})


def test_architectures_must_be_distinct() -> None:
    with pytest.raises(BenchmarkError, match="1 of 3 repeat an earlier one"):
        _toy(architectures=(ARCHS[0], ARCHS[1], ARCHS[0]))

"""Labels say what they lack; quintiles split the sizes of networks evenly and never a value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eznas.errors import BenchmarkError
from eznas.fitness import Covariates, Labels, quintiles


def covariates(**changed: Any) -> Covariates:
    values = {"log_parameters": np.arange(5.0), "log_macs": np.arange(5.0), "levels": np.arange(5)}
    return Covariates(**(values | changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"log_macs": np.arange(4.0)}, r"three lists of one length.*\(4,\), \(5,\)"),
        ({"levels": np.arange(5.0)}, "must be whole numbers, got values of type float64"),
        ({"log_parameters": np.array([0, 1, -np.inf, np.nan, 2])}, "log_parameters must be finite, but 2 of 5"),
        ({"log_parameters": np.ones((5, 1))}, "three lists of one length"),
    ],
)
def test_bad_covariates_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchmarkError, match=message):
        covariates(**changed)


def test_covariates_must_cover_the_networks_of_their_labels() -> None:
    assert Labels("a", np.arange(5.0), np.arange(5), covariates()).covariates is not None
    with pytest.raises(BenchmarkError, match="'a' cover 6 networks, but their covariates cover 5"):
        Labels("a", np.arange(6.0), np.arange(6), covariates())


def test_quintiles_are_five_equal_groups_in_order_of_size() -> None:
    sizes = np.random.default_rng(0).permutation(23).astype(float)
    levels = quintiles(sizes)
    assert sorted(np.bincount(levels).tolist()) == [4, 4, 5, 5, 5]
    assert (np.diff(levels[np.argsort(sizes)]) >= 0).all()


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40))
def test_quintiles_never_split_equal_sizes(sizes: list[int]) -> None:
    levels = quintiles(sizes)
    assert 0 <= levels.min() <= levels.max() <= 4
    pairs = {(size, int(level)) for size, level in zip(sizes, levels, strict=True)}
    assert len(pairs) == len(set(sizes))
    assert [level for _, level in sorted(pairs)] == sorted(level for _, level in pairs)


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [[1.0, 2.0]]])
def test_quintiles_need_sizes(values: list[Any]) -> None:
    with pytest.raises(ValueError, match="one finite size per network"):
        quintiles(values)

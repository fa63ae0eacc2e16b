"""Spectra without a scale: known values, and the scale that must not matter."""

from __future__ import annotations

import math

import pytest
import torch

from primitives import PRIMITIVES
from primitives.spectra import SPECTRA

every_spectrum = pytest.mark.parametrize("operator", SPECTRA, ids=lambda p: p.name)
OF_IDENTITY = {
    "participation_ratio": 5.0, "stable_rank": 5.0, "inverse_condition": 1.0, "mean_log_eigenvalue": math.log(1 + 1e-5),
}  # fmt: skip
OF_RANK_ONE = {
    "participation_ratio": 1.0, "stable_rank": 1.0, "inverse_condition": 0.0,
    "mean_log_eigenvalue": (math.log(5 + 1e-5) + 4 * math.log(1e-5)) / 5,
}  # fmt: skip


def test_every_spectrum_has_known_values() -> None:
    assert {p.name for p in SPECTRA} == set(OF_IDENTITY) == set(OF_RANK_ONE)


@every_spectrum
def test_of_the_identity_and_of_rank_one(operator: object) -> None:
    name = operator.name  # type: ignore[attr-defined]
    ones = torch.ones(1, 5, 5, dtype=torch.float64)
    assert PRIMITIVES[name](torch.eye(5, dtype=torch.float64)[None]).item() == pytest.approx(OF_IDENTITY[name])
    assert PRIMITIVES[name](ones).item() == pytest.approx(OF_RANK_ONE[name], abs=1e-6)


@every_spectrum
@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e4, 1e25])
def test_the_scale_says_nothing(operator: object, scale: float) -> None:
    vectors = torch.randn(3, 6, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    kernels = vectors @ vectors.mT
    found = PRIMITIVES[operator.name](kernels * scale)  # type: ignore[attr-defined]
    torch.testing.assert_close(found, PRIMITIVES[operator.name](kernels), rtol=1e-9, atol=1e-12)  # type: ignore[attr-defined]


@every_spectrum
def test_of_zeros_it_is_a_number(operator: object) -> None:
    assert PRIMITIVES[operator.name](torch.zeros(1, 4, 4)).isfinite().all()  # type: ignore[attr-defined]

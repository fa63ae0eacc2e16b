"""Operators of published estimators against a loop over classes, channels and images."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from primitives import PRIMITIVES
from primitives.numerics import SPECTRUM_FLOOR

CLASSES = torch.tensor([[2, 0, 2, 1, 0, 2], [5, 4, 3, 2, 1, 0], [1, 1, 1, 1, 1, 1]])
"""Of three batches of six: classes of one, two and three; all different; all the same."""
SAME = (CLASSES[:, :, None] == CLASSES[:, None, :]).double()


def kernels() -> Tensor:
    x = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64) - 0.5
    x[0, 0, 2] = 0.0  # ln k
    return x + x.mT


def energies(x: Tensor, classes: Tensor) -> dict[int, tuple[float, int]]:
    """By class: the sum of logarithms within it, and its size."""
    found = {}
    for label in sorted(set(classes.tolist())):
        members = [i for i, c in enumerate(classes.tolist()) if c == label]
        total = math.fsum(math.log(abs(float(x[i, j])) + SPECTRUM_FLOOR) for i in members for j in members)
        found[label] = (total, len(members))
    return found


@pytest.mark.parametrize("n", range(3))
def test_class_separation_adds_the_classes_up(n: int) -> None:
    expected = math.fsum(abs(e) for e, _ in energies(kernels()[n], CLASSES[n]).values())
    assert float(PRIMITIVES["class_separation"](kernels(), SAME)[n]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n", range(3))
def test_class_separation_spread_compares_classes_of_two_or_more(n: int) -> None:
    means = [e / size for e, size in energies(kernels()[n], CLASSES[n]).values() if size > 1]
    expected = math.fsum(abs(a - b) for a in means for b in means) / len(means) if means else 0.0
    found = float(PRIMITIVES["class_separation_spread"](kernels(), SAME)[n])
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_a_larger_correlation_within_a_class_lowers_the_separation_and_one_between_classes_does_not() -> None:
    separation = PRIMITIVES["class_separation"]
    x = torch.full((1, 6, 6), 0.1, dtype=torch.float64)
    alike, other = x.clone(), x.clone()
    alike[0, 1, 4] = alike[0, 4, 1] = 0.9
    other[0, 0, 1] = other[0, 1, 0] = 0.9
    assert float(separation(alike, SAME[:1])) < float(separation(x, SAME[:1])) == float(separation(other, SAME[:1]))


def test_map_energy_sums_places_before_it_squares() -> None:
    x = torch.randn(4, 3, 5, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for n, layer in enumerate(x):
        expected = math.fsum(float(map_.sum()) ** 2 for image in layer for map_ in image) / 3
        assert float(PRIMITIVES["map_energy"](x)[n]) == pytest.approx(expected, rel=1e-12)


def test_filter_size_counts_the_weights_of_one_filter() -> None:
    assert PRIMITIVES["filter_size"](torch.zeros(2, 7, 4, 3, 5)).tolist() == [60.0, 60.0]

"""Estimators from the gradients for the images equal their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eznas.errors import UnfitError
from eznas.estimators import epe_nas, epe_nas_as_released, jacob_cov
from eznas.estimators.jacobian import class_separation
from tests.eznas.estimators.small_networks import convolutional, drawn, labels, noise

# ---------------------------------------------------------------------------------------- jacob_cov


def test_jacob_cov_of_a_linear_network_has_one_eigenvalue() -> None:
    """All images have one Jacobian: the correlation matrix is all ones, with eigenvalues n, 0, ..., 0."""
    network = nn.Sequential(nn.Flatten(), drawn(nn.Linear(12, 4)))
    k, n = 1e-5, 5
    expected = -(math.log(n + k) + 1 / (n + k)) - (n - 1) * (math.log(k) + 1 / k)
    assert jacob_cov(network, noise(n, 3, 2, 2)) == pytest.approx(expected, rel=1e-6)


def test_jacob_cov_is_the_formula_applied_to_autograds_jacobian() -> None:
    network = nn.Sequential(
        drawn(nn.Conv2d(3, 6, 3)), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), drawn(nn.Linear(96, 4))
    )
    images = noise(5, 3, 6, 6).requires_grad_()
    network(images).sum().backward()  # batch normalisation couples images: one backward pass, as published
    assert images.grad is not None
    values = np.linalg.eigvalsh(np.corrcoef(images.grad.flatten(1).double().numpy())) + 1e-5
    assert jacob_cov(network, images.detach()) == pytest.approx(-np.sum(np.log(values) + 1 / values), rel=1e-9)


def test_jacob_cov_of_uncorrelated_images_is_at_its_maximum() -> None:
    """The Jacobians are independent noise, so R is nearly the identity and all its eigenvalues are about 1."""

    class Own(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1).mul(noise(4, 3000, seed=5))

    score = jacob_cov(Own(), noise(4, 3, 20, 50))
    assert score == pytest.approx(-4, abs=0.05)
    assert score <= -4


def test_jacob_cov_of_one_image_is_that_of_a_correlation_of_one() -> None:
    k = 1e-5
    assert jacob_cov(convolutional(), noise(1, 3, 6, 6)) == pytest.approx(-math.log(1 + k) - 1 / (1 + k), rel=1e-9)


# ---------------------------------------------------------------------------------------- epe_nas

ROWS = torch.tensor(
    [
        [1.0, 2.0, 3.0, 4.0],
        [4.0, 3.0, 2.0, 1.0],  # correlation -1 with the first
        [1.0, -1.0, 1.0, -1.0],
        [1.0, 1.0, -1.0, -1.0],  # correlation 0 with the third
        [0.0, 1.0, 0.0, 5.0],  # alone in its class
    ],
    dtype=torch.float64,
)
CLASSES = torch.tensor([0, 0, 1, 1, 2])
K = 1e-5
SAME, UNRELATED = math.log(1 + K), math.log(K)


def test_epe_of_few_classes_sums_the_logarithms_of_correlations() -> None:
    expected = abs(4 * SAME) + abs(2 * SAME + 2 * UNRELATED) + SAME
    assert class_separation(ROWS, CLASSES, n_classes=100) == pytest.approx(expected, rel=1e-9)


def test_epe_of_many_classes_compares_the_classes_that_have_two_images() -> None:
    first, second = 4 * SAME / 2, (2 * SAME + 2 * UNRELATED) / 2
    expected = 2 * abs(first - second) / 2  # both ordered pairs, over the two classes seen
    assert class_separation(ROWS, CLASSES, n_classes=101) == pytest.approx(expected, rel=1e-9)


def test_epe_without_a_pair_is_constant_or_undefined() -> None:
    assert class_separation(ROWS, torch.arange(5), n_classes=10) == pytest.approx(5 * SAME)
    assert math.isnan(class_separation(ROWS, torch.arange(5), n_classes=120))


@pytest.mark.parametrize("n_classes", [10, 120])
def test_epe_of_a_constant_row_is_undefined(n_classes: int) -> None:
    rows = ROWS.clone()
    rows[0] = 0
    assert math.isnan(class_separation(rows, CLASSES, n_classes=n_classes))


@pytest.mark.parametrize("n_classes", [4, 120])
def test_epe_takes_the_number_of_classes_from_the_logits(n_classes: int) -> None:
    network, images, targets = convolutional(n_classes=n_classes), noise(8, 3, 6, 6), labels(8)
    given = images.clone().requires_grad_()
    (jacobian,) = torch.autograd.grad(network(given).sum(), given)

    def by_hand(form: int) -> float:
        scores = []
        for label in range(4):
            rows = jacobian[targets == label].flatten(1).double().numpy()
            scores.append(np.log(np.abs(np.corrcoef(rows)) + K).sum() / (len(rows) if form > 100 else 1))
        if form <= 100:
            return float(np.abs(scores).sum())
        return float(sum(abs(a - b) for a in scores for b in scores) / 4)

    assert epe_nas(network, images, targets) == pytest.approx(by_hand(n_classes), rel=1e-4)
    assert epe_nas_as_released(network, images, targets) == pytest.approx(by_hand(1), rel=1e-4)


def test_epe_refuses_a_class_without_a_logit() -> None:
    with pytest.raises(UnfitError, match=r"Target 4 is not a class of Sequential, which has 4 logits: expected 0 to 3"):
        epe_nas(convolutional(), noise(2, 3, 6, 6), torch.tensor([0, 4]))

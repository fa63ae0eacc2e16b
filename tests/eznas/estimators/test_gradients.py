"""Estimators over several weight gradients equal the same sums taken image by image."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from eznas.errors import CaptureError, ConfigError, UnfitError
from eznas.estimators import gradsign, ntk, zico
from tests.eznas.estimators.small_networks import convolutional, drawn, labels, loss_gradients, noise

BOTH = pytest.mark.parametrize("normalised", [True, False], ids=["normalised", "plain"])

# ---------------------------------------------------------------------------------------- zico


@BOTH
@pytest.mark.parametrize("n", [6, 7])
def test_zico_compares_the_halves_of_a_batch(normalised: bool, n: int) -> None:
    network, images, targets = convolutional(normalised=normalised), noise(n, 3, 6, 6), labels(n)
    halves = [loss_gradients(network, images[part], targets[part]) for part in (slice(0, 3), slice(3, n))]
    expected = 0.0
    for layer in zip(*halves, strict=True):
        both = torch.stack(layer).flatten(1).double().numpy()  # (2, weights)
        mean, deviation = np.abs(both).mean(axis=0), both.std(axis=0)
        expected += math.log(np.sum(mean[deviation > 0] / deviation[deviation > 0]))
    assert zico(network, images, targets) == pytest.approx(expected, rel=1e-3)


def test_zico_of_equal_halves_is_zero() -> None:
    """No weight's gradient varies, so no layer counts; a batch of one has no halves."""
    images, targets = noise(3, 3, 6, 6).repeat(2, 1, 1, 1), labels(3).repeat(2)
    assert zico(convolutional(), images, targets) == 0
    with pytest.raises(ConfigError, match="zico compares the gradients of two halves of a batch, but got 1 image"):
        zico(convolutional(), images[:1], targets[:1])


# ---------------------------------------------------------------------------------------- gradsign


@BOTH
def test_gradsign_counts_signs_image_by_image(normalised: bool) -> None:
    network, images, targets = convolutional(normalised=normalised), noise(5, 3, 6, 6), labels(5)
    each = [loss_gradients(network, images[n : n + 1], targets[n : n + 1]) for n in range(5)]
    expected = 0
    for layer in zip(*each, strict=True):
        for weight in zip(*(gradient.flatten().tolist() for gradient in layer), strict=True):
            expected += abs(sum((g > 0) - (g < 0) for g in weight))
    assert gradsign(network, images, targets) == expected


def test_gradsign_of_one_image_counts_the_weights_with_a_gradient() -> None:
    network = nn.Sequential(nn.Flatten(), drawn(nn.Linear(12, 4)))
    assert gradsign(network, noise(1, 3, 2, 2), labels(1)) == 48


def test_gradsign_needs_more_than_one_value_per_channel() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4))
    with pytest.raises(CaptureError, match="Expected more than 1 value per channel"):
        gradsign(network, noise(2, 3, 2, 2), labels(2))


@pytest.mark.parametrize("function", [zico, gradsign])
def test_labels_must_fit_the_images_and_the_logits(function: Callable[..., float]) -> None:
    network, images = convolutional(), noise(4, 3, 6, 6)
    with pytest.raises(UnfitError, match=r"Target 9 is not a class of Sequential, which has 4 logits"):
        function(network, images, torch.tensor([0, 1, 2, 9]))
    for wrong in (labels(3), labels(5)):
        with pytest.raises(ConfigError, match=r"Expected targets to be \(4,\) integers, one class per image"):
            function(network, images, wrong)
    with pytest.raises(ConfigError, match="needs the class of each image"):
        function(network, images)


# ---------------------------------------------------------------------------------------- ntk


@BOTH
def test_ntk_is_the_condition_of_the_products_of_jacobians(normalised: bool) -> None:
    network, images = convolutional(normalised=normalised), noise(5, 3, 6, 6)
    parameters = [p for name, p in network.named_parameters() if name.endswith("weight")]
    assert len(parameters) == (5 if normalised else 3)  # normalisation has weights too
    rows = []
    for n in range(5):  # the whole batch each time, because its statistics couple the images
        gradients = torch.autograd.grad(network(images)[n].sum(), parameters)
        rows.append(np.concatenate([g.double().numpy().ravel() for g in gradients]))
    kernel = np.array([[a @ b for b in rows] for a in rows])
    assert ntk(network, images) == pytest.approx(np.linalg.cond(kernel), rel=1e-3)


def test_ntk_of_a_linear_layer_is_the_condition_of_its_images() -> None:
    """Each logit's gradient is the image, so T = n_classes * X X^T."""
    network, images = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert ntk(network, images[:, None, None, :]) == pytest.approx(16)


def test_ntk_of_more_images_than_weights_or_of_nothing() -> None:
    assert ntk(nn.Sequential(nn.Flatten(), drawn(nn.Linear(4, 1))), noise(8, 1, 2, 2)) == math.inf
    assert ntk(convolutional(), noise(1, 3, 6, 6)) == 1
    assert math.isnan(ntk(nn.Flatten(), noise(3, 1, 2, 2)))
    assert math.isnan(ntk(nn.Sequential(nn.Flatten(), nn.Linear(4, 1)), torch.zeros(3, 1, 2, 2)))

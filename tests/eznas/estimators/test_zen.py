"""The Zen score equals its formula."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from eznas.errors import CaptureError
from eznas.estimators import zen
from eznas.estimators.passes import gaussian_state
from eznas.estimators.zen import ZEN_SEED
from tests.eznas.estimators.small_networks import Apply, convolutional, noise


def by_hand(network: nn.Sequential, n_features: int, shape: tuple[int, ...]) -> float:
    """The first `n_features` layers of `network` make the features; its weights are drawn here."""
    generator = torch.Generator().manual_seed(ZEN_SEED)
    network.load_state_dict(gaussian_state(network, generator))
    images, change = (torch.randn(shape, generator=generator) for _ in range(2))
    with torch.no_grad():
        first, second = network[:n_features](images), network[:n_features](images + 0.01 * change)
    score = math.log((first - second).abs().flatten(1).sum(dim=1).mean())
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    return score + sum(math.log(math.sqrt(n.running_var.mean())) for n in norms if n.running_var is not None)


@pytest.mark.parametrize("normalised", [True, False], ids=["normalised", "plain"])
def test_zen_is_the_response_before_global_pooling_with_the_scales_put_back(normalised: bool) -> None:
    network = convolutional(normalised=normalised)
    score = zen(network, noise(5, 3, 6, 6))
    assert score == pytest.approx(by_hand(convolutional(normalised=normalised), 6, (5, 3, 6, 6)), rel=1e-4)
    assert zen(network, 9 * noise(5, 3, 6, 6, seed=4)) == score  # only the shape of the inputs counts


@pytest.mark.parametrize("pool", [Apply(lambda x: x.mean(dim=(2, 3))), nn.AvgPool2d(6)], ids=["mean", "average"])
def test_every_way_to_pool_globally_is_found(pool: nn.Module) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), pool, nn.Flatten(), nn.Linear(4, 2))
    copy = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Identity(), nn.Flatten(), nn.Linear(4, 2))
    assert zen(network, noise(5, 3, 6, 6)) == pytest.approx(by_hand(copy, 2, (5, 3, 6, 6)), rel=1e-5)


def test_without_global_pooling_the_features_are_those_of_the_last_linear_layer() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    score = zen(network, noise(5, 3, 6, 6))
    assert score == pytest.approx(by_hand(network, 3, (5, 3, 6, 6)), rel=1e-5)
    with pytest.raises(CaptureError, match="Conv2d has neither a global pooling nor a linear layer"):
        zen(nn.Conv2d(3, 4, 3), noise(2, 3, 6, 6))


def test_zen_needs_running_variances() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten())
    with pytest.raises(CaptureError, match=r"Batch normalisation '1' of Sequential does not track running statistics"):
        zen(network, noise(2, 3, 6, 6))


def test_zen_does_not_depend_on_the_state_of_the_network() -> None:
    network, images = convolutional(), noise(5, 3, 6, 6)
    score = zen(network, images)
    network(5 * images)  # moves the running statistics
    for parameter in network.parameters():
        parameter.data.mul_(-3)
    assert zen(network.eval(), images) == score


def test_a_feature_that_nothing_changes_is_minus_infinity() -> None:
    def nothing(x: Tensor) -> Tensor:
        return x * 0

    network = nn.Sequential(nn.Conv2d(3, 4, 3), Apply(nothing), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert zen(network, noise(5, 3, 6, 6)) == -math.inf

"""The terms of AZ-NAS equal their formulas, on the features that the rule says."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from eznas.errors import CaptureError
from eznas.estimators import az_expressivity, az_progressivity, az_trainability
from eznas.estimators.az_nas import AZ_SEED, feature_blocks, spectral_entropy
from eznas.estimators.passes import gaussian_state, kaiming_deviation
from eznas.spaces import build_network, nb201
from tests.eznas.estimators.small_networks import Apply, convolutional, noise

TERMS = (az_expressivity, az_progressivity, az_trainability)


class Residual(nn.Module):
    """A block of a residual network, whose last ReLU works in place."""

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out_channels, 3, stride=stride, padding=1)
        self.norm = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Conv2d(channels, out_channels, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(self.norm(self.conv(x)) + self.shortcut(x))


class ResidualNetwork(nn.Module):
    """A stem with pooling, two stages of two blocks, and a classifier; (batch, 3, 16, 16) -> (batch, 5)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.stage_1 = nn.Sequential(Residual(4, 4, 1), Residual(4, 4, 1))
        self.stage_2 = nn.Sequential(Residual(4, 6, 2), Residual(6, 6, 1))
        self.global_pool, self.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage_2(self.stage_1(self.pool(self.relu(self.norm(self.conv(x))))))
        logits: Tensor = self.classifier(self.global_pool(x).flatten(1))
        return logits


class Wrapped(nn.Module):
    """Another network inside."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        return logits


def kinds(network: nn.Module, images: Tensor) -> list[str]:
    return [type(module).__name__ for module, _ in feature_blocks(network, images)]


# ------------------------------------------------------------------------------------------------------- which features


@pytest.mark.parametrize("cells", [1, 2])
def test_the_features_of_nas_bench_201_are_stem_cells_and_reductions(cells: int) -> None:
    network = build_network(nb201.from_index(11), nb201.Settings(cells_per_stage=cells), seed=0)
    stage = ["Cell"] * cells
    assert kinds(network, noise(2, 3, 16, 16)) == ["BatchNorm2d", *stage, "Reduction", *stage, "Reduction", *stage]
    assert feature_blocks(network, noise(2, 3, 16, 16))[0][0] is network.get_submodule("stem.1")


def test_those_of_a_residual_network_are_its_pooled_stem_and_its_blocks() -> None:
    network, images = ResidualNetwork(), noise(2, 3, 16, 16)
    assert kinds(network, images) == ["MaxPool2d"] + ["Residual"] * 4
    assert kinds(Wrapped(Wrapped(network)), images) == ["MaxPool2d"] + ["Residual"] * 4


def test_those_of_a_plain_network_end_before_each_convolution_and_the_global_pooling() -> None:
    network = convolutional()
    assert feature_blocks(network, noise(2, 3, 6, 6)) == [(network[2], 0), (network[5], 0)]


def test_a_shared_layer_is_a_block_each_time_it_is_called() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.block = nn.Conv2d(3, 4, 1), Residual(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.block(self.block(self.stem(x))).mean(dim=(2, 3))

    network = Recurrent()
    assert feature_blocks(network, noise(2, 3, 8, 8)) == [(network.stem, 0), (network.block, 0), (network.block, 1)]
    assert math.isfinite(az_trainability(network, noise(4, 3, 8, 8)))


def test_a_network_can_say_its_blocks_itself() -> None:
    class Told(ResidualNetwork):
        def feature_blocks(self) -> list[nn.Module]:
            return [self.pool, self.stage_1, self.stage_2]

    network, images = Told(), noise(4, 3, 16, 16)
    assert kinds(network, images) == ["MaxPool2d", "Sequential", "Sequential"]
    assert all(math.isfinite(term(network, images)) for term in TERMS)


@pytest.mark.parametrize("term", TERMS)
def test_one_feature_is_refused(term: object) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    with pytest.raises(CaptureError, match=r"shows 1 feature map\(s\) .* at least 2 .* feature_blocks\(\)"):
        term(network, noise(2, 3, 6, 6))  # type: ignore[operator]


def test_blocks_that_are_not_called_or_return_no_map_are_refused() -> None:
    network = convolutional()
    network.feature_blocks = [network[2], nn.ReLU()]  # type: ignore[assignment]
    with pytest.raises(CaptureError, match="names a ReLU as a feature block that its forward pass does not call"):
        az_expressivity(network, noise(2, 3, 6, 6))
    network.feature_blocks = [network[2], network[8]]  # type: ignore[assignment]
    with pytest.raises(CaptureError, match=r"must return one tensor of shape .* but a Linear returned something else"):
        az_expressivity(network, noise(2, 3, 6, 6))


# --------------------------------------------------------------------------------------------------------- the formulas


def entropy(feature: np.ndarray) -> float:
    """From the covariance that numpy computes."""
    rows = feature.transpose(0, 2, 3, 1).reshape(-1, feature.shape[1]).astype(float)
    eigenvalues = np.linalg.eigvalsh(np.cov(rows.T))
    shares = eigenvalues / eigenvalues.sum()
    return float(-np.sum(shares * np.log(shares + 1e-8)))


def features_of(network: nn.Module, images: Tensor) -> tuple[list[Tensor], torch.Generator]:
    """Outputs of the pooled stem and the blocks of a `ResidualNetwork`, part by part, and the generator afterwards."""
    generator = torch.Generator().manual_seed(AZ_SEED)
    state = gaussian_state(network, generator, kaiming_deviation)
    drawn = torch.randn(images.shape, generator=generator)

    def apply(name: str, x: Tensor) -> Tensor:
        inside = {key.removeprefix(f"{name}."): t for key, t in state.items() if key.startswith(f"{name}.")}
        return functional_call(network.get_submodule(name), inside, (x,))  # type: ignore[no-any-return]

    features = [apply("pool", apply("relu", apply("norm", apply("conv", drawn))))]
    features[0].requires_grad_()
    for name in ("stage_1.0", "stage_1.1", "stage_2.0", "stage_2.1"):
        features.append(apply(name, features[-1]))
    return features, generator


def test_expressivity_and_progressivity_are_those_of_the_formulas() -> None:
    network, images = ResidualNetwork(), noise(5, 3, 16, 16)
    features, _ = features_of(network, images)
    entropies = [entropy(feature.detach().numpy()) for feature in features]
    assert az_expressivity(network, images) == pytest.approx(sum(entropies), rel=1e-5)
    assert az_progressivity(network, images) == pytest.approx(min(np.diff(entropies)), rel=1e-4)


def test_trainability_is_that_of_the_formula() -> None:
    network, images = ResidualNetwork(), noise(5, 3, 16, 16)
    features, generator = features_of(network, images)
    terms = []
    for before, after in itertools.pairwise(features):
        signs = torch.randint(0, 2, after.shape, generator=generator).float() * 2 - 1
        (back,) = torch.autograd.grad(after, before, signs, retain_graph=True)
        if back.shape[2:] != signs.shape[2:]:
            back = F.pixel_unshuffle(back, 2)
        coupling = torch.einsum("nihw,nohw->io", back, signs) / signs[:, 0].numel()
        largest = float(torch.linalg.svdvals(coupling)[0])
        terms.append(2 - largest - 1 / (largest + 1e-6))
    assert az_trainability(network, images) == pytest.approx(sum(terms) / 4, rel=1e-4)


def test_the_entropy_of_independent_channels_is_the_logarithm_of_their_number() -> None:
    assert spectral_entropy(noise(50, 7, 20, 20)) == pytest.approx(math.log(7), abs=1e-3)
    one = noise(2, 1, 5, 5)
    assert spectral_entropy(torch.cat([one, 2 * one, -one], dim=1)) == pytest.approx(0, abs=1e-6)
    assert math.isnan(spectral_entropy(torch.ones(2, 3, 4, 4)))


def test_sizes_that_do_not_divide_are_scored() -> None:
    """Convolutions without padding, and one that halves an odd size."""
    for second in (
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 4, 3, stride=2, padding=1),
        nn.Conv2d(4, 6, (1, 7), padding=(1, 4)),
    ):
        network = nn.Sequential(nn.Conv2d(3, 4, 1), second, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        assert -10 < az_trainability(network, noise(4, 3, 7, 7)) < 1e-5


# ------------------------------------------------------------------------------------------------------------- extremes


def cell(*operations: str) -> nn.Module:
    return build_network(nb201.architecture(operations), nb201.Settings(), seed=0)


def test_limits_hold_on_nas_bench_201() -> None:
    images = noise(16, 3, 16, 16)
    bound = 2 * (math.log(16) + math.log(32) + math.log(64))  # stem and cell, twice reduction and cell
    for index in (11, 284, 1462, 9417, 13990):
        network = build_network(nb201.from_index(index), nb201.Settings(), seed=0)
        assert 0 < az_expressivity(network, images) <= bound
        assert az_trainability(network, images) <= 1e-5
        assert -math.log(64) < az_progressivity(network, images) < math.log(64)


def test_a_cell_that_only_passes_on_neither_grows_nor_changes_a_gradient() -> None:
    network, images = cell("none", "none", "none", "skip_connect", "none", "none"), noise(8, 3, 16, 16)
    assert az_progressivity(network, images) == 0
    assert az_trainability(network, images) == -math.inf


def test_convolutions_add_directions_and_pooling_takes_them_away() -> None:
    images = noise(16, 3, 16, 16)
    assert (
        az_progressivity(cell(*["nor_conv_3x3"] * 6), images)
        > 0
        > az_progressivity(cell(*["avg_pool_3x3"] * 6), images)
    )


def test_a_cell_with_zero_output_is_the_worst() -> None:
    network, images = cell(*["nor_conv_3x3"] * 3, *["none"] * 3), noise(8, 3, 16, 16)
    assert az_expressivity(network, images) == az_progressivity(network, images) == -math.inf
    assert az_trainability(network, images) < -1e5


def test_weights_and_images_of_the_network_do_not_matter() -> None:
    first, second = ResidualNetwork(), ResidualNetwork()
    for term in TERMS:
        assert term(first, noise(4, 3, 16, 16)) == term(second, torch.zeros(4, 3, 16, 16))


def test_what_follows_in_place_does_not_reach_a_feature() -> None:
    def network(*, inplace: bool) -> nn.Module:
        block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
        told = nn.Sequential(nn.Conv2d(3, 4, 1), block, nn.ReLU(inplace=inplace), Apply(lambda x: x.mean(dim=(2, 3))))
        told.feature_blocks = [told[0], block]  # type: ignore[assignment]
        return told

    images = noise(4, 3, 8, 8)
    for term in TERMS:
        assert term(network(inplace=True), images) == term(network(inplace=False), images)

"""VKDNW equals its definition, derivative by derivative."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from eznas.errors import CaptureError
from eznas.estimators import trainable_layers, vkdnw
from eznas.estimators.passes import gaussian_state, kaiming_deviation
from eznas.estimators.vkdnw import VKDNW_SEED, fisher_spectrum, logit_derivatives, spectrum_entropy
from eznas.spaces import build_network, nb201
from tests.eznas.estimators.small_networks import convolutional, noise


class Standardised(nn.Module):
    """A weight that is used standardised, and a class token: parameters that are no argument of a layer's function."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.token = nn.Parameter(torch.full((1, 4), 0.3))
        self.classifier = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.conv.weight - self.conv.weight.mean(dim=(1, 2, 3), keepdim=True)
        features = F.gelu(F.conv2d(x, weight, self.conv.bias)).mean(dim=(2, 3))
        logits: Tensor = self.classifier(features + self.token)
        return logits


class Attention(nn.Module):
    """Patches, one layer of attention with normalisation, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.norm, self.classifier = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        logits: Tensor = self.classifier(self.norm(self.layer(tokens)).mean(dim=1))
        return logits


def normed_in_groups() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, groups=1, dilation=2), nn.GroupNorm(2, 8), nn.PReLU(8)),
        *(nn.Conv2d(8, 8, 3, groups=4), nn.InstanceNorm2d(8, affine=True), nn.ReLU(inplace=True)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(8), nn.RMSNorm(8), nn.Linear(8, 4)),
    )


def shared() -> nn.Module:
    layer = nn.Linear(6, 6)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 6), layer, nn.Tanh(), layer, nn.Linear(6, 3))


NETWORKS = {
    "convolutional": lambda: convolutional(),
    "groups": normed_in_groups,
    "shared": shared,
    "standardised": Standardised,
    "attention": Attention,
}


def defined(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """By automatic differentiation of every logit of every image alone."""
    generator = torch.Generator().manual_seed(VKDNW_SEED)
    state = gaussian_state(network, generator, kaiming_deviation)
    drawn = torch.randn(images.shape, generator=generator).to(images)
    names = [name for name, _ in network.named_parameters()][:128]
    chosen = [state[name].requires_grad_() for name in names]
    network.eval()
    rows, logits = [], []
    for image in drawn:
        own = functional_call(network, state, (image[None],))[0]
        for logit in own:
            gradients = torch.autograd.grad(logit, chosen, retain_graph=True)
            rows.append(torch.stack([gradient.flatten()[0] for gradient in gradients]))
        logits.append(own.detach())
    return torch.stack(rows).reshape(len(images), -1, len(names)), torch.stack(logits)


@pytest.mark.parametrize("kind", NETWORKS)
def test_derivatives_are_those_of_every_image_and_class(kind: str) -> None:
    network, images = NETWORKS[kind]().double(), noise(5, 3, 8, 8).double()
    derivatives, logits = logit_derivatives(network, images)
    expected, expected_logits = defined(network, images)
    assert torch.allclose(logits, expected_logits)
    assert torch.allclose(derivatives, expected, rtol=1e-9, atol=1e-12)
    assert expected.abs().max() > 0.1


def test_the_score_is_that_of_the_formula() -> None:
    network, images = convolutional(), noise(6, 3, 6, 6)
    derivatives, logits = (part.double() for part in defined(network, images))
    fisher = torch.zeros(len(derivatives[0, 0]), len(derivatives[0, 0]), dtype=torch.float64)
    for rows, own in zip(derivatives, logits, strict=True):
        q = 0.95 * own.softmax(dim=0) + 0.05 / 4
        fisher += rows.T @ (torch.diag(q) - torch.outer(q, q)) @ rows / 6
    deciles = np.quantile(np.linalg.svd(fisher.numpy())[1], np.arange(1, 10) / 10)
    shares = deciles / (deciles.sum() + 1e-10)
    entropy = -np.sum(shares * np.log(shares + 1e-10))
    assert vkdnw(network, images) == pytest.approx(10 + entropy, abs=1e-4)


def test_the_entropy_is_largest_for_an_even_spectrum() -> None:
    assert spectrum_entropy(torch.full((20,), 3.0)) == pytest.approx(math.log(9), abs=1e-6)
    assert spectrum_entropy(torch.cat([torch.zeros(95), torch.ones(5)])) == pytest.approx(0, abs=1e-6)
    assert math.isnan(spectrum_entropy(torch.tensor([1.0, math.nan])))


def test_with_fewer_rows_than_parameters_the_rest_of_the_spectrum_is_zero() -> None:
    eigenvalues = fisher_spectrum(noise(2, 3, 30).double(), noise(2, 3, seed=1).double())
    assert eigenvalues.shape == (30,)
    assert (eigenvalues > 1e-9).sum() == 4  # two images with two independent directions each
    assert torch.equal(eigenvalues, eigenvalues.sort().values)


def test_it_counts_the_parameter_tensors_of_nas_bench_201() -> None:
    """Stem 3, last normalisation 2, classifier 2, two reductions 7 each, and 3 per convolution of a cell."""
    images = noise(4, 3, 16, 16)
    for index in (11, 1462, 13990):
        arch = nb201.from_index(index)
        convolutions = sum("conv" in operation for operation in nb201.operations(arch))
        network = build_network(arch, nb201.Settings(), seed=0)
        assert trainable_layers(network, images) == 21 + 3 * 3 * convolutions
        assert 0 < vkdnw(network, images) - trainable_layers(network, images) <= math.log(9)


def test_weights_images_and_running_statistics_do_not_matter() -> None:
    network, images = convolutional(), noise(4, 3, 6, 6)
    value = vkdnw(network, images)
    with torch.no_grad():
        for tensor in (*network.parameters(), network[1].running_mean, network[1].running_var):
            tensor.add_(1.0)  # type: ignore[union-attr]
    assert vkdnw(network, torch.zeros_like(images)) == value


def test_logits_of_another_shape_are_refused() -> None:
    with pytest.raises(CaptureError, match=r"must return logits of shape \(batch, n_classes\) but returned"):
        vkdnw(nn.Conv2d(3, 4, 1), noise(2, 3, 4, 4))

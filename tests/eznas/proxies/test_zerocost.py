"""Each estimator equals its formula where that can be worked out by hand or another way."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eznas.errors import CaptureError
from eznas.proxies import jacob_cov, mac_count, naswot, parameter_count, synflow


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def drawn(network: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return network


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


# ---------------------------------------------------------------------------------------- sizes


def test_counts_of_a_network_worked_out_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),  # 216 weights, used at 4x4 places
        nn.BatchNorm2d(8),  # 16 parameters, no MACs
        nn.Conv2d(8, 8, 3, groups=4, padding=1),  # 144 weights + 8 biases at 4x4 places
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),  # 80 + 10
    )
    images = noise(2, 3, 8, 8)
    assert parameter_count(network, images) == 216 + 16 + 152 + 90
    assert mac_count(network, images) == 16 * (216 + 152) + 90
    assert mac_count(network, noise(7, 3, 8, 8)) == mac_count(network, images)


# ---------------------------------------------------------------------------------------- naswot


def agreement_score(*relu_inputs: Tensor) -> float:
    """The formula pair by pair: agreements = ReLU inputs less Hamming distance."""
    codes = np.concatenate([(x.flatten(1) > 0).numpy() for x in relu_inputs], axis=1)
    kernel = np.array([[np.sum(a == b) for b in codes] for a in codes], dtype=float)
    return float(np.linalg.slogdet(kernel)[1])


RELUS: dict[str, Callable[[Tensor], Tensor]] = {
    "module": nn.ReLU(),
    "in place": nn.ReLU(inplace=True),
    "functional": F.relu,
    "functional in place": F.relu_,
    "torch": torch.relu,
    "method": Tensor.relu,
    "method in place": Tensor.relu_,
    "relu6": nn.ReLU6(),
    "functional relu6": F.relu6,
    "leaky": nn.LeakyReLU(),
    "prelu": nn.PReLU(),
}


@pytest.mark.parametrize("relu", RELUS.values(), ids=RELUS)
def test_naswot_sees_every_kind_of_relu(relu: Callable[[Tensor], Tensor]) -> None:
    network = nn.Sequential(nn.Flatten(), drawn(nn.Linear(12, 30)), Apply(relu), drawn(nn.Linear(30, 4)))
    images = noise(5, 3, 2, 2)
    with torch.no_grad():
        expected = agreement_score(network[:2](images))
    assert naswot(network, images) == pytest.approx(expected, abs=1e-9)


def test_naswot_adds_up_all_relus_and_no_other_activation() -> None:
    first, second = drawn(nn.Conv2d(3, 6, 3)), drawn(nn.Conv2d(6, 4, 1))
    network = nn.Sequential(first, nn.ReLU(), second, nn.Hardtanh(), nn.GELU(), nn.ReLU(), nn.Flatten())
    images = noise(5, 3, 6, 6)
    with torch.no_grad():
        a, b = first(images), network[:5](images)
    assert naswot(network, images) == pytest.approx(agreement_score(a, b), abs=1e-9)


def test_an_input_of_exactly_zero_is_not_active() -> None:
    """The second ReLU sees the zeros that the first one made."""
    network = nn.Sequential(nn.ReLU(), nn.ReLU(), nn.Flatten())
    images = noise(5, 3, 4, 4)
    assert naswot(network, images) == pytest.approx(agreement_score(images, images), abs=1e-9)


def test_naswot_uses_the_statistics_of_the_batch() -> None:
    """Train mode: with running statistics (mean 0), a bias of 100 would make every input of the ReLU positive."""
    conv = drawn(nn.Conv2d(3, 6, 3))
    conv.get_parameter("bias").data.fill_(100)
    network = nn.Sequential(conv, nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten()).eval()
    assert math.isfinite(naswot(network, noise(5, 3, 6, 6)))


@pytest.mark.parametrize("layers", [[nn.ReLU()], [nn.Tanh()]], ids=["equal images", "no relu"])
def test_naswot_of_a_singular_kernel_is_minus_infinity(layers: list[nn.Module]) -> None:
    assert naswot(nn.Sequential(*layers, nn.Flatten()), torch.ones(4, 3, 2, 2)) == -math.inf


def test_naswot_needs_the_batch_first() -> None:
    network = nn.Sequential(Apply(lambda x: x.transpose(0, 1)), nn.ReLU())
    with pytest.raises(CaptureError, match=r"shape \(3, 5, 2, 2\) for a batch of 5 images"):
        naswot(network, noise(5, 3, 2, 2))


# ---------------------------------------------------------------------------------------- synflow


def test_synflow_of_a_chain_is_the_flow_times_its_layers() -> None:
    """Without biases R is linear in each layer's weights, so each layer's sum of w dR/dw is R."""
    first, second = drawn(nn.Linear(12, 7, bias=False)), drawn(nn.Linear(7, 4, bias=False))
    network = nn.Sequential(nn.Flatten(), first, nn.BatchNorm1d(7), nn.ReLU(inplace=True), second)
    w, v = (layer.get_parameter("weight").detach().abs().double() for layer in (first, second))
    flow = (v @ w @ torch.ones(12, dtype=torch.float64)).sum()
    assert synflow(network, noise(2, 3, 2, 2)) == pytest.approx(math.log(2 * flow), rel=1e-12)
    assert synflow(network, 5 * noise(3, 3, 2, 2, seed=9)) == synflow(network, noise(2, 3, 2, 2))  # needs no data


def test_synflow_does_not_count_biases_or_normalisations() -> None:
    layer = drawn(nn.Linear(12, 4))
    network = nn.Sequential(nn.Flatten(), layer, drawn(nn.BatchNorm1d(4)))
    expected = math.log(float(layer.get_parameter("weight").detach().double().abs().sum()))
    assert synflow(network, noise(2, 3, 2, 2)) == pytest.approx(expected, rel=1e-12)


def test_a_change_in_place_after_the_normalisation_does_not_reach_its_input() -> None:
    class Shortcut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(12, 4, bias=False)
            self.norm = nn.BatchNorm1d(4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.layer(x.flatten(1))
            logits: Tensor = x + self.norm(x).mul_(3)
            return logits

    network = drawn(Shortcut())
    expected = math.log(4 * float(network.get_parameter("layer.weight").detach().double().abs().sum()))
    assert synflow(network, noise(2, 3, 2, 2)) == pytest.approx(expected, rel=1e-12)


def test_synflow_does_not_overflow_where_float32_does() -> None:
    layers = [nn.Linear(12, 12, bias=False) for _ in range(30)]
    for layer in layers:
        layer.weight.data.fill_(1e3)
    expected = math.log(30) + 30 * math.log(1e3) + 31 * math.log(12)
    assert synflow(nn.Sequential(nn.Flatten(), *layers), noise(1, 3, 2, 2)) == pytest.approx(expected, rel=1e-9)


def test_synflow_without_weights_is_minus_infinity() -> None:
    assert synflow(nn.Flatten(), noise(1, 3, 2, 2)) == -math.inf


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

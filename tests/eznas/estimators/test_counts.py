"""Counts equal those worked out by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eznas.estimators import mac_count, parameter_count
from eznas.programs import parse
from eznas.proxies import ProgramProxy
from tests.eznas.estimators.small_networks import noise


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


class Halved(nn.Module):
    """Normalised features, half of whose channels are halved: by assignment to a slice, or by a product."""

    def __init__(self, *, assigns: bool) -> None:
        super().__init__()
        self.assigns = assigns
        self.stem, self.norm, self.conv = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x))
        if self.assigns:
            x[:, :2] = x[:, :2] * 0.5
        else:
            x = x * torch.tensor([0.5, 0.5, 1.0, 1.0])[:, None, None]
        out: Tensor = self.head(self.conv(x.relu()).mean((2, 3)))
        return out


def test_a_count_does_not_mind_what_is_overwritten() -> None:
    images, by_hand = noise(2, 3, 8, 8), 36 * 4 * (27 + 1) + 36 * 4 * (4 + 1) + 5 * (4 + 1)
    for network in (Halved(assigns=True), Halved(assigns=False)):
        assert mac_count(network, images) == by_hand
        assert parameter_count(network, images) == 4 * 28 + 8 + 4 * 5 + 25
        for text in ("mac_count", "(sum_layers (frobenius_norm weight))"):
            proxy = ProgramProxy(name=text, program=parse(text))
            assert proxy.score(network, images) > 0
            assert text != "mac_count" or proxy.score(network, images) == by_hand

"""Counts equal those worked out by hand."""

from __future__ import annotations

from torch import nn

from eznas.estimators import mac_count, parameter_count
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

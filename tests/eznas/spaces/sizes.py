"""The plain count of a network's parameters and multiply-accumulates, beside the closed forms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from eznas.spaces import Architecture


def check_sizes(space: Any, arch: Architecture, settings: Any, size: int) -> None:
    """What a forward pass of a built network performs is what `space` counts, and so are its parameters."""
    performed = 0

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal performed
        match module:
            case nn.Conv2d():
                performed += output[0].numel() * module.weight[0].numel()
            case nn.Linear():
                performed += (module.in_features + 1) * module.out_features

    with torch.device("meta"):  # shapes alone: nothing is computed
        network = space.allocate(arch, settings)
        for module in network.modules():
            module.register_forward_hook(count)
        assert network(torch.empty(2, 3, size, size)).shape == (2, settings.n_classes)
    counted = space.counts(arch, settings, size)
    assert (counted.parameters, counted.macs) == (sum(p.numel() for p in network.parameters()), performed)

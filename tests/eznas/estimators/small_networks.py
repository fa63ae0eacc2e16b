"""Small networks and batches whose scores can be worked out another way."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal values of this shape."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def drawn(network: nn.Module) -> nn.Module:
    """`network` with every parameter drawn from N(0, 0.3^2)."""
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


def convolutional(*, normalised: bool = True, n_classes: int = 4) -> nn.Sequential:
    """(batch, 3, 6, 6) -> (batch, n_classes): two convolutions, each with a ReLU, and a linear layer."""
    norms = [nn.BatchNorm2d(6), nn.BatchNorm2d(5)] if normalised else [nn.Identity(), nn.Identity()]
    network = nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1), norms[0], nn.ReLU()),
        *(nn.Conv2d(6, 5, 3), norms[1], nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, n_classes)),
    )
    drawn(network)
    return network


def labels(n: int, n_classes: int = 4) -> Tensor:
    """0, 1, ..., and again from 0: (n,) classes."""
    return torch.arange(n) % n_classes


def weights(network: nn.Module) -> list[nn.Parameter]:
    """The weights of convolutions and linear layers."""
    return [m.weight for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def loss_gradients(network: nn.Module, images: Tensor, targets: Tensor) -> list[Tensor]:
    """The gradient of the mean cross-entropy for each of the `weights`."""
    return list(torch.autograd.grad(F.cross_entropy(network(images), targets), weights(network)))

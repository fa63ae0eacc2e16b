"""Kinds of networks, each in two sizes, from (batch, 3, 8, 8) images to five logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

N_CLASSES: Final = 5


def convolutional(width: int, depth: int, activation: type[nn.Module]) -> nn.Module:
    """Convolutions with batch normalisation, the last strided, and a linear head."""
    layers: list[nn.Module] = []
    for place in range(depth):
        conv = nn.Conv2d(width if place else 3, width, 3, stride=1 + (place == depth - 1), padding=1, bias=False)
        layers += [conv, nn.BatchNorm2d(width), activation()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, N_CLASSES))


def perceptron(width: int, depth: int) -> nn.Module:
    """Linear layers with ReLUs between."""
    hidden = [part for _ in range(depth) for part in (nn.ReLU(), nn.Linear(width, width))]
    return nn.Sequential(nn.Flatten(), nn.Linear(192, width), *hidden, nn.ReLU(), nn.Linear(width, N_CLASSES))


class Mixing(nn.Module):
    """A layer over tokens and one over channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Sequential(nn.Linear(16, 12), nn.GELU(), nn.Linear(12, 16))
        self.channels = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.before(x).mT).mT
        mixed: Tensor = x + self.channels(self.between(x))
        return mixed


class Mixer(nn.Module):
    """Patches, layers that mix them, and a linear head."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 2, 2)
        self.layers = nn.Sequential(*(Mixing(width) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, N_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(self.layers(self.patches(x).flatten(2).mT)).mean(1))
        return logits


class Transformer(nn.Module):
    """Patches with a class token and positions, layers of attention, and a linear head."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, width, 2, 2), nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, 17, width))
        layers = (
            nn.TransformerEncoderLayer(width, 2, 2 * width, activation="gelu", batch_first=True) for _ in range(depth)
        )
        self.layers = nn.Sequential(*layers)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, N_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.token.expand(len(x), -1, -1), self.patches(x).flatten(2).mT], dim=1)
        logits: Tensor = self.head(self.norm(self.layers(x + self.positions)[:, 0]))
        return logits


class Recurrent(nn.Module):
    """The rows of an image one after the other, and a linear head on the last state."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.layer, self.head = nn.LSTM(24, width, depth, batch_first=True), nn.Linear(width, N_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layer(x.transpose(1, 2).flatten(2))[0][:, -1])
        return logits


def with_zero_head(width: int, depth: int) -> nn.Module:
    """A convolutional network whose head is zero as it is initialised."""
    network = convolutional(width, depth, nn.ReLU)
    for parameter in [*network.parameters()][-2:]:
        nn.init.zeros_(parameter)
    return network


_MAKERS: Final[dict[str, Callable[[int, int], nn.Module]]] = {
    "ReLU CNN": lambda width, depth: convolutional(width, depth, nn.ReLU),
    "SiLU CNN": lambda width, depth: convolutional(width, depth, nn.SiLU),
    "MLP": perceptron,
    "mixer": Mixer,
    "ViT": Transformer,
    "LSTM": Recurrent,
    "zero head": with_zero_head,
}
KINDS: Final = tuple(_MAKERS)


def networks(kind: str) -> tuple[nn.Module, nn.Module]:
    """A small network of a kind, and one that is wider and deeper."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _MAKERS[kind](8, 2), _MAKERS[kind](12, 3)

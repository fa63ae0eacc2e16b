"""The blocks that networks of the grammar are made of; each keeps channels and size, but for the dense one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eznas.spaces.families.description import edges, n_nodes
from eznas.spaces.layers import BatchNorm2d, Conv2d, Linear

ACTIVATIONS: Final = MappingProxyType(
    {
        "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "silu": nn.SiLU, "gelu": nn.GELU,
        "hardswish": nn.Hardswish, "tanh": nn.Tanh,
    }
)  # fmt: skip
N_GROUPS: Final = 4
"""Of group normalisation, fewer where a group would have less than `MIN_GROUP` channels."""
MIN_GROUP: Final = 4
HEAD_CHANNELS: Final = 8
"""Of a head of attention."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a block of a stage is made with."""

    kernel: int = 3
    expansion: float = 1.0
    groups: int = 1
    se: bool = False
    norm: str = "batch"
    activation: str = "relu"
    mixer: str = "depthwise"
    cell: tuple[str, ...] = ()

    def act(self) -> nn.Module:
        """The activation."""
        return ACTIVATIONS[self.activation]()

    def normalise(self, channels: int) -> nn.Module:
        """The normalisation of so many channels."""
        match self.norm:
            case "batch":
                return BatchNorm2d(channels)
            case "group":
                return nn.GroupNorm(math.gcd(N_GROUPS, channels, max(1, channels // MIN_GROUP)), channels)
            case "layer":
                return nn.GroupNorm(1, channels)
        return nn.Identity()

    def convolve(self, before: int, after: int, kernel: int = 1, **further: int) -> Conv2d:
        """A convolution that keeps the size; it has a bias if nothing normalises what it gives."""
        has_bias, padding = self.norm == "none", further.pop("padding", kernel // 2)
        return Conv2d(before, after, kernel, padding=padding, bias=has_bias, **further)  # type: ignore[arg-type]

    def unit(self, before: int, after: int, kernel: int = 1, **further: int) -> nn.Sequential:
        """Convolution, normalisation, activation."""
        return nn.Sequential(self.convolve(before, after, kernel, **further), self.normalise(after), self.act())

    def hidden(self, channels: int) -> int:
        """The inner channels of a block of so many: a multiple of four."""
        return max(4, 4 * round(channels * self.expansion / 4))

    def excite(self, channels: int) -> nn.Module:
        """Squeeze-and-excitation, or nothing."""
        return SqueezeExcitation(channels) if self.se else nn.Identity()


class SqueezeExcitation(nn.Module):
    """Channels weighted by what two small layers make of their means.

    Source: `Hu et al. 2018 <https://arxiv.org/abs/1709.01507>`_, section 3.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(4, channels // 4)
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), Conv2d(channels, hidden, 1), nn.ReLU(), Conv2d(hidden, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width), kept."""
        return x * self.weigh(x)


class Residual(nn.Module):
    """What a body makes of the input, added to it; then an activation, or none."""

    def __init__(self, body: nn.Module, last: nn.Module | None = None) -> None:
        super().__init__()
        self.body = body
        self.last = nn.Identity() if last is None else last

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width), kept."""
        found: Tensor = self.last(x + self.body(x))
        return found


def plain(channels: int, choice: Choice) -> nn.Module:
    """Convolution, normalisation, activation."""
    unit = choice.unit(channels, channels, choice.kernel, groups=choice.groups)
    return nn.Sequential(*unit, choice.excite(channels))


def residual(channels: int, choice: Choice) -> nn.Module:
    """Two convolutions beside the identity, the last activation after the sum (`He et al. 2016
    <https://arxiv.org/abs/1512.03385>`_)."""
    body = nn.Sequential(
        *choice.unit(channels, channels, choice.kernel, groups=choice.groups),
        choice.convolve(channels, channels, choice.kernel, groups=choice.groups),
        choice.normalise(channels),
        choice.excite(channels),
    )
    return Residual(body, choice.act())


def preactivation(channels: int, choice: Choice) -> nn.Module:
    """Normalisation, activation, convolution, twice, beside the identity (`He et al. 2016
    <https://arxiv.org/abs/1603.05027>`_)."""
    body: list[nn.Module] = []
    for _ in range(2):
        convolution = choice.convolve(channels, channels, choice.kernel, groups=choice.groups)
        body += [choice.normalise(channels), choice.act(), convolution]
    return Residual(nn.Sequential(*body, choice.excite(channels)))


def bottleneck(channels: int, choice: Choice) -> nn.Module:
    """1x1, kernel, 1x1 beside the identity (`Xie et al. 2017 <https://arxiv.org/abs/1611.05431>`_ with groups)."""
    hidden = choice.hidden(channels)
    body = nn.Sequential(
        *choice.unit(channels, hidden),
        *choice.unit(hidden, hidden, choice.kernel, groups=choice.groups),
        choice.convolve(hidden, channels),
        choice.normalise(channels),
        choice.excite(channels),
    )
    return Residual(body, choice.act())


class Dense(nn.Module):
    """The input, and beside it half as many channels as the stage has, made of all channels so far.

    Source: `Huang et al. 2017 <https://arxiv.org/abs/1608.06993>`_, section 3.
    """

    def __init__(self, before: int, growth: int, choice: Choice) -> None:
        super().__init__()
        self.grow = nn.Sequential(
            choice.normalise(before),
            choice.act(),
            choice.convolve(before, growth, choice.kernel, groups=math.gcd(choice.groups, math.gcd(before, growth))),
            choice.excite(growth),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, before, height, width) -> (batch, before + growth, height, width)."""
        return torch.cat([x, self.grow(x)], dim=1)


def inverted(channels: int, choice: Choice) -> nn.Module:
    """1x1 to more channels, depthwise, 1x1 back without activation, beside the identity (`Sandler et al. 2018
    <https://arxiv.org/abs/1801.04381>`_)."""
    hidden = choice.hidden(channels)
    body = nn.Sequential(
        *choice.unit(channels, hidden),
        *choice.unit(hidden, hidden, choice.kernel, groups=hidden),
        choice.excite(hidden),
        choice.convolve(hidden, channels),
        choice.normalise(channels),
    )
    return Residual(body)


class Branches(nn.Module):
    """A quarter of the channels by 1x1, half by 1x1 and the kernel, a quarter by a pool and 1x1, side by side.

    Source: `Szegedy et al. 2015 <https://arxiv.org/abs/1409.4842>`_, figure 2b.
    """

    def __init__(self, channels: int, choice: Choice) -> None:
        super().__init__()
        quarter = channels // 4
        half = channels - 2 * quarter
        pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.branches = nn.ModuleList(
            [
                choice.unit(channels, quarter),
                nn.Sequential(*choice.unit(channels, half), *choice.unit(half, half, choice.kernel)),
                nn.Sequential(pool, *choice.unit(channels, quarter)),
            ]
        )
        self.excite = choice.excite(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width), kept."""
        found: Tensor = self.excite(torch.cat([branch(x) for branch in self.branches], dim=1))
        return found


class ChannelShuffle(nn.Module):
    """Channels of different groups side by side."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width), kept."""
        return x.unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)


def shuffle(channels: int, choice: Choice) -> nn.Module:
    """1x1 in groups, channels shuffled, depthwise, 1x1 in groups, beside the identity (`Zhang et al. 2018
    <https://arxiv.org/abs/1707.01083>`_)."""
    hidden, groups = choice.hidden(channels), choice.groups
    body = nn.Sequential(
        *choice.unit(channels, hidden, groups=groups),
        ChannelShuffle(groups),
        choice.convolve(hidden, hidden, choice.kernel, groups=hidden),
        choice.normalise(hidden),
        choice.convolve(hidden, channels, groups=groups),
        choice.normalise(channels),
    )
    return Residual(body, choice.act())


class PoolMixer(nn.Module):
    """The mean of the places around, less the place (`Yu et al. 2022 <https://arxiv.org/abs/2111.11418>`_)."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width), kept."""
        return F.avg_pool2d(x, self.kernel, 1, self.kernel // 2, count_include_pad=False) - x


class ShiftMixer(nn.Module):
    """A quarter of the channels comes from each of four sides, and 1x1 mixes them (`Wu et al. 2018
    <https://arxiv.org/abs/1711.08141>`_)."""

    def __init__(self, channels: int, kernel: int, choice: Choice) -> None:
        super().__init__()
        self.far = max(1, kernel // 2)
        self.mix = choice.convolve(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width), kept."""
        sides = ((0, 0, self.far, 0), (0, 0, 0, self.far), (self.far, 0, 0, 0), (0, self.far, 0, 0))
        height, width = x.shape[-2:]
        parts = []
        for part, (left, right, top, bottom) in zip(x.chunk(4, dim=1), sides, strict=True):
            padded = F.pad(part, (left, right, top, bottom))
            parts.append(padded[..., bottom : bottom + height, right : right + width])
        found: Tensor = self.mix(torch.cat(parts, dim=1))
        return found


class AttentionMixer(nn.Module):
    """Attention between all places, in heads of a few channels; where a place lies comes from a depthwise convolution.

    Source: `Dosovitskiy et al. 2021 <https://arxiv.org/abs/2010.11929>`_; `Chu et al. 2021
    <https://arxiv.org/abs/2102.10882>`_ for the places.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.n_heads = max(1, channels // HEAD_CHANNELS)
        while channels % self.n_heads:
            self.n_heads -= 1
        self.place = Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.ask = Linear(channels, 3 * channels)
        self.answer = Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width), kept."""
        x = x + self.place(x)
        tokens = x.flatten(2).transpose(1, 2)
        query, key, value = self.ask(tokens).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        found: Tensor = self.answer(mixed.transpose(1, 2).flatten(2))
        return found.transpose(1, 2).unflatten(2, x.shape[2:])


def metaformer(channels: int, choice: Choice) -> nn.Module:
    """Places mixed, then channels by two layers, each normalised before and beside the identity (`Yu et al. 2022
    <https://arxiv.org/abs/2111.11418>`_)."""
    mixers: dict[str, Callable[[], nn.Module]] = {
        "pool": lambda: PoolMixer(choice.kernel),
        "shift": lambda: ShiftMixer(channels, choice.kernel, choice),
        "depthwise": lambda: choice.convolve(channels, channels, choice.kernel, groups=channels),
        "attention": lambda: AttentionMixer(channels, choice.kernel),
    }
    hidden = choice.hidden(channels)
    mlp = nn.Sequential(
        choice.normalise(channels), Conv2d(channels, hidden, 1), choice.act(), Conv2d(hidden, channels, 1)
    )
    mix = nn.Sequential(choice.normalise(channels), mixers[choice.mixer]())
    return nn.Sequential(Residual(mix), Residual(mlp))


class Cell(nn.Module):
    """Nodes that sum what edges bring them; the last one is the output."""

    def __init__(self, channels: int, choice: Choice) -> None:
        super().__init__()
        self.places = edges(n_nodes(len(choice.cell)))
        self.operations = nn.ModuleList(_operation(name, channels, choice) for name in choice.cell)
        self.used = tuple(name != "none" for name in choice.cell)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width), kept."""
        nodes: dict[int, Tensor] = {0: x}
        for (source, node), operation, is_used in zip(self.places, self.operations, self.used, strict=True):
            if is_used:
                brought = operation(nodes[source])
                nodes[node] = nodes[node] + brought if node in nodes else brought
        return nodes[self.places[-1][1]]


def _operation(name: str, channels: int, choice: Choice) -> nn.Module:
    match name:
        case "conv1" | "conv3":
            return choice.unit(channels, channels, int(name[-1]))
        case "sep3" | "sep5":
            depthwise = choice.convolve(channels, channels, int(name[-1]), groups=channels)
            return nn.Sequential(depthwise, *choice.unit(channels, channels))
        case "max3":
            return nn.MaxPool2d(3, stride=1, padding=1)
        case "avg3":
            return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return nn.Identity()


BLOCKS: Final[MappingProxyType[str, Callable[[int, Choice], nn.Module]]] = MappingProxyType(
    {
        "plain": plain, "residual": residual, "preactivation": preactivation, "bottleneck": bottleneck,
        "inverted": inverted, "branches": Branches, "shuffle": shuffle, "metaformer": metaformer, "cell": Cell,
    }
)  # fmt: skip
"""What makes a block of so many channels; the dense one changes them."""

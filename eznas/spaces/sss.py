"""The size space of NATS-Bench (SSS): 32,768 networks of one cell that differ in five widths alone.

A network is written by the widths of its five layers, ``8:16:24:32:64``, each a multiple of 8 up to 64. Layers 1, 3 and
5 are cells of NAS-Bench-201 (index 9930: 3x3 convolutions but for a skip connection from the input to the output),
layers 2 and 4 its reduction blocks. Where a cell changes the width, what leaves its input does.

Source: `Dong et al. 2021 <https://arxiv.org/abs/2009.00437>`_, section 3.2.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import numpy as np
from torch import Tensor, nn

from eznas.errors import ArchitectureError
from eznas.names import shown
from eznas.spaces import nb201
from eznas.spaces.architecture import Architecture, check_space, text_digest
from eznas.spaces.initialise import Scheme
from eznas.spaces.layers import BatchNorm2d, Linear, conv_norm, relu_conv_norm
from eznas.spaces.notation import check_sample_size, drawn, indices
from eznas.spaces.settings import Classes, SpaceSettings, check_halved_twice
from eznas.spaces.space import Counts, SearchSpace

NAME: Final = "sss"
WIDTHS: Final = (8, 16, 24, 32, 40, 48, 56, 64)
N_LAYERS: Final = 5
N_NETWORKS: Final = len(WIDTHS) ** N_LAYERS
_SPEC: Final = re.compile(r"[0-9]{1,2}(?::[0-9]{1,2}){4}")
_INDICES: Final = re.compile(r"[0-9\s,-]+")


class Settings(SpaceSettings):
    """The classes of a network of the size space, and how it is initialised; its widths are the architecture's."""

    space: Literal["sss"] = NAME
    n_classes: Classes = 10
    """Logits: 10 of CIFAR-10, 100 of CIFAR-100, 120 of ImageNet16-120."""
    scheme: Scheme = "eznas"
    """Initialisation: of the EZNAS release (Kaiming normal, fan out), or PyTorch's own."""


FULL: Final = Settings()
"""The benchmark's CIFAR-10 networks."""


def widths(arch: Architecture) -> tuple[int, ...]:
    """The channels of the five layers.

    Raises:
        ArchitectureError: if `arch` is of another search space or its text does not name five known widths.
    """
    check_space(arch, NAME)
    found = tuple(map(int, arch.spec.split(":"))) if _SPEC.fullmatch(arch.spec) else ()
    if not found or any(width not in WIDTHS for width in found):
        raise ArchitectureError(
            f"A network of NATS-Bench's size space has five widths out of {', '.join(map(str, WIDTHS))}, as in "
            f"'8:16:24:32:64', but {shown(arch.spec)} was given; correct it."
        )
    return found


def architecture(text: str) -> Architecture:
    """The architecture of a text such as ``8:16:24:32:64``, spaces allowed.

    Raises:
        ArchitectureError: if it does not name five known widths.
    """
    arch = Architecture(NAME, "".join(text.split()))
    return Architecture(NAME, ":".join(map(str, widths(arch))))


def from_index(index: int) -> Architecture:
    """The network with an official index; the inverse of `index_of`.

    Raises:
        ArchitectureError: if `index` is outside ``[0, 32768)``.
    """
    if not 0 <= index < N_NETWORKS:
        raise ArchitectureError(
            f"An index of NATS-Bench's size space lies in 0..{N_NETWORKS - 1}, but {index} was given; use one of them."
        )
    digits = [(index // len(WIDTHS) ** power) % len(WIDTHS) for power in reversed(range(N_LAYERS))]
    return Architecture(NAME, ":".join(str(WIDTHS[digit]) for digit in digits))


def index_of(arch: Architecture) -> int:
    """The official index, in ``[0, 32768)``: the widths as digits to the base 8, the first most significant.

    Raises:
        ArchitectureError: if `arch` is not of this space.
    """
    index = 0
    for width in widths(arch):
        index = index * len(WIDTHS) + WIDTHS.index(width)
    return index


def named(text: str) -> tuple[Architecture, ...]:
    """The networks of a specification.

    Args:
        text: parts separated by semicolons: ``all``, ``random:N[:SEED]`` (uniform, no replacement), indices
            ``3,10-12``, or widths ``8:16:24:32:64``.

    Raises:
        ArchitectureError: if a part is none of these, or an index lies outside the list.
    """
    return tuple(dict.fromkeys(arch for part in text.split(";") for arch in _part(part.strip())))


def _part(text: str) -> tuple[Architecture, ...]:
    if text == "all":
        return tuple(from_index(index) for index in range(N_NETWORKS))
    found = drawn(text, NAME, sample, "networks", "random", NAME)
    if found is not None:
        return found
    if not _INDICES.fullmatch(text):
        return (architecture(text),)
    return tuple(from_index(index) for index in indices(text, NAME, N_NETWORKS))


def sample(rng: np.random.Generator, n: int) -> tuple[Architecture, ...]:
    """Networks drawn uniformly without replacement.

    Raises:
        ArchitectureError: if `n` is not in 1 .. 32768.
    """
    check_sample_size(n, N_NETWORKS, "NATS-Bench's size space")
    return tuple(from_index(int(index)) for index in rng.choice(N_NETWORKS, size=n, replace=False))


def mutate(arch: Architecture, rng: np.random.Generator) -> Architecture:
    """A network that differs in one width, layer and width drawn uniformly.

    Raises:
        ArchitectureError: if `arch` is not of this space.
    """
    changed = [*widths(arch)]
    layer = int(rng.integers(N_LAYERS))
    others = [width for width in WIDTHS if width != changed[layer]]
    changed[layer] = others[int(rng.integers(len(others)))]
    return Architecture(NAME, ":".join(map(str, changed)))


def function(arch: Architecture) -> str:
    """The text: no two networks of this space compute the same."""
    return ":".join(map(str, widths(arch)))


def counts(arch: Architecture, settings: Settings, input_size: int) -> Counts:
    """Closed-form sizes.

    Args:
        arch: the network.
        settings: its classes.
        input_size: height and width of the images in pixels, a multiple of 4.

    Raises:
        ArchitectureError: if `arch` is not of this space, or `input_size` is not a positive multiple of 4.
    """
    check_halved_twice("a network of NATS-Bench's size space", input_size)
    layers, k = widths(arch), settings.n_classes
    parameters = 29 * layers[0] + 2 * layers[-1] + (layers[-1] + 1) * k
    macs = 27 * layers[0] * input_size**2 + (layers[-1] + 1) * k
    size = input_size
    for place, (before, after) in enumerate(zip((layers[0], *layers), layers, strict=False)):
        if place % 2:  # a reduction block: its convolutions work at the resolution it leaves
            size //= 2
            weights, norms = 10 * before * after + 9 * after**2, 4 * after
        else:
            shortcut = before != after
            weights = (18 + shortcut) * before * after + 27 * after**2
            norms = 10 * after + 2 * after * shortcut
        parameters += weights + norms
        macs += weights * size**2
    return Counts(parameters, macs)


class Cell(nn.Module):
    """The one cell of the space: (batch, in_channels, height, width) -> (batch, out_channels, height, width).

    Node 1 is a convolution of the input, node 2 of the input and of node 1, node 3 the input (through a 1x1 convolution
    where the width changes) and convolutions of nodes 1 and 2.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.input_1 = relu_conv_norm(in_channels, out_channels, 3)
        self.input_2 = relu_conv_norm(in_channels, out_channels, 3)
        self.one_2 = relu_conv_norm(out_channels, out_channels, 3)
        self.input_3: nn.Module = (
            nn.Identity() if in_channels == out_channels else conv_norm(in_channels, out_channels, 1)
        )
        self.one_3 = relu_conv_norm(out_channels, out_channels, 3)
        self.two_3 = relu_conv_norm(out_channels, out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """The last node."""
        one = self.input_1(x)
        two = self.input_2(x) + self.one_2(one)
        output: Tensor = self.input_3(x) + self.one_3(one) + self.two_3(two)
        return output


class Network(nn.Module):
    """A network of the size space: (batch, 3, size, size) images -> (batch, n_classes) logits.

    Its parameters are allocated but not drawn; `SPACE.build` draws them.
    """

    def __init__(self, layers: tuple[int, ...], n_classes: int) -> None:
        super().__init__()
        self.stem = conv_norm(3, layers[0], 3)
        self.blocks = nn.Sequential(
            *(
                (nb201.Reduction if place % 2 else Cell)(before, after)
                for place, (before, after) in enumerate(zip((layers[0], *layers), layers, strict=False))
            )
        )
        self.head = nn.Sequential(
            BatchNorm2d(layers[-1]), nn.ReLU(inplace=False), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.classifier = Linear(layers[-1], n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, size, size), size a multiple of 4 -> logits (batch, n_classes)."""
        logits: Tensor = self.classifier(self.head(self.blocks(self.stem(images))))
        return logits


def allocate(arch: Architecture, settings: Settings) -> nn.Module:
    """The network, in train mode, its parameters allocated but **not yet drawn**: `initialise_` draws them.

    Raises:
        ArchitectureError: if `arch` is not of this space.
    """
    return Network(widths(arch), settings.n_classes)


def places(arch: Architecture) -> tuple[str, ...]:
    """The width of each layer, as text.

    Raises:
        ArchitectureError: if `arch` is not of this space.
    """
    return tuple(map(str, widths(arch)))


def shape(arch: Architecture) -> dict[str, float]:
    """Mean channels of a layer.

    Raises:
        ArchitectureError: if `arch` is not of this space.
    """
    found = widths(arch)
    return {"width": sum(found) / len(found)}


SPACE: Final = SearchSpace(
    name=NAME,
    title="NATS-Bench size space",
    forms="sss:all, sss:random:N[:SEED], sss:INDEX,FROM-TO or sss:8:16:24:32:64[;...]",
    settings=Settings,
    full=FULL,
    named=named,
    sample=sample,
    mutate=mutate,
    function=function,
    allocate=allocate,
    digest=text_digest,
    counts=counts,
    index_of=index_of,
    places=places,
    shape=shape,
    begins=tuple(f"{width}:" for width in WIDTHS),
)

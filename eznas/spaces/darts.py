"""DARTS cells as NAS-Bench-301 trains them: a normal and a reduction cell, their networks and closed-form sizes.

A cell has two inputs, the outputs of the two cells before it, and four nodes; each node is the sum of two operations on
earlier ones, and the cell's output is the concatenation of its nodes. Of the cells of a network the first after a third
and the first after two thirds reduce: they halve the resolution, in the operations that read an input, and double the
channels. Batch normalisation has affine parameters in the stem and where a cell reads its inputs, not in operations.
Poolings are not normalised in the networks that are trained; in those of the search, and in those behind the tables of
NAS-Bench-Suite-Zero, they are: ``max_pool_3x3_bn`` and ``avg_pool_3x3_bn``.

The text form is the normal and the reduction cell, each in the manner of NAS-Bench-201: for each node its operations
with the node they read, ``|skip_connect~0|sep_conv_3x3~1|+|...|...|+|...|...|+|...|...|/|...``.

Source: `Liu 2019 <https://arxiv.org/abs/1806.09055>`_, section 3.1 and the released code;
`Siems 2020 <https://arxiv.org/abs/2008.09777>`_ (NAS-Bench-301: 32 channels, 8 cells).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor, nn

from eznas.errors import ArchitectureError
from eznas.spaces.architecture import Architecture, check_space
from eznas.spaces.layers import BatchNorm2d, Conv2d, Linear
from eznas.spaces.skeleton import Skeleton, check_halved_twice

SPACE: Final = "darts"
CODES: Final = (
    "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5",
)  # fmt: skip
"""Operations of NAS-Bench-301, in the order of the codes in its tables."""
NORMALISED: Final = MappingProxyType({name: f"{name}_bn" for name in CODES if "pool" in name})
"""Poolings with batch normalisation after them, by the pooling."""
OPERATIONS: Final = (*CODES, *NORMALISED.values())
N_NODES: Final = 4
FULL_SKELETON: Final = Skeleton(cells_per_stage=2, channels=32)
"""NAS-Bench-301's CIFAR-10 networks."""
_STEM_FACTOR: Final = 3

_EDGE: Final = re.compile(r"([a-z0-9_]+)~([0-9])")
_CODE: Final = re.compile(r"\((?:\((?:\([0-9],[0-9]\),?){8}\),?){2}\)")
_PAIR: Final = re.compile(r"\(([0-9]),([0-9])\)")
_EXAMPLE: Final = "|skip_connect~0|sep_conv_3x3~1|+|...|...|+|...|...|+|...|...|/|max_pool_3x3~0|skip_connect~1|+..."

Edge = tuple[str, int]
"""An operation and the node it reads: 0 and 1 are the cell's inputs, node j of the four is j + 2."""


@dataclass(frozen=True, slots=True)
class CellPair:
    """Both cells.

    Attributes:
        normal: two edges for each of the four nodes, node after node.
        reduce: the same for the cells that halve the resolution.

    Raises:
        ArchitectureError: if a cell has another number of edges, an unknown operation, or an edge from a later node.
    """

    normal: tuple[Edge, ...]
    reduce: tuple[Edge, ...]

    def __post_init__(self) -> None:
        for name, cell in (("normal", self.normal), ("reduction", self.reduce)):
            if len(cell) != 2 * N_NODES:
                raise ArchitectureError(
                    f"The {name} cell of a DARTS network has two operations for each of {N_NODES} nodes, but "
                    f"{len(cell)} were given; write it as {_EXAMPLE!r}."
                )
            for position, (operation, source) in enumerate(cell):
                node = position // 2 + 2
                if operation not in OPERATIONS or not 0 <= source < node:
                    raise ArchitectureError(
                        f"Node {node} of the {name} cell of a DARTS network applies one of {', '.join(OPERATIONS)} to "
                        f"a node from 0 to {node - 1}, but it has {operation}~{source}; correct that edge."
                    )


# Description ----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _parse(spec: str) -> CellPair:
    cells = spec.split("/")
    found = []
    for cell in cells if len(cells) == 2 and len(spec) < 1000 else ():
        nodes = [node.strip("|").split("|") for node in cell.split("|+|")]
        edges = [_EDGE.fullmatch(edge) for node in nodes for edge in node]
        if [len(node) for node in nodes] == [2] * N_NODES and all(edges):
            found.append(tuple((edge[1], int(edge[2])) for edge in edges if edge is not None))
    if len(found) != 2:
        raise ArchitectureError(
            f"Expected the normal and the reduction cell of a DARTS network in the form {_EXAMPLE!r}, but got "
            f"{spec[:80]!r}; give two operations for each of {N_NODES} nodes."
        )
    return CellPair(*found)


def cell_pair(arch: Architecture) -> CellPair:
    """The cells of an architecture.

    Raises:
        ArchitectureError: if `arch` is of another search space or its text is not two cells.
    """
    check_space(arch, SPACE)
    return _parse(arch.spec)


def architecture(cells: str | CellPair) -> Architecture:
    """The architecture with the given cells or the given text.

    Raises:
        ArchitectureError: if the text is not two cells.
    """
    found = _parse(cells) if isinstance(cells, str) else cells
    return Architecture(SPACE, f"{_text(found.normal)}/{_text(found.reduce)}")


def _text(cell: tuple[Edge, ...]) -> str:
    edges = [f"{operation}~{source}" for operation, source in cell]
    return "+".join(f"|{first}|{second}|" for first, second in zip(edges[::2], edges[1::2], strict=True))


def from_code(code: str, *, normalised_pooling: bool = False) -> Architecture:
    """The architecture of a code of NAS-Bench-Suite-Zero: ``(((0,3),(1,0),...),((0,1),...))``, pairs (node, operation).

    Args:
        code: as it stands in the table.
        normalised_pooling: whether poolings have a normalisation after them, as in the networks scored there; the
            accuracies beside are of networks without.

    Raises:
        ArchitectureError: if it is not such a code.
    """
    packed = "".join(code.split())
    pairs = _PAIR.findall(packed) if len(packed) < 1000 and _CODE.fullmatch(packed) else []
    if len(pairs) != 4 * N_NODES or any(int(operation) >= len(CODES) for _, operation in pairs):
        raise ArchitectureError(
            f"Expected a NAS-Bench-301 code, two cells of eight pairs (node, operation from 0 to "
            f"{len(CODES) - 1}), but got {code[:80]!r}; copy it as it stands in the table."
        )
    names = [NORMALISED.get(name, name) for name in CODES] if normalised_pooling else CODES
    edges = tuple((names[int(operation)], int(source)) for source, operation in pairs)
    return architecture(CellPair(edges[: 2 * N_NODES], edges[2 * N_NODES :]))


def named(text: str) -> tuple[Architecture, ...]:
    """The architectures of a specification: texts separated by semicolons.

    Raises:
        ArchitectureError: if one is not two cells.
    """
    return tuple(dict.fromkeys(architecture(part) for part in text.split(";")))


# The sequence of cells ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a cell stands.

    Attributes:
        stage: how often the images have been halved in its output.
        first: channels of its input from the cell before the last.
        second: channels of its input from the last cell.
        width: channels of its nodes.
        reduces: whether it halves the resolution.
        after_reduction: whether the last cell did, so that its first input has twice the resolution of its second.
    """

    stage: int
    first: int
    second: int
    width: int
    reduces: bool
    after_reduction: bool


def _places(skeleton: Skeleton) -> Iterator[_Place]:
    first = second = _STEM_FACTOR * skeleton.channels
    after_reduction = False
    for stage, width in enumerate(skeleton.stage_channels):
        kinds = [True] * (stage > 0) + [False] * skeleton.cells_per_stage
        for reduces in kinds:
            yield _Place(stage, first, second, width, reduces, after_reduction)
            first, second, after_reduction = second, N_NODES * width, reduces


def parameter_count(arch: Architecture, skeleton: Skeleton = FULL_SKELETON) -> int:
    """Trainable parameters of the network, batch normalisation included.

    Raises:
        ArchitectureError: if `arch` is not of this space.
    """
    cells = cell_pair(arch)
    stem, head = _STEM_FACTOR * skeleton.channels, N_NODES * skeleton.stage_channels[-1]
    total = 27 * stem + 2 * stem + (head + 1) * skeleton.n_classes
    for place in _places(skeleton):
        total += (place.first + place.second) * place.width + 4 * place.width + _cell_weights(cells, place)
    return total


def mac_count(arch: Architecture, skeleton: Skeleton, input_size: int) -> int:
    """Multiply-accumulates of one image: convolutions and the classifier with its bias, as in `nb201.mac_count`.

    Raises:
        ArchitectureError: if `arch` is not of this space, or `input_size` is not a positive multiple of 4.
    """
    check_halved_twice("a DARTS network", input_size)
    cells = cell_pair(arch)
    stem, head = _STEM_FACTOR * skeleton.channels, N_NODES * skeleton.stage_channels[-1]
    total = 27 * stem * input_size**2 + (head + 1) * skeleton.n_classes
    for place in _places(skeleton):
        n_pixels = (input_size // 2**place.stage) ** 2  # at which every operation's convolutions give their outputs
        n_read = 4 * n_pixels if place.reduces else n_pixels
        total += n_read * (place.first + place.second) * place.width + n_pixels * _cell_weights(cells, place)
    return total


def _cell_weights(cells: CellPair, place: _Place) -> int:
    """Weights of all convolutions in the operations of a cell."""
    edges = cells.reduce if place.reduces else cells.normal
    return sum(_weights(operation, place.width, strided=place.reduces and source < 2) for operation, source in edges)


def _weights(operation: str, c: int, *, strided: bool) -> int:
    kernel = 5 if operation.endswith("5x5") else 3
    if operation.startswith("sep_conv"):
        return 2 * (kernel**2 * c + c**2)
    if operation.startswith("dil_conv"):
        return kernel**2 * c + c**2
    return c**2 if operation == "skip_connect" and strided else 0


# Networks -------------------------------------------------------------------------------------------------------------


class FactorizedReduce(nn.Module):
    """(batch, before, height, width) -> (batch, channels, height / 2, width / 2) by two shifted 1x1 convolutions."""

    def __init__(self, before: int, channels: int, *, affine: bool) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=False)
        self.here = Conv2d(before, channels // 2, 1, stride=2, bias=False)
        self.shifted = Conv2d(before, channels - channels // 2, 1, stride=2, bias=False)
        self.norm = BatchNorm2d(channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Even places by one convolution, odd places by the other."""
        x = self.relu(x)
        output: Tensor = self.norm(torch.cat([self.here(x), self.shifted(x[:, :, 1:, 1:])], dim=1))
        return output


def _relu_conv_norm(before: int, channels: int) -> nn.Module:
    return nn.Sequential(nn.ReLU(inplace=False), Conv2d(before, channels, 1, bias=False), BatchNorm2d(channels))


def _separable(c: int, kernel: int, *, stride: int, dilation: int = 1) -> list[nn.Module]:
    """ReLU, depthwise and pointwise convolution, normalisation without affine parameters."""
    padding = dilation * (kernel // 2)
    return [
        nn.ReLU(inplace=False),
        Conv2d(c, c, kernel, stride=stride, padding=padding, dilation=dilation, groups=c, bias=False),
        Conv2d(c, c, 1, bias=False),
        BatchNorm2d(c, affine=False),
    ]


def _operation(name: str, c: int, stride: int) -> nn.Module:
    kernel = 5 if name.endswith("5x5") else 3
    match name:
        case "max_pool_3x3":
            return nn.MaxPool2d(3, stride=stride, padding=1)
        case "avg_pool_3x3":
            return nn.AvgPool2d(3, stride=stride, padding=1, count_include_pad=False)
        case "max_pool_3x3_bn" | "avg_pool_3x3_bn":
            return nn.Sequential(_operation(name.removesuffix("_bn"), c, stride), BatchNorm2d(c, affine=False))
        case "skip_connect":
            return nn.Identity() if stride == 1 else FactorizedReduce(c, c, affine=False)
        case "sep_conv_3x3" | "sep_conv_5x5":
            return nn.Sequential(*_separable(c, kernel, stride=stride), *_separable(c, kernel, stride=1))
        case _:
            return nn.Sequential(*_separable(c, kernel, stride=stride, dilation=2))


class Cell(nn.Module):
    """One cell: two inputs -> (batch, 4 x width, height', width')."""

    def __init__(self, cells: CellPair, place: _Place) -> None:
        super().__init__()
        width = place.width
        self.first: nn.Module = (
            FactorizedReduce(place.first, width, affine=True)
            if place.after_reduction
            else _relu_conv_norm(place.first, width)
        )
        self.second = _relu_conv_norm(place.second, width)
        edges = cells.reduce if place.reduces else cells.normal
        self.sources = [source for _, source in edges]
        self.edges = nn.ModuleList(
            _operation(name, width, 2 if place.reduces and source < 2 else 1) for name, source in edges
        )

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        """The nodes in turn, then their concatenation."""
        nodes = [self.first(before), self.second(last)]
        values = iter(zip(self.edges, self.sources, strict=True))
        for (one, source), (other, other_source) in zip(values, values, strict=True):
            nodes.append(one(nodes[source]) + other(nodes[other_source]))
        return torch.cat(nodes[2:], dim=1)


class Network(nn.Module):
    """A DARTS network without auxiliary head: (batch, 3, size, size) images -> (batch, n_classes) logits.

    Its parameters are allocated but not drawn; use `eznas.spaces.build_network`.
    """

    def __init__(self, cells: CellPair, skeleton: Skeleton) -> None:
        super().__init__()
        stem = _STEM_FACTOR * skeleton.channels
        self.stem = nn.Sequential(Conv2d(3, stem, 3, padding=1, bias=False), BatchNorm2d(stem))
        self.blocks = nn.ModuleList(Cell(cells, place) for place in _places(skeleton))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = Linear(N_NODES * skeleton.stage_channels[-1], skeleton.n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, size, size), size a multiple of 4 -> logits (batch, n_classes)."""
        before = last = self.stem(images)
        for block in self.blocks:
            before, last = last, block(before, last)
        logits: Tensor = self.classifier(self.head(last))
        return logits


def allocate(arch: Architecture, skeleton: Skeleton) -> nn.Module:
    """The network of two cells, in train mode, its parameters allocated but **not yet drawn** (see `initialise_`).

    Raises:
        ArchitectureError: if `arch` is not of this space.
    """
    return Network(cell_pair(arch), skeleton)

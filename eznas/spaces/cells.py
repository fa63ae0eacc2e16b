"""Networks of cells with two inputs, which NASNet began and DARTS made common: their operations, sizes and modules.

A cell reads the outputs of the two cells before it. Each of its nodes is the sum of two operations on inputs or earlier
nodes, and its output is the concatenation of nodes. A network has two cells: the normal one, and one that halves the
resolution in the operations that read an input, and doubles the channels; it stands after a third and after two thirds
of the network. Search spaces of this kind, `eznas.spaces.darts` and `eznas.spaces.nds_cells`, differ in their
operations, in the nodes that leave a cell, in stem and normalisation.

Source: `Zoph 2018 <https://arxiv.org/abs/1707.07012>`_, section 3; `Liu 2019 <https://arxiv.org/abs/1806.09055>`_,
section 2 and the released code; `Radosavovic 2019 <https://arxiv.org/abs/1905.13214>`_, appendix B.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from eznas.spaces.architecture import Architecture
from eznas.spaces.layers import (
    BatchNorm2d,
    Conv2d,
    FactorizedReduce,
    Linear,
    Zero,
    conv_norm,
    relu_conv_norm,
    relu_separable_norm,
)
from eznas.spaces.settings import check_halved
from eznas.spaces.space import Counts

Stem = Literal["cifar", "imagenet"]
"""cifar: a convolution to three times the width, at full resolution. imagenet: three convolutions, an eighth of it."""
_HALVED_BY_STEM: Final[Mapping[Stem, int]] = MappingProxyType({"cifar": 0, "imagenet": 3})
_CIFAR_STEM_FACTOR: Final = 3

# Operations -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Operation:
    """What can stand on an edge: (batch, c, height, width) -> (batch, c, height / stride, width / stride).

    Attributes:
        build: (c, stride, affine) -> the module; affine of its normalisations.
        weights: (c, stride) -> of all its convolutions.
        macs: (c, stride) -> multiply-accumulates for each place of its output.
        n_norms: stride -> normalisations of c channels.
    """

    build: Callable[[int, int, bool], nn.Module]
    weights: Callable[[int, int], int] = lambda c, stride: 0
    macs: Callable[[int, int], int] = lambda c, stride: 0
    n_norms: Callable[[int], int] = lambda stride: 0


def _pooling(make: Callable[..., nn.Module], kernel: int, **options: bool) -> Operation:
    return Operation(lambda c, stride, affine: make(kernel, stride=stride, padding=kernel // 2, **options))


def _normalised(pooling: Operation) -> Operation:
    return Operation(
        lambda c, stride, affine: nn.Sequential(pooling.build(c, stride, affine), BatchNorm2d(c, affine=affine)),
        n_norms=lambda stride: 1,
    )


def _separable(kernel: int, *, times: int, dilation: int = 1) -> Operation:
    """Depthwise and pointwise convolutions, so many times, the first with the stride."""

    def build(c: int, stride: int, affine: bool) -> nn.Module:
        parts = [
            relu_separable_norm(c, kernel, stride=stride if first else 1, dilation=dilation, affine=affine)
            for first in (True, False)[:times]
        ]
        return parts[0] if times == 1 else nn.Sequential(*parts)

    def weights(c: int, stride: int) -> int:
        return times * (kernel**2 * c + c**2)

    return Operation(build, weights, weights, lambda stride: times)


def _convolution(kernel: int) -> Operation:
    def weights(c: int, stride: int) -> int:
        return kernel**2 * c**2

    return Operation(
        lambda c, stride, affine: relu_conv_norm(c, c, kernel, stride=stride, affine=affine),
        weights, weights, lambda stride: 1,
    )  # fmt: skip


def _crossed(kernel: int) -> Operation:
    """A convolution along the rows and one along the columns, each with the stride in its direction."""

    def build(c: int, stride: int, affine: bool) -> nn.Module:
        half = kernel // 2
        return nn.Sequential(
            nn.ReLU(inplace=False),
            Conv2d(c, c, (1, kernel), stride=(1, stride), padding=(0, half), bias=False),
            Conv2d(c, c, (kernel, 1), stride=(stride, 1), padding=(half, 0), bias=False),
            BatchNorm2d(c, affine=affine),
        )

    return Operation(
        build, lambda c, stride: 2 * kernel * c**2, lambda c, stride: (stride + 1) * kernel * c**2, lambda stride: 1
    )


def _skip() -> Operation:
    def weights(c: int, stride: int) -> int:
        return 0 if stride == 1 else c**2

    return Operation(
        lambda c, stride, affine: nn.Identity() if stride == 1 else FactorizedReduce(c, c, affine=affine),
        weights, weights, lambda stride: stride - 1,
    )  # fmt: skip


_POOLINGS: Final[Mapping[str, Operation]] = {
    **{f"max_pool_{k}x{k}": _pooling(nn.MaxPool2d, k) for k in (3, 5, 7)},
    "avg_pool_3x3": _pooling(nn.AvgPool2d, 3, count_include_pad=False),
}
OPERATIONS: Final[Mapping[str, Operation]] = MappingProxyType(
    {
        "none": Operation(lambda c, stride, affine: Zero(stride)),
        "skip_connect": _skip(),
        **_POOLINGS,
        **{f"{name}_bn": _normalised(_POOLINGS[name]) for name in ("max_pool_3x3", "avg_pool_3x3")},
        **{f"conv_{k}x{k}": _convolution(k) for k in (1, 3)},
        **{f"conv_{k}x1_1x{k}": _crossed(k) for k in (3, 7)},
        **{f"sep_conv_{k}x{k}": _separable(k, times=2) for k in (3, 5, 7)},
        **{f"dil_conv_{k}x{k}": _separable(k, times=1, dilation=2) for k in (3, 5)},
        "dil_sep_conv_3x3": _separable(3, times=2, dilation=2),
    }
)
"""Every operation of such cells, by the name that the released codes give it."""

# Descriptions ---------------------------------------------------------------------------------------------------------

Edge = tuple[str, int]
"""An operation and the node it reads: 0 and 1 are the inputs of the cell, its nodes follow from 2."""
_EDGE: Final = re.compile(r"([a-z0-9_]+)~([0-9])")


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell.

    Attributes:
        edges: two for each node, node after node.
        outputs: the nodes whose concatenation leaves the cell.
    """

    edges: tuple[Edge, ...]
    outputs: tuple[int, ...]


def all_nodes(edges: Sequence[Edge]) -> tuple[int, ...]:
    """The nodes of a cell."""
    return tuple(range(2, len(edges) // 2 + 2))


def loose_ends(edges: Sequence[Edge]) -> tuple[int, ...]:
    """The nodes of a cell that none of its operations reads."""
    read = {source for _, source in edges}
    return tuple(node for node in all_nodes(edges) if node not in read)


def edges_of(text: str, n_nodes: int) -> tuple[Edge, ...] | None:
    """The edges that a text such as ``|skip_connect~0|sep_conv_3x3~1|+|...|...|`` has; None if it has another form."""
    nodes = [node.strip("|").split("|") for node in text.split("|+|")]
    edges = [_EDGE.fullmatch(edge) for node in nodes for edge in node]
    if [len(node) for node in nodes] != [2] * n_nodes or not all(edges):
        return None
    return tuple((edge[1], int(edge[2])) for edge in edges if edge is not None)


def text_of(edges: Sequence[Edge]) -> str:
    """The text of edges; the inverse of `edges_of`."""
    texts = [f"{operation}~{source}" for operation, source in edges]
    return "+".join(f"|{first}|{second}|" for first, second in zip(texts[::2], texts[1::2], strict=True))


def cells_of(genotype: Any) -> tuple[Cell, ...]:
    """The normal and the reduction cell of a genotype as DARTS and NDS write it, read as data; unchecked.

    Args:
        genotype: a mapping of ``normal`` and ``reduce``, lists of [operation, node], and of ``normal_concat`` and
            ``reduce_concat``, lists of nodes; where these are missing, all nodes leave the cell.

    Raises:
        ValueError: if it has another form.
    """
    found = []
    for kind in ("normal", "reduce"):
        edges = genotype.get(kind) if isinstance(genotype, dict) else None
        if not isinstance(edges, list) or not all(
            isinstance(edge, list) and [type(part) for part in edge] == [str, int] for edge in edges
        ):
            raise ValueError(f"{kind} is not a list of operations with the node they read")
        outputs = genotype.get(f"{kind}_concat", [*all_nodes(edges)])
        if not isinstance(outputs, list) or {type(node) for node in outputs} - {int}:
            raise ValueError(f"{kind}_concat is not a list of nodes")
        found.append(Cell(tuple((operation, source) for operation, source in edges), tuple(outputs)))
    return tuple(found)


def function_of(edges: Sequence[Edge]) -> str:
    """Equal text for the edges of cells that compute the same up to the values of their parameters.

    The sum at a node has no order, nodes have none but that of what they read, and zero does not say where it comes
    from: ``none``, and what keeps zero of a node that is zero. Of all ways to number the nodes along their edges the
    one that comes first counts. Whatever nodes leave the cell must be determined by its edges.
    """
    pairs = {node: edges[2 * node - 4 : 2 * node - 2] for node in all_nodes(edges)}
    zero = _zero_nodes(pairs)
    best: list[str] | None = None

    def numbered(numbers: dict[int, int], words: list[str]) -> None:
        """Try every node that could be next and comes first as text."""
        nonlocal best
        if best is not None and words > best[: len(words)]:
            return
        if len(words) == len(pairs):
            best = words
            return
        ready = {
            node: "".join(f"|{word}" for word in sorted(_word(edge, numbers, zero) for edge in pair))
            for node, pair in pairs.items()
            if node not in numbers
            and all(_is_zero(edge, zero) or edge[1] in numbers or edge[1] in zero for edge in pair)
        }
        first = min(ready.values())
        for node, word in ready.items():
            if word == first:
                numbered({**numbers, node: len(numbers)}, [*words, word])

    numbered({0: 0, 1: 1}, [])
    assert best is not None  # every node reads earlier ones, so that one is always ready
    return "|+".join(best)


def _zero_nodes(pairs: Mapping[int, Sequence[Edge]]) -> frozenset[int]:
    """Nodes that are zero whatever the cell is given."""
    zero: set[int] = set()
    for node, pair in pairs.items():
        if all(_is_zero(edge, zero) for edge in pair):
            zero.add(node)
    return frozenset(zero)


def _is_zero(edge: Edge, zero: set[int] | frozenset[int]) -> bool:
    operation, source = edge
    return operation == "none" or (source in zero and (operation == "skip_connect" or operation in _POOLINGS))


def _word(edge: Edge, numbers: Mapping[int, int], zero: frozenset[int]) -> str:
    operation, source = edge
    if _is_zero(edge, zero):
        return "none"
    return f"{operation}~{'zero' if source in zero else numbers[source]}"


# The sequence of cells ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Skeleton:
    """A network but for what its two kinds of cell are.

    Attributes:
        normal: the cell that keeps the resolution.
        reduce: the cell that halves it.
        width: channels of the nodes of the first cell, before any reduction; at least 2, which a reduction halves.
        n_cells: of both kinds, at least 1.
        stem: what comes before them.
        n_classes: logits.
        affine: whether the normalisations in operations have parameters; those of stem and inputs have.
    """

    normal: Cell
    reduce: Cell
    width: int
    n_cells: int
    stem: Stem
    n_classes: int
    affine: bool


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a cell stands.

    Attributes:
        cell: which.
        stage: how often the images have been halved in its output, the stem apart.
        first: channels of its input from the cell before the last.
        second: channels of its input from the last cell.
        width: channels of its nodes.
        reduces: whether it halves the resolution.
        after_reduction: whether its first input has twice the resolution of its second.
    """

    cell: Cell
    stage: int
    first: int
    second: int
    width: int
    reduces: bool
    after_reduction: bool

    @property
    def strides(self) -> list[int]:
        """Of the operations."""
        return [2 if self.reduces and source < 2 else 1 for _, source in self.cell.edges]


def _places(skeleton: Skeleton) -> Iterator[_Place]:
    n, width, stage = skeleton.n_cells, skeleton.width, 0
    first = second = width if skeleton.stem == "imagenet" else _CIFAR_STEM_FACTOR * width
    after_reduction = skeleton.stem == "imagenet"  # whose last convolution halves
    for position in range(n):
        reduces = position in (n // 3, 2 * n // 3)
        cell = skeleton.reduce if reduces else skeleton.normal
        if reduces:
            width, stage = 2 * width, stage + 1
        yield _Place(cell, stage, first, second, width, reduces, after_reduction)
        first, second, after_reduction = second, len(cell.outputs) * width, reduces


def sizes(skeleton: Skeleton, input_size: int) -> Counts:
    """Closed-form sizes; multiply-accumulates of convolutions and of the classifier with its bias.

    Args:
        skeleton: the network.
        input_size: height and width of the images in pixels.

    Raises:
        ArchitectureError: if `input_size` cannot be halved as often as the network does.
    """
    halved = _HALVED_BY_STEM[skeleton.stem]
    check_halved("a network of cells", input_size, halved + 2)
    parameters = macs = 0
    for before, after, stage in _stem_convolutions(skeleton):
        parameters += 9 * before * after + 2 * after
        macs += 9 * before * after * (input_size // 2**stage) ** 2
    last = 0
    for place in _places(skeleton):
        n_pixels = (input_size // 2 ** (halved + place.stage)) ** 2
        read = (place.first + place.second) * place.width
        parameters += read + 4 * place.width
        macs += read * (4 * n_pixels if place.reduces else n_pixels)
        for (name, _), stride in zip(place.cell.edges, place.strides, strict=True):
            operation = OPERATIONS[name]
            n_affine = 2 * place.width * operation.n_norms(stride) if skeleton.affine else 0
            parameters += operation.weights(place.width, stride) + n_affine
            macs += operation.macs(place.width, stride) * n_pixels
        last = len(place.cell.outputs) * place.width
    head = (last + 1) * skeleton.n_classes
    return Counts(parameters + head, macs + head)


def _stem_convolutions(skeleton: Skeleton) -> tuple[tuple[int, int, int], ...]:
    """Of each 3x3 convolution of the stem the channels it reads and gives, and how often images are halved in these."""
    width = skeleton.width
    if skeleton.stem == "cifar":
        return ((3, _CIFAR_STEM_FACTOR * width, 0),)
    half = width // 2
    return ((3, half, 1), (half, width, 2), (width, width, 3))


# Networks -------------------------------------------------------------------------------------------------------------


class CellModule(nn.Module):
    """One cell: two inputs -> (batch, outputs x width, height', width').

    Attributes:
        operations: of its edges, by name.
        sources: the nodes that its edges read.
    """

    def __init__(self, place: _Place, *, affine: bool) -> None:
        super().__init__()
        width, edges = place.width, place.cell.edges
        self.first: nn.Module = (
            FactorizedReduce(place.first, width) if place.after_reduction else relu_conv_norm(place.first, width, 1)
        )
        self.second = relu_conv_norm(place.second, width, 1)
        self.operations = [name for name, _ in edges]
        self.sources = [source for _, source in edges]
        self.outputs = place.cell.outputs
        self.edges = nn.ModuleList(
            OPERATIONS[name].build(width, stride, affine)
            for (name, _), stride in zip(edges, place.strides, strict=True)
        )

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        """The nodes in turn, then the concatenation of those that leave the cell."""
        nodes = [self.first(before), self.second(last)]
        values = iter(zip(self.edges, self.sources, strict=True))
        for (one, source), (other, other_source) in zip(values, values, strict=True):
            nodes.append(one(nodes[source]) + other(nodes[other_source]))
        return torch.cat([nodes[node] for node in self.outputs], dim=1)


class Network(nn.Module):
    """A network of cells without auxiliary head: (batch, 3, size, size) images -> (batch, n_classes) logits.

    Its parameters are allocated but not drawn; `SearchSpace.build` draws them.

    Attributes:
        architecture: that it is of, if its space says so.
    """

    architecture: Architecture | None = None

    def __init__(self, skeleton: Skeleton) -> None:
        super().__init__()
        convolutions = _stem_convolutions(skeleton)
        first, *others = (
            conv_norm(before, after, 3, stride=2 if stage else 1) for before, after, stage in convolutions
        )
        self.stem = first
        if others:  # what the first cell reads as the cell before the last has gone through all but the last of them
            self.stem = nn.Sequential(*first, nn.ReLU(inplace=False), *others[0])
            self.stem_2 = nn.Sequential(nn.ReLU(inplace=False), *others[1])
        self.has_two_stems = bool(others)
        places = [*_places(skeleton)]
        self.blocks = nn.ModuleList(CellModule(place, affine=skeleton.affine) for place in places)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = Linear(len(places[-1].cell.outputs) * places[-1].width, skeleton.n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, size, size), size a multiple of 4, or of 32 with the ImageNet stem -> (batch, n_classes)."""
        before = last = self.stem(images)
        if self.has_two_stems:
            last = self.stem_2(before)
        for block in self.blocks:
            before, last = last, block(before, last)
        logits: Tensor = self.classifier(self.head(last))
        return logits

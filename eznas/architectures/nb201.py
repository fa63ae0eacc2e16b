"""NAS-Bench-201 (NATS-Bench TSS): 15,625 cells, their official order, closed-form sizes and exact networks.

A cell has four nodes. Node 0 is its input, node j is the sum over i < j of one operation applied to node i, node 3 is
its output. A network stacks the same cell in three stages, with a residual reduction block between two stages.

Source: `Dong & Yang 2020 <https://arxiv.org/abs/2001.00326>`_ (cell and skeleton);
`Dong et al. 2021 <https://arxiv.org/abs/2009.00437>`_ (official order, recorded parameter and FLOP counts).
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from eznas.architectures.architecture import Architecture, check_space
from eznas.architectures.layers import BatchNorm2d, Conv2d, Linear
from eznas.architectures.skeleton import N_STAGES, Skeleton, check_halved_twice
from eznas.errors import ArchitectureError
from eznas.randomness import stream

SPACE: Final = "nb201"
OPERATIONS: Final = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES: Final = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))  # (from, to), in the order of the text form
N_CELLS: Final = 15_625  # 5 operations ** 6 edges
FULL_SKELETON: Final = Skeleton()
"""The benchmark's CIFAR-10 networks."""

_SHUFFLE_SEED: Final = 88  # of the official list
_SPEC: Final = re.compile(r"\|([^|~+]*)~0\|\+\|([^|~+]*)~0\|([^|~+]*)~1\|\+\|([^|~+]*)~0\|([^|~+]*)~1\|([^|~+]*)~2\|")
_EXAMPLE: Final = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|"


# Description and order ------------------------------------------------------------------------------------------------


@lru_cache(maxsize=2 * N_CELLS)
def _parse(spec: str) -> tuple[str, ...]:
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise ArchitectureError(
            f"Expected a NAS-Bench-201 cell with the six edges of {_EXAMPLE!r}, but got {spec!r}; "
            "write it exactly in that form, without spaces."
        )
    return _checked(match.groups())


def _checked(operations: Sequence[str]) -> tuple[str, ...]:
    if len(operations) != len(EDGES):
        raise ArchitectureError(
            f"A NAS-Bench-201 cell has {len(EDGES)} operations, one per edge of {EDGES}, "
            f"but {len(operations)} were given: {tuple(operations)}; name one for every edge."
        )
    for (source, target), operation in zip(EDGES, operations, strict=True):
        if operation not in OPERATIONS:
            raise ArchitectureError(
                f"Edge {source}->{target} of a NAS-Bench-201 cell must hold one of {', '.join(OPERATIONS)}, "
                f"but it holds {operation!r}; use one of these names."
            )
    return tuple(operations)


def operations(arch: Architecture) -> tuple[str, ...]:
    """The six operations of a cell, in the order of `EDGES`.

    Raises:
        ArchitectureError: if `arch` is of another search space or its text is not a cell.
    """
    check_space(arch, SPACE)
    return _parse(arch.spec)


def architecture(cell: str | Sequence[str]) -> Architecture:
    """The architecture with the given six operations (in the order of `EDGES`) or the given official text.

    Raises:
        ArchitectureError: if `cell` does not name one known operation for each edge.
    """
    first, second, third, fourth, fifth, sixth = _parse(cell) if isinstance(cell, str) else _checked(cell)
    return Architecture(SPACE, f"|{first}~0|+|{second}~0|{third}~1|+|{fourth}~0|{fifth}~1|{sixth}~2|")


@lru_cache(maxsize=1)
def all_architectures() -> tuple[Architecture, ...]:
    """All 15,625 cells; the position is the official index.

    The official list is the lexicographic product over `OPERATIONS`, first edge slowest, shuffled by Python's own
    generator with seed 88. A private generator gives the same order and leaves the global one alone.
    """
    cells = list(itertools.product(OPERATIONS, repeat=len(EDGES)))
    random.Random(_SHUFFLE_SEED).shuffle(cells)
    return tuple(architecture(cell) for cell in cells)


@lru_cache(maxsize=1)
def _positions() -> Mapping[Architecture, int]:
    return MappingProxyType({arch: index for index, arch in enumerate(all_architectures())})


def index_of(arch: Architecture) -> int:
    """The official index of a cell, in ``[0, 15625)``.

    Raises:
        ArchitectureError: if `arch` is not a cell of this space.
    """
    operations(arch)  # raises the readable error
    return _positions()[arch]


def from_index(index: int) -> Architecture:
    """The cell with an official index; the inverse of `index_of`.

    Raises:
        ArchitectureError: if `index` is outside ``[0, 15625)``.
    """
    if not 0 <= index < N_CELLS:
        raise ArchitectureError(
            f"A NAS-Bench-201 index lies in 0..{N_CELLS - 1}, but {index} was given; use one of them."
        )
    return all_architectures()[index]


def named(text: str) -> tuple[Architecture, ...]:
    """The cells of a specification: ``all``, ``random:N[:SEED]`` (uniform, no replacement), or indices ``3,10-12``.

    Raises:
        ArchitectureError: if it is none of these, or an index lies outside the list.
    """
    if text == "all":
        return all_architectures()
    words = text.split(":")
    if words[0] == "random":
        n, seed = _integer(words[1] if len(words) > 1 else "", text), _integer((*words, "0", "0")[2], text)
        if len(words) > 3 or not 1 <= n <= N_CELLS:
            raise ArchitectureError(
                f"--networks nb201:{text}: expected nb201:random:N[:SEED] with N from 1 to {N_CELLS}"
            )
        chosen = stream(seed, "networks", "random").choice(N_CELLS, size=n, replace=False)
        return tuple(from_index(int(index)) for index in chosen)
    indices: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        low = _integer(first, text)
        high = _integer(last, text) if last else low
        if not 0 <= low <= high < N_CELLS:
            raise ArchitectureError(f"--networks nb201:{text}: indices go from 0 to {N_CELLS - 1}, got {part!r}")
        indices.extend(range(low, high + 1))
    return tuple(from_index(index) for index in dict.fromkeys(indices))


def _integer(text: str, spec: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ArchitectureError(f"--networks nb201:{spec}: expected a whole number, got {text!r}")
    return int(text)


# Neighbours -----------------------------------------------------------------------------------------------------------

N_NEIGHBOURS: Final = len(EDGES) * (len(OPERATIONS) - 1)
MUTATION_PROBABILITIES: Final = tuple(
    1 / (3 * node * (len(OPERATIONS) - 1)) for _, node in EDGES for _ in range(len(OPERATIONS) - 1)
)
"""(24,) probability of each of `neighbours` under `mutate`: a node has as many incoming edges as its number."""


def neighbours(arch: Architecture) -> tuple[Architecture, ...]:
    """The 24 cells that differ from a cell in the operation of one edge, in the order of `EDGES`, then `OPERATIONS`.

    Raises:
        ArchitectureError: if `arch` is not a cell of this space.
    """
    chosen = operations(arch)
    return tuple(
        architecture([*chosen[:edge], operation, *chosen[edge + 1 :]])
        for edge in range(len(EDGES))
        for operation in OPERATIONS
        if operation != chosen[edge]
    )


def mutate(arch: Architecture, rng: np.random.Generator) -> Architecture:
    """A random neighbour: one of the nodes 1 to 3, one of its incoming edges, one of the four other operations.

    Nodes are equally likely, so the only edge into node 1 changes three times as often as an edge into node 3.

    Raises:
        ArchitectureError: if `arch` is not a cell of this space.

    Source: `Dong et al. 2021 <https://arxiv.org/abs/2009.00437>`_ (regularised evolution on this space).
    """
    return neighbours(arch)[rng.choice(N_NEIGHBOURS, p=MUTATION_PROBABILITIES)]


@lru_cache(maxsize=1)
def neighbour_indices() -> npt.NDArray[np.intp]:
    """(15625, 24) official indices of `neighbours` of every cell, in the same order; read-only."""
    cells = [operations(arch) for arch in all_architectures()]
    digits = np.array([[OPERATIONS.index(operation) for operation in cell] for cell in cells], dtype=np.intp)
    weights = len(OPERATIONS) ** np.arange(len(EDGES), dtype=np.intp)
    codes = digits @ weights
    index_of_code = np.argsort(codes)  # codes are 0..15624, each once
    columns = []
    for edge, weight in enumerate(weights):
        for step in range(len(OPERATIONS) - 1):
            other = step + (digits[:, edge] <= step)  # the step-th operation that is not the cell's own
            columns.append(index_of_code[codes + (other - digits[:, edge]) * weight])
    table = np.stack(columns, axis=1)
    table.flags.writeable = False
    return table


# What a cell computes -------------------------------------------------------------------------------------------------


def canonical_function(arch: Architecture) -> str:
    """The benchmark's official name of the function a cell computes: 6,466 distinct ones.

    A node is the sorted sum of its addends; a skip connection is its source, and ``none``, or anything applied to a
    node that is exactly ``#``, is ``#``. Being official it stops there: ``#`` is kept as an addend (so ``#+#`` is
    not recognised as zero) and a skipped sum stays one addend. `reduced_function` goes the rest of the way.

    Source: `Dong & Yang 2020 <https://arxiv.org/abs/2001.00326>`_, section 2.1 (6,466 unique topologies).
    """
    values = ["0"]
    for incoming in _incoming(arch):
        addends = []
        for operation, source in incoming:
            if operation == "none" or values[source] == "#":
                addends.append("#")
            else:
                addends.append(values[source] if operation == "skip_connect" else f"({values[source]})@{operation}")
        values.append("+".join(sorted(addends)))
    return values[-1]


def reduced_function(arch: Architecture) -> str:
    """The name of the function an untrained cell computes, with no zero and no nested sum left: 4,930 distinct ones.

    Zero addends are dropped and the addends of a skipped node are spliced into the sum, so two cells share a name
    exactly if these rules make them equal. A cell whose output is identically zero is ``""``. Cells of equal
    `canonical_function` have equal `reduced_function`.
    """
    values: list[tuple[str, ...]] = [("0",)]  # addends of each node; () is zero
    for incoming in _incoming(arch):
        addends: list[str] = []
        for operation, source in incoming:
            if operation == "none" or not values[source]:
                continue
            if operation == "skip_connect":
                addends.extend(values[source])
            else:
                addends.append(f"({'+'.join(values[source])})@{operation}")
        values.append(tuple(sorted(addends)))
    return "+".join(values[-1])


def is_zero(arch: Architecture) -> bool:
    """Whether no path leads from the cell's input to its output, which is then zero at initialisation (341 cells)."""
    return reduced_function(arch) == ""


def _incoming(arch: Architecture) -> list[list[tuple[str, int]]]:
    """For nodes 1, 2 and 3: the (operation, source node) of each incoming edge."""
    edges = list(zip(EDGES, operations(arch), strict=True))
    return [[(operation, source) for (source, to), operation in edges if to == node] for node in (1, 2, 3)]


# Closed-form sizes ----------------------------------------------------------------------------------------------------


def parameter_count(arch: Architecture, skeleton: Skeleton) -> int:
    """Trainable parameters of the network, batch normalisation included.

    For the benchmark's CIFAR-10 skeleton it is ``73306 + 243040 a + 28000 b`` with a and b the numbers of 3x3 and 1x1
    convolutions in the cell, which takes only 28 values.
    """
    chosen = operations(arch)
    n, k, channels = skeleton.cells_per_stage, skeleton.n_classes, skeleton.stage_channels
    stem = 29 * channels[0]  # 3x3 convolution of 3 channels, BN
    cells = sum(
        n * chosen.count(f"nor_conv_{kernel}x{kernel}") * (kernel**2 * c**2 + 2 * c)
        for c in channels
        for kernel in (1, 3)
    )
    reductions = sum(56 * c**2 + 8 * c for c in channels[:-1])  # 3x3 c->2c, 3x3 2c->2c, 1x1 c->2c, two BN of 2c
    head = 2 * channels[-1] + (channels[-1] + 1) * k
    return stem + cells + reductions + head


def mac_count(arch: Architecture, skeleton: Skeleton, input_size: int) -> int:
    """Multiply-accumulates of one image in the benchmark's convention: convolutions and the classifier with its bias.

    The benchmark calls these FLOPs (in millions). Batch normalisation, ReLU and pooling count nothing.

    Args:
        arch: the cell.
        skeleton: what surrounds it.
        input_size: height and width of the images in pixels, a multiple of 4 (32 for CIFAR, 16 for ImageNet16-120).

    Raises:
        ArchitectureError: if `input_size` is not a positive multiple of 4.
    """
    check_input_size(input_size)
    chosen = operations(arch)
    n, k, c = skeleton.cells_per_stage, skeleton.n_classes, skeleton.channels
    # Channels double where the resolution halves, so every stage costs c^2 * pixels per 1x1 convolution, and so on.
    per_pixel = 27 * c + N_STAGES * n * c**2 * (9 * chosen.count("nor_conv_3x3") + chosen.count("nor_conv_1x1"))
    per_pixel += 28 * c**2  # two reduction blocks: 56 * c'^2 at a quarter of the pixels of the stage they leave
    return per_pixel * input_size**2 + (4 * c + 1) * k


def check_input_size(input_size: int) -> None:
    """Refuse image sizes the skeleton cannot take.

    The two branches of a reduction block agree in size only when both halvings are exact.

    Raises:
        ArchitectureError: if `input_size` is not a positive multiple of 4.
    """
    check_halved_twice("a NAS-Bench-201 network", input_size)


# Networks -------------------------------------------------------------------------------------------------------------


class Zero(nn.Module):
    """The operation ``none``: zero times its input, so the graph stays connected and its gradient is zero."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> zeros of that shape."""
        return x * 0.0


class Cell(nn.Module):
    """The searched cell: (batch, channels, height, width) -> the same shape.

    Attributes:
        edges: the six operations in the order of `EDGES`.
    """

    def __init__(self, operations: Sequence[str], channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(_OPERATION_BUILDERS[operation](channels) for operation in operations)

    def forward(self, x: Tensor) -> Tensor:
        """Sum the operations into each node in turn and return node 3."""
        nodes: list[Tensor] = [x]
        for (source, target), edge in zip(EDGES, self.edges, strict=True):
            value = edge(nodes[source])
            if target == len(nodes):
                nodes.append(value)
            else:
                nodes[target] = nodes[target] + value
        return nodes[-1]


class Reduction(nn.Module):
    """The residual block between two stages: (b, c, h, w) -> (b, 2c, h/2, w/2).

    The shortcut is a 2x2 average pool and a 1x1 convolution without normalisation.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_a = _relu_conv_norm(in_channels, out_channels, kernel=3, stride=2)
        self.conv_b = _relu_conv_norm(out_channels, out_channels, kernel=3, stride=1)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, stride=2), Conv2d(in_channels, out_channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Main path plus shortcut."""
        output: Tensor = self.conv_b(self.conv_a(x)) + self.shortcut(x)
        return output


class Network(nn.Module):
    """A NAS-Bench-201 network: (batch, 3, size, size) images -> (batch, n_classes) logits.

    Its parameters are allocated but not drawn; use `build` or `eznas.architectures.build_network`.
    """

    def __init__(self, operations: Sequence[str], skeleton: Skeleton) -> None:
        super().__init__()
        channels = skeleton.stage_channels
        self.stem = nn.Sequential(
            Conv2d(3, channels[0], 3, padding=1, bias=False),
            BatchNorm2d(channels[0]),
        )
        blocks: list[nn.Module] = []
        for stage, width in enumerate(channels):
            if stage:
                blocks.append(Reduction(channels[stage - 1], width))
            blocks.extend(Cell(operations, width) for _ in range(skeleton.cells_per_stage))
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            BatchNorm2d(channels[-1]), nn.ReLU(inplace=False), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.classifier = Linear(channels[-1], skeleton.n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, size, size), size a multiple of 4 -> logits (batch, n_classes)."""
        logits: Tensor = self.classifier(self.head(self.blocks(self.stem(images))))
        return logits


def _relu_conv_norm(in_channels: int, out_channels: int, *, kernel: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.ReLU(inplace=False),  # in place it would overwrite what the cell's other edges read
        Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False),
        BatchNorm2d(out_channels),
    )


_OPERATION_BUILDERS: Mapping[str, Callable[[int], nn.Module]] = MappingProxyType(
    {
        "none": lambda channels: Zero(),
        "skip_connect": lambda channels: nn.Identity(),
        "nor_conv_1x1": lambda channels: _relu_conv_norm(channels, channels, kernel=1, stride=1),
        "nor_conv_3x3": lambda channels: _relu_conv_norm(channels, channels, kernel=3, stride=1),
        "avg_pool_3x3": lambda channels: nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
    }
)


def allocate(arch: Architecture, skeleton: Skeleton) -> nn.Module:
    """The network of a cell, in train mode, its parameters allocated but **not yet drawn**: `initialise_` draws them.

    Raises:
        ArchitectureError: if `arch` is not a cell of this space.
    """
    return Network(operations(arch), skeleton)

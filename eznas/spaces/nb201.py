"""NAS-Bench-201 (NATS-Bench TSS): 15,625 cells, their official order, closed-form sizes and exact networks.

A cell has four nodes. Node 0 is its input, node j is the sum over i < j of one operation applied to node i, node 3 is
its output. A network stacks the same cell in three stages, with a residual reduction block between two stages.

The text form is the official one, ``|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|``.
Other tools' forms are read too, see `architecture`.

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
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from eznas.errors import ArchitectureError
from eznas.names import nearest, shown
from eznas.spaces.architecture import Architecture, check_space, text_digest
from eznas.spaces.layers import BatchNorm2d, Conv2d, Linear, Zero, conv_norm, relu_conv_norm
from eznas.spaces.notation import MAX_TEXT, check_sample_size, drawn, indices, literal
from eznas.spaces.settings import N_STAGES, CellSettings, check_halved_twice
from eznas.spaces.space import Counts, SearchSpace

NAME: Final = "nb201"
OPERATIONS: Final = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES: Final = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))  # (from, to), in the order of the text form
N_CELLS: Final = 15_625  # 5 operations ** 6 edges

# NASLib, NAS-Bench-Suite-Zero and analog-nasbench write six codes, edges grouped by the node they leave.
CODES: Final = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
CODE_EDGES: Final = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))

_SHUFFLE_SEED: Final = 88  # of the official list
_SPEC: Final = re.compile(r"\|([^|~+]*)~0\|\+\|([^|~+]*)~0\|([^|~+]*)~1\|\+\|([^|~+]*)~0\|([^|~+]*)~1\|([^|~+]*)~2\|")
_STRUCTURE: Final = re.compile(r"[A-Za-z]*Structure\(4nodeswith(\|.*\|)\)")  # as AutoDL prints a cell
_DIGITS: Final = re.compile(r"[0-4]{6}")
_EXAMPLE: Final = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|"


class Settings(CellSettings):
    """What surrounds a NAS-Bench-201 cell, and how the network is initialised."""

    space: Literal["nb201"] = NAME


FULL: Final = Settings(cells_per_stage=5)
"""The benchmark's CIFAR-10 networks."""


# Description and order ------------------------------------------------------------------------------------------------


@lru_cache(maxsize=2 * N_CELLS)
def _parse(spec: str) -> tuple[str, ...]:
    match = _SPEC.fullmatch(spec) if len(spec) <= MAX_TEXT else None
    if match is None:
        raise _not_a_cell(spec)
    return _checked(match.groups())


def _not_a_cell(text: str) -> ArchitectureError:
    return ArchitectureError(
        f"Expected a NAS-Bench-201 cell with the six edges of {_EXAMPLE!r} (or NASLib's codes, as in "
        f"'(4, 0, 3, 1, 4, 3)'), but got {shown(text)}{remark(text)}; correct it."
    )


def remark(text: str) -> str:
    """What to add about a text that is not a cell but is known from elsewhere; empty if it is not."""
    is_darts = text.startswith("|") and "/" in text
    return ", two cells as a DARTS network has; write darts: before them" if is_darts else ""


def _checked(operations: Sequence[str]) -> tuple[str, ...]:
    if len(operations) != len(EDGES):
        raise ArchitectureError(
            f"A NAS-Bench-201 cell has {len(EDGES)} operations, one per edge of {EDGES}, "
            f"but {len(operations)} were given; name one for every edge."
        )
    for (source, target), operation in zip(EDGES, operations, strict=True):
        if operation not in OPERATIONS:
            near = nearest(operation, OPERATIONS)
            raise ArchitectureError(
                f"Edge {source}->{target} of a NAS-Bench-201 cell must hold one of {', '.join(OPERATIONS)}, "
                f"but it holds {shown(operation)}; {f'did you mean {near!r}?' if near else 'use one of these names.'}"
            )
    return tuple(operations)


def _read(text: str) -> tuple[str, ...]:
    """The six operations of a cell in any of the forms that `architecture` names."""
    packed = "".join(text.split()) if len(text) <= MAX_TEXT else text
    structure = _STRUCTURE.fullmatch(packed)
    if structure is not None:
        packed = structure[1]
    if _DIGITS.fullmatch(packed):
        return _from_codes([int(digit) for digit in packed])
    if not packed.startswith(("(", "[")):
        return _parse(packed)
    try:
        found = literal(text)
    except ValueError:
        raise _not_a_cell(text) from None
    if isinstance(found, list) and len(found) == len(EDGES) and all(type(code) is int for code in found):
        return _from_codes(found)
    return _from_nodes(found, text)


def _from_codes(codes: Sequence[int]) -> tuple[str, ...]:
    if not all(0 <= code < len(CODES) for code in codes):
        raise ArchitectureError(
            f"The codes of a NAS-Bench-201 cell go from 0 to {len(CODES) - 1} ({', '.join(CODES)}), but they are "
            f"{', '.join(map(str, codes))}; correct them."
        )
    by_edge = dict(zip(CODE_EDGES, codes, strict=True))
    return tuple(CODES[by_edge[edge]] for edge in EDGES)


def _from_nodes(nodes: Any, text: str) -> tuple[str, ...]:
    """From the official structure as a nested tuple: for each node its (operation, source) pairs."""
    edges: dict[tuple[int, int], str] = {}
    for target, node in enumerate(nodes if isinstance(nodes, list) else (), start=1):
        for edge in node if isinstance(node, list) else (None,):
            match edge:
                case [str(operation), int(source)] if (source, target) not in edges:
                    edges[source, target] = operation
                case _:
                    raise _not_a_cell(text)
    if set(edges) != set(EDGES):
        raise _not_a_cell(text)
    return _checked([edges[edge] for edge in EDGES])


def operations(arch: Architecture) -> tuple[str, ...]:
    """The six operations of a cell, in the order of `EDGES`.

    Raises:
        ArchitectureError: if `arch` is of another search space or its text is not a cell.
    """
    check_space(arch, NAME)
    return _parse(arch.spec)


def architecture(cell: str | Sequence[str]) -> Architecture:
    """The architecture with the given six operations (in the order of `EDGES`) or of a text.

    Args:
        cell: operations; or a text: the official one, with spaces or without, alone or as AutoDL prints a structure
            (``CellStructure(4 nodes with |...|)``); its nodes as nested tuples of (operation, source); or the six codes
            of NASLib and NAS-Bench-Suite-Zero, ``(4, 0, 3, 1, 4, 3)``, which analog-nasbench uses too, in a row
            ``403143``. Codes number `CODES`, in the order of `CODE_EDGES`.

    Raises:
        ArchitectureError: if `cell` does not name one known operation for each edge.
    """
    first, second, third, fourth, fifth, sixth = _read(cell) if isinstance(cell, str) else _checked(cell)
    return Architecture(NAME, f"|{first}~0|+|{second}~0|{third}~1|+|{fourth}~0|{fifth}~1|{sixth}~2|")


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
    """The cells of a specification.

    Args:
        text: parts separated by semicolons: ``all``, ``random:N[:SEED]`` (uniform, no replacement), indices
            ``3,10-12``, or a cell in one of the forms of `architecture`.

    Raises:
        ArchitectureError: if a part is none of these, or an index lies outside the list.
    """
    return tuple(dict.fromkeys(arch for part in text.split(";") for arch in _part(part.strip())))


def _part(text: str) -> tuple[Architecture, ...]:
    if text == "all":
        return all_architectures()
    found = drawn(text, NAME, sample, "networks", "random")
    if found is not None:
        return found
    if not re.fullmatch(r"[0-9\s,-]*", text) or _DIGITS.fullmatch(text):
        return (architecture(text),)
    return tuple(from_index(index) for index in indices(text, NAME, N_CELLS))


def sample(rng: np.random.Generator, n: int) -> tuple[Architecture, ...]:
    """Cells drawn uniformly without replacement.

    Raises:
        ArchitectureError: if `n` is not in 1 .. 15625.
    """
    check_sample_size(n, N_CELLS, "NAS-Bench-201")
    return tuple(from_index(int(index)) for index in rng.choice(N_CELLS, size=n, replace=False))


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


def level(arch: Architecture) -> int:
    """Edges that hold a convolution, 0 to 6.

    Raises:
        ArchitectureError: if `arch` is not a cell of this space.
    """
    return sum(operation.startswith("nor_conv") for operation in operations(arch))


# Closed-form sizes ----------------------------------------------------------------------------------------------------


def parameter_count(arch: Architecture, settings: CellSettings) -> int:
    """Trainable parameters of the network, batch normalisation included.

    For the benchmark's CIFAR-10 networks it is ``73306 + 243040 a + 28000 b`` with a and b the numbers of 3x3 and 1x1
    convolutions in the cell, which takes only 28 values.
    """
    chosen = operations(arch)
    n, k, channels = settings.cells_per_stage, settings.n_classes, settings.stage_channels
    stem = 29 * channels[0]  # 3x3 convolution of 3 channels, BN
    cells = sum(
        n * chosen.count(f"nor_conv_{kernel}x{kernel}") * (kernel**2 * c**2 + 2 * c)
        for c in channels
        for kernel in (1, 3)
    )
    reductions = sum(56 * c**2 + 8 * c for c in channels[:-1])  # 3x3 c->2c, 3x3 2c->2c, 1x1 c->2c, two BN of 2c
    head = 2 * channels[-1] + (channels[-1] + 1) * k
    return stem + cells + reductions + head


def mac_count(arch: Architecture, settings: CellSettings, input_size: int) -> int:
    """Multiply-accumulates of one image in the benchmark's convention: convolutions and the classifier with its bias.

    The benchmark calls these FLOPs (in millions). Batch normalisation, ReLU and pooling count nothing.

    Args:
        arch: the cell.
        settings: what surrounds it.
        input_size: height and width of the images in pixels, a multiple of 4 (32 for CIFAR, 16 for ImageNet16-120).

    Raises:
        ArchitectureError: if `input_size` is not a positive multiple of 4.
    """
    check_halved_twice("a NAS-Bench-201 network", input_size)
    chosen = operations(arch)
    n, k, c = settings.cells_per_stage, settings.n_classes, settings.channels
    # Channels double where the resolution halves, so every stage costs c^2 * pixels per 1x1 convolution, and so on.
    per_pixel = 27 * c + N_STAGES * n * c**2 * (9 * chosen.count("nor_conv_3x3") + chosen.count("nor_conv_1x1"))
    per_pixel += 28 * c**2  # two reduction blocks: 56 * c'^2 at a quarter of the pixels of the stage they leave
    return per_pixel * input_size**2 + (4 * c + 1) * k


def counts(arch: Architecture, settings: CellSettings, input_size: int) -> Counts:
    """`parameter_count` and `mac_count`.

    Raises:
        ArchitectureError: as `mac_count`.
    """
    return Counts(parameter_count(arch, settings), mac_count(arch, settings, input_size))


# Networks -------------------------------------------------------------------------------------------------------------


class Cell(nn.Module):
    """The searched cell: (batch, channels, height, width) -> the same shape.

    Attributes:
        edges: the six operations in the order of `EDGES`.
    """

    def __init__(self, operations: Sequence[str], channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(operation_module(operation, channels) for operation in operations)

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
        self.conv_a = relu_conv_norm(in_channels, out_channels, 3, stride=2)
        self.conv_b = relu_conv_norm(out_channels, out_channels, 3)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, stride=2), Conv2d(in_channels, out_channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Main path plus shortcut."""
        output: Tensor = self.conv_b(self.conv_a(x)) + self.shortcut(x)
        return output


class Network(nn.Module):
    """A NAS-Bench-201 network: (batch, 3, size, size) images -> (batch, n_classes) logits.

    Its parameters are allocated but not drawn; `SPACE.build` draws them.

    Attributes:
        operations: the six of its cells, in the order of `EDGES`.
    """

    def __init__(self, operations: Sequence[str], settings: CellSettings) -> None:
        super().__init__()
        self.operations = tuple(operations)
        channels = settings.stage_channels
        self.stem = conv_norm(3, channels[0], 3)
        blocks: list[nn.Module] = []
        for stage, width in enumerate(channels):
            if stage:
                blocks.append(Reduction(channels[stage - 1], width))
            blocks.extend(Cell(operations, width) for _ in range(settings.cells_per_stage))
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            BatchNorm2d(channels[-1]), nn.ReLU(inplace=False), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.classifier = Linear(channels[-1], settings.n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, size, size), size a multiple of 4 -> logits (batch, n_classes)."""
        logits: Tensor = self.classifier(self.head(self.blocks(self.stem(images))))
        return logits


_OPERATION_BUILDERS: Mapping[str, Callable[[int], nn.Module]] = MappingProxyType(
    {
        "none": lambda channels: Zero(),
        "skip_connect": lambda channels: nn.Identity(),
        "nor_conv_1x1": lambda channels: relu_conv_norm(channels, channels, 1),
        "nor_conv_3x3": lambda channels: relu_conv_norm(channels, channels, 3),
        "avg_pool_3x3": lambda channels: nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
    }
)


def operation_module(operation: str, channels: int) -> nn.Module:
    """The module of one of `OPERATIONS`: (batch, channels, height, width) -> the same shape; parameters not drawn."""
    return _OPERATION_BUILDERS[operation](channels)


def allocate(arch: Architecture, settings: CellSettings) -> Network:
    """The network of a cell, in train mode, its parameters allocated but **not yet drawn**: `initialise_` draws them.

    Raises:
        ArchitectureError: if `arch` is not a cell of this space.
    """
    return Network(operations(arch), settings)


SPACE: Final = SearchSpace(
    name=NAME,
    title="NAS-Bench-201",
    forms="nb201:all, nb201:random:N[:SEED], nb201:INDEX,FROM-TO or nb201:CELL[;...]",
    settings=Settings,
    full=FULL,
    named=named,
    sample=sample,
    mutate=mutate,
    function=reduced_function,
    allocate=allocate,
    digest=text_digest,
    counts=counts,
    level=level,
    index_of=index_of,
    places=operations,
    begins=("|", "Structure(", "CellStructure("),
)

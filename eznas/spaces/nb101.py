"""NAS-Bench-101: cells as directed acyclic graphs of up to seven vertices, their networks and closed-form sizes.

Vertex 0 is the cell's input, the last vertex its output, every vertex between applies one operation to the sum of what
it is fed. The cell's input is projected by a 1x1 convolution to each vertex it feeds; vertices that feed the output are
concatenated. Three stacks of cells, with a max-pooling and twice the channels from one to the next.

The text form is the rows of the adjacency matrix, a colon, and the operations of the inner vertices:
``0110.0010.0001.0000:conv3x3,maxpool3x3``.

Source: `Ying 2019 <https://arxiv.org/abs/1902.09635>`_, section 2 and the released code (channels of vertices).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor, nn

from eznas.errors import ArchitectureError
from eznas.spaces.architecture import Architecture, check_space
from eznas.spaces.layers import BatchNorm2d, Conv2d, Linear
from eznas.spaces.skeleton import Skeleton, check_halved_twice

SPACE: Final = "nb101"
OPERATIONS: Final = ("maxpool3x3", "conv1x1", "conv3x3")
FULL_SKELETON: Final = Skeleton(cells_per_stage=3, channels=128)
"""The benchmark's CIFAR-10 networks."""
MAX_VERTICES: Final = 7
MAX_EDGES: Final = 9

_CODES: Final = {"2": "maxpool3x3", "3": "conv1x1", "4": "conv3x3"}  # of NAS-Bench-Suite-Zero; 0 and 1 are the ends
_SPEC: Final = re.compile(r"[01]+(?:\.[01]+)*:[a-z0-9,]*")
_EXAMPLE: Final = "0110.0010.0001.0000:conv3x3,maxpool3x3"


@dataclass(frozen=True, slots=True)
class Graph:
    """A cell.

    Attributes:
        matrix: ``matrix[i][j]`` tells whether vertex i feeds vertex j; only for i < j.
        operations: of the vertices 1 .. n - 2.

    Raises:
        ArchitectureError: if this is not a cell of the space; says what is wrong.
    """

    matrix: tuple[tuple[bool, ...], ...]
    operations: tuple[str, ...]

    def __post_init__(self) -> None:
        n = len(self.matrix)
        if not 2 <= n <= MAX_VERTICES or any(len(row) != n for row in self.matrix):
            raise ArchitectureError(
                f"A NAS-Bench-101 cell has a square matrix of 2 to {MAX_VERTICES} vertices, but its rows have lengths "
                f"{[len(row) for row in self.matrix]}; write it as {_EXAMPLE!r}."
            )
        if any(self.matrix[i][j] for i in range(n) for j in range(i + 1)):
            raise ArchitectureError(
                "Edges of a NAS-Bench-101 cell lead from a vertex to a later one, but its matrix has an entry on or "
                "below the diagonal; order the vertices along the edges."
            )
        if len(self.operations) != n - 2 or any(name not in OPERATIONS for name in self.operations):
            raise ArchitectureError(
                f"A NAS-Bench-101 cell of {n} vertices has {n - 2} operations out of {', '.join(OPERATIONS)}, but it "
                f"has {', '.join(self.operations) or 'none'}; name one for each inner vertex."
            )
        if n - 1 not in self._reached(forwards=True):
            raise ArchitectureError(
                "The output of a NAS-Bench-101 cell must be reached from its input, but no path of this cell leads "
                "there; add an edge."
            )

        kept = self._on_a_path()
        n_edges = sum(self.matrix[i][j] for i in kept for j in kept)
        if n_edges > MAX_EDGES:
            raise ArchitectureError(
                f"A NAS-Bench-101 cell has at most {MAX_EDGES} edges on paths from its input to its output, but this "
                f"one has {n_edges}; leave some out."
            )

    @property
    def n_vertices(self) -> int:
        return len(self.matrix)

    def _reached(self, *, forwards: bool) -> set[int]:
        n = len(self.matrix)
        reached = {0 if forwards else n - 1}
        for vertex in range(n) if forwards else reversed(range(n)):
            if vertex in reached:
                reached |= {o for o in range(n) if (self.matrix[vertex][o] if forwards else self.matrix[o][vertex])}
        return reached

    def _on_a_path(self) -> list[int]:
        return sorted(self._reached(forwards=True) & self._reached(forwards=False))

    def pruned(self) -> Graph:
        """The cell without vertices that lie on no path from the input to the output."""
        kept = self._on_a_path()
        matrix = tuple(tuple(self.matrix[i][j] for j in kept) for i in kept)
        return Graph(matrix, tuple(self.operations[vertex - 1] for vertex in kept[1:-1]))

    def channels(self, out: int) -> tuple[int, ...]:
        """Output channels of the vertices 1 .. n - 1 of a pruned cell with `out` channels, the last for the output.

        The vertices that feed the output share its channels, the first of them one more each where they do not divide;
        another vertex has the most that any vertex it feeds has.

        Raises:
            ArchitectureError: if there are fewer channels than vertices that share them.
        """
        last = self.n_vertices - 1
        feeding = [vertex for vertex in range(1, last) if self.matrix[vertex][last]]
        if len(feeding) > out:
            raise ArchitectureError(
                f"{len(feeding)} vertices of this NAS-Bench-101 cell share {out} channels, one each at least; set "
                f"networks.channels to {len(feeding)} or more."
            )
        found = {last: out}
        for position, vertex in enumerate(feeding):
            found[vertex] = out // len(feeding) + (position < out % len(feeding))
        for vertex in reversed(range(1, last)):
            if vertex not in found:
                found[vertex] = max(found[other] for other in range(vertex + 1, last) if self.matrix[vertex][other])
        return tuple(found[vertex] for vertex in range(1, last + 1))


# Description ----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _parse(spec: str) -> Graph:
    if not _SPEC.fullmatch(spec) or len(spec) > 200:
        raise ArchitectureError(
            f"Expected a NAS-Bench-101 cell in the form {_EXAMPLE!r}, but got {spec[:80]!r}; write the rows of its "
            "matrix, a colon, and the operations of its inner vertices."
        )
    rows, _, names = spec.partition(":")
    matrix = tuple(tuple(bit == "1" for bit in row) for row in rows.split("."))
    return Graph(matrix, tuple(names.split(",")) if names else ())


def graph(arch: Architecture) -> Graph:
    """The graph of an architecture.

    Raises:
        ArchitectureError: if `arch` is of another search space or its text is not a cell.
    """
    check_space(arch, SPACE)
    return _parse(arch.spec)


def architecture(cell: str | Graph) -> Architecture:
    """The architecture with the given graph or the given text.

    Raises:
        ArchitectureError: if the text is not a cell.
    """
    found = _parse(cell) if isinstance(cell, str) else cell
    rows = ".".join("".join(str(int(bit)) for bit in row) for row in found.matrix)
    return Architecture(SPACE, f"{rows}:{','.join(found.operations)}")


def from_code(code: str) -> Architecture:
    """The architecture of a code of NAS-Bench-Suite-Zero: ``(0,1,...)``, the n x n matrix and then n operation codes.

    Codes are 0 input, 1 output, 2 maxpool3x3, 3 conv1x1, 4 conv3x3.

    Raises:
        ArchitectureError: if it is not such a code.
    """
    digits = [word.strip() for word in code.strip().removeprefix("(").removesuffix(")").split(",")]
    n = (math.isqrt(1 + 4 * len(digits)) - 1) // 2
    entries, operations = digits[: n * n], digits[n * n :]
    is_code = len(digits) == n * n + n and n >= 2 and set(entries) <= {"0", "1"}
    if not is_code or operations[0] != "0" or operations[-1] != "1" or not set(operations[1:-1]) <= set(_CODES):
        raise ArchitectureError(
            f"Expected a NAS-Bench-101 code, n x n entries 0 or 1 and then n operations from 0 (input) to 1 (output), "
            f"but got {code[:80]!r}; copy it as it stands in the table."
        )
    matrix = tuple(tuple(entry == "1" for entry in entries[row * n : row * n + n]) for row in range(n))
    return architecture(Graph(matrix, tuple(_CODES[operation] for operation in operations[1:-1])))


def named(text: str) -> tuple[Architecture, ...]:
    """The architectures of a specification: texts separated by semicolons.

    Raises:
        ArchitectureError: if one is not a cell.
    """
    return tuple(dict.fromkeys(architecture(part) for part in text.split(";")))


# Closed-form sizes ----------------------------------------------------------------------------------------------------


def parameter_count(arch: Architecture, skeleton: Skeleton = FULL_SKELETON) -> int:
    """Trainable parameters of the network, batch normalisation included.

    Raises:
        ArchitectureError: if `arch` is not a cell of this space, or the skeleton is too narrow for it.
    """
    cell = graph(arch).pruned()
    stem, head = skeleton.stage_channels[0], skeleton.stage_channels[-1]
    total = 27 * stem + 2 * stem + (head + 1) * skeleton.n_classes
    for before, width, _ in _places(skeleton):
        total += sum(weights + 2 * channels for weights, channels in _convolutions(cell, before, width))
    return total


def mac_count(arch: Architecture, skeleton: Skeleton, input_size: int) -> int:
    """Multiply-accumulates of one image: convolutions and the classifier with its bias, as in `nb201.mac_count`.

    Raises:
        ArchitectureError: as `parameter_count`, or if `input_size` is not a positive multiple of 4.
    """
    check_halved_twice("a NAS-Bench-101 network", input_size)
    cell = graph(arch).pruned()
    total = 27 * skeleton.channels * input_size**2 + (skeleton.stage_channels[-1] + 1) * skeleton.n_classes
    for before, width, stage in _places(skeleton):
        n_pixels = (input_size // 2**stage) ** 2
        total += n_pixels * sum(weights for weights, _ in _convolutions(cell, before, width))
    return total


def _places(skeleton: Skeleton) -> Iterator[tuple[int, int, int]]:
    """For each cell the channels before it, its own, and its stage."""
    before = skeleton.channels
    for stage, width in enumerate(skeleton.stage_channels):
        for _ in range(skeleton.cells_per_stage):
            yield before, width, stage
            before = width


def _convolutions(cell: Graph, before: int, width: int) -> Iterator[tuple[int, int]]:
    """For each convolution of a pruned cell its weights and its output channels."""
    for vertex, channels in enumerate(cell.channels(width), start=1):
        if vertex < cell.n_vertices - 1 and cell.operations[vertex - 1] != "maxpool3x3":
            yield (9 if cell.operations[vertex - 1] == "conv3x3" else 1) * channels**2, channels
        if cell.matrix[0][vertex]:
            yield before * channels, channels


# Networks -------------------------------------------------------------------------------------------------------------


def _conv_norm_relu(before: int, channels: int, kernel: int) -> nn.Module:
    return nn.Sequential(
        Conv2d(before, channels, kernel, padding=kernel // 2, bias=False),
        BatchNorm2d(channels),
        nn.ReLU(inplace=False),
    )


class Cell(nn.Module):
    """The searched cell: (batch, before, height, width) -> (batch, width, height, width)."""

    def __init__(self, graph: Graph, before: int, width: int) -> None:
        super().__init__()
        self.graph = graph
        self.channels = graph.channels(width)
        self.projections = nn.ModuleDict(
            {
                str(vertex): _conv_norm_relu(before, channels, 1)
                for vertex, channels in enumerate(self.channels, start=1)
                if graph.matrix[0][vertex]
            }
        )
        self.operations = nn.ModuleList(
            nn.MaxPool2d(3, stride=1, padding=1)
            if name == "maxpool3x3"
            else _conv_norm_relu(channels, channels, 1 if name == "conv1x1" else 3)
            for name, channels in zip(graph.operations, self.channels, strict=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Vertices in order, then the concatenation of those that feed the output."""
        last = self.graph.n_vertices - 1
        values: dict[int, Tensor] = {}
        for vertex in range(1, last):
            fed = [  # a wider input loses its last channel
                values[source][:, : self.channels[vertex - 1]]
                for source in range(1, vertex)
                if self.graph.matrix[source][vertex]
            ]
            values[vertex] = self.operations[vertex - 1](self._sum(x, fed, vertex))
        feeding = [values[vertex] for vertex in range(1, last) if self.graph.matrix[vertex][last]]
        return self._sum(x, [torch.cat(feeding, dim=1)] if feeding else [], last)

    def _sum(self, x: Tensor, fed: Sequence[Tensor], vertex: int) -> Tensor:
        parts = list(fed)
        if str(vertex) in self.projections:
            parts.append(self.projections[str(vertex)](x))
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total


class Network(nn.Module):
    """A NAS-Bench-101 network: (batch, 3, size, size) images -> (batch, n_classes) logits.

    Its parameters are allocated but not drawn; use `eznas.spaces.build_network`.
    """

    def __init__(self, graph: Graph, skeleton: Skeleton) -> None:
        super().__init__()
        self.stem = _conv_norm_relu(3, skeleton.channels, 3)
        blocks: list[nn.Module] = []
        last_stage = 0
        for before, width, stage in _places(skeleton):
            if stage > last_stage:
                blocks.append(nn.MaxPool2d(2, stride=2))
            blocks.append(Cell(graph, before, width))
            last_stage = stage
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = Linear(skeleton.stage_channels[-1], skeleton.n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, size, size), size at least 4 -> logits (batch, n_classes)."""
        logits: Tensor = self.classifier(self.head(self.blocks(self.stem(images))))
        return logits


def allocate(arch: Architecture, skeleton: Skeleton) -> nn.Module:
    """The network of a cell, in train mode, its parameters allocated but **not yet drawn**: `initialise_` draws them.

    Raises:
        ArchitectureError: if `arch` is not a cell of this space, or the skeleton is too narrow for it.
    """
    return Network(graph(arch).pruned(), skeleton)

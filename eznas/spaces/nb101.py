"""NAS-Bench-101: cells as directed acyclic graphs of up to seven vertices, their networks and closed-form sizes.

Vertex 0 is the cell's input, the last vertex its output, every vertex between applies one operation to the sum of what
it is fed. The cell's input is projected by a 1x1 convolution to each vertex it feeds; vertices that feed the output are
concatenated. Three stacks of cells, with a max-pooling and twice the channels from one to the next.

The text form is the rows of the adjacency matrix, a colon, and the operations of the inner vertices:
``0110.0010.0001.0000:conv3x3,maxpool3x3``. Other tools' forms are read too, see `architecture`.

Source: `Ying 2019 <https://arxiv.org/abs/1902.09635>`_, section 2 and the released code (channels of vertices, hash).
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from eznas.errors import ArchitectureError
from eznas.names import nearest, one_line, shown
from eznas.spaces.architecture import Architecture, check_space, text_digest
from eznas.spaces.layers import Linear, conv_norm_relu
from eznas.spaces.notation import MAX_TEXT, Call, check_sample_size, drawn_or_read, literal
from eznas.spaces.settings import CellSettings, check_halved_twice
from eznas.spaces.space import Counts, SearchSpace

NAME: Final = "nb101"
OPERATIONS: Final = ("maxpool3x3", "conv1x1", "conv3x3")
MAX_VERTICES: Final = 7
MAX_EDGES: Final = 9
MAX_SAMPLE: Final = 100_000  # of the 423,624 cells: well before drawing and rejecting repeats becomes slow

_CODES: Final = {"2": "maxpool3x3", "3": "conv1x1", "4": "conv3x3"}  # of NAS-Bench-Suite-Zero; 0 and 1 are the ends
_OFFICIAL: Final = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
"""Operations as the released code names them, in the order of the labels of its hash."""
_SPEC: Final = re.compile(r"[01]+(?:\.[01]+)*:[a-z0-9,]*")
_LOOSE_SPEC: Final = re.compile(r"[01]+(?:\.[01]+)*:[A-Za-z0-9_,-]*")
_ROW: Final = re.compile(r"(?:[0-9a-f]{32},)?([2-7]),([01]{4,49}),([0-2]{0,5})(?:,[0-9.eE+-]*)*")
_EXAMPLE: Final = "0110.0010.0001.0000:conv3x3,maxpool3x3"


class Settings(CellSettings):
    """What surrounds a NAS-Bench-101 cell, and how the network is initialised."""

    space: Literal["nb101"] = NAME


FULL: Final = Settings(cells_per_stage=3, channels=128)
"""The benchmark's CIFAR-10 networks."""


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
                f"{[len(row) for row in self.matrix[:9]]}; write it as {_EXAMPLE!r}."
            )
        if any(self.matrix[i][j] for i in range(n) for j in range(i + 1)):
            raise ArchitectureError(
                "Edges of a NAS-Bench-101 cell lead from a vertex to a later one, but its matrix has an entry on or "
                "below the diagonal; order the vertices along the edges."
            )
        if len(self.operations) != n - 2 or any(name not in OPERATIONS for name in self.operations):
            near = [nearest(name, OPERATIONS) for name in self.operations if name not in OPERATIONS][:1]
            hint = f"did you mean {near[0]!r}?" if near and near[0] else "name one for each inner vertex."
            raise ArchitectureError(
                f"A NAS-Bench-101 cell of {n} vertices has {n - 2} operations out of {', '.join(OPERATIONS)}, but it "
                f"has {one_line(', '.join(self.operations), 80) or 'none'}; {hint}"
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
        raise _not_a_cell(spec)
    rows, _, names = spec.partition(":")
    matrix = tuple(tuple(bit == "1" for bit in row) for row in rows.split("."))
    return Graph(matrix, tuple(names.split(",")) if names else ())


def _not_a_cell(text: str) -> ArchitectureError:
    return ArchitectureError(
        f"Expected a NAS-Bench-101 cell in the form {_EXAMPLE!r} (or ModelSpec(matrix=[...], ops=[...]), or a code "
        f"(0,1,...) of NAS-Bench-Suite-Zero), but got {shown(text)}; write the rows of its matrix, a colon, and the "
        "operations of its inner vertices."
    )


def graph(arch: Architecture) -> Graph:
    """The graph of an architecture.

    Raises:
        ArchitectureError: if `arch` is of another search space or its text is not a cell.
    """
    check_space(arch, NAME)
    return _parse(arch.spec)


def architecture(cell: str | Graph) -> Architecture:
    """The architecture with the given graph or of a text.

    Args:
        cell: a graph; or a text: ours, also with the official names of operations (``conv3x3-bn-relu``); the official
            ``ModelSpec(matrix=[[...]], ops=["input", ..., "output"])``, or a mapping of these, as JSON or Python write
            it, with ``module_adjacency`` and ``module_operations`` if it comes from the benchmark's own records; a code
            of NAS-Bench-Suite-Zero, see `from_code`; or ``N,MATRIX,OPERATIONS`` with the number of vertices, the
            entries of the matrix row by row and a digit for each inner vertex (0 conv3x3, 1 conv1x1, 2 maxpool3x3),
            after the hash and before other columns if the row of a table has them.

    Raises:
        ArchitectureError: if the text is not a cell.
    """
    found = _read(cell) if isinstance(cell, str) else cell
    rows = ".".join("".join(str(int(bit)) for bit in row) for row in found.matrix)
    return Architecture(NAME, f"{rows}:{','.join(found.operations)}")


def _read(text: str) -> Graph:
    """The graph of a text in any of the forms that `architecture` names."""
    packed = "".join(text.split()) if len(text) <= MAX_TEXT else ""
    row = _ROW.fullmatch(packed)
    if row is not None:
        n, entries, digits = int(row[1]), row[2], row[3]
        if len(entries) != n * n or len(digits) != n - 2:
            raise _not_a_cell(text)
        return Graph(_rows(entries, n), tuple(_short(_OFFICIAL[int(digit)]) for digit in digits))
    if packed.startswith("(") or re.match(r"[01],[01],", packed):
        return _from_code(text)
    if packed.startswith(("ModelSpec(", "{", "api.ModelSpec(")):
        return _from_parts(text)
    if _LOOSE_SPEC.fullmatch(packed):
        matrix, _, names = packed.partition(":")
        packed = f"{matrix}:{','.join(_short(name) for name in names.split(','))}"
    else:
        packed = text
    return _parse(packed)


def _short(name: str) -> str:
    """Our name of an operation: without what every convolution has behind it."""
    return name.lower().replace("_", "-").removesuffix("-bn-relu")


def _rows(entries: Sequence[str], n: int) -> tuple[tuple[bool, ...], ...]:
    return tuple(tuple(entry == "1" for entry in entries[row * n : row * n + n]) for row in range(n))


def _from_parts(text: str) -> Graph:
    """The graph of a matrix and names, the official description of a cell."""
    try:
        found: Any = literal(text)
    except ValueError:
        raise _not_a_cell(text) from None
    parts: dict[str, Any] = found if isinstance(found, dict) else {}
    if isinstance(found, Call):
        parts = dict(zip(("matrix", "ops"), found.positional, strict=False)) | found.named
    matrix = parts.get("matrix", parts.get("module_adjacency"))
    names = parts.get("ops", parts.get("operations", parts.get("module_operations")))
    match matrix, names:
        case [[*rows], ["input", *inner, "output"]] if all(isinstance(name, str) for name in inner):
            if all(isinstance(row, list) and all(entry in (0, 1) for entry in row) for row in rows):
                bits = tuple(tuple(bool(entry) for entry in row) for row in rows)
                return Graph(bits, tuple(_short(name) for name in inner))
    raise _not_a_cell(text)


def from_code(code: str) -> Architecture:
    """The architecture of a code of NAS-Bench-Suite-Zero: ``(0,1,...)``, the n x n matrix and then n operation codes.

    Codes are 0 input, 1 output, 2 maxpool3x3, 3 conv1x1, 4 conv3x3.

    Raises:
        ArchitectureError: if it is not such a code.
    """
    return architecture(_from_code(code))


def _from_code(code: str) -> Graph:
    words = code.strip().removeprefix("(").removesuffix(")").split(",") if len(code) <= MAX_TEXT else []
    digits = [word.strip() for word in words]
    n = (math.isqrt(1 + 4 * len(digits)) - 1) // 2
    entries, operations = digits[: n * n], digits[n * n :]
    is_code = len(digits) == n * n + n and n >= 2 and set(entries) <= {"0", "1"}
    if not is_code or operations[0] != "0" or operations[-1] != "1" or not set(operations[1:-1]) <= set(_CODES):
        raise ArchitectureError(
            f"Expected a NAS-Bench-101 code, n x n entries 0 or 1 and then n operations from 0 (input) to 1 (output), "
            f"but got {shown(code, 80)}; copy it as it stands in the table."
        )
    return Graph(_rows(entries, n), tuple(_CODES[operation] for operation in operations[1:-1]))


def named(text: str) -> tuple[Architecture, ...]:
    """The architectures of a specification.

    Args:
        text: parts separated by semicolons: ``random:N[:SEED]`` (see `sample`), or a cell in one of the forms of
            `architecture`.

    Raises:
        ArchitectureError: if a part is neither.
    """
    return drawn_or_read(text, NAME, sample, architecture)


# Drawing and changing -------------------------------------------------------------------------------------------------


def sample(rng: np.random.Generator, n: int) -> tuple[Architecture, ...]:
    """Distinct pruned cells, no two of them isomorphic.

    They are drawn uniformly from all pruned cells with numbered vertices, and repeats are left out: a cell is the more
    likely the more ways there are to number its vertices along its edges. As in the benchmark, most have seven vertices
    and nine edges.

    Raises:
        ArchitectureError: if `n` is not in 1 .. `MAX_SAMPLE`.
    """
    check_sample_size(n, MAX_SAMPLE, "NAS-Bench-101")
    sizes = range(2, MAX_VERTICES + 1)
    weights = np.array([len(_pruned_matrices(size)) * float(len(OPERATIONS)) ** (size - 2) for size in sizes])
    found: dict[str, Architecture] = {}
    while len(found) < n:
        size = int(rng.choice(sizes, p=weights / weights.sum()))
        codes = _pruned_matrices(size)
        code = int(codes[rng.integers(len(codes))])
        bits = {pair: bool(code >> place & 1) for place, pair in enumerate(_pairs(size))}
        matrix = tuple(tuple(bits.get((i, j), False) for j in range(size)) for i in range(size))
        cell = Graph(matrix, tuple(OPERATIONS[k] for k in rng.integers(len(OPERATIONS), size=size - 2)))
        found.setdefault(cell_hash(cell), architecture(cell))
    return tuple(found.values())


def _pairs(n: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(n) for j in range(i + 1, n)]


@lru_cache(maxsize=MAX_VERTICES)
def _pruned_matrices(n: int) -> npt.NDArray[np.int32]:
    """The matrices of n vertices, all on a path, with at most nine edges: bit k is the k-th of `_pairs`."""
    pairs = _pairs(n)
    codes = np.arange(2 ** len(pairs), dtype=np.int32)
    is_cell = sum((codes >> place & 1 for place in range(len(pairs))), np.zeros_like(codes)) <= MAX_EDGES
    for vertex in range(n):  # all lie on a path if every one is fed by an earlier and feeds a later one
        for end in (0, 1):
            mask = sum(1 << place for place, pair in enumerate(pairs) if pair[end] == vertex)
            if mask:
                is_cell &= (codes & mask) != 0
    return codes[is_cell]


def neighbours(arch: Architecture) -> tuple[Architecture, ...]:
    """The pruned cells one edit away that compute something else: each once, in a fixed order.

    An edit gives one inner vertex another operation, adds or removes one edge, puts a new vertex with any operation on
    an edge, or takes one off that has one edge in and one out. It is made on the pruned cell, and the result is pruned.

    Raises:
        ArchitectureError: if `arch` is not a cell of this space.
    """
    cell = graph(arch).pruned()
    own_hash = cell_hash(cell)
    found: dict[str, Architecture] = {}
    for matrix, names in _edited(cell):
        try:
            other = Graph(matrix, names).pruned()
        except ArchitectureError:
            continue
        name = cell_hash(other)
        if name != own_hash:
            found.setdefault(name, architecture(other))
    return tuple(found.values())


def _edited(cell: Graph) -> Iterator[tuple[tuple[tuple[bool, ...], ...], tuple[str, ...]]]:
    n, names = cell.n_vertices, cell.operations
    for vertex, name in enumerate(names):
        for other in OPERATIONS:
            if other != name:
                yield cell.matrix, (*names[:vertex], other, *names[vertex + 1 :])
    pairs = _pairs(n)
    for edge in pairs:
        flipped = [[bit != ((i, j) == edge) for j, bit in enumerate(row)] for i, row in enumerate(cell.matrix)]
        yield tuple(map(tuple, flipped)), names
    for source, target in pairs if n < MAX_VERTICES else ():
        if not cell.matrix[source][target]:
            continue
        wider = [[*row[:target], False, *row[target:]] for row in cell.matrix]  # the new one stands before the target
        wider.insert(target, [False] * (n + 1))
        wider[source][target + 1] = False
        wider[source][target] = wider[target][target + 1] = True
        for name in OPERATIONS:
            yield tuple(map(tuple, wider)), (*names[: target - 1], name, *names[target - 1 :])
    for vertex in range(1, n - 1):
        sources = [i for i in range(n) if cell.matrix[i][vertex]]
        targets = [j for j in range(n) if cell.matrix[vertex][j]]
        if len(sources) == len(targets) == 1 and not cell.matrix[sources[0]][targets[0]]:
            joined = [[*row] for row in cell.matrix]
            joined[sources[0]][targets[0]] = True
            kept = [i for i in range(n) if i != vertex]
            yield tuple(tuple(joined[i][j] for j in kept) for i in kept), (*names[: vertex - 1], *names[vertex:])


def mutate(arch: Architecture, rng: np.random.Generator) -> Architecture:
    """One of `neighbours`, each equally likely.

    Raises:
        ArchitectureError: if `arch` is not a cell of this space.
    """
    near = neighbours(arch)
    return near[rng.integers(len(near))]


# What a cell computes -------------------------------------------------------------------------------------------------


def function(arch: Architecture) -> str:
    """The benchmark's hash of the pruned cell: 32 hexadecimal digits, equal for isomorphic cells.

    Where channels do not divide among the vertices that feed the output, the released networks of isomorphic cells
    differ by one channel in some vertices; the benchmark counts them as one cell all the same.

    Raises:
        ArchitectureError: if `arch` is not a cell of this space.
    """
    return cell_hash(graph(arch).pruned())


_LABELS: Final = {_short(name): label for label, name in enumerate(_OFFICIAL)}


def cell_hash(cell: Graph) -> str:
    """The official hash of a cell, as its records name it: what `function` gives for the pruned one.

    Every vertex begins with its number of outgoing and incoming edges and its operation; as often as there are
    vertices, it takes in what the vertices before and behind it have, sorted.

    Source: `Ying 2019 <https://arxiv.org/abs/1902.09635>`_, released code.
    """
    n = cell.n_vertices
    labels = [-1, *(_LABELS[name] for name in cell.operations), -2]
    before = [[i for i in range(n) if cell.matrix[i][j]] for j in range(n)]
    behind = [[j for j in range(n) if cell.matrix[i][j]] for i in range(n)]
    seen = [_md5(str((len(behind[v]), len(before[v]), labels[v]))) for v in range(n)]
    for _ in range(n):
        near = [["".join(sorted(seen[w] for w in side[v])) for side in (before, behind)] for v in range(n)]
        seen = [_md5("|".join([*near[v], seen[v]])) for v in range(n)]
    return _md5(str(sorted(seen)))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def level(arch: Architecture) -> int:
    """Convolutions among the inner vertices of the pruned cell, 0 to 5.

    Raises:
        ArchitectureError: if `arch` is not a cell of this space.
    """
    return sum(name != "maxpool3x3" for name in graph(arch).pruned().operations)


# Closed-form sizes ----------------------------------------------------------------------------------------------------


def parameter_count(arch: Architecture, settings: CellSettings = FULL) -> int:
    """Trainable parameters of the network, batch normalisation included.

    Raises:
        ArchitectureError: if `arch` is not a cell of this space, or the settings are too narrow for it.
    """
    cell = graph(arch).pruned()
    stem, head = settings.stage_channels[0], settings.stage_channels[-1]
    total = 27 * stem + 2 * stem + (head + 1) * settings.n_classes
    for before, width, _ in _places(settings):
        total += sum(weights + 2 * channels for weights, channels in _convolutions(cell, before, width))
    return total


def mac_count(arch: Architecture, settings: CellSettings, input_size: int) -> int:
    """Multiply-accumulates of one image: convolutions and the classifier with its bias, as in `nb201.mac_count`.

    Raises:
        ArchitectureError: as `parameter_count`, or if `input_size` is not a positive multiple of 4.
    """
    check_halved_twice("a NAS-Bench-101 network", input_size)
    cell = graph(arch).pruned()
    total = 27 * settings.channels * input_size**2 + (settings.stage_channels[-1] + 1) * settings.n_classes
    for before, width, stage in _places(settings):
        n_pixels = (input_size // 2**stage) ** 2
        total += n_pixels * sum(weights for weights, _ in _convolutions(cell, before, width))
    return total


def _places(settings: CellSettings) -> Iterator[tuple[int, int, int]]:
    """For each cell the channels before it, its own, and its stage."""
    before = settings.channels
    for stage, width in enumerate(settings.stage_channels):
        for _ in range(settings.cells_per_stage):
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


class Cell(nn.Module):
    """The searched cell: (batch, before, height, width) -> (batch, width, height, width)."""

    def __init__(self, graph: Graph, before: int, width: int) -> None:
        super().__init__()
        self.graph = graph
        self.channels = graph.channels(width)
        self.projections = nn.ModuleDict(
            {
                str(vertex): conv_norm_relu(before, channels, 1)
                for vertex, channels in enumerate(self.channels, start=1)
                if graph.matrix[0][vertex]
            }
        )
        self.operations = nn.ModuleList(
            nn.MaxPool2d(3, stride=1, padding=1)
            if name == "maxpool3x3"
            else conv_norm_relu(channels, channels, 1 if name == "conv1x1" else 3)
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

    Its parameters are allocated but not drawn; `SPACE.build` draws them.
    """

    def __init__(self, graph: Graph, settings: CellSettings) -> None:
        super().__init__()
        self.stem = conv_norm_relu(3, settings.channels, 3)
        blocks: list[nn.Module] = []
        last_stage = 0
        for before, width, stage in _places(settings):
            if stage > last_stage:
                blocks.append(nn.MaxPool2d(2, stride=2))
            blocks.append(Cell(graph, before, width))
            last_stage = stage
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = Linear(settings.stage_channels[-1], settings.n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, size, size), size at least 4 -> logits (batch, n_classes)."""
        logits: Tensor = self.classifier(self.head(self.blocks(self.stem(images))))
        return logits


def allocate(arch: Architecture, settings: CellSettings) -> nn.Module:
    """The network of a cell, in train mode, its parameters allocated but **not yet drawn**: `initialise_` draws them.

    Raises:
        ArchitectureError: if `arch` is not a cell of this space, or the settings are too narrow for it.
    """
    return Network(graph(arch).pruned(), settings)


def counts(arch: Architecture, settings: CellSettings, input_size: int) -> Counts:
    """`parameter_count` and `mac_count`.

    Raises:
        ArchitectureError: as `mac_count`.
    """
    return Counts(parameter_count(arch, settings), mac_count(arch, settings, input_size))


def places(arch: Architecture) -> tuple[str, ...]:
    """The operation of each inner vertex, then each entry above the diagonal of the matrix, as ``edge`` or ``none``.

    Raises:
        ArchitectureError: if `arch` is not a cell of this space.
    """
    cell = graph(arch)
    n = len(cell.matrix)
    return (*cell.operations, *("edge" if cell.matrix[i][j] else "none" for i in range(n) for j in range(i + 1, n)))


SPACE: Final = SearchSpace(
    name=NAME,
    title="NAS-Bench-101",
    forms="nb101:random:N[:SEED] or nb101:CELL[;...]",
    settings=Settings,
    full=FULL,
    named=named,
    sample=sample,
    mutate=mutate,
    function=function,
    allocate=allocate,
    digest=text_digest,
    counts=counts,
    level=level,
    places=places,
    begins=("ModelSpec(", "api.ModelSpec("),
)

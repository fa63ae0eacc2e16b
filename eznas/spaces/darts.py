"""DARTS cells as NAS-Bench-301 trains them: a normal and a reduction cell, their networks and closed-form sizes.

A cell has two inputs, the outputs of the two cells before it, and four nodes; each node is the sum of two operations on
earlier ones, and the cell's output is the concatenation of its nodes. Of the cells of a network the first after a third
and the first after two thirds reduce: they halve the resolution, in the operations that read an input, and double the
channels. Batch normalisation has affine parameters in the stem and where a cell reads its inputs, not in operations.
Poolings are not normalised in the networks that are trained; in those of the search, and in those behind the tables of
NAS-Bench-Suite-Zero, they are: ``max_pool_3x3_bn`` and ``avg_pool_3x3_bn``.

The text form is the normal and the reduction cell, each in the manner of NAS-Bench-201: for each node its operations
with the node they read, ``|skip_connect~0|sep_conv_3x3~1|+|...|...|+|...|...|+|...|...|/|...``. Other tools' forms are
read too, see `architecture`.

Source: `Liu 2019 <https://arxiv.org/abs/1806.09055>`_, section 3.1 and the released code;
`Siems 2020 <https://arxiv.org/abs/2008.09777>`_ (NAS-Bench-301: 32 channels, 8 cells).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor, nn

from eznas.errors import ArchitectureError
from eznas.names import nearest, one_line, shown
from eznas.spaces.architecture import Architecture, check_space, text_digest
from eznas.spaces.layers import BatchNorm2d, Conv2d, Linear
from eznas.spaces.notation import MAX_TEXT, Call, check_sample_size, drawn_or_read, literal
from eznas.spaces.settings import CellSettings, check_halved_twice
from eznas.spaces.space import Counts, SearchSpace

NAME: Final = "darts"
CODES: Final = (
    "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5",
)  # fmt: skip
"""Operations of NAS-Bench-301, in the order of the codes in its tables."""
NORMALISED: Final = MappingProxyType({name: f"{name}_bn" for name in CODES if "pool" in name})
"""Poolings with batch normalisation after them, by the pooling."""
OPERATIONS: Final = (*CODES, *NORMALISED.values())
N_NODES: Final = 4
MAX_SAMPLE: Final = 1_000_000  # of about 10**18
_STEM_FACTOR: Final = 3

_EDGE: Final = re.compile(r"([a-z0-9_]+)~([0-9])")
_CODE: Final = re.compile(r"\((?:\((?:\([0-9],[0-9]\),?){8}\),?){2}\)")
_PAIR: Final = re.compile(r"\(([0-9]),([0-9])\)")
_EXAMPLE: Final = "|skip_connect~0|sep_conv_3x3~1|+|...|...|+|...|...|+|...|...|/|max_pool_3x3~0|skip_connect~1|+..."
_GENOTYPE: Final = "Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=..., reduce=[...], reduce_concat=...)"


class Settings(CellSettings):
    """What surrounds DARTS cells, and how the network is initialised."""

    space: Literal["darts"] = NAME


FULL: Final = Settings(cells_per_stage=2, channels=32)
"""NAS-Bench-301's CIFAR-10 networks."""

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
                    near = None if operation in OPERATIONS else nearest(operation, OPERATIONS)
                    raise ArchitectureError(
                        f"Node {node} of the {name} cell of a DARTS network applies one of {', '.join(OPERATIONS)} to "
                        f"a node from 0 to {node - 1}, but it has {one_line(f'{operation}~{source}', 60)}; "
                        f"{f'did you mean {near!r}?' if near else 'correct that edge.'}"
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
        raise _not_cells(spec)
    return CellPair(*found)


def _not_cells(text: str) -> ArchitectureError:
    return ArchitectureError(
        f"Expected the normal and the reduction cell of a DARTS network in the form {_EXAMPLE!r}, or {_GENOTYPE}, but "
        f"got {shown(text)}; give two operations for each of {N_NODES} nodes."
    )


def cell_pair(arch: Architecture) -> CellPair:
    """The cells of an architecture.

    Raises:
        ArchitectureError: if `arch` is of another search space or its text is not two cells.
    """
    check_space(arch, NAME)
    return _parse(arch.spec)


def architecture(cells: str | CellPair) -> Architecture:
    """The architecture with the given cells or of a text.

    Args:
        cells: both; or a text: ours, with spaces or without; the code of NAS-Bench-Suite-Zero, see `from_code`; or a
            genotype as DARTS, NAS-Bench-301 and NDS write it: ``Genotype(normal=[(operation, node), ...],
            normal_concat=..., reduce=..., reduce_concat=...)`` or a mapping of these, as JSON or Python write it.

    Raises:
        ArchitectureError: if the text is not two cells of this space.
    """
    found = _read(cells) if isinstance(cells, str) else cells
    return Architecture(NAME, f"{_text(found.normal)}/{_text(found.reduce)}")


def _read(text: str) -> CellPair:
    """The cells of a text in any of the forms that `architecture` names."""
    packed = "".join(text.split()) if len(text) <= MAX_TEXT else ""
    if packed.startswith(("(((", "[[[")):
        return _from_code(text, normalised_pooling=False)
    if packed.startswith(("Genotype(", "{")) or re.match(r"[A-Za-z_.]*\.Genotype\(", packed):
        return _from_genotype(text)
    return _parse(packed or text)


def _from_genotype(text: str) -> CellPair:
    try:
        found: Any = literal(text)
    except ValueError:
        raise _not_cells(text) from None
    if isinstance(found, Call):
        order = ("normal", "normal_concat", "reduce", "reduce_concat")
        found = dict(zip(order, found.positional, strict=False)) | found.named
    if isinstance(found, dict) and isinstance(found.get("genotype"), dict):
        found = found["genotype"]  # of a record of NDS
    cells = []
    for kind in ("normal", "reduce"):
        edges = found.get(kind) if isinstance(found, dict) else None
        if not isinstance(edges, list) or not all(
            isinstance(edge, list) and [type(part) for part in edge] == [str, int] for edge in edges
        ):
            raise _not_cells(text)
        concatenated = found.get(f"{kind}_concat", [*range(2, N_NODES + 2)])
        if len(edges) == 2 * N_NODES and concatenated != [*range(2, N_NODES + 2)]:
            raise ArchitectureError(
                f"The output of a cell of this space is the concatenation of its nodes 2 to {N_NODES + 1}, but "
                f"{kind}_concat is {shown(concatenated)}; give a genotype whose cells concatenate them all."
            )
        cells.append(tuple((operation, source) for operation, source in edges))
    return CellPair(*cells)


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
    return architecture(_from_code(code, normalised_pooling=normalised_pooling))


def _from_code(code: str, *, normalised_pooling: bool) -> CellPair:
    packed = "".join(code.split()).replace("[", "(").replace("]", ")") if len(code) <= MAX_TEXT else ""
    pairs = _PAIR.findall(packed) if _CODE.fullmatch(packed) else []
    if len(pairs) != 4 * N_NODES or any(int(operation) >= len(CODES) for _, operation in pairs):
        raise ArchitectureError(
            f"Expected a NAS-Bench-301 code, two cells of eight pairs (node, operation from 0 to "
            f"{len(CODES) - 1}), but got {shown(code, 80)}; copy it as it stands in the table."
        )
    names = [NORMALISED.get(name, name) for name in CODES] if normalised_pooling else CODES
    edges = tuple((names[int(operation)], int(source)) for source, operation in pairs)
    return CellPair(edges[: 2 * N_NODES], edges[2 * N_NODES :])


def named(text: str) -> tuple[Architecture, ...]:
    """The architectures of a specification.

    Args:
        text: parts separated by semicolons: ``random:N[:SEED]`` (see `sample`), or cells in one of the forms of
            `architecture`.

    Raises:
        ArchitectureError: if a part is neither.
    """
    return drawn_or_read(text, NAME, sample, architecture)


# Drawing and changing -------------------------------------------------------------------------------------------------


def sample(rng: np.random.Generator, n: int) -> tuple[Architecture, ...]:
    """Distinct architectures, uniform over the space of NAS-Bench-301.

    There the two operations of a node read different nodes: every pair of them is equally likely, and so is each of the
    seven operations of `CODES`.

    Raises:
        ArchitectureError: if `n` is not in 1 .. `MAX_SAMPLE`.

    Source: `Siems 2020 <https://arxiv.org/abs/2008.09777>`_, section 3.
    """
    check_sample_size(n, MAX_SAMPLE, "DARTS cells")
    found: dict[str, Architecture] = {}
    while len(found) < n:
        arch = architecture(CellPair(_drawn_cell(rng), _drawn_cell(rng)))
        found.setdefault(function(arch), arch)
    return tuple(found.values())


def _drawn_cell(rng: np.random.Generator) -> tuple[Edge, ...]:
    sources = [source for node in range(N_NODES) for source in sorted(rng.permutation(node + 2)[:2].tolist())]
    return tuple((CODES[code], source) for code, source in zip(rng.integers(len(CODES), size=8), sources, strict=True))


def mutate(arch: Architecture, rng: np.random.Generator) -> Architecture:
    """The architecture with one edge changed: its operation or, as often, the node it reads.

    The cell, the edge and what it changes to are uniform. An edge reads no node that the other edge of its node reads,
    so edges of the first node keep theirs; poolings are normalised where those of the architecture are.

    Raises:
        ArchitectureError: if `arch` is not of this space.

    Source: `Real 2019 <https://arxiv.org/abs/1802.01548>`_, section 3 (operation and hidden-state mutations).
    """
    cells = cell_pair(arch)
    edges = [*cells.normal, *cells.reduce]
    is_normalised = any(operation in NORMALISED.values() for operation, _ in edges)
    names = [NORMALISED.get(name, name) for name in CODES] if is_normalised else [*CODES]
    if rng.random() < 0.5:
        place = int(rng.integers(len(edges)))
        operation, source = edges[place]
        others = [name for name in names if name != operation]
        edges[place] = (others[rng.integers(len(others))], source)
    else:
        places = [place for place in range(len(edges)) if place % (2 * N_NODES) >= 2]
        place = places[rng.integers(len(places))]
        operation, source = edges[place]
        taken = {source, edges[place ^ 1][1]}
        free = [node for node in range(place % (2 * N_NODES) // 2 + 2) if node not in taken]
        edges[place] = (operation, free[rng.integers(len(free))])
    return architecture(CellPair(tuple(edges[: 2 * N_NODES]), tuple(edges[2 * N_NODES :])))


def function(arch: Architecture) -> str:
    """The text of the architecture with the two operations of every node in one order: their sum has none.

    Raises:
        ArchitectureError: if `arch` is not of this space.
    """
    cells = cell_pair(arch)
    return f"{_text(_ordered(cells.normal))}/{_text(_ordered(cells.reduce))}"


def _ordered(cell: tuple[Edge, ...]) -> tuple[Edge, ...]:
    """The edges of each node by the node they read, then by name."""
    pairs = zip(cell[::2], cell[1::2], strict=True)
    return tuple(edge for pair in pairs for edge in sorted(pair, key=lambda edge: (edge[1], edge[0])))


def level(arch: Architecture) -> int:
    """Edges that hold a separable or dilated convolution, of both cells together, 0 to 16.

    Raises:
        ArchitectureError: if `arch` is not of this space.
    """
    cells = cell_pair(arch)
    return sum("_conv_" in operation for operation, _ in (*cells.normal, *cells.reduce))


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


def _places(settings: CellSettings) -> Iterator[_Place]:
    first = second = _STEM_FACTOR * settings.channels
    after_reduction = False
    for stage, width in enumerate(settings.stage_channels):
        kinds = [True] * (stage > 0) + [False] * settings.cells_per_stage
        for reduces in kinds:
            yield _Place(stage, first, second, width, reduces, after_reduction)
            first, second, after_reduction = second, N_NODES * width, reduces


def parameter_count(arch: Architecture, settings: CellSettings = FULL) -> int:
    """Trainable parameters of the network, batch normalisation included.

    Raises:
        ArchitectureError: if `arch` is not of this space.
    """
    cells = cell_pair(arch)
    stem, head = _STEM_FACTOR * settings.channels, N_NODES * settings.stage_channels[-1]
    total = 27 * stem + 2 * stem + (head + 1) * settings.n_classes
    for place in _places(settings):
        total += (place.first + place.second) * place.width + 4 * place.width + _cell_weights(cells, place)
    return total


def mac_count(arch: Architecture, settings: CellSettings, input_size: int) -> int:
    """Multiply-accumulates of one image: convolutions and the classifier with its bias, as in `nb201.mac_count`.

    Raises:
        ArchitectureError: if `arch` is not of this space, or `input_size` is not a positive multiple of 4.
    """
    check_halved_twice("a DARTS network", input_size)
    cells = cell_pair(arch)
    stem, head = _STEM_FACTOR * settings.channels, N_NODES * settings.stage_channels[-1]
    total = 27 * stem * input_size**2 + (head + 1) * settings.n_classes
    for place in _places(settings):
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

    Its parameters are allocated but not drawn; `SPACE.build` draws them.
    """

    def __init__(self, cells: CellPair, settings: CellSettings) -> None:
        super().__init__()
        stem = _STEM_FACTOR * settings.channels
        self.stem = nn.Sequential(Conv2d(3, stem, 3, padding=1, bias=False), BatchNorm2d(stem))
        self.blocks = nn.ModuleList(Cell(cells, place) for place in _places(settings))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = Linear(N_NODES * settings.stage_channels[-1], settings.n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, size, size), size a multiple of 4 -> logits (batch, n_classes)."""
        before = last = self.stem(images)
        for block in self.blocks:
            before, last = last, block(before, last)
        logits: Tensor = self.classifier(self.head(last))
        return logits


def allocate(arch: Architecture, settings: CellSettings) -> nn.Module:
    """The network of two cells, in train mode, its parameters allocated but **not yet drawn** (see `initialise_`).

    Raises:
        ArchitectureError: if `arch` is not of this space.
    """
    return Network(cell_pair(arch), settings)


def counts(arch: Architecture, settings: CellSettings, input_size: int) -> Counts:
    """`parameter_count` and `mac_count`.

    Raises:
        ArchitectureError: as `mac_count`.
    """
    return Counts(parameter_count(arch, settings), mac_count(arch, settings, input_size))


SPACE: Final = SearchSpace(
    name=NAME,
    title="DARTS cells (NAS-Bench-301)",
    forms="darts:random:N[:SEED], darts:CELLS[;...] or darts:Genotype(...)",
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
    begins=("Genotype(",),
)

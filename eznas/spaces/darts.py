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
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
from torch import nn

from eznas.errors import ArchitectureError
from eznas.names import nearest, one_line, shown
from eznas.spaces.architecture import Architecture, check_space, text_digest
from eznas.spaces.cells import (
    Cell,
    Edge,
    Network,
    Skeleton,
    all_nodes,
    cells_of,
    edges_of,
    function_of,
    sizes,
    text_of,
)
from eznas.spaces.notation import MAX_TEXT, Call, check_sample_size, drawn_or_read, literal
from eznas.spaces.settings import N_STAGES, CellSettings, check_halved_twice
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

_CODE: Final = re.compile(r"\((?:\((?:\([0-9],[0-9]\),?){8}\),?){2}\)")
_PAIR: Final = re.compile(r"\(([0-9]),([0-9])\)")
_EXAMPLE: Final = "|skip_connect~0|sep_conv_3x3~1|+|...|...|+|...|...|+|...|...|/|max_pool_3x3~0|skip_connect~1|+..."
_GENOTYPE: Final = "Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=..., reduce=[...], reduce_concat=...)"


class Settings(CellSettings):
    """What surrounds DARTS cells, and how the network is initialised."""

    space: Literal["darts"] = NAME


FULL: Final = Settings(cells_per_stage=2, channels=32)
"""NAS-Bench-301's CIFAR-10 networks."""


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
    found = [edges_of(text, N_NODES) for text in spec.split("/")] if len(spec) < 1000 else []
    edges = [cell for cell in found if cell is not None]
    if len(found) != 2 or len(edges) != 2:
        raise _not_cells(spec)
    return CellPair(*edges)


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
    return Architecture(NAME, f"{text_of(found.normal)}/{text_of(found.reduce)}")


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
    try:
        normal, reduce = cells_of(found)
    except ValueError:
        raise _not_cells(text) from None
    for kind, cell in (("normal", normal), ("reduce", reduce)):
        if len(cell.edges) == 2 * N_NODES and cell.outputs != all_nodes(cell.edges):
            raise ArchitectureError(
                f"The output of a cell of this space is the concatenation of its nodes 2 to {N_NODES + 1}, but "
                f"{kind}_concat is {shown([*cell.outputs])}; give a genotype whose cells concatenate them all."
            )
    return CellPair(normal.edges, reduce.edges)


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
    """The text of both cells with their nodes, and the operations of every node, in the order that comes first.

    Raises:
        ArchitectureError: if `arch` is not of this space.

    Source: `eznas.spaces.cells.function_of`.
    """
    pair = cell_pair(arch)
    return f"{function_of(pair.normal)}/{function_of(pair.reduce)}"


def level(arch: Architecture) -> int:
    """Edges that hold a separable or dilated convolution, of both cells together, 0 to 16.

    Raises:
        ArchitectureError: if `arch` is not of this space.
    """
    cells = cell_pair(arch)
    return sum("_conv_" in operation for operation, _ in (*cells.normal, *cells.reduce))


# Networks -------------------------------------------------------------------------------------------------------------


def skeleton(arch: Architecture, settings: CellSettings) -> Skeleton:
    """The sequence of cells of a network.

    Raises:
        ArchitectureError: if `arch` is not of this space.
    """
    pair = cell_pair(arch)
    normal, reduce = (Cell(edges, all_nodes(edges)) for edges in (pair.normal, pair.reduce))
    return Skeleton(
        normal=normal, reduce=reduce, width=settings.channels, n_cells=N_STAGES * settings.cells_per_stage + 2,
        stem="cifar", n_classes=settings.n_classes, affine=False,
    )  # fmt: skip


def allocate(arch: Architecture, settings: CellSettings) -> nn.Module:
    """The network of two cells, in train mode, its parameters allocated but **not yet drawn** (see `initialise_`).

    Raises:
        ArchitectureError: if `arch` is not of this space.
    """
    network = Network(skeleton(arch, settings))
    network.architecture = arch
    return network


def counts(arch: Architecture, settings: CellSettings, input_size: int) -> Counts:
    """Closed-form sizes; multiply-accumulates of convolutions and the classifier with its bias, of one image.

    Raises:
        ArchitectureError: if `arch` is not of this space, or `input_size` is not a positive multiple of 4.
    """
    check_halved_twice("a DARTS network", input_size)
    return sizes(skeleton(arch, settings), input_size)


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

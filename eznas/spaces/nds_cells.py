"""The cell spaces of NDS: DARTS, Amoeba, ENAS, PNAS and NASNet cells in networks of any width and depth.

A network is two cells (see `eznas.spaces.cells`), a width and a depth. The spaces are rows of one table: they differ in
their operations, in the number of nodes of a cell, and in the nodes that leave it: all, or those that nothing in the
cell reads.

The text form is width x depth and both cells, in the manner of NAS-Bench-201:
``32x14/|sep_conv_3x3~0|skip_connect~1|+|...|...|+.../|max_pool_3x3~0|...``. The official record of a network is read
too, ``{"width": 32, "depth": 14, "genotype": {"normal": [["sep_conv_3x3", 0], ...], "normal_concat": [...], ...}}``;
what else it says, ``aux`` and ``drop_prob``, is of the training: there is no auxiliary head here.

The networks that were trained (``full`` of each space) have 32 to 96 channels, 6 to 22 cells and see 224x224 images of
ImageNet. The default is a reduced network of the same cells: an eighth of the channels and half of the cells, so that
widths and depths keep their proportions, about an eighth of the classes, so that the classifier keeps its share of the
parameters, and the stem for CIFAR, so that images may be small.

Source: `Radosavovic 2019 <https://arxiv.org/abs/1905.13214>`_, section 5.1 and appendix B, and the released code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, TypeVar

import numpy as np
from pydantic import Field
from torch import nn

from eznas.errors import ArchitectureError
from eznas.names import nearest, one_line, shown
from eznas.spaces import cells
from eznas.spaces.architecture import Architecture, check_space, text_digest
from eznas.spaces.cells import Cell, Edge, Network, Skeleton, Stem
from eznas.spaces.initialise import Scheme
from eznas.spaces.notation import MAX_TEXT, check_sample_size, drawn_or_read, literal
from eznas.spaces.settings import Classes, SpaceSettings
from eznas.spaces.space import Counts, SearchSpace

T = TypeVar("T")
WIDTHS: Final = (16, 24, 32, 48, 64, 80, 96)
"""That are drawn: of the networks trained on CIFAR-10 the first three, on ImageNet those from 32."""
DEPTHS: Final = (4, 6, 8, 10, 12, 14, 16, 18, 20, 22)
"""That are drawn."""
MAX_WIDTH: Final = 1_000
MAX_DEPTH: Final = 99
MAX_SAMPLE: Final = 1_000_000
_SPEC: Final = re.compile(r"([1-9][0-9]{0,3})x([1-9][0-9]?)/([a-z0-9_~|+]+)/([a-z0-9_~|+]+)")
_SHARE_OF_SIZE: Final = 0.25
"""How often an edit changes width or depth."""


class CellsSettings(SpaceSettings):
    """How the networks of an NDS cell space are built."""

    stem: Stem = "cifar"
    """cifar: full resolution, which the cells halve twice. imagenet: an eighth of it, as in the networks that were
    trained on 224x224 images; the size of the images must then be a multiple of 32."""
    width_divisor: Annotated[int, Field(strict=True, ge=1, le=1_000)] = 8
    """The channels of a network are its width divided by it, rounded, at least 2; 1 for the networks that were
    trained."""
    depth_divisor: Annotated[int, Field(strict=True, ge=1, le=100)] = 2
    """The cells of a network are its depth divided by it, rounded up; 1 for the networks that were trained."""
    n_classes: Classes = 120
    """Logits: 10 of CIFAR-10, 1000 of ImageNet."""
    scheme: Scheme = "eznas"
    """Initialisation: of the EZNAS release (Kaiming normal, fan out), or PyTorch's own."""


class DartsSettings(CellsSettings):
    """Of DARTS cells."""

    space: Literal["nds_darts"] = "nds_darts"


class AmoebaSettings(CellsSettings):
    """Of Amoeba cells."""

    space: Literal["nds_amoeba"] = "nds_amoeba"


class EnasSettings(CellsSettings):
    """Of ENAS cells."""

    space: Literal["nds_enas"] = "nds_enas"


class PnasSettings(CellsSettings):
    """Of PNAS cells."""

    space: Literal["nds_pnas"] = "nds_pnas"


class NasnetSettings(CellsSettings):
    """Of NASNet cells."""

    space: Literal["nds_nasnet"] = "nds_nasnet"


@dataclass(frozen=True, slots=True)
class Genotype:
    """A network.

    Attributes:
        width: channels of the first cell.
        depth: cells.
        normal: edges of the cell that keeps the resolution.
        reduce: edges of the cell that halves it.
    """

    width: int
    depth: int
    normal: tuple[Edge, ...]
    reduce: tuple[Edge, ...]

    @property
    def spec(self) -> str:
        """The text form."""
        return f"{self.width}x{self.depth}/{cells.text_of(self.normal)}/{cells.text_of(self.reduce)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSpace:
    """One of the cell spaces.

    Attributes:
        name: of the search space.
        title: for people.
        settings: the model of its settings.
        operations: that may stand on an edge.
        n_nodes: of a cell.
        outputs: edges -> the nodes whose concatenation leaves a cell.
    """

    name: str
    title: str
    settings: type[CellsSettings]
    operations: tuple[str, ...]
    n_nodes: int
    outputs: Callable[[Sequence[Edge]], tuple[int, ...]]

    # Description ------------------------------------------------------------------------------------------------------

    def genotype(self, arch: Architecture) -> Genotype:
        """The network that an architecture names.

        Raises:
            ArchitectureError: if it is not of this space.
        """
        check_space(arch, self.name)
        return self._parsed(arch.spec)

    def _parsed(self, spec: str) -> Genotype:
        match = _SPEC.fullmatch(spec) if len(spec) < 2_000 else None
        edges = [cells.edges_of(text, self.n_nodes) for text in match.groups()[2:]] if match else []
        normal, reduce = edges if len(edges) == 2 else (None, None)
        if match is None or normal is None or reduce is None:
            raise self._no_network(spec)
        return self._checked(Genotype(int(match[1]), int(match[2]), normal, reduce))

    def _no_network(self, text: str) -> ArchitectureError:
        one = f"|{self.operations[-1]}~0|{self.operations[0]}~1|"
        return ArchitectureError(
            f"Expected a network of {self.title} in the form '32x14/{one}+|...|...|+.../{one}+...' (width, depth, "
            f"normal and reduction cell of {self.n_nodes} nodes), or its record with width, depth and genotype, but "
            f"got {shown(text)}; give two operations for each node."
        )

    def _checked(self, network: Genotype) -> Genotype:
        if not (1 <= network.width <= MAX_WIDTH and 1 <= network.depth <= MAX_DEPTH):
            raise ArchitectureError(
                f"A network of {self.title} has a width of 1 to {MAX_WIDTH} and a depth of 1 to {MAX_DEPTH}, but it is "
                f"{network.width}x{network.depth}; correct that."
            )
        for kind, edges in (("normal", network.normal), ("reduction", network.reduce)):
            if len(edges) != 2 * self.n_nodes:
                raise ArchitectureError(
                    f"The {kind} cell of {self.title} has two operations for each of {self.n_nodes} nodes, but "
                    f"{len(edges)} were given; correct that."
                )
            for position, (operation, source) in enumerate(edges):
                node = position // 2 + 2
                if operation not in self.operations or not 0 <= source < node:
                    near = None if operation in self.operations else nearest(operation, self.operations)
                    raise ArchitectureError(
                        f"Node {node} of the {kind} cell of {self.title} applies one of {', '.join(self.operations)} "
                        f"to a node from 0 to {node - 1}, but it has {one_line(f'{operation}~{source}', 60)}; "
                        f"{f'did you mean {near!r}?' if near else 'correct that edge.'}"
                    )
        return network

    def architecture(self, text: str) -> Architecture:
        """The architecture of a text: ours, with spaces or without, or the official record as JSON or Python write it.

        Raises:
            ArchitectureError: if it is not a network of this space.
        """
        packed = "".join(text.split()) if len(text) <= MAX_TEXT else text
        network = self._of_record(text) if packed.startswith("{") else self._parsed(packed)
        return Architecture(self.name, network.spec)

    def _of_record(self, text: str) -> Genotype:
        try:
            found: Any = literal(text)
            width, depth = found["width"], found["depth"]
            pair = cells.cells_of(found["genotype"])
        except (ValueError, KeyError, TypeError):
            raise self._no_network(text) from None
        if type(width) is not int or type(depth) is not int:
            raise self._no_network(text)
        network = self._checked(Genotype(width, depth, pair[0].edges, pair[1].edges))
        for kind, cell in zip(("normal", "reduce"), pair, strict=True):
            expected = self.outputs(cell.edges)
            if cell.outputs != expected:
                raise ArchitectureError(
                    f"The nodes that leave a {kind} cell of {self.title} with these edges are {[*expected]}, but "
                    f"{kind}_concat is {shown([*cell.outputs])}; correct the record."
                )
        return network

    def named(self, text: str) -> tuple[Architecture, ...]:
        """The architectures of a specification.

        Args:
            text: parts separated by semicolons: ``random:N[:SEED]`` (see `sample`), or what `architecture` takes.

        Raises:
            ArchitectureError: if a part is neither.
        """
        return drawn_or_read(text, self.name, self.sample, self.architecture)

    # Drawing and changing ---------------------------------------------------------------------------------------------

    def sample(self, rng: np.random.Generator, n: int) -> tuple[Architecture, ...]:
        """Architectures no two of which compute the same.

        Width and depth are uniform over `WIDTHS` and `DEPTHS`, the operation of every edge over those of the space, and
        the node it reads over the earlier ones, each for itself.

        Raises:
            ArchitectureError: if `n` is not in 1 .. `MAX_SAMPLE`.
        """
        check_sample_size(n, MAX_SAMPLE, self.title)
        found: dict[str, Architecture] = {}
        while len(found) < n:
            width, depth = WIDTHS[rng.integers(len(WIDTHS))], DEPTHS[rng.integers(len(DEPTHS))]
            arch = Architecture(self.name, Genotype(width, depth, self._drawn(rng), self._drawn(rng)).spec)
            found.setdefault(self.function(arch), arch)
        return tuple(found.values())

    def _drawn(self, rng: np.random.Generator) -> tuple[Edge, ...]:
        codes = rng.integers(len(self.operations), size=2 * self.n_nodes)
        sources = rng.integers(np.arange(2 * self.n_nodes) // 2 + 2)
        return tuple((self.operations[code], int(source)) for code, source in zip(codes, sources, strict=True))

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """The architecture with one thing changed.

        One time in four that is the width or the depth, to another of `WIDTHS` or `DEPTHS`; else an edge of either
        cell: its operation or, as often, the node it reads. What changes and what it becomes are uniform.

        Raises:
            ArchitectureError: if `arch` is not of this space.

        Source: `Real 2019 <https://arxiv.org/abs/1802.01548>`_, section 3 (operation and hidden-state mutations).
        """
        network = self.genotype(arch)
        width, depth, edges = network.width, network.depth, [*network.normal, *network.reduce]
        if rng.random() < _SHARE_OF_SIZE:
            if rng.random() < 0.5:
                width = _other(WIDTHS, width, rng)
            else:
                depth = _other(DEPTHS, depth, rng)
        else:
            place = int(rng.integers(len(edges)))
            operation, source = edges[place]
            if rng.random() < 0.5:
                operation = _other(self.operations, operation, rng)
            else:
                source = _other(range(place % (2 * self.n_nodes) // 2 + 2), source, rng)
            edges[place] = (operation, source)
        half = 2 * self.n_nodes
        return Architecture(self.name, Genotype(width, depth, tuple(edges[:half]), tuple(edges[half:])).spec)

    def function(self, arch: Architecture) -> str:
        """Width, depth and both cells, with their nodes in the order that comes first (see `cells.function_of`).

        Raises:
            ArchitectureError: if `arch` is not of this space.
        """
        network = self.genotype(arch)
        both = (cells.function_of(edges) for edges in (network.normal, network.reduce))
        return f"{network.width}x{network.depth}/{'/'.join(both)}"

    def level(self, arch: Architecture) -> int:
        """The number of cells.

        Raises:
            ArchitectureError: if `arch` is not of this space.
        """
        return self.genotype(arch).depth

    def shape(self, arch: Architecture) -> dict[str, float]:
        """Channels of the first cells, and the number of cells.

        Raises:
            ArchitectureError: if `arch` is not of this space.
        """
        network = self.genotype(arch)
        return {"width": float(network.width), "depth": float(network.depth)}

    # Networks ---------------------------------------------------------------------------------------------------------

    def skeleton(self, arch: Architecture, settings: CellsSettings) -> Skeleton:
        """The sequence of cells of a network.

        Raises:
            ArchitectureError: if `arch` is not of this space.
        """
        network = self.genotype(arch)
        normal, reduce = (Cell(edges, self.outputs(edges)) for edges in (network.normal, network.reduce))
        return Skeleton(
            normal=normal, reduce=reduce, width=max(2, round(network.width / settings.width_divisor)),
            n_cells=-(-network.depth // settings.depth_divisor), stem=settings.stem, n_classes=settings.n_classes,
            affine=True,
        )  # fmt: skip

    def allocate(self, arch: Architecture, settings: CellsSettings) -> nn.Module:
        """The network, in train mode, its parameters allocated but **not yet drawn**: `initialise_` draws them.

        Raises:
            ArchitectureError: if `arch` is not of this space.
        """
        return Network(self.skeleton(arch, settings))

    def counts(self, arch: Architecture, settings: CellsSettings, input_size: int) -> Counts:
        """Closed-form sizes; multiply-accumulates of convolutions and the classifier with its bias, of one image.

        The ``flops`` of NDS' records, exactly: these of 224x224 images; and one for every value that a ReLU or the last
        pooling reads, nine for every value that a 3x3 pooling gives, and the depthwise convolutions with dilation as if
        they had none but the same padding, so that they give more values.

        Raises:
            ArchitectureError: if `arch` is not of this space, or `input_size` is not a positive multiple of 4, or of 32
                with the ImageNet stem.
        """
        return cells.sizes(self.skeleton(arch, settings), input_size)

    def space(self) -> SearchSpace[CellsSettings]:
        """The declaration that everything else reads."""
        return SearchSpace(
            name=self.name,
            title=self.title,
            forms=f"{self.name}:random:N[:SEED] or {self.name}:WIDTHxDEPTH/CELL/CELL[;...]",
            settings=self.settings,
            full=self.settings.model_validate(
                {"stem": "imagenet", "width_divisor": 1, "depth_divisor": 1, "n_classes": 1000}
            ),
            named=self.named,
            sample=self.sample,
            mutate=self.mutate,
            function=self.function,
            allocate=self.allocate,
            digest=text_digest,
            counts=self.counts,
            level=self.level,
            shape=self.shape,
        )


def _other(known: Sequence[T], now: T, rng: np.random.Generator) -> T:
    """One of the others, uniformly."""
    others = [value for value in known if value != now]
    return others[rng.integers(len(others))]


_POOLINGS: Final = ("avg_pool_3x3", "max_pool_3x3")
_SEPARABLE: Final = ("sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7")
CELL_SPACES: Final = MappingProxyType(
    {
        row.name: row
        for row in (
            CellSpace(
                name="nds_darts", title="DARTS cells of NDS", settings=DartsSettings, n_nodes=4,
                outputs=cells.all_nodes,
                operations=(
                    "none", *_POOLINGS, "skip_connect", *_SEPARABLE[:2], "dil_conv_3x3", "dil_conv_5x5",
                ),
            ),
            CellSpace(
                name="nds_amoeba", title="Amoeba cells of NDS", settings=AmoebaSettings, n_nodes=5,
                outputs=cells.loose_ends,
                operations=("skip_connect", *_SEPARABLE, *_POOLINGS, "dil_sep_conv_3x3", "conv_7x1_1x7"),
            ),
            CellSpace(
                name="nds_enas", title="ENAS cells of NDS", settings=EnasSettings, n_nodes=5,
                outputs=cells.loose_ends,
                operations=("skip_connect", *_SEPARABLE[:2], *_POOLINGS),
            ),
            CellSpace(
                name="nds_pnas", title="PNAS cells of NDS", settings=PnasSettings, n_nodes=5,
                outputs=cells.all_nodes,
                operations=(*_SEPARABLE, "conv_7x1_1x7", "skip_connect", *_POOLINGS, "dil_conv_3x3"),
            ),
            CellSpace(
                name="nds_nasnet", title="NASNet cells of NDS", settings=NasnetSettings, n_nodes=5,
                outputs=cells.loose_ends,
                operations=(
                    "skip_connect", "conv_3x1_1x3", "conv_7x1_1x7", "dil_conv_3x3", *_POOLINGS, "max_pool_5x5",
                    "max_pool_7x7", "conv_1x1", "conv_3x3", *_SEPARABLE,
                ),
            ),
        )
    }
)  # fmt: skip
"""The cell spaces by name."""

SPACES: Final = tuple(row.space() for row in CELL_SPACES.values())

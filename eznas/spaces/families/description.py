"""Networks of a small grammar, described: a block and how often, how wide, with which kernels, in which stage.

A description is a text such as ``residual/depth=1-2/width=8-16/kernel=3-5/groups=1/se=0/norm=batch/activation=relu/
stem=conv3/down=stride``: the block, then each field that the block has. A field of stages has one value for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from eznas.errors import ArchitectureError
from eznas.names import nearest, shown, unknown
from eznas.spaces.architecture import Architecture, check_space

NAME: Final = "net"
MAX_STAGES: Final = 5
MAX_NODES: Final = 6
MAX_TEXT: Final = 1_000
OPERATIONS: Final = ("none", "skip", "conv1", "conv3", "sep3", "sep5", "max3", "avg3")
"""What an edge of a cell may be."""
Values = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """What a description says of its networks.

    Attributes:
        values: that it may have, each as it is written.
        meaning: a clause.
        of_stages: whether every stage has a value of its own.
        default: what families say that do not name it.
    """

    values: Values
    meaning: str
    of_stages: bool = False
    default: str = ""


def _numbers(*numbers: int) -> Values:
    return tuple(map(str, numbers))


FIELDS: Final[Mapping[str, Field]] = MappingProxyType(
    {
        "depth": Field(_numbers(*range(9)), "blocks; a stage of none is left out, with its change of size", True, "1"),
        "width": Field(_numbers(*range(4, 257, 4)), "channels", True, "16"),
        "kernel": Field(_numbers(1, 3, 5, 7, 9), "pixels that a side of the block's main convolution has", True, "3"),
        "expansion": Field(("0.25", "0.5", "1", "2", "3", "4", "6"), "hidden channels by channels", True, "2"),
        "groups": Field(_numbers(1, 2, 4), "of the block's main convolution", default="1"),
        "se": Field(_numbers(0, 1), "1: squeeze-and-excitation at the end of a block", default="0"),
        "norm": Field(("batch", "group", "layer", "none"), "normalisation", default="batch"),
        "activation": Field(
            ("relu", "leaky_relu", "elu", "silu", "gelu", "hardswish", "tanh"), "activation", default="relu"
        ),
        "stem": Field(
            ("conv3", "conv5", "conv3s2", "patch2", "patch4"),
            "first convolution: of 3 or 5 pixels, with stride 2, or of patches side by side",
            default="conv3",
        ),
        "down": Field(
            ("stride", "max", "avg", "residual"),
            "halving between stages: a 3x3 convolution of stride 2, a pool and a 1x1 convolution, or a residual block",
            default="stride",
        ),
        "mixer": Field(("pool", "shift", "depthwise", "attention"), "what mixes places", default="depthwise"),
        "cell": Field((), "operation of each edge of a cell, by the node it leads to, then by the one it leaves"),
    }
)
"""What descriptions may say, in their order."""

_ALL: Final = ("depth", "width")
_CONVOLVED: Final = ("kernel", "groups", "se", "norm", "activation", "stem", "down")
BLOCKS: Final[Mapping[str, Values]] = MappingProxyType(
    {
        "plain": (*_ALL, *_CONVOLVED),
        "residual": (*_ALL, *_CONVOLVED),
        "preactivation": (*_ALL, *_CONVOLVED),
        "bottleneck": (*_ALL, "expansion", *_CONVOLVED),
        "dense": (*_ALL, *_CONVOLVED),
        "inverted": (*_ALL, "kernel", "expansion", "se", "norm", "activation", "stem", "down"),
        "branches": (*_ALL, "kernel", "se", "norm", "activation", "stem", "down"),
        "shuffle": (*_ALL, "kernel", "expansion", "groups", "norm", "activation", "stem", "down"),
        "metaformer": (*_ALL, "kernel", "expansion", "norm", "activation", "stem", "down", "mixer"),
        "cell": (*_ALL, "norm", "activation", "stem", "down", "cell"),
    }
)
"""The fields of each block."""


@dataclass(frozen=True, slots=True)
class Description:
    """A network.

    Attributes:
        block: one of `BLOCKS`.
        fields: values of its fields, as written; one for each stage, or one for all.
    """

    block: str
    fields: tuple[tuple[str, Values], ...]

    @property
    def text(self) -> str:
        """As it is written."""
        return "/".join([self.block, *(f"{name}={'-'.join(values)}" for name, values in self.fields)])

    def __getitem__(self, name: str) -> Values:
        """The values of a field."""
        return dict(self.fields)[name]

    def one(self, name: str) -> str:
        """The value of a field of the whole network; its default if the block does not have it."""
        return dict(self.fields).get(name, (FIELDS[name].default,))[0]

    def numbers(self, name: str) -> tuple[float, ...]:
        """The values of a field of stages; its default if the block does not have it."""
        found = dict(self.fields).get(name) or (FIELDS[name].default,) * len(self["depth"])
        return tuple(map(float, found))

    @property
    def arch(self) -> Architecture:
        """As an architecture of the space."""
        return Architecture(NAME, self.text)


def described(block: str, given: Mapping[str, Values]) -> Description:
    """The description of these values; stages without blocks are left out, and fields that the block lacks.

    Raises:
        ArchitectureError: if a value is missing or is none that the field may have, or a network has no way through.
    """
    if block not in BLOCKS:
        raise ArchitectureError(unknown("block", block, BLOCKS))
    names = [name for name in BLOCKS[block] if name in FIELDS]
    found: dict[str, Values] = {}
    for name in names:
        values = given.get(name, ())
        if not values:
            raise ArchitectureError(f"{shown(block)} has no {name}; give it, {FIELDS[name].meaning}.")
        for value in values:
            known = OPERATIONS if name == "cell" else FIELDS[name].values
            if value not in known:
                near = nearest(value, known)
                hint = f"did you mean {near}?" if near else f"expected one of {', '.join(known[:12])}."
                raise ArchitectureError(f"The {name} of {shown(block)} cannot be {shown(value)}; {hint}")
        found[name] = tuple(values)
    _check_stages(block, found)
    kept = [stage for stage, depth in enumerate(found["depth"]) if depth != "0"]
    for name in names:
        if FIELDS[name].of_stages:
            found[name] = tuple(found[name][stage] for stage in kept)
        elif name != "cell" and len(found[name]) != 1:
            raise ArchitectureError(f"The {name} of {shown(block)} has one value, got {len(found[name])}.")
    if "cell" in found:
        found["cell"] = _lived_in(found["cell"])
    return Description(block, tuple((name, found[name]) for name in names))


def _check_stages(block: str, found: Mapping[str, Values]) -> None:
    n_stages = len(found["depth"])
    if not 1 <= n_stages <= MAX_STAGES or found["depth"][0] == "0":
        raise ArchitectureError(
            f"{shown(block)} must have 1 to {MAX_STAGES} stages, the first with a block at least, got the depths "
            f"{shown('-'.join(found['depth']))}."
        )
    for name, values in found.items():
        if FIELDS[name].of_stages and len(values) != n_stages:
            raise ArchitectureError(
                f"The {name} of {shown(block)} must have a value for each of {n_stages} stages, got {len(values)}."
            )


def n_nodes(n_edges: int) -> int:
    """How many nodes, the input included, a cell of so many edges has.

    Raises:
        ArchitectureError: if no cell of at most `MAX_NODES` has so many.
    """
    for nodes in range(2, MAX_NODES + 1):
        if nodes * (nodes - 1) // 2 == n_edges:
            return nodes
    raise ArchitectureError(f"A cell of 2 to {MAX_NODES} nodes has 1, 3, 6, 10 or 15 edges, got {n_edges}.")


def edges(nodes: int) -> tuple[tuple[int, int], ...]:
    """The edges of a cell in the order of its text: by the node they lead to, then by the one they leave."""
    return tuple((source, node) for node in range(1, nodes) for source in range(node))


def _lived_in(cell: Values) -> Values:
    """The cell with edges that lie on no way from its input to its output taken away.

    Raises:
        ArchitectureError: if there is no such way.
    """
    ways = edges(n_nodes(len(cell)))
    used = [operation != "none" for operation in cell]
    for _ in range(MAX_NODES):
        ahead = {0} | {node for (_, node), is_used in zip(ways, used, strict=True) if is_used}
        behind = {ways[-1][1]} | {source for (source, _), is_used in zip(ways, used, strict=True) if is_used}
        used = [is_used and s in ahead and n in behind for (s, n), is_used in zip(ways, used, strict=True)]
    if not any(used):
        raise ArchitectureError(f"Cell {shown('-'.join(cell))} has no way from its input to its output; add an edge.")
    return tuple(operation if is_used else "none" for operation, is_used in zip(cell, used, strict=True))


def description(text: str) -> Description:
    """What a text describes.

    Raises:
        ArchitectureError: if it describes no network of the grammar.
    """
    if len(text) > MAX_TEXT:
        raise ArchitectureError(f"The description of a network has at most {MAX_TEXT} characters, got {len(text)}.")
    block, *parts = (part.strip() for part in text.strip().split("/"))
    given: dict[str, Values] = {}
    for part in parts:
        name, sign, values = part.partition("=")
        if block in BLOCKS and (name not in BLOCKS[block] or not sign):
            raise ArchitectureError(f"{shown(text)}: {unknown('field', name, BLOCKS[block])}")
        if name in given:
            raise ArchitectureError(f"{shown(text)} gives {name} twice; give it once.")
        given[name] = tuple(value.strip() for value in values.split("-"))
    return described(block, given)


def description_of(arch: Architecture) -> Description:
    """The description of an architecture of the space.

    Raises:
        ArchitectureError: if it is of another space, or no network.
    """
    check_space(arch, NAME)
    return description(arch.spec)

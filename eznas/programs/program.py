"""A program: an immutable, typed, hashable expression tree in prefix order.

A program is valid from the moment it exists: its constructor checks every argument of every operator. One traversal,
`fold`, gives every reading of it (value, text, SymPy, LaTeX, size, cost).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from eznas.errors import ProgramError
from primitives import (
    LAYER_SCALAR,
    NETWORK_SCALAR,
    LanguageTypeError,
    Level,
    Primitive,
    Statistic,
    Type,
)

MAX_SIZE = 1_000
"""Most nodes a program may have; programs in files and texts beyond it are refused."""
MAX_HEIGHT = 100
"""Most edges from the root to a leaf."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Constant:
    """A number in a program.

    Attributes:
        value: any finite float.
        level: of what it is a value; a constant per layer is the same for every layer.
    """

    value: float
    level: Level

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ProgramError(f"A constant must be finite, got {self.value}; programs hold no nan or inf")

    @property
    def type(self) -> Type:
        """Scalar at the constant's level."""
        return NETWORK_SCALAR if self.level is Level.NETWORK else LAYER_SCALAR

    @property
    def name(self) -> str:
        """Its text form: ``0.5`` for a network, ``0.5@layer`` for a layer."""
        number = repr(float(self.value))
        return number if self.level is Level.NETWORK else f"{number}@layer"


Node = Primitive | Statistic | Constant


def arity(node: Node) -> int:
    """Number of arguments a node takes."""
    return node.arity if isinstance(node, Primitive) else 0


@dataclass(frozen=True)
class Program:
    """An expression over network statistics.

    Attributes:
        nodes: prefix order, root first. Equal nodes make equal programs.

    Raises:
        ProgramError: if the nodes do not form exactly one tree, if it is too large or too high, or if an operator gets
            an argument of a type it is not declared for; the message names the node.
    """

    nodes: tuple[Node, ...]
    types: tuple[Type, ...] = field(init=False, repr=False, compare=False)
    spans: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """For each node, the index just past its sub-tree."""
    height: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.nodes) > MAX_SIZE:
            raise ProgramError(f"A program may have at most {MAX_SIZE} nodes, got {len(self.nodes)}; use a smaller one")
        types: list[Type | None] = [None] * len(self.nodes)
        spans = [0] * len(self.nodes)
        heights = [0] * len(self.nodes)
        stack: list[int] = []
        for index in range(len(self.nodes) - 1, -1, -1):
            node = self.nodes[index]
            n_arguments = arity(node)
            if len(stack) < n_arguments:
                raise ProgramError(f"Node {index} ({node.name!r}) takes {n_arguments} argument(s), got {len(stack)}")
            arguments = [stack.pop() for _ in range(n_arguments)]
            if isinstance(node, Primitive):
                types[index] = self._result_type(node, index, [types[a] for a in arguments])  # type: ignore[misc]
                heights[index] = 1 + max(heights[a] for a in arguments)
            else:
                types[index] = node.type
            spans[index] = spans[arguments[-1]] if arguments else index + 1
            stack.append(index)
        if len(stack) != 1:
            raise ProgramError(f"A program is one expression, got {len(stack)}; put them under one operator")
        if heights[0] > MAX_HEIGHT:
            raise ProgramError(
                f"A program may be at most {MAX_HEIGHT} levels high, got {heights[0]}; use a flatter one"
            )
        object.__setattr__(self, "types", tuple(types))
        object.__setattr__(self, "spans", tuple(spans))
        object.__setattr__(self, "height", heights[0])

    @staticmethod
    def _result_type(operator: Primitive, index: int, arguments: Sequence[Type]) -> Type:
        try:
            return operator.signature.resolve(arguments, name=operator.name)
        except LanguageTypeError as error:
            raise ProgramError(f"Ill-typed program at node {index}: {error}") from None

    @property
    def type(self) -> Type:
        """Type of the root."""
        return self.types[0]

    @property
    def is_complete(self) -> bool:
        """Whether it gives one number per network, as a proxy must."""
        return self.type == NETWORK_SCALAR

    @property
    def size(self) -> int:
        """Number of nodes."""
        return len(self.nodes)

    @cached_property
    def statistics(self) -> tuple[str, ...]:
        """Names of the statistics it reads, sorted."""
        return tuple(sorted({n.name for n in self.nodes if isinstance(n, Statistic)}))

    @cached_property
    def captured_statistics(self) -> tuple[str, ...]:
        """Names of those among them that a capture must be asked for."""
        leaves = (node for node in self.nodes if isinstance(node, Statistic))
        return tuple(sorted({leaf.name for leaf in leaves if leaf.is_on_request}))

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Names of those that are scores of published estimators, which whoever has the network computes; sorted."""
        return tuple(sorted({n.name for n in self.nodes if isinstance(n, Statistic) and n.estimator is not None}))

    @cached_property
    def reads_images(self) -> bool:
        """Whether its value depends on the batch; what it counts does not."""
        leaves = (node for node in self.nodes if isinstance(node, Statistic))
        return any(
            leaf.needs_classes
            or (leaf.is_on_request and not leaf.of_graph)
            or (leaf.estimator is not None and leaf.passes > 0)
            for leaf in leaves
        )

    @cached_property
    def needs_classes(self) -> bool:
        """Whether it looks at the classes of the images."""
        return any(isinstance(node, Statistic) and node.needs_classes for node in self.nodes)

    @cached_property
    def text(self) -> str:
        """S-expression, for example ``(mean_layers (mean weight))``; `parse` is its inverse."""
        return fold(self, leaf=lambda n: n.name, branch=lambda op, args: f"({op.name} {' '.join(args)})")

    @cached_property
    def canonical(self) -> Program:
        """The same expression with the arguments of commutative operators in a fixed order."""
        ordered = fold(self, leaf=lambda n: (n.name, (n,)), branch=_ordered)
        return Program(ordered[1])

    @cached_property
    def digest(self) -> str:
        """Hash of the canonical form: equal for programs that differ only in the order of commuting arguments."""
        return hashlib.blake2b(self.canonical.text.encode(), digest_size=8).hexdigest()

    def subprogram(self, index: int) -> Program:
        """The expression rooted at node `index`."""
        return Program(self.nodes[index : self.spans[index]])

    def children(self, index: int) -> tuple[int, ...]:
        """Indices of the arguments of node `index`."""
        found = []
        child = index + 1
        for _ in range(arity(self.nodes[index])):
            found.append(child)
            child = self.spans[child]
        return tuple(found)

    def __str__(self) -> str:
        return self.text

    def __reduce__(self) -> tuple[Any, ...]:
        """Programs travel to other processes as text: operators are code, and stay where they are."""
        from eznas.programs.text import parse

        return parse, (self.text,)

    def __len__(self) -> int:
        return len(self.nodes)


def _ordered(operator: Primitive, arguments: tuple[tuple[str, tuple[Node, ...]], ...]) -> tuple[str, tuple[Node, ...]]:
    if operator.commutative:
        arguments = tuple(sorted(arguments, key=lambda pair: pair[0]))
    text = f"({operator.name} {' '.join(pair[0] for pair in arguments)})"
    return text, (operator, *(node for pair in arguments for node in pair[1]))


def fold(
    program: Program,
    *,
    leaf: Callable[[Statistic | Constant], T],
    branch: Callable[[Primitive, tuple[T, ...]], T],
) -> T:
    """Read a program bottom-up: `leaf` for statistics and constants, `branch` for operators with folded arguments.

    Arguments are folded from the last to the first; there is no recursion, so height is no limit.
    """
    stack: list[T] = []
    for node in reversed(program.nodes):
        if isinstance(node, Primitive):
            arguments = tuple(stack.pop() for _ in range(node.arity))
            stack.append(branch(node, arguments))
        else:
            stack.append(leaf(node))
    return stack[0]

"""One operator, one declaration: types, pure torch function, SymPy form, LaTeX.

A primitive works on a stack of values at once: the leading axis of every argument runs over layers (or networks), so
one call serves many layers. ``function(x[i:i+1])`` must equal ``function(x)[i:i+1]`` for every primitive; the
conformance tests check this over the whole table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sympy
import torch
from torch import Tensor

from primitives.types import Input, Output, Signature


class ShapeError(ValueError):
    """The shapes of the arguments do not fit the operator (possible only for `Dynamic` values)."""


@dataclass(frozen=True, slots=True)
class Layers:
    """Which network each layer of a stack belongs to.

    Attributes:
        network: (n_layers,) int64, non-decreasing index of the layer's network in 0 .. n_networks - 1.
        depth: (n_layers,) int64, position of the layer within its network, in order of execution, from 0.
        n_networks: number of networks; one without layers is allowed and aggregates to NaN (or 0 for sums).
    """

    network: Tensor
    depth: Tensor
    n_networks: int

    @classmethod
    def of_one_network(cls, n_layers: int, device: torch.device | str = "cpu") -> Layers:
        """The layers of a single network, in order."""
        depth = torch.arange(n_layers, device=device)
        return cls(torch.zeros_like(depth), depth, 1)


@dataclass(frozen=True, slots=True)
class Primitive:
    """An operator of the language; see the module text for the contract of `function`.

    Attributes:
        name: how programs call it.
        signature: argument and result types.
        function: (n, ...) tensors -> (n, ...) tensor; an aggregation also takes the `Layers` as its last argument
            and maps (n_layers, ...) to (n_networks, ...).
        symbolic: the same meaning as a SymPy expression, entry by entry; None for an operator that SymPy should treat
            as an opaque function.
        latex: template with {0}, {1}, ...
        precedence: binding strength of the LaTeX form, larger binds tighter.
        commutative: whether the two arguments may be swapped.
        is_aggregation: whether it takes layers to their network.
        passes: rough number of passes over its input it costs on a CPU, the unit of `Program` cost.
    """

    name: str
    signature: Signature
    function: Callable[..., Tensor]
    symbolic: Callable[..., sympy.Expr] | None
    latex: str
    precedence: int
    commutative: bool
    is_aggregation: bool
    passes: float

    @property
    def arity(self) -> int:
        """Number of arguments in a program."""
        return len(self.signature.inputs)

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (self.function.__doc__ or "").strip().splitlines()[0]

    def __call__(self, *arguments: Any) -> Tensor:
        return self.function(*arguments)

    def to_symbolic(self, *arguments: sympy.Expr) -> sympy.Expr:
        """SymPy form applied to SymPy arguments: closed if declared, else an opaque function of this name."""
        if self.symbolic is None:
            return sympy.Function(self.name)(*arguments)
        return self.symbolic(*arguments)

    def __repr__(self) -> str:
        return f"Primitive({self.name!r})"

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Primitive) and self.name == other.name


def primitive(
    name: str,
    inputs: tuple[Input, ...],
    output: Output,
    *,
    latex: str,
    symbolic: Callable[..., sympy.Expr] | None = None,
    precedence: int = 100,
    commutative: bool = False,
    is_aggregation: bool = False,
    passes: float = 1.0,
) -> Callable[[Callable[..., Tensor]], Primitive]:
    """Declare the decorated function as a primitive; nothing is registered anywhere."""

    def declare(function: Callable[..., Tensor]) -> Primitive:
        return Primitive(
            name=name,
            signature=Signature(inputs, output),
            function=function,
            symbolic=symbolic,
            latex=latex,
            precedence=precedence,
            commutative=commutative,
            is_aggregation=is_aggregation,
            passes=passes,
        )

    return declare


def table(*primitives: Primitive) -> Mapping[str, Primitive]:
    """Primitives by name.

    Raises:
        ValueError: if two primitives share a name.
    """
    by_name: dict[str, Primitive] = {}
    for operator in primitives:
        if operator.name in by_name:
            raise ValueError(f"Two primitives are called {operator.name!r}; names must be unique")
        by_name[operator.name] = operator
    return by_name

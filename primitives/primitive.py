"""One operator, one declaration: types, pure torch function, SymPy form, LaTeX, and what algebra may rely on.

A primitive works on a stack of values at once: the leading axis of every argument runs over layers (or networks), so
one call serves many layers. ``function(x[i:i+1])`` must equal ``function(x)[i:i+1]`` for every primitive; the
conformance tests check this over the whole table, and `eznas.testing.check_primitive` checks it, and every other claim,
for an operator of your own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sympy
import torch
from torch import Tensor

from primitives.aspects import Aspect
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
        sees: what of each argument decides its result.
        bitwise: whether that holds to the last bit, and for values that are not finite. Then the evaluation of
            populations relies on it too, not only simplification, which is certified afterwards.
        keeps: what its result has in common with its one argument, to the last bit: at least the shape if it is
            declared with the type of the argument, else None.
        non_negative: whether no entry of its result is ever below zero; NaN is not.
        involution: whether, applied twice, it gives its argument back, to the last bit.
        idempotent: whether its result of two equal arguments is that argument, to the last bit.
        power: p if it is ``|x|**p``, entry by entry; else None.
        merges: the outer and the inner operator that it does in one; None if there are none.
        guarded: whether its SymPy form spells out a guard; simplification then tries it as an opaque function as well.
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
    sees: Aspect
    bitwise: bool
    keeps: Aspect | None
    non_negative: bool
    involution: bool
    idempotent: bool
    power: float | None
    merges: tuple[Primitive, Primitive] | None
    guarded: bool

    def __post_init__(self) -> None:
        is_map = self.signature.is_map
        for claim, is_made, needs, is_met in (
            ("keeps", self.keeps is not None, "a result of the type of its one argument", is_map),
            ("involution", self.involution, "a result of the type of its one argument", is_map),
            ("power", self.power is not None, "a result of the type of its one argument", is_map),
            ("idempotent", self.idempotent, "two arguments", self.arity == 2),
            ("merges", self.merges is not None, "one argument", self.arity == 1),
            ("commutative", self.commutative, "two arguments", self.arity == 2),
            ("guarded", self.guarded, "a SymPy form", self.symbolic is not None),
            ("bitwise", self.bitwise, "to see less than the values", self.sees is not Aspect.VALUES),
        ):
            if is_made and not is_met:
                raise ValueError(f"Primitive {self.name!r} claims {claim!r}, which needs {needs}; drop the claim")

    @property
    def is_identity_above_zero(self) -> bool:
        """Whether it gives back whatever has no entry below zero.

        That follows if it is non-negative itself, and keeps the magnitudes or the positive parts.
        """
        return self.non_negative and self.keeps in (Aspect.MAGNITUDES, Aspect.POSITIVE_PARTS)

    def ignores(self, inner: Primitive, *, exactly: bool) -> bool:
        """Whether it gives the same result if `inner` is applied to its argument first.

        Args:
            inner: an operator of one argument.
            exactly: to the last bit, whatever the values; else up to rounding, for finite values.
        """
        if inner.keeps is None or (exactly and not self.bitwise):
            return False
        return self.sees.follows_from(inner.keeps, exactly=exactly)

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
    sees: Aspect = Aspect.VALUES,
    bitwise: bool = False,
    keeps: Aspect | None = None,
    non_negative: bool = False,
    involution: bool = False,
    idempotent: bool = False,
    power: float | None = None,
    merges: tuple[Primitive, Primitive] | None = None,
    guarded: bool = False,
) -> Callable[[Callable[..., Tensor]], Primitive]:
    """Declare the decorated function as a primitive; nothing is registered anywhere."""

    signature = Signature(inputs, output)

    def declare(function: Callable[..., Tensor]) -> Primitive:
        return Primitive(
            name=name,
            signature=signature,
            function=function,
            symbolic=symbolic,
            latex=latex,
            precedence=precedence,
            commutative=commutative,
            is_aggregation=is_aggregation,
            passes=passes,
            sees=sees,
            bitwise=bitwise,
            keeps=keeps or (Aspect.SHAPE if signature.is_map else None),
            non_negative=non_negative,
            involution=involution,
            idempotent=idempotent,
            power=power,
            merges=merges,
            guarded=guarded,
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

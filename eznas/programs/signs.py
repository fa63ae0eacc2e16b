"""Signs of a formula: the direction inside it, and no two minus signs that cancel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from eznas.errors import ProgramError
from eznas.programs.program import Constant, Node, Program, fold
from primitives import PRIMITIVES, Aspect, Primitive, Statistic

_BLIND: Final = frozenset({Aspect.MAGNITUDES, Aspect.UP_TO_SIGN, Aspect.SHAPE, Aspect.ZEROS})
"""What an operator sees if the sign of its argument is of no matter."""
_ODD: Final = frozenset(
    {
        "mean", "sum", "mean_layers", "sum_layers", "first_layer", "last_layer", "depth_weighted_mean_layers",
        "early_mean_layers", "late_mean_layers", "slope_layers", "tanh", "sign",
    }
)  # fmt: skip
"""Operators of one argument that turn with its sign."""


@dataclass(frozen=True, slots=True)
class _Signed:
    """``sign * nodes``; `second` is where the second argument of the root begins, 0 if that is no difference."""

    sign: int
    nodes: tuple[Node, ...]
    second: int = 0

    @property
    def turned(self) -> _Signed:
        """The same, of a difference with its sign inside."""
        if self.sign > 0 or not self.second:
            return self
        first, last = self.nodes[1 : self.second], self.nodes[self.second :]
        return _Signed(1, (self.nodes[0], *last, *first), 1 + len(last))

    @property
    def closed(self) -> tuple[Node, ...]:
        """Nodes of the value, sign included."""
        turned = self.turned
        if turned.sign > 0:
            return turned.nodes
        root, *rest = turned.nodes
        if isinstance(root, Constant):
            return (Constant(-root.value, root.level),)
        if rest and root == PRIMITIVES["multiply"] and isinstance(rest[0], Constant):
            return (root, Constant(-rest[0].value, rest[0].level), *rest[1:])
        return (PRIMITIVES["negate"], *turned.nodes)


def with_signs_settled(program: Program, direction: int = 1) -> Program:
    """The formula as people write it, equal to ``direction * program`` by the algebra of real numbers.

    Minus signs move outwards until they cancel, a sum with one is a difference, and the constant of a product comes
    first. It is for reading: what is scored is the program as it is.

    Args:
        program: any.
        direction: -1 turns the formula round, so that higher is better.
    """
    found = fold(program, leaf=_leaf, branch=_branch)
    try:
        return Program(_Signed(direction * found.sign, found.nodes, found.second).closed)
    except ProgramError:  # the language has no minus for a value of that type
        return program


def _leaf(node: Statistic | Constant) -> _Signed:
    if isinstance(node, Constant) and node.value < 0:
        return _Signed(-1, (Constant(-node.value, node.level),))
    return _Signed(1, (node,))


def _branch(operator: Primitive, arguments: tuple[_Signed, ...]) -> _Signed:
    first, *others = arguments
    if operator.name == "negate":
        return _Signed(-first.sign, first.nodes, first.second)
    if operator.sees in _BLIND:
        return _Signed(1, (operator, *(node for one in arguments for node in one.nodes)))
    if operator.name in _ODD and not others:
        turned = first.turned
        return _Signed(turned.sign, (operator, *turned.nodes))
    if operator.name in ("add", "subtract"):
        second = others[0] if operator.name == "add" else _Signed(-others[0].sign, others[0].nodes, others[0].second)
        return _sum(first.turned, second.turned)
    if operator.name in ("multiply", "divide"):
        one, other = first.turned, others[0].turned
        sign = one.sign * other.sign
        is_behind = isinstance(other.nodes[0], Constant) and not isinstance(one.nodes[0], Constant)
        if operator.name == "multiply" and is_behind:
            one, other = other, one
        return _Signed(sign, (operator, *one.nodes, *other.nodes))
    return _Signed(1, (operator, *(node for one in arguments for node in one.closed)))


def _sum(one: _Signed, other: _Signed) -> _Signed:
    if one.sign == other.sign:
        return _Signed(one.sign, (PRIMITIVES["add"], *one.nodes, *other.nodes))
    if one.sign < 0:
        one, other = other, one
    return _Signed(1, (PRIMITIVES["subtract"], *one.nodes, *other.nodes), 1 + len(one.nodes))

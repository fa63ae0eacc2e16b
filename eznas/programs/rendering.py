"""Programs as formulas: SymPy expressions and LaTeX."""

from __future__ import annotations

from typing import Final

import sympy

from eznas.programs.program import Constant, Program, fold
from primitives import Primitive, Statistic

_ATOM = 1_000
_MINUS = 15
_MARKED = 25
"""Symbols with a superscript or a nabla: they multiply without brackets, a power needs some."""


def symbol(name: str) -> sympy.Symbol:
    """The SymPy symbol of a statistic; real, so that |x|² = x²."""
    return sympy.Symbol(name, real=True)


def to_sympy(program: Program) -> sympy.Expr:
    """SymPy expression; tensors appear as symbols of their entries, reductions and kernels as opaque functions."""
    return fold(
        program,
        leaf=lambda n: sympy.Float(n.value) if isinstance(n, Constant) else symbol(n.name),
        branch=lambda op, args: op.to_symbolic(*args),
    )


_SIGNS: Final = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}


def to_infix(program: Program) -> str:
    """One line as people write formulas: ``0.5 * sum_layers(norm(weight)) + log(mac_count)``.

    Division and logarithm are those of the language, which have a value everywhere.
    """
    return fold(program, leaf=_infix_leaf, branch=_infix_branch)[0]


def _infix_leaf(node: Statistic | Constant) -> tuple[str, int]:
    if isinstance(node, Statistic):
        return node.name, _ATOM
    return f"{node.value:.6g}", (_ATOM if node.value >= 0 else _MINUS)


def _infix_branch(operator: Primitive, arguments: tuple[tuple[str, int], ...]) -> tuple[str, int]:
    sign = _SIGNS.get(operator.name)
    if operator.name == "negate":
        ((text, binds),) = arguments
        return f"-{text if binds > _MINUS else f'({text})'}", _MINUS
    if sign is None:
        return f"{operator.name}({', '.join(text for text, _ in arguments)})", _ATOM
    strength = 10 if sign in "+-" else 20
    (left, binds_left), (right, binds_right) = arguments
    if binds_left == _MINUS and strength > _MINUS and left[1:2] != "(":  # -2 * x needs brackets itself, not its number
        strength_of_whole = _MINUS
    else:
        strength_of_whole = strength
        left = left if binds_left >= strength else f"({left})"
    may_follow = (binds_right > strength and binds_right != _MINUS) or (binds_right == strength and sign in "+*")
    return f"{left} {sign} {right if may_follow else f'({right})'}", strength_of_whole


def to_latex(program: Program) -> str:
    """LaTeX formula, bracketed by precedence; within the subset that matplotlib's mathtext typesets."""
    return fold(program, leaf=_leaf, branch=_branch)[0]


def _leaf(node: Statistic | Constant) -> tuple[str, int]:
    if isinstance(node, Statistic):
        return f"{{{node.latex}}}", (_MARKED if "^" in node.latex else _ATOM)
    mantissa, _, exponent = f"{node.value:.4g}".partition("e")
    text = rf"{mantissa} \times 10^{{{int(exponent)}}}" if exponent else mantissa
    return text, (_ATOM if node.value >= 0 and not exponent else 15)


def _branch(operator: Primitive, arguments: tuple[tuple[str, int], ...]) -> tuple[str, int]:
    """Template with its arguments; brackets where an argument binds no tighter than the operator."""
    least = [0 if operator.precedence >= 100 else operator.precedence + 1] * len(arguments)
    if operator.name in _CHAINS:
        least = [*_CHAINS[operator.name]]
    texts = [
        text if strength >= enough else rf"\left({text}\right)"
        for (text, strength), enough in zip(arguments, least, strict=True)
    ]
    return operator.latex.format(*texts), operator.precedence


_CHAINS: Final = {"add": (10, 10), "subtract": (10, 12), "multiply": (20, 20)}
"""How tightly the two arguments must bind to need no brackets, of operators that are read from left to right."""

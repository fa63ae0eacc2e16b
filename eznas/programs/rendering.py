"""Programs as formulas: SymPy expressions and LaTeX."""

from __future__ import annotations

from typing import Final

import sympy

from eznas.programs.program import Constant, Program, fold
from eznas.programs.turning import directed
from primitives import Primitive, Statistic

_ATOM = 1_000
_FACTOR = 20
"""Products and what binds tighter: a minus before them needs no brackets."""
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


def directed_sympy(program: Program, direction: int) -> sympy.Expr:
    """`to_sympy` of a program for which higher is better, see `directed_infix`."""
    shown, has_minus = directed(program, direction)
    return -to_sympy(shown) if has_minus else to_sympy(shown)


_SIGNS: Final = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}


def to_infix(program: Program) -> str:
    """One line as people write formulas: ``0.5 * sum_layers(norm(weight)) + log(mac_count)``.

    Division and logarithm are those of the language, which have a value everywhere.
    """
    return fold(program, leaf=_infix_leaf, branch=_infix_branch)[0]


def _infix_leaf(node: Statistic | Constant) -> tuple[str, int]:
    if isinstance(node, Statistic):
        return node.name, _ATOM
    return f"{node.value:.6g}", (_ATOM if node.value >= 0 else 15)


def _infix_branch(operator: Primitive, arguments: tuple[tuple[str, int], ...]) -> tuple[str, int]:
    if operator.name == "negate":
        (text, strength), *_ = arguments
        return (f"-{text}" if strength >= 20 else f"-({text})"), 15
    sign = _SIGNS.get(operator.name)
    if sign is None:
        return f"{operator.name}({', '.join(text for text, _ in arguments)})", _ATOM
    strength = 10 if sign in "+-" else 20
    (left, binds_left), (right, binds_right) = arguments
    left = left if binds_left >= strength else f"({left})"
    may_follow = binds_right > strength or (binds_right == strength and sign in "+*")
    return f"{left} {sign} {right if may_follow else f'({right})'}", strength


def to_latex(program: Program, *, direction: int = 1, smoothed: bool = False) -> str:
    """LaTeX formula, bracketed by precedence; within the subset that matplotlib's mathtext typesets.

    Args:
        program: any.
        direction: -1 gives its opposite, for which higher is better where lower values of the program are; a minus is
            written only where it does not go into the formula.
        smoothed: write divisions as what they are, ``x y / (y² + ε²)``, rather than as plain fractions.
    """
    shown, has_minus = directed(program, direction)
    text, strength = fold(shown, leaf=_leaf, branch=_smoothed_branch if smoothed else _branch)
    if not has_minus:
        return text
    return f"-{text}" if strength >= _FACTOR else rf"-\left({text}\right)"


def directed_infix(program: Program, direction: int) -> str:
    """`to_infix` of a program for which higher is better; a minus stands only where it does not go into the formula."""
    shown, has_minus = directed(program, direction)
    text, strength = fold(shown, leaf=_infix_leaf, branch=_infix_branch)
    if not has_minus:
        return text
    return f"-{text}" if strength >= 20 else f"-({text})"


def _leaf(node: Statistic | Constant) -> tuple[str, int]:
    if isinstance(node, Statistic):
        return f"{{{node.latex}}}", (_MARKED if "^" in node.latex else _ATOM)
    mantissa, _, exponent = f"{node.value:.4g}".partition("e")
    text = rf"{mantissa} \times 10^{{{int(exponent)}}}" if exponent else mantissa
    return text, (_ATOM if node.value >= 0 and not exponent else 15)


_LEFT_FIRST: Final = {"add": 10, "subtract": 10, "multiply": 20}
"""Operators that are read from the left: what binds as much stands before them without brackets."""


def _branch(operator: Primitive, arguments: tuple[tuple[str, int], ...]) -> tuple[str, int]:
    """Template with its arguments; brackets where an argument binds no tighter than the operator."""
    encloses = operator.precedence >= 100
    least = [operator.precedence + 1] * len(arguments)
    if operator.name in _LEFT_FIRST:
        least[0] = _LEFT_FIRST[operator.name]
    texts = [
        text if encloses or strength >= bound else rf"\left({text}\right)"
        for (text, strength), bound in zip(arguments, least, strict=True)
    ]
    return operator.latex.format(*texts), operator.precedence


def _smoothed_branch(operator: Primitive, arguments: tuple[tuple[str, int], ...]) -> tuple[str, int]:
    """As `_branch`, and a division with the floor of its denominator."""
    if operator.name != "divide":
        return _branch(operator, arguments)
    (above, strength), (below, strength_below) = arguments
    above = above if strength > _FACTOR else rf"\left({above}\right)"
    factor = below if strength_below > _FACTOR else rf"\left({below}\right)"
    power = below if strength_below > 30 else rf"\left({below}\right)"
    return rf"\frac{{{above} \cdot {factor}}}{{{power}^{{2}} + \varepsilon^{{2}}}}", operator.precedence

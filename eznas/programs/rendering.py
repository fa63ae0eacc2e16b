"""Programs as formulas: SymPy expressions and LaTeX."""

from __future__ import annotations

import sympy

from eznas.programs.program import Constant, Program, fold
from primitives import Primitive, Statistic

_ATOM = 1_000
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
    encloses = operator.precedence >= 100
    texts = [
        text if encloses or strength > operator.precedence else rf"\left({text}\right)" for text, strength in arguments
    ]
    return operator.latex.format(*texts), operator.precedence

"""Pairs of operators that one operator says alone: identities that hold for every finite value, without rounding.

Algebra cannot see them because reductions, kernels and aggregations are opaque to it.
"""

from __future__ import annotations

from collections.abc import Mapping

from eznas.errors import ProgramError
from eznas.programs import Node, Program, fold
from primitives import PRIMITIVES, Primitive

Nodes = tuple[Node, ...]

_SAME_SIGN = ("relu", "sign", "heaviside")
_EVERYWHERE_ALIKE = (
    "abs", "negate", "square", "sqrt", "log", "exp", "sigmoid", "tanh", "relu", "sign", "heaviside", "standardise",
    "log_positive", "abs_log", "z_normalise", "invert", "softmax", "ones_like", "zeros_like", "positive", "negative",
)  # fmt: skip
"""Unary operators whose result has the shape of their argument."""

MERGED: Mapping[tuple[str, str], str] = {
    ("mean", "abs"): "mean_abs",
    ("mean", "heaviside"): "share_positive",
    ("element_mean", "abs"): "element_mean_abs",
    ("sum_layers", "log"): "log_sum_layers",
}
"""(outer, inner) -> the one operator that does both."""

SUPERFLUOUS: Mapping[str, tuple[str, ...]] = {
    "mean_abs": ("abs", "negate"),
    "element_mean_abs": ("abs", "negate"),
    "frobenius_norm": ("abs", "negate"),
    "element_norm": ("abs", "negate"),
    "standard_deviation": ("negate",),
    "spread_layers": ("negate",),
    "log_sum_layers": ("abs", "negate"),
    "share_positive": _SAME_SIGN,
    "positive": _SAME_SIGN,
    "agreement_kernel": _SAME_SIGN,
    "row_share_dead": ("abs", "negate", "sign"),
    "off_diagonal_mean_abs": ("abs", "negate"),
    "gram_kernel": ("negate",),
    "correlation_kernel": ("negate",),
    "channel_covariance": ("negate",),
    "filter_correlation": ("negate",),
    "log_abs_determinant": ("negate",),
    "spectral_entropy": ("negate",),
    "condition_number": ("negate",),
    "numel": _EVERYWHERE_ALIKE,
    "element_count": _EVERYWHERE_ALIKE,
    "ones_like": _EVERYWHERE_ALIKE,
    "zeros_like": _EVERYWHERE_ALIKE,
}
"""Outer operator -> inner ones that it undoes the effect of, or never sees."""


NON_NEGATIVE = frozenset({
    "abs", "square", "sqrt", "exp", "sigmoid", "relu", "heaviside",
    "mean_abs", "standard_deviation", "frobenius_norm", "share_positive", "numel", "row_share_dead", "condition_number",
    "off_diagonal_mean_abs", "spread_layers", "element_norm", "element_mean_abs", "element_count", "hamming",
    "positive", "negative", "less", "greater", "equal", "softmax", "ones_like", "zeros_like", "abs_log",
    "parameter_count", "mac_count", "unit_count",
})  # fmt: skip
"""Names of operators and statistics whose values are never below zero: their magnitude is themselves."""


def merge(program: Program, vocabulary: frozenset[str]) -> Program:
    """The program with neighbouring operators merged as far as the rules go.

    Args:
        program: any program.
        vocabulary: names of the operators that may be introduced.
    """
    return Program(fold(program, leaf=lambda n: (n,), branch=lambda op, args: _merged(op, args, vocabulary)))


def _merged(operator: Primitive, arguments: tuple[Nodes, ...], vocabulary: frozenset[str]) -> Nodes:
    while len(arguments) == 1 and isinstance(inner := arguments[0][0], Primitive):
        rest = arguments[0][1:]
        if operator.name in ("abs", "relu") and inner.name in NON_NEGATIVE:
            return arguments[0]
        if inner.name in SUPERFLUOUS.get(operator.name, ()):
            arguments = (rest,)
            continue
        name = MERGED.get((operator.name, inner.name))
        if name is None or name not in vocabulary or not _is_typed((PRIMITIVES[name], *rest)):
            break
        operator, arguments = PRIMITIVES[name], (rest,)
    return (operator, *(node for argument in arguments for node in argument))


def _is_typed(nodes: Nodes) -> bool:
    """Whether the nodes make a program; a merged operator may be declared for fewer types than the pair."""
    try:
        Program(nodes)
    except ProgramError:
        return False
    return True

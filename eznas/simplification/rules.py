"""Pairs of operators that one operator says alone, by what the operators declare of themselves.

Algebra cannot see most of them because reductions, kernels and aggregations are opaque to it.
"""

from __future__ import annotations

from collections.abc import Mapping

from eznas.errors import ProgramError
from eznas.programs import Node, Program, fold
from primitives import PRIMITIVES, Primitive

Nodes = tuple[Node, ...]

_MERGED: Mapping[tuple[Primitive, Primitive], Primitive] = {p.merges: p for p in PRIMITIVES.values() if p.merges}
"""(outer, inner) -> the one operator that does both."""


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
        if operator.is_identity_above_zero and inner.non_negative:
            return arguments[0]
        if operator.symbolic is None and operator.ignores(inner, exactly=False):
            arguments = (rest,)
            continue
        both = _MERGED.get((operator, inner))
        if both is None or both.name not in vocabulary or not _is_typed((both, *rest)):
            break
        operator, arguments = both, (rest,)
    return (operator, *(node for argument in arguments for node in argument))


def _is_typed(nodes: Nodes) -> bool:
    """Whether the nodes make a program; a merged operator may be declared for fewer types than the pair."""
    try:
        Program(nodes)
    except ProgramError:
        return False
    return True

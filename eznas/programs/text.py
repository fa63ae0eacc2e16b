"""The text form of programs: S-expressions, for people, logs and command lines."""

from __future__ import annotations

import re
from collections.abc import Iterable

from eznas.errors import ProgramError
from eznas.names import nearest
from eznas.programs.program import MAX_SIZE, Constant, Node, Program
from primitives import PRIMITIVES, STATISTICS, Level, Primitive

MAX_TEXT = 100_000
"""Most characters a program text may have."""

_TOKEN = re.compile(r"[()]|[^\s()]+")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?(@layer)?")


def parse(text: str) -> Program:
    """The program an S-expression describes; inverse of `Program.text`.

    Raises:
        ProgramError: naming the token at fault: unknown, misplaced, missing; or if the expression is ill-typed, too
            large or too high.
    """
    if len(text) > MAX_TEXT:
        raise ProgramError(f"A program text may have at most {MAX_TEXT} characters, got {len(text)}; use a smaller one")
    nodes: list[Node] = []
    open_operators: list[list[int]] = []  # [position of the operator in `nodes`, arguments seen so far]
    tokens = _TOKEN.findall(text)
    if not tokens:
        raise ProgramError("A program text is an expression such as (mean_layers (mean weight)), got nothing")
    position = 0
    while position < len(tokens):
        token = tokens[position]
        if nodes and not open_operators:
            raise ProgramError(f"Unexpected {token!r} after the end of the program; a program is one expression")
        if token == ")":
            _close(nodes, open_operators)
        elif token == "(":
            position += 1
            if position == len(tokens):
                raise ProgramError("The program text ends after '('; an operator name must follow")
            nodes.append(_operator(tokens[position]))
            if open_operators:
                open_operators[-1][1] += 1
            open_operators.append([len(nodes) - 1, 0])
        else:
            nodes.append(_leaf(token))
            if open_operators:
                open_operators[-1][1] += 1
        if len(nodes) > MAX_SIZE:
            raise ProgramError(f"A program may have at most {MAX_SIZE} nodes; the text has more: use a smaller one")
        position += 1
    if open_operators:
        raise ProgramError(f"The program text ends inside '({nodes[open_operators[-1][0]].name}'; a ')' is missing")
    return Program(tuple(nodes))


def _close(nodes: list[Node], open_operators: list[list[int]]) -> None:
    if not open_operators:
        raise ProgramError("Unexpected ')' at the start of the program; every ')' closes a '('")
    index, n_arguments = open_operators.pop()
    operator = nodes[index]
    assert isinstance(operator, Primitive)
    if n_arguments != operator.arity:
        raise ProgramError(
            f"Node {index} ({operator.name!r}) takes {operator.arity} argument(s), got {n_arguments} in the text"
        )


def operator_named(name: str) -> Primitive:
    """The primitive of that name.

    Raises:
        ProgramError: with the name that was probably meant.
    """
    if name in PRIMITIVES:
        return PRIMITIVES[name]
    if name in STATISTICS:
        raise ProgramError(f"{name!r} is a statistic, which takes no arguments; an operator is expected in its place")
    raise ProgramError(f"Unknown operator {_shown(name)}{_nearest(name, PRIMITIVES)}")


def leaf_named(name: str) -> Node:
    """The statistic of that name.

    Raises:
        ProgramError: with the name that was probably meant.
    """
    if name in STATISTICS:
        return STATISTICS[name]
    if name in PRIMITIVES:
        raise ProgramError(f"{name!r} is an operator, which takes arguments; a statistic is expected in its place")
    raise ProgramError(f"Unknown statistic {_shown(name)}{_nearest(name, STATISTICS)}")


def _operator(token: str) -> Primitive:
    if token in "()":
        raise ProgramError(f"Expected an operator name after '(', got {token!r}")
    return operator_named(token)


def _leaf(token: str) -> Node:
    if token in PRIMITIVES:
        raise ProgramError(f"Operator {token!r} stands without its arguments; write ({token} ...)")
    if _NUMBER.fullmatch(token):
        number, _, level = token.partition("@")
        return Constant(float(number), Level.LAYER if level else Level.NETWORK)
    return leaf_named(token)


def _shown(name: str) -> str:
    return repr(name if len(name) <= 60 else name[:57] + "...")


def _nearest(name: str, known: Iterable[str]) -> str:
    near = nearest(name, known)
    return f"; did you mean {near!r}?" if near else "; see docs/language.md for the vocabulary"

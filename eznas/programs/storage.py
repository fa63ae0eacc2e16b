"""The stored form of programs: a versioned JSON tree of operator names. A file from a stranger is data."""

from __future__ import annotations

import json
import reprlib
from pathlib import Path
from typing import Any

from eznas.errors import ProgramError
from eznas.forms import json_of
from eznas.programs.program import MAX_SIZE, Constant, Node, Program, fold
from eznas.programs.text import leaf_named, operator_named
from primitives import Level, Primitive, Statistic

FORMAT = "eznas-program"
VERSION = 1
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 2, 60, 60, 40
MAX_BYTES = 1_000_000
"""Largest program file that is read."""


def to_tree(program: Program) -> dict[str, Any]:
    """JSON-ready tree: ``{"op": name, "args": [...]}``, ``{"leaf": name}`` or ``{"constant": x, "level": ...}``."""
    return fold(program, leaf=_leaf_tree, branch=lambda op, args: {"op": op.name, "args": list(args)})


def to_json(program: Program, *, direction: int = 1) -> str:
    """The stored form as text; `direction` is -1 if a lower value predicts a higher accuracy."""
    return json.dumps(
        {"format": FORMAT, "version": VERSION, "direction": direction, "root": to_tree(program)}, indent=1
    )


def from_json(text: str) -> Program:
    """The program a stored form describes; inverse of `to_json`.

    Raises:
        ProgramError: if the text is not JSON, not this format and version, names something unknown, is ill-typed, too
            large or too high.
    """
    return directed_from_json(text)[0]


def directed_from_json(text: str) -> tuple[Program, int]:
    """The program a stored form describes, and its direction: 1 unless the form says -1.

    Raises:
        ProgramError: as `from_json`, or if the direction is neither.
    """
    if len(text) > MAX_BYTES:
        raise ProgramError(f"A program file may have at most {MAX_BYTES} bytes, got {len(text)}; use a smaller program")
    try:
        document = json_of(text)
    except ValueError as error:
        raise ProgramError(f"Not a program file: invalid JSON ({error}); expected format {FORMAT!r}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ProgramError(f'Not a program file: expected an object with "format": "{FORMAT}"')
    if document.get("version") != VERSION:
        version = _SHORT.repr(document.get("version"))
        raise ProgramError(f"Program file of version {version}; this release reads version {VERSION}: export it anew")
    direction = document.get("direction", 1)
    if isinstance(direction, bool) or direction not in (1, -1):
        raise ProgramError(f"The direction of a program is 1 or -1, got {_SHORT.repr(direction)}")
    return from_tree(document.get("root")), int(direction)


def from_tree(tree: Any) -> Program:
    """The program a JSON tree describes; inverse of `to_tree`.

    Raises:
        ProgramError: as `from_json`.
    """
    nodes: list[Node] = []
    pending = [tree]
    while pending:
        node, arguments = _node(pending.pop())
        nodes.append(node)
        pending.extend(reversed(arguments))
        if len(nodes) + len(pending) > MAX_SIZE:
            raise ProgramError(f"A program may have at most {MAX_SIZE} nodes; the file has more: use a smaller program")
    return Program(tuple(nodes))


def load(path: Path) -> Program:
    """The program stored in a file.

    Raises:
        ProgramError: as `from_json`, naming the file.
    """
    return load_directed(path)[0]


def load_directed(path: Path) -> tuple[Program, int]:
    """The program stored in a file, and its direction.

    Raises:
        ProgramError: as `from_json`, naming the file.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ProgramError(f"the file has more than {MAX_BYTES} bytes, at most {MAX_BYTES} are read")
        return directed_from_json(content.decode("utf-8"))
    except OSError as error:
        raise ProgramError(f"Cannot read program file {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ProgramError(f"Program file {path} is not UTF-8 text; expected JSON of format {FORMAT!r}") from None
    except ProgramError as error:
        raise ProgramError(f"{path}: {error}") from None


def _leaf_tree(node: Statistic | Constant) -> dict[str, Any]:
    if isinstance(node, Constant):
        return {"constant": node.value, "level": node.level.value}
    return {"leaf": node.name}


def _node(tree: Any) -> tuple[Node, list[Any]]:
    if isinstance(tree, dict):
        keys = set(tree)
        if keys == {"op", "args"} and isinstance(tree["op"], str) and isinstance(tree["args"], list):
            return _checked_arity(operator_named(tree["op"]), tree["args"]), tree["args"]
        if keys == {"leaf"} and isinstance(tree["leaf"], str):
            return leaf_named(tree["leaf"]), []
        if keys == {"constant", "level"}:
            return _constant(tree["constant"], tree["level"]), []
    raise ProgramError(
        f'A node of a program file is {{"op", "args"}}, {{"leaf"}} or {{"constant", "level"}}, got {_SHORT.repr(tree)}'
    )


def _checked_arity(operator: Primitive, arguments: list[Any]) -> Primitive:
    if len(arguments) != operator.arity:
        raise ProgramError(f"Operator {operator.name!r} takes {operator.arity} argument(s), got {len(arguments)}")
    return operator


def _constant(value: Any, level: Any) -> Constant:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProgramError(f"A constant must be a number, got {_SHORT.repr(value)}")
    levels = {item.value: item for item in Level}
    if not isinstance(level, str) or level not in levels:
        raise ProgramError(f"The level of a constant is 'layer' or 'network', got {_SHORT.repr(level)}")
    try:
        return Constant(float(value), levels[level])
    except OverflowError:
        raise ProgramError(f"A constant must be finite, got {_SHORT.repr(value)}; the largest is 1.8e308") from None

"""Stored forms: frozen models with size limits, and one sentence for whatever is wrong with a file.

Every file that is read back (settings, manifest, checkpoint, front, scores, proxy) is a `Form` beside its writer and
its reader. What a file holds is data: it is parsed as JSON or TOML, checked field by field, and never executed.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import sys
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from eznas.errors import EznasError
from eznas.names import nearest, one_line, shown

MAX_BYTES: Final = 64_000_000
"""Largest file that is read by default."""
MAX_LINE_BYTES: Final = 16_000_000
"""Longest line that is read of a file that grows."""
F = TypeVar("F", bound="Form")
_HALF: Final = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")
"""How JSON writes half of a character that takes two of its units; one alone cannot be written to any file."""
_STORED: Final = {"stored": True}


class Form(BaseModel):
    """Data with a fixed shape: frozen, typed, finite, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def json_of(text: str | bytes) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: whatever is wrong with it, too deep nesting, too long numbers and halves of characters included.
    """
    try:
        found = json.loads(text)
        if _HALF.search(text if isinstance(text, str) else text.decode(errors="replace")):
            json.dumps(found, ensure_ascii=False).encode()  # raises where one stands without the other
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return found


def toml_of(text: str) -> dict[str, Any]:
    """What a TOML text says.

    Raises:
        ValueError: as `json_of`.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def is_stored(context: object) -> bool:
    """Whether a form is made of what a file says, by the context that its ``model_post_init`` is given."""
    return context is _STORED


def read_form(form: type[F], path: Path, *, error: type[EznasError], remedy: str, max_bytes: int = MAX_BYTES) -> F:
    """The form in a JSON file.

    Args:
        form: what the file must hold.
        path: of the file.
        error: to raise.
        remedy: what a user can do about a damaged file, as the end of a sentence.
        max_bytes: of the file.

    Raises:
        EznasError: `error`, if the file cannot be read, is larger, is not JSON or holds something else; one sentence.
    """
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as problem:
        raise error(f"Cannot read {path}: {problem.strerror or problem}") from None
    if len(content) > max_bytes:
        raise error(f"{path} has more than {max_bytes} bytes, at most {max_bytes} are read; {remedy}")
    return form_of(form, content, where=str(path), error=error, remedy=remedy)


def read_form_lines(
    form: type[F], path: Path, *, error: type[EznasError], remedy: str, n_bytes: int | None = None
) -> list[F]:
    """The forms in a file that grows, one a line; a torn last line is left out, a missing file is empty.

    It is read line by line up to the size that it has at the beginning, so that others may append to it meanwhile.

    Args:
        form: what each line must hold.
        path: of the file.
        error: to raise.
        remedy: what a user can do about a damaged file, as the end of a sentence.
        n_bytes: up to which it is read; all of it without.

    Raises:
        EznasError: `error`, if the file cannot be read or is shorter, or a line is too long or another damaged; one
            sentence.
    """
    found: list[F] = []
    line, n_there = b"", 0
    try:
        if path.exists():
            with path.open("rb") as file:
                n_there = os.fstat(file.fileno()).st_size
                left = n_there if n_bytes is None else min(n_bytes, n_there)
                while (line := file.readline(min(left, MAX_LINE_BYTES + 1))).endswith(b"\n"):
                    left -= len(line)
                    where = f"{path}, line {len(found) + 1}"
                    found.append(form_of(form, line, where=where, error=error, remedy=remedy))
    except OSError as problem:
        raise error(f"Cannot read {path}: {problem.strerror or problem}") from None
    if n_bytes is not None and n_there < n_bytes:
        raise error(f"{path} has {n_there} bytes, expected {n_bytes}; {remedy}")
    if len(line) > MAX_LINE_BYTES:
        number = len(found) + 1
        raise error(f"{path}, line {number} has more than {MAX_LINE_BYTES} bytes, as many are read; {remedy}")
    return found


def form_of(form: type[F], text: str | bytes, *, where: str, error: type[EznasError], remedy: str) -> F:
    """The form a JSON text describes.

    Raises:
        EznasError: `error`, if it is not JSON or something else; one sentence.
    """
    try:
        data = json_of(text)
    except ValueError:
        raise error(f"{where} is not valid JSON; the file is damaged: {remedy}") from None
    if not isinstance(data, dict):
        raise error(f"{where} must hold a JSON object, got {shown(data)}; the file is damaged: {remedy}")
    expected = {name: field.default for name, field in form.model_fields.items() if name in ("format", "version")}
    found = {name: data.get(name) for name in expected}
    if found != expected:
        raise error(
            f"{where} has format {shown(data.get('format'))} version {shown(data.get('version'))}; this release reads "
            f"{' version '.join(str(value) for value in expected.values())}: {remedy}"
        )
    try:
        return form.model_validate(data, context=_STORED)
    except ValidationError as problem:
        raise error(f"{sentence(problem, where, form)}; {remedy}") from None


def sentence(error: ValidationError, where: str, form: type[BaseModel]) -> str:
    """What is wrong first, and where, in one sentence; with the nearest known key for an unknown one."""
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return _sentence(error.errors()[0], where, form, more)


def sentences(error: ValidationError, where: str, form: type[BaseModel]) -> tuple[str, ...]:
    """Everything that is wrong, one sentence each."""
    return tuple(_sentence(one, where, form) for one in error.errors())


def _sentence(first: Any, where: str, form: type[BaseModel], more: str = "") -> str:
    path = one_line(".".join(str(part)[:60] for part in first["loc"][:8]))
    if first["type"] == "extra_forbidden":
        return f"Unknown key {path!r} in {where}; {_hint(form, first['loc'])}{more}"
    message = one_line(first["msg"].removeprefix("Value error, "), 300)
    message = message[0].lower() + message[1:] if not message[:2].isupper() else message
    said = first["type"] in ("missing", "value_error", "union_tag_invalid")  # the message says what was given
    given = "" if said else f", got {shown(first['input'])}"
    return f"Setting {path!r} in {where}: {message}{given}{more}" if path else f"{where}: {message}{given}{more}"


def meanings(form: type[BaseModel]) -> dict[str, str]:
    """What the docstrings beside the fields of a form say, on one line each, inherited ones too."""
    found: dict[str, str] = {}
    for model in reversed(form.__mro__):
        if issubclass(model, Form):
            found |= _documented(model.__module__).get(model.__name__, {})
    return {name: text for name, text in found.items() if name in form.model_fields}


@cache
def _documented(module: str) -> dict[str, dict[str, str]]:
    """The docstrings beside the fields of each class of a module, read in its source; none without it."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError, KeyError):
        return {}
    found: dict[str, dict[str, str]] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            for field, said in zip(node.body, node.body[1:], strict=False):
                match field, said:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                        found.setdefault(node.name, {})[name] = " ".join(text.split())
    return found


def _hint(form: type[BaseModel], path: Sequence[int | str]) -> str:
    """The nearest known key, here or in another section, or all keys that are known here."""
    here = _section(form, path[:-1])
    if here is None:
        return "leave it out"
    known = list(here.model_fields)
    dotted = {key: f"{name}.{key}" for name, section in _sections(form) for key in section.model_fields}
    dotted |= {key: ".".join([*map(str, path[:-1]), key]) for key in known}
    close = nearest(str(path[-1]), [*known, *dotted])
    return f"did you mean {dotted[close]!r}?" if close else f"known keys are {', '.join(known)}"


def _sections(form: type[BaseModel]) -> list[tuple[str, type[BaseModel]]]:
    return [
        (name, field.annotation)
        for name, field in form.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    ]


def _section(form: type[BaseModel], path: Sequence[int | str]) -> type[BaseModel] | None:
    found: type[BaseModel] | None = form
    for part in path:
        if isinstance(part, int) or found is None:
            continue
        field = found.model_fields.get(part)
        found = _model(field.annotation) if field is not None else None
    return found


def _model(annotation: Any) -> type[BaseModel] | None:
    """The model in an annotation such as ``Model``, ``Model | None`` or ``tuple[Model, ...]``; the first there is."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if isinstance(annotation, UnionType) or get_args(annotation):
        return next((m for a in get_args(annotation) if (m := _model(a)) is not None), None)
    return None

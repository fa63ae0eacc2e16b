"""Texts of architectures as other tools write them, read as plain data: nothing in them is ever evaluated."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from eznas.errors import ArchitectureError
from eznas.names import one_line, shown
from eznas.randomness import stream
from eznas.spaces.architecture import Architecture

MAX_TEXT: Final = 4_000
_MAX_DEPTH: Final = 8
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>-?[0-9]{1,9}(?:\.[0-9]{1,9})?)(?![0-9.])|'(?P<single>[^'\\\n]*)'|\"(?P<double>[^\"\\\n]*)\"|(?P<word>[A-Za-z_][A-Za-z0-9_.]*)"
    r"|(?P<sign>[()\[\]{},:=]))"
)
_WORDS: Final = {"True": True, "true": True, "False": False, "false": False, "None": None, "null": None}
_CLOSING: Final = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, slots=True)
class Call:
    """A name with arguments, such as ``Genotype(normal=[...], reduce=[...])``: data, never called.

    Attributes:
        name: what stands before the bracket.
        positional: arguments without a name.
        named: arguments by name.
    """

    name: str
    positional: list[Any] = field(default_factory=list)
    named: dict[str, Any] = field(default_factory=dict)


def literal(text: str) -> Any:
    """What a text in the manner of Python or JSON says: numbers, texts, lists, mappings from texts, and `Call`.

    Tuples are lists, and ``range(2, 6)`` is the list of its numbers.

    Raises:
        ValueError: if it is anything else, longer than `MAX_TEXT` characters, or nested too deeply.
    """
    if len(text) > MAX_TEXT:
        raise ValueError("it is too long")
    tokens = _Tokens(text)
    found = _value(tokens, 0)
    if tokens.kind:
        raise ValueError("something follows its end")
    return found


class _Tokens:
    """The next token of a text: its kind, empty at the end, and its value."""

    def __init__(self, text: str) -> None:
        self._text = text.rstrip()
        self._place = 0
        self.kind = self.value = ""
        self.advance()

    def advance(self) -> str:
        """Go on to the next token; gives the value of the one before."""
        before = self.value
        if self._place == len(self._text):
            self.kind = self.value = ""
            return before
        match = _TOKEN.match(self._text, self._place)
        if match is None or match.lastgroup is None:
            raise ValueError("it holds something that is neither a number, a name nor a bracket")
        self.kind, self.value, self._place = match.lastgroup, match[match.lastgroup], match.end()
        return before

    def at(self, sign: str) -> bool:
        return self.kind == "sign" and self.value == sign

    def take(self, sign: str) -> None:
        if not self.at(sign):
            raise ValueError(f"the sign {sign} is missing")
        self.advance()


def _value(tokens: _Tokens, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise ValueError("it is nested too deeply")
    kind, value = tokens.kind, tokens.value
    if kind == "number":
        number = tokens.advance()
        return float(number) if "." in number else int(number)
    if kind in ("single", "double"):
        return tokens.advance()
    if kind == "word":
        tokens.advance()
        if tokens.at("("):
            return _call(value, tokens, depth)
        if value in _WORDS:
            return _WORDS[value]
        raise ValueError(f"{shown(value)} stands without quotes")
    if kind == "sign" and value in _CLOSING:
        if value == "{":
            return _mapping(tokens, depth)
        tokens.advance()
        items = [_value(tokens, depth + 1) for _ in _items(tokens, _CLOSING[value])]
        return items
    raise ValueError("a value is missing")


def _items(tokens: _Tokens, closing: str) -> Iterator[None]:
    """Once for each item up to the closing bracket; whoever asks reads the item."""
    while not tokens.at(closing):
        yield
        if not tokens.at(closing):
            tokens.take(",")
    tokens.advance()


def _mapping(tokens: _Tokens, depth: int) -> dict[str, Any]:
    tokens.take("{")
    found: dict[str, Any] = {}
    for _ in _items(tokens, "}"):
        if tokens.kind not in ("single", "double"):
            raise ValueError("a name in quotes is missing")
        key = tokens.advance()
        tokens.take(":")
        found[key] = _value(tokens, depth + 1)
    return found


def _call(name: str, tokens: _Tokens, depth: int) -> Any:
    tokens.take("(")
    call = Call(name.rpartition(".")[2])
    for _ in _items(tokens, ")"):
        key = tokens.value if tokens.kind == "word" else ""
        value = _argument(tokens, depth)
        if isinstance(value, _Named):
            call.named[key] = value.value
        else:
            call.positional.append(value)
    if call.name == "range":
        bounds = call.positional
        if call.named or not 1 <= len(bounds) <= 2 or not all(isinstance(b, int) and 0 <= b <= 99 for b in bounds):
            raise ValueError("a range has one or two small whole numbers")
        return [*range(*bounds)]
    if call.name in ("array", "tuple", "list") and len(call.positional) == 1 and not call.named:
        return call.positional[0]
    return call


@dataclass(frozen=True, slots=True)
class _Named:
    value: Any


def _argument(tokens: _Tokens, depth: int) -> Any:
    """A value, or a `_Named` one: a word followed by the sign of equality and a value."""
    if tokens.kind != "word":
        return _value(tokens, depth + 1)
    word = tokens.advance()
    if tokens.at("="):
        tokens.advance()
        return _Named(_value(tokens, depth + 1))
    if tokens.at("("):
        return _call(word, tokens, depth + 1)
    if word in _WORDS:
        return _WORDS[word]
    raise ValueError(f"{shown(word)} stands without quotes")


# Specifications -------------------------------------------------------------------------------------------------------


def drawn(
    text: str, space: str, sample: Callable[[np.random.Generator, int], tuple[Architecture, ...]], *purpose: str
) -> tuple[Architecture, ...] | None:
    """The architectures of ``random:N`` or ``random:N:SEED``; None if a text does not begin so.

    Args:
        text: what follows the name of the space in a specification.
        space: that name.
        sample: of that space; says how many there can be.
        purpose: of the stream of random numbers.

    Raises:
        ArchitectureError: if N or SEED is not a number in its range.
    """
    first, *numbers = text.split(":")
    if first.strip() != "random":
        return None
    if not 1 <= len(numbers) <= 2:
        raise ArchitectureError(f"Expected {space}:random:N or {space}:random:N:SEED, got {shown(f'{space}:{text}')}")
    n, seed = (whole_number(number, f"{space}:{text}") for number in (*numbers, "0")[:2])
    return sample(stream(seed, *purpose), n)


def drawn_or_read(
    text: str,
    space: str,
    sample: Callable[[np.random.Generator, int], tuple[Architecture, ...]],
    read: Callable[[str], Architecture],
) -> tuple[Architecture, ...]:
    """The architectures of parts separated by semicolons, each once.

    Args:
        text: what follows the name of the space in a specification; each part is ``random:N[:SEED]`` or what `read`
            takes.
        space: that name.
        sample: of that space.
        read: an architecture of a text.

    Raises:
        ArchitectureError: if a part is neither.
    """
    parts = [part.strip() for part in text.split(";")]
    found = [drawn(part, space, sample, "networks", "random", space) or (read(part),) for part in parts]
    return tuple(dict.fromkeys(arch for some in found for arch in some))


def indices(text: str, space: str, n: int) -> tuple[int, ...]:
    """The positions that ``INDEX,FROM-TO,...`` names, each once.

    Args:
        text: what follows the name of the space in a specification.
        space: that name.
        n: how many architectures its list has.

    Raises:
        ArchitectureError: if a part is no number or range of numbers below `n`.
    """
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        low = whole_number(first, f"{space}:{text}")
        high = whole_number(last, f"{space}:{text}") if last else low
        if not 0 <= low <= high < n:
            raise ArchitectureError(f"{space}:{one_line(text, 60)}: indices go from 0 to {n - 1}, got {shown(part)}")
        found.extend(range(low, high + 1))
    return tuple(dict.fromkeys(found))


def whole_number(text: str, spec: str) -> int:
    """The number that a part of a specification is.

    Raises:
        ArchitectureError: if it is not a whole number of at most 18 digits.
    """
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ArchitectureError(f"Expected a whole number in {shown(spec)}, got {shown(text)}")
    return int(text)


def check_sample_size(n: int, most: int, title: str) -> None:
    """Refuse to draw fewer than one architecture, or more than there are.

    Raises:
        ArchitectureError: if `n` is not in 1 .. `most`.
    """
    if not 1 <= n <= most:
        raise ArchitectureError(f"Of {title} 1 to {most:,} can be drawn, but {n} were asked for; ask for so many.")

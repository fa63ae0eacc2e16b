"""Damage to files and texts: bytes flipped, cut and doubled, and values of JSON replaced by hostile ones; by a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

TOKENS: Final = (
    b"", b"\0", b"\x1b[2J", b"\xff\xfe", b"\xed\xa0\x80", b"\xe2\x80\xae", b"NaN", b"Infinity", b"1e999", b"-1",
    b"9" * 25, b"9" * 5000, b"null", b"true", b"[" * 2000, b"{" * 300, b"(" * 3000, b'"', b"'", b"\r\n", b",", b"=1+1",
    b"../../../etc/passwd", b"python:os:getcwd", b"\xff\xff\xff\x7f", b"\xff" * 8, b"x" * 5000, b"%s%n", b"<script>",
)  # fmt: skip
VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 10**400, -(10**30), 0.5, -0.0, 1e308, float("inf"), float("nan"),
    "", "x", "\x1b[31m\x00\u202e", "x" * 5000, "\ud800", "1", "nan", "random:99999", "best", "python:os:getcwd",
    [], {}, [[]], [0] * 300, {"a": {"b": {}}}, {"": None}, {"\x1b": "\n"}, "(" * 3000, "../..",
)  # fmt: skip


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Content with a few things wrong; now and then as it was, or nothing like it."""
    kind = rng.random()
    if kind < 0.02:
        return rng.choice((content, b"", rng.randbytes(rng.randrange(200)), b"[" * 100_000, b"\0" * 1000))
    if kind < 0.6:
        text = _structured(content, rng)
        if text is not None:
            return text if rng.random() < 0.9 else _bytes(text, rng)
    return _bytes(content, rng)


def _bytes(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
        at = rng.randrange(len(data) + 1)
        n = min(len(data) - at, rng.choice((0, 1, 1, 2, 4, 8, 64, 1000)))
        match rng.randrange(6):
            case 0:
                data[at : at + n] = rng.randbytes(n)
            case 1:
                del data[at : at + n]
            case 2:
                data[at:at] = data[at : at + n]
            case 3:
                data[at : at + n] = rng.choice(TOKENS)
            case 4 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 5 if rng.random() < 0.3:
                del data[at:]
    return bytes(data)


def _structured(content: bytes, rng: random.Random) -> bytes | None:
    """JSON, or one line of JSON lines, with some values, keys or lengths changed; None if it is neither."""
    lines = content.splitlines()
    whole = _parsed(content)
    if whole is not None:
        return _dumped(_changed(whole, rng), rng)
    place = rng.randrange(len(lines)) if lines else 0
    line = _parsed(lines[place]) if lines else None
    if line is None:
        return None
    lines[place] = _dumped(_changed(line, rng), rng)
    return b"\n".join(lines) + b"\n"


def _parsed(text: bytes) -> Any:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None


def _dumped(value: Any, rng: random.Random) -> bytes:
    return json.dumps(value, indent=rng.choice((None, 1))).encode()


def _changed(value: Any, rng: random.Random) -> Any:
    places: list[tuple[Any, Any]] = []

    def visit(node: Any, depth: int = 0) -> None:
        inner = (
            list(node.items()) if isinstance(node, dict) else list(enumerate(node)) if isinstance(node, list) else []
        )
        for key, child in inner[:200]:
            places.append((node, key))
            if depth < 12:
                visit(child, depth + 1)

    visit(value)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if not places:
            return rng.choice(VALUES)
        node, key = rng.choice(places)
        _change(node, key, rng)
    return value


def _change(node: Any, key: Any, rng: random.Random) -> None:
    if isinstance(node, list) and key >= len(node):
        return
    match rng.randrange(5):
        case 0 | 1:
            node[key] = rng.choice(VALUES)
        case 2 if isinstance(node, dict):
            node.pop(key, None)
        case 2:
            del node[key]
        case 3 if isinstance(node, dict):
            node[str(rng.choice(VALUES))[:6000]] = rng.choice(VALUES)
        case 3:
            node.insert(key, rng.choice(VALUES))
        case 4:
            old = node.get(key) if isinstance(node, dict) else node[key]
            nudges: Sequence[Callable[[Any], Any]] = (
                lambda v: [v], lambda v: {"x": v}, lambda v: str(v) if v is not None else "None", lambda v: None,
                lambda v: -v if isinstance(v, int | float) else v, lambda v: v * 1000 if isinstance(v, str) else v,
            )  # fmt: skip
            node[key] = rng.choice(nudges)(old)

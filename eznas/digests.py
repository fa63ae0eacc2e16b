"""Digests that bind files to one another: what was changed by hand is known, and named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_READ_BYTES = 2**20
_SHOWN = 3
_MISSING = object()


def content_digest(content: Any) -> str:
    """SHA-256 of JSON-ready content, 64 hexadecimal digits: how it is laid out in a file does not matter."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


class PrefixDigest:
    """SHA-256 of the beginning of a growing file, which reads only what was added since it was asked last."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._n_bytes = 0

    def of(self, path: Path, n_bytes: int) -> str:
        """Digest of the first so many bytes of a file, at least as many as before.

        Raises:
            ValueError: if the file is shorter.
            OSError: if it cannot be read.
        """
        if n_bytes > self._n_bytes:
            with path.open("rb") as file:
                file.seek(self._n_bytes)
                while self._n_bytes < n_bytes:
                    block = file.read(min(_READ_BYTES, n_bytes - self._n_bytes))
                    if not block:
                        raise ValueError(f"{path} ends before byte {n_bytes}")
                    self._digest.update(block)
                    self._n_bytes += len(block)
        return self._digest.hexdigest()


def difference(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What changed between two nested mappings, as ``seed was 0 and is 5 now``; empty if nothing did."""
    before, after = dict(_leaves(recorded)), dict(_leaves(now))
    changed = [key for key in {**before, **after} if before.get(key, _MISSING) != after.get(key, _MISSING)]
    shown = [f"{key} was {_shown(before, key)} and is {_shown(after, key)} now" for key in changed[:_SHOWN]]
    more = [f"{len(changed) - _SHOWN} more changed"] if len(changed) > _SHOWN else []
    return ", ".join([*shown, *more])


def _leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(leaves: Mapping[str, Any], key: str) -> str:
    if key not in leaves:
        return "absent"
    text = json.dumps(leaves[key], ensure_ascii=True)
    return text if len(text) <= 60 else f"{text[:57]}..."

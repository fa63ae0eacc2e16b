"""Digests: of content whatever its layout, of a growing file by what was added, and what changed, named."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from eznas.digests import PrefixDigest, content_digest, difference


def test_a_digest_is_of_the_content_alone() -> None:
    content = {"a": 1, "b": {"c": [1.5, "ö"], "d": None}}
    digest = content_digest(content)
    assert digest == hashlib.sha256(b'{"a":1,"b":{"c":[1.5,"\\u00f6"],"d":null}}').hexdigest()
    assert content_digest(json.loads(json.dumps(dict(reversed(content.items())), indent=3))) == digest
    assert content_digest({**content, "a": 2}) != digest


def test_a_growing_file_is_read_once(tmp_path: Path) -> None:
    path, prefix = tmp_path / "file", PrefixDigest()
    assert prefix.of(path, 0) == hashlib.sha256().hexdigest()
    path.write_bytes(b"abc")
    assert prefix.of(path, 2) == hashlib.sha256(b"ab").hexdigest()
    path.write_bytes(b"xxcdef")
    assert prefix.of(path, 6) == hashlib.sha256(b"abcdef").hexdigest(), "the first two bytes were read before"
    with pytest.raises(ValueError, match="ends before byte 7"):
        prefix.of(path, 7)


def test_what_changed_is_named_with_both_values() -> None:
    before = {"seed": 0, "evolution": {"regime": "nsga2", "seconds": 0.0}, "old": True}
    assert difference(before, json.loads(json.dumps(before))) == ""
    assert difference(before, {**before, "seed": 5}) == "seed was 0 and is 5 now"
    after = {"seed": 0, "evolution": {"regime": "paper", "seconds": 0.0}, "new": "x" * 100}
    assert difference(before, after) == (
        f'evolution.regime was "nsga2" and is "paper" now, old was true and is absent now, new was absent and is '
        f'"{"x" * 56}... now'
    )
    many = {f"k{i}": i for i in range(5)}
    assert difference(many, {}).endswith("k2 was 2 and is absent now, 2 more changed")

"""The description of a network in a search space: what a benchmark lists and a builder turns into a network."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from eznas.errors import ArchitectureError
from eznas.names import shown


@dataclass(frozen=True, slots=True)
class Architecture:
    """One point of a search space: plain data, hashable, equal on every machine.

    Attributes:
        space: name of the search space, for example ``"nb201"``.
        spec: the description in the space's own official text form; the space's module says what it may be.
    """

    space: str
    spec: str


def check_space(arch: Architecture, space: str) -> None:
    """Raises `ArchitectureError` unless an architecture is of that search space."""
    if arch.space != space:
        raise ArchitectureError(
            f"Expected an architecture of the search space {space!r}, but {shown(arch.spec)} is of "
            f"{shown(arch.space)}; use the module of that space."
        )


def text_digest(arch: Architecture) -> str:
    """32 hexadecimal digits of the name of the space and the text: the content of an architecture that its text is."""
    return hashlib.blake2b(f"{arch.space}\0{arch.spec}".encode(), digest_size=16).hexdigest()

"""The description of a network in a search space: what a benchmark lists and a builder turns into a network."""

from __future__ import annotations

from dataclasses import dataclass

from eznas.errors import ArchitectureError


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
            f"Expected an architecture of the search space {space!r}, but {arch.spec!r} is of {arch.space!r}; use the "
            "module of that space."
        )

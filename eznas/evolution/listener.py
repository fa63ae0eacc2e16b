"""Who is told how a search goes on within a generation."""

from __future__ import annotations

from typing import Protocol


class Listener(Protocol):
    """Who is told how a search goes on within a generation; every method may do nothing."""

    def step(self, text: str, unit: str = "networks") -> None:
        """A part of the generation begins; how far it is will be told in these units."""

    def advance(self, done: int, total: int) -> None:
        """So much of the part is done."""

    def note(self, text: str) -> None:
        """Something was assumed or left out; a sentence."""


class NoListener:
    """One that is told in vain."""

    def step(self, text: str, unit: str = "networks") -> None: ...

    def advance(self, done: int, total: int) -> None: ...

    def note(self, text: str) -> None: ...

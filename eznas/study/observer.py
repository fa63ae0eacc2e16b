"""Who is told how a run goes on."""

from __future__ import annotations

from typing import Protocol

from eznas.runs import SearchState
from eznas.runs.config import EvolutionSettings
from eznas.runs.records import GenerationSummary


class Observer(Protocol):
    """Who is told how a run goes on; every method may do nothing."""

    def stage(self, text: str) -> None:
        """A new stage begins."""

    def advance(self, done: int, total: int) -> None:
        """So much of the stage is done."""

    def note(self, text: str) -> None:
        """Something was assumed or left out; a sentence."""

    def generation(self, summary: GenerationSummary, state: SearchState, settings: EvolutionSettings) -> None:
        """A generation is finished and on disk."""


class Silent:
    """An observer that says nothing."""

    def stage(self, text: str) -> None: ...

    def advance(self, done: int, total: int) -> None: ...

    def note(self, text: str) -> None: ...

    def generation(self, summary: GenerationSummary, state: SearchState, settings: EvolutionSettings) -> None: ...

"""Who is told how a run goes on."""

from __future__ import annotations

from typing import Protocol

from eznas.runs import SearchState
from eznas.runs.config import EvolutionSettings
from eznas.runs.records import GenerationSummary
from eznas.study.outlook import Outline


class Observer(Protocol):
    """Who is told how a run goes on; every method may do nothing."""

    def begin(self, outline: Outline) -> None:
        """What a run has before it; told once its networks are known, before they are captured."""

    def stage(self, text: str) -> None:
        """A new stage begins."""

    def step(self, text: str, unit: str = "networks") -> None:
        """A part of the stage begins; how far it is will be told in these units."""

    def advance(self, done: int, total: int) -> None:
        """So much of the step is done, or of a stage that has none."""

    def note(self, text: str) -> None:
        """Something was assumed or left out; a sentence."""

    def generation(self, summary: GenerationSummary, state: SearchState, settings: EvolutionSettings) -> None:
        """A generation is finished and on disk."""


class Silent:
    """An observer that says nothing."""

    def begin(self, outline: Outline) -> None: ...

    def stage(self, text: str) -> None: ...

    def step(self, text: str, unit: str = "networks") -> None: ...

    def advance(self, done: int, total: int) -> None: ...

    def note(self, text: str) -> None: ...

    def generation(self, summary: GenerationSummary, state: SearchState, settings: EvolutionSettings) -> None: ...

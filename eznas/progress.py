"""Progress on stderr: a live line on a terminal, plain lines elsewhere, nothing when asked to be quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from eznas.names import printable
from eznas.study.observer import Silent

if TYPE_CHECKING:
    from eznas.runs import SearchState
    from eznas.runs.config import EvolutionSettings
    from eznas.runs.records import GenerationSummary
    from eznas.study.observer import Observer

LINE_SECONDS = 10.0
"""Time between two lines about one stage when stderr is not a terminal."""


class StderrObserver:
    """Tells how a run goes on: stages with time left, generations with what they found."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_live = stream.isatty()
        self._stage = ""
        self._stage_start = self._last_line = time.monotonic()
        self._first_generation: int | None = None
        self._evolved = 0
        self._evolve_seconds = 0.0

    def stage(self, text: str) -> None:
        self._stage = text
        self._stage_start = self._last_line = time.monotonic()
        self._first_generation, self._evolved, self._evolve_seconds = None, 0, 0.0  # of this search, if it is one
        self._line(f"{text} ...")

    def advance(self, done: int, total: int) -> None:
        now = time.monotonic()
        elapsed = now - self._stage_start
        left = elapsed / done * (total - done) if done else 0.0
        text = f"{self._stage}: {done}/{total} networks, {duration(left)} left"
        if self._is_live:
            self._stream.write(f"\r\033[K{text}" if done < total else "\r\033[K")
            self._stream.flush()
        elif now - self._last_line > LINE_SECONDS and done < total:
            self._line(text)
            self._last_line = now

    def note(self, text: str) -> None:
        self._line(text)

    def generation(self, summary: GenerationSummary, state: SearchState, settings: EvolutionSettings) -> None:
        if self._first_generation is None:
            self._first_generation = summary.generation
        n_done = summary.generation - self._first_generation + 1
        self._evolve_seconds += summary.seconds
        self._evolved += summary.n_evaluated
        left = self._evolve_seconds / n_done * (settings.n_generations - summary.generation)
        if settings.seconds:
            left = max(0.0, min(left, settings.seconds - state.seconds))
        rate = self._evolved / max(self._evolve_seconds, 1e-9)
        proposed = summary.n_evaluated + summary.n_duplicates
        best = "-" if summary.best_correlation is None else f"{summary.best_correlation:.3f}"
        self._line(
            f"generation {summary.generation:>3}/{settings.n_generations}  best tau {best} (size {summary.best_size})  "
            f"{state.n_evaluated} programs, {rate:.1f}/s  "
            f"duplicates {summary.n_duplicates / max(proposed, 1):.0%}  "
            f"failures {summary.n_invalid / max(summary.n_evaluated, 1):.0%}  "
            f"{duration(left)} left"
        )

    def _line(self, text: str) -> None:
        self._stream.write(("\r\033[K" if self._is_live else "") + printable(text) + "\n")
        self._stream.flush()


@contextmanager
def make_observer(*, quiet: bool) -> Iterator[Observer]:
    """The observer for this terminal."""
    yield Silent() if quiet else StderrObserver(sys.stderr)


def duration(seconds: float) -> str:
    """``45 s``, ``3 min 05 s`` or ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, whole = divmod(whole, 60)
    return f"{minutes} min {whole:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"

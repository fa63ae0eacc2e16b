"""Progress on stderr: a live panel on a terminal, plain lines elsewhere, nothing when asked to be quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from eznas.names import printable
from eznas.study.observer import Silent

if TYPE_CHECKING:
    from rich.console import RenderableType

    from eznas.runs import Candidate, SearchState
    from eznas.runs.config import EvolutionSettings
    from eznas.runs.records import GenerationSummary
    from eznas.study.observer import Observer

LINE_SECONDS = 10.0
"""Time between two lines about one stage when stderr is not a terminal."""


class StderrObserver:
    """Tells how a run goes on: stages with time left, generations with what they found."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
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
        if now - self._last_line > LINE_SECONDS and done < total:
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
        now = time.monotonic()
        is_last = summary.generation >= settings.n_generations
        if n_done > 1 and not is_last and now - self._last_line <= LINE_SECONDS:
            return
        self._last_line = now
        self._line(
            f"generation {summary.generation:>3}/{settings.n_generations}  best tau {best} (size {summary.best_size})  "
            f"{state.n_evaluated} programs, {rate:.1f}/s  "
            f"duplicates {summary.n_duplicates / max(proposed, 1):.0%}  "
            f"failures {summary.n_invalid / max(summary.n_evaluated, 1):.0%}  "
            f"{duration(left)} left"
        )

    def _line(self, text: str) -> None:
        self._stream.write(printable(text) + "\n")
        self._stream.flush()


class PanelObserver:
    """One panel, redrawn in place and never wider than the terminal: the stage, its bar, the time left, the front.

    Notes and finished stages stay above it; the panel itself is gone when it is closed.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stage, self._figures = "", ""
        self._stage_start = time.monotonic()
        self._done = self._total = 0
        self._rounds: tuple[int, int, float] | None = None  # generations done, all, seconds left when it was told
        self._told = 0.0
        self._first_generation: int | None = None
        self._evolved, self._evolve_seconds = 0, 0.0
        self._front: list[tuple[int, float, str]] = []
        self._live = Live(
            get_renderable=self._panel, console=console, refresh_per_second=2, transient=True,
            redirect_stdout=False, vertical_overflow="crop",
        )  # fmt: skip

    def __enter__(self) -> PanelObserver:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._close_stage()
        self._stage = ""
        self._live.stop()

    def stage(self, text: str) -> None:
        self._close_stage()
        self._stage, self._figures, self._rounds = text, "", None
        self._stage_start = time.monotonic()
        self._done = self._total = 0
        self._first_generation, self._evolved, self._evolve_seconds = None, 0, 0.0

    def advance(self, done: int, total: int) -> None:
        self._done, self._total = done, total

    def note(self, text: str) -> None:
        self._console.print(Text(printable(text)))

    def generation(self, summary: GenerationSummary, state: SearchState, settings: EvolutionSettings) -> None:
        if self._first_generation is None:
            self._first_generation = summary.generation
        self._evolve_seconds += summary.seconds
        self._evolved += summary.n_evaluated
        n_done = summary.generation - self._first_generation + 1
        left = self._evolve_seconds / n_done * (settings.n_generations - summary.generation)
        if settings.seconds:
            left = max(0.0, min(left, settings.seconds - state.seconds))
        self._told = time.monotonic()
        self._done = self._total = 0  # of the networks within the last generation
        self._rounds = (summary.generation, settings.n_generations, left)
        proposed = summary.n_evaluated + summary.n_duplicates
        self._figures = (
            f"{state.n_evaluated:,} programs, {self._evolved / max(self._evolve_seconds, 1e-9):.1f}/s  "
            f"duplicates {summary.n_duplicates / max(proposed, 1):.0%}  "
            f"failures {summary.n_invalid / max(summary.n_evaluated, 1):.0%}"
        )
        self._front = front_so_far(list(state.candidates.values()))

    def _close_stage(self) -> None:
        if self._stage:
            spent = duration(time.monotonic() - self._stage_start)
            self._console.print(self._row(f"{self._stage}: {spent}"), no_wrap=True, overflow="ellipsis")

    def _panel(self) -> RenderableType:
        if not self._stage:
            return Text("")
        now = time.monotonic()
        said = f"{self._stage}  {duration(now - self._stage_start)}"
        rows: list[RenderableType] = []
        if self._rounds is not None:
            done, total, left = self._rounds
            said += f", generation {done}/{total}, {duration(max(0.0, left - (now - self._told)))} left in this stage"
            rows.append(ProgressBar(total=max(total, 1), completed=done))
        if 0 < self._done <= self._total:
            left = (now - self._stage_start) / self._done * (self._total - self._done)
            said += f", {self._done}/{self._total} networks"
            if self._rounds is None:
                said += f", {duration(left)} left in this stage"
                rows.append(ProgressBar(total=self._total, completed=self._done))
        rows = [self._row(said), *rows]
        if self._figures:
            rows.append(self._row(self._figures))
        if self._front:
            room = max(1, self._console.size.height - len(rows) - 3)
            rows.append(self._row("size  value  formula"))
            rows += [self._row(f"{size:>4}  {value:>5.3f}  {text}") for size, value, text in self._front[-room:]]
        return Group(*rows)

    def _row(self, text: str) -> Text:
        """One line that is cut at the width, never wrapped."""
        return Text(printable(text), no_wrap=True, overflow="ellipsis")


N_SHOWN: Final = 12
"""Most programs of the front that the panel shows, the largest ones."""


def front_so_far(candidates: list[Candidate]) -> list[tuple[int, float, str]]:
    """(size, first objective, infix) of the programs that no smaller or equal one beats, from small to large."""
    from eznas.programs.rendering import to_infix

    front: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (c.program.size, -c.objectives[0], c.id)):
        if not front or candidate.objectives[0] > front[-1].objectives[0]:
            front.append(candidate)
    return [(c.program.size, c.objectives[0], to_infix(c.program)) for c in front[-N_SHOWN:]]


@contextmanager
def make_observer(*, quiet: bool) -> Iterator[Observer]:
    """The observer for this terminal."""
    if quiet:
        yield Silent()
        return
    console = Console(file=sys.stderr, highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        yield StderrObserver(sys.stderr)
        return
    with PanelObserver(console) as observer:
        yield observer


def duration(seconds: float) -> str:
    """``45 s``, ``3 min 05 s`` or ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, whole = divmod(whole, 60)
    return f"{minutes} min {whole:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"

"""Progress on stderr: a live panel on a terminal, plain lines elsewhere, nothing when asked to be quiet."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TextIO

from rich.console import Console, Group
from rich.live import Live
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


STAGES: Final = {
    "capture": ("Capturing", "Computing", "Starting"),
    "evolve": ("Evolving",),
    "choose": ("Choosing",),
    "simplify": ("Simplifying",),
    "measure": ("Measuring",),
    "report": ("Writing",),
}
"""The stages of a run in their order, and how what is said of each begins."""


class _Pace:
    """How fast a search is since it was begun or gone on with, and how much of it is left."""

    def __init__(self) -> None:
        self._first: int | None = None
        self._evolved = 0
        self._seconds = 0.0

    def add(self, summary: GenerationSummary) -> None:
        """One more generation."""
        self._first = summary.generation if self._first is None else self._first
        self._evolved += summary.n_evaluated
        self._seconds += summary.seconds

    @property
    def rate(self) -> float:
        """Programs per second."""
        return self._evolved / max(self._seconds, 1e-9)

    def left(self, summary: GenerationSummary, state: SearchState, settings: EvolutionSettings) -> float:
        """Seconds to the last generation, or to a limit that comes earlier; what cannot be foreseen is left out."""
        n_done = summary.generation - (self._first or 0) + 1
        limits = [self._seconds / n_done * (settings.n_generations - summary.generation)]
        if settings.seconds:
            limits.append(settings.seconds - state.seconds)
        return max(0.0, min(limits))


def _figures(summary: GenerationSummary, state: SearchState, pace: _Pace) -> str:
    """How many programs there are, and what became of those of the last generation."""
    proposed = summary.n_evaluated + summary.n_duplicates
    return (
        f"{state.n_evaluated:,} programs, {pace.rate:.1f}/s  "
        f"duplicates {summary.n_duplicates / max(proposed, 1):.0%}  "
        f"failures {summary.n_invalid / max(summary.n_evaluated, 1):.0%}"
    )


class StderrObserver:
    """Tells in lines how a run goes on: stages with time left, generations with what they found.

    After the first line of a stage, or of a search, there is at most one in `LINE_SECONDS`, and the last generation.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._stage = ""
        self._stage_start = self._last_line = time.monotonic()
        self._pace: _Pace | None = None
        self._untold = ""

    def stage(self, text: str) -> None:
        self.close()
        self._stage = text
        self._stage_start = self._last_line = time.monotonic()
        self._pace = None
        self._line(f"{text} ...")

    def advance(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last_line > LINE_SECONDS and 0 < done < total:
            left = (now - self._stage_start) / done * (total - done)
            self._line(f"{self._stage}: {done}/{total} networks, {duration(left)} left")
            self._last_line = now

    def note(self, text: str) -> None:
        self._line(text)

    def generation(self, summary: GenerationSummary, state: SearchState, settings: EvolutionSettings) -> None:
        is_first = self._pace is None
        self._pace = self._pace or _Pace()
        self._pace.add(summary)
        objective = settings.objectives[0]
        best = "-" if summary.best_correlation is None else f"{summary.best_correlation:.3f}"
        self._untold = (
            f"generation {summary.generation:>3}/{settings.n_generations}  best {objective} {best} "
            f"(size {summary.best_size})  {_figures(summary, state, self._pace)}  "
            f"{duration(self._pace.left(summary, state, settings))} left"
        )
        now = time.monotonic()
        if is_first or now - self._last_line > LINE_SECONDS:
            self.close()
            self._last_line = now

    def close(self) -> None:
        """Say what the last generation found, if that was not said yet."""
        untold, self._untold = self._untold, ""
        if untold:
            self._line(untold)

    def _line(self, text: str) -> None:
        self._stream.write(printable(text) + "\n")
        self._stream.flush()


class PanelObserver:
    """One panel, redrawn in place and never wider than the terminal: stages, bar, time left, figures, front so far.

    Notes and finished stages stay above it; the panel itself is gone when it is closed.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stage, self._objective = "", ""
        self._stage_start = time.monotonic()
        self._done = self._total = 0
        self._rounds: tuple[int, int, float] | None = None  # generations done, all, seconds left when it was told
        self._told = 0.0
        self._pace = _Pace()
        self._figures: tuple[str, ...] = ()
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
        self._stage, self._figures, self._rounds, self._pace = text, (), None, _Pace()
        self._stage_start = time.monotonic()
        self._done = self._total = 0

    def advance(self, done: int, total: int) -> None:
        self._done, self._total = done, total

    def note(self, text: str) -> None:
        self._console.print(Text(printable(text)))

    def generation(self, summary: GenerationSummary, state: SearchState, settings: EvolutionSettings) -> None:
        self._pace.add(summary)
        self._told = time.monotonic()
        self._done = self._total = 0  # of the networks within the last generation
        self._rounds = (summary.generation, settings.n_generations, self._pace.left(summary, state, settings))
        kinds = Counter(kind.value for kind in state.failed.values())
        failed = ", ".join(f"{kind} {n:,}" for kind, n in kinds.most_common())
        self._figures = (_figures(summary, state, self._pace), *([f"failures so far: {failed}"] if failed else ()))
        self._objective = settings.objectives[0]
        self._front = front_so_far(state.candidates.values())

    def _close_stage(self) -> None:
        if self._stage:
            spent = duration(time.monotonic() - self._stage_start)
            self._console.print(self._row(f"{self._stage}: {spent}"), no_wrap=True, overflow="ellipsis")

    def _panel(self) -> RenderableType:
        if not self._stage:
            return Text("")
        now = time.monotonic()
        said = f"{self._stage}  {duration(now - self._stage_start)}"
        bar: list[RenderableType] = []
        if self._rounds is not None:
            done, total, left = self._rounds
            said += f", generation {done}/{total}, {duration(max(0.0, left - (now - self._told)))} left in this stage"
            bar = [self._bar(done, total)]
        if 0 < self._done <= self._total:
            left = (now - self._stage_start) / self._done * (self._total - self._done)
            said += f", {self._done}/{self._total} networks"
            if self._rounds is None:
                said += f", {duration(left)} left in this stage"
                bar = [self._bar(self._done, self._total)]
        rows = [*self._stages(), self._row(said), *bar, *map(self._row, self._figures)]
        if self._front:
            room = max(1, self._console.size.height - len(rows) - 3)
            rows.append(self._row(f"size  {self._objective:>6}  formula"))
            width = max(6, len(self._objective))
            rows += [self._row(f"{size:>4}  {value:>{width}.3f}  {text}") for size, value, text in self._front[-room:]]
        return Group(*rows, Text(""))  # the cursor stands in the last one, where "^C" must not begin another

    def _stages(self) -> list[RenderableType]:
        """The stages of a run with the current one marked; nothing for work of another kind."""
        now = next((name for name, begins in STAGES.items() if self._stage.startswith(begins)), None)
        if now is None:
            return []
        names = list(STAGES)
        row = Text(no_wrap=True, overflow="ellipsis")
        for number, name in enumerate(names):
            is_now = name == now
            style = "bold" if is_now else ("dim" if number > names.index(now) else "")
            row.append(" > " if number else "", "dim")
            row.append(f"[{name}]" if is_now else name, style)
        return [row]

    def _bar(self, done: int, total: int) -> Text:
        """A line as wide as the terminal, as much of it thick as is done."""
        width = self._console.width
        thick, thin = "━─" if self._console.encoding.startswith("utf") else "#-"
        n = width * done // max(total, 1)
        return Text.assemble((thick * n, "cyan"), (thin * (width - n), "dim"), no_wrap=True, overflow="crop")

    def _row(self, text: str) -> Text:
        """One line that is cut at the width, never wrapped."""
        return Text(printable(text), no_wrap=True, overflow="ellipsis")


N_SHOWN: Final = 12
"""Most programs of the front that the panel shows, the largest ones."""


def front_so_far(candidates: Iterable[Candidate]) -> list[tuple[int, float, str]]:
    """(size, first objective, infix) of the programs that no smaller or equal one beats, from small to large."""
    from eznas.programs import to_infix
    from eznas.runs.interim import smallest_best

    front = smallest_best(candidates)
    return [(c.program.size, c.objectives[0], to_infix(c.program)) for c in front[-N_SHOWN:]]


@contextmanager
def make_observer(*, quiet: bool) -> Iterator[Observer]:
    """The observer for this terminal."""
    if quiet:
        yield Silent()
        return
    console = Console(file=sys.stderr, highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        lines = StderrObserver(sys.stderr)
        try:
            yield lines
        finally:
            lines.close()
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

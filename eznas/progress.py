"""Progress on stderr: a live panel on a terminal, plain lines elsewhere, nothing when asked to be quiet."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, TextIO

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from eznas.fitness.fitness import aggregated
from eznas.names import printable
from eznas.programs import directed_infix
from eznas.runs.interim import smallest_best
from eznas.study.choose import standard_error
from eznas.study.observer import Silent
from eznas.study.outlook import STAGES, Outlook, Pace, stage_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from eznas.fitness import Fitness
    from eznas.runs import Candidate, SearchState
    from eznas.runs.config import EvolutionSettings
    from eznas.runs.records import GenerationSummary
    from eznas.study.observer import Observer
    from eznas.study.outlook import Outline

LINE_SECONDS = 10.0
"""Time between two lines when stderr is not a terminal, and the longest silence there."""
WIDTH_95: Final = 1.96
"""Half of a 95 % interval, in standard errors."""


@dataclass(slots=True)
class _Part:
    """A stage, or a step of one: what is done, and how much of it.

    Attributes:
        text: what is done; empty of none.
        start: when it was begun.
        unit: of what is counted.
        done, total: so much of it; 0 where nothing was counted yet.
    """

    text: str = ""
    start: float = 0.0
    unit: str = "networks"
    done: int = 0
    total: int = 0

    @property
    def is_counted(self) -> bool:
        """Whether there is anything to make a bar of."""
        return 0 < self.done <= self.total

    def far(self, now: float) -> str:
        """How far it is: ``12/40 networks, 30 s left``, or the seconds since it was begun where nothing is counted."""
        if not self.is_counted:
            return duration(now - self.start)
        left = (now - self.start) / self.done * (self.total - self.done)
        return f"{self.done:,}/{self.total:,} {self.unit}, {duration(left)} left"


class _Teller:
    """What both observers keep of a run: the stage and the step it is in, its pace and its outlook."""

    def __init__(self) -> None:
        self._stage = _Part()
        self._step = _Part()
        self._pace: Pace | None = None
        self._outlook: Outlook | None = None
        self._outline: Outline | None = None
        self._all = "in all"

    def begin(self, outline: Outline) -> None:
        self._outlook, self._outline = Outlook(outline), outline
        if self._stage.text:
            self._outlook.stage(self._stage.text)

    def stage(self, text: str) -> None:
        if text.startswith("Seed "):  # one run of several
            self._all, self._outlook, self._outline = "of this seed", None, None
        self._stage, self._step, self._pace = _Part(text, time.monotonic()), _Part(), None
        if self._outlook is not None:
            self._outlook.stage(text)

    def step(self, text: str, unit: str = "networks") -> None:
        self._step = _Part(text, time.monotonic(), unit)
        if self._outlook is not None:
            self._outlook.step(text)

    def advance(self, done: int, total: int) -> None:
        self._part.done, self._part.total = done, total
        if self._outlook is not None:
            self._outlook.advance(done, total)

    def generation(self, summary: GenerationSummary, state: SearchState, settings: EvolutionSettings) -> None:
        self._pace = self._pace or (Pace() if self._outline is None else self._outline.pace())
        self._pace.add(summary)
        self._step = _Part()
        if self._outlook is not None:
            self._outlook.generation(summary, state, settings)

    @property
    def _part(self) -> _Part:
        """What is counted now."""
        return self._step if self._step.text else self._stage

    @property
    def _left_in_all(self) -> str | None:
        """``about 4 min left in all``, more than that where a stage is not known yet, ``-`` where nothing is."""
        if self._outlook is None:
            return None
        left = self._outlook.left()
        if left.seconds is None:
            return f"- left {self._all}"
        return f"{'about' if left.is_whole else 'more than'} {duration(left.seconds)} left {self._all}"

    def _figures(self, summary: GenerationSummary, state: SearchState) -> str:
        """How many programs there are, and what became of those of the last generation."""
        proposed = summary.n_evaluated + summary.n_duplicates
        return (
            f"{state.n_evaluated:,} programs, {self._pace.rate if self._pace else 0.0:.1f}/s  "
            f"duplicates {summary.n_duplicates / max(proposed, 1):.0%}  "
            f"failures {summary.n_invalid / max(summary.n_evaluated, 1):.0%}"
        )

    def _weights(self) -> tuple[float, ...] | None:
        return None if self._outline is None else self._outline.weights


class StderrObserver(_Teller):
    """Tells in lines how a run goes on: stages with time left, generations with what they found.

    After the first line of a stage, or of a search, there is at most one in `LINE_SECONDS`, and the last generation.
    `beat` is to be called every second or so: it says what is worked at where nothing else was said for so long.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._last_line = time.monotonic()
        self._untold = ""
        self._lock = threading.RLock()

    def stage(self, text: str) -> None:
        with self._lock:
            self.close()
            super().stage(text)
            self._line(f"{text} ...")

    def step(self, text: str, unit: str = "networks") -> None:
        with self._lock:
            super().step(text, unit)

    def advance(self, done: int, total: int) -> None:
        with self._lock:
            super().advance(done, total)
            now = time.monotonic()
            if now - self._last_line > LINE_SECONDS and 0 < done < total:
                self._far(now)

    def note(self, text: str) -> None:
        with self._lock:
            self._line(text)

    def generation(self, summary: GenerationSummary, state: SearchState, settings: EvolutionSettings) -> None:
        with self._lock:
            is_first = self._pace is None
            super().generation(summary, state, settings)
            assert self._pace is not None
            self._untold = (
                f"generation {summary.generation:>3}/{settings.n_generations}  {self._best(summary, state, settings)}  "
                f"{self._figures(summary, state)}  {duration(self._pace.left(summary, state, settings))} left"
                f"{self._in_all}"
            )
            if is_first or time.monotonic() - self._last_line > LINE_SECONDS:
                self.close()

    def beat(self) -> None:
        """Say what is worked at, if nothing was said for `LINE_SECONDS`."""
        with self._lock:
            now = time.monotonic()
            if self._stage.text and now - self._last_line > LINE_SECONDS:
                self.close() if self._untold else self._far(now)

    def close(self) -> None:
        """Say what the last generation found, if that was not said yet."""
        untold, self._untold = self._untold, ""
        if untold:
            self._line(untold)

    def _far(self, now: float) -> None:
        step = f", {self._step.text}" if self._step.text else ""
        self._line(f"{self._stage.text}{step}: {self._part.far(now)}{self._in_all}")

    @property
    def _in_all(self) -> str:
        return "" if self._left_in_all is None else f"; {self._left_in_all}"

    def _best(self, summary: GenerationSummary, state: SearchState, settings: EvolutionSettings) -> str:
        objective = settings.objectives[0]
        best = "-" if summary.best_correlation is None else f"{summary.best_correlation:.3f}"
        found = state.candidates.get(summary.best_id or "")
        if found is not None:
            tau, half = tau_with_bound(found.fitness, settings, self._weights())
            is_tau = objective == "tau" and best == f"{tau:.3f}"
            best += f" ± {half:.3f}" if is_tau else f", tau {tau:.3f} ± {half:.3f}"
        return f"best {objective} {best} (size {summary.best_size})"

    def _line(self, text: str) -> None:
        self._last_line = time.monotonic()
        self._stream.write(printable(text) + "\n")
        self._stream.flush()


class PanelObserver(_Teller):
    """One panel, redrawn in place and never wider than the terminal: stages, bars, time left, figures, front so far.

    Notes and finished stages stay above it; the panel itself is gone when it is closed.
    """

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._rounds: tuple[int, int, float] | None = None  # generations done, all, seconds left when it was told
        self._told = 0.0
        self._said: tuple[str, ...] = ()
        self._front: list[FrontRow] = []
        self._caption = ""
        self._live = Live(
            get_renderable=self._panel, console=console, refresh_per_second=2, transient=True,
            redirect_stdout=False, vertical_overflow="crop",
        )  # fmt: skip

    def __enter__(self) -> PanelObserver:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._close_stage()
        self._stage = _Part()
        self._live.stop()

    def stage(self, text: str) -> None:
        self._close_stage()
        super().stage(text)
        self._said, self._rounds = (), None

    def note(self, text: str) -> None:
        self._console.print(Text(printable(text)))

    def generation(self, summary: GenerationSummary, state: SearchState, settings: EvolutionSettings) -> None:
        super().generation(summary, state, settings)
        assert self._pace is not None
        self._told = time.monotonic()
        self._rounds = (summary.generation, settings.n_generations, self._pace.left(summary, state, settings))
        kinds = Counter(kind.value for kind in state.failed.values())
        failed = ", ".join(f"{kind} {n:,}" for kind, n in kinds.most_common())
        self._said = (self._figures(summary, state), *([f"failures so far: {failed}"] if failed else ()))
        self._front = front_so_far(state.candidates.values(), settings, self._weights())
        self._caption = front_caption(state.candidates.values(), settings)

    def _close_stage(self) -> None:
        if self._stage.text:
            spent = duration(time.monotonic() - self._stage.start)
            self._console.print(self._row(f"{self._stage.text}: {spent}"), no_wrap=True, overflow="ellipsis")

    def _panel(self) -> RenderableType:
        if not self._stage.text:
            return Text("")
        now = time.monotonic()
        said = [f"{self._stage.text}  {duration(now - self._stage.start)}"]
        bars: list[RenderableType] = []
        if self._rounds is not None:
            done, total, left = self._rounds
            said.append(f"generation {done}/{total}")
            said.append(f"{duration(max(0.0, left - (now - self._told)))} left in this stage")
            bars.append(self._bar(done, total))
        elif not self._step.text and self._stage.is_counted:
            said.append(f"{self._stage.far(now)} in this stage")
            bars.append(self._bar(self._stage.done, self._stage.total))
        if self._step.text:
            bars.append(self._row(f"{self._step.text}: {self._step.far(now)}"))
            if self._step.is_counted:
                bars.append(self._bar(self._step.done, self._step.total))
        in_all = [] if self._left_in_all is None else [self._row(self._left_in_all)]
        rows = [*self._stages(), self._row(", ".join(said)), *bars, *in_all, *map(self._row, self._said)]
        if self._front:
            room = max(1, self._console.size.height - len(rows) - 4)
            rows += [self._row(self._caption), self._row(self._front[0].header)]
            rows += [self._row(one.line) for one in self._front[-room:]]
        return Group(*rows, Text(""))  # the cursor stands in the last one, where "^C" must not begin another

    def _stages(self) -> list[RenderableType]:
        """The stages of a run with the current one marked; nothing for other work."""
        now = stage_of(self._stage.text)
        if now is None or self._outline is None:
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


# --- the front so far ---------------------------------------------------------------------------------------------

N_SHOWN: Final = 12
"""Most programs of the front that the panel shows, the largest ones."""


@dataclass(frozen=True, slots=True)
class FrontRow:
    """A program of the front so far.

    Attributes:
        size: nodes.
        objective: name of the first objective of the run.
        value: of it; shown where it is another number than tau.
        tau, half: Kendall's tau over the samples, and half of its 95 % interval.
        formula: in infix.
    """

    size: int
    objective: str
    value: float | None
    tau: float
    half: float
    formula: str

    @property
    def header(self) -> str:
        """Names of the columns."""
        value = "" if self.value is None else f"  {self.objective:>{self._width}}"
        return f"size{value}  tau [95 % interval]     formula"

    @property
    def line(self) -> str:
        """Their values."""
        value = "" if self.value is None else f"  {self.value:>{self._width}.3f}"
        low, high = max(-1.0, self.tau - self.half), min(1.0, self.tau + self.half)
        interval = f"{self.tau:.3f} [{low:.3f}, {high:.3f}]"
        return f"{self.size:>4}{value}  {interval:<23}{self.formula}"

    @property
    def _width(self) -> int:
        return max(6, len(self.objective))


def tau_with_bound(
    fitness: Fitness, settings: EvolutionSettings, weights: Sequence[float] | None
) -> tuple[float, float]:
    """Tau on the networks evolved on, of the worst sample or of their mean, and half of its 95 % interval.

    The interval is over the choice of networks, by the standard errors of the samples; it makes no allowance for the
    choice of this program among many.
    """
    aggregate = "worst" if settings.aggregate == "worst" else "mean"
    taus = np.array([[task.tau] for task in fitness.tasks])
    error = standard_error(fitness, aggregate, weights)  # type: ignore[arg-type]
    return float(aggregated(taus, aggregate, weights)[0]), WIDTH_95 * error  # type: ignore[arg-type]


def front_so_far(
    candidates: Iterable[Candidate],
    settings: EvolutionSettings,
    weights: Sequence[float] | None = None,
    *,
    n_shown: int = N_SHOWN,
) -> list[FrontRow]:
    """The programs that no smaller or equal one beats in the first objective, from small to large; the largest ones."""
    front = smallest_best(candidates)[-n_shown:]
    is_tau = settings.objectives[0] == "tau" and settings.aggregate != "bound"
    objective = "bound" if settings.objectives[0] == "tau" else settings.objectives[0]
    return [
        FrontRow(
            c.program.size, objective, None if is_tau else c.objectives[0],
            *tau_with_bound(c.fitness, settings, weights), directed_infix(c.program, c.fitness.direction),
        )
        for c in front
    ]  # fmt: skip


def front_caption(candidates: Iterable[Candidate], settings: EvolutionSettings) -> str:
    """What the numbers of the front so far are of."""
    first = next(iter(candidates), None)
    if first is None:
        return ""
    tasks = first.fitness.tasks
    n = sum(task.n for task in tasks)
    of = f"{'worst' if settings.aggregate == 'worst' else 'mean'} of {len(tasks)} samples, " if len(tasks) > 1 else ""
    return f"front so far, on the networks evolved on ({of}{n:,} networks):"


# --- which observer -----------------------------------------------------------------------------------------------


@contextmanager
def make_observer(*, quiet: bool, plainly: bool = True) -> Iterator[Observer]:
    """The observer for this terminal or notebook.

    Args:
        quiet: say nothing.
        plainly: tell in lines where there is neither; False says nothing there.
    """
    console = Console(file=sys.stderr, highlight=False)
    is_seen = console.is_terminal or console.is_jupyter
    if quiet or not (plainly or is_seen):
        yield Silent()
        return
    if not is_seen or console.is_dumb_terminal or (console.is_jupyter and find_spec("ipywidgets") is None):
        lines = StderrObserver(sys.stderr)
        try:
            with _beating(lines):
                yield lines
        finally:
            lines.close()
        return
    with PanelObserver(console) as observer:
        yield observer


@contextmanager
def _beating(observer: StderrObserver) -> Iterator[None]:
    """Has an observer beat every second, from a thread beside."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(1.0):
            observer.beat()

    thread = threading.Thread(target=beat, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def duration(seconds: float) -> str:
    """``45 s``, ``3 min 05 s`` or ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, whole = divmod(whole, 60)
    return f"{minutes} min {whole:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"

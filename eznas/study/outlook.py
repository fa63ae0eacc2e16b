"""How long a run will still take: what it has before it in counts, and rates that are learnt as it goes.

Nothing is made up: a stage whose rate nothing has shown yet has no estimate, and the total says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from eznas.proxies import published_proxy
from eznas.runs import SearchState
from eznas.runs.config import EvolutionSettings
from eznas.runs.records import GenerationSummary
from eznas.statistics.store import MANIFEST
from eznas.study.choose import POOL_SIZE
from eznas.study.machine import Machine
from eznas.study.problem import Problem

STAGES: Final = {
    "capture": ("Capturing", "Starting", "Reading"),
    "evolve": ("Evolving",),
    "choose": ("Choosing",),
    "simplify": ("Simplifying",),
    "measure": ("Measuring",),
    "report": ("Writing",),
}
"""The stages of a run in their order, and how what is said of each begins."""
SIMPLIFY_SECONDS: Final = (2.0, 0.1)
"""Of the start of the process that simplifies, and of a formula, until some are simplified."""
REPORT_SECONDS: Final = 4.0
"""Of the figures and the page; most of it is the import of the library that draws."""
N_LEXICON: Final = 30_000
"""Words of a run that begins with all of its lexicon, roughly."""
PROGRAM: Final = 1 / 800
"""What a program takes on a captured network, in captures of it, until a generation is evaluated."""
LATER: Final = 0.5
"""What a program takes of that in the first generation: much is known by then."""
WORDS: Final = 500
"""Words that take as long on a network as its capture does."""
FORWARD: Final = 0.12
"""What a forward pass of a published proxy takes, in captures of a network, until some networks are measured."""


def stage_of(text: str) -> str | None:
    """The stage of a run that begins with these words; None of work of another kind."""
    return next((name for name, begins in STAGES.items() if text.startswith(begins)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """What a run has before it, in counts.

    Attributes:
        n_capture: networks whose statistics are to be captured first; those in the cache are not.
        n_evolve: networks evolved on.
        n_searches: the search, and those of a cross-fitted report.
        n_generations: of each search after the first one.
        n_initial, n_population: programs of the first one, and of each of the others.
        n_words, n_new_words: at two levels, where every generation builds the networks evolved on anew: words of the
            first one, and of each of the others; 0 in other regimes.
        n_select, n_report: networks that programs are tried and measured on, of those that are captured for it.
        n_chosen: most programs that are tried.
        n_front: most programs that are measured.
        published_cost: of the proxies that are measured beside, in forward passes.
        weights: of the samples in a mean; equal without.
    """

    n_capture: int
    n_evolve: int
    n_searches: int = 1
    n_generations: int
    n_initial: int
    n_population: int
    n_words: int = 0
    n_new_words: int = 0
    n_select: int
    n_report: int
    n_chosen: int = POOL_SIZE
    n_front: int
    published_cost: float = 0.0
    weights: tuple[float, ...] | None = None

    @property
    def later(self) -> float:
        """What a network takes at two levels, of that in the first generation: it is shown fewer words."""
        return (WORDS + self.n_new_words) / (WORDS + self.n_words)

    def pace(self) -> Pace:
        """That of a search that begins."""
        return Pace(self.later if self.n_words else LATER)


def outline_of(problem: Problem, machine: Machine) -> Outline:
    """What a run on a problem has before it on a machine."""
    config = problem.config
    keys = problem.store_keys()
    is_two_level = config.evolution.regime == "two-level"
    evolution = config.evolution
    first = evolution.initial_size if evolution.regime == "nsga2" else evolution.population_size
    missing = [] if is_two_level else [key for key in keys if not (machine.stores / str(key) / MANIFEST).exists()]
    return Outline(
        n_capture=sum(len(key.architectures) for key in missing),
        n_evolve=sum(len(key.architectures) for key in keys),
        n_searches=1 + len(problem.folds),
        n_generations=config.evolution.n_generations,
        n_initial=first,
        n_population=config.evolution.population_size,
        n_words=(evolution.n_words or N_LEXICON) if is_two_level else 0,
        n_new_words=evolution.n_new_words if is_two_level else 0,
        n_select=0 if problem.folds else problem.n_networks("select"),
        n_report=problem.n_networks("report"),
        n_front=config.report.front_size,
        published_cost=sum(published_proxy(name).cost for name in config.report.baselines),
        weights=problem.weights,
    )


class Pace:
    """How fast a search is since it was begun or gone on with, and how much of it is left."""

    def __init__(self, later: float = LATER) -> None:
        self._later = later  # what a program, or a network at two levels, takes of that in the first generation
        self._told: dict[int, GenerationSummary] = {}

    def add(self, summary: GenerationSummary) -> None:
        """One more generation."""
        self._told[summary.generation] = summary

    @property
    def rate(self) -> float:
        """Programs per second."""
        told = self._told.values()
        return sum(one.n_evaluated for one in told) / max(sum(one.seconds for one in told), 1e-9)

    def generation_seconds(self, settings: EvolutionSettings) -> float:
        """Of a generation to come; while the first one is the only one, a share of it."""
        usual = [one.seconds for generation, one in self._told.items() if generation]
        if usual:
            return sum(usual) / len(usual)
        first = self._told[0]
        if settings.regime == "two-level":
            return self._later * first.seconds
        return self._later * first.seconds * settings.population_size / max(first.n_evaluated, 1)

    def left(self, summary: GenerationSummary, state: SearchState, settings: EvolutionSettings) -> float:
        """Seconds to the last generation, or to a limit that comes earlier; what cannot be foreseen is left out."""
        limits = [self.generation_seconds(settings) * (settings.n_generations - summary.generation)]
        if settings.n_programs:
            limits.append((settings.n_programs - state.n_evaluated) / max(self.rate, 1e-9))
        if settings.seconds:
            limits.append(settings.seconds - state.seconds)
        return max(0.0, min(limits))


@dataclass(frozen=True, slots=True)
class Left:
    """What a run will still take.

    Attributes:
        seconds: of all stages that can be estimated; None if nothing is known that matters.
        is_whole: whether that is all of them.
    """

    seconds: float | None
    is_whole: bool


@dataclass(slots=True)
class _Bar:
    """How far something is, and when that was told."""

    begun: float
    told: float
    done: int = 0
    total: int = 0

    def left(self, now: float) -> float | None:
        """Seconds to its end; None before its first mark."""
        if not self.done:
            return None
        return max(0.0, (self.told - self.begun) / self.done * (self.total - self.done) - (now - self.told))


class Outlook:
    """Estimates what all stages of a run will still take; told what an `eznas.study.Observer` is.

    A network of a later stage is expected to take what it took to capture one, or to try programs on one; programs on
    networks that are captured already are too quick to be counted.

    Args:
        outline: of the run.
        clock: seconds, for tests.
    """

    def __init__(self, outline: Outline, clock: Callable[[], float] = time.monotonic) -> None:
        self._outline, self._clock = outline, clock
        self._stage: str | None = None
        self._begun = clock()
        self._bar = _Bar(self._begun, self._begun)
        self._n_captured = 0  # in stages that are over
        self._capture_seconds = 0.0
        self._network_seconds: float | None = None  # of the last networks that were captured for anything
        self._pace = outline.pace()
        self._search_left: tuple[float, float] | None = None  # seconds, and when that was told
        self._whole_search: float | None = None  # seconds of one of them
        self._n_searches = 0
        self._step = ""

    def stage(self, text: str) -> None:
        """A stage begins."""
        name = stage_of(text)
        self._close()
        if name == "evolve":
            self._n_searches += 1
            self._search_left, self._pace = None, self._outline.pace()
        self._stage = name or self._stage
        self._begun = self._clock()
        self._bar, self._step = _Bar(self._begun, self._begun), ""

    def step(self, text: str) -> None:
        """A part of the stage begins."""
        self._close()
        now = self._clock()
        self._bar, self._step = _Bar(now, now), text

    def advance(self, done: int, total: int) -> None:
        """So many networks, or parts of a step, are done."""
        outline = self._outline
        self._bar.done, self._bar.total, self._bar.told = done, total, self._clock()
        if done and self._is_of_networks:
            seconds = (self._bar.told - self._bar.begun) / done
            is_first = self._stage == "evolve" and self._search_left is None
            self._network_seconds = (outline.later if is_first else 1.0) * seconds

    def generation(self, summary: GenerationSummary, state: SearchState, settings: EvolutionSettings) -> None:
        """A generation is finished."""
        self._pace.add(summary)
        self._search_left = self._pace.left(summary, state, settings), self._clock()
        done = summary.generation + 1
        self._whole_search = state.seconds * (settings.n_generations + 1) / done if done > 1 else (
            summary.seconds + self._search_left[0]
        )  # fmt: skip

    def left(self) -> Left:
        """What is left from now on."""
        names = list(STAGES)
        ahead = names[names.index(self._stage) if self._stage else 0 :]
        found = {name: self._of(name) for name in ahead}
        known = [seconds for seconds in found.values() if seconds is not None]
        if "evolve" in found and found["evolve"] is None:  # what else is known is the least of it
            return Left(None, is_whole=False)
        return Left(sum(known), is_whole=len(known) == len(found)) if known else Left(None, is_whole=False)

    @property
    def _is_of_networks(self) -> bool:
        """Whether networks are built where the run is now, so that their time says something of others."""
        return self._stage in ("capture", "choose", "measure") or self._step.startswith("Computing")

    def _close(self) -> None:
        if self._stage == "capture":
            self._n_captured += self._bar.done
            self._capture_seconds += self._bar.told - self._bar.begun if self._bar.done else 0.0

    def _of(self, name: str) -> float | None:
        """Seconds that a stage will take, or has left if it is the one of now; None if nothing is known."""
        outline, now = self._outline, self._clock()
        spent = now - self._begun if name == self._stage else 0.0
        if name == "capture":
            return self._of_capture(now)
        if name == "evolve":
            return self._of_search(now)
        if name == "simplify":
            start, each = SIMPLIFY_SECONDS
            own = self._bar.left(now) if name == self._stage else None
            return max(0.0, start + each * outline.n_front - spent) if own is None else own
        if name == "report":
            return max(0.0, REPORT_SECONDS - spent)
        n = outline.n_select if name == "choose" else outline.n_report
        own = self._bar.left(now) if name == self._stage and self._bar.total > n / 2 else None
        if own is not None:  # of all networks of the stage, and not of a few that are looked at beside
            return own
        each_network = self._network_seconds
        if not n:
            return 0.0
        if each_network is None:
            return None
        if name == "measure":
            each_network *= 1 + FORWARD * outline.published_cost
        return max(0.0, n * each_network - spent)

    def _of_capture(self, now: float) -> float | None:
        is_now = self._stage == "capture"
        n_done = self._n_captured + (self._bar.done if is_now else 0)
        n_left = self._outline.n_capture - n_done
        if n_left <= 0:
            return 0.0
        if not n_done:
            return None
        seconds = self._capture_seconds + (self._bar.told - self._bar.begun if is_now and self._bar.done else 0.0)
        return max(0.0, seconds / n_done * n_left - (now - self._bar.told))

    def _of_search(self, now: float) -> float | None:
        """Of this search, and of those of a cross-fitted report that are to follow."""
        outline = self._outline
        n_more = max(0, outline.n_searches - max(1, self._n_searches))
        if self._search_left is not None and self._whole_search is not None:
            seconds, told = self._search_left
            return max(0.0, seconds - (now - told)) + n_more * self._whole_search
        whole = self._whole_search if self._whole_search is not None else self._foreseen()
        if whole is None:
            return None
        spent = now - self._begun if self._stage == "evolve" else 0.0
        return max(0.0, whole - spent) + n_more * whole

    def _foreseen(self) -> float | None:
        """Seconds of a search of which no generation is finished, by those that its networks took."""
        outline, each = self._outline, self._network_seconds
        if each is None:
            return None
        if outline.n_words:
            return each * outline.n_evolve * (1 / outline.later + outline.n_generations)
        n_programs = outline.n_initial + LATER * outline.n_generations * outline.n_population
        return each * outline.n_evolve * PROGRAM * n_programs

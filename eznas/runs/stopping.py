"""When a search is finished, and why: a function of its settings and of what it found, so that a resumed one agrees."""

from __future__ import annotations

from dataclasses import dataclass

from eznas.fitness import parse_target, plain_values
from eznas.runs.config import EvolutionSettings
from eznas.runs.journal import SearchState


@dataclass(frozen=True, slots=True)
class Stop:
    """What has ended a search.

    Attributes:
        setting: of the evolution, that asked for it.
        reason: a clause.
    """

    setting: str
    reason: str


def stopped_by(settings: EvolutionSettings, state: SearchState) -> Stop | None:
    """Which condition has ended a search; None while none has.

    Each is looked at after a whole generation. Of several that hold at once the first is named: the target, the
    generations, the programs, no improvement, and the time, which alone differs between machines.
    """
    generation = state.generation
    if generation < 0:
        return None
    if settings.target and (found := _meets_target(settings, state)) is not None:
        return Stop("target", f"program {found[:8]} meets the target {settings.target}")
    if generation >= settings.n_generations:
        return Stop("n_generations", f"all {settings.n_generations} generations are done")
    if 0 < settings.n_programs <= state.n_evaluated:
        asked = f"{settings.n_programs:,} were asked for"
        return Stop("n_programs", f"{state.n_evaluated:,} programs are evaluated, {asked}")
    if settings.patience and generation - last_improvement(state) >= settings.patience:
        n = settings.patience
        return Stop("patience", f"no program better by {settings.objectives[0]} was found in {n} generations")
    if 0 < settings.seconds <= state.seconds:
        return Stop("seconds", f"its {settings.seconds:g} seconds are used up")
    return None


def is_finished(settings: EvolutionSettings, state: SearchState) -> bool:
    """Whether a search has met one of the conditions that end it."""
    return stopped_by(settings, state) is not None


def last_improvement(state: SearchState) -> int:
    """The generation that found the best program by the first objective; of equally good ones the earliest."""
    best = max(state.candidates.values(), key=lambda c: (c.objectives[0], -c.generation), default=None)
    return 0 if best is None else best.generation


def _meets_target(settings: EvolutionSettings, state: SearchState) -> str | None:
    """Id of the first program that does."""
    target = parse_target(settings.target, settings.objectives)
    for candidate in state.candidates.values():
        if target.holds(plain_values(candidate.fitness, settings.objectives)):
            return candidate.id
    return None

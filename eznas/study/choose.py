"""Choosing: which programs of a search are worth a second look, and which of them make the front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from eznas.errors import RunError
from eznas.evolution import non_dominated
from eznas.fitness import Aggregate, Fitness, Unrankable, assess_population, objectives_named
from eznas.runs import Candidate, SearchState, hall_of_fame
from eznas.study.problem import Problem

POOL_SIZE: Final = 60
"""Programs of a run that are tried on the selection networks."""
PickRule = Literal["simplest-within-se", "best", "cheapest-within-se"]
"""Which program of the front is the result of a run: of those whose correlation on the selection networks is within one
standard error of the best one's that of the fewest nodes, or the cheapest; or the best itself (the rule of Breiman,
Friedman, Olshen and Stone 1984, section 3.4.3)."""


def contenders(state: SearchState) -> list[Candidate]:
    """Programs worth a second look: the evolved front and the top of the hall of fame, without behavioural twins."""
    candidates = list(state.candidates.values())
    front = [candidates[i] for i in non_dominated(np.array([c.objectives for c in candidates]))]
    chosen: dict[tuple[float, ...], Candidate] = {}
    for candidate in sorted(
        [*front, *hall_of_fame(state, POOL_SIZE)], key=lambda c: (c.fitness.size, c.fitness.cost, c.id)
    ):
        chosen.setdefault(candidate.behaviour, candidate)
    return sorted(chosen.values(), key=lambda c: (-c.fitness.correlation, c.id))


def fitness_on_selection(
    problem: Problem, scores: npt.NDArray[np.float64], candidates: Sequence[Candidate], *, of_store: bool = False
) -> list[Fitness | Unrankable]:
    """Fitness of programs on the selection networks, each in the direction it evolved with.

    Args:
        problem: with the selection networks.
        scores: (n_programs, n_networks) raw values of the programs.
        candidates: the programs.
        of_store: whether the columns are the stored networks, or else those of the selection part.
    """
    return assess_population(
        scores,
        problem.labels("select", of_store=of_store),
        [c.program for c in candidates],
        objectives_named(problem.config.evolution.objectives),
        aggregate=problem.config.evolution.aggregate,
        weights=problem.weights,
        directions=[c.fitness.direction for c in candidates],
    )


def choose_front(
    candidates: Sequence[Candidate],
    selected: Sequence[Fitness | Unrankable],
    size: int,
    rule: PickRule = "simplest-within-se",
    *,
    aggregate: Aggregate = "worst",
    weights: Sequence[float] | None = None,
) -> tuple[list[Candidate], str]:
    """Non-dominated programs by the run's objectives on the selection networks, best first, and the id of the pick.

    Of a larger front those stay that show what a smaller or cheaper program gives up: evenly over the front of
    correlation against size, then over the rest; programs that rank no better than chance never. The pick is one of
    those that stay.

    Args:
        candidates: the programs.
        selected: their fitness on the selection networks.
        size: most programs of the front.
        rule: of the pick, see `PickRule`.
        aggregate: how the run takes an objective over the samples.
        weights: of the samples in a mean.

    Raises:
        RunError: if no program can be ranked there.
    """
    ranked = [(c, f) for c, f in zip(candidates, selected, strict=True) if isinstance(f, Fitness)]
    if not ranked:
        raise RunError("No evolved program could be ranked on the selection networks; evolve on more networks")
    objectives = np.array([f.values for _, f in ranked])
    against_size = np.array([(f.correlation, -float(f.size)) for _, f in ranked])
    order = sorted(
        non_dominated(objectives), key=lambda i: (-ranked[i][1].correlation, ranked[i][1].size, ranked[i][0].id)
    )
    useful = [i for i in order if ranked[i][1].correlation > 0] or order[:1]
    by_size = non_dominated(against_size[useful])
    trade = [useful[i] for i in sorted(by_size)]
    rest = [i for i in useful if i not in trade]
    kept = _thinned(trade, size)
    kept += _thinned(rest, size - len(kept))
    kept.sort(key=order.index)
    return [ranked[i][0] for i in kept], _pick([ranked[i] for i in kept], rule, aggregate, weights).id


def _pick(
    ranked: Sequence[tuple[Candidate, Fitness]],
    rule: PickRule,
    aggregate: Aggregate,
    weights: Sequence[float] | None,
) -> Candidate:
    """One of the programs of a front, the best of which comes first."""
    best, fitness = ranked[0]
    if rule == "best":
        return best
    least = fitness.correlation - standard_error(fitness, aggregate, weights)
    enough = [(one, by) for one, by in ranked if by.correlation >= least]
    if rule == "cheapest-within-se":
        return min(enough, key=lambda pair: (pair[1].cost, pair[1].size, -pair[1].correlation, pair[0].id))[0]
    return min(enough, key=lambda pair: (pair[1].size, pair[1].cost, -pair[1].correlation, pair[0].id))[0]


def standard_error(fitness: Fitness, aggregate: Aggregate, weights: Sequence[float] | None = None) -> float:
    """Of the correlation of a program over its samples: of the worst one, or of the mean of samples of their own."""
    errors = np.array([task.standard_error for task in fitness.tasks])
    if aggregate == "worst":
        return float(errors[int(np.argmin([task.tau for task in fitness.tasks]))])
    shares = np.ones(len(errors)) if weights is None else np.asarray(weights, dtype=np.float64)
    return float(np.sqrt(np.square(shares * errors).sum()) / shares.sum())


def _thinned(items: list[int], size: int) -> list[int]:
    """At most `size` of the items, evenly spread, the first and the last among them."""
    if len(items) <= size:
        return list(items)
    positions = np.linspace(0, len(items) - 1, size).round().astype(int).tolist()
    return [items[position] for position in dict.fromkeys(positions)]

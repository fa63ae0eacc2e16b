"""The fitness of a program: what it is worth by each objective of its run.

A population is assessed at once. A program either has a `Fitness`, or is `Unrankable` with the reason: there is no
number that stands for failure.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from eznas.fitness.criteria import Estimates
from eznas.fitness.labels import FloatArray, Labels
from eznas.fitness.objectives import DEFAULT_OBJECTIVES, OBJECTIVES, Objective, lower_bound, objectives_named
from eznas.fitness.ranks import batched_tau, scores_with_failures_last, spearman_batch, spearman_matrix
from eznas.forms import Form
from eznas.programs import Program, cost

Aggregate = Literal["worst", "mean", "bound"]
"""How a ranking objective is taken over several tasks."""

MAX_FAILED_SHARE: Final = 0.05
"""Of a task's networks, the share on which a program may give no finite score and still be ranked."""


class TaskFitness(Form):
    """How a program orders the networks of one task; correlations are in the program's direction."""

    task: str
    tau: float  # Kendall's tau-b
    rho: float  # Spearman's
    n: int  # networks, failed ones included
    n_failed: int  # networks without a finite score; they share the last rank
    standard_error: float  # of tau, over the choice of networks
    share_tied: float  # of all pairs of networks, those with equal scores


class Fitness(Form):
    """What selection compares, and what the ranking of each task is beside."""

    tasks: tuple[TaskFitness, ...]
    direction: Literal[1, -1]  # +1: a higher score predicts a higher accuracy; -1: a lower one does
    correlation: float  # the first objective aggregated over the tasks; tau-b unless the run says otherwise
    size: int  # nodes of the program
    cost: float
    values: tuple[float, ...]  # of the run's objectives, in their order; higher is better


@dataclass(frozen=True, slots=True)
class Unrankable:
    """A program that orders no networks, and why: a clause that completes "this program is unrankable because"."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _TaskOutcome:
    """The columns of `TaskFitness` for all programs of a population, each (n_programs,)."""

    tau: FloatArray
    rho: FloatArray
    standard_error: FloatArray
    share_tied: FloatArray


def assess_population(
    scores: npt.ArrayLike,
    labels: Sequence[Labels],
    programs: Sequence[Program | None],
    objectives: Sequence[str | Objective] = DEFAULT_OBJECTIVES,
    *,
    aggregate: Aggregate = "worst",
    weights: Sequence[float] | None = None,
    directions: Sequence[int] | None = None,
) -> list[Fitness | Unrankable]:
    """The fitness of each program of a population.

    Failed networks rank last in either direction, so turning a proxy round is more than a change of sign: what depends
    on the direction is computed in both, never derived, for programs with failures.

    Args:
        scores: (n_programs, n_networks) scores; NaN and ±inf mean that the program failed on the network.
        labels: the tasks, at least one; each uses its own columns of `scores`.
        programs: whose scores they are; None for scores that are not a program's, which count one node and no cost and
            can be assessed by ranking objectives only.
        objectives: of the run, by name or in person; the first is one that ranks networks.
        aggregate: of each ranking objective, ``"worst"``: its lowest value over the tasks; ``"mean"``: their mean;
            ``"bound"``: the mean less its standard error, which a formula must earn on most tasks.
        weights: of the tasks in the mean, positive; equal without. They do not touch the worst.
        directions: +1 or -1 per program. Without it, each program gets the direction in which the aggregate of the
            first objective is higher (+1 if equal), the same for all tasks.

    Returns:
        One `Fitness` or `Unrankable` per program, in order. A program is unrankable if on any task it has no finite
        score for more than `MAX_FAILED_SHARE` of the networks, gives all others one and the same score, or has no
        value of an objective.

    Raises:
        ConfigError: as `objectives_named`.
        BenchmarkError: if an objective reads covariates that a task lacks.
        ValueError: if shapes or lengths disagree, two tasks share a name, or an option is unknown.
    """
    scores = np.asarray(scores, dtype=np.float64)
    chosen = objectives_named(objectives)
    _check_arguments(scores, labels, programs, chosen, aggregate, weights, directions)
    failed = ~np.isfinite(scores)
    reasons = [unrankable_reason(row, labels) for row in scores]
    ranked = np.flatnonzero([reason is None for reason in reasons])
    results: list[Fitness | Unrankable] = [Unrankable(reason or "") for reason in reasons]
    if not ranked.size:
        return results

    scores, failed = scores[ranked], failed[ranked]
    as_given, turned = _both_directions(scores, failed, labels)
    if directions is None:
        first = [
            aggregated(_values(chosen[0], scores, failed, labels, outcome, sign), aggregate, weights)
            for outcome, sign in ((as_given, 1), (turned, -1))
        ]
        forward, backward = (np.nan_to_num(values, nan=-np.inf) for values in first)
        signs = np.where(backward > forward, -1, 1)
    else:
        signs = np.asarray(directions)[ranked]
    outcomes = [_merged(one, other, signs) for one, other in zip(as_given, turned, strict=True)]
    values = {
        objective.name: _values(objective, scores, failed, labels, outcomes, signs[:, None])
        for objective in chosen
        if objective.is_ranking
    }
    totals = {name: aggregated(rows, aggregate, weights) for name, rows in values.items()}
    for row, (index, sign) in enumerate(zip(ranked.tolist(), signs.tolist(), strict=True)):
        lacking = _without_value(chosen, values, labels, row)
        if lacking is not None:
            results[index] = Unrankable(lacking)
            continue
        program = programs[index]
        results[index] = Fitness(
            tasks=tuple(
                TaskFitness(
                    task=task.task,
                    tau=float(column.tau[row]),
                    rho=float(column.rho[row]),
                    n=task.networks.size,
                    n_failed=int(failed[row, task.networks].sum()),
                    standard_error=float(column.standard_error[row]),
                    share_tied=float(column.share_tied[row]),
                )
                for task, column in zip(labels, outcomes, strict=True)
            ),
            direction=sign,
            correlation=float(totals[chosen[0].name][row]),
            size=1 if program is None else program.size,
            cost=0.0 if program is None else float(cost(program)),
            values=tuple(
                float(totals[one.name][row]) if one.of_program is None else float(one.of_program(program))  # type: ignore[arg-type]
                for one in chosen
            ),
        )
    return results


def aggregated(values: FloatArray, aggregate: Aggregate, weights: Sequence[float] | None = None) -> FloatArray:
    """(n_programs,) from (n_tasks, n_programs) values: the worst, the (weighted) mean, or the bound of the mean.

    The bound is the mean less ``sd / sqrt(n_tasks)``, sd the (weighted) population deviation over the tasks.
    """
    if aggregate == "worst":
        return np.asarray(values.min(axis=0))
    mean = np.average(values, axis=0, weights=weights)
    if aggregate == "mean":
        return np.asarray(mean)
    spread = np.sqrt(np.average(np.square(values - mean), axis=0, weights=weights))
    return np.asarray(mean - spread / len(values) ** 0.5)


def rank_agreement(
    scores: npt.ArrayLike,
    labels: Sequence[Labels],
    aggregate: Aggregate = "worst",
    *,
    objective: str | Objective = "tau",
    weights: Sequence[float] | None = None,
    may_turn: bool = True,
) -> FloatArray:
    """A ranking objective of programs aggregated over the tasks, or what stands in for it at less expense.

    Args:
        scores: (n_programs, n_networks) scores.
        labels: the tasks, as `assess_population` takes them.
        aggregate, weights: as `assess_population` takes them.
        objective: a ranking objective; for tau and its bound, Spearman's rho is returned.
        may_turn: whether a program may predict by a low score; then the better direction counts.

    Returns:
        (n_programs,); ``-inf`` for a program that failed on a network, scores all of a task alike or has no value.

    Raises:
        ConfigError: as `objectives_named`.
        BenchmarkError: if the objective reads covariates that a task lacks.
    """
    scores = np.asarray(scores, dtype=np.float64)
    (asked,) = objectives_named([objective])
    asked = OBJECTIVES[asked.stand_in] if asked.stand_in else asked
    for task in labels:
        asked.check(task)
    result = np.full(len(scores), -np.inf)
    rows = np.flatnonzero(np.isfinite(scores).all(axis=1))
    if not rows.size:
        return result
    both = _rho_both(scores[rows], labels) if asked is OBJECTIVES["rho"] else _both_by(asked, scores[rows], labels)
    forward, backward = (aggregated(values, aggregate, weights) for values in both)
    found = np.fmax(forward, backward) if may_turn else forward
    result[rows] = np.where(np.isnan(found), -np.inf, found)
    return result


def _rho_both(scores: FloatArray, labels: Sequence[Labels]) -> tuple[FloatArray, FloatArray]:
    """(n_tasks, n_programs) Spearman's rho of finite scores as given, and turned round."""
    by_networks: dict[bytes, list[int]] = {}
    for index, task in enumerate(labels):
        by_networks.setdefault(task.networks.tobytes(), []).append(index)
    rho = np.empty((len(labels), len(scores)))
    for tasks in by_networks.values():  # tasks over the same networks share the ranks, the costly part
        accuracies = np.stack([labels[index].accuracies for index in tasks])
        rho[tasks] = spearman_matrix(scores[:, labels[tasks[0]].networks], accuracies).T
    return rho, -rho


def _both_by(objective: Objective, scores: FloatArray, labels: Sequence[Labels]) -> tuple[FloatArray, FloatArray]:
    """(n_tasks, n_programs) values of a ranking objective for finite scores as given, and turned round."""
    of = _ranking(objective)
    forward, backward = (
        np.stack([of(sign * scores[:, task.networks], task)[0] for task in labels]) for sign in (1, -1)
    )
    return forward, backward


def unrankable_reason(row: FloatArray, labels: Sequence[Labels]) -> str | None:
    """Why a program with these (n_networks,) scores orders no networks of some task; None if it orders all."""
    failed = ~np.isfinite(row)
    for task in labels:
        lost = failed[task.networks]
        n, n_failed = lost.size, int(lost.sum())
        if n_failed > MAX_FAILED_SHARE * n:
            return (
                f"it has no finite score on {n_failed} of {n} networks of task {task.task!r} "
                f"({n_failed / n:.1%}; at most {MAX_FAILED_SHARE:.0%} may fail)"
            )
        finite = row[task.networks][~lost]
        if finite.min() == finite.max():
            return f"it scores all {finite.size} networks of task {task.task!r} {finite[0]:g}"
    return None


def _both_directions(
    scores: FloatArray, failed: npt.NDArray[np.bool_], labels: Sequence[Labels]
) -> tuple[list[_TaskOutcome], list[_TaskOutcome]]:
    """Outcomes per task when a high score is good, and when a low one is."""
    as_given, turned = [], []
    for task in labels:
        x, lost = scores[:, task.networks], failed[:, task.networks]
        outcome = _outcome(x, lost, 1, task.accuracies)
        mirrored = dataclasses.replace(outcome, tau=-outcome.tau, rho=-outcome.rho)
        rows = np.flatnonzero(lost.any(axis=1))
        if rows.size:  # ranks reverse, but the failed networks stay last
            again = _outcome(x[rows], lost[rows], -1, task.accuracies)
            for field in dataclasses.fields(_TaskOutcome):
                column = getattr(mirrored, field.name).copy()
                column[rows] = getattr(again, field.name)
                mirrored = dataclasses.replace(mirrored, **{field.name: column})
        as_given.append(outcome)
        turned.append(mirrored)
    return as_given, turned


def _outcome(scores: FloatArray, failed: npt.NDArray[np.bool_], direction: int, accuracies: FloatArray) -> _TaskOutcome:
    x = scores_with_failures_last(scores, failed, direction)
    kendall = batched_tau(x, accuracies)
    return _TaskOutcome(
        tau=kendall.tau,
        rho=spearman_batch(x, accuracies),
        standard_error=kendall.standard_error,
        share_tied=kendall.share_tied,
    )


def _merged(as_given: _TaskOutcome, turned: _TaskOutcome, signs: npt.NDArray[np.int_]) -> _TaskOutcome:
    """Of each program the outcome in its direction."""
    columns = {
        field.name: np.where(signs == 1, getattr(as_given, field.name), getattr(turned, field.name))
        for field in dataclasses.fields(_TaskOutcome)
    }
    return _TaskOutcome(**columns)


def _values(
    objective: Objective,
    scores: FloatArray,
    failed: npt.NDArray[np.bool_],
    labels: Sequence[Labels],
    outcomes: Sequence[_TaskOutcome],
    signs: int | npt.NDArray[np.int_],
) -> FloatArray:
    """(n_tasks, n_programs) values of a ranking objective in the directions `signs`, in which `outcomes` are."""
    found = []
    for task, outcome in zip(labels, outcomes, strict=True):
        if objective is OBJECTIVES["tau"]:  # known already
            value = outcome.tau
        elif objective is OBJECTIVES["rho"]:
            value = outcome.rho
        elif objective is OBJECTIVES["tau_bound"]:
            value = lower_bound(outcome.tau, outcome.standard_error)
        else:
            lost = failed[:, task.networks]
            value, _ = _ranking(objective)(np.where(lost, -np.inf, signs * scores[:, task.networks]), task)
            if np.shape(value) != (len(scores),):
                raise ValueError(
                    f"Objective {objective.name!r} must return one value per program, shape ({len(scores)},), got "
                    f"{np.shape(value)}."
                )
        found.append(value)
    return np.stack(found)


def _without_value(
    objectives: Sequence[Objective], values: Mapping[str, FloatArray], labels: Sequence[Labels], row: int
) -> str | None:
    """Which objective a program has no finite value of on which task, and why; None if it has them all."""
    for objective in objectives:
        for task, value in zip(labels, values.get(objective.name, ()), strict=False):
            if not np.isfinite(value[row]):
                return f"it has no {objective.title} on task {task.task!r}: {objective.undefined}"
    return None


def _ranking(objective: Objective) -> Callable[[FloatArray, Labels], Estimates]:
    assert objective.of is not None
    return objective.of


def _check_arguments(
    scores: FloatArray,
    labels: Sequence[Labels],
    programs: Sequence[Program | None],
    objectives: Sequence[Objective],
    aggregate: str,
    weights: Sequence[float] | None,
    directions: Sequence[int] | None,
) -> None:
    if scores.ndim != 2:
        raise ValueError(f"Scores must have shape (n_programs, n_networks), got {scores.shape}.")
    lengths = {"programs": len(programs)}
    if directions is not None:
        lengths["directions"] = len(directions)
        if not set(directions) <= {1, -1}:
            raise ValueError(f"The directions of proxies must be +1 or -1, got {sorted(set(directions))}.")
    for name, length in lengths.items():
        if length != len(scores):
            raise ValueError(f"Expected one entry of {name} per program, {len(scores)} in all, got {length}.")
    of_programs = [one.name for one in objectives if not one.is_ranking]
    if of_programs and any(program is None for program in programs):
        raise ValueError(f"Scores that are not a program's have no {', '.join(of_programs)}; leave such objectives.")
    if aggregate not in get_args(Aggregate):
        known = sorted(get_args(Aggregate))
        raise ValueError(f"The aggregate over tasks must be one of {known}, got {aggregate!r}.")
    if weights is not None and (len(weights) != len(labels) or not all(0 < w < math.inf for w in weights)):
        raise ValueError(f"Expected one positive weight for each of {len(labels)} tasks, got {list(weights)}.")
    names = [task.task for task in labels]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"Expected one or more tasks with distinct names, got {names}.")
    for task in labels:
        if task.networks.max() >= scores.shape[1]:
            raise ValueError(
                f"Task {task.task!r} names network {task.networks.max()}, but the scores cover {scores.shape[1]}."
            )
        for objective in objectives:
            objective.check(task)

"""The fitness of a program: how well its scores order networks, at what size and cost.

A population is assessed at once. A program either has a `Fitness`, or is `Unrankable` with the reason: there is no
number that stands for failure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from eznas.errors import BenchmarkError, RunError
from eznas.fitness.ranks import FloatArray, batched_tau, scores_with_failures_last, spearman_batch, spearman_matrix

Aggregate = Literal["worst", "mean"]

MAX_FAILED_SHARE: Final = 0.05
"""Of a task's networks, the share on which a program may give no finite score and still be ranked."""

MIN_NETWORKS: Final = 5
"""Networks below which the standard error of a rank correlation cannot be estimated."""

_AGGREGATES: Final = MappingProxyType[str, Callable[[FloatArray], FloatArray]](
    {"worst": lambda taus: taus.min(axis=0), "mean": lambda taus: taus.mean(axis=0)}
)  # (n_tasks, n_programs) -> (n_programs,)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFitness:
    """How a program orders the networks of one task; correlations are in the program's direction."""

    task: str
    tau: float  # Kendall's tau-b
    rho: float  # Spearman's
    n: int  # networks, failed ones included
    n_failed: int  # networks without a finite score; they share the last rank
    standard_error: float  # of tau, over the choice of networks
    share_tied: float  # of all pairs of networks, those with equal scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitness:
    """What selection compares: rank correlation up, size down, cost down."""

    tasks: tuple[TaskFitness, ...]
    direction: int  # +1: a higher score predicts a higher accuracy; -1: a lower one does
    correlation: float  # tau-b aggregated over the tasks
    size: int  # nodes of the program
    cost: float

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary that `from_dict` reads back."""
        return dataclasses.asdict(self) | {"tasks": [dataclasses.asdict(task) for task in self.tasks]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Fitness:
        """The fitness that `as_dict` described.

        Raises:
            RunError: if keys are missing or unknown, or a value has another type.
        """
        values = _checked(cls, data)
        if not isinstance(values["tasks"], list | tuple):
            raise RunError(f"A recorded Fitness has 'tasks' {values['tasks']!r}; expected a list of tasks.")
        tasks = tuple(TaskFitness(**_checked(TaskFitness, task)) for task in values["tasks"])
        return cls(**(values | {"tasks": tasks}))


@dataclass(frozen=True, slots=True)
class Unrankable:
    """A program that orders no networks, and why: a clause that completes "this program is unrankable because"."""

    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The accuracies of one task, and which columns of the score matrix they belong to.

    Raises:
        BenchmarkError: if the two lists do not match, a network occurs twice, an accuracy is not finite, there are
            fewer than five networks, or all accuracies are equal.
    """

    task: str
    accuracies: npt.NDArray[np.float64]  # (n,)
    networks: npt.NDArray[np.int64]  # (n,) column of each network in the score matrix

    def __post_init__(self) -> None:
        networks = np.asarray(self.networks)
        accuracies = np.array(self.accuracies, dtype=np.float64)
        what = f"The labels of task {self.task!r}"
        if networks.ndim != 1 or accuracies.shape != networks.shape:
            raise BenchmarkError(
                f"{what} must be one accuracy per network, but there are accuracies of shape {accuracies.shape} and "
                f"networks of shape {networks.shape}."
            )
        if accuracies.size < MIN_NETWORKS:
            raise BenchmarkError(f"{what} cover {accuracies.size} network(s); use at least {MIN_NETWORKS}.")
        if networks.dtype.kind not in "iu" or networks.min() < 0 or np.unique(networks).size != networks.size:
            raise BenchmarkError(f"{what} must name distinct columns of the score matrix, counted from 0.")
        if not np.isfinite(accuracies).all():
            raise BenchmarkError(f"{what} hold {(~np.isfinite(accuracies)).sum()} accuracies that are not finite.")
        if accuracies.min() == accuracies.max():
            raise BenchmarkError(f"{what} are all {accuracies[0]:g}, so no order can be learnt; use other networks.")
        accuracies.setflags(write=False)
        object.__setattr__(self, "accuracies", accuracies)
        object.__setattr__(self, "networks", networks.astype(np.int64))


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
    sizes: Sequence[int],
    costs: Sequence[float],
    aggregate: Aggregate = "worst",
    directions: Sequence[int] | None = None,
) -> list[Fitness | Unrankable]:
    """The fitness of each program of a population.

    Failed networks rank last in either direction, so turning a proxy round is more than a change of sign: the
    correlations of both directions are computed, never derived, for programs with failures.

    Args:
        scores: (n_programs, n_networks) scores; NaN and ±inf mean that the program failed on the network.
        labels: the tasks, at least one; each uses its own columns of `scores`.
        sizes: nodes of each program.
        costs: cost of each program.
        aggregate: ``"worst"``: the lowest tau-b over the tasks; ``"mean"``: their mean.
        directions: +1 or -1 per program. Without it, each program gets the direction with the higher aggregate
            (+1 if equal), the same for all tasks.

    Returns:
        One `Fitness` or `Unrankable` per program, in order. A program is unrankable if on any task it has no finite
        score for more than `MAX_FAILED_SHARE` of the networks, or gives all others one and the same score.

    Raises:
        ValueError: if shapes or lengths disagree, two tasks share a name, or an option is unknown.
    """
    scores = np.asarray(scores, dtype=np.float64)
    _check_arguments(scores, labels, sizes, costs, aggregate, directions)
    failed = ~np.isfinite(scores)
    reasons = [_reason(row, lost, labels) for row, lost in zip(scores, failed, strict=True)]
    ranked = np.flatnonzero([reason is None for reason in reasons])
    results: list[Fitness | Unrankable] = [Unrankable(reason or "") for reason in reasons]
    if not ranked.size:
        return results

    scores, failed = scores[ranked], failed[ranked]
    as_given, turned = _both_directions(scores, failed, labels)
    combine = _AGGREGATES[aggregate]
    forward, backward = (combine(np.stack([task.tau for task in outcome])) for outcome in (as_given, turned))
    signs = np.where(backward > forward, -1, 1) if directions is None else np.asarray(directions)[ranked]
    for row, (program, sign) in enumerate(zip(ranked.tolist(), signs.tolist(), strict=True)):
        outcome = as_given if sign == 1 else turned
        results[program] = Fitness(
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
                for task, column in zip(labels, outcome, strict=True)
            ),
            direction=sign,
            correlation=float((forward if sign == 1 else backward)[row]),
            size=int(sizes[program]),
            cost=float(costs[program]),
        )
    return results


def rank_agreement(
    scores: npt.ArrayLike, labels: Sequence[Labels], aggregate: Aggregate = "worst", *, may_turn: bool = True
) -> FloatArray:
    """Spearman's rho of programs aggregated over the tasks: orders programs much as fitness does, much cheaper.

    Args:
        scores: (n_programs, n_networks) scores.
        labels: the tasks, as `assess_population` takes them.
        aggregate: ``"worst"`` or ``"mean"`` of the tasks.
        may_turn: whether a program may predict by a low score; then the better direction counts.

    Returns:
        (n_programs,) in [-1, 1]; ``-inf`` for a program that failed on a network or scores all of a task alike.
    """
    scores = np.asarray(scores, dtype=np.float64)
    result = np.full(len(scores), -np.inf)
    rows = np.flatnonzero(np.isfinite(scores).all(axis=1))
    if not rows.size:
        return result
    by_networks: dict[bytes, list[int]] = {}
    for index, task in enumerate(labels):
        by_networks.setdefault(task.networks.tobytes(), []).append(index)
    rho = np.empty((len(labels), len(rows)))
    for tasks in by_networks.values():  # tasks over the same networks share the ranks, the costly part
        accuracies = np.stack([labels[index].accuracies for index in tasks])
        rho[tasks] = spearman_matrix(scores[rows][:, labels[tasks[0]].networks], accuracies).T
    combine = _AGGREGATES[aggregate]
    found = np.maximum(combine(rho), combine(-rho)) if may_turn else combine(rho)
    result[rows] = np.where(np.isnan(found), -np.inf, found)
    return result


def _reason(row: FloatArray, failed: npt.NDArray[np.bool_], labels: Sequence[Labels]) -> str | None:
    """Why a program with these (n_networks,) scores orders no networks of some task; None if it orders all."""
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


def _check_arguments(
    scores: FloatArray,
    labels: Sequence[Labels],
    sizes: Sequence[int],
    costs: Sequence[float],
    aggregate: str,
    directions: Sequence[int] | None,
) -> None:
    if scores.ndim != 2:
        raise ValueError(f"Scores must have shape (n_programs, n_networks), got {scores.shape}.")
    lengths = {"sizes": len(sizes), "costs": len(costs)}
    if directions is not None:
        lengths["directions"] = len(directions)
        if not set(directions) <= {1, -1}:
            raise ValueError(f"The directions of proxies must be +1 or -1, got {sorted(set(directions))}.")
    for name, length in lengths.items():
        if length != len(scores):
            raise ValueError(f"Expected one entry of {name} per program, {len(scores)} in all, got {length}.")
    if aggregate not in _AGGREGATES:
        raise ValueError(f"The aggregate over tasks must be one of {sorted(_AGGREGATES)}, got {aggregate!r}.")
    names = [task.task for task in labels]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"Expected one or more tasks with distinct names, got {names}.")
    for task in labels:
        if task.networks.max() >= scores.shape[1]:
            raise ValueError(
                f"Task {task.task!r} names network {task.networks.max()}, but the scores cover {scores.shape[1]}."
            )


def _checked(kind: type[Fitness | TaskFitness], data: Any) -> dict[str, Any]:
    """`data` as keyword arguments of `kind`, whose fields are tuples, strings, whole or real numbers."""
    if not isinstance(data, Mapping):
        raise RunError(f"A recorded {kind.__name__} must be a table of values, got {data!r}.")
    expected = {field.name: field.type for field in dataclasses.fields(kind)}
    if set(data) != set(expected):
        raise RunError(
            f"A recorded {kind.__name__} has keys {sorted(map(str, data))}; expected {sorted(expected)}: it was "
            f"written by another version."
        )
    values = dict(data)
    for name, declared in expected.items():
        value = values[name]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if declared == "float" and is_number:
            values[name] = float(value)
        elif declared in ("float", "int", "str") and (isinstance(value, bool) or type(value).__name__ != declared):
            raise RunError(f"A recorded {kind.__name__} has {name} {value!r}; expected a value of type {declared}.")
    return values

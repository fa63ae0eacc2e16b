"""From programs to outcomes: evaluation, early decisions and fitness in one step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eznas.errors import ConfigError
from eznas.evaluation import Invalid, PopulationEvaluator
from eznas.fitness import (
    DEFAULT_OBJECTIVES,
    OBJECTIVES,
    Aggregate,
    Fitness,
    Labels,
    Objective,
    Unrankable,
    assess_population,
    objectives_named,
    rank_agreement,
    upper_bounds,
)
from eznas.programs import Program


@dataclass(frozen=True, slots=True)
class Stopped:
    """A program that was not looked at further, because it could not matter any more.

    Attributes:
        after: networks it was seen on.
        bound: correlation it stays below on all networks, with the confidence of the run.
        needed: correlation from which it would have mattered.
    """

    after: int
    bound: float
    needed: float


def check_objectives(objectives: Sequence[Objective], labels: Sequence[Labels], *, is_early: bool) -> None:
    """Refuse objectives that a run on these labels cannot have.

    Args:
        objectives: what selection maximises, the most important first.
        labels: the tasks.
        is_early: whether the run decides early.

    Raises:
        ConfigError: if the first objective ranks no networks, one occurs twice, or early decisions are asked for with
            ranking objectives other than tau, whose bounds are not known.
        BenchmarkError: if an objective reads covariates that a task lacks.
    """
    ranking = [one for one in objectives_named(objectives) if one.is_ranking]
    if is_early and ranking != [OBJECTIVES["tau"]]:
        raise ConfigError(
            f"Early decisions know the bounds of tau only, but the objectives that rank networks are "
            f"{', '.join(one.name for one in ranking)}; set evolution.early_decisions=false or keep tau alone"
        )
    for objective in ranking:
        for task in labels:
            objective.check(task)


@dataclass(frozen=True, slots=True)
class Assessor:
    """Ranks populations on the networks a run evolves on.

    Attributes:
        evaluator: gives scores.
        labels: one per task, with the columns of the score matrix it uses.
        aggregate: of each ranking objective over the tasks, ``"worst"`` or ``"mean"``.
        may_turn: whether a program may predict by a low score.
        confidence: of early decisions; None decides nothing early.
        objectives: what selection maximises, the most important first.
        weights: of the tasks in the mean; equal without.

    Raises:
        EznasError: as `check_objectives`.
    """

    evaluator: PopulationEvaluator
    labels: tuple[Labels, ...]
    aggregate: Aggregate
    may_turn: bool
    confidence: float | None = None
    objectives: tuple[Objective, ...] = objectives_named(DEFAULT_OBJECTIVES)
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check_objectives(self.objectives, self.labels, is_early=self.confidence is not None)

    def assess(
        self, programs: Sequence[Program], needed: npt.NDArray[np.float64] | None = None
    ) -> tuple[list[Fitness | Invalid | Stopped], npt.NDArray[np.float32]]:
        """Fitness of each program, or why it has none; and the (n_programs, n_networks) scores.

        Args:
            programs: complete ones.
            needed: (n_programs,) tau from which each would matter. With it, and a confidence, networks are
                looked at in rounds, and a program whose upper bound falls below is stopped; its missing scores are NaN.
        """
        if not programs:
            return [], np.empty((0, self.evaluator.n_networks), dtype=np.float32)
        if needed is None or self.confidence is None:
            matrix = self.evaluator.evaluate(programs)
            scores, failures = matrix.scores, dict(matrix.failures)
            stopped: dict[int, Stopped] = {}
        else:
            scores, failures, stopped = self._in_rounds(programs, needed, self.confidence)
        going = [index for index in range(len(programs)) if index not in stopped]
        outcomes = assess_population(
            scores[going],
            self.labels,
            [programs[index] for index in going],
            self.objectives,
            aggregate=self.aggregate,
            weights=self.weights,
            directions=None if self.may_turn else [1] * len(going),
        )
        found: list[Fitness | Invalid | Stopped | None] = [stopped.get(index) for index in range(len(programs))]
        for index, outcome in zip(going, outcomes, strict=True):
            found[index] = self._outcome(outcome, failures.get(index))
        with np.errstate(over="ignore"):  # beyond float32 a score counts as failed, but only where it is looked up
            return [outcome for outcome in found if outcome is not None], scores.astype(np.float32)

    def promise(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """(n_programs,) the first objective of programs with these scores, or its quick stand-in."""
        return rank_agreement(
            scores,
            self.labels,
            self.aggregate,
            objective=self.objectives[0],
            weights=self.weights,
            may_turn=self.may_turn,
        )

    def _in_rounds(
        self, programs: Sequence[Program], needed: npt.NDArray[np.float64], confidence: float
    ) -> tuple[npt.NDArray[np.float64], dict[int, tuple[int, Invalid]], dict[int, Stopped]]:
        """Scores, first failures and early decisions, round by round; what is stopped is not sent out again."""
        scores = np.full((len(programs), self.evaluator.n_networks), np.nan)
        failures: dict[int, tuple[int, Invalid]] = {}
        stopped: dict[int, Stopped] = {}
        going = np.arange(len(programs))
        rounds = self.evaluator.rounds
        for number, columns in enumerate(rounds):
            matrix = self.evaluator.evaluate([programs[index] for index in going.tolist()], part=number)
            block = np.where(np.isfinite(matrix.scores), matrix.scores, -np.inf)
            scores[np.ix_(going, columns)] = block
            for row, failure in matrix.failures.items():
                failures.setdefault(int(going[row]), failure)
            if number + 1 == len(rounds):
                break
            bounds = upper_bounds(
                scores[going],
                self.labels,
                aggregate=self.aggregate,
                weights=self.weights,
                may_turn=self.may_turn,
                confidence=confidence,
            )
            n_seen = sum(len(one) for one in rounds[: number + 1])
            lost = (bounds < needed[going]) & (bounds > -np.inf)  # failures go on, to be counted on all networks
            for row in np.flatnonzero(lost).tolist():
                index = int(going[row])
                stopped[index] = Stopped(n_seen, float(bounds[row]), float(needed[index]))
            going = going[~lost]
            if not going.size:
                break
        return scores, failures, stopped

    @staticmethod
    def _outcome(outcome: Fitness | Unrankable, failure: tuple[int, Invalid] | None) -> Fitness | Invalid:
        if isinstance(outcome, Fitness):
            return outcome
        if failure is None:
            return Invalid(outcome.reason, 0)
        return Invalid(f"{failure[1].reason}; {outcome.reason}", failure[1].at)

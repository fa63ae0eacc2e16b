"""From programs to outcomes: evaluation and fitness in one step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eznas.bank import BankEvaluator
from eznas.evaluation import PopulationEvaluator
from eznas.fitness import (
    DEFAULT_OBJECTIVES,
    Aggregate,
    Fitness,
    Labels,
    Objective,
    Unrankable,
    assess_population,
    objectives_named,
    rank_agreement,
)
from eznas.programs import FailureKind, Invalid, Program


def check_objectives(objectives: Sequence[Objective], labels: Sequence[Labels]) -> None:
    """Refuse objectives that a run on these labels cannot have.

    Args:
        objectives: what selection maximises, the most important first.
        labels: the tasks.

    Raises:
        ConfigError: if the first objective ranks no networks, or one occurs twice.
        BenchmarkError: if an objective reads covariates that a task lacks.
    """
    for objective in objectives_named(objectives):
        for task in labels if objective.is_ranking else ():
            objective.check(task)


@dataclass(frozen=True, slots=True)
class Assessor:
    """Ranks populations on the networks a run evolves on.

    Attributes:
        evaluator: gives scores.
        labels: one per task, with the columns of the score matrix it uses.
        aggregate: of each ranking objective over the tasks, ``"worst"`` or ``"mean"``.
        may_turn: whether a program may predict by a low score.
        objectives: what selection maximises, the most important first.
        weights: of the tasks in the mean; equal without.

    Raises:
        EznasError: as `check_objectives`.
    """

    evaluator: PopulationEvaluator | BankEvaluator
    labels: tuple[Labels, ...]
    aggregate: Aggregate
    may_turn: bool
    objectives: tuple[Objective, ...] = objectives_named(DEFAULT_OBJECTIVES)
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check_objectives(self.objectives, self.labels)

    def assess(self, programs: Sequence[Program]) -> tuple[list[Fitness | Invalid], npt.NDArray[np.float32]]:
        """Fitness of each complete program, or why it has none; and the (n_programs, n_networks) scores."""
        if not programs:
            return [], np.empty((0, self.evaluator.n_networks), dtype=np.float32)
        matrix = self.evaluator.evaluate(programs)
        outcomes = assess_population(
            matrix.scores,
            self.labels,
            programs,
            self.objectives,
            aggregate=self.aggregate,
            weights=self.weights,
            directions=None if self.may_turn else [1] * len(programs),
        )
        found = [self._outcome(outcome, matrix.failures.get(index)) for index, outcome in enumerate(outcomes)]
        with np.errstate(over="ignore"):  # beyond float32 a score counts as failed, but only where it is looked up
            return found, matrix.scores.astype(np.float32)

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

    @staticmethod
    def _outcome(outcome: Fitness | Unrankable, failure: tuple[int, Invalid] | None) -> Fitness | Invalid:
        if isinstance(outcome, Fitness):
            return outcome
        if failure is None:
            return Invalid(FailureKind.CONSTANT, outcome.reason, 0)
        return Invalid(failure[1].kind, f"{failure[1].detail}; {outcome.reason}", failure[1].at)

"""From programs to outcomes: evaluation and fitness in one step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eznas.evaluation import PopulationEvaluator
from eznas.fitness import Aggregate, Fitness, Labels, Unrankable, assess_population, rank_agreement
from eznas.programs import FailureKind, Invalid, Program, cost


@dataclass(frozen=True, slots=True)
class Assessor:
    """Ranks populations on the networks a run evolves on.

    Attributes:
        evaluator: gives scores.
        labels: one per task, with the columns of the score matrix it uses.
        aggregate: of the tasks' correlations, ``"worst"`` or ``"mean"``.
        may_turn: whether a program may predict by a low score.
    """

    evaluator: PopulationEvaluator
    labels: tuple[Labels, ...]
    aggregate: Aggregate
    may_turn: bool

    def assess(self, programs: Sequence[Program]) -> tuple[list[Fitness | Invalid], npt.NDArray[np.float32]]:
        """Fitness of each complete program, or why it has none; and the (n_programs, n_networks) scores."""
        if not programs:
            return [], np.empty((0, self.evaluator.n_networks), dtype=np.float32)
        matrix = self.evaluator.evaluate(programs)
        outcomes = assess_population(
            matrix.scores,
            self.labels,
            [program.size for program in programs],
            [cost(program) for program in programs],
            aggregate=self.aggregate,
            directions=None if self.may_turn else [1] * len(programs),
        )
        found = [self._outcome(outcome, matrix.failures.get(index)) for index, outcome in enumerate(outcomes)]
        with np.errstate(over="ignore"):  # beyond float32 a score counts as failed, but only where it is looked up
            return found, matrix.scores.astype(np.float32)

    def promise(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """(n_programs,) Spearman's rho over the tasks of programs with these scores: a quick stand-in for fitness."""
        return rank_agreement(scores, self.labels, aggregate=self.aggregate, may_turn=self.may_turn)

    @staticmethod
    def _outcome(outcome: Fitness | Unrankable, failure: tuple[int, Invalid] | None) -> Fitness | Invalid:
        if isinstance(outcome, Fitness):
            return outcome
        if failure is None:
            return Invalid(FailureKind.CONSTANT, outcome.reason, 0)
        return Invalid(failure[1].kind, f"{failure[1].detail}; {outcome.reason}", failure[1].at)

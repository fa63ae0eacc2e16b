"""Searches over nothing: fitness is a fixed function of the program, so that a whole run takes a moment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eznas.evaluation import ScoreMatrix
from eznas.evolution import Search
from eznas.fitness import DEFAULT_OBJECTIVES, Fitness, TaskFitness, objectives_named
from eznas.programs import FailureKind, Invalid, Program, cost
from eznas.randomness import stream
from eznas.runs import Journal, RunFolder
from eznas.runs.config import EvolutionSettings

SETTINGS = EvolutionSettings(
    population_size=12, initial_size=20, n_generations=5, max_size=12, max_height=5, initial_height=4
)


class FakeAssessor:
    """Ranks programs by their digest; about one in eight fails."""

    objectives = objectives_named(DEFAULT_OBJECTIVES)

    def __init__(self) -> None:
        self.assessed: list[str] = []

    def assess(self, programs: Sequence[Program]) -> tuple[list[Fitness | Invalid], np.ndarray]:
        self.assessed += [program.digest for program in programs]
        return [self._outcome(program) for program in programs], np.array([self._scores(p) for p in programs])

    def promise(self, scores: np.ndarray) -> np.ndarray:
        return np.where(np.isfinite(scores).all(axis=1), scores[:, 0], -np.inf)

    def _scores(self, program: Program) -> np.ndarray:
        return np.frombuffer(bytes.fromhex(program.digest)[:12], dtype=np.uint8).astype(np.float32)

    def _outcome(self, program: Program) -> Fitness | Invalid:
        number = int(program.digest, 16)
        if number % 8 == 0:
            return Invalid(FailureKind.NON_FINITE, "of no use", 0)
        tau = (number % 1000) / 1000
        task = TaskFitness(
            task="cifar10", tau=tau, rho=tau, n=20, n_failed=0, standard_error=0.1, share_tied=number % 97 / 100
        )
        values = (tau, -float(program.size), -cost(program))
        return Fitness(
            tasks=(task,), direction=1, correlation=tau, size=program.size, cost=cost(program), values=values
        )


def make_search(path: Path, settings: EvolutionSettings = SETTINGS, *, seed: int = 3, n_checkpoints: int = 3) -> Search:
    """A search in a run folder, gone on with if there is one."""
    folder = RunFolder(path)
    (path / "checkpoints").mkdir(parents=True, exist_ok=True)
    journal = Journal(folder, n_checkpoints)
    return Search(settings, seed, FakeAssessor(), journal, journal.load())  # type: ignore[arg-type]


FILES = ("programs.jsonl", "failures.jsonl", "hall_of_fame.csv")


def contents(path: Path) -> dict[str, bytes]:
    """What a run wrote that does not tell the time."""
    return {name: (path / name).read_bytes() for name in FILES}


N = 120
"""Networks of a `FakeEvaluator`."""


class FakeEvaluator:
    """Scores that follow the accuracies as closely as the digest of the program says; some programs fail."""

    n_networks = N

    def __init__(self, accuracies: np.ndarray) -> None:
        self.accuracies = accuracies

    def evaluate(self, programs: Sequence[Program]) -> ScoreMatrix:
        scores = np.stack([self._scores(program) for program in programs])
        failed = ~np.isfinite(scores)
        first = {int(p): int(failed[p].argmax()) for p in np.flatnonzero(failed.any(axis=1))}
        failure = Invalid(FailureKind.NON_FINITE, "of no use", 0)
        return ScoreMatrix(scores, {p: (network, failure) for p, network in first.items()})

    def _scores(self, program: Program) -> np.ndarray:
        number = int(program.digest, 16)
        rng = stream(number % 2**32, "scores")
        scores = self.accuracies + rng.exponential(3) * rng.normal(size=N)
        return np.full(N, np.nan) if number % 9 == 0 else scores

"""Early decisions: what is stopped could not have mattered, and without them nothing changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eznas.evaluation import ScoreMatrix
from eznas.evolution import Assessor, Grammar, Search, Variation
from eznas.fitness import Fitness, Labels
from eznas.programs import Invalid, Program, parse
from eznas.randomness import stream
from eznas.runs import Journal, RunFolder
from eznas.runs.config import EvolutionSettings
from eznas.runs.journal import Stopped
from primitives import EXTENDED

N = 120
ROUNDS = tuple(np.flatnonzero(np.isin(np.arange(N) % 4, which)) for which in ([0], [2], [1, 3]))
SETTINGS = EvolutionSettings(
    population_size=40, initial_size=60, n_generations=6, max_size=12, max_height=5, early_decisions=True
)


class FakeEvaluator:
    """Scores that follow the accuracies as closely as the digest of the program says; some programs fail."""

    n_networks = N
    rounds = ROUNDS

    def __init__(self, accuracies: np.ndarray) -> None:
        self.accuracies = accuracies
        self.asked: list[tuple[int, int | None]] = []

    def evaluate(self, programs: Sequence[Program], part: int | None = None) -> ScoreMatrix:
        self.asked.append((len(programs), part))
        columns = np.arange(N) if part is None else self.rounds[part]
        scores = np.stack([self._scores(program) for program in programs])[:, columns]
        failed = ~np.isfinite(scores)
        first = {int(p): int(columns[failed[p].argmax()]) for p in np.flatnonzero(failed.any(axis=1))}
        return ScoreMatrix(scores, {p: (network, Invalid("of no use", 0)) for p, network in first.items()})

    def _scores(self, program: Program) -> np.ndarray:
        number = int(program.digest, 16)
        rng = stream(number % 2**32, "scores")
        scores = self.accuracies + rng.exponential(3) * rng.normal(size=N)
        return np.full(N, np.nan) if number % 9 == 0 else scores


@pytest.fixture
def labels() -> tuple[Labels, ...]:
    return (Labels("cifar10", stream(1).normal(size=N), np.arange(N)),)


def run(
    path: Path, settings: EvolutionSettings, labels: tuple[Labels, ...], seed: int = 5
) -> tuple[Search, FakeEvaluator]:
    evaluator = FakeEvaluator(labels[0].accuracies)
    assessor = Assessor(
        evaluator,  # type: ignore[arg-type]
        labels,
        "worst",
        True,
        settings.early_confidence if settings.early_decisions else None,
    )
    (path / "checkpoints").mkdir(parents=True, exist_ok=True)
    journal = Journal(RunFolder(path), 3)
    search = Search(settings, seed, assessor, journal, journal.load())
    search.run()
    return search, evaluator


def test_what_is_stopped_would_not_have_mattered(tmp_path: Path, labels: tuple[Labels, ...]) -> None:
    search, evaluator = run(tmp_path / "run", SETTINGS, labels)
    records = RunFolder(tmp_path / "run").read_lines("stopped.jsonl")
    assert len(records) == len(search.state.stopped) > 40
    assert {record["networks"] for record in records} == {30, 60}
    whole = Assessor(evaluator, labels, "worst", True)  # type: ignore[arg-type]
    outcomes, _ = whole.assess([parse(record["program"]) for record in records])
    wrong = [
        outcome.correlation >= record["needed"]
        for outcome, record in zip(outcomes, records, strict=True)
        if isinstance(outcome, Fitness)
    ]
    assert len(wrong) == len(records)  # failures are counted as failures, not stopped
    assert np.mean(wrong) <= 0.02
    assert all(record["bound"] < record["needed"] for record in records)
    assert search.state.n_evaluated == 60 + 6 * 40


def test_programs_are_looked_at_in_rounds_after_the_first_generation(
    tmp_path: Path, labels: tuple[Labels, ...]
) -> None:
    _, evaluator = run(tmp_path / "run", SETTINGS, labels)
    assert evaluator.asked[0] == (60, None)
    first, second, third = (sum(n for n, part in evaluator.asked if part == number) for number in range(3))
    assert first == 6 * 40
    assert third < second < first


def test_without_early_decisions_all_is_as_before(tmp_path: Path, labels: tuple[Labels, ...]) -> None:
    settings = SETTINGS.model_copy(update={"early_decisions": False})
    search, evaluator = run(tmp_path / "off", settings, labels)
    assert {part for _, part in evaluator.asked} == {None}
    assert search.state.stopped == {}
    assert (tmp_path / "off" / "stopped.jsonl").read_bytes() == b""


def test_a_stopped_run_resumes_to_the_same_end(tmp_path: Path, labels: tuple[Labels, ...]) -> None:
    whole, _ = run(tmp_path / "whole", SETTINGS, labels)
    run(tmp_path / "parts", SETTINGS.model_copy(update={"n_generations": 3}), labels)
    parts, _ = run(tmp_path / "parts", SETTINGS, labels)
    assert list(parts.state.candidates) == list(whole.state.candidates)
    assert list(parts.state.stopped) == list(whole.state.stopped)


def test_scores_of_those_that_go_on_are_those_of_one_look(labels: tuple[Labels, ...]) -> None:
    programs = [o.program for o in Variation(Grammar(EXTENDED, max_size=9, max_height=4)).initial(50, stream(2))]
    assessor = Assessor(FakeEvaluator(labels[0].accuracies), labels, "worst", True, 0.99)  # type: ignore[arg-type]
    whole, scores = assessor.assess(programs)
    some, in_rounds = assessor.assess(programs, np.full(50, 0.4))
    assert any(isinstance(outcome, Stopped) for outcome in some)
    for index, (one, other) in enumerate(zip(whole, some, strict=True)):
        if isinstance(other, Stopped):
            assert np.isnan(in_rounds[index]).any()
        else:
            assert one == other
            if isinstance(one, Fitness):
                np.testing.assert_array_equal(scores[index], in_rounds[index])
    never, _ = replace(assessor, confidence=None).assess(programs, np.full(50, 0.4))
    assert never == whole

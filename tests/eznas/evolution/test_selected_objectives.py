"""A run selects by whatever objectives it names, in their order."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from eznas.errors import BenchmarkError
from eznas.evolution import Assessor, Search, check_objectives, non_dominated
from eznas.fitness import Covariates, Labels, Objective, objectives_named
from eznas.runs import Journal, RunFolder, hall_of_fame
from eznas.runs.config import EvolutionSettings
from tests.eznas.evolution.fakes import FakeEvaluator, N

SETTINGS = EvolutionSettings(population_size=20, initial_size=30, n_generations=2, max_size=12, max_height=5)
LEAVES = Objective(
    name="leaves", title="statistics read", summary="Minus the statistics.", higher_is_better=False,
    of_program=lambda program: -float(len(program.statistics)), span=(-10.0, 0.0),
)  # fmt: skip


@pytest.fixture
def labels() -> tuple[Labels, ...]:
    rng = np.random.default_rng(0)
    size = rng.normal(size=N)
    covariates = Covariates(size, size + rng.normal(size=N), np.digitize(size, [0]))
    return (Labels("cifar10", size + rng.normal(size=N), np.arange(N), covariates),)


def run(path: Path, labels: tuple[Labels, ...], objectives: tuple[Objective, ...]) -> Search:
    assessor = Assessor(FakeEvaluator(labels[0].accuracies), labels, "worst", True, objectives)  # type: ignore[arg-type]
    (path / "checkpoints").mkdir(parents=True, exist_ok=True)
    journal = Journal(RunFolder(path), 3)
    search = Search(SETTINGS, 5, assessor, journal, journal.load())
    search.run()
    return search


@pytest.mark.parametrize("names", [("rho",), ("partial_tau", "top_tau", "needs"), ("ndcg", "size", LEAVES)])
def test_a_run_has_the_objectives_it_names(tmp_path: Path, labels: tuple[Labels, ...], names: tuple) -> None:  # type: ignore[type-arg]
    objectives = objectives_named(names)
    state = run(tmp_path / "run", labels, objectives).state
    found = list(state.candidates.values())
    assert all(c.objectives == c.fitness.values for c in found)
    assert {len(c.objectives) for c in found} == {len(names)}
    best = max(found, key=lambda c: c.objectives)
    assert best.id in state.population, "the elite is that of the first objective"
    assert hall_of_fame(state, 1) == [best]
    events = [json.loads(line) for line in (tmp_path / "run/events.jsonl").read_text().splitlines()]
    assert events[-1]["best_correlation"] == events[-1]["best_values"][0] == best.fitness.correlation
    assert events[-1]["best_values"] == list(best.objectives)
    front = non_dominated(np.array([c.objectives for c in found]))
    assert events[-1]["front_size"] == len(front)
    if len(names) == 1:
        assert events[-1]["hypervolume"] == pytest.approx(best.fitness.correlation)
    assert Journal(RunFolder(tmp_path / "run"), 3).load() == state


def test_another_first_objective_is_another_run(tmp_path: Path, labels: tuple[Labels, ...]) -> None:
    by_tau, by_level = (
        run(tmp_path / name, labels, objectives_named([name, "size", "cost"])).state for name in ("tau", "level_rho")
    )
    assert list(by_tau.candidates)[:20] == list(by_level.candidates)[:20]
    assert by_tau.population != by_level.population


def test_the_promise_follows_the_first_objective(labels: tuple[Labels, ...]) -> None:
    scores = np.stack([labels[0].accuracies, labels[0].covariates.log_macs]).astype(np.float32)  # type: ignore[union-attr]
    evaluator = FakeEvaluator(labels[0].accuracies)
    promises = [
        Assessor(evaluator, labels, "worst", True, objectives_named([name])).promise(scores)  # type: ignore[arg-type]
        for name in ("tau", "rho", "partial_rho")
    ]
    assert promises[0] == pytest.approx(promises[1])
    assert promises[2][0] == pytest.approx(1)
    assert promises[2][1] == -np.inf


def test_objectives_that_a_sample_cannot_have_are_refused() -> None:
    bare = Labels("cifar10", np.arange(9.0), np.arange(9))
    with pytest.raises(BenchmarkError, match="Objective 'level_rho' needs covariates"):
        check_objectives(objectives_named(["tau", "level_rho"]), [bare])

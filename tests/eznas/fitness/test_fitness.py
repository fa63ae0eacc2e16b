"""A population's fitness equals the one worked out program by program from the plain definitions."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from eznas.errors import BenchmarkError, RunError
from eznas.fitness import (
    Aggregate,
    Fitness,
    Labels,
    Unrankable,
    assess_population,
    kendall_standard_error,
    kendall_tau_b,
    rank_agreement,
    scores_with_failures_last,
    spearman,
)
from eznas.forms import form_of
from eznas.programs import Program, parse
from tests.eznas.calls import n_calls

N_NETWORKS = 80


@pytest.fixture
def labels() -> list[Labels]:
    """Two tasks on overlapping, unordered columns."""
    rng = np.random.default_rng(0)
    return [
        Labels("cifar10", rng.uniform(10, 95, size=40), rng.permutation(N_NETWORKS)[:40]),
        Labels("cifar100", rng.uniform(1, 75, size=60), rng.permutation(N_NETWORKS)[:60]),
    ]


def population(labels: list[Labels], n_programs: int, seed: int = 1) -> np.ndarray:
    """Scores that order the second task's networks more or less well, in either direction; some networks fail."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=N_NETWORKS)
    truth[labels[1].networks] = labels[1].accuracies
    scores = rng.normal(size=(n_programs, 1)) * truth + rng.normal(size=(n_programs, N_NETWORKS)) * 20
    scores[: n_programs // 2, 3] = np.nan
    scores[0, 3] = np.inf
    scores[1:2, 4] = -np.inf
    return scores


def assess(scores: np.ndarray, labels: list[Labels], **options: Any) -> list[Fitness | Unrankable]:
    return assess_population(scores, labels, [program(k % 90 + 1) for k in range(len(scores))], **options)


def program(size: int) -> Program:
    """A program of that many nodes."""
    return parse("(sqrt " * (size - 1) + "parameter_count" + ")" * (size - 1))


def by_definition(row: np.ndarray, labels: list[Labels], direction: int) -> list[tuple[float, float, float]]:
    """(tau, rho, standard error) per task, one program and one task at a time."""
    result = []
    for task in labels:
        x = row[task.networks]
        x = scores_with_failures_last(x, ~np.isfinite(x), direction)
        y = task.accuracies
        result.append((kendall_tau_b(x, y), spearman(x, y), kendall_standard_error(x, y)))
    return result


@pytest.mark.parametrize("aggregate", ["worst", "mean"])
@pytest.mark.parametrize("fixed", [False, True], ids=["free direction", "fixed direction"])
def test_a_population_is_assessed_as_its_programs_are(labels: list[Labels], aggregate: Aggregate, fixed: bool) -> None:
    scores = population(labels, 20)
    directions = [1, -1] * 10 if fixed else None
    combine = min if aggregate == "worst" else np.mean
    seen = set()
    for k, fitness in enumerate(assess(scores, labels, aggregate=aggregate, directions=directions)):
        assert isinstance(fitness, Fitness)
        options = {d: by_definition(scores[k], labels, d) for d in (1, -1)}
        aggregates = {d: combine([tau for tau, _, _ in tasks]) for d, tasks in options.items()}
        best = directions[k] if directions else max(aggregates, key=lambda d: aggregates[d])
        assert fitness.direction == best
        assert fitness.correlation == pytest.approx(aggregates[best], abs=1e-12)
        ours = [(task.tau, task.rho, task.standard_error) for task in fitness.tasks]
        for mine, expected in zip(ours, options[best], strict=True):
            assert mine == pytest.approx(expected, abs=1e-12)
        assert fitness.size == k + 1
        seen.add(fitness.direction)
    assert seen == {1, -1}


def test_failures_are_counted_and_rank_last_in_both_directions(labels: list[Labels]) -> None:
    """Turning a proxy round must not lift its failed networks from the last place to the first."""
    (task,) = labels[:1]
    worst = task.networks[np.argmin(task.accuracies)]
    for sign in (1, -1):
        scores = np.zeros((1, N_NETWORKS))
        scores[0, task.networks] = sign * task.accuracies
        scores[0, worst] = np.nan
        (fitness,) = assess(scores, [task])
        assert isinstance(fitness, Fitness)
        assert fitness.direction == sign
        assert fitness.correlation == 1
        assert (fitness.tasks[0].n, fitness.tasks[0].n_failed) == (40, 1)


def test_the_worst_task_decides(labels: list[Labels]) -> None:
    fitness = assess(population(labels, 6), labels)[5]
    assert isinstance(fitness, Fitness)
    assert fitness.correlation == min(task.tau for task in fitness.tasks)
    assert [task.task for task in fitness.tasks] == ["cifar10", "cifar100"]


def test_more_failures_than_allowed_make_a_program_unrankable(labels: list[Labels]) -> None:
    scores = np.random.default_rng(2).normal(size=(2, N_NETWORKS))
    scores[0, labels[0].networks[:2]] = np.nan  # 2 of 40: 5 %
    scores[1, labels[0].networks[:3]] = -np.inf
    kept, dropped = assess(scores, labels[:1])
    assert isinstance(kept, Fitness)
    assert dropped == Unrankable(
        "it has no finite score on 3 of 40 networks of task 'cifar10' (7.5%; at most 5% may fail)"
    )


@pytest.mark.parametrize("n_failed", [0, 1])
def test_one_score_for_all_networks_is_unrankable(labels: list[Labels], n_failed: int) -> None:
    """Also when a failed network, tied last, would make a correlation defined."""
    scores = np.full((1, N_NETWORKS), 2.5)
    scores[0, labels[0].networks[:n_failed]] = np.nan
    (outcome,) = assess(scores, labels[:1])
    assert outcome == Unrankable(f"it scores all {40 - n_failed} networks of task 'cifar10' 2.5")


def test_a_fitness_survives_json(labels: list[Labels]) -> None:
    fitness = assess(population(labels, 3), labels)[0]
    assert isinstance(fitness, Fitness)
    assert Fitness.model_validate_json(fitness.model_dump_json()) == fitness


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 3.5}, "Setting 'size' in f.json: input should be a valid integer"),
        ({"tasks": None}, "Setting 'tasks' in f.json: input should be a valid tuple"),
        ({"tasks": [3]}, "Setting 'tasks.0' in f.json: input should be a valid dictionary"),
        ({"values": [math.inf]}, "Setting 'values.0' in f.json: input should be a finite number"),
        ({"direction": 0}, "Setting 'direction' in f.json: input should be 1 or -1, got 0"),
        ({"colour": 1}, "Unknown key 'colour' in f.json"),
    ],
)
def test_a_damaged_record_is_refused(labels: list[Labels], change: dict[str, Any], message: str) -> None:
    fitness = assess(population(labels, 1), labels)[0]
    assert isinstance(fitness, Fitness)
    with pytest.raises(RunError, match=message):
        form_of(Fitness, json.dumps(fitness.model_dump() | change), where="f.json", error=RunError, remedy="-")


@pytest.mark.parametrize(
    ("accuracies", "networks", "message"),
    [
        ([1.0, 2.0], [0, 1, 2], r"accuracies of shape \(2,\) and networks of shape \(3,\)"),
        ([1.0, 2.0], [0, 1], r"cover 2 network\(s\); use at least 5"),
        ([1.0, 2.0, 3.0, 4.0, 5.0], [0, 1, 2, 3, 3], "distinct columns"),
        ([1.0, 2.0, 3.0, 4.0, 5.0], [0, 1, 2, 3, -1], "distinct columns"),
        ([1.0, 2.0, 3.0, 4.0, 5.0], [0.0, 1.0, 2.0, 3.0, 4.0], "distinct columns"),
        ([1.0, 2.0, 3.0, 4.0, np.nan], [0, 1, 2, 3, 4], "hold 1 accuracies that are not finite"),
        ([10.0] * 5, [0, 1, 2, 3, 4], "are all 10, so no order can be learnt"),
    ],
)
def test_bad_labels_are_refused(accuracies: list[float], networks: list[int], message: str) -> None:
    with pytest.raises(BenchmarkError, match=message):
        Labels("cifar10", np.array(accuracies), np.array(networks))


def test_bad_arguments_are_refused(labels: list[Labels]) -> None:
    scores = np.zeros((2, N_NETWORKS))
    with pytest.raises(ValueError, match=r"one entry of programs per program, 2 in all, got 1"):
        assess_population(scores, labels, [program(1)])
    with pytest.raises(ValueError, match=r"must be \+1 or -1, got \[0, 1\]"):
        assess(scores, labels, directions=[0, 1])
    with pytest.raises(ValueError, match=r"one of \['bound', 'mean', 'worst'\], got 'best'"):
        assess(scores, labels, aggregate="best")
    with pytest.raises(ValueError, match="distinct names"):
        assess(scores, [labels[0], labels[0]])
    with pytest.raises(ValueError, match="but the scores cover 10"):
        assess(scores[:, :10], labels)


def test_the_work_grows_with_the_population_and_no_faster() -> None:
    rng = np.random.default_rng(3)
    tasks = [Labels(name, rng.normal(size=150), np.arange(150)) for name in ("a", "b", "c")]
    scores = rng.normal(size=(400, 150))
    scores[:, 7] = np.nan  # the slow case: both directions have to be computed
    half, whole = (n_calls(lambda n=n: assess(scores[:n], tasks)) for n in (200, 400))
    assert whole < 2.2 * half


@pytest.mark.parametrize("aggregate", ["worst", "mean"])
def test_rank_agreement_is_the_aggregate_of_spearmans_rho(labels: list[Labels], aggregate: Aggregate) -> None:
    scores = population(labels, 8)[4:]
    combine = min if aggregate == "worst" else np.mean
    rho = [[spearman(row[task.networks], task.accuracies) for task in labels] for row in scores]
    one_way = [combine(values) for values in rho]
    either = [max(combine(values), combine([-r for r in values])) for values in rho]
    np.testing.assert_allclose(rank_agreement(scores, labels, aggregate, may_turn=False), one_way, atol=1e-12)
    np.testing.assert_allclose(rank_agreement(scores, labels, aggregate), either, atol=1e-12)
    assert one_way != pytest.approx(either)


def test_rank_agreement_has_no_opinion_of_failures_and_constants(labels: list[Labels]) -> None:
    scores = population(labels, 8)[4:]
    scores[0, 7], scores[1, 7], scores[2] = np.nan, np.inf, 3.0
    found = rank_agreement(scores, labels)
    assert (found[:3] == -np.inf).all()
    assert np.isfinite(found[3])

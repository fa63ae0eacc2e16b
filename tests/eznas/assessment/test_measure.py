"""Measurements: values by definition, intervals that hold what they say, and nothing where nothing is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eznas.assessment import CRITERIA, Criterion, Measurement, measure, measure_many, paired_difference
from eznas.errors import BenchmarkError
from eznas.fitness import OBJECTIVES, Labels, bootstrap_interval, kendall_tau_b, scores_with_failures_last, spearman
from eznas.fitness.labels import FloatArray
from eznas.randomness import stream
from tests.eznas.assessment.samples import labels_of, proxy_of


def measured(scores: FloatArray, labels: Labels, direction: int = 1, **options: Any) -> Measurement:
    options = {"rng": np.random.default_rng(0), "n_resamples": 200} | options
    return measure(scores, labels, direction=direction, **options)


def test_criteria_are_rows_of_the_table_of_objectives() -> None:
    assert all(OBJECTIVES[name].is_ranking for name in CRITERIA)
    assert set(CRITERIA) <= set(Measurement.model_fields)


@pytest.mark.parametrize("direction", [1, -1])
def test_values_are_the_definitions_and_lie_in_their_intervals(direction: int) -> None:
    labels = labels_of(80)
    scores = direction * proxy_of(labels, 5.0)
    scores[[3, 7]] = np.nan, np.inf
    found = measured(scores, labels, direction)
    x = scores_with_failures_last(scores, ~np.isfinite(scores), direction)
    assert tuple(found.criteria) == CRITERIA
    for name, criterion in found.criteria.items():
        assert criterion.value == pytest.approx(float(OBJECTIVES[name].of(x[None], labels)[0][0]))  # type: ignore[misc]
        assert criterion.low is not None
        assert criterion.high is not None
        assert criterion.low < criterion.value < criterion.high
    assert found.tau is not None
    assert found.rho is not None
    assert (found.tau.value, found.rho.value) == (
        pytest.approx(kendall_tau_b(x, labels.accuracies)),
        pytest.approx(spearman(x, labels.accuracies)),
    )
    assert (found.n, found.n_failed, found.failures, found.reason) == (80, 2, {"unstated": 2}, None)
    assert found.share_tied == pytest.approx(1 / (80 * 79 / 2))


def test_turned_scores_in_the_other_direction_are_the_same_proxy() -> None:
    labels = labels_of(60)
    scores = proxy_of(labels, 5.0)
    scores[:2] = np.nan
    assert measured(-scores, labels, -1) == measured(scores, labels, 1)
    wrong = measured(scores, labels, -1).tau
    assert wrong is not None
    assert wrong.value < 0
    assert wrong.low is not None
    assert wrong.high is not None
    assert wrong.low < wrong.value < wrong.high < 0


def test_increasing_transformations_change_nothing() -> None:
    labels = labels_of(60)
    scores = proxy_of(labels, 5.0)
    assert measured(np.exp(scores / 10), labels) == measured(scores, labels)


def test_failed_networks_share_the_last_rank() -> None:
    labels = labels_of(60)
    scores = labels.accuracies.copy()
    worst = np.argsort(scores)[:2]
    scores[worst] = np.nan
    for direction in (1, -1):
        found = measured(direction * scores, labels, direction).tau
        assert found is not None
        assert found.value == pytest.approx(np.sqrt(1 - 1 / (60 * 59 / 2)))  # but for the tie of the two failures


def test_intervals_of_tau_and_rho_are_those_of_the_bootstrap_per_stream() -> None:
    labels = labels_of(50)
    scores = proxy_of(labels, 5.0)
    found = measured(scores, labels, rng=stream(3, "bootstrap", "x"), n_resamples=1000)
    for name, statistic in (("tau", "kendall"), ("rho", "spearman")):
        interval = bootstrap_interval(
            scores, labels.accuracies, statistic=statistic, rng=stream(3, "bootstrap", "x")  # type: ignore[arg-type]
        )  # fmt: skip
        criterion = getattr(found, name)
        assert (criterion.low, criterion.high) == interval
    assert bootstrap_interval(scores, labels.accuracies, rng=stream(3, "bootstrap", "x")) == pytest.approx(
        (0.43942786069651746, 0.7202053558638472), abs=1e-12
    )


def test_many_proxies_are_measured_as_each_alone() -> None:
    labels = labels_of(50)
    scores = np.stack([proxy_of(labels, 5.0), -proxy_of(labels, 20.0, seed=2), np.ones(50)])
    scores[1, 3] = np.nan
    directions, failures = [1, -1, 1], [None, [*[None] * 3, "overflow", *[None] * 46], None]
    many = measure_many(
        scores, labels, directions=directions, rng=np.random.default_rng(5), n_resamples=50, failures=failures
    )  # fmt: skip
    for row, direction, kinds, found in zip(scores, directions, failures, many, strict=True):
        alone = measured(row, labels, direction, rng=np.random.default_rng(5), n_resamples=50, failures=kinds)
        assert set(alone.criteria) == set(found.criteria)
        for name, criterion in alone.criteria.items():
            assert criterion.model_dump() == pytest.approx(found.criteria[name].model_dump(), abs=1e-12)
        assert alone.model_dump(exclude=set(CRITERIA)) == found.model_dump(exclude=set(CRITERIA))
    assert many[1].failures == {"overflow": 1}
    assert many[2].criteria == {}
    assert many[2].reason == "it scores all 50 networks of task 'task' 1"


def test_a_task_uses_its_own_columns() -> None:
    labels = labels_of(50)
    columns = np.random.default_rng(0).permutation(70)[:50]
    moved = Labels("task", labels.accuracies, columns, labels.covariates)
    scores = np.full(70, np.nan)  # elsewhere it failed, which is no matter here
    scores[columns] = proxy_of(labels, 5.0)
    kinds = [None if np.isfinite(score) else "elsewhere" for score in scores]
    assert measured(scores, moved, failures=kinds) == measured(proxy_of(labels, 5.0), labels)


def test_failures_are_counted_by_kind() -> None:
    labels = labels_of(100)
    scores = proxy_of(labels, 5.0)
    scores[:5] = np.nan
    kinds = ["overflow", "timeout", "timeout", None, "overflow", *[None] * 95]
    found = measured(scores, labels, failures=kinds)
    assert found.failures == {"overflow": 2, "timeout": 2, "unstated": 1}
    assert list(found.failures) == ["overflow", "timeout", "unstated"]
    assert sum(found.failures.values()) == found.n_failed == 5


def test_too_many_failures_leave_a_reason_and_no_criteria() -> None:
    labels = labels_of(40)
    scores = proxy_of(labels, 5.0)
    scores[:3] = np.nan
    found = measured(scores, labels)
    assert found.criteria == {}
    assert (found.n, found.n_failed) == (40, 3)
    assert found.reason == "it has no finite score on 3 of 40 networks of task 'task' (7.5%; at most 5% may fail)"


def test_what_a_small_or_bare_sample_cannot_tell_is_none() -> None:
    labels = labels_of(40)
    bare = Labels("bare", labels.accuracies, labels.networks)
    found = measured(proxy_of(labels, 5.0), bare)
    assert tuple(found.criteria) == ("tau", "rho", "ndcg")  # 40 networks have a top tenth of four
    assert found.reason is None
    assert tuple(measured(proxy_of(labels, 5.0), labels).criteria) == (
        "tau", "rho", "level_rho", "partial_rho", "ndcg",
    )  # fmt: skip


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """95 % of samples of 80; the truth is the value on 4,000 networks of the same kind."""
    whole = labels_of(4000, seed=99)
    names = ("tau", "rho", "level_rho", "partial_rho")
    truth = {name: float(OBJECTIVES[name].of(proxy_of(whole, 8.0, seed=98)[None], whole)[0][0]) for name in names}  # type: ignore[misc]
    held: dict[str, list[bool]] = {name: [] for name in names}
    for seed in range(200):
        labels = labels_of(80, seed=seed)
        found = measured(proxy_of(labels, 8.0, seed=1000 + seed), labels)
        for name in names:
            criterion = getattr(found, name)
            held[name].append(criterion.low <= truth[name] <= criterion.high)
    for name, each in held.items():
        assert np.mean(each) == pytest.approx(0.95, abs=0.045), name


def test_paired_differences_are_narrower_than_their_parts() -> None:
    labels = labels_of(200)
    first = proxy_of(labels, 5.0)
    second = first + 2 * np.random.default_rng(7).normal(size=200)
    a, b = (measured(scores, labels) for scores in (first, second))
    for name in ("tau", "rho"):
        found = paired_difference(
            first, -second, labels, criterion=name, directions=(1, -1), rng=np.random.default_rng(0), n_resamples=200
        )
        one, other = getattr(a, name), getattr(b, name)
        assert found.value == pytest.approx(one.value - other.value)
        assert found.low is not None
        assert found.high is not None
        assert found.low < found.value < found.high
        assert found.high - found.low < 0.6 * (one.high - one.low)
    worse = paired_difference(proxy_of(labels, 30.0), first, labels, rng=np.random.default_rng(0), n_resamples=200)
    assert worse.high is not None
    assert worse.value < worse.high < 0
    same = paired_difference(first, first, labels, rng=np.random.default_rng(0), n_resamples=20)
    assert same == Criterion(value=0, low=0, high=0)


def test_paired_differences_tell_proxies_apart_as_rarely_as_they_say_when_they_are_alike() -> None:
    told_apart = []
    for seed in range(200):
        labels = labels_of(60, seed=seed)
        first, second = (proxy_of(labels, 6.0, seed=1000 + 2 * seed + k) for k in (0, 1))
        found = paired_difference(first, second, labels, rng=np.random.default_rng(seed), n_resamples=300)
        assert found.low is not None
        assert found.high is not None
        told_apart.append(not found.low <= 0 <= found.high)
    assert np.mean(told_apart) == pytest.approx(0.05, abs=0.04)


def test_what_cannot_be_compared_is_refused() -> None:
    labels = labels_of(40)
    scores, rng = proxy_of(labels, 5.0), np.random.default_rng(0)
    with pytest.raises(BenchmarkError, match="The second proxy cannot be compared because it scores all 40 networks"):
        paired_difference(scores, np.ones(40), labels, rng=rng)
    with pytest.raises(BenchmarkError, match="The first proxy has no tau in the top tenth on task 'task'"):
        paired_difference(scores, scores, labels, criterion="top_tau", rng=rng)
    with pytest.raises(ValueError, match=r"one of tau, rho, .*got 'size'"):
        paired_difference(scores, scores, labels, criterion="size", rng=rng)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scores": np.ones(39)}, r"Scores of 40 networks or more .* got an array of shape \(1, 39\)"),
        ({"direction": 0}, r"must be \+1 or -1, got 0"),
        ({"n_resamples": 0}, "at least one resample, got 0"),
        ({"failures": [None] * 39}, "per network, 40 in all, got 39"),
        ({"failures": ["overflow", *[None] * 39]}, "Network 0 has a finite score, but failed: 'overflow'"),
    ],
)
def test_bad_arguments_are_refused(changed: dict[str, Any], message: str) -> None:
    labels = labels_of(40)
    arguments = {"scores": proxy_of(labels, 5.0), "direction": 1, "rng": np.random.default_rng(0)} | changed
    with pytest.raises(ValueError, match=message):
        measure(arguments.pop("scores"), labels, **arguments)
    many = {"directions": [1, 1], "rng": np.random.default_rng(0)}
    with pytest.raises(ValueError, match="direction of each of 1 proxies, got 2"):
        measure_many(proxy_of(labels, 5.0)[None], labels, **many)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="failures of each of 1 proxies, got 2"):
        measure_many(proxy_of(labels, 5.0)[None], labels, **many | {"directions": [1], "failures": [None, None]})  # type: ignore[arg-type]

"""The criteria of the study by definition, and the assessment of several proxies with all that hangs on it."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
import scipy.stats

from eznas.assessment import compare_many, measure_many, paired_difference
from eznas.assessment.assessment import Scored, assess_scores, n_resamples_for
from eznas.assessment.bias import edit_bias, most_misjudged, pairs_one_edit_apart, ranking_differences, size_bias
from eznas.assessment.resamples import Resamples
from eznas.assessment.stability import stability_of
from eznas.assessment.standing import STANDING, pearson, sparse_tau, standing_of, top_rho, weighted_tau
from eznas.benchmarks import Split, load_nb201
from eznas.fitness import OBJECTIVES, Covariates, Criterion, Labels, kendall_tau_b, spearman
from eznas.randomness import stream
from eznas.spaces import nb101, nb201, sss
from tests.eznas.assessment.samples import labels_of, proxy_of


def test_criteria_by_their_definitions() -> None:
    labels = labels_of(60)
    x, y = proxy_of(labels, 4.0), labels.accuracies
    assert pearson(x, labels) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert sparse_tau(x, labels) == kendall_tau_b(x, np.round(y))
    top = np.argsort(-y)[:6]
    assert top_rho(x, labels) == pytest.approx(spearman(x[top], y[top]))
    assert weighted_tau(x, labels) == pytest.approx(scipy.stats.weightedtau(x, y).statistic)
    of = OBJECTIVES["partial_tau"].of
    assert of is not None
    assert STANDING["partial_tau"](x, labels) == of(x[None], labels)[0][0]


def test_failures_count_with_the_lowest_finite_score_and_nothing_overflows() -> None:
    labels = labels_of(12)
    x = proxy_of(labels, 1.0)
    lost = x.copy()
    lost[[2, 5]] = -np.inf
    filled = np.where(np.isfinite(lost), lost, x[np.isfinite(lost)].min())
    assert pearson(lost, labels) == pytest.approx(np.corrcoef(filled, labels.accuracies)[0, 1])
    assert pearson(x * 1e300, labels) == pytest.approx(pearson(x, labels))
    assert math.isnan(pearson(np.full(12, -np.inf), labels))
    assert math.isfinite(weighted_tau(lost, labels))


def test_criteria_without_a_value_are_nan_and_small_shares_are_left_out() -> None:
    labels = Labels("few", np.array([1.0, 1.1, 1.2, 1.3, 1.4]), np.arange(5))
    found = standing_of(np.arange(5.0), labels, stream(0, "t"))
    assert math.isnan(found.criteria["sparse_tau"])
    assert math.isnan(found.criteria["partial_tau"])
    assert list(found.picks["precision_top"]) == [0.5, 1.0]
    assert found.picks["precision_top"][1.0] == 1.0
    assert list(found.picks["best_rank"]) == [0.2]


def test_parameters_of_nas_bench_201_correlate_as_known() -> None:
    benchmark = load_nb201()
    x = np.array([nb201.parameter_count(arch, nb201.FULL) for arch in benchmark.architectures], dtype=float)
    y = benchmark.accuracies(benchmark.architectures, "cifar10", Split.TEST)
    assert pearson(x, Labels("cifar10", y, np.arange(len(y)))) == pytest.approx(0.319, abs=0.0006)
    assert kendall_tau_b(x, y) == pytest.approx(0.578, abs=0.0006)
    assert spearman(x, y) == pytest.approx(0.753, abs=0.0006)


# --- differences from the best baseline ---------------------------------------------------------------------------


def test_differences_are_those_of_two_alone_from_the_reference_that_is_best_by_each_criterion() -> None:
    labels = labels_of(50)
    scores = np.stack([proxy_of(labels, noise, seed) for seed, noise in enumerate((3.0, 9.0, 6.0))])
    both = {"directions": [1, 1, 1], "n_resamples": 50}
    measurements, differences = compare_many(
        scores, labels, references=(1, 2), rng=np.random.default_rng(4), **both  # type: ignore[arg-type]
    )  # fmt: skip
    assert measurements == measure_many(scores, labels, rng=np.random.default_rng(4), **both)  # type: ignore[arg-type]
    for name, gap in differences[0].items():
        best = max((1, 2), key=lambda row: measurements[row].criteria[name].value)
        alone = paired_difference(
            scores[0], scores[best], labels, criterion=name, rng=np.random.default_rng(4), n_resamples=50
        )
        assert gap.reference == best
        assert gap.criterion.model_dump() == pytest.approx(alone.model_dump())
        assert differences[best][name].criterion.value == 0.0
    assert set(differences[0]) == set(measurements[0].criteria)


# --- biases -------------------------------------------------------------------------------------------------------


def test_ranking_differences_are_positive_for_the_over_estimated() -> None:
    y, x = np.array([4.0, 3.0, 2.0, 1.0]), np.array([1.0, 3.0, 2.0, 4.0])
    assert ranking_differences(x, y).tolist() == [-0.75, 0.0, 0.0, 0.75]
    assert most_misjudged(x, y, 1) == ((3,), (0,))


def test_a_proxy_that_is_size_over_estimates_the_large_and_groups_hold_equal_sizes_together() -> None:
    rng = np.random.default_rng(0)
    sizes = np.repeat(np.arange(10.0), 10)
    y = rng.normal(size=100)
    groups = size_bias(sizes, y, sizes)
    differences = [group.difference for group in groups]
    assert [group.n for group in groups] == [20] * 5
    assert differences == sorted(differences)
    assert differences[0] < -0.2 < 0.2 < differences[-1]
    assert sum(differences) == pytest.approx(0)
    assert all(low.high < high.low for low, high in itertools.pairwise(groups))
    (alone,) = size_bias(y, y, np.ones(100))
    assert (alone.n, alone.difference, alone.tau) == (100, 0.0, Criterion(value=1.0, low=1.0, high=1.0))


def test_edits_by_hand() -> None:
    places = [("a", "a"), ("b", "a"), ("b", "b"), ("a", "b"), ("c", "c", "c")]
    pairs = pairs_one_edit_apart(places)
    assert {edit: sorted(found) for edit, found in pairs.items()} == {("a", "b"): [(0, 1), (0, 3), (1, 2), (3, 2)]}
    y = np.array([1.0, 2.0, 3.0, 0.0, 9.0])  # rises from 0 to 1, 1 to 2 and 3 to 2, falls from 0 to 3
    x = np.array([1.0, 1.0, 0.0, 2.0, 9.0])  # equal, rises from 0 to 3, falls twice
    (edit,) = edit_bias(x, y, pairs)
    assert (edit.before, edit.after, edit.n, edit.truth, edit.estimate) == ("a", "b", 4, 0.75, 0.375)
    (turned,) = edit_bias(-x, -y, pairs)
    assert (turned.before, turned.after, turned.truth, turned.estimate) == ("b", "a", 0.75, 0.375)


def test_edits_of_nas_bench_201_are_its_neighbours() -> None:
    cells = nb201.sample(np.random.default_rng(3), 400)
    pairs = pairs_one_edit_apart([nb201.SPACE.places(cell) for cell in cells])  # type: ignore[misc]
    found = {frozenset(pair) for members in pairs.values() for pair in members}
    expected = {
        frozenset((i, cells.index(other)))
        for i, cell in enumerate(cells)
        for other in nb201.neighbours(cell)
        if other in cells
    }
    assert found == expected
    assert len(found) > 50


def test_other_spaces_say_what_stands_in_their_places() -> None:
    assert sss.places(sss.architecture("8:16:24:32:64")) == ("8", "16", "24", "32", "64")
    rng = np.random.default_rng(0)
    (cell,) = nb101.sample(rng, 1)
    graph = nb101.graph(cell)
    n = len(graph.matrix)
    found = nb101.places(cell)
    assert found[: n - 2] == graph.operations
    assert len(found) == n - 2 + n * (n - 1) // 2
    assert found.count("edge") == sum(map(sum, graph.matrix))


# --- stability, and the whole -------------------------------------------------------------------------------------


def test_stability_of_equal_and_of_unrelated_draws() -> None:
    y = np.random.default_rng(0).normal(size=200)
    same = stability_of("seeds", np.stack([y, y, y]), y)
    assert (same.retest, same.taus, dict(same.averaged)) == (1.0, (1.0, 1.0, 1.0), {1: 1.0, 3: 1.0})
    noisy = stability_of("batches", y + 2 * np.random.default_rng(1).normal(size=(5, 200)), y)
    assert 0 < noisy.retest < noisy.averaged[1] < noisy.averaged[3] < noisy.averaged[5]
    with pytest.raises(ValueError, match="two draws"):
        stability_of("seeds", y[None], y)


def test_an_assessment_holds_everything_and_one_without_order_has_its_reason() -> None:
    labels = labels_of(80)
    scored = [
        Scored(name="good", scores=proxy_of(labels, 3.0)),
        Scored(name="flat", scores=np.ones(80)),
        Scored(name="base", scores=proxy_of(labels, 9.0), is_baseline=True),
    ]
    pairs = {("a", "b"): [(0, 1), (2, 3)]}
    good, flat, base = assess_scores(scored, labels, np.arange(80.0), pairs=pairs, seed=0)
    assert good.differences["tau"][0] == "base"
    assert good.standing is not None
    assert set(good.intervals) == set(STANDING)
    for name, interval in good.intervals.items():
        assert interval.low is not None
        assert interval.high is not None
        assert interval.low <= interval.value <= interval.high, name
    assert [len(good.sizes), good.edits[0].n, len(good.over), len(good.under)] == [5, 2, 5, 5]
    assert flat.measurement.reason is not None
    assert flat.standing is None
    assert not flat.differences
    assert base.differences["tau"][1].value == 0
    json.dumps(good.standing.criteria)
    assert n_resamples_for(200) == (1000, 1000)
    assert n_resamples_for(15_625) == (100, 20)


@pytest.mark.parametrize("name", ["pearson", "sparse_tau", "top_rho", "partial_tau"])
@pytest.mark.parametrize("n_values", [0, 3])
def test_resampled_criteria_of_the_study_are_those_of_the_drawn_networks(name: str, n_values: int) -> None:
    labels = labels_of(60, n_values=n_values)
    labels = Labels("task", labels.accuracies * 3, labels.networks, labels.covariates)
    x = proxy_of(labels, 2.0)
    if n_values:
        x = np.round(x)
    (resamples,) = Resamples.draw(labels, 12, np.random.default_rng(5))
    found = resamples.values(x, name)
    covariates = labels.covariates
    assert covariates is not None
    for counts, value in zip(resamples.counts.astype(int), found, strict=True):
        drawn = np.repeat(np.arange(60), counts)
        sizes = Covariates(covariates.log_parameters[drawn], covariates.log_macs[drawn], covariates.levels[drawn])
        alone = STANDING[name](x[drawn], Labels("drawn", labels.accuracies[drawn], np.arange(60), sizes))
        assert value == pytest.approx(alone, nan_ok=True)

"""Criteria for many programs equal the plain definitions, and these what they say."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats

from eznas.errors import BenchmarkError
from eznas.fitness import Covariates, Labels, criteria, kendall_tau_b, spearman
from eznas.fitness.criteria import Estimates
from eznas.fitness.labels import FloatArray

Plain = Callable[[FloatArray, Labels], float]
Batch = Callable[[FloatArray, Labels], Estimates]
ROWS: tuple[tuple[Plain, Batch], ...] = (
    (criteria.top_tau, criteria.top_tau_batch),
    (criteria.level_rho, criteria.level_rho_batch),
    (criteria.partial_tau, criteria.partial_tau_batch),
    (criteria.partial_rho, criteria.partial_rho_batch),
    (criteria.ndcg, criteria.ndcg_batch),
)
BOTH = pytest.mark.parametrize(("plain", "batch"), ROWS, ids=lambda f: f.__name__)


def labels_of(n: int, seed: int, *, n_values: int = 0) -> Labels:
    """Networks whose accuracy follows their size a little; with few values there are ties everywhere."""
    rng = np.random.default_rng(seed)
    size = rng.normal(size=n)
    accuracies = 70 + 5 * size + 5 * rng.normal(size=n)
    parameters, macs = size + 0.3 * rng.normal(size=n), size + 0.3 * rng.normal(size=n)
    if n_values:
        accuracies, parameters, macs = (np.round(v * n_values) / n_values for v in (accuracies / 5, parameters, macs))
    levels = np.digitize(size, [-1, 0, 1])
    return Labels("task", accuracies, np.arange(n), Covariates(parameters, macs, levels))


def scores_of(labels: Labels, n_programs: int, seed: int, *, n_values: int = 0) -> FloatArray:
    """Good and bad ones, with failures at the end and one list for all networks alike."""
    rng = np.random.default_rng(seed)
    n = labels.accuracies.size
    noise = rng.uniform(0.5, 20, size=(n_programs, 1)) * rng.normal(size=(n_programs, n))
    scores = labels.accuracies * rng.choice([-1, 1], size=(n_programs, 1)) + noise
    if n_values:
        scores = np.round(scores * n_values / 10)
    scores[0, :3] = -np.inf
    scores[-1] = 2.5
    return scores


@BOTH
@pytest.mark.parametrize(("n", "n_values"), [(60, 0), (60, 1), (41, 3), (12, 0)])
def test_many_programs_equal_the_plain_definition(plain: Plain, batch: Batch, n: int, n_values: int) -> None:
    for seed in range(3):
        labels = labels_of(n, seed, n_values=n_values)
        scores = scores_of(labels, 8, seed, n_values=n_values)
        values, errors = batch(scores, labels)
        assert values == pytest.approx([plain(row, labels) for row in scores], abs=1e-9, nan_ok=True)
        assert np.isnan(values[-1])
        assert errors.shape == values.shape
        if n == 60:
            assert np.isfinite(values[:-1]).all()


@BOTH
def test_increasing_transformations_change_nothing(plain: Plain, batch: Batch) -> None:
    labels = labels_of(60, 1)
    scores = scores_of(labels, 5, 1)
    np.testing.assert_allclose(batch(np.cbrt(scores) * 3 + 1, labels)[0], batch(scores, labels)[0], atol=1e-12)
    assert not np.allclose(batch(-scores[1:-1], labels)[0], batch(scores[1:-1], labels)[0])


@BOTH
def test_the_truth_itself_has_the_greatest_value(plain: Plain, batch: Batch) -> None:
    labels = labels_of(60, 2)
    assert batch(labels.accuracies[None, :], labels)[0][0] == pytest.approx(1)
    assert plain(labels.accuracies, labels) == pytest.approx(1)


def test_the_top_is_the_tenth_with_the_highest_accuracies_ties_included() -> None:
    accuracies = np.arange(60.0)
    accuracies[53] = accuracies[54]  # the least of the top six has a twin
    scores = np.random.default_rng(0).normal(size=60)
    labels = Labels("task", accuracies, np.arange(60))
    top = accuracies >= np.quantile(accuracies, 0.9)
    assert top.sum() == 7
    assert criteria.top_tau(scores, labels) == kendall_tau_b(scores[top], accuracies[top])
    few = Labels("task", np.arange(41.0), np.arange(41))
    assert np.isfinite(criteria.top_tau(scores[:41], few))
    fewer = Labels("task", np.arange(40.0), np.arange(40))
    assert np.isnan(criteria.top_tau(scores[:40], fewer))


def test_levels_count_alike_whatever_their_size() -> None:
    rng = np.random.default_rng(0)
    levels = np.repeat([0, 1, 2, 3], [30, 6, 4, 8])
    accuracies, scores = rng.normal(size=48), rng.normal(size=48)
    accuracies[levels == 3] = 7.0  # of no use, as the four networks of level 2
    found = [spearman(scores[levels == k], accuracies[levels == k]) for k in (0, 1)]
    labels = Labels("task", accuracies, np.arange(48), Covariates(np.zeros(48), np.zeros(48), levels))
    assert criteria.level_rho(scores, labels) == pytest.approx(np.mean(found))
    scores[levels == 1] = 0.5  # one score for a whole level is worth a guess
    assert criteria.level_rho(scores, labels) == pytest.approx(found[0] / 2)
    nothing = Labels("task", accuracies, np.arange(48), Covariates(np.zeros(48), np.zeros(48), np.arange(48)))
    assert np.isnan(criteria.level_rho(scores, nothing))
    assert np.isnan(criteria.level_rho_batch(scores[None, :], nothing)[0]).all()


def test_with_one_covariate_the_partial_tau_is_kendalls() -> None:
    labels = labels_of(40, 3)
    assert labels.covariates is not None
    z = labels.covariates.log_parameters
    alike = Covariates(z, 2 * z + 1, labels.covariates.levels)  # the second says the same as the first
    scores = scores_of(labels, 4, 3)[1]
    xy, xz, yz = (kendall_tau_b(*pair) for pair in itertools.combinations((scores, labels.accuracies, z), 2))
    expected = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    for covariates in (alike, Covariates(z, np.zeros(40), alike.levels)):
        given = Labels("task", labels.accuracies, np.arange(40), covariates)
        assert criteria.partial_tau(scores, given) == pytest.approx(expected)
        assert criteria.partial_tau_batch(scores[None, :], given)[0][0] == pytest.approx(expected)


@pytest.mark.parametrize("batch", [criteria.partial_tau_batch, criteria.partial_rho_batch])
def test_covariates_that_order_alike_count_once(batch: Batch) -> None:
    """Whatever rounding makes of a correlation of 1 among them."""
    for seed in range(20):
        labels = labels_of(31 + seed, seed, n_values=seed % 3)
        assert labels.covariates is not None
        z, n = labels.covariates.log_parameters, labels.accuracies.size
        scores = scores_of(labels, 6, seed)[:-1]
        pairs = [Covariates(z, other, labels.covariates.levels) for other in (np.zeros(n), z, np.exp(z))]
        found = [batch(scores, Labels("task", labels.accuracies, np.arange(n), pair)) for pair in pairs]
        for values, _ in found[1:]:
            np.testing.assert_allclose(values, found[0][0], atol=1e-9)


def test_what_follows_from_size_alone_has_no_partial_correlation() -> None:
    labels = labels_of(40, 4)
    assert labels.covariates is not None
    size = np.exp(labels.covariates.log_parameters)
    for plain, batch in ROWS[2:4]:
        assert np.isnan(plain(size, labels))
        assert np.isnan(batch(size[None, :], labels)[0]).all()


def test_ndcg_is_the_mean_over_all_ways_to_break_ties() -> None:
    accuracies = np.array([90.0, 88.0, 91.5, 70.0, 89.5, 60.0])
    scores = np.array([3.0, 3.0, 2.0, 3.0, 2.0, -np.inf])
    labels = Labels("task", accuracies, np.arange(6))
    ideal = _dcg(np.sort(accuracies)[::-1])
    orders = itertools.product(itertools.permutations([0, 1, 3]), itertools.permutations([2, 4]))
    ways = [_dcg(accuracies[[*first, *second, 5]]) / ideal for first, second in orders]
    assert len(set(ways)) > 6
    assert criteria.ndcg(scores, labels) == pytest.approx(np.mean(ways))
    assert criteria.ndcg_batch(scores[None, :], labels)[0][0] == pytest.approx(np.mean(ways))


def _dcg(accuracies: FloatArray) -> float:
    return float(sum((2**y - 1) / np.log2(j + 1) for j, y in enumerate(accuracies, start=1)))


def test_ndcg_looks_at_the_first_thousand_places_only() -> None:
    accuracies = np.linspace(10, 90, 1200)
    labels = Labels("task", accuracies, np.arange(1200))
    scores = np.random.default_rng(0).normal(size=1200)
    order = np.argsort(-scores)[:1000]
    expected = _dcg(accuracies[order]) / _dcg(np.sort(accuracies)[::-1][:1000])
    assert criteria.ndcg_batch(scores[None, :], labels)[0][0] == pytest.approx(expected)
    assert criteria.ndcg(scores, labels) == pytest.approx(expected)


def test_ndcg_without_a_gain_is_undefined() -> None:
    labels = Labels("task", np.linspace(-5, 0, 6), np.arange(6))
    assert np.isnan(criteria.ndcg(np.arange(6.0), labels))
    assert np.isnan(criteria.ndcg_batch(np.arange(6.0)[None, :], labels)[0]).all()


@pytest.mark.parametrize(("plain", "batch"), ROWS[1:4])
def test_criteria_of_size_refuse_labels_without_covariates(plain: Plain, batch: Batch) -> None:
    labels = Labels("task", np.arange(60.0), np.arange(60))
    for call in (lambda: plain(np.arange(60.0), labels), lambda: batch(np.arange(60.0)[None, :], labels)):
        with pytest.raises(BenchmarkError, match=r"needs covariates .* which task 'task' lacks; give them"):
            call()


@pytest.mark.parametrize("batch", [criteria.top_tau_batch, criteria.level_rho_batch])
def test_standard_errors_are_the_scatter_over_samples(batch: Batch) -> None:
    rng = np.random.default_rng(5)
    values, errors = [], []
    for _ in range(300):
        size = rng.normal(size=200)
        accuracies = 70 + size + rng.normal(size=200)
        covariates = Covariates(size, size, np.digitize(size, [-0.5, 0.5]))
        scores = (accuracies + 1.5 * rng.normal(size=200))[None, :]
        found = batch(scores, Labels("t", accuracies, np.arange(200), covariates))
        values.append(found[0][0])
        errors.append(found[1][0])
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.12)


def test_spearmans_standard_error_is_the_scatter_over_samples() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(2000, 80))
    y = 0.8 * x + 0.6 * rng.normal(size=x.shape)
    rho = np.array([scipy.stats.spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)])
    assert np.mean(criteria.spearman_standard_error(rho, 80)) == pytest.approx(np.std(rho), rel=0.1)
    assert np.isnan(criteria.spearman_standard_error(rho, 4)).all()

"""Batched and resampled correlations equal the plain ones; standard errors equal the scatter they estimate."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from eznas.fitness.ranks import (
    FloatArray,
    Statistic,
    batched_tau,
    bootstrap_interval,
    kendall_standard_error,
    kendall_tau_b,
    kendall_tau_b_batch,
    scores_with_failures_last,
    spearman,
    spearman_batch,
    spearman_matrix,
)
from tests.eznas.calls import n_calls

PLAIN = {"kendall": kendall_tau_b, "spearman": spearman}


def correlated(rng: np.random.Generator, tau: float, shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
    """Pairs of normal variables with a known Kendall tau: sin(pi/2 tau) is their Pearson correlation."""
    rho = np.sin(np.pi / 2 * tau)
    x = rng.normal(size=shape)
    return x, rho * x + np.sqrt(1 - rho**2) * rng.normal(size=shape)


def tau_b_by_definition(x: FloatArray, y: FloatArray) -> float:
    """The formula of the module docstring, pair by pair."""
    sign_x = [np.sign(a - b) for i, a in enumerate(x) for b in x[:i]]
    sign_y = [np.sign(a - b) for i, a in enumerate(y) for b in y[:i]]
    return float(np.dot(sign_x, sign_y) / np.sqrt(np.dot(sign_x, sign_x) * np.dot(sign_y, sign_y)))


# ---------------------------------------------------------------------------------------- values


def test_a_worked_example() -> None:
    x, y = [1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]  # five pairs agree, one disagrees
    assert kendall_tau_b(x, y) == pytest.approx(4 / 6)
    assert spearman(x, y) == pytest.approx(0.8)


@settings(deadline=None, max_examples=200)
@given(data=st.data(), n=st.integers(2, 30), values=st.sampled_from([2, 3, 10, 10_000]))
def test_batched_correlations_equal_scipy_with_any_ties(data: st.DataObject, n: int, values: int) -> None:
    lists = hnp.arrays(np.float64, (4, n), elements=st.integers(-values, values).map(float))
    rows = data.draw(lists)
    scores, y = rows[:3], rows[3]
    for ours, theirs in (
        (kendall_tau_b_batch(scores, y), lambda x: scipy.stats.kendalltau(x, y).statistic),
        (spearman_batch(scores, y), lambda x: scipy.stats.spearmanr(x, y).statistic),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", scipy.stats.ConstantInputWarning)  # scipy says so; we return NaN
            expected = [float(theirs(x)) for x in scores]
        assert ours == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_batched_tau_equals_the_definition_on_close_numbers() -> None:
    rng = np.random.default_rng(0)
    x = 1 + 1e-15 * rng.integers(0, 40, size=(5, 25))  # differences that float32 would lose
    y = rng.integers(0, 6, size=25).astype(float)
    assert kendall_tau_b_batch(x, y) == pytest.approx([tau_b_by_definition(row, y) for row in x], abs=1e-12)


@pytest.mark.parametrize("max_elements", [1, 100, 7_000, 10**7])
def test_memory_settings_change_no_value(max_elements: int) -> None:
    rng = np.random.default_rng(1)
    scores, y = rng.integers(0, 30, size=(7, 61)).astype(float), rng.normal(size=61)
    small, usual = batched_tau(scores, y, max_elements=max_elements), batched_tau(scores, y)
    assert np.array_equal(small.tau, usual.tau)
    assert np.array_equal(small.standard_error, usual.standard_error)
    intervals = {
        bootstrap_interval(scores[0], y, rng=np.random.default_rng(2), n_resamples=50, max_elements=elements)
        for elements in (max_elements, 2**22)
    }
    assert len(intervals) == 1


def test_two_networks_agree_or_do_not() -> None:
    assert [kendall_tau_b([1, 2], y) for y in ([3, 4], [4, 3])] == [1, -1]
    assert np.isnan(kendall_tau_b([1, 1], [3, 4]))


def test_a_constant_list_has_no_correlation() -> None:
    y = np.arange(6.0)
    assert np.isnan(kendall_tau_b(np.ones(6), y))
    assert np.isnan(spearman(np.ones(6), y))
    outcome = batched_tau(np.stack([np.ones(6), y]), y)
    assert np.isnan(outcome.tau[0])
    assert np.isnan(outcome.standard_error[0])
    assert outcome.tau[1] == 1
    assert outcome.share_tied.tolist() == [1, 0]


def test_share_tied_counts_pairs() -> None:
    scores = np.array([[5.0, 5.0, 5.0, 1.0, 2.0]])  # 3 of the 10 pairs
    assert batched_tau(scores, np.arange(5.0)).share_tied == pytest.approx([0.3])


# ---------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize("direction", [1, -1])
def test_failed_networks_share_the_last_rank_in_either_direction(direction: int) -> None:
    scores = np.array([3.0, np.nan, -2.0, np.inf, -np.inf, 1e300])
    failed = ~np.isfinite(scores)
    ranks = scipy.stats.rankdata(scores_with_failures_last(scores, failed, direction))
    assert ranks[failed].tolist() == [2.0, 2.0, 2.0]
    assert (ranks[~failed] > 2).all()
    assert np.argsort(ranks[~failed]).tolist() == np.argsort(direction * scores[~failed]).tolist()


def test_a_failure_that_is_not_marked_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1 non-finite score\(s\) are not marked as failed"):
        scores_with_failures_last([1.0, np.inf], [False, False], 1)
    with pytest.raises(ValueError, match=r"must be \+1 or -1, got 0"):
        scores_with_failures_last([1.0], [False], 0)


@pytest.mark.parametrize(
    ("scores", "y", "message"),
    [
        ([[1.0, np.nan]], [1.0, 2.0], "NaN has no rank"),
        ([[1.0, 2.0]], [1.0, np.nan], "NaN has no rank"),
        ([[1.0, 2.0]], [1.0, 2.0, 3.0], r"got \(1, 2\) and \(3,\)"),
        ([[1.0]], [1.0], "at least two networks, got 1"),
    ],
)
def test_bad_lists_are_refused(scores: list[list[float]], y: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kendall_tau_b_batch(scores, y)
    with pytest.raises(ValueError, match=message):
        spearman_batch(scores, y)


# ---------------------------------------------------------------------------------------- uncertainty


@pytest.mark.parametrize("levels", [None, 3], ids=["no ties", "ties"])
@pytest.mark.parametrize("n", [20, 80])
def test_the_standard_error_is_the_scatter_over_samples(n: int, levels: int | None) -> None:
    x, y = correlated(np.random.default_rng(3), 0.6, (1500, n))
    if levels is not None:
        x, y = np.round(x * levels / 2), np.round(y * levels)
    outcomes = [batched_tau(a[None], b) for a, b in zip(x, y, strict=True)]
    scatter = np.std([o.tau[0] for o in outcomes])
    estimate = np.sqrt(np.mean([o.standard_error[0] ** 2 for o in outcomes]))
    assert estimate == pytest.approx(scatter, rel=0.06)


@pytest.mark.parametrize(("n", "published"), [(20, 0.112), (80, 0.050), (160, 0.035), (500, 0.020)])
def test_the_standard_error_is_that_measured_for_naswot(n: int, published: float) -> None:
    """Scatter of NASWOT's tau (.603) over samples of n NAS-Bench-201 networks; normal variables differ a little."""
    x, y = correlated(np.random.default_rng(4), 0.603, (100, n))
    errors = [kendall_standard_error(a, b) for a, b in zip(x, y, strict=True)]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(published, rel=0.12)


def test_the_standard_error_agrees_with_the_bootstrap() -> None:
    x, y = correlated(np.random.default_rng(5), 0.6, (200,))
    low, high = bootstrap_interval(x, y, rng=np.random.default_rng(6), n_resamples=2000)
    assert kendall_standard_error(x, y) == pytest.approx((high - low) / (2 * 1.96), rel=0.2)


@pytest.mark.parametrize("digits", [0, 12], ids=["ties in y", "none in y"])
@pytest.mark.parametrize("levels", [2, 5, 10_000])
def test_the_standard_error_is_the_formula_pair_by_pair(levels: int, digits: int) -> None:
    """The kernel h and both zetas of the docstring, written out as (n, n) matrices."""
    rng, n = np.random.default_rng(12), 30
    x = rng.integers(0, levels, size=n).astype(float)
    y = np.round(x / levels * 5 + rng.normal(size=n), digits)
    sign_x, sign_y = (np.sign(v[:, None] - v[None, :]) for v in (x, y))
    n_pairs = n * (n - 1)
    a, b, c = (m.sum() / n_pairs for m in (sign_x * sign_y, sign_x**2, sign_y**2))
    h = sign_x * sign_y / np.sqrt(b * c) - a / np.sqrt(b * c) / 2 * (sign_x**2 / b + sign_y**2 / c)
    zeta_2 = (h**2).sum() / n_pairs
    sample_variance = (h.sum(axis=1) / (n - 1)).var(ddof=1)
    zeta_1 = (sample_variance * (n - 1) ** 2 / (n - 2) - zeta_2) / (n - 4)
    expected = np.sqrt((4 * (n - 2) * zeta_1 + 2 * zeta_2) / n_pairs)
    assert kendall_standard_error(x, y) == pytest.approx(expected, rel=1e-9)


def test_a_perfect_order_has_no_error_and_four_networks_have_no_estimate() -> None:
    assert kendall_standard_error(np.arange(30.0), np.arange(30.0)) == pytest.approx(0, abs=1e-7)
    assert np.isnan(kendall_standard_error(np.arange(4.0), np.arange(4.0)))


@pytest.mark.parametrize("statistic", ["kendall", "spearman"])
@pytest.mark.parametrize("levels", [None, 1], ids=["no ties", "ties"])
def test_the_bootstrap_is_that_of_resampled_lists(statistic: Statistic, levels: int | None) -> None:
    """The plain bootstrap: draw networks with replacement, build the lists, correlate, take percentiles."""
    x, y = correlated(np.random.default_rng(7), 0.5, (40,))
    if levels is not None:
        x, y = np.round(x), np.round(y * 2)
    rng = np.random.default_rng(8)
    values = []
    for counts in rng.multinomial(40, np.full(40, 1 / 40), size=60):
        drawn = np.repeat(np.arange(40), counts)
        values.append(PLAIN[statistic](x[drawn], y[drawn]))
    expected = np.quantile(values, [0.05, 0.95])
    ours = bootstrap_interval(x, y, statistic=statistic, n_resamples=60, level=0.9, rng=np.random.default_rng(8))
    assert ours == pytest.approx(tuple(expected), abs=1e-12)


def test_a_bootstrap_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(9)
    x, y = correlated(rng, 0.6, (300, 60))
    intervals = [bootstrap_interval(a, b, rng=rng, n_resamples=200, level=0.9) for a, b in zip(x, y, strict=True)]
    covered = np.mean([low <= 0.6 <= high for low, high in intervals])
    assert 0.83 <= covered <= 0.96


@pytest.mark.parametrize("statistic", PLAIN)
def test_a_bootstrap_loops_over_neither_networks_nor_resamples(statistic: str) -> None:
    def interval(n: int, n_resamples: int) -> None:
        x, y = correlated(np.random.default_rng(10), 0.6, (n,))
        rng = np.random.default_rng(11)
        bootstrap_interval(x, y, statistic=statistic, n_resamples=n_resamples, rng=rng)  # type: ignore[arg-type]

    interval(60, 100)
    least = n_calls(lambda: interval(60, 100))
    assert n_calls(lambda: interval(600, 1000)) < 1.5 * least


def test_a_bootstrap_of_a_constant_has_no_interval() -> None:
    assert np.isnan(bootstrap_interval(np.ones(6), np.arange(6.0), rng=np.random.default_rng(0))).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"statistic": "pearson"}, r"statistics \['kendall', 'spearman'\], got 'pearson'"),
        ({"level": 95}, "between 0 and 1, got 95"),
        ({"n_resamples": 0}, "at least one resample, got 0"),
    ],
)
def test_bad_bootstrap_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_interval([1.0, 2.0], [1.0, 2.0], rng=np.random.default_rng(0), **options)  # type: ignore[arg-type]


def test_a_matrix_of_spearmans_rho_is_that_of_every_pair() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(5, 40)), rng.normal(size=(3, 40))
    first[1] = np.round(first[1])  # ties
    first[2, :4] = -np.inf
    second[0] = np.round(second[0] * 2)
    first[4] = 1.0
    found = spearman_matrix(first, second)
    for i, x in enumerate(first[:4]):
        for j, y in enumerate(second):
            assert found[i, j] == pytest.approx(spearman(x, y), abs=1e-12)
    assert np.isnan(found[4]).all()

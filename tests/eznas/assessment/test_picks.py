"""Picks: the closed forms are the mean over breaking ties by chance, and the figures are those of the study."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eznas.assessment.picks import PICKS, by_chance, n_of_share, tau_within
from eznas.benchmarks import Split, load_nb201
from eznas.fitness import kendall_tau_b
from eznas.fitness.labels import FloatArray
from eznas.spaces import nb201

values = st.sampled_from([-np.inf, 0.0, 1.0, 2.0])


def over_all_orders(x: FloatArray, y: FloatArray, k: int) -> dict[str, float]:
    """The expectation by listing: every order of the networks breaks the ties of each list once."""

    def ranks(v: FloatArray) -> list[FloatArray]:
        found = []
        for order in itertools.permutations(range(len(v))):
            made = np.empty(len(v))
            made[np.lexsort((order, -v))] = np.arange(len(v))
            found.append(made)
        return list(np.unique(found, axis=0))

    n, sums = len(x), dict.fromkeys(PICKS, 0.0)
    pairs = list(itertools.product(ranks(x), ranks(y)))
    for by_score, by_accuracy in pairs:
        first, last = by_score < k, by_score >= n - k
        sums["precision_top"] += np.sum(first & (by_accuracy < k)) / k
        sums["precision_bottom"] += np.sum(last & (by_accuracy >= n - k)) / k
        sums["best_rank"] += (by_accuracy[first].min() + 1) / n
        sums["worst_rank"] += (by_accuracy[first].max() + 1) / n
    return {name: total / len(pairs) for name, total in sums.items()}


@given(st.lists(st.tuples(values, st.sampled_from([1.0, 2.0, 3.0])), min_size=1, max_size=5), st.data())
def test_closed_forms_are_the_expectation_over_all_ways_of_breaking_ties(
    pairs: list[tuple[float, float]], data: st.DataObject
) -> None:
    x, y = (np.array(v) for v in zip(*pairs, strict=True))
    k = data.draw(st.integers(1, len(pairs)))
    expected = over_all_orders(x, y, k)
    assert {name: of(x, y, k) for name, of in PICKS.items()} == pytest.approx(expected)


def test_the_plain_definition_draws_what_the_closed_forms_expect() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, 40).astype(float), rng.integers(0, 9, 40).astype(float)
    for k in (1, 7, 20, 40):
        drawn = by_chance(x, y, k, rng, 3000)
        for name, of in PICKS.items():
            assert of(x, y, k) == pytest.approx(drawn[name], abs=0.02), (name, k)


def test_picks_by_hand() -> None:
    """Five networks: the two best by score are the best and the fourth by accuracy."""
    y, x = np.array([5.0, 4.0, 3.0, 2.0, 1.0]), np.array([10.0, 1.0, 2.0, 9.0, 0.0])
    found = {name: of(x, y, 2) for name, of in PICKS.items()}
    # worst by score: the fifth and the second; the second is not among the two worst
    assert found == pytest.approx({
        "precision_top": 0.5, "precision_bottom": 0.5, "best_rank": 0.2, "worst_rank": 0.8,
    })  # fmt: skip


def test_without_ties_a_perfect_order_is_perfect_and_its_reverse_is_worst() -> None:
    y = np.arange(10.0)
    assert [of(y, y, 3) for of in PICKS.values()] == pytest.approx([1, 1, 0.1, 0.3])
    assert [of(-y, y, 3) for of in PICKS.values()] == pytest.approx([0, 0, 0.8, 1])


def test_tau_within_is_tau_of_the_picked_and_draws_only_where_a_tie_straddles() -> None:
    rng = np.random.default_rng(1)
    y, x = rng.normal(size=30), rng.normal(size=30)
    top = np.argsort(-x)[:8]
    assert tau_within(x, y, 8, rng, top=True) == kendall_tau_b(x[top], y[top])
    bottom = np.argsort(x)[:8]
    assert tau_within(x, y, 8, rng, top=False) == kendall_tau_b(x[bottom], y[bottom])
    assert math.isnan(tau_within(x, y, 4, rng, top=True))
    tied = np.round(x)
    draws = [tau_within(tied, y, 8, np.random.default_rng(seed), top=True) for seed in (2, 2, 3)]
    assert draws[0] == draws[1]
    assert abs(draws[0] - draws[2]) < 0.15
    assert math.isnan(tau_within(np.ones(30), y, 8, rng, top=True))


def test_a_share_is_rounded_down() -> None:
    assert [n_of_share(share, 100) for share in (0.001, 0.01, 0.29, 1.0)] == [0, 1, 29, 100]
    assert n_of_share(0.001, 15_625) == 15


def test_parameters_of_nas_bench_201_have_the_known_picks() -> None:
    """CIFAR-10, test accuracy, all cells; expected from 20 random breaks of ties, so the tolerances are theirs."""
    benchmark = load_nb201()
    x = np.array([nb201.parameter_count(arch, nb201.FULL) for arch in benchmark.architectures], dtype=float)
    y = benchmark.accuracies(benchmark.architectures, "cifar10", Split.TEST)
    n = len(x)

    def of(name: str, share: float) -> float:
        return PICKS[name](x, y, n_of_share(share, n))

    assert [of("precision_top", k) for k in (0.01, 0.05, 0.1)] == pytest.approx([0.065, 0.366, 0.481], abs=0.005)
    assert [of("precision_bottom", k) for k in (0.01, 0.05, 0.1)] == pytest.approx([0.043, 0.465, 0.483], abs=0.005)
    assert [of("best_rank", k) for k in (0.001, 0.01)] == pytest.approx([0.0013, 0.0001], abs=0.0006)
    assert [of("worst_rank", k) for k in (0.001, 0.01, 0.05)] == pytest.approx([0.151, 0.415, 0.661], abs=0.025)


@pytest.mark.parametrize(
    ("dataset", "top", "bottom", "tau"),
    [("cifar100", 0.388, 0.433, 0.553), ("imagenet16", 0.274, 0.466, 0.520)],
)
def test_parameters_on_the_other_data_sets(data_dir: Path, dataset: str, top: float, bottom: float, tau: float) -> None:
    benchmark = load_nb201(data_dir)
    x = np.array([nb201.parameter_count(arch, nb201.FULL) for arch in benchmark.architectures], dtype=float)
    y = benchmark.accuracies(benchmark.architectures, dataset, Split.TEST)
    k = n_of_share(0.05, len(x))
    assert PICKS["precision_top"](x, y, k) == pytest.approx(top, abs=0.005)
    assert PICKS["precision_bottom"](x, y, k) == pytest.approx(bottom, abs=0.005)
    assert kendall_tau_b(x, y) == pytest.approx(tau, abs=0.0006)

"""Mean tau over samples: equal to its definition on drawn lists, paired, shared networks drawn together."""

from __future__ import annotations

import numpy as np
import pytest

from eznas.assessment.over_samples import _counts, mean_taus
from eznas.fitness import kendall_tau_b

N = 60


def _made(seed: int = 3) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Two proxies; 40 networks in the samples a and b, 20 others in c."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=N)
    a, b, c = (truth + rng.normal(0, 0.4, N) for _ in range(3))
    a[40:] = b[40:] = c[:40] = np.nan
    return [truth + rng.normal(0, 0.5, N), truth + rng.normal(0, 2.0, N)], {"a": a, "b": b, "c": c}


def test_it_is_the_percentile_interval_of_drawn_lists() -> None:
    scores, accuracies = _made()
    weights = {"a": 1.0, "b": 2.0, "c": 1.0}
    found = mean_taus(scores, accuracies, weights=weights, rng=np.random.default_rng(0), n_resamples=40)
    assert found is not None
    inside = np.stack([np.isfinite(values) for values in accuracies.values()])
    counts = _counts(inside, 40, np.random.default_rng(0)).astype(int)

    def mean(scores: np.ndarray, drawn: np.ndarray) -> float:
        total = 0.0
        for name, values in accuracies.items():
            kept = [i for i in drawn if np.isfinite(values[i])]
            total += weights[name] / 4 * kendall_tau_b(scores[kept], values[kept])
        return total

    everything = np.arange(N)
    lists = [np.repeat(everything, row) for row in counts]
    means = np.array([[mean(row, drawn) for drawn in lists] for row in scores])
    for place, criterion in enumerate(found.taus):
        assert criterion.value == pytest.approx(mean(scores[place], everything))
        assert (criterion.low, criterion.high) == pytest.approx(tuple(np.percentile(means[place], (2.5, 97.5))))
    (less,) = found.less_first
    assert less.value == pytest.approx(found.taus[0].value - found.taus[1].value)
    assert (less.low, less.high) == pytest.approx(tuple(np.percentile(means[0] - means[1], (2.5, 97.5))))


def test_networks_of_several_samples_are_drawn_together_and_samples_keep_their_size() -> None:
    inside = np.array([[True] * 40 + [False] * 20, [True] * 40 + [False] * 20, [False] * 40 + [True] * 20])
    counts = _counts(inside, 200, np.random.default_rng(1))
    assert (counts[:, :40].sum(axis=1) == 40).all()
    assert (counts[:, 40:].sum(axis=1) == 20).all()
    assert counts.mean() == pytest.approx(1.0)


def test_the_interval_holds_the_mean_of_other_networks_about_as_often_as_it_says() -> None:
    """Of 60 draws with the same law; the bound is far below 95 % of them, so that it does not fail by chance."""
    large = [mean_taus(*_made(1000 + seed), rng=np.random.default_rng(0), n_resamples=1) for seed in range(200)]
    true = np.mean([one.taus[0].value for one in large if one is not None])
    held = 0
    for seed in range(60):
        found = mean_taus(*_made(seed), rng=np.random.default_rng(0), n_resamples=200)
        assert found is not None
        low, high = found.taus[0].low, found.taus[0].high
        assert low is not None
        assert high is not None
        held += low <= true <= high
    assert held >= 48


def test_a_proxy_without_a_tau_gives_none() -> None:
    scores, accuracies = _made()
    assert mean_taus([scores[0], np.full(N, np.nan)], accuracies, rng=np.random.default_rng(0), n_resamples=5) is None

"""What follows from the counts of a resample is what the drawn networks give."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from eznas.assessment.resamples import Resamples
from eznas.errors import BenchmarkError
from eznas.fitness import Covariates, Labels, bootstrap_interval, criteria, kendall_tau_b, spearman
from eznas.fitness.labels import FloatArray
from eznas.fitness.measurement import CRITERIA
from tests.eznas.assessment.samples import labels_of, proxy_of

PLAIN: dict[str, Callable[[FloatArray, Labels], float]] = {
    "tau": lambda x, labels: kendall_tau_b(x, labels.accuracies),
    "rho": lambda x, labels: spearman(x, labels.accuracies),
    "top_tau": criteria.top_tau,
    "level_rho": criteria.level_rho,
    "partial_rho": criteria.partial_rho,
    "ndcg": criteria.ndcg,
}


def drawn(labels: Labels, counts: FloatArray) -> tuple[Labels, FloatArray]:
    """The networks of one resample, one after the other, and which they are."""
    chosen = np.repeat(np.arange(counts.size), counts.astype(int))
    assert labels.covariates is not None
    covariates = Covariates(
        labels.covariates.log_parameters[chosen], labels.covariates.log_macs[chosen], labels.covariates.levels[chosen]
    )
    return Labels("drawn", labels.accuracies[chosen], np.arange(chosen.size), covariates), chosen


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize(("n", "n_values"), [(60, 0), (60, 1), (12, 2)])
def test_a_criterion_on_counts_is_the_criterion_of_the_drawn_networks(name: str, n: int, n_values: int) -> None:
    labels = labels_of(n, n_values=n_values)
    scores = np.round(proxy_of(labels, 5.0)) if n_values else proxy_of(labels, 5.0)
    scores[:3] = -np.inf
    (resamples,) = Resamples.draw(labels, 40, np.random.default_rng(2))
    found = resamples.values(scores, name)
    expected = []
    for counts in resamples.counts:
        sample, chosen = drawn(labels, counts)
        expected.append(PLAIN[name](scores[chosen], sample))
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)
    if n == 60:
        assert np.isfinite(found).mean() > (0.5 if name == "top_tau" else 0.99)


@pytest.mark.parametrize("name", CRITERIA)
def test_one_score_for_all_networks_drawn_has_no_value(name: str) -> None:
    labels = labels_of(60)
    (resamples,) = Resamples.draw(labels, 10, np.random.default_rng(2))
    assert np.isnan(resamples.values(np.ones(60), name)).all()


def test_portions_change_no_draw() -> None:
    labels = labels_of(30)
    whole = [r.counts for r in Resamples.draw(labels, 17, np.random.default_rng(3))]
    parts = [r.counts for r in Resamples.draw(labels, 17, np.random.default_rng(3), max_elements=150)]
    assert len(whole) == 1
    assert [len(part) for part in parts] == [5, 5, 5, 2]
    assert (np.concatenate(parts) == whole[0]).all()


@pytest.mark.parametrize(("name", "statistic"), [("tau", "kendall"), ("rho", "spearman")])
def test_tau_and_rho_are_those_of_the_bootstrap_interval(name: str, statistic: str) -> None:
    labels = labels_of(40)
    scores = proxy_of(labels, 5.0)
    (resamples,) = Resamples.draw(labels, 200, np.random.default_rng(4))
    interval = np.quantile(resamples.values(scores, name), [(1 - 0.95) / 2, (1 + 0.95) / 2])
    expected = bootstrap_interval(
        scores, labels.accuracies, statistic=statistic, n_resamples=200, rng=np.random.default_rng(4)  # type: ignore[arg-type]
    )  # fmt: skip
    assert tuple(interval) == expected


def test_what_cannot_be_resampled_is_refused() -> None:
    labels = labels_of(30)
    (resamples,) = Resamples.draw(labels, 5, np.random.default_rng(0))
    with pytest.raises(ValueError, match="no criterion 'taub'"):
        resamples.values(labels.accuracies, "taub")
    bare = Resamples(Labels("bare", labels.accuracies, labels.networks), resamples.counts)
    for name in ("level_rho", "partial_rho"):
        with pytest.raises(BenchmarkError, match="needs covariates"):
            bare.values(labels.accuracies, name)

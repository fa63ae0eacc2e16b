"""Bounds from a part of the networks hold on all of them as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from eznas.fitness import Labels, assess_population, upper_bounds

N = 150


def labels_of(n_tasks: int = 1) -> list[Labels]:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=N)
    return [Labels(f"task {t}", truth + 0.2 * rng.normal(size=N), np.arange(N)) for t in range(n_tasks)]


def population(labels: list[Labels], n_programs: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = rng.uniform(0.2, 4, size=(n_programs, 1))
    return rng.choice([-1, 1], size=(n_programs, 1)) * (labels[0].accuracies + noise * rng.normal(size=(n_programs, N)))


def correlations(scores: np.ndarray, labels: list[Labels]) -> np.ndarray:
    found = assess_population(scores, labels, [None] * len(scores), ["tau"])
    return np.array([fitness.correlation for fitness in found])  # type: ignore[union-attr]


@pytest.mark.parametrize("n_tasks", [1, 3])
@pytest.mark.parametrize("n_seen", [40, 80])
def test_bounds_are_exceeded_as_rarely_as_they_say(n_tasks: int, n_seen: int) -> None:
    labels = labels_of(n_tasks)
    scores = population(labels, 1500, seed=n_seen)
    seen = np.random.default_rng(1).permuted(np.tile(np.arange(N) < n_seen, (30, 1)), axis=1)
    truth = correlations(scores, labels)
    exceeded = []
    for which, part in enumerate(np.split(np.arange(len(scores)), 30)):
        some = np.where(seen[which], scores[part], np.nan)
        bounds = upper_bounds(some, labels, confidence=0.95)
        exceeded += (truth[part] > bounds).tolist()
    assert np.mean(exceeded) <= 0.06
    if n_tasks == 1:  # with several, the worst of the bounds is on the safe side
        assert np.mean(exceeded) >= 0.015


def test_on_all_networks_the_bound_is_the_correlation() -> None:
    labels = labels_of(2)
    scores = population(labels, 20, seed=1)
    np.testing.assert_allclose(upper_bounds(scores, labels), correlations(scores, labels), atol=1e-12)


def test_a_program_that_may_not_turn_gets_no_credit_for_the_other_direction() -> None:
    labels = labels_of()
    scores = -labels[0].accuracies[None, :]
    assert upper_bounds(scores, labels, may_turn=True)[0] == pytest.approx(1)
    assert upper_bounds(scores, labels, may_turn=False)[0] == pytest.approx(-1)


def test_where_nothing_can_be_said_nothing_is_decided() -> None:
    labels = labels_of()
    scores = np.full((4, N), np.nan)
    scores[:, :40] = population(labels, 4, seed=2)[:, :40]
    scores[0, 3] = np.inf  # failed once
    scores[1, :40] = 7.0
    scores[2, :20] = -np.inf
    bounds = upper_bounds(scores, labels)
    assert bounds[0] == bounds[1] == 1
    assert bounds[2] == -np.inf
    assert -1 < bounds[3] < 1
    few = np.where(np.arange(N) < 4, scores, np.nan)
    assert upper_bounds(few[3:], labels).tolist() == [1]
    with pytest.raises(ValueError, match="confidence of an early decision"):
        upper_bounds(scores, labels, confidence=0.4)

"""Tau from pairs: exact where all pairs are taken, right on average where some are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eznas.fitness import Labels
from eznas.fitness.pairs import PairSample
from eznas.fitness.ranks import kendall_tau_b

RNG = np.random.default_rng(5)
N = 40
ACCURACIES = RNG.normal(size=(3, N))
SCORES = torch.from_numpy(0.6 * ACCURACIES[0] + RNG.normal(size=(4, N)))


def labels(first: int = 0) -> list[Labels]:
    """Two tasks on the same networks, one on others."""
    return [
        Labels("a", ACCURACIES[0, :25], np.arange(25) + first), Labels("b", ACCURACIES[1, :25], np.arange(25) + first),
        Labels("c", ACCURACIES[2, 25:], np.arange(25, N) + first),
    ]  # fmt: skip


def test_all_pairs_give_tau() -> None:
    found = PairSample.draw(labels(), 10_000, RNG).tau(SCORES)
    for row in range(len(SCORES)):
        for column, task in enumerate(labels()):
            expected = kendall_tau_b(SCORES[row, task.networks].numpy(), task.accuracies)
            assert found[row, column].item() == pytest.approx(expected, abs=1e-5)


def test_some_pairs_give_tau_on_average() -> None:
    rng = np.random.default_rng(9)
    draws = torch.stack([PairSample.draw(labels(), 50, rng).tau(SCORES) for _ in range(2_000)])
    exact = PairSample.draw(labels(), 10_000, rng).tau(SCORES)
    error = draws.std(dim=0) / len(draws) ** 0.5
    assert ((draws.mean(dim=0) - exact).abs() < 4 * error + 1e-4).all()


def test_ties_say_nothing() -> None:
    sample = PairSample.draw([Labels("a", np.array([1.0, 1.0, 2.0, 3.0, 4.0]), np.arange(5))], 100, RNG)
    assert sample.tau(torch.zeros(1, 5)).item() == 0
    assert sample.tau(torch.tensor([[0.0, 9.0, 10.0, 11.0, 12.0]])).item() == pytest.approx(1.0), "of 9 that differ"
    assert sample.tau(torch.tensor([[float("nan")] * 5])).item() == 0


def test_tasks_on_the_same_networks_share_their_pairs() -> None:
    sample = PairSample.draw(labels(), 30, RNG)
    assert len(sample.first) == 60
    assert sample.first.min() >= 0
    assert (sample.first != sample.second).all()
    of_third = sample.orders[:, 2] != 0
    assert (sample.first[of_third] >= 25).all()
    assert (sample.second[of_third] >= 25).all()

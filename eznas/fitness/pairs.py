"""Rank correlation from pairs: an unbiased estimate of Kendall's tau for very many programs at once.

Tau is the mean over all pairs of networks of whether scores and accuracies order them alike. A sample of pairs, the
same for all programs that are compared, gives an estimate that is right on average at a fraction of the price, and
several data sets of the same networks share the costly part, the signs of the differences of scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eznas.fitness.labels import Labels


@dataclass(frozen=True, eq=False, slots=True)
class PairSample:
    """Pairs of networks drawn for some tasks, and how the accuracies order them.

    Attributes:
        first, second: (n_pairs,) columns of the score matrix.
        orders: (n_pairs, n_tasks) float32: the sign of the difference of the accuracies, over the number of pairs of
            the task whose accuracies differ; 0 for pairs of other tasks.
    """

    first: Tensor
    second: Tensor
    orders: Tensor

    @classmethod
    def draw(cls, labels: Sequence[Labels], n_pairs: int, rng: np.random.Generator) -> PairSample:
        """At most so many pairs of the networks of each task; tasks on the same networks share them.

        Args:
            labels: the tasks.
            n_pairs: of each set of networks; all pairs if there are no more than that.
            rng: draws them, with repetition.
        """
        by_networks: dict[bytes, list[int]] = {}
        for index, task in enumerate(labels):
            by_networks.setdefault(task.networks.tobytes(), []).append(index)
        firsts, seconds, orders = [], [], []
        for tasks in by_networks.values():
            n = labels[tasks[0]].networks.size
            if n * (n - 1) // 2 <= n_pairs:
                i, j = np.triu_indices(n, 1)
            else:
                i = rng.integers(0, n, n_pairs)
                j = (i + rng.integers(1, n, n_pairs)) % n
            order = np.zeros((len(i), len(labels)), dtype=np.float32)
            for index in tasks:
                signs = np.sign(labels[index].accuracies[i] - labels[index].accuracies[j])
                order[:, index] = signs / max(np.count_nonzero(signs), 1)
            columns = labels[tasks[0]].networks
            firsts.append(columns[i])
            seconds.append(columns[j])
            orders.append(order)
        return cls(
            torch.from_numpy(np.concatenate(firsts)), torch.from_numpy(np.concatenate(seconds)),
            torch.from_numpy(np.concatenate(orders)),
        )  # fmt: skip

    def signs(self, scores: Tensor) -> Tensor:
        """(n_programs, n_pairs) float32 signs of differences of (n_programs, n_networks) scores; 0 of NaN."""
        difference = scores[:, self.first] - scores[:, self.second]
        return (difference > 0).float() - (difference < 0).float()

    def tau(self, scores: Tensor) -> Tensor:
        """(n_programs, n_tasks) float32 estimates of tau: what ties in scores are counted as wrong half the time."""
        return self.signs(scores) @ self.orders

"""Criteria on resampled networks: what each would have been, had another sample of the same size been drawn.

A resample is kept as how often each network was drawn. Every criterion follows exactly from these counts, for all
resamples at once and without building the drawn lists; tests hold each to its plain definition on the drawn lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from eznas.fitness import MIN_NETWORKS, Labels
from eznas.fitness.criteria import (
    covariates_of,
    cumulative_discounts,
    partial,
    relative_gains,
    top_threshold,
)
from eznas.fitness.labels import FloatArray
from eznas.fitness.ranks import (
    correlation,
    group_counts,
    kendall_resampled,
    ranks_resampled,
    spearman_resampled,
)

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Resamples:
    """Some resamples of the networks of a task; what depends on the labels alone is computed once.

    Attributes:
        labels: of the n networks.
        counts: (n_resamples, n) how often each was drawn; every row sums to n.
    """

    labels: Labels
    counts: FloatArray

    @classmethod
    def draw(
        cls, labels: Labels, n_resamples: int, rng: np.random.Generator, max_elements: int = 2**22
    ) -> Iterator[Resamples]:
        """Draw n networks with replacement, `n_resamples` times, in portions of at most `max_elements` counts.

        The draws are those of `eznas.fitness.bootstrap_interval` with the same generator, whatever the portions.
        """
        n = labels.accuracies.size
        n_batch = max(1, max_elements // n)
        for start in range(0, n_resamples, n_batch):
            counts = rng.multinomial(n, np.full(n, 1 / n), size=min(n_batch, n_resamples - start))
            yield cls(labels, counts.astype(np.float64))

    def values(self, x: FloatArray, name: str) -> FloatArray:
        """(n_resamples,) values of a criterion for (n,) scores, higher better and failures ``-inf``; NaN for none.

        Raises:
            ValueError: if the criterion is unknown.
            BenchmarkError: if it reads covariates that the labels lack.
        """
        match name:
            case "tau":
                return kendall_resampled(x, self.labels.accuracies, self.counts)
            case "rho":
                return correlation(ranks_resampled(x, self.counts), self._ranks, self.counts)
            case "top_tau":
                return self._top_tau(x)
            case "level_rho":
                return self._level_rho(x)
            case "partial_rho":
                return self._partial_rho(x)
            case "ndcg":
                return np.where(self._is_constant(x), np.nan, self._gain(x) / self._ideal)
            case "sparse_tau":
                return kendall_resampled(x, np.round(self.labels.accuracies), self.counts)
            case "pearson":
                return self._pearson(x)
            case "top_rho":
                columns, counts = self._top
                found = spearman_resampled(x[columns], self.labels.accuracies[columns], counts)
                return np.where(counts.sum(axis=1) >= MIN_NETWORKS, found, np.nan)
            case "partial_tau":
                return self._partial_tau(x)
            case _:
                raise ValueError(f"There is no criterion {name!r} to resample.")

    def _top_tau(self, x: FloatArray) -> FloatArray:
        columns, counts = self._top
        found = kendall_resampled(x[columns], self.labels.accuracies[columns], counts)
        return np.where(counts.sum(axis=1) >= MIN_NETWORKS, found, np.nan)

    def _level_rho(self, x: FloatArray) -> FloatArray:
        total, n_levels = np.zeros(len(self.counts)), np.zeros(len(self.counts))
        for columns, counts, ranks, is_used in self._levels:
            rho = correlation(ranks_resampled(x[columns], counts), ranks, counts)
            total += np.where(is_used, np.nan_to_num(rho, nan=0.0), 0.0)
            n_levels += is_used
        with np.errstate(invalid="ignore"):
            return np.where(self._is_constant(x), np.nan, total / n_levels)

    def _partial_rho(self, x: FloatArray) -> FloatArray:
        sizes, yz, zz = self._given
        ranks = ranks_resampled(x, self.counts)
        xz = np.stack([correlation(ranks, size, self.counts) for size in sizes], axis=-1)
        return partial(correlation(ranks, self._ranks, self.counts), xz, yz, zz)

    def _partial_tau(self, x: FloatArray) -> FloatArray:
        sizes, yz, zz = self._given_tau
        xz = np.stack([kendall_resampled(x, size, self.counts) for size in sizes], axis=-1)
        return partial(kendall_resampled(x, self.labels.accuracies, self.counts), xz, yz, zz)

    def _pearson(self, x: FloatArray) -> FloatArray:
        """Failures count with the lowest finite score of all networks, drawn or not."""
        finite = np.isfinite(x)
        if not finite.any():
            return np.full(len(self.counts), np.nan)
        filled = np.where(finite, x, x[finite].min())
        scaled = filled / max(np.abs(filled).max(), np.finfo(np.float64).tiny)
        found = correlation(scaled[None, :], self.labels.accuracies[None, :], self.counts)
        return np.where(self._is_constant(filled), np.nan, found)

    def _is_constant(self, x: FloatArray) -> BoolArray:
        """(n_resamples,) whether all networks drawn have one score."""
        return np.asarray((group_counts(x, self.counts)[0] > 0).sum(axis=1) < 2)

    def _gain(self, x: FloatArray) -> FloatArray:
        """(n_resamples,) discounted cumulative gain; the networks of a group of ties share their places evenly."""
        sizes, group = group_counts(x, self.counts)
        n = self.counts.shape[1]
        sums = cumulative_discounts(n)
        before = (n - np.cumsum(sizes, axis=1)).astype(np.int64)  # places of better groups
        with np.errstate(invalid="ignore"):
            shares = np.nan_to_num((sums[before + sizes.astype(np.int64)] - sums[before]) / sizes, nan=0.0)
        return np.asarray((shares[:, group] * self.counts) @ relative_gains(self.labels.accuracies))

    # ------------------------------------------------------------------------------------- what the labels alone decide

    @cached_property
    def _ranks(self) -> FloatArray:
        return ranks_resampled(self.labels.accuracies, self.counts)

    @cached_property
    def _ideal(self) -> FloatArray:
        ideal = self._gain(self.labels.accuracies)
        return np.where(ideal > 0, ideal, np.nan)

    @cached_property
    def _top(self) -> tuple[npt.NDArray[np.intp], FloatArray]:
        """Networks that are among the top tenth of a resample, and how often they are in each."""
        accuracies = self.labels.accuracies
        order = np.argsort(accuracies, kind="stable")
        n_drawn = np.cumsum(self.counts[:, order], axis=1)
        last = np.argmax(n_drawn > top_threshold(accuracies.size), axis=1)
        counts = self.counts * (accuracies >= accuracies[order][last][:, None])
        columns = np.flatnonzero(counts.any(axis=0))
        return columns, counts[:, columns]

    @cached_property
    def _levels(self) -> list[tuple[BoolArray, FloatArray, FloatArray, BoolArray]]:
        """Per level: its networks, their counts and ranks by accuracy, and the resamples in which it can be ranked."""
        levels, found = covariates_of(self.labels).levels, []
        for level in np.unique(levels):
            columns = levels == level
            counts, accuracies = self.counts[:, columns], self.labels.accuracies[columns]
            n_values = (group_counts(accuracies, counts)[0] > 0).sum(axis=1)
            is_used = (counts.sum(axis=1) >= MIN_NETWORKS) & (n_values > 1)
            if is_used.any():
                found.append((columns, counts, ranks_resampled(accuracies, counts), is_used))
        return found

    @cached_property
    def _given(self) -> tuple[list[FloatArray], FloatArray, FloatArray]:
        """Ranks by log parameters and log MACs, their correlations with accuracy, and those among them."""
        covariates = covariates_of(self.labels)
        sizes = [ranks_resampled(v, self.counts) for v in (covariates.log_parameters, covariates.log_macs)]
        yz = np.stack([correlation(self._ranks, size, self.counts) for size in sizes], axis=-1)
        rows = [np.stack([correlation(a, b, self.counts) for b in sizes], axis=-1) for a in sizes]
        return sizes, yz, np.stack(rows, axis=-2)

    @cached_property
    def _given_tau(self) -> tuple[list[FloatArray], FloatArray, FloatArray]:
        """Log parameters and log MACs, their tau-b with accuracy, and those among them."""
        covariates = covariates_of(self.labels)
        sizes = [covariates.log_parameters, covariates.log_macs]
        yz = np.stack([kendall_resampled(self.labels.accuracies, size, self.counts) for size in sizes], axis=-1)
        rows = [np.stack([kendall_resampled(a, b, self.counts) for b in sizes], axis=-1) for a in sizes]
        return sizes, yz, np.stack(rows, axis=-2)

"""What words are worth before any sentence uses them: whether they say the same on most samples, and something new.

On each sample the ranks of a word and of the accuracies are freed of what the ranks of parameters and
multiply-accumulates say, and correlated. A word that is to travel keeps the sign of that correlation from sample to
sample. Generality is learnt from the number of spaces, not of networks: words are screened by their spread over spaces
before sentences can overfit them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy

from eznas.fitness import Labels

FEW: Final = 4
"""Samples below which a spread over samples says too little, and words are chosen by their mean alone."""
NOISE: Final = 0.02
"""Added to the standard error over samples, so that agreement by luck is not infinitely good."""
BATCH: Final = 2_048


def steady(values: npt.NDArray[np.float64], labels: Sequence[Labels], n: int) -> npt.NDArray[np.int64]:
    """Rows of the n words that are worth most: half by what they rank alone, half by what they add to size.

    Args:
        values: (n_words, n_networks); what is not finite ranks last.
        labels: the tasks; the covariates of those that have them say what size explains.
        n: of words; 0 for all.

    Returns:
        ascending rows.
    """
    if not n or len(values) <= n:
        return np.arange(len(values))
    alone, beyond = correlations(values, labels)
    chosen: set[int] = set()
    for merits in (_merit(beyond, labels), _merit(alone, labels)):
        order = [row for row in np.argsort(-merits, kind="stable").tolist() if row not in chosen]
        chosen.update(order[: n // 2])
    return np.array(sorted(chosen), dtype=np.int64)


def bounds(values: npt.NDArray[np.float64], labels: Sequence[Labels]) -> npt.NDArray[np.float64]:
    """(n_words,) the magnitude of the mean rank correlation with the accuracies, less its standard error over tasks."""
    alone, _ = correlations(values, labels)
    return np.asarray(np.abs(alone.mean(axis=1)) - alone.std(axis=1) / len(labels) ** 0.5)


def correlations(
    values: npt.NDArray[np.float64], labels: Sequence[Labels]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(n_words, n_tasks) rank correlations with the accuracies: of words alone, and of what size leaves of both."""
    alone = np.empty((len(values), len(labels)))
    beyond = np.empty_like(alone)
    for index, task in enumerate(labels):
        target = _standardised(task.accuracies[None])[0]
        sizes = np.empty((0, len(target)))
        if task.covariates is not None:
            sizes = _standardised(np.stack([task.covariates.log_parameters, task.covariates.log_macs]))
        basis, _ = np.linalg.qr(sizes.T)
        rest = target - basis @ (basis.T @ target)
        for start in range(0, len(values), BATCH):
            part = values[start : start + BATCH, task.networks]
            rows = _standardised(np.where(np.isfinite(part), part, -np.inf))
            alone[start : start + BATCH, index] = rows @ target / len(target)
            left = rows - (rows @ basis) @ basis.T
            lengths = np.linalg.norm(left, axis=1)
            is_new = lengths > 0.15 * len(target) ** 0.5  # else it is size in other words
            beyond[start : start + BATCH, index] = np.where(
                is_new, left @ rest / np.maximum(lengths * np.linalg.norm(rest), 1e-12), 0.0
            )
    return alone, beyond


def _merit(found: npt.NDArray[np.float64], labels: Sequence[Labels]) -> npt.NDArray[np.float64]:
    """(n_words,) the magnitude of the mean over the tasks, of many in its standard errors."""
    mean = np.abs(found.mean(axis=1))
    n_spaces = len({task.networks.tobytes() for task in labels})
    if n_spaces < FEW:
        return np.asarray(mean)
    error = found.std(axis=1) / n_spaces**0.5 + NOISE
    return np.asarray(mean / error)


def _standardised(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(n_rows, n) mid-ranks of each row, of mean 0 and variance 1; zeros where all are equal."""
    ranks = scipy.stats.rankdata(rows, axis=1)
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    return np.asarray(centred / np.where(spread > 0, spread, 1.0))

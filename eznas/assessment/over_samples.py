"""Mean tau over samples with an interval, and by how much it is more than another proxy's, on the same resamples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eznas.fitness import Criterion, kendall_tau_b
from eznas.fitness.labels import FloatArray
from eznas.fitness.ranks import kendall_resampled


@dataclass(frozen=True, slots=True)
class MeanTaus:
    """Of several proxies over the same samples.

    Attributes:
        taus: of each proxy, the (weighted) mean over the samples, with its 95 % percentile interval.
        less_first: of each proxy but the first, the first's mean less its own, paired.
    """

    taus: tuple[Criterion, ...]
    less_first: tuple[Criterion, ...]


def mean_taus(
    scores: Sequence[FloatArray],
    accuracies: Mapping[str, FloatArray],
    *,
    weights: Mapping[str, float] | None = None,
    rng: np.random.Generator,
    n_resamples: int = 1000,
) -> MeanTaus | None:
    """Mean tau-b over samples of proxies, resampled within the samples.

    Networks are drawn with replacement among those that are in the same samples, so that one which has accuracies on
    three data sets is drawn in all three at once, and a sample keeps its size. The interval is of the choice of
    networks; that of the samples is given.

    Args:
        scores: of each proxy, (n_networks,), higher is better; what is not finite shares the last rank.
        accuracies: by sample, (n_networks,) percent; NaN for a network that is not in it.
        weights: of the samples; equal without.
        rng: draws the resamples.
        n_resamples: how many.

    Returns:
        None if a proxy has no tau on one of the samples.
    """
    rows = [_last(np.asarray(row, dtype=np.float64)) for row in scores]
    shares = np.array([1.0 if weights is None else weights[name] for name in accuracies])
    shares = shares / shares.sum()
    inside = np.stack([np.isfinite(values) for values in accuracies.values()])
    counts = _counts(inside, n_resamples, rng)
    values = np.zeros(len(rows))
    spread = np.zeros((len(rows), n_resamples))
    for share, here, labels in zip(shares, inside, accuracies.values(), strict=True):
        y, drawn = np.asarray(labels, dtype=np.float64)[here], counts[:, here]
        for place, row in enumerate(rows):
            if len(set(row[here].tolist())) == 1 or len(set(y.tolist())) == 1:
                return None
            values[place] += share * kendall_tau_b(row[here], y)
            spread[place] += share * kendall_resampled(row[here], y, drawn)
    first, first_spread = values[0], spread[0]
    return MeanTaus(
        tuple(_criterion(value, row) for value, row in zip(values, spread, strict=True)),
        tuple(
            _criterion(first - value, first_spread - row) for value, row in zip(values[1:], spread[1:], strict=True)
        ),
    )


def _counts(inside: np.ndarray, n_resamples: int, rng: np.random.Generator) -> FloatArray:
    """(n_resamples, n_networks) how often each network is drawn; `inside` is (n_samples, n_networks)."""
    counts = np.zeros((n_resamples, inside.shape[1]))
    patterns, group = np.unique(inside, axis=1, return_inverse=True)
    for number in range(patterns.shape[1]):
        (members,) = np.nonzero(group.reshape(-1) == number)
        counts[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=n_resamples)
    return counts


def _last(row: FloatArray) -> FloatArray:
    finite = np.isfinite(row)
    return np.where(finite, row, row[finite].min() - 1.0 if finite.any() else 0.0)


def _criterion(value: float, spread: FloatArray) -> Criterion:
    known = spread[np.isfinite(spread)]
    if not len(known):
        return Criterion(value=float(value))
    low, high = np.percentile(known, (2.5, 97.5))
    return Criterion(value=float(value), low=float(low), high=float(high))

"""Made-up networks whose accuracy follows their size a little, and proxies of them."""

from __future__ import annotations

import numpy as np

from eznas.fitness import Covariates, Labels
from eznas.fitness.labels import FloatArray


def labels_of(n: int, seed: int = 0, *, n_values: int = 0) -> Labels:
    """One task; with few values there are ties everywhere."""
    rng = np.random.default_rng(seed)
    size = rng.normal(size=n)
    accuracies = 70 + 5 * size + 5 * rng.normal(size=n)
    macs = size + 0.3 * rng.normal(size=n)
    if n_values:
        accuracies, size, macs = (np.round(v * n_values) / n_values for v in (accuracies / 5, size, macs))
    return Labels("task", accuracies, np.arange(n), Covariates(size, macs, np.digitize(size, [-0.7, 0.7])))


def proxy_of(labels: Labels, noise: float, seed: int = 1) -> FloatArray:
    """(n,) scores that follow the accuracies."""
    return labels.accuracies + noise * np.random.default_rng(seed).normal(size=labels.accuracies.size)

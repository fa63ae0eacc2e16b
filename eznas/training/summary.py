"""What a table of trainings is worth: its spread, its noise, and how far size alone ranks it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from eznas.benchmarks import TrainedTable, Training, label_noise
from eznas.errors import BenchmarkError
from eznas.fitness import kendall_tau_b


def summaries(folder: Path, names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """A row for each table of a folder, or for those named.

    Raises:
        BenchmarkError: if there is none, or one is damaged.
    """
    found = names or sorted(path.stem for path in folder.glob("*.json") if path.with_suffix(".csv").exists())
    if not found:
        raise BenchmarkError(f"{folder} holds no benchmark; make one with eznas benchmark build.")
    rows = []
    for name in found:
        table = TrainedTable(folder, name)
        rows.append({"benchmark": name, **summary(table.trainings(table.card().recipe))})
    return rows


def summary(trainings: Sequence[Training]) -> dict[str, Any]:
    """Networks, accuracies, noise, test-retest tau, tau of parameters and MACs, hours.

    `noise` is of one training; `retest` Kendall's tau-b between two trainings of the networks that have several, the
    mean over pairs of seeds by their networks. An accuracy of the table is the mean over a network's trainings:
    `spread` is the standard deviation of these, and `ceiling` the tau that two tables made in this way would have, and
    so the most that a proxy can be expected to reach, were accuracies and noise normal: 2/pi arcsin(r), r the share of
    the variance of the means that is not noise.
    """
    by_network: dict[str, list[Training]] = {}
    for training in trainings:
        by_network.setdefault(training.network, []).append(training)
    accuracies = np.array([np.mean([t.accuracies[-1] for t in of]) for of in by_network.values()])
    of_a_mean = float(np.mean([1 / len(of) for of in by_network.values()])) if by_network else 1.0
    noise = label_noise(trainings)
    row: dict[str, Any] = {
        "networks": len(by_network),
        "trainings": len(trainings),
        "accuracy": f"{accuracies.min():.1f} to {accuracies.max():.1f}" if len(accuracies) else "",
        "spread": round(float(accuracies.std()), 2) if len(accuracies) else None,
        "noise": None if noise is None else round(noise, 2),
        "retest": _retest(by_network),
        "ceiling": None,
        "parameters": _tau([of[0].parameters for of in by_network.values()], accuracies),
        "macs": _tau([of[0].macs for of in by_network.values()], accuracies),
        "diverged": sum(t.diverged for t in trainings),
        "hours": round(sum(t.seconds for t in trainings) / 3600, 2),
    }
    if noise is not None and len(accuracies) > 2 and accuracies.var() > 0:
        share = max(0.0, 1 - noise**2 * of_a_mean / float(accuracies.var()))
        row["ceiling"] = round(2 / np.pi * float(np.arcsin(share)), 2)
    return row


def _tau(values: Sequence[float], accuracies: np.ndarray) -> float | None:
    if len(accuracies) < 3 or np.ptp(accuracies) == 0:
        return None
    found = float(kendall_tau_b(np.asarray(values, dtype=float), accuracies))
    return round(found, 2) if np.isfinite(found) else None


def _retest(by_network: dict[str, list[Training]]) -> float | None:
    """Mean tau-b over pairs of seeds, each over the networks that have both and as heavy as these are many."""
    by_seed: dict[int, dict[str, float]] = {}
    for network, several in by_network.items():
        for training in several if len(several) > 1 else ():
            by_seed.setdefault(training.seed, {})[network] = training.accuracies[-1]
    taus, weights = [], []
    for one, other in combinations(by_seed.values(), 2):
        both = sorted(one.keys() & other.keys())
        tau = _tau([one[network] for network in both], np.array([other[network] for network in both]))
        if tau is not None:
            taus.append(tau)
            weights.append(len(both))
    return round(float(np.average(taus, weights=weights)), 2) if taus else None

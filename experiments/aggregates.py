"""Aggregates by rank beside their members, on cells that the reference does not hold.

Draws NAS-Bench-201 cells uniformly, without replacement: the first are ranked, the last are the reference. Neither
chose anything. Test accuracies on CIFAR-10 after 200 epochs; scores as ``eznas score`` gives them by default.

    python experiments/aggregates.py [RANKED [REFERENCE]]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from eznas.assessment import measure_many
from eznas.benchmarks import Split, load_nb201
from eznas.errors import EznasError
from eznas.fitness import Labels
from eznas.fitness.aggregation import aggregate_scores, parse_sum, sorted_reference
from eznas.progress import make_observer
from eznas.proxies import RECIPES
from eznas.randomness import stream
from eznas.study import Machine
from eznas.study.score import ScoredNetworks, score
from eznas.tables import render_table

SEED = 0
SUMS = (
    "jacob_cov+parameter_count",
    "jacob_cov+synflow",
    "naswot+parameter_count",
    "jacob_cov+parameter_count+naswot+synflow",
    *("+".join(name for name, _ in RECIPES[recipe].terms) for recipe in ("az_nas", "vkdnw_agg")),
)
"""Free estimators together, and the published aggregates of log ranks."""
MEMBERS = tuple(dict.fromkeys(name for text in SUMS for name, _ in parse_sum(text)))


def rank(scored: ScoredNetworks, n_ranked: int) -> list[dict[str, Any]]:
    """One row for each member, and for each sum with either way of combining."""
    members = dict(zip(scored.columns, scored.scores.scores, strict=True))
    benchmark = load_nb201()
    accuracies = benchmark.accuracies(scored.architectures[:n_ranked], "cifar10", Split.TEST)

    names, combined, scores = list(members), [""] * len(members), [values[:n_ranked] for values in members.values()]
    for text in SUMS:
        terms = parse_sum(text)
        values = np.stack([members[name] for name, _ in terms])
        ranked, reference = values[:, :n_ranked], sorted_reference(values[:, n_ranked:])
        weights = [weight for _, weight in terms]
        names += [text, text]
        combined += ["log ranks", "ranks"]
        scores.append(aggregate_scores(ranked, reference, weights=weights))
        scores.append(aggregate_scores(ranked, reference, weights=weights, mode="rank_sum"))
    measurements = measure_many(
        np.stack(scores), Labels("cifar10", accuracies, np.arange(n_ranked)), directions=[1] * len(scores),
        rng=stream(SEED, "bootstrap"),
    )  # fmt: skip
    rows = []
    for name, way, found in zip(names, combined, measurements, strict=True):
        tau, rho = found.tau, found.rho
        rows.append({
            "proxy": name, "combined by": way, "tau": _rounded(tau and tau.value), "low": _rounded(tau and tau.low),
            "high": _rounded(tau and tau.high), "rho": _rounded(rho and rho.value), "n": found.n,
            "failed": found.n_failed,
        })  # fmt: skip
    return rows


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def main(arguments: Sequence[str]) -> int:
    """Print the table; the exit status is 1 if the data or the arguments do not do."""
    try:
        n_ranked, n_reference = (int(a) for a in (*arguments, *("400", "200")[len(arguments) :]))
        networks = f"nb201:random:{n_ranked + n_reference}:{SEED}"
        with make_observer(quiet=False) as observer:
            scored = score(MEMBERS, networks, machine=Machine(), observer=observer)
        rows = rank(scored, n_ranked)
    except (EznasError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(render_table(rows, "table", width=160), end="")
    print(f"CIFAR-10, test, full training; a reference of {n_reference} other cells; 95 % intervals.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

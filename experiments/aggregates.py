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

from eznas.benchmarks import Split, load_nb201
from eznas.errors import EznasError
from eznas.fitness import bootstrap_interval, kendall_tau_b, spearman
from eznas.fitness.aggregation import aggregate_scores, parse_sum, sorted_reference
from eznas.progress import make_observer
from eznas.proxies import RECIPES
from eznas.randomness import stream
from eznas.study import Machine
from eznas.study.scoring import ScoredNetworks, score_networks
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
    members = dict(zip(scored.proxies, scored.scores, strict=True))
    benchmark = load_nb201()
    accuracies = benchmark.accuracies(scored.architectures[:n_ranked], "cifar10", Split.TEST)

    def row(name: str, scores: np.ndarray, combined: str) -> dict[str, Any]:
        last = np.where(np.isfinite(scores), scores, -np.inf)
        low, high = bootstrap_interval(last, accuracies, rng=stream(SEED, "bootstrap"))
        return {
            "proxy": name, "combined by": combined, "tau": round(kendall_tau_b(last, accuracies), 3),
            "low": round(low, 3), "high": round(high, 3), "rho": round(spearman(last, accuracies), 3),
            "n": n_ranked, "failed": int((~np.isfinite(scores)).sum()),
        }  # fmt: skip

    rows = [row(name, scores[:n_ranked], "") for name, scores in members.items()]
    for text in SUMS:
        terms = parse_sum(text)
        values = np.stack([members[name] for name, _ in terms])
        ranked, reference = values[:, :n_ranked], sorted_reference(values[:, n_ranked:])
        weights = [weight for _, weight in terms]
        rows.append(row(text, aggregate_scores(ranked, reference, weights=weights), "log ranks"))
        rows.append(row(text, aggregate_scores(ranked, reference, weights=weights, mode="rank_sum"), "ranks"))
    return rows


def main(arguments: Sequence[str]) -> int:
    """Print the table; the exit status is 1 if the data or the arguments do not do."""
    try:
        n_ranked, n_reference = (int(a) for a in (*arguments, *("400", "200")[len(arguments) :]))
        networks = f"nb201:random:{n_ranked + n_reference}:{SEED}"
        with make_observer(quiet=False) as observer:
            scored = score_networks(MEMBERS, networks, machine=Machine(), observer=observer)
        rows = rank(scored, n_ranked)
    except (EznasError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(render_table(rows, "table", width=160), end="")
    print(f"CIFAR-10, test, full training; a reference of {n_reference} other cells; 95 % intervals.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

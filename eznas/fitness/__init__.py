"""How well a program's scores order networks: rank correlations with their uncertainty, and the fitness made of them.

* `ranks`: Kendall's tau-b and Spearman's rho, plain and batched; standard error; bootstrap interval; failures last.
* `bounds`: what a program seen on some networks can still reach on all.
* `fitness`: the fitness of a population against the accuracies of one or more tasks.
"""

from __future__ import annotations

from eznas.fitness.fitness import (
    MAX_FAILED_SHARE,
    Aggregate,
    Fitness,
    Labels,
    TaskFitness,
    Unrankable,
    assess_population,
    rank_agreement,
)
from eznas.fitness.ranks import (
    bootstrap_interval,
    kendall_standard_error,
    kendall_tau_b,
    kendall_tau_b_batch,
    scores_with_failures_last,
    spearman,
    spearman_batch,
    spearman_matrix,
)

__all__ = [
    "MAX_FAILED_SHARE",
    "Aggregate",
    "Fitness",
    "Labels",
    "TaskFitness",
    "Unrankable",
    "assess_population",
    "bootstrap_interval",
    "kendall_standard_error",
    "kendall_tau_b",
    "kendall_tau_b_batch",
    "rank_agreement",
    "scores_with_failures_last",
    "spearman",
    "spearman_batch",
    "spearman_matrix",
]

"""How well a program's scores order networks: rank correlations with their uncertainty, and the fitness made of them.

* `labels`: what scores are ranked against: accuracies, and covariates that say how large the networks are.
* `ranks`: Kendall's tau-b and Spearman's rho, plain and batched; standard error; bootstrap interval; failures last.
* `criteria`: the order among the best, within equal size, beyond size, and of the first picks.
* `objectives`: the table of what a run may select by.
* `target`: what a search may be asked to find, read from a text.
* `bounds`: what a program seen on some networks can still reach on all.
* `fitness`: the fitness of a population against the accuracies of one or more tasks.
"""

from __future__ import annotations

from eznas.fitness.fitness import (
    MAX_FAILED_SHARE,
    Aggregate,
    Fitness,
    TaskFitness,
    Unrankable,
    assess_population,
    rank_agreement,
    unrankable_reason,
)
from eznas.fitness.labels import MIN_NETWORKS, Covariates, Labels, quintiles
from eznas.fitness.measurement import CRITERIA, Criterion, Measurement
from eznas.fitness.objectives import (
    DEFAULT_OBJECTIVES,
    OBJECTIVES,
    Objective,
    objective_named,
    objectives_named,
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
from eznas.fitness.target import LONGEST as LONGEST_TARGET
from eznas.fitness.target import Target, parse_target, plain_values

__all__ = [
    "CRITERIA",
    "DEFAULT_OBJECTIVES",
    "LONGEST_TARGET",
    "MAX_FAILED_SHARE",
    "MIN_NETWORKS",
    "OBJECTIVES",
    "Aggregate",
    "Covariates",
    "Criterion",
    "Fitness",
    "Labels",
    "Measurement",
    "Objective",
    "Target",
    "TaskFitness",
    "Unrankable",
    "assess_population",
    "bootstrap_interval",
    "kendall_standard_error",
    "kendall_tau_b",
    "kendall_tau_b_batch",
    "objective_named",
    "objectives_named",
    "parse_target",
    "plain_values",
    "quintiles",
    "rank_agreement",
    "scores_with_failures_last",
    "spearman",
    "spearman_batch",
    "spearman_matrix",
    "unrankable_reason",
]

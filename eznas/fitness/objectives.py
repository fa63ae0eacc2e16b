"""The table of objectives: what a run may select by, one declaration each, all stated so that higher is better.

A *ranking* objective looks at scores and labels and is aggregated over the tasks; a *program* objective looks at the
program alone. Milliseconds are none of them: measured times differ from machine to machine and from one second to the
next, and two runs of one seed would differ with them; `cost` is the deterministic estimate, and times are reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from types import MappingProxyType
from typing import Final

import numpy as np

from eznas.errors import ConfigError
from eznas.fitness.criteria import (
    Estimates,
    covariates_of,
    level_rho_batch,
    ndcg_batch,
    partial_rho_batch,
    partial_tau_batch,
    spearman_standard_error,
    top_tau_batch,
)
from eznas.fitness.labels import FloatArray, Labels
from eznas.fitness.ranks import batched_tau, spearman_batch
from eznas.names import nearest
from eznas.programs import Program, cost
from primitives import STATISTICS, Probe

CONFIDENCE: Final = 0.95
"""Of the bound of tau, one-sided."""
DEFAULT_OBJECTIVES: Final = ("tau", "size", "cost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One thing that selection maximises. Exactly one of `of` and `of_program` is given.

    Attributes:
        name: as settings spell it.
        title: as tables print it.
        summary: one sentence: definition and unit.
        higher_is_better: whether more of what the title names is better; if not, the value is its negative.
        of: of a ranking objective: (n_programs, n) scores, in which higher is better and failures are ``-inf``, and the
            labels of these n networks to (n_programs,) values and (n_programs,) standard errors. NaN where a program
            has no value, and where the error is not known.
        of_program: of a program objective: the finite value of one program.
        needs_covariates: whether `of` reads the covariates of the labels.
        undefined: when a ranking objective has no value, as a clause.
        span: values of no merit and of full merit, between which the hypervolume measures; None: from minus the
            greatest size of the run's programs, plus one, to 0.
        stand_in: name of a ranking objective that orders programs much as this one does and is cheaper; may be empty.

    Raises:
        ConfigError: if both of `of` and `of_program` are given, or none, or the span is empty.
    """

    name: str
    title: str
    summary: str
    higher_is_better: bool = True
    of: Callable[[FloatArray, Labels], Estimates] | None = None
    of_program: Callable[[Program], float] | None = None
    needs_covariates: bool = False
    undefined: str = "all scores are equal"
    span: tuple[float, float] | None = (0.0, 1.0)
    stand_in: str = ""

    def __post_init__(self) -> None:
        if (self.of is None) == (self.of_program is None):
            raise ConfigError(f"Objective {self.name!r} must be given either 'of' or 'of_program'.")
        if self.span is not None and not self.span[0] < self.span[1]:
            raise ConfigError(f"The span of objective {self.name!r} must rise from no to full merit, got {self.span}.")

    @property
    def is_ranking(self) -> bool:
        """Whether it looks at scores."""
        return self.of is not None

    def check(self, labels: Labels) -> None:
        """Refuse labels that lack what this objective reads.

        Raises:
            BenchmarkError: if covariates are needed and the labels have none.
        """
        if self.needs_covariates:
            covariates_of(labels, f"Objective {self.name!r}")

    def scale(self, max_size: int) -> tuple[float, float]:
        """No merit and full merit in a run whose programs have at most `max_size` nodes."""
        return (-(max_size + 1.0), 0.0) if self.span is None else self.span


def _tau(scores: FloatArray, labels: Labels) -> Estimates:
    found = batched_tau(scores, labels.accuracies)
    return found.tau, found.standard_error


def _rho(scores: FloatArray, labels: Labels) -> Estimates:
    rho = spearman_batch(scores, labels.accuracies)
    return rho, spearman_standard_error(rho, scores.shape[1])


def _tau_bound(scores: FloatArray, labels: Labels) -> Estimates:
    found = batched_tau(scores, labels.accuracies)
    return lower_bound(found.tau, found.standard_error), found.standard_error


def lower_bound(tau: FloatArray, standard_error: FloatArray) -> FloatArray:
    """(n_programs,) values that tau over all networks exceeds with a confidence of `CONFIDENCE`, one-sided, normal."""
    return np.asarray(np.maximum(tau - NormalDist().inv_cdf(CONFIDENCE) * standard_error, -1.0))


def kinds_needed(program: Program) -> tuple[str, ...]:
    """What must be at hand beside the network itself: some of ``images``, ``labels`` and ``gradients``.

    Noise is not at hand but drawn, and neither weights nor counts of the architecture need anything.
    """
    statistics = [STATISTICS[name] for name in program.statistics]
    with_images = (Probe.DATA, Probe.PERTURBED, Probe.LABELLED)
    of_estimators = frozenset[str]().union(*(s.estimator.needs for s in statistics if s.estimator is not None))
    return tuple(
        kind
        for kind, is_needed in (
            ("images", any(s.probe in with_images for s in statistics)),
            ("labels", program.needs_classes),
            ("gradients", any(s.is_gradient for s in statistics)),
        )
        if is_needed or kind in of_estimators
    )


def _table(*rows: Objective) -> Mapping[str, Objective]:
    return MappingProxyType({row.name: row for row in rows})


_WITHOUT_LEVELS = "all scores are equal, or no level has five networks of different accuracies"
_NOTHING_LEFT = "all scores are equal, or follow from parameters and MACs alone"

OBJECTIVES: Final = _table(
    Objective(
        name="tau", title="tau", of=_tau, stand_in="rho",
        summary="Kendall's tau-b of scores and accuracies.",
    ),
    Objective(
        name="rho", title="rho", of=_rho,
        summary="Spearman's rho of scores and accuracies.",
    ),
    Objective(
        name="tau_bound", title="tau, lower bound", of=_tau_bound, stand_in="rho",
        summary="What tau-b over all networks exceeds with 95 % confidence, one-sided: luck on few is no merit.",
    ),
    Objective(
        name="top_tau", title="tau in the top tenth", of=top_tau_batch,
        undefined="the top tenth has fewer than five networks, or equal scores",
        summary="Kendall's tau-b among the top tenth of the networks by accuracy.",
    ),
    Objective(
        name="level_rho", title="rho within levels", of=level_rho_batch, needs_covariates=True,
        undefined=_WITHOUT_LEVELS,
        summary="Spearman's rho among networks of one complexity level, the plain mean over the levels.",
    ),
    Objective(
        name="partial_tau", title="partial tau", of=partial_tau_batch, needs_covariates=True, undefined=_NOTHING_LEFT,
        summary="Kendall's tau-b given the logarithms of parameters and MACs: what size does not say.",
    ),
    Objective(
        name="partial_rho", title="partial rho", of=partial_rho_batch, needs_covariates=True, undefined=_NOTHING_LEFT,
        summary="Spearman's rho given the logarithms of parameters and MACs: what size does not say.",
    ),
    Objective(
        name="ndcg", title="nDCG", of=ndcg_batch,
        undefined="all scores are equal, or no accuracy is above 0",
        summary="Normalised discounted cumulative gain of the first 1,000 networks, accuracies in percent.",
    ),
    Objective(
        name="size", title="nodes", higher_is_better=False, span=None,
        of_program=lambda program: -float(program.size),
        summary="Minus the number of nodes of the program.",
    ),
    Objective(
        name="cost", title="cost", higher_is_better=False, span=(-20.0, 0.0),
        of_program=lambda program: -cost(program),
        summary="Minus the estimated cost of one score, in forward passes of the network.",
    ),
    Objective(
        name="needs", title="kinds of input", higher_is_better=False, span=(-4.0, 0.0),
        of_program=lambda program: -float(len(kinds_needed(program))),
        summary="Minus the number of what must be at hand, of images, their labels, and gradients.",
    ),
)  # fmt: skip
"""By name."""


def objective_named(objective: str | Objective) -> Objective:
    """A row of the table by its name; an objective of one's own as it is.

    Raises:
        ConfigError: for an unknown name, with the nearest known one.
    """
    if isinstance(objective, Objective):
        return objective
    if objective not in OBJECTIVES:
        meant = nearest(str(objective), OBJECTIVES)
        hint = f"did you mean {meant!r}?" if meant else f"known are {', '.join(OBJECTIVES)}"
        raise ConfigError(f"There is no objective {objective!r}; {hint}")
    return OBJECTIVES[objective]


def objectives_named(objectives: Sequence[str | Objective]) -> tuple[Objective, ...]:
    """The objectives of a run, in their order.

    Raises:
        ConfigError: for an unknown name, a name that occurs twice, or if the first is not a ranking objective.
    """
    found = tuple(objective_named(one) for one in objectives)
    names = [one.name for one in found]
    if not found or not found[0].is_ranking:
        ranking = ", ".join(name for name, row in OBJECTIVES.items() if row.is_ranking)
        raise ConfigError(
            f"The first objective must be one that ranks networks, such as {ranking}, got {', '.join(names) or 'none'}"
        )
    if len(set(names)) < len(names):
        raise ConfigError(f"Every objective may occur once only, got {', '.join(names)}")
    return found

"""Choosing from a front: the rules that take one proxy of several, and what a user asks of the proxy.

The choice looks at the selection networks alone, as that of a run does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar, get_args

import numpy as np

from eznas.errors import ConfigError
from eznas.fitness import Aggregate
from eznas.runs.front import Entry, Front
from primitives import Statistic

PickRule = Literal["simplest-within-se", "best", "cheapest-within-se"]
"""Which program of the front is the result of a run: of those whose correlation on the selection networks is within one
standard error of the best one's that of the fewest nodes, or the cheapest; or the best itself (the rule of Breiman,
Friedman, Olshen and Stone 1984, section 3.4.3)."""
PICK_RULES: Final[tuple[PickRule, ...]] = get_args(PickRule)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Standing:
    """What a rule compares of a program.

    Attributes:
        correlation: on the selection networks; higher is better.
        standard_error: of it, over the choice of networks.
        size: nodes.
        cost: in forward passes.
        id: breaks ties.
    """

    correlation: float
    standard_error: float
    size: int
    cost: float
    id: str


def picked(programs: Sequence[T], standing: Callable[[T], Standing], rule: PickRule) -> T:
    """One of the programs, of which there is one at least, by a rule."""
    ranked = [(one, standing(one)) for one in programs]
    best, of_best = min(ranked, key=lambda pair: (-pair[1].correlation, pair[1].size, pair[1].id))
    if rule == "best":
        return best
    enough = [(one, of) for one, of in ranked if of.correlation >= of_best.correlation - of_best.standard_error]
    if rule == "cheapest-within-se":
        return min(enough, key=lambda pair: (pair[1].cost, pair[1].size, -pair[1].correlation, pair[1].id))[0]
    return min(enough, key=lambda pair: (pair[1].size, pair[1].cost, -pair[1].correlation, pair[1].id))[0]


def error_over_samples(
    taus: Sequence[float], errors: Sequence[float], aggregate: Aggregate, weights: Sequence[float] | None = None
) -> float:
    """Standard error of a correlation over samples: of the worst one, or of the mean of samples of their own."""
    each = np.asarray(errors, dtype=np.float64)
    if aggregate == "worst":
        return float(each[int(np.argmin(taus))])
    shares = np.ones(len(each)) if weights is None else np.asarray(weights, dtype=np.float64)
    return float(np.sqrt(np.square(shares * each).sum()) / shares.sum())


def largest_error(tau: float, n: int) -> float:
    """Largest standard error that tau of n networks drawn independently can have, for large n.

    Source: Kendall, Rank Correlation Methods (1970), section 4.9: the variance is at most 2 (1 - tau²) / n.
    """
    return math.sqrt(2 * max(1 - tau**2, 0.0) / n)


# --- what a user asks of a proxy ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a user asks of the proxy of a run; a choice without anything is that of the run.

    Attributes:
        rule: that picks; None is that of the run.
        max_size: most nodes of the formula as it evolved.
        no_labels: whether it must not look at classes of images.
        forward_only: whether it must not take a backward pass.
    """

    rule: PickRule | None = None
    max_size: int | None = None
    no_labels: bool = False
    forward_only: bool = False

    def __bool__(self) -> bool:
        return self != Choice()

    @property
    def among(self) -> str:
        """What the pick was taken from, as the end of a sentence: ``among formulas of at most 9 nodes``."""
        return f"among formulas {self._asked}" if self._asked else ""

    @property
    def _asked(self) -> str:
        parts = [
            f"of at most {self.max_size} node{'s' if self.max_size != 1 else ''}" if self.max_size is not None else "",
            "without labels" if self.no_labels else "",
            "without a backward pass" if self.forward_only else "",
        ]
        return ", ".join(filter(None, parts))

    def allows(self, entry: Entry) -> bool:
        """Whether a discovered proxy is as asked; its rule aside."""
        needs = needs_of(entry)
        return (
            (self.max_size is None or (entry.size is not None and entry.size <= self.max_size))
            and not (self.no_labels and "labels" in needs)
            and not (self.forward_only and "gradients" in needs)
        )

    def of(self, front: Front) -> Front:
        """The front of those discovered proxies that are as asked, with the pick among them; published ones all stay.

        Differences to the pick of the run are left out where another proxy is picked.

        Raises:
            ConfigError: if none is as asked.
        """
        if not self:
            return front
        left = [entry for entry in front.discovered if self.allows(entry)]
        rule = self.rule or front.run.pick
        ranked = [entry for entry in left if front.tau(entry, "select") is not None]
        if not ranked:
            raise ConfigError(self._nothing_left(front))
        is_of_the_run = not self.among and rule == front.run.pick
        pick = front.pick if is_of_the_run else picked(ranked, lambda entry: _standing(front, entry), rule)
        kept = [
            entry.model_copy(update={"is_pick": entry is pick} | ({} if pick is front.pick else {"versus_pick": {}}))
            for entry in (*left, *front.published)
        ]
        narrowed = front.model_copy(update={"entries": tuple(kept), "run": front.run.model_copy(update={"pick": rule})})
        narrowed._folder = front.folder
        return narrowed

    def _nothing_left(self, front: Front) -> str:
        sizes = [entry.size for entry in front.discovered if entry.size is not None]
        if not sizes:
            return f"Run {front.folder} found no proxy; look at its failures.jsonl, or evolve longer"
        have = f"{len(sizes)} have" if len(sizes) > 1 else "only one has"
        span = f"{min(sizes)} to {max(sizes)}" if len(set(sizes)) > 1 else f"{sizes[0]}"
        return f"Run {front.folder} has no formula {self._asked}; its {have} {span} nodes; ask for less"


def needs_of(entry: Entry) -> frozenset[str]:
    """What a program must be given or take of a network, of ``"labels"`` and ``"gradients"``."""
    nodes = () if entry.formula is None else entry.formula.nodes
    return frozenset(_needs(nodes))


def _needs(nodes: Sequence[object]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, Statistic):
            estimator = node.estimator
            if node.needs_classes or (estimator is not None and "labels" in estimator.needs):
                yield "labels"
            if node.is_gradient or (estimator is not None and "gradients" in estimator.needs):
                yield "gradients"


def _standing(front: Front, entry: Entry) -> Standing:
    tau = front.tau(entry, "select")
    assert tau is not None
    taus = front.taus(entry, "select")
    measured = {name: entry.select[name] for name in taus}
    errors = [
        one.standard_error if one.standard_error is not None else largest_error(taus[name], one.n)
        for name, one in measured.items()
    ]
    weights = {sample.name: sample.weight for sample in front.samples}
    error = error_over_samples([*taus.values()], errors, front.run.aggregate, [weights[name] for name in taus])
    return Standing(tau, error, entry.size or 1, entry.cost or 0.0, entry.id)


def gains_per_node(front: Front) -> Mapping[str, float]:
    """By id, what a discovered proxy gains in tau on the selection networks over the best smaller one, per node more.

    The smallest have none.
    """
    found = {}
    ranked = [(entry, entry.size, front.tau(entry, "select")) for entry in front.discovered]
    sized = [(entry, size, tau) for entry, size, tau in ranked if size is not None and tau is not None]
    for entry, size, tau in sized:
        smaller = [(its, -than) for _, than, its in sized if than < size]
        if smaller:
            best, less = max(smaller)
            found[entry.id] = (tau - best) / (size + less)
    return found

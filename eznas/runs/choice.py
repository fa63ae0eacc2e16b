"""Choosing from the front of a finished run: by a rule, under limits, always on the selection networks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

from eznas.errors import RunError
from eznas.programs import Program
from eznas.runs.front import Entry, Front
from primitives import Statistic

Rule = Literal["best", "simplest-within-se", "cheapest-within-se"]
RULES: Final[tuple[Rule, ...]] = ("best", "simplest-within-se", "cheapest-within-se")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which discovered proxies of a front are wanted, and which of these is taken.

    Attributes:
        rule: None: that of the run, whose own pick stays if it passes.
        max_size: most nodes of the formula, as it is shown.
        no_labels: leave out what looks at the classes of the images.
        forward_only: leave out what takes a backward pass.
    """

    rule: Rule | None = None
    max_size: int | None = None
    no_labels: bool = False
    forward_only: bool = False

    @property
    def is_open(self) -> bool:
        """Whether nothing is asked for."""
        return self == Choice()

    def allows(self, entry: Entry) -> bool:
        """Whether a discovered proxy is within the limits."""
        program = entry.formula
        if program is None:
            return False
        return not (
            (self.max_size is not None and program.size > self.max_size)
            or (self.no_labels and program.needs_classes)
            or (self.forward_only and takes_backward_pass(program))
        )

    def __str__(self) -> str:
        said = [f"--max-size {self.max_size}"] if self.max_size is not None else []
        said += ["--no-labels"] * self.no_labels + ["--forward-only"] * self.forward_only
        return " ".join(said) or f"--select {self.rule}"


def takes_backward_pass(program: Program) -> bool:
    """Whether a leaf of the program is a gradient, or the score of a published estimator that takes one."""
    leaves = (node for node in program.nodes if isinstance(node, Statistic))
    return any(leaf.is_gradient or (leaf.estimator is not None and leaf.passes > 1) for leaf in leaves)


def chosen(front: Front, choice: Choice) -> Front:
    """The front with the discovered proxies that are wanted alone, the one taken marked as the pick.

    Published proxies stay beside them. Differences to the pick are those to the run's own pick: they are dropped where
    another is taken; `eznas.study.chosen_front` finds them anew.

    Raises:
        RunError: if nothing is left.
    """
    if choice.is_open:
        return front
    kept = [entry for entry in front.discovered if choice.allows(entry)]
    if not kept:
        sizes = [entry.formula.size for entry in front.discovered if entry.formula is not None]
        smallest = f"; its smallest formula has {min(sizes)} nodes" if sizes else ""
        raise RunError(
            f"No proxy of {front.folder} is left by {choice}, of {len(front.discovered)}{smallest}; ask for less"
        )
    before = front.pick
    keeps = choice.rule is None and before in kept
    taken = before if keeps else pick_by(front, kept, choice.rule or front.run.pick)
    is_same = before is not None and taken is not None and taken.id == before.id
    entries = []
    for entry in (*kept, *front.published):
        update: dict[str, object] = {"is_pick": taken is not None and entry.id == taken.id}
        entries.append(entry.model_copy(update=update if is_same else update | {"versus_pick": {}}))
    run = front.run.model_copy(update={"pick": choice.rule or front.run.pick})
    return front.model_copy(update={"entries": tuple(entries), "run": run})


def pick_by(front: Front, entries: Sequence[Entry], rule: Rule) -> Entry | None:
    """The entry that a rule takes, by the selection networks.

    Args:
        front: that has the entries.
        entries: discovered ones.
        rule: see `eznas.study.choose.PickRule`.

    Returns:
        None if no entry has a tau there.
    """
    taus = {entry.id: tau for entry in entries if (tau := front.tau(entry, "select")) is not None}
    known = sorted((e for e in entries if e.id in taus), key=lambda e: (-taus[e.id], e.size or 0, e.id))
    if not known:
        return entries[0] if entries else None
    if rule == "best":
        return known[0]
    least = taus[known[0].id] - selection_error(front, known[0])
    enough = [entry for entry in known if taus[entry.id] >= least]
    if rule == "cheapest-within-se":
        return min(enough, key=lambda e: (_or_most(e.cost), e.size or 0, -taus[e.id], e.id))
    return min(enough, key=lambda e: (e.size or 0, _or_most(e.cost), -taus[e.id], e.id))


def selection_error(front: Front, entry: Entry) -> float:
    """Standard error of tau of an entry on the selection networks, over the samples as they count together.

    Where the run did not record it, it is the largest that tau can have by chance alone, of scores that have nothing to
    do with the accuracies: ``sqrt(2 (2n + 5) / (9 n (n - 1)))``.

    Source: `Kendall 1938 <https://doi.org/10.1093/biomet/30.1-2.81>`_.
    """
    if entry.select_error is not None:
        return entry.select_error
    errors = {}
    for sample in front.learnt:
        measured = entry.select.get(sample.name)
        n = measured.n if measured is not None else (sample.select.n if sample.select else 2)
        errors[sample.name] = math.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1))) if n > 1 else 1.0
    taus = front.taus(entry, "select")
    if front.run.aggregate == "worst" and taus:
        return errors[min(taus, key=lambda name: taus[name])]
    weights = {sample.name: sample.weight for sample in front.learnt}
    total = sum(weights.values())
    return math.sqrt(sum((weights[name] * error) ** 2 for name, error in errors.items())) / total


# --- marks on the front -------------------------------------------------------------------------------------------


def marks(front: Front) -> Mapping[str, tuple[str, ...]]:
    """By id, what speaks for a discovered proxy: the rules that take it, and ``elbow``."""
    found: dict[str, list[str]] = {}
    for rule in RULES:
        entry = pick_by(front, front.discovered, rule)
        if entry is not None:
            found.setdefault(entry.id, []).append(rule)
    bend = elbow(front)
    if bend is not None:
        found.setdefault(bend.id, []).append("elbow")
    return {key: tuple(names) for key, names in found.items()}


def elbow(front: Front) -> Entry | None:
    """Where the trade of size against tau on the selection networks bends: farthest above the line between its ends.

    Both are scaled to the range of the trade first.

    Returns:
        None where fewer than three proxies trade one for the other.

    Source: `Satopaa et al. 2011 <https://doi.org/10.1109/ICDCSW.2011.20>`_.
    """
    steps = staircase(front)
    if len(steps) < 3:
        return None
    sizes, taus = [float(e.size or 0) for e in steps], [front.tau(e, "select") or 0.0 for e in steps]
    width, height = sizes[-1] - sizes[0], taus[-1] - taus[0]
    above = [(tau - taus[0]) / height - (size - sizes[0]) / width for size, tau in zip(sizes, taus, strict=True)]
    place = max(range(1, len(steps) - 1), key=lambda i: above[i])
    return steps[place] if above[place] > 0 else None


def staircase(front: Front) -> tuple[Entry, ...]:
    """The discovered proxies that no smaller or equally small one ranks better than on the selection networks."""
    known = [(entry, tau) for entry in front.discovered if (tau := front.tau(entry, "select")) is not None]
    steps: list[Entry] = []
    best = -math.inf
    for entry, tau in sorted(known, key=lambda pair: (pair[0].size or 0, -pair[1], pair[0].id)):
        if tau > best:
            steps.append(entry)
            best = tau
    return tuple(steps)


def gains_per_node(front: Front) -> Mapping[str, float]:
    """By id, held-out tau gained for each node more than the next smaller proxy of the staircase has."""
    steps = staircase(front)
    found = {}
    for smaller, larger in pairwise(steps):
        one, other = front.tau(smaller, "report"), front.tau(larger, "report")
        if one is not None and other is not None and larger.size is not None and smaller.size is not None:
            found[larger.id] = (other - one) / (larger.size - smaller.size)
    return found


def neighbours(front: Front, entry: Entry) -> tuple[Entry, ...]:
    """The next smaller and the next larger proxy of the trade of size against tau; fewer at an end."""
    steps = [step for step in staircase(front) if step.id != entry.id]
    size = entry.size or 0
    below = [step for step in steps if (step.size or 0) <= size]
    above = [step for step in steps if (step.size or 0) > size]
    return (*below[-1:], *above[:1])


def _or_most(cost: float | None) -> float:
    return math.inf if cost is None else cost

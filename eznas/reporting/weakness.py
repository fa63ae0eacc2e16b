"""Where a proxy fails on the held-out networks of a run: whom it misjudges, and which edits it reads the wrong way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from eznas.assessment.bias import Edit, SizeGroup, edit_bias, most_misjudged, pairs_one_edit_apart, ranking_differences
from eznas.assessment.bias import size_bias as by_size
from eznas.errors import EznasError
from eznas.fitness import Criterion, Measurement
from eznas.fitness.labels import MIN_NETWORKS, FloatArray
from eznas.runs.front import Entry, Front, SampleCard
from eznas.runs.history import Scores
from eznas.spaces import Architecture, SearchSpace, space_named

N_WORST: Final = 10
"""Networks shown, half of them ranked too high and half too low."""
MOST_EDITS: Final = 8
"""Edits shown, those that are misread most."""
MIN_PAIRS: Final = 5
"""Pairs of networks below which an edit is not shown, and networks below which an operation is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Misjudged:
    """A network and its places.

    Attributes:
        name: its text, which is its structure.
        accuracy: percent.
        by_accuracy, by_score: its place in percent of the networks, 0 the best.
    """

    name: str
    accuracy: float
    by_accuracy: float
    by_score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Networks that have something: an operation, or a setting of their space.

    Attributes:
        text: what they have.
        n: how many.
        difference: their mean ranking difference as a share of all networks, positive where they are placed too high,
            with its 95 % interval by the normal law.
    """

    text: str
    n: int
    difference: Criterion


@dataclass(frozen=True, slots=True, kw_only=True)
class Weakness:
    """Of a proxy on one sample.

    Attributes:
        sample: on which.
        too_high, too_low: networks, the worst first.
        operations: what networks have that are placed too high or too low, the most misplaced first.
        edits: pairs of networks one edit apart that are misread, those first that are misread most.
        sizes: groups by multiply-accumulates, the smallest first; empty where the space has no closed form.
    """

    sample: SampleCard
    too_high: tuple[Misjudged, ...]
    too_low: tuple[Misjudged, ...]
    operations: tuple[Operation, ...]
    edits: tuple[Edit, ...]
    sizes: tuple[SizeGroup, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """What counts, and nothing else, on one sample: the better one of parameters and MACs.

    Attributes:
        name: ``MACs`` or ``parameters``.
        tau: held out.
        difference: tau of the pick less that, paired; None if the two were not compared.
    """

    name: str
    tau: Criterion
    difference: Criterion | None

    def is_ahead_of(self, measured: Measurement) -> bool:
        """Whether it ranks the sample better than the pick does."""
        return measured.tau is None or self.tau.value > measured.tau.value + ROUNDING

    @property
    def is_told(self) -> bool:
        """Whether the paired interval tells it from the pick."""
        return self.difference is not None and self.difference.high is not None and self.difference.high < 0


ROUNDING: Final = 1e-9
"""Of tau; two that differ by less are equal."""
COUNTS: Final = {"mac_count": "MACs", "parameter_count": "parameters"}
"""Published proxies that only count."""


def counting(front: Front, sample: SampleCard) -> Counting | None:
    """The better one of parameters and MACs on a sample; None if neither was measured there."""
    found = [
        (measured.tau, entry)
        for entry in front.published
        if entry.id in COUNTS and (measured := entry.report.get(sample.name)) is not None and measured.tau is not None
    ]
    if not found:
        return None
    tau, entry = max(found, key=lambda pair: pair[0].value)
    return Counting(name=COUNTS[entry.id], tau=tau, difference=entry.versus_pick.get(sample.name))


def weakness_of(front: Front, entry: Entry, sample: SampleCard, scores: Scores) -> Weakness | None:
    """Where an entry fails on the held-out networks of a sample.

    Returns:
        None if the run has no scores of it there, or all are equal.
    """
    if entry.id not in scores.by_proxy or sample.name not in scores.accuracies or not scores.networks:
        return None
    known = np.flatnonzero(np.isfinite(scores.accuracies[sample.name]))
    accuracies, found = scores.accuracies[sample.name][known], scores.by_proxy[entry.id][known]
    x = np.where(np.isfinite(found), found, -np.inf)
    if len(x) < MIN_NETWORKS or x.min() == x.max():
        return None
    names = [scores.networks[place] for place in known.tolist()]
    over, under = most_misjudged(x, accuracies, N_WORST // 2)
    architectures = _architectures(sample, names)
    return Weakness(
        sample=sample,
        too_high=_misjudged(over, names, x, accuracies, sign=1),
        too_low=_misjudged(under, names, x, accuracies, sign=-1),
        operations=_operations(sample, architectures, names, x, accuracies),
        edits=_edits(sample, architectures, x, accuracies),
        sizes=_sizes(sample, architectures, x, accuracies),
    )


def _misjudged(
    places: Sequence[int], names: Sequence[str], x: FloatArray, y: FloatArray, *, sign: int
) -> tuple[Misjudged, ...]:
    """Of these places those that are misjudged this way at all."""
    from scipy.stats import rankdata

    differences = sign * ranking_differences(x, y)
    by_score, by_accuracy = (100 * (rankdata(-values) - 1) / (len(values) - 1) for values in (x, y))
    return tuple(
        Misjudged(
            name=names[place],
            accuracy=float(y[place]),
            by_accuracy=float(by_accuracy[place]),
            by_score=float(by_score[place]),
        )
        for place in places
        if differences[place] > 0
    )


def _architectures(sample: SampleCard, names: Sequence[str]) -> tuple[Architecture, ...]:
    """Of the texts that a run recorded; empty where they cannot be read as networks of the space."""
    space = _space(sample)
    if space is None or (space.places is None and space.counts is None):
        return ()
    try:
        found = [space.named(name) for name in names]
    except EznasError:
        return ()
    return tuple(one[0] for one in found) if all(len(one) == 1 for one in found) else ()


def _space(sample: SampleCard) -> SearchSpace[Any] | None:
    try:
        return space_named(sample.conditions.settings.space)
    except EznasError:
        return None


def _operations(
    sample: SampleCard, architectures: Sequence[Architecture], names: Sequence[str], x: FloatArray, y: FloatArray
) -> tuple[Operation, ...]:
    space, differences = _space(sample), ranking_differences(x, y)
    places = None if space is None or not architectures else space.places
    if places is not None:
        has = [set(places(arch)) for arch in architectures]
    else:
        has = [_settings_in(name) for name in names]
    found = []
    for text in sorted(set().union(*has)):
        these = differences[[text in one for one in has]]
        if MIN_PAIRS <= len(these) <= len(differences) - MIN_PAIRS:
            mean, half = float(these.mean()), 1.96 * float(these.std(ddof=1)) / math.sqrt(len(these))
            interval = Criterion(value=mean, low=mean - half, high=mean + half)
            found.append(Operation(text=text, n=len(these), difference=interval))
    return tuple(sorted(found, key=lambda one: (-abs(one.difference.value), one.text))[:MOST_EDITS])


def _settings_in(name: str) -> set[str]:
    """What the text of a network says as ``key=value``, or ``key=value-value``."""
    parts = [part.partition("=") for part in name.split("/")]
    return {f"{key}={value}" for key, is_one, values in parts if is_one for value in values.split("-")}


def _edits(sample: SampleCard, architectures: Sequence[Architecture], x: FloatArray, y: FloatArray) -> tuple[Edit, ...]:
    space = _space(sample)
    if not architectures or space is None or space.places is None:
        return ()
    pairs = pairs_one_edit_apart([space.places(arch) for arch in architectures])
    edits = [edit for edit in edit_bias(x, y, pairs) if edit.n >= MIN_PAIRS and edit.truth != edit.estimate]
    return tuple(sorted(edits, key=lambda edit: (-abs(edit.truth - edit.estimate), -edit.n))[:MOST_EDITS])


def _sizes(
    sample: SampleCard, architectures: Sequence[Architecture], x: FloatArray, y: FloatArray
) -> tuple[SizeGroup, ...]:
    space = _space(sample)
    if not architectures or space is None or space.counts is None:
        return ()
    settings, size = sample.conditions.settings, sample.conditions.input_size
    try:
        macs = np.array([float(space.counts(arch, settings, size).macs) for arch in architectures])
    except EznasError:
        return ()
    return by_size(x, y, macs) if math.isfinite(float(macs.sum())) else ()

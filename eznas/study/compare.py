"""Two runs side by side: their picks on the networks that both only reported on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from eznas.assessment import measure_many, paired_difference
from eznas.errors import BenchmarkError, RunError
from eznas.fitness import MIN_NETWORKS, Criterion, Labels, Measurement
from eznas.names import one_line, shown
from eznas.randomness import stream
from eznas.runs import Entry, Front, SampleCard, load_front
from eznas.runs.history import Scores, read_scores
from eznas.runs.manifest import Manifest

SAME_ACCURACY: Final = 1e-4
"""Percentage points by which two records of one accuracy may differ: they are written in six digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One proxy of one run."""

    run: Path
    front: Front
    entry: Entry
    scores: Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two proxies on one sample.

    Attributes:
        sample: benchmark and data set.
        measured_on: networks, split and training, in words.
        first, second: measured on the same networks and the same resamples.
        difference: tau of the first less that of the second, paired; None if one of them has none.
    """

    sample: str
    measured_on: str
    first: Measurement
    second: Measurement
    difference: Criterion | None

    @property
    def verdict(self) -> str:
        """What the interval of the difference says."""
        if self.difference is None or self.difference.low is None or self.difference.high is None:
            return "not known"
        if self.difference.low > 0:
            return "the first is better"
        return "the second is better" if self.difference.high < 0 else "not told apart"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What two runs say of each other.

    Attributes:
        first, second: the proxies.
        samples: that both report on.
        notes: what was left out, and what a reader must know, a sentence each.
    """

    first: Side
    second: Side
    samples: tuple[Compared, ...]
    notes: tuple[str, ...]


def compare(first: str, second: str, *, n_resamples: int = 1000, seed: int = 0) -> Comparison:
    """Two proxies of runs, on the held-out networks that the runs have in common.

    A network counts if both runs only reported on it, so that neither proxy was evolved or chosen on it, and if both
    have the same accuracy for it.

    Args:
        first, second: a run folder, whose pick is meant, or ``RUN:ID``.
        n_resamples: of the intervals, which are paired: both proxies see the same resamples.
        seed: of the resamples.

    Raises:
        RunError: if a run is not finished, or has no such proxy.
        BenchmarkError: if the runs have fewer than five such networks of every sample.
    """
    sides = _side(first), _side(second)
    notes = [*_notes(*sides)]
    found, apart = [], []
    for one in sides[0].front.samples:
        for other in sides[1].front.samples:
            if _key(one) != _key(other):
                continue
            try:
                found.append(_compared(sides, (one, other), notes, n_resamples, seed))
            except BenchmarkError as error:
                notes.append(f"{_title(one)} is left out: {one_line(error, 300)}.")
                continue
            if one.conditions != other.conditions:
                apart.append(_title(one))
    if not found:
        why = f": {one_line(notes[-1], 200)}" if notes else ""
        raise BenchmarkError(
            f"Runs {_name(sides[0])} and {_name(sides[1])} report on no {MIN_NETWORKS} networks in common{why}; "
            "compare proxies anywhere with eznas assess RUN:ID RUN:ID --benchmark NAME"
        )
    if apart:
        notes.append(
            f"The runs build or excite networks of {', '.join(apart[:4])}{' and others' if len(apart) > 4 else ''} "
            "differently; each proxy has the scores of its own run."
        )
    return Comparison(first=sides[0], second=sides[1], samples=tuple(found), notes=tuple(dict.fromkeys(notes)))


def _side(text: str) -> Side:
    folder, _, proxy_id = (text, "", "best") if Path(text).is_dir() else text.rpartition(":")
    run = Path(folder or text)
    front = load_front(run)
    entry = front.entry(proxy_id or "best")
    scores = read_scores(run)
    if entry.id not in scores.by_proxy:
        why = "of a cross-fitted report only the pick has them" if front.run.n_folds else "make it anew: eznas resume"
        raise RunError(f"Run {run} has no scores of {entry.label} in report_scores.csv; {why}")
    return Side(run=run, front=front, entry=entry, scores=scores)


def _notes(first: Side, second: Side) -> Iterator[str]:
    for side in (first, second):
        extends = Manifest.read(side.run).extends
        if extends is not None and extends.n_learnt_from:
            yield (
                f"Run {side.run} starts from programs of {extends.run}, which learnt from {extends.n_learnt_from} of "
                "the networks that it reports on."
            )
        if side.front.run.n_folds:
            yield (
                f"The report of {side.run} is cross-fitted in {side.front.run.n_folds} folds: its figures are of "
                "searches that did not see the networks, not of the one formula that it delivers."
            )


def _name(side: Side) -> str:
    return shown(side.run.resolve().name)


def _key(sample: SampleCard) -> tuple[Any, ...]:
    return sample.benchmark, sample.dataset, sample.report.split, sample.report.epochs


def _title(sample: SampleCard) -> str:
    return f"{sample.benchmark}/{sample.dataset}"


def _known(side: Side, sample: SampleCard) -> dict[str, tuple[float, float]]:
    """Accuracy and score of each network of a sample, the score NaN where the proxy failed."""
    accuracies = side.scores.accuracies.get(sample.name)
    if accuracies is None:
        raise BenchmarkError(f"{side.run} has no accuracies of it in report_scores.csv")
    rows = zip(side.scores.networks, accuracies, side.scores.by_proxy[side.entry.id], strict=True)
    return {network: (accuracy, score) for network, accuracy, score in rows if np.isfinite(accuracy)}


def _compared(
    sides: tuple[Side, Side], samples: tuple[SampleCard, SampleCard], notes: list[str], n_resamples: int, seed: int
) -> Compared:
    one, other = (_known(side, sample) for side, sample in zip(sides, samples, strict=True))
    common = [network for network in one if network in other]
    same = [network for network in common if abs(one[network][0] - other[network][0]) <= SAME_ACCURACY]
    title = _title(samples[0])
    if len(same) < MIN_NETWORKS:
        raise BenchmarkError(
            f"{len(same)} network(s) with the same accuracy are held out by both runs, at least {MIN_NETWORKS} are "
            "needed"
        )
    if len(same) < len(common):
        notes.append(f"{title}: {len(common) - len(same)} networks have another accuracy in each run and do not count.")
    accuracies = np.array([one[network][0] for network in same])
    scores: npt.NDArray[np.float64] = np.array([[side[network][1] for network in same] for side in (one, other)])
    labels = Labels(title, accuracies, np.arange(len(same)))

    def resamples() -> np.random.Generator:
        return stream(seed, "compare", title)

    first, second = measure_many(scores, labels, directions=(1, 1), rng=resamples(), n_resamples=n_resamples)
    difference = None
    if first.tau is not None and second.tau is not None:
        difference = paired_difference(scores[0], scores[1], labels, rng=resamples(), n_resamples=n_resamples)
    return Compared(
        sample=title,
        measured_on=str(samples[0].report.model_copy(update={"n": len(same)})),
        first=first,
        second=second,
        difference=difference,
    )

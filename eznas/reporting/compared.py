"""Proxies of a run beside each other over all samples that it learnt from: mean held-out tau, and paired differences.

The scores on held-out networks are those in the run's folder; without them nothing is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from eznas.assessment.over_samples import MeanTaus, mean_taus
from eznas.errors import RunError
from eznas.fitness import Criterion
from eznas.randomness import stream
from eznas.runs.front import Entry, Front, SampleCard
from eznas.runs.history import Scores, read_scores

N_RESAMPLES = 1_000


def means_of(front: Front, entries: Sequence[Entry], samples: Sequence[SampleCard] | None = None) -> MeanTaus | None:
    """Mean held-out tau of entries over samples, and by how much the first is ahead of the others.

    Args:
        front: of the entries.
        entries: one at least.
        samples: those learnt from, by their weights, without.

    Returns:
        None if there are no scores of them, or one has no tau on a sample.
    """
    samples = front.learnt if samples is None else samples
    names = [sample.name for sample in samples]
    measured = [entry.report.get(name) for entry in entries for name in names]
    if any(one is None or one.tau is None for one in measured):
        return None
    scores = _scores(front.folder)
    if any(name not in scores.accuracies for name in names) or any(one.id not in scores.by_proxy for one in entries):
        return None
    return mean_taus(
        [scores.by_proxy[entry.id] for entry in entries],
        {name: scores.accuracies[name] for name in names},
        weights={sample.name: sample.weight if not sample.is_left_out else 1.0 for sample in samples},
        rng=stream(front.run.seed, "paired", *names),
        n_resamples=N_RESAMPLES,
    )


def _means_by_id(front: Front, samples: Sequence[SampleCard]) -> dict[str, Criterion]:
    """Mean held-out tau over samples by id of those entries that have one on each, on the same resamples."""
    names = [sample.name for sample in samples]
    entries = [
        entry for entry in front.entries
        if all((one := entry.report.get(name)) is not None and one.tau is not None for name in names)
    ]  # fmt: skip
    means = means_of(front, entries, samples) if entries and samples else None
    return {} if means is None else {entry.id: tau for entry, tau in zip(entries, means.taus, strict=True)}


def mean_criteria(front: Front, samples: Sequence[SampleCard]) -> dict[str, Criterion]:
    """Mean held-out tau over samples by id, with intervals where the run kept its scores."""
    over = front.tau if tuple(samples) == front.learnt else lambda entry, _: front.left_out_tau(entry)
    plain = {entry.id: tau for entry in front.entries if (tau := over(entry, "report")) is not None}
    intervals = _means_by_id(front, samples)
    return {key: Criterion(value=tau) if key not in intervals else intervals[key] for key, tau in plain.items()}


def worst_criteria(front: Front) -> dict[str, Criterion]:
    """By id, tau on the sample learnt from that an entry ranks worst."""
    found = {}
    for entry in front.entries:
        taus = [one.tau for sample in front.learnt if (one := entry.report.get(sample.name)) is not None]
        known = [tau for tau in taus if tau is not None]
        if known and len(known) == len(front.learnt):
            found[entry.id] = min(known, key=lambda tau: tau.value)
    return found


def report_criteria(front: Front) -> dict[str, Criterion]:
    """Held-out tau by id, over the samples as they count together in the run."""
    if len(front.learnt) == 1 or front.run.aggregate == "worst":
        return worst_criteria(front)
    return mean_criteria(front, front.learnt)


def _scores(folder: Path) -> Scores:
    """What the folder holds; nothing if it is damaged, which whoever shows the scores themselves says."""
    try:
        return _read(folder, (folder / "report_scores.csv").stat().st_mtime_ns)
    except (OSError, RunError):
        return Scores({}, {})


@lru_cache(maxsize=2)
def _read(folder: Path, changed: int) -> Scores:
    del changed  # a file that was written again is read again
    return read_scores(folder)

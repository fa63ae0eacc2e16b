"""Proxies of a run beside each other over all samples that it learnt from: mean held-out tau, and paired differences.

The scores on held-out networks are those in the run's folder; without them nothing is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from eznas.assessment.over_samples import MeanTaus, mean_taus
from eznas.errors import RunError
from eznas.randomness import stream
from eznas.runs.front import Entry, Front
from eznas.runs.history import Scores, read_scores

N_RESAMPLES = 1_000


def means_of(front: Front, entries: Sequence[Entry]) -> MeanTaus | None:
    """Mean held-out tau of entries over the samples learnt from, and by how much the first is ahead of the others.

    Returns:
        None if there are no scores of them, or one has no tau on a sample.
    """
    names = [sample.name for sample in front.learnt]
    measured = [entry.report.get(name) for entry in entries for name in names]
    if any(one is None or one.tau is None for one in measured):
        return None
    scores = _scores(front.folder)
    if any(name not in scores.accuracies for name in names) or any(one.id not in scores.by_proxy for one in entries):
        return None
    return mean_taus(
        [scores.by_proxy[entry.id] for entry in entries],
        {name: scores.accuracies[name] for name in names},
        weights={sample.name: sample.weight for sample in front.learnt},
        rng=stream(front.run.seed, "paired", *names),
        n_resamples=N_RESAMPLES,
    )


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

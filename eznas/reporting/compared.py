"""The pick beside another proxy on the same held-out networks: paired, over samples, anew where another is picked.

The scores on held-out networks are those in the run's folder; without them nothing is compared.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from pathlib import Path

from eznas.assessment.over_samples import MeanTaus, mean_taus
from eznas.errors import RunError
from eznas.randomness import stream
from eznas.runs.front import Entry, Front, SampleCard
from eznas.runs.history import Scores, read_scores

N_RESAMPLES = 1_000


def over_samples(front: Front, entries: Sequence[Entry]) -> MeanTaus | None:
    """Mean held-out tau of entries over the samples learnt from, and by how much the first is ahead of the others.

    Returns:
        None if there are no scores of them, or one has no tau on a sample.
    """
    return _over(front, entries, front.learnt)


def with_differences(front: Front, of: Collection[Entry | None] | None = None) -> Front:
    """The front with the differences to its pick: those of the run, or where another proxy was picked, taken anew.

    Args:
        front: of a run, or of a choice from it.
        of: the entries to compare with the pick; all without.
    """
    pick = front.pick
    if pick is None or not pick.report or any(entry.versus_pick for entry in front.entries):
        return front
    entries = []
    for entry in front.entries:
        versus = {}
        for sample in front.samples if entry is not pick and (of is None or entry in of) else ():
            found = _over(front, [pick, entry], [sample])
            if found is not None:
                versus[sample.name] = found.less_first[0]
        entries.append(entry.model_copy(update={"versus_pick": versus}))
    compared = front.model_copy(update={"entries": tuple(entries)})
    compared._folder = front.folder
    return compared


def _over(front: Front, entries: Sequence[Entry], samples: Sequence[SampleCard]) -> MeanTaus | None:
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
        weights={sample.name: sample.weight for sample in samples},
        rng=stream(front.run.seed, "paired", *names),
        n_resamples=N_RESAMPLES,
    )


def _scores(folder: Path) -> Scores:
    """What the folder holds; nothing if it is damaged, which whoever shows the scores themselves says."""
    path = folder / "report_scores.csv"
    try:
        return _read(folder, path.stat().st_mtime_ns)
    except (OSError, RunError):
        return Scores({}, {})


@lru_cache(maxsize=2)
def _read(folder: Path, changed: int) -> Scores:
    del changed  # a file that was written again is read again
    return read_scores(folder)

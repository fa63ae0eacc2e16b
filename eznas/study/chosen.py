"""The front of a finished run as a choice of it shows it: the pick, and all differences to it, taken anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eznas.assessment import paired_difference
from eznas.errors import BenchmarkError, RunError
from eznas.fitness import Criterion, Labels
from eznas.randomness import stream
from eznas.runs import Choice, Front, chosen, load_front
from eznas.runs.history import Scores, read_scores
from eznas.runs.manifest import Manifest

RESAMPLES = 1_000
"""Of the bootstrap, where the run does not say."""


def chosen_front(run_dir: Path, choice: Choice) -> Front:
    """The front of a run under a choice, with the paired differences of its proxies to the one that is taken.

    Where that is not the run's own pick, they are found from the recorded scores, on the resamples of the run.

    Raises:
        RunError: if the run has no front, nothing is left, or a file is damaged.
    """
    front = load_front(run_dir)
    found = chosen(front, choice)
    taken, before = found.pick, front.pick
    if taken is None or before is None or taken.id == before.id:
        return found
    return with_differences(found, read_scores(Path(run_dir)), n_resamples=_n_resamples(Path(run_dir)))


def chosen_id(run_dir: Path, choice: Choice) -> str:
    """The id of the proxy that a choice takes from a run.

    Raises:
        RunError: as `chosen_front`.
    """
    pick = chosen(load_front(run_dir), choice).pick
    if pick is None:
        raise RunError(f"Run {run_dir} found no proxy; look at its failures.jsonl, or evolve longer")
    return pick.id


def with_differences(front: Front, scores: Scores, *, n_resamples: int) -> Front:
    """The front with tau of its pick less that of each proxy, by sample, on the resamples that a run takes.

    Args:
        front: its pick is compared with all.
        scores: of the run on its held-out networks.
        n_resamples: of the bootstrap.
    """
    pick = front.pick
    if pick is None or pick.id not in scores.by_proxy:
        return front
    entries = []
    for entry in front.entries:
        differences: dict[str, Criterion] = {}
        for sample in front.samples:
            if entry.id == pick.id or entry.id not in scores.by_proxy or sample.name not in scores.accuracies:
                continue
            accuracies = scores.accuracies[sample.name]
            networks = np.flatnonzero(np.isfinite(accuracies))
            try:
                differences[sample.name] = paired_difference(
                    scores.by_proxy[pick.id],
                    scores.by_proxy[entry.id],
                    Labels(sample.name, accuracies[networks], networks),
                    rng=stream(front.run.seed, "paired", sample.name),
                    n_resamples=n_resamples,
                )
            except BenchmarkError:  # one of the two orders nothing there, which its row says
                continue
        entries.append(entry.model_copy(update={"versus_pick": differences}))
    return front.model_copy(update={"entries": tuple(entries)})


def _n_resamples(run_dir: Path) -> int:
    from eznas.runs.config import load_config

    path = run_dir / "config.toml"
    if not path.is_file():
        return RESAMPLES
    settings = load_config(path)
    if (run_dir / "manifest.json").is_file():
        Manifest.read(run_dir).check_settings(settings, run_dir)
    return settings.report.bootstrap

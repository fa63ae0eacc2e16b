"""The page of a run that is not finished: where its search stands, and the best programs so far."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np

from eznas.files import write_output
from eznas.programs import directed_infix
from eznas.reporting.page import duration, markup, rendered
from eznas.reporting.words import short
from eznas.runs import Journal, RunFolder, SearchState
from eznas.runs.config import RunConfig
from eznas.runs.history import History, read_history, read_manifest
from eznas.runs.interim import INTERIM_MARK, PAGE, smallest_best
from eznas.runs.stopping import stopped_by

MOST_SAMPLES: Final = 6
"""Samples that are named."""
REFRESH_SECONDS: Final = 10
"""From one reading of the page by a browser, and one writing of it, to the next."""


def write_interim_report(run_dir: Path, output: Path | None = None) -> Path:
    """Write the page of an unfinished run, ``report.html`` in the run folder by default, and return where it is.

    Nothing else in the folder is touched, so that the run may be going on meanwhile.

    Raises:
        RunError: if it is no run, or one of its files is damaged.
        OutputError: if the page cannot be written.
    """
    folder = RunFolder.open(run_dir)
    config = folder.settings()
    state = Journal(folder, config.checkpoints).load(read_only=True)
    target = run_dir / PAGE if output is None else output
    write_output(target, render_interim(folder.path, config, state))
    return target


def render_interim(run_dir: Path, config: RunConfig, state: SearchState) -> str:
    """The page of an unfinished run as HTML; it loads itself anew until it is that of a finished one.

    Args:
        run_dir: of the run, whose ``events.jsonl`` is read.
        config: its settings.
        state: of its search, after a finished generation.

    Raises:
        RunError: if ``events.jsonl`` is damaged.
    """
    settings = config.evolution
    return rendered(
        "interim.html",
        mark=markup(INTERIM_MARK),
        seconds=REFRESH_SECONDS,
        name=config.name,
        seed=config.seed,
        settings=settings,
        state=state,
        stop=stopped_by(settings, state),
        rate=state.n_evaluated / state.seconds if state.seconds else 0.0,
        duration=duration(state.seconds),
        objective=settings.objectives[0],
        front=smallest_best(state.candidates.values())[::-1],
        infix=directed_infix,
        learnt=_learnt(run_dir),
        curve=_curve(read_history(run_dir)),
        kinds=Counter(kind.value for kind in state.failed.values()).most_common(),
        command=f"eznas resume {shlex.quote(str(run_dir))}",
    )


def _learnt(run_dir: Path) -> str:
    """What the networks to evolve on are; empty without a manifest."""
    manifest = read_manifest(run_dir)
    samples = () if manifest is None else manifest.samples
    learnt = [(len(sample.networks.get("evolve", ())), sample) for sample in samples]
    said = [
        f"{n:,} of {short(sample.name, 40)}, {sample.splits.get('evolve', 'unknown')} accuracy"
        for n, sample in learnt if n
    ]  # fmt: skip
    more = f" and {len(said) - MOST_SAMPLES} more samples" if len(said) > MOST_SAMPLES else ""
    return "; ".join(said[:MOST_SAMPLES]) + more


def _curve(history: History) -> dict[str, Any] | None:
    """The best value by generation as points of a line 800 wide and 120 high; None of fewer than two."""
    known = np.isfinite(history.best_correlation)
    generation, best = history.generation[known], history.best_correlation[known]
    if len(best) < 2:
        return None
    x = 800 * (generation - generation[0]) / (generation[-1] - generation[0])
    y = 120 * (1 - (best - best.min()) / (np.ptp(best) or 1.0))
    points = " ".join(f"{one:.1f},{other:.1f}" for one, other in zip(x, y, strict=True))
    ends = {"first": int(generation[0]), "last": int(generation[-1]), "low": best[0], "high": best[-1]}
    return {"points": points, **ends}

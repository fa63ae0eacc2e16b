"""Early decisions against none, in the same time: five seeds, both ways of a seed side by side in a process each."""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats

from eznas.errors import EznasError
from eznas.runs.config import load_config
from eznas.runs.front import load_front
from eznas.study import evolve
from eznas.tables import render_table

HERE = Path(__file__).parent
SEEDS = (0, 1, 2, 3, 4)
SHOWN = ("tau", "evolved tau", "hypervolume", "programs", "stopped", "generations")
"""Columns of a row whose differences are told."""


def run(overrides: Sequence[str], seed: int, is_early: bool, folder: Path) -> dict[str, Any]:
    """One row: how far a run with that seed comes in its time, and how good its pick is on held-out networks."""
    if not (folder / "front.json").is_file():
        early = f"evolution.early_decisions={str(is_early).lower()}"
        evolve(load_config(HERE / "early_decisions.toml", [*overrides, f"seed={seed}", early]), run_dir=folder)
    front = load_front(folder)
    pick = front.pick
    assert pick is not None
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    (report,) = pick.report.values()
    return {
        "seed": seed,
        "early decisions": "yes" if is_early else "no",
        "tau": report.tau,
        "evolved tau": events[-1]["best_correlation"],
        "hypervolume": events[-1]["hypervolume"],
        "programs": front.run.n_programs,
        "stopped": sum(event["n_stopped"] for event in events) / front.run.n_programs,
        "generations": events[-1]["generation"],
        "seconds": round(sum(event["seconds"] for event in events), 1),
        "size": pick.size,
    }


def differences(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """By column: with less without, the mean over seeds and its 95 % confidence interval (paired t)."""
    with_, without = ([row for row in rows if row["early decisions"] == kind] for kind in ("yes", "no"))
    table = []
    for name in SHOWN:
        change = np.array([a[name] - b[name] for a, b in zip(with_, without, strict=True)], dtype=float)
        margin = scipy.stats.t.ppf(0.975, len(change) - 1) * scipy.stats.sem(change) if len(change) > 1 else np.nan
        table.append({"with less without": name, "mean": change.mean(), "±": float(margin), "seeds": len(change)})
    return table


def main(argv: Sequence[str] | None = None) -> int:
    overrides = list(sys.argv[1:] if argv is None else argv)
    root = Path("runs") / "early-decisions"
    rows = []
    try:
        for seed in SEEDS:
            with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
                jobs = [
                    executor.submit(
                        run, overrides, seed, is_early, root / f"seed-{seed}-{'early' if is_early else 'full'}"
                    )
                    for is_early in (True, False)
                ]
                rows += [job.result() for job in jobs]
    except EznasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    (root / "table.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(render_table(rows, "table", width=140))
    print(render_table(differences(rows), "table", width=140), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

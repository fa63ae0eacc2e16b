"""The spread of a result over seeds: one row for each run, and what they have in common."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from eznas.reporting.words import RULES, short
from eznas.runs.front import FILE, Front, criterion_text, load_front
from eznas.tables import render_table

_SEED: Final = re.compile(r"seed-([0-9]{1,20})")
PARTS: Final = ("evolve", "select", "report")


def seed_folders(folder: Path) -> list[Path]:
    """The finished runs ``seed-N`` in a folder, by N."""
    if not folder.is_dir():
        return []
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := _SEED.fullmatch(path.name))]
    return [path for _, path in sorted(found) if (path / FILE).is_file()]


def load_fronts(folder: Path) -> list[Front]:
    """The fronts of the finished runs of a folder, by seed.

    Raises:
        RunError: if one is damaged.
    """
    return [load_front(path) for path in seed_folders(folder)]


def spread_rows(fronts: Sequence[Front]) -> list[dict[str, Any]]:
    """A row for each run: its pick, tau of that and of the best published proxy over the samples learnt from."""
    rows = []
    for front in fronts:
        pick, best = front.pick, front.best_published
        taus = {part: None if pick is None else front.tau(pick, part) for part in PARTS}
        known = None if best is None else front.tau(best, "report")
        held = taus["report"]
        rows.append(
            {
                "seed": front.run.seed, "pick": None if pick is None else short(pick.label),
                "size": None if pick is None else pick.size, "cost": None if pick is None else pick.cost,
                **taus, "best_published": None if best is None else short(best.label), "best_published_tau": known,
                "ahead": None if held is None or known is None else held - known,
            }
        )  # fmt: skip
    return rows


def spread_text(fronts: Sequence[Front], form: str = "table", *, width: int = 120) -> str:
    """The runs as a table, JSON or CSV; the table with mean and deviation, and a sentence that says of what.

    Args:
        fronts: of the runs, one at least.
        form: ``"table"``, ``"json"`` or ``"csv"``.
        width: of a line of text.
    """
    rows = spread_rows(fronts)
    if form != "table":
        return render_table(rows, form)
    named = {"evolve": "evolved on", "select": "chosen on", "report": "held out"}
    shown = [
        {
            "seed": str(row["seed"]), "pick": row["pick"] or "-", "size": _plain(row["size"], "d"),
            **{title: _plain(row[part], ".3f") for part, title in named.items()},
            "best known": _plain(row["best_published_tau"], ".3f"), "ahead by": _plain(row["ahead"], "+.3f"),
        }
        for row in rows
    ]  # fmt: skip
    for name, of in (("mean", np.mean), ("sd", lambda x: np.std(x, ddof=1) if len(x) > 1 else np.nan)):
        columns = (*PARTS, "best_published_tau", "ahead")
        values = {key: _over([row[key] for row in rows], of) for key in (*columns, "size")}
        shown.append(
            {
                "seed": name, "pick": "", "size": _plain(values["size"], ".1f"),
                **{title: _plain(values[part], ".3f") for part, title in named.items()},
                "best known": _plain(values["best_published_tau"], ".3f"),
                "ahead by": _plain(values["ahead"], "+.3f" if name == "mean" else ".3f"),
            }
        )  # fmt: skip
    lines = textwrap.wrap(_caption(fronts, rows), width, break_on_hyphens=False)
    return render_table(shown, "table", width=width).rstrip() + "\n\n" + "\n".join(lines) + "\n"


def _caption(fronts: Sequence[Front], rows: Sequence[dict[str, Any]]) -> str:
    first = fronts[0]
    kind = "tau" if len(first.learnt) == 1 else f"the {'smallest' if first.run.aggregate == 'worst' else 'mean'} tau"
    over = "" if len(first.learnt) == 1 else f" over {len(first.learnt)} samples"
    cards = dict.fromkeys(str(sample.report) for sample in first.learnt)
    fewest = min(sample.report.n for sample in first.learnt)
    of = next(iter(cards)) if len(cards) == 1 else f"samples of {fewest:,} and more networks"
    taus = [row["report"] for row in rows if row["report"] is not None]
    said = [
        f"Kendall's tau-b of the pick ({RULES[first.run.pick]}) of each seed: {kind}{over}, held out: {of}.",
        "Each seed draws its networks anew, so that the deviation is of the whole procedure.",
    ]
    if len(taus) > 1:
        low, high = mean_interval(taus)
        said.append(f"Mean held-out tau over {len(taus)} seeds: {np.mean(taus):.3f} [{low:.3f}, {high:.3f}] (95 %, t).")
    ahead = [row["ahead"] for row in rows if row["ahead"] is not None]
    if ahead:
        n_ahead = sum(one > 0 for one in ahead)
        said.append(f"The pick is ahead of the best published proxy in {n_ahead} of {len(ahead)} runs.")
    if len(first.samples) == 1:
        own = [front.pick.report.get(first.samples[0].name) for front in fronts if front.pick is not None]
        texts = [criterion_text(one.tau) for one in own if one is not None]
        said.append(f"Within a seed (bootstrap, 95 %): {', '.join(texts)}.")
    return " ".join(said)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the mean of two or more independent values, by Student's t."""
    from scipy.stats import t

    half = float(t.ppf(0.975, len(values) - 1)) * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return float(np.mean(values)) - half, float(np.mean(values)) + half


def _over(values: Sequence[Any], of: Any) -> float | None:
    known = [value for value in values if value is not None]
    found = float(of(known)) if known else np.nan
    return found if np.isfinite(found) else None


def _plain(value: Any, form: str) -> str:
    return "-" if value is None else format(value, form)

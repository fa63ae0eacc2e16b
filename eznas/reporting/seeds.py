"""The same search from several seeds: the spread of what it finds, as a table and as a page."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from eznas.files import write_output
from eznas.fitness import Criterion
from eznas.programs import directed_infix
from eznas.reporting.compared import report_criteria
from eznas.reporting.page import rendered
from eznas.reporting.words import measured_on, over_samples, short
from eznas.runs.front import Entry, Front
from eznas.tables import render_table

_DIGITS: Final = 3


def seeds_rows(fronts: Sequence[Front]) -> list[dict[str, Any]]:
    """One row for each seed, then their mean, standard deviation, smallest and largest.

    Args:
        fronts: of finished runs that differ in their seeds alone.
    """
    rows = [_row(front) for front in fronts]
    figures = [key for key in _FIGURES if any(row[key] is not None for row in rows)]
    keys = ["seed", "pick", *figures, "formula"]
    found: list[dict[str, Any]] = [{key: row[key] for key in keys} for row in rows]
    ways: dict[str, Callable[[list[float]], float]] = {"mean": statistics.fmean, "smallest": min, "largest": max}
    if len(rows) > 1:
        ways = {"mean": statistics.fmean, "deviation": statistics.stdev, "smallest": min, "largest": max}
    for name, of in ways.items():
        known = {key: [float(row[key]) for row in rows if row[key] is not None] for key in figures}
        spread = {
            key: round(of(values), _DIGITS) for key, values in known.items() if len(values) > 1 or name != "deviation"
        }
        found.append({"seed": name, "pick": "", **{key: spread.get(key) for key in figures}, "formula": ""})
    return found


_FIGURES: Final = ("size", "evolve", "select", "report", "left out", "best published", "ahead by")


def _row(front: Front) -> dict[str, Any]:
    pick, best = front.pick, front.best_published
    row: dict[str, Any] = {"seed": front.run.seed, "pick": "none", "formula": "", **dict.fromkeys(_FIGURES)}
    if best is not None:
        row["best published"] = _rounded(front.tau(best, "report"))
    if pick is None:
        return row
    row |= {"pick": short(pick.label), "size": pick.size, "formula": _formula(pick)}
    row |= {part: _rounded(front.tau(pick, part)) for part in ("evolve", "select", "report")}
    row["left out"] = _rounded(front.left_out_tau(pick))
    if row["report"] is not None and row["best published"] is not None:
        row["ahead by"] = round(row["report"] - row["best published"], _DIGITS)
    return row


def _rounded(tau: float | None) -> float | None:
    return None if tau is None else round(tau, _DIGITS)


def _formula(entry: Entry) -> str:
    return "" if entry.formula is None else directed_infix(entry.formula, entry.direction)


def seeds_caption(fronts: Sequence[Front]) -> str:
    """What the figures are of: samples, networks, split and training; and what spreads."""
    first = fronts[0]
    over = ""
    if len(first.learnt) > 1:
        over = f", the {'smallest' if first.run.aggregate == 'worst' else 'mean'} of {len(first.learnt)} samples"
    return (
        f"Kendall's tau-b of the pick of each of {len(fronts)} seeds{over}. Report: held-out networks "
        f"({measured_on(first.learnt)}). A seed draws the networks, their parameters and the search, so that the "
        "spread is of all of these together."
    )


def seeds_text(fronts: Sequence[Front], form: str = "table", *, width: int = 120) -> str:
    """The spread over seeds for a terminal, or as JSON or CSV."""
    import textwrap

    text = render_table(seeds_rows(fronts), form, width=width)
    if form != "table":
        return text
    return f"{text}\n{textwrap.fill(seeds_caption(fronts), width)}\n"


def write_seeds_page(fronts: Sequence[Front], target: Path) -> Path:
    """Writes the spread over seeds as one HTML page that needs nothing else, and returns where it is.

    Raises:
        OutputError: if it cannot be written.
    """
    rows = seeds_rows(fronts)
    taus: list[Criterion | None] = [_tau_of_pick(front) for front in fronts]
    shown = [
        {**row, "href": f"seed-{row['seed']}/report.html" if tau_of else None, "tau": tau}
        for row, tau_of, tau in zip_longest(rows, [True] * len(fronts), taus)
    ]
    text = rendered(
        "seeds.html",
        name=short(fronts[0].run.name, 80),
        rows=shown,
        figures=[key for key in rows[0] if key in _FIGURES],
        caption=seeds_caption(fronts),
        aggregate=over_samples(fronts[0]).strip(),
    )
    write_output(Path(target), text)
    return Path(target)


def _tau_of_pick(front: Front) -> Criterion | None:
    return None if front.pick is None else report_criteria(front).get(front.pick.id)

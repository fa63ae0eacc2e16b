"""A run as one HTML page: self-contained, without scripts, readable offline, in light and dark, and on paper."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eznas.errors import RunError
from eznas.files import replace_file
from eznas.programs import Program
from eznas.reporting import figures, formulas, records
from eznas.reporting.front import Entry, Front, load_front
from primitives import STATISTICS, Primitive

MAX_LINEAGE = 12
"""Ancestors shown."""


def write_report(run_dir: Path, output: Path | None = None) -> Path:
    """Writes the report of a finished run and returns where it is: ``report.html`` in the run folder by default.

    Raises:
        RunError: if the run has no front, one of its files is damaged, or the report cannot be written.
    """
    run_dir = Path(run_dir)
    text = render_report(run_dir)
    target = Path(output) if output is not None else run_dir / "report.html"
    if target.is_dir():
        raise RunError(f"Cannot write the report to {target}: it is a folder; give the name of a file")
    _replace(target, text)
    return target


def write_figures(run_dir: Path) -> tuple[Path, ...]:
    """Writes the figures of a finished run as SVG files into its folder ``figures`` and returns where they are.

    Raises:
        RunError: as `write_report`.
    """
    run_dir = Path(run_dir)
    front = load_front(run_dir)
    drawn = {
        "front": figures.front_figure(front),
        "scatter": figures.scatter_figure(front, records.read_scores(run_dir)),
        "history": figures.history_figure(records.read_history(run_dir)),
    }
    targets = {run_dir / "figures" / f"{name}.svg": svg for name, svg in drawn.items() if svg}
    for target, svg in targets.items():
        _replace(target, svg)
    return tuple(targets)


def write_front_figure(run_dir: Path, target: Path) -> Path:
    """Writes the figure of the front, SVG, to a file of one's choice.

    Raises:
        RunError: as `write_report`.
    """
    _replace(Path(target), figures.front_figure(load_front(Path(run_dir))))
    return Path(target)


def _replace(target: Path, text: str) -> None:
    """Writes a file as a whole: a reader sees the old report or the new one."""
    try:
        replace_file(target, text)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(f"Cannot write {target}: {reason}; free space or choose another place") from None


def render_report(run_dir: Path) -> str:
    """The report of a finished run as HTML.

    Raises:
        RunError: as `write_report`.
    """
    import jinja2

    front = load_front(run_dir)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("eznas.reporting", "."), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )  # fmt: skip
    return environment.get_template("report.html").render(_content(front))


@dataclass(frozen=True, slots=True)
class Headline:
    """What the run found, in a title and two sentences."""

    title: str
    text: str


def headline(front: Front) -> Headline:
    """The result against the best published proxy, without claiming more than the intervals allow."""
    pick, best = front.pick, front.best_published
    if pick is None:
        return Headline("No proxy was found", "No program of this run ranked its networks well enough to be kept.")
    task = _hardest_task(front, pick)
    if task is None:
        return Headline(f"Proxy {pick.label}", "It was not measured on held-out networks.")
    measured = pick.report[task.name]
    title = f"A proxy with tau {measured.tau:.3f} on held-out {task.name}"
    text = (
        f"It evolved on the {task.evolve.split} accuracies of {task.evolve.n:,} networks of {front.run.benchmark} and "
        f"orders {measured.n:,} others by {task.report.split} accuracy with tau {_with_interval(measured)}."
    )
    if len(front.tasks) > 1:
        text += f" Of its {len(front.tasks)} tasks, {task.name} is the hardest."
    known = best.report.get(task.name) if best is not None else None
    if best is not None and known is not None and known.tau is not None and measured.tau is not None:
        text += (
            f" The best published proxy measured on the same networks, {best.label}, reaches {_with_interval(known)}: "
            f"{_comparison(measured.tau, measured.tau_interval, known.tau, known.tau_interval)}."
        )
    return Headline(title, text)


def _hardest_task(front: Front, entry: Entry) -> Any:
    measured = [t for t in front.tasks if t.name in entry.report and entry.report[t.name].tau is not None]
    return min(measured, key=lambda task: entry.report[task.name].tau or 0.0, default=None)


def _with_interval(measured: Any) -> str:
    if measured.tau_interval is None:
        return f"{measured.tau:.3f}"
    return f"{measured.tau:.3f} [{measured.tau_interval[0]:.3f}, {measured.tau_interval[1]:.3f}]"


def _comparison(
    tau: float, interval: tuple[float, float] | None, other: float, other_interval: tuple[float, float] | None
) -> str:
    difference = f"the proxy is {'ahead' if tau >= other else 'behind'} by {abs(tau - other):.3f}"
    if interval is None or other_interval is None:
        return difference
    apart = interval[0] > other_interval[1] or other_interval[0] > interval[1]
    return f"{difference}, and the 95 % intervals {'are apart' if apart else 'overlap'}"


# --- content ------------------------------------------------------------------------------------------------------


def _content(front: Front) -> dict[str, Any]:
    """Everything the template shows; SVG is the only markup in it, and it is ours."""
    folder, pick = front.folder, front.pick
    failures = records.read_failures(folder)
    ancestors = records.read_lineage(folder, pick.id) if pick is not None else ()
    manifest = records.read_manifest(folder)
    scores, history = records.read_scores(folder), records.read_history(folder)
    return {
        "front": front,
        "pick": pick,
        "best": front.best_published,
        "headline": headline(front),
        "duration": _duration(front.run.seconds),
        "pick_lines": _lines(pick.formula, pick.direction, max_width=26.0) if pick is not None else (),
        "symbols": _symbols(pick),
        "operators": _operators(pick),
        "rows": _rows(front),
        "n_columns": 4 + 3 * len(front.tasks),
        "figures": {
            "front": _safe(figures.front_figure(front)) if front.tasks else "",
            "scatter": _safe(figures.scatter_figure(front, scores)),
            "history": _safe(figures.history_figure(history)),
        },
        "lineage": [{"ancestor": a, "lines": _lines(a.program)} for a in ancestors[:MAX_LINEAGE]],
        "lineage_note": _lineage_note(len(ancestors)),
        "failures": failures,
        "n_failures": sum(count for _, count in failures),
        "n_failures_left_out": sum(count for _, count in failures[12:]),
        "settings": records.read_settings(folder).strip(),
        "manifest": records.flattened(manifest),
        "command": _command(manifest),
        "folder_name": folder.resolve().name,
    }


def _rows(front: Front) -> list[dict[str, Any]]:
    rows = []
    for entry in front.entries:
        reasons = dict.fromkeys(m.reason for m in entry.report.values() if m.tau is None and m.reason)
        rows.append({
            "entry": entry,
            "lines": _lines(entry.formula, entry.direction),
            "begins_published": front.published[:1] == (entry,),
            "failure": f"failed: {'; '.join(reasons)}" if reasons else "",
        })  # fmt: skip
    return rows


def _lines(program: Program | None, direction: int = 1, max_width: float = 46.0) -> list[dict[str, Any]]:
    if program is None:
        return []
    lines = formulas.formula_lines(program, direction=direction, max_width=max_width)
    return [{"svg": _safe(line.svg)} for line in lines]


def _safe(svg: str) -> Any:
    from markupsafe import Markup

    return Markup(svg)


def _symbols(entry: Entry | None) -> list[dict[str, Any]]:
    """The statistics an entry reads, with symbol and meaning."""
    if entry is None or entry.formula is None:
        return []
    found = [STATISTICS[name] for name in entry.formula.statistics]
    return [{"svg": _safe(formulas.latex_svg(s.latex)), "name": s.name, "meaning": s.meaning} for s in found]


def _operators(entry: Entry | None) -> list[dict[str, str]]:
    """The operators an entry uses, from the outside in."""
    if entry is None or entry.formula is None:
        return []
    found = dict.fromkeys(node for node in entry.formula.nodes if isinstance(node, Primitive))
    return [{"name": node.name, "summary": _first_clause(node.summary)} for node in found]


def _first_clause(summary: str) -> str:
    """What an operator is, without what it does at the edges of its range."""
    return summary.replace("`", "").partition(";")[0].rstrip(".") + "."


def _lineage_note(n_ancestors: int) -> str:
    if n_ancestors <= MAX_LINEAGE:
        return f"The pick and its {n_ancestors - 1} recorded ancestor{'s' if n_ancestors != 2 else ''}, youngest first."
    return f"The pick and the youngest of its {n_ancestors - 1} recorded ancestors."


def _command(manifest: Mapping[str, Any]) -> str:
    recorded = manifest.get("command", manifest.get("argv"))
    if isinstance(recorded, str):
        return recorded
    if isinstance(recorded, Sequence) and recorded:
        return shlex.join(map(str, recorded))
    return "eznas evolve config.toml"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

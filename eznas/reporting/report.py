"""A run as one HTML page: self-contained, without scripts, readable offline, in light and dark, and on paper."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eznas.files import write_output
from eznas.programs import Program, to_latex, with_signs_settled
from eznas.reporting import compared, figures, formulas, weaknesses, words
from eznas.runs import history
from eznas.runs.choice import gains_per_node, needs_of
from eznas.runs.front import Entry, Front, load_front
from primitives import STATISTICS, Primitive

MAX_LINEAGE = 12
"""Ancestors shown."""
MAX_KINDS = 12
"""Kinds of failure shown."""


def write_report(run_dir: Path, output: Path | None = None) -> Path:
    """Writes the report of a finished run and returns where it is: ``report.html`` in the run folder by default.

    Raises:
        RunError: if the run has no front, or one of its files is damaged.
        OutputError: if the report cannot be written.
    """
    run_dir = Path(run_dir)
    text = render_report(run_dir)
    target = Path(output) if output is not None else run_dir / "report.html"
    write_output(target, text)
    return target


def write_figures(run_dir: Path) -> tuple[Path, ...]:
    """Writes the figures of a finished run as SVG files into its folder ``figures`` and returns where they are.

    Raises:
        RunError, OutputError: as `write_report`.
    """
    run_dir = Path(run_dir)
    front = load_front(run_dir)
    drawn = {
        "front": figures.front_figure(front),
        "scatter": figures.scatter_figure(front, history.read_scores(run_dir)),
        "history": figures.history_figure(history.read_history(run_dir)),
        "parts": figures.parts_figure(front),
    }
    targets = {run_dir / "figures" / f"{name}.svg": svg for name, svg in drawn.items() if svg}
    for target, svg in targets.items():
        write_output(target, svg)
    return tuple(targets)


def write_front_figure(run_dir: Path, target: Path) -> Path:
    """Writes the figure of the front, SVG, to a file of one's choice.

    Raises:
        RunError, OutputError: as `write_report`.
    """
    write_output(Path(target), figures.front_figure(load_front(Path(run_dir))))
    return Path(target)


def render_report(run_dir: Path) -> str:
    """The report of a finished run as HTML.

    Raises:
        RunError: as `write_report`.
    """
    import jinja2

    front = load_front(run_dir)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("eznas.reporting", "."), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, finalize=_printable,
    )  # fmt: skip
    return environment.get_template("report.html").render(_content(front))


# --- content ------------------------------------------------------------------------------------------------------


def _content(front: Front) -> dict[str, Any]:
    """Everything the template shows; SVG is the only markup in it, and it is ours."""
    folder, pick = front.folder, front.pick
    failures = history.read_failures(folder)
    ancestors = history.read_lineage(folder, pick.id) if pick is not None else ()
    manifest = history.read_manifest(folder)
    scores, generations = history.read_scores(folder), history.read_history(folder)
    return {
        "front": front,
        "pick": pick,
        "best": front.best_published,
        "headline": words.headline(front),
        "summary": _summary(front),
        "duration": _duration(front.run.seconds),
        "use": _use(front),
        "trust": _trust(front),
        "best_note": words.against_best(front, pick) if pick is not None and len(front.learnt) > 1 else "",
        "worst": weaknesses.worst_placed(front, scores, pick) if pick is not None else [],
        "by_sample": weaknesses.by_sample(front, pick) if pick is not None else [],
        "weakness": weaknesses.in_words(front, pick) if pick is not None else "",
        "gains": gains_per_node(front),
        "pick_lines": _lines(pick.formula, pick.direction, max_width=26.0) if pick is not None else (),
        "symbols": _symbols(pick),
        "operators": _operators(pick),
        "rows": _rows(front),
        "titles": words.TITLES,
        "meanings": words.MEANINGS,
        "figures": {
            "front": _safe(figures.front_figure(front)),
            "scatter": _safe(figures.scatter_figure(front, scores)),
            "history": _safe(figures.history_figure(generations)),
            "parts": _safe(figures.parts_figure(front)),
        },
        "lineage": [{"ancestor": a, "lines": _lines(a.parsed)} for a in ancestors[:MAX_LINEAGE]],
        "lineage_note": _lineage_note(len(ancestors)),
        "failures": failures[:MAX_KINDS],
        "n_failures": sum(failed.n for failed in failures),
        "settings": history.read_settings(folder, manifest).strip(),
        "manifest": history.flattened(manifest.model_dump(mode="json", exclude={"settings"})) if manifest else (),
        "command": shlex.join(manifest.command) if manifest and manifest.command else "eznas evolve config.toml",
        "folder_name": folder.resolve().name,
        "words": words,
    }


def _use(front: Front) -> dict[str, Any] | None:
    """How to take the pick away and score with it: why it, what it needs and costs, commands, formula to copy."""
    pick = front.pick
    if pick is None or pick.formula is None:
        return None
    folder, conditions = front.folder.resolve().name, front.learnt[0].conditions
    needs = needs_of(pick)
    size, images = conditions.input_size, conditions.batch_size
    targets = ", classes" if "labels" in needs else ""
    lines = [
        "import torch",
        "import proxy",
        "",
        "# better: images of your own data",
        f"images = torch.randn({images}, {conditions.channels}, {size}, {size})",
        *([f"classes = torch.randint({conditions.n_classes or 10}, ({images},))"] if targets else []),
        "# any torch.nn.Module; higher predicts better",
        f"proxy.score(network, images{targets})",
    ]
    return {
        "why": words.why_picked(front),
        "export": f"eznas export {shlex.quote(folder)} best -o proxy.py",
        "score": f"eznas score {shlex.quote(folder + ':best')} --networks {front.learnt[0].benchmark}:random:20",
        "snippet": "\n".join(lines),
        "infix": words.formula_text(pick.formula, pick.direction),
        "latex": to_latex(with_signs_settled(pick.formula, pick.direction)),
        "footnotes": words.footnotes(pick.formula),
        "neighbours": words.neighbours(front),
        "needs": words.needs_text(pick),
    }


def _trust(front: Front) -> list[dict[str, Any]]:
    """Tau of the pick where it evolved, was chosen and was held out: over samples, or of each of a few."""
    pick = front.pick
    if pick is None:
        return []
    rows: list[dict[str, Any]] = []
    if len(front.learnt) > figures.MOST_ROWS:
        n = len(front.learnt)
        of: list[tuple[str, Callable[[Entry, Any], float | None]]] = [(f"worst of {n}", front.worst_tau)]
        if front.run.aggregate != "worst":
            of.insert(0, (f"mean of {n}", front.tau))
        for name, tau in of:
            taus = [tau(pick, part) for part in ("evolve", "select", "report")]
            rows.append({"name": f"{name} samples", "n": None, "taus": taus, "reported": None})
    for sample in front.learnt if len(front.learnt) <= figures.MOST_ROWS else ():
        found = [part.get(sample.name) for part in (pick.evolve, pick.select, pick.report)]
        cards = (sample.evolve, sample.select, sample.report)
        rows.append(
            {
                "name": words.short(sample.name, 40),
                "n": [card.n if card else None for card in cards],
                "taus": [one.tau.value if one is not None and one.tau is not None else None for one in found],
                "reported": found[2].tau if found[2] is not None else None,
            }
        )
    return rows


def _printable(value: Any) -> Any:
    """What the template prints of a value: text without control characters; markup is ours and stays."""
    from markupsafe import Markup

    if isinstance(value, Markup):
        return value
    return "".join(c if c.isprintable() or c == "\n" else " " for c in str(value))


def _summary(front: Front) -> list[dict[str, Any]]:
    """The pick over many samples in a few figures, each beside the published proxy that is best there."""
    pick, n = front.pick, len(front.learnt)
    if pick is None or len(front.samples) <= figures.MOST_ROWS:
        return []
    kinds: list[tuple[str, str, Callable[[Entry], float | None]]] = [
        (f"worst of {n} samples", "held-out networks", lambda entry: front.worst_tau(entry, "report")),
    ]
    if front.run.aggregate != "worst":
        kinds.insert(0, (f"mean of {n} samples", "held-out networks", lambda entry: front.tau(entry, "report")))
    if front.left_out:
        of = f"mean of {len(front.left_out)} samples left out"
        kinds.append((of, "nothing was learnt from them", front.left_out_tau))
    found = []
    for name, of, tau in kinds:
        rivals = {entry.label: value for entry in front.published if (value := tau(entry)) is not None}
        rival = max(rivals, key=lambda label: rivals[label], default=None)
        if (value := tau(pick)) is not None:
            best = None if rival is None else rivals[rival]
            is_mean = name == f"mean of {n} samples"
            means = compared.over_samples(front, (pick,)) if is_mean else None
            interval = None if means is None or means.taus[0].low is None else means.taus[0]
            found.append({"name": name, "of": of, "tau": value, "rival": rival, "best": best, "interval": interval})
    return found


def _rows(front: Front) -> list[dict[str, Any]]:
    return [
        {
            "entry": entry,
            "lines": _lines(entry.formula, entry.direction),
            "begins_published": front.published[:1] == (entry,),
            "selected": front.tau(entry, "select"),
            "reported": front.tau(entry, "report"),
            "worst": front.worst_tau(entry, "report"),
            "outside": front.left_out_tau(entry),
        }
        for entry in front.entries
    ]


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


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

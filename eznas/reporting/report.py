"""A run as one HTML page: self-contained, without scripts, readable offline, in light and dark, and on paper."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from eznas.files import write_output
from eznas.programs import Program, directed_infix
from eznas.reporting import figures, formulas, words
from eznas.reporting.compared import means_of
from eznas.reporting.entry import division_note, entry_latex
from eznas.reporting.weakness import counting, weakness_of
from eznas.runs import history
from eznas.runs.choice import gains_per_node, marks, neighbours, takes_backward_pass
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
        trim_blocks=True, finalize=printable,
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
        "pick_lines": _lines_of(pick, max_width=26.0) if pick is not None else (),
        "use": _use(front, pick) if pick is not None else {},
        "trust": _trust(front, pick) if pick is not None else {},
        "fails": _fails(front, pick, scores) if pick is not None else {},
        "division_note": _division_note(front),
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


def printable(value: Any) -> Any:
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
            means = means_of(front, (pick,)) if is_mean else None
            interval = None if means is None or means.taus[0].low is None else means.taus[0]
            found.append({"name": name, "of": of, "tau": value, "rival": rival, "best": best, "interval": interval})
    return found


def _rows(front: Front) -> list[dict[str, Any]]:
    gains, speaks = gains_per_node(front), marks(front)
    return [
        {
            "entry": entry,
            "lines": _lines_of(entry),
            "gain": gains.get(entry.id),
            "marks": [MARKS[name] for name in speaks.get(entry.id, ())],
            "begins_published": front.published[:1] == (entry,),
            "selected": front.tau(entry, "select"),
            "reported": front.tau(entry, "report"),
            "worst": front.worst_tau(entry, "report"),
            "outside": front.left_out_tau(entry),
        }
        for entry in front.entries
    ]


MARKS: Final = {
    "best": "best", "simplest-within-se": "simplest within 1 SE", "cheapest-within-se": "cheapest within 1 SE",
    "elbow": "elbow",
}  # fmt: skip
"""Of what speaks for a proxy, as the page says it."""


def _use(front: Front, pick: Entry) -> dict[str, Any]:
    """Which formula, why, and how to take it away."""
    run, program = shlex.quote(f"runs/{front.folder.resolve().name}"), pick.formula
    on = ", ".join(words.short(sample.name, 40) for sample in front.learnt[:4])
    on += f" and {len(front.learnt) - 4} more samples" if len(front.learnt) > 4 else ""
    why = (
        f"The run’s pick is {_rule(front)} on the selection networks ({on}). "
        f"{_size_text(pick)}"
    )
    notes = [note[0].upper() + note[1:] + "." for note in (division_note(pick),) if note]
    if pick.is_settled:
        notes.append(
            "Branches that have one and the same value on all networks evolved on are left out of what is shown; "
            f"the scores of held-out networks are the same. As it evolved it has {pick.size} nodes."
        )
    what, where = words.less_of(front, pick)
    return {
        "why": why,
        "notes": notes,
        "commands": (f"eznas export {run} best -o proxy.py\neznas score {run}:best --networks python:zoo:networks"),
        "snippet": _snippet(pick),
        "infix": "" if program is None else directed_infix(program, pick.direction),
        "latex": "" if program is None else entry_latex(pick).strip(),
        "others": _others(front, pick),
        "less_of": f"of {what}{where}" if where else "",
        "tau_title": "tau" if len(front.learnt) == 1 else words.over_samples(front).removeprefix("the ") + "tau",
        "how": f"eznas front {run} --select best, --max-size N, --no-labels or --forward-only choose among all.",
    }


def _rule(front: Front) -> str:
    return words.rule_text(front).replace(" there", "")


def _size_text(pick: Entry) -> str:
    """Nodes, what it needs and how long it takes."""
    program = pick.formula
    said = [] if program is None else [f"{program.size} nodes"]
    if program is not None:
        said.append("looks at the classes of the images" if program.needs_classes else "needs no labels")
        said.append("takes a backward pass" if takes_backward_pass(program) else "forward passes alone")
    if pick.seconds is not None:
        said.append(f"{1e3 * pick.seconds:,.0f} ms per network on one core, with all that the run’s programs share")
    return ", ".join(said) + "." if said else ""


def _snippet(pick: Entry) -> str:
    targets = ", targets" if pick.formula is not None and pick.formula.needs_classes else ""
    return (
        "# the exported file; needs torch alone\n"
        "from proxy import score\n\n"
        "# higher predicts higher accuracy\n"
        f"value = score(network, images{targets})"
    )


def _others(front: Front, pick: Entry) -> list[dict[str, Any]]:
    """What speaks for other proxies of the front, and the neighbours of the pick."""
    why: dict[str, list[str]] = {key: [MARKS[name] for name in names] for key, names in marks(front).items()}
    for entry in neighbours(front, pick):
        which = "next smaller" if (entry.size or 0) <= (pick.size or 0) else "next larger"
        why.setdefault(entry.id, []).append(which)
    return [
        {
            "entry": entry,
            "why": ", ".join(why[entry.id]),
            "tau": front.tau(entry, "report"),
            "difference": words.less(front, pick, entry),
        }
        for entry in front.discovered
        if entry.id in why and entry is not pick
    ]


def _trust(front: Front, pick: Entry) -> dict[str, Any]:
    """Evolve, select and report figures of the pick, and what else speaks for it or against."""
    sample, best = words.hardest_sample(front, pick), front.best_published
    said = [words.beside(front, pick)]
    if len(front.learnt) > 1 and front.run.aggregate != "worst":
        said.insert(0, words.against_best(front, pick))
    elif sample is not None:
        said.insert(0, words.verdict(front, sample, f"the networks of {words.short(sample.name, 40)}"))
    said.append(words.outside(front, pick))
    rows = []
    for one in front.samples:
        found = [getattr(pick, part).get(one.name) for part in ("evolve", "select")]
        before = [None if m is None or m.tau is None else m.tau.value for m in found]
        rows.append({
            "sample": one,
            "evolve": before[0],
            "select": before[1],
            "report": pick.report.get(one.name),
            "difference": None if best is None else best.versus_pick.get(one.name),
        })  # fmt: skip
    covered = _covered(front)
    facts = [
        ("networks", "evolve, select and report are disjoint, and so are the functions that they compute"),
        ("seeds", f"seed {front.run.seed} alone; eznas evolve --seeds 5 shows the spread over seeds"),
        ("badges", f"not measured; eznas badges runs/{front.folder.resolve().name}:best says what it does not mind"),
    ]
    if covered:
        facts.append(("coverage", covered))
    if front.run.n_folds:
        facts[0] = ("networks", f"cross-fitted in {front.run.n_folds} folds: each was ranked by a search without it")
    return {"text": " ".join(filter(None, said)), "rows": rows, "facts": facts}


def _covered(front: Front) -> str:
    """How much of the networks the programs read, the range over the samples."""
    cards = [sample.coverage for sample in front.samples if sample.coverage is not None]
    if not cards:
        return ""
    said = []
    for name, title in (("layers", "layers"), ("parameters", "parameters"), ("macs", "multiply-accumulates")):
        low, high = (f"{of(getattr(card, name) for card in cards):.0%}" for of in (min, max))
        said.append(f"{low if low == high else f'{low} to {high}'} of the {title}")
    over = f", over {len(cards)} samples" if len(cards) > 1 else ""
    return f"programs read {', '.join(said[:2])} and {said[2]}{over}"


N_WEAK: Final = 2
"""Samples of which the misjudged networks are shown."""


def _fails(front: Front, pick: Entry, scores: history.Scores) -> dict[str, Any]:
    """The samples from the worst ranked to the best, and the networks misjudged on the worst."""
    rows: list[dict[str, Any]] = [
        {"sample": one, "m": pick.report[one.name]} for one in front.samples if one.name in pick.report
    ]
    rows.sort(key=lambda row: -2.0 if row["m"].tau is None else row["m"].tau.value)
    weak = [weakness_of(front, pick, row["sample"], scores) for row in rows]
    shown = [one for one in weak if one is not None and one.sample.report.n >= MIN_SHOWN][:N_WEAK]
    for row in rows:
        row["counting"] = counting(front, row["sample"])
    said = ""
    if rows and rows[0]["m"].tau is not None:
        m, one = rows[0]["m"], rows[0]["sample"]
        on = f" on {words.short(one.name, 40)}, the worst of {len(rows)} samples," if len(rows) > 1 else ""
        said = f"Of all pairs of networks{on} it puts about {50 * (1 - m.tau.value):.0f} % in the wrong order."
    tops = [(row["m"].top_tau.value, row["sample"]) for row in rows if row["m"].top_tau is not None]
    if tops:
        least, one = min(tops, key=lambda pair: pair[0])
        on = f" of {words.short(one.name, 40)}" if len(rows) > 1 else ""
        said += (
            f" In the top tenth{on} by accuracy, where a search has to choose, it is about {50 * (1 - least):.0f} %; "
            "guessing gives 50 %."
        )
    behind = [row for row in rows if row["counting"] is not None and row["counting"].is_ahead_of(row["m"])]
    if any(row["counting"] is not None for row in rows):
        told = sum(row["counting"].is_told for row in behind)
        beyond = f", {told or 'none'} of them beyond the paired 95 % interval" if behind else ""
        said += f" Counting parameters or MACs ranks better on {len(behind)} of {len(rows)} samples{beyond}."
    return {"text": said, "rows": rows, "weak": shown, "behind": [row["sample"].name for row in behind]}


MIN_SHOWN: Final = 20
"""Networks below which none is singled out."""


def _division_note(front: Front) -> str:
    """How the fractions of the page are meant; empty if there are none."""
    found = [entry for entry in front.entries if division_note(entry) is not None]
    if not found:
        return ""
    plain = "A fraction x / y stands for xy / (y² + ε²) with ε = 10⁻¹⁰"
    if any(entry.division == "smoothed" for entry in found):
        return f"{plain}; where the difference shows on the data, it is written out."
    return f"{plain}."


def _lines_of(entry: Entry, max_width: float = 46.0) -> list[dict[str, Any]]:
    """The formula of an entry, for which higher is better."""
    if entry.formula is None:
        return []
    lines = formulas.formula_lines(
        entry.formula, direction=entry.direction, max_width=max_width, smoothed=entry.division == "smoothed"
    )
    return [{"svg": _safe(line.svg)} for line in lines]


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

"""A run as one HTML page: self-contained, without scripts, readable offline, in light and dark, and on paper."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eznas.assessment.badges import KEPT
from eznas.errors import ConfigError, EznasError, RunError
from eznas.files import write_output
from eznas.fitness import Criterion
from eznas.fitness.criteria import top_threshold
from eznas.names import unknown
from eznas.programs import Program, directed_infix
from eznas.reporting import figures, formulas, words
from eznas.reporting.compared import mean_criteria, report_criteria, worst_criteria
from eznas.reporting.entry import division_note, entry_latex
from eznas.reporting.page import duration, markup, rendered
from eznas.reporting.weakness import counting, weakness_of
from eznas.runs import history
from eznas.runs.badges import BadgeSheet, load_badges
from eznas.runs.choice import gains_per_node, marks, neighbours, takes_backward_pass
from eznas.runs.front import Entry, Front, criterion_text, load_front
from eznas.spaces import space_named
from primitives import STATISTICS, Primitive

if TYPE_CHECKING:
    from eznas.reporting.drawn import Drawn

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


FIGURES: Final = ("front", "scatter", "history", "parts")
"""Names of the figures of a report."""


def drawn_figure(run_dir: Path, name: str) -> Drawn:
    """A figure of the report of a finished run, one of `FIGURES`, as a figure of matplotlib.

    Raises:
        ConfigError: if there is no such figure.
        RunError: as `write_report`, or if there is nothing to draw.
    """
    if name not in FIGURES:
        raise ConfigError(unknown("figure", name, FIGURES))
    front = load_front(run_dir)
    match name:
        case "front":
            found: Drawn | None = figures.draw_front(front)
        case "scatter":
            found = figures.draw_scatter(front, history.read_scores(run_dir))
        case "history":
            found = figures.draw_history(history.read_history(run_dir))
        case _:
            found = figures.draw_parts(front)
    if found is None:
        raise RunError(f"Run {run_dir} has nothing to draw for the figure {name!r}: no proxy was measured for it")
    return found


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
    return rendered("report.html", **_content(load_front(run_dir)))


# --- content ------------------------------------------------------------------------------------------------------


def _content(front: Front) -> dict[str, Any]:
    """Everything the template shows; SVG is the only markup in it, and it is ours."""
    folder, pick = front.folder, front.pick
    failures = history.read_failures(folder)
    ancestors = history.read_lineage(folder, pick.id) if pick is not None else ()
    manifest = history.read_manifest(folder)
    sheet = load_badges(folder)
    scores, generations = history.read_scores(folder), history.read_history(folder)
    return {
        "front": front,
        "pick": pick,
        "best": front.best_published,
        "headline": words.headline(front),
        "summary": _summary(front),
        "duration": duration(front.run.seconds),
        "pick_lines": _lines_of(pick, max_width=20.0) if pick is not None else (),
        "use": _use(front, pick, sheet) if pick is not None else {},
        "trust": _trust(front, pick, sheet) if pick is not None else {},
        "fails": _fails(front, pick, scores) if pick is not None else {},
        "columns": _columns_of_front(front),
        "measured_on": words.measured_on(front.samples[: figures.MOST_ROWS]) if len(front.samples) <= figures.MOST_ROWS
        else "how many of each, and how their accuracies were found, is said above",
        "symbols": _symbols(pick),
        "operators": _operators(pick),
        "rows": _rows(front),
        "titles": words.TITLES,
        "meanings": words.MEANINGS,
        "figures": {
            "front": markup(figures.front_figure(front)),
            "scatter": markup(figures.scatter_figure(front, scores)),
            "history": markup(figures.history_figure(generations)),
            "parts": markup(figures.parts_figure(front)),
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


def _summary(front: Front) -> list[dict[str, Any]]:
    """The pick over many samples in a few figures, each beside the published proxy that is best there."""
    pick, n = front.pick, len(front.learnt)
    if pick is None or len(front.samples) <= figures.MOST_ROWS:
        return []
    kinds: list[tuple[str, str, Mapping[str, Criterion]]] = []
    if front.run.aggregate != "worst":
        kinds.append((f"mean of {n} samples", "held-out networks", mean_criteria(front, front.learnt)))
    kinds.append((f"worst of {n} samples", "held-out networks", worst_criteria(front)))
    if front.left_out:
        of = f"mean of {len(front.left_out)} samples left out"
        kinds.append((of, "nothing was learnt from them", mean_criteria(front, front.left_out)))
    found = []
    for name, of, taus in kinds:
        rivals = {entry.label: taus[entry.id] for entry in front.published if entry.id in taus}
        rival = max(rivals, key=lambda label: rivals[label].value, default=None)
        if pick.id in taus:
            best = None if rival is None else rivals[rival]
            found.append({"name": name, "of": of, "tau": taus[pick.id], "rival": rival, "best": best})
    return found


def _rows(front: Front) -> list[dict[str, Any]]:
    gains, speaks = gains_per_node(front), marks(front)
    many = len(front.learnt) > MOST_COLUMNS
    means = mean_criteria(front, front.learnt) if many else {}
    outside, worst = mean_criteria(front, front.left_out) if front.left_out else {}, worst_criteria(front)
    return [
        {
            "entry": entry,
            "lines": _lines_of(entry),
            "gain": gains.get(entry.id),
            "marks": [MARKS[name] for name in speaks.get(entry.id, ())],
            "begins_published": front.published[:1] == (entry,),
            "selected": front.tau(entry, "select"),
            "reported": means.get(entry.id),
            "worst": worst.get(entry.id),
            "outside": outside.get(entry.id),
        }
        for entry in front.entries
    ]


MOST_COLUMNS: Final = 4
"""Samples that each have a column of the front."""


def _columns_of_front(front: Front) -> list[tuple[str, str]]:
    """What the columns of the front are, each once."""
    fitted = (
        "cross-fitted: that of the pick is of searches that did not see the networks they rank, and other discovered "
        "proxies have none (–)"
    )
    of = fitted if front.run.n_folds else "on held-out networks"
    said = [("tau", f"Kendall’s tau-b {of}, with its 95 % bootstrap interval over the networks.")]
    if len(front.learnt) > MOST_COLUMNS:
        said.append(("worst tau", "That on the sample learnt from that the proxy ranks worst."))
    if front.run.aggregate != "worst" and len(front.learnt) > MOST_COLUMNS:
        said.insert(1, ("mean tau", "That over the samples learnt from."))
    if front.left_out:
        said.append(("left out", "Mean tau over the samples that nothing was learnt from."))
    if len(front.samples) == 1:
        said.append(("rho", "Spearman’s, on the same networks."))
    over = words.over_samples(front).capitalize()
    return [
        *said,
        ("networks", f"{words.measured_on(front.samples)}."),
        (
            "select",
            f"{over + 'tau' if over else 'Tau'} on the selection networks, by which the table is ordered; the pick is "
            f"{words.rule_text(front)}. Held-out numbers never choose.",
        ),
        ("size", "Nodes of the program as it evolved."),
        ("gain", "Tau for each node that it has more than the next smaller proxy that no smaller one beats."),
        ("cost", "Forward passes, an estimate."),
        ("time", "Of one network on one core; programs share their work, and theirs is that of all together."),
        ("marks", "SE is one standard error of the best on the selection networks; at the elbow size buys less tau."),
        ("formulas", f"Turned so that higher is better. {_division_note(front)}".strip()),
    ]  # fmt: skip


MARKS: Final = {
    "best": "best", "simplest-within-se": "simplest within 1 SE", "cheapest-within-se": "cheapest within 1 SE",
    "elbow": "elbow",
}  # fmt: skip
"""Of what speaks for a proxy, as the page says it."""


def _use(front: Front, pick: Entry, sheet: BadgeSheet | None) -> dict[str, Any]:
    """Which formula, why, and how to take it away."""
    run, program = shlex.quote(str(front.folder)), pick.formula
    on = ", ".join(words.short(sample.name, 40) for sample in front.learnt[:4])
    on += f" and {len(front.learnt) - 4} more samples" if len(front.learnt) > 4 else ""
    why = (
        f"The run’s pick: {words.rule_text(front).replace(' there', '')} on the selection networks (rule "
        f"{front.run.pick}; {on}). {_size_text(pick)} {_time_text(pick, sheet)}"
    )
    notes = [note[0].upper() + note[1:] + "." for note in (division_note(pick),) if note]
    if pick.is_settled:
        notes.append(
            "Branches that have one and the same value on all networks evolved on are left out of what is shown; "
            f"the scores of held-out networks are the same. As it evolved it has {pick.size} nodes."
        )
    what, where = words.less_of(front, pick)
    over = "Tau" if len(front.learnt) == 1 else f"{words.over_samples(front).removeprefix('the ').capitalize()}tau"
    networks = "the networks, cross-fitted" if front.run.n_folds else "held-out networks"
    return {
        "why": why,
        "notes": notes,
        "commands": (
            f"eznas export {run} best -o proxy.py\n"
            f"eznas score {shlex.quote(f'{front.folder}:best')} --networks {shlex.quote(_networks_of(front))}"
        ),
        "snippet": _snippet(front, pick),
        "infix": "" if program is None else directed_infix(program, pick.direction),
        "latex": "" if program is None else entry_latex(pick).strip(),
        "others": _others(front, pick),
        "tau_title": over[0].lower() + over[1:],
        "legend": (
            f"{over} on {networks}, with 95 % bootstrap intervals; pick minus it: the paired difference of {what}"
            f"{where}. What stands here was chosen on the selection networks: SE is one standard error of the best "
            "there, and at the elbow size buys less tau. To choose among all of the front: "
            f"eznas front {run} --select best, or --max-size N, --no-labels, --forward-only."
        ),
    }


def _size_text(pick: Entry) -> str:
    """Nodes, and what it needs."""
    program = pick.formula
    if program is None:
        return ""
    classes = "looks at the classes of the images" if program.needs_classes else "needs no labels"
    passes = "takes a backward pass" if takes_backward_pass(program) else "forward passes alone"
    return f"It has {program.size} nodes, {classes}, {passes}."


def _time_text(pick: Entry, sheet: BadgeSheet | None) -> str:
    """How long a score takes, where that was measured by itself, or else with what the run's programs share."""
    alone = None if sheet is None else sheet.proxies.get(pick.id)
    if sheet is not None and alone is not None and alone.seconds is not None:
        low, median, high = (words.time_text(seconds) for seconds in alone.seconds)
        return (
            f"A network takes {median} (half of {sheet.n} {sheet.family} networks {low} to {high}) on one core of "
            f"{sheet.machine}."
        )
    if pick.seconds is not None:
        return f"A network takes {words.time_text(pick.seconds)} on one core, with all that the run’s programs share."
    return ""


def _networks_of(front: Front) -> str:
    """Networks to score, as one would name them: some of the first space, or one's own."""
    name = front.learnt[0].conditions.settings.space
    try:
        space = space_named(name)
    except EznasError:
        return "python:zoo:networks"
    return f"{name}:random:5" if space.sample is not None else "python:zoo:networks"


def _snippet(front: Front, pick: Entry) -> str:
    """Python that scores two networks with the exported file, as it stands."""
    conditions = front.learnt[0].conditions
    n, size = conditions.batch_size, conditions.input_size
    has_targets = pick.formula is not None and pick.formula.needs_classes
    lines = [
        "import torch",
        "from torch import nn",
        "from proxy import prepare, score  # the exported file",
        "",
        f"images = torch.randn({n}, 3, {size}, {size})  # of yours, the same for all",
        *([f"classes = torch.arange({n}) % 10  # of the images"] if has_targets else []),
        "for width in (8, 32):  # networks of yours, untrained",
        "    network = nn.Sequential(",
        "        nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),",
        "        nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),",
        "        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10),",
        "    )",
        "    # higher predicts higher accuracy",
        f"    print(width, score(prepare(network), images{', classes' if has_targets else ''}))",
    ]
    return "\n".join(lines)


def _others(front: Front, pick: Entry) -> list[dict[str, Any]]:
    """What speaks for other proxies of the front, and the neighbours of the pick."""
    taus = report_criteria(front)
    why: dict[str, list[str]] = {key: [MARKS[name] for name in names] for key, names in marks(front).items()}
    for entry in neighbours(front, pick):
        which = "next smaller" if (entry.size or 0) <= (pick.size or 0) else "next larger"
        why.setdefault(entry.id, []).append(which)
    return [
        {
            "entry": entry,
            "why": ", ".join(why[entry.id]),
            "tau": taus.get(entry.id),
            "difference": words.less(front, pick, entry),
        }
        for entry in front.discovered
        if entry.id in why and entry is not pick
    ]


def _trust(front: Front, pick: Entry, sheet: BadgeSheet | None) -> dict[str, Any]:
    """Evolve, select and report figures of the pick, and what else speaks for it or against."""
    best = front.best_published
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
    facts = [
        ("networks", "evolve, select and report are disjoint, and so are the functions that they compute"),
        ("seeds", _seeds_text(front)),
    ]
    if covered := _covered(front):
        facts.append(("coverage", covered))
    if front.run.n_folds:
        facts[0] = ("networks", f"cross-fitted in {front.run.n_folds} folds: each was ranked by a search without it")
    return {"text": words.beside(front, pick), "rows": rows, "facts": facts, "badges": _badges(front, pick, sheet)}


def _seeds_text(front: Front) -> str:
    seed = front.run.seed
    if front.folder.resolve().name == f"seed-{seed}":
        return f"seed {seed}, one of those whose spread is on the page in the folder above this one"
    return f"seed {seed} alone; eznas evolve --seeds 5 shows the spread over seeds"


def _badges(front: Front, pick: Entry, sheet: BadgeSheet | None) -> dict[str, Any]:
    """What the pick does not mind, or how to measure that."""
    found = None if sheet is None else sheet.proxies.get(pick.id)
    if sheet is None or found is None:
        return {
            "text": "Not measured. It takes about ten scores for each of 24 networks, some seconds for small ones, and "
            "this page is then written anew:",
            "command": f"eznas badges {shlex.quote(str(front.folder))}",
            "rows": [],
        }
    rows = [
        {
            "title": one.title,
            "is_won": one.is_won,
            "tau": None if one.tau is None else Criterion(value=one.tau, low=one.low, high=one.high),
            "change": one.change,
        }
        for one in found.readings
    ]
    won = [one.title for one in found.readings if one.is_won]
    said = f"Badges: {', '.join(won)}." if won else "It has no badge: it minds all of these changes."
    text = (
        f"{sheet.n} held-out networks of {sheet.family} were scored again with one thing changed. {said} One is won "
        f"where Kendall’s tau-b between the scores before and after is {KEPT:g} or more, or the scores are the same; "
        "in brackets its 95 % bootstrap interval over the networks. Scores move by: median change of a score, in "
        "percent of the difference of the quartiles of the scores."
    )
    return {"text": text, "rows": rows, "command": ""}


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
    found = [weakness_of(front, pick, row["sample"], scores) for row in rows]
    weak = [one for one in found if one is not None]
    for row in rows:
        row["counting"] = counting(front, row["sample"])
    said = []
    if rows and rows[0]["m"].tau is not None:
        m, one = rows[0]["m"], rows[0]["sample"]
        on = f" on {words.short(one.name, 40)}, the worst of {len(rows)} samples," if len(rows) > 1 else ""
        said.append(f"Of all pairs of networks{on} it puts about {50 * (1 - m.tau.value):.0f} % in the wrong order.")
    tops = [row for row in rows if row["m"].top_tau is not None and row["m"].n >= MIN_TOP]
    if tops:
        row = min(tops, key=lambda row: row["m"].top_tau.value)
        top, n = row["m"].top_tau, row["m"].n
        said.append(
            f"In the top tenth of {words.short(row['sample'].name, 40)} by accuracy ({n - top_threshold(n)} of {n:,} "
            f"networks or more), where a search has to choose, tau is {criterion_text(top)}: about "
            f"{50 * (1 - top.value):.0f} % of the pairs are in the wrong order, and guessing gives 50 %."
        )
    elif rows:
        said.append(f"No sample has the {MIN_TOP} networks that it takes to say what it does in the top tenth.")
    behind = [row for row in rows if row["counting"] is not None and row["counting"].is_ahead_of(row["m"])]
    if any(row["counting"] is not None for row in rows):
        told = sum(row["counting"].is_told for row in behind)
        beyond = f", {told or 'none'} of them beyond the paired 95 % interval" if behind else ""
        said.append(f"Counting parameters or MACs ranks better on {len(behind)} of {len(rows)} samples{beyond}.")
    return {
        "text": " ".join(said),
        "rows": rows,
        "spaces": _by_space(rows),
        "weak": [one for one in weak if one.sample.report.n >= MIN_SHOWN][:N_WEAK],
        "operations": max((one for one in weak if one.operations), key=lambda one: one.sample.report.n, default=None),
        "edits": max((one for one in weak if one.edits), key=lambda one: sum(e.n for e in one.edits), default=None),
        "sizes": max((one for one in weak if one.sizes), key=lambda one: one.sample.report.n, default=None),
        "behind": [row["sample"].name for row in behind],
    }


def _by_space(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Figures of the samples of each benchmark together, the worst first; none if that says no more."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["sample"].benchmark, []).append(row)
    if len(groups) in (1, len(rows)):
        return []
    found = []
    for name, members in groups.items():
        taus = [row["m"].tau.value for row in members if row["m"].tau is not None]
        counted = [row["counting"].tau.value for row in members if row["counting"] is not None]
        found.append({
            "name": name, "n": len(members), "mean": statistics.fmean(taus) if taus else None,
            "worst": min(taus, default=None), "counting": statistics.fmean(counted) if counted else None,
        })  # fmt: skip
    return sorted(found, key=lambda one: -2.0 if one["mean"] is None else one["mean"])


MIN_TOP: Final = 100
"""Networks below which nothing is said of the top tenth in words: its tau is of a handful."""
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
    return _drawn(lines)


def _drawn(lines: Sequence[formulas.TypesetLine]) -> list[dict[str, Any]]:
    return [{"svg": markup(line.svg), "is_part": line.is_part, "goes_on": line.goes_on} for line in lines]


def _lines(program: Program | None, direction: int = 1, max_width: float = 46.0) -> list[dict[str, Any]]:
    if program is None:
        return []
    lines = formulas.formula_lines(program, direction=direction, max_width=max_width)
    return _drawn(lines)


def _symbols(entry: Entry | None) -> list[dict[str, Any]]:
    """The statistics an entry reads, with symbol and meaning."""
    if entry is None or entry.formula is None:
        return []
    found = [STATISTICS[name] for name in entry.formula.statistics]
    return [{"svg": markup(formulas.latex_svg(s.latex)), "name": s.name, "meaning": s.meaning} for s in found]


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

"""The front of a run for people and programs: a table for the terminal, JSON, CSV."""

from __future__ import annotations

import html
import io
import json
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from eznas.fitness import CRITERIA, Criterion
from eznas.names import one_line, printable
from eznas.programs import directed_infix, to_latex
from eznas.reporting.words import (
    TITLES,
    against_best,
    beside,
    hardest_sample,
    outside,
    over_samples,
    rule_text,
    seeds_text,
    short,
    short_names,
    verdict,
)
from eznas.runs.choice import gains_per_node, marks
from eznas.runs.front import Entry, Front, SampleCard, number_text, tau_text
from eznas.runs.interim import smallest_best
from eznas.tables import csv_text

if TYPE_CHECKING:
    from rich.table import Table

    from eznas.fitness import TaskFitness
    from eznas.runs import Candidate

_MIN_FORMULA: Final = 16
"""Narrowest column of formulas."""
_GAP: Final = 2
_MAX_NOTES: Final = 6
_MAX_SAMPLES: Final = 12
"""Samples and notes that are listed below the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """What the table shows: criteria of each sample (of none: the smallest tau), and whether with intervals."""

    criteria: tuple[str, ...]
    interval: bool
    details: tuple[str, ...]


_ALL = ("size", "gain", "cost", "formula")
_OF_ONE: Final = (
    _Layout(criteria=("tau", "rho", "level_rho"), interval=True, details=_ALL),
    _Layout(criteria=("tau", "rho"), interval=True, details=_ALL),
    _Layout(criteria=("tau", "rho"), interval=True, details=("size",)),
)
_OF_ANY: Final = (
    _Layout(criteria=("tau",), interval=True, details=_ALL),
    _Layout(criteria=("tau",), interval=True, details=("size", "gain")),
    _Layout(criteria=("tau",), interval=True, details=("size",)),
    _Layout(criteria=("tau",), interval=False, details=("size", "gain", "formula")),
    _Layout(criteria=("tau",), interval=False, details=("size", "gain")),
    _Layout(criteria=("tau",), interval=False, details=("size",)),
    _Layout(criteria=(), interval=False, details=("size",)),
)
"""The richest that fits is used, the last one in any case."""
_OF_MANY: Final = (
    _Layout(criteria=(), interval=False, details=_ALL),
    _Layout(criteria=(), interval=False, details=("size", "gain")),
    _Layout(criteria=(), interval=False, details=("size",)),
)
_MOST_COLUMNS: Final = 4
"""Samples that each have a column."""


def front_table(front: Front, *, width: int = 120) -> str:
    """The front as a table for a terminal, `width` characters wide at most where that is 60 or more.

    Discovered proxies come in the order of the selection networks, published ones below; ``*`` marks the pick. Figures
    are those of the held-out networks, tau with its 95 % bootstrap interval if there is room.
    """
    from rich.console import Console

    layouts: tuple[_Layout, ...] = (*_OF_ONE, *_OF_ANY) if len(front.samples) == 1 else _OF_ANY
    if len(front.learnt) > _MOST_COLUMNS:
        layouts = _OF_MANY
    for layout in layouts:
        columns = list(_columns(front, layout))
        widths = [max(map(_cells, column)) for column in columns]
        if "formula" in layout.details:
            widths[-1] = min(widths[-1], max(_MIN_FORMULA, width - sum(widths[:-1]) - _GAP * (len(widths) - 1)))
        full = sum(widths) + _GAP * (len(widths) - 1)
        if full <= width:
            break
    buffer = io.StringIO()
    console = Console(file=buffer, width=full, color_system=None, legacy_windows=False, force_jupyter=False)
    console.print(_drawn(front, columns, widths))
    lines = [line.rstrip() for line in buffer.getvalue().strip("\n").splitlines()]
    return printable("\n".join([*lines, "", *_below(front, layout, width)]) + "\n")


def _columns(front: Front, layout: _Layout) -> Iterator[list[str]]:
    """Cells of each column, the header first."""
    entries = front.entries
    speaks = marks(front)
    yield ["", *(_mark(entry is front.pick, speaks.get(entry.id, ())) for entry in entries)]
    yield ["proxy", *(short(entry.label) for entry in entries)]
    names = short_names([sample.name for sample in front.learnt], 16 if layout.interval else 8)
    for sample, name in zip(front.learnt, names, strict=True):
        measured = [entry.report.get(sample.name) for entry in entries]
        for criterion in layout.criteria:
            if criterion != "tau":
                of = [getattr(one, criterion) if one else None for one in measured]
                yield [TITLES[criterion], *map(number_text, of)]
            elif layout.interval:
                yield [f"tau {name}", *map(tau_text, measured)]
            else:
                yield [name, *(tau_text(one).partition(" ")[0] for one in measured)]
    if not layout.criteria:
        taus = [front.tau(entry, "report") for entry in entries]
        title = "worst tau" if front.run.aggregate == "worst" else "mean tau"
        yield [title, *("-" if tau is None else f"{tau:.3f}" for tau in taus)]
        if front.run.aggregate != "worst":
            worst = [front.worst_tau(entry, "report") for entry in entries]
            yield ["worst tau", *("-" if tau is None else f"{tau:.3f}" for tau in worst)]
    if front.left_out:
        outside = [front.left_out_tau(entry) for entry in entries]
        yield ["left out", *("-" if tau is None else f"{tau:.3f}" for tau in outside)]
    yield ["size", *("" if entry.size is None else str(entry.size) for entry in entries)]
    if "gain" in layout.details:
        gains = gains_per_node(front)
        yield ["gain", *(f"{gains[entry.id]:+.4f}" if entry.id in gains else "" for entry in entries)]
    if "cost" in layout.details:
        yield ["cost", *("" if entry.cost is None else f"{entry.cost:.2f}" for entry in entries)]
    if "formula" in layout.details:
        yield ["formula", *map(_formula_text, entries)]


def _formula_text(entry: Entry) -> str:
    return "" if entry.formula is None else directed_infix(entry.formula, entry.direction)


_MARKS: Final = {"best": "b", "simplest-within-se": "s", "cheapest-within-se": "c", "elbow": "e"}


def _mark(is_pick: bool, speaks: Sequence[str]) -> str:
    """``*`` of the pick, then a letter for each rule that takes the entry."""
    return ("*" if is_pick else " ") * bool(is_pick or speaks) + "".join(_MARKS[name] for name in speaks)


def _cells(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _drawn(front: Front, columns: Sequence[Sequence[str]], widths: Sequence[int]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    numbers = {"size", "gain", "cost", *TITLES.values()}
    for (header, *_), width in zip(columns, widths, strict=True):
        justify = "right" if header in numbers else "left"
        table.add_column(header, justify=justify, no_wrap=True, width=width)  # type: ignore[arg-type]
    last = front.discovered[-1:]
    for place, entry in enumerate(front.entries, start=1):
        cells = (_fitting(column[place], width) for column, width in zip(columns, widths, strict=True))
        table.add_row(*map(Text, cells), end_section=bool(front.published) and last == (entry,))
    return table


def _fitting(text: str, width: int) -> str:
    from rich.cells import set_cell_size

    return text if _cells(text) <= width else f"{set_cell_size(text, width - 1)}…"


# --- below the table ----------------------------------------------------------------------------------------------


def _below(front: Front, layout: _Layout, width: int) -> list[str]:
    """What the numbers are, the pick against the best published proxy, and notes, wrapped to `width`."""
    said = [_caption(front, layout)]
    sample = None if front.pick is None else hardest_sample(front, front.pick)
    if front.pick is not None and sample is not None:
        if len(front.learnt) > 1 and front.run.aggregate != "worst":
            said.append(against_best(front, front.pick))
        else:
            where = "the same networks" if len(front.samples) == 1 else short(sample.name, 40)
            said.append(verdict(front, sample, where))
        said += [outside(front, front.pick), beside(front, front.pick)]
    notes = front.run.notes
    said += [f"Note: {one_line(note, 1_000)}." for note in notes[:_MAX_NOTES]]
    if len(notes) > _MAX_NOTES:
        said.append(f"{len(notes) - _MAX_NOTES} more notes are in the report.")
    return [line for text in said if text for line in textwrap.wrap(text, width, break_on_hyphens=False)]


def caption(front: Front) -> str:
    """What the numbers of the front were measured on."""
    return _caption(front, _OF_ONE[0] if len(front.samples) == 1 else _OF_ANY[0])


def _caption(front: Front, layout: _Layout) -> str:
    run = front.run
    kinds = [f"tau (Kendall's tau-b{', 95 % bootstrap interval' if layout.interval else ''})"]
    if not layout.criteria:
        kinds = [f"worst tau (Kendall's tau-b, the smallest of {len(front.learnt)} samples)"]
        if run.aggregate != "worst":
            kinds = [f"mean and worst tau (Kendall's tau-b over {len(front.learnt)} samples)"]
    kinds += ["rho (Spearman)"] if "rho" in layout.criteria else []
    kinds += ["rho within levels (Spearman among networks of equal complexity)"] * ("level_rho" in layout.criteria)
    figures = " and ".join([", ".join(kinds[:-1]), kinds[-1]] if len(kinds) > 1 else kinds)
    networks = "held-out networks"
    if run.n_folds is not None:
        networks = (
            f"networks that the search did not see: the report is cross-fitted in {run.n_folds} folds, and discovered "
            "proxies other than the pick have no figure in it (-)"
        )
    by = _listed(front.learnt, lambda sample: f"{sample.select.n:,}" if sample.select else "")
    elsewhere = _listed(front.left_out, lambda sample: str(sample.report))
    sentences = [
        f"Run {short(run.name, 80)} {seeds_text(run)}." if run.seeds else "",
        f"{figures} on {networks}: {_listed(front.learnt, lambda sample: str(sample.report))}.",
        f"Left out is the mean tau on samples that nothing was learnt from: {elsewhere}." if elsewhere else "",
        f"Ordered by {over_samples(front)}tau on the selection networks ({by}); * is the pick, {rule_text(front)}.",
        _legend(front),
        "Gain is held-out tau for each node more than the next smaller of the front."
        if "gain" in layout.details and gains_per_node(front)
        else "",
        "Cost is in forward passes." if "cost" in layout.details else "",
    ]
    return " ".join(filter(None, sentences))


def _legend(front: Front) -> str:
    """What the letters before the proxies say, those that are there."""
    there = {name for names in marks(front).values() for name in names}
    said = {
        "best": "b the best there",
        "simplest-within-se": "s the simplest within one standard error of it",
        "cheapest-within-se": "c the cheapest within it",
        "elbow": "e the elbow of tau against size",
    }
    return f"Marked: {', '.join(text for name, text in said.items() if name in there)}." if there else ""


def _listed(every: Sequence[SampleCard], of: Callable[[SampleCard], str]) -> str:
    """Something of each sample, those of which it is the same together."""
    samples = every[:_MAX_SAMPLES]
    named: dict[str, list[str]] = {}
    for sample in samples:
        named.setdefault(one_line(of(sample)), []).append(short(sample.name, 40))
    texts = [f"{', '.join(names)}: {text}" for text, names in named.items()]
    more = len(every) - len(samples)
    return "; ".join([*texts, f"and {more} more samples"] if more else texts)


# --- for papers ---------------------------------------------------------------------------------------------------


def front_latex(front: Front) -> str:
    """The front as a table for a paper, which needs the packages booktabs and amsmath.

    Formulas are those for which higher is better. The caption says of which networks, split and training the figures
    are, and how intervals were taken.
    """
    samples = front.learnt if len(front.learnt) <= _MOST_COLUMNS else ()
    titles = [_tex(sample.name) for sample in samples] or ["worst sample"]
    if not samples and front.run.aggregate != "worst":
        titles.insert(0, "mean")
    lines = [
        "% needs \\usepackage{booktabs,amsmath}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_tex_caption(front)}}}",
        rf"\begin{{tabular}}{{l{'r' * len(titles)}rrl}}",
        r"\toprule",
        " & ".join(["Proxy", *(rf"$\tau$ {title}" for title in titles), "Size", "Cost", r"Formula \\"]),
        r"\midrule",
    ]
    for entry in front.entries:
        if entry.kind == "published" and front.published[:1] == (entry,) and front.discovered:
            lines.append(r"\midrule")
        lines.append(_tex_row(front, entry, samples))
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _tex_row(front: Front, entry: Entry, samples: Sequence[SampleCard]) -> str:
    cells = [_tex(short(entry.label)) if entry is not front.pick else rf"\textbf{{{_tex(short(entry.label))}}}"]
    if samples:
        cells += [_tex_tau(entry, sample) for sample in samples]
    else:
        taus = [front.tau(entry, "report")] if front.run.aggregate != "worst" else []
        cells += ["--" if tau is None else f"${tau:.3f}$" for tau in (*taus, front.worst_tau(entry, "report"))]
    cells.append("--" if entry.formula is None else str(entry.formula.size))
    cells.append("--" if entry.cost is None else f"{entry.cost:.2f}")
    latex = "--"
    if entry.formula is not None:
        latex = f"${to_latex(entry.formula, direction=entry.direction, smoothed=entry.division == 'smoothed')}$"
    return " & ".join([*cells, latex]) + r" \\"


def _tex_tau(entry: Entry, sample: SampleCard) -> str:
    measured = entry.report.get(sample.name)
    if measured is None or measured.tau is None:
        return "--"
    tau = measured.tau
    ends = "" if tau.low is None or tau.high is None else rf"\ {{\scriptsize $[{tau.low:.3f}, {tau.high:.3f}]$}}"
    return f"${tau.value:.3f}${ends}"


def _tex_caption(front: Front) -> str:
    where = _listed(front.learnt, lambda sample: str(sample.report))
    networks = "networks that the search did not see" if front.run.n_folds else "held-out networks"
    said = [f"Kendall's $\\tau_b$ on {networks} ({_tex(where)})"]
    if len(front.learnt) <= _MOST_COLUMNS:
        said.append("in brackets 95\\,\\% bootstrap intervals over the choice of networks")
    text = "; ".join(said) + ". Size in nodes, cost in forward passes; bold: the pick, chosen on other networks."
    if any("divide" in (entry.program or "") for entry in front.entries):
        text += " " + _tex_division(front)
    return text


def _tex_division(front: Front) -> str:
    plain = any(entry.division != "smoothed" and "divide" in (entry.program or "") for entry in front.entries)
    smoothing = r"$xy / (y^2 + \varepsilon^2)$ with $\varepsilon = 10^{-10}$"
    return f"Fractions $x / y$ are {smoothing}." if plain else r"$\varepsilon = 10^{-10}$."


_TEX: Final = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "…": r"\dots{}",
}  # fmt: skip


def _tex(text: str) -> str:
    """Text from a file as LaTeX prints it: what would be a command is not one."""
    return "".join(_TEX.get(character, character) for character in text)


# --- for programs -------------------------------------------------------------------------------------------------


def front_json(front: Front) -> str:
    """The front as JSON: the run's own document, entries in the order of the table."""
    return json.dumps(front.model_dump(mode="json"), indent=1) + "\n"


def front_csv(front: Front) -> str:
    """The front as CSV, one row per proxy and sample; empty where there is no number."""
    return printable(csv_text([_COLUMNS, *(row.values() for row in front_rows(front))]))


def front_rows(front: Front) -> list[dict[str, object]]:
    """One row per proxy and sample, in the columns of `front_csv`; None where there is no number."""
    rows = [_row(entry, sample) for entry in front.entries for sample in front.samples]
    return [{name: row.get(name) for name in _COLUMNS} for row in rows]


def front_html(front: Front) -> str:
    """The front as a table of HTML, for notebooks: the pick in bold, figures on held-out networks, then the formula.

    Whatever names and formulas hold is text in it.
    """
    names = [sample.name for sample in front.samples]
    lines = [_html_row("th", ["proxy", *(f"tau {name}" for name in names), "size", "formula"])]
    for entry in front.entries:
        cells = [entry.label, *(tau_text(entry.report.get(name)) for name in names)]
        cells += ["" if entry.size is None else str(entry.size), _formula_text(entry)]
        lines.append(_html_row("td", cells, is_bold=entry is front.pick))
    said = html.escape(printable(caption(front)))
    return f"<table>\n{''.join(lines)}</table>\n<p>{said}</p>"


def _html_row(tag: str, cells: Sequence[str], *, is_bold: bool = False) -> str:
    texts = [html.escape(printable(cell)) for cell in cells]
    texts = [f"<b>{text}</b>" for text in texts] if is_bold else texts
    return f"<tr>{''.join(f'<{tag}>{text}</{tag}>' for text in texts)}</tr>\n"


_COLUMNS: Final = (
    "id", "name", "kind", "is_pick", "sample", "evolve_tau", "select_tau",
    *(f"report_{name}{end}" for name in CRITERIA for end in ("", "_low", "_high")),
    "pick_minus_this", "pick_minus_this_low", "pick_minus_this_high",
    "report_share_tied", "report_n", "report_n_failed", "report_split", "report_epochs",
    "direction", "size", "height", "cost", "seconds", "generation", "formula", "program", "simplified",
)  # fmt: skip


def _row(entry: Entry, sample: SampleCard) -> dict[str, object]:
    selected, reported = entry.select.get(sample.name), entry.report.get(sample.name)
    row: dict[str, object] = {
        "id": entry.id, "name": entry.name, "kind": entry.kind, "is_pick": entry.is_pick, "sample": sample.name,
        "report_split": sample.report.split, "report_epochs": sample.report.epochs, "direction": entry.direction,
        "size": entry.size, "height": entry.height, "cost": entry.cost, "seconds": entry.seconds,
        "generation": entry.generation, "formula": _formula_text(entry) or None, "program": entry.program,
        "simplified": entry.simplified,
    }  # fmt: skip
    if (evolved := entry.evolve.get(sample.name)) is not None and evolved.tau is not None:
        row["evolve_tau"] = evolved.tau.value
    if selected is not None and selected.tau is not None:
        row["select_tau"] = selected.tau.value
    if reported is not None:
        row |= {f"report_{key}": getattr(reported, key) for key in ("share_tied", "n", "n_failed")}
        for name, criterion in reported.criteria.items():
            row |= _three(f"report_{name}", criterion)
    if sample.name in entry.versus_pick:
        row |= _three("pick_minus_this", entry.versus_pick[sample.name])
    return row


def interim_csv(candidates: Iterable[Candidate]) -> str:
    """What a search has found up to now as CSV, in the columns of `front_csv`; what is not known yet is empty."""
    return printable(csv_text([_COLUMNS, *(row.values() for row in interim_rows(candidates))]))


def interim_rows(candidates: Iterable[Candidate]) -> list[dict[str, object]]:
    """`smallest_best`, largest and best first: one row per program and sample, in the columns of `front_rows`."""
    front = reversed(smallest_best(candidates))
    rows = [_interim_row(candidate, task) for candidate in front for task in candidate.fitness.tasks]
    return [{name: row.get(name) for name in _COLUMNS} for row in rows]


def interim_json(candidates: Iterable[Candidate], *, generation: int, n_generations: int) -> str:
    """`interim_rows` as JSON, of a format that is not that of a finished run's front."""
    document = {
        "format": "eznas-interim-front", "version": 1, "is_finished": False, "generation": generation,
        "n_generations": n_generations, "rows": interim_rows(candidates),
    }  # fmt: skip
    return json.dumps(document, indent=1) + "\n"


def _interim_row(candidate: Candidate, task: TaskFitness) -> dict[str, object]:
    program, fitness = candidate.program, candidate.fitness
    return {
        "id": candidate.id, "kind": "discovered", "sample": task.task, "evolve_tau": task.tau,
        "direction": fitness.direction, "size": program.size, "height": program.height, "cost": fitness.cost,
        "generation": candidate.generation, "formula": directed_infix(program, fitness.direction),
        "program": program.text,
    }  # fmt: skip


def _three(key: str, criterion: Criterion) -> dict[str, object]:
    return {key: criterion.value, f"{key}_low": criterion.low, f"{key}_high": criterion.high}

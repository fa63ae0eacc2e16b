"""One proxy of a run in words: formula, origin, size and cost, and how well it ranks each sample."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator

from eznas.errors import ConfigError
from eznas.names import one_line
from eznas.programs import directed_infix, to_latex
from eznas.reporting.words import TITLES, comparison, kinds_text, run_name, short, ties_text, time_text, verdict
from eznas.runs.front import Entry, Front, Measurement, SampleCard, criterion_text, number_text
from primitives.numerics import DIVISION_FLOOR


def entry_text(front: Front, entry: Entry, *, width: int | None = None) -> str:
    """The proxy in words, a line for each fact; where a width is given, broken between words to fit it."""
    lines: list[str] = []

    def add(label: str, text: str, column: int = 0) -> None:
        line = f"{label:<{column}}{text}"
        fits = width is None or len(line) <= width
        kept = {"initial_indent": line[:column], "subsequent_indent": " " * column}
        lines.extend([line] if fits else textwrap.wrap(text, width, break_on_hyphens=False, **kept))  # type: ignore[arg-type]

    pick = " (the pick)" if entry is front.pick else ""
    add("", f"{short(entry.label, 80)}{pick}: {entry.kind} proxy of run {run_name(front.run)}")
    for label, text in _facts(entry):
        add(f"  {label}", one_line(text, 100_000), 14)
    for sample in front.samples:
        lines.append("")
        add("", f"{short(sample.name, 80)}: {one_line(sample.conditions, 400)}")
        for label, text in _on_sample(front, entry, sample):
            add(f"  {label}", one_line(text, 1_000), 26)
    if front.run.notes:
        lines.append("")
        for note in front.run.notes:
            add("", f"Note: {one_line(note, 4_000)}.")
    return "\n".join(lines) + "\n"


def entry_json(entry: Entry) -> str:
    """The proxy as the run's document has it."""
    return json.dumps(entry.model_dump(mode="json"), indent=1) + "\n"


def entry_latex(entry: Entry) -> str:
    """The formula for which higher is better, as LaTeX.

    Raises:
        ConfigError: if the proxy is no program.
    """
    if entry.formula is None:
        raise ConfigError(f"Proxy {short(entry.label)} is no program, and only a program has a formula")
    smoothed = entry.division == "smoothed"
    return to_latex(entry.formula, direction=entry.direction, smoothed=smoothed) + "\n"


def division_note(entry: Entry) -> str | None:
    """What the divisions of its formula are, a clause; None if it has none."""
    if entry.formula is None or all(node.name != "divide" for node in entry.formula.nodes):
        return None
    smoothing = f"x / y is x y / (y^2 + e^2) with e = {DIVISION_FLOOR:g}"
    match entry.division:
        case "plain":
            return f"{smoothing}: on the networks evolved on the plain fraction"
        case "smoothed":
            return f"{smoothing}, which shows on the networks evolved on: some denominators are about 0"
    return smoothing


def _facts(entry: Entry) -> Iterator[tuple[str, str]]:
    if entry.title:
        yield "title", entry.title
    if entry.evolved is not None and entry.formula is not None:
        yield "formula", directed_infix(entry.formula, entry.direction)
        if (said := division_note(entry)) is not None:
            yield "", said
        yield "program", entry.evolved.text
        if entry.simplified is not None:
            on_data = " (equal on data: branches that say nothing there are left out)" if entry.is_settled else ""
            yield "simplified", f"{entry.formula.text}{on_data}"
    of_formula = ", of the program; the formula is turned" if entry.formula is not None else ""
    yield (
        "direction",
        "higher is better" if entry.direction > 0 else f"lower is better{of_formula or ' (score is negated)'}",
    )
    if entry.units is not None:
        noise = "" if entry.seed is None else f", seed {entry.seed} of their noise"
        yield "reads", f"units {entry.units}{noise}"
    if entry.size is not None:
        yield "size", f"{entry.size} nodes, {entry.height} levels"
    if entry.cost is not None:
        yield "cost", f"{entry.cost:.2f} forward passes, an estimate"
    if entry.seconds is not None:
        shared = ", which all programs of the run share" if entry.program is not None else ""
        yield "time", f"{time_text(entry.seconds)} a network on one core{shared}"
    if entry.operator is not None:
        origin = f" of {', '.join(parent[:8] for parent in entry.parents)}" if entry.parents else ""
        yield "origin", f"generation {entry.generation}, {entry.operator}{origin}"


def _on_sample(front: Front, entry: Entry, sample: SampleCard) -> Iterator[tuple[str, str]]:
    if sample.coverage is not None and entry.kind == "discovered":
        yield "reads", str(sample.coverage)
    for label, card, found in (
        ("evolved on", sample.evolve, entry.evolve), ("selected on", sample.select, entry.select),
    ):  # fmt: skip
        if card is not None and (measured := found.get(sample.name)) is not None:
            yield label, f"{_briefly(measured)} on {card}"
    measured, folds = entry.report.get(sample.name), front.run.n_folds
    is_fitted = folds is not None and entry.kind == "discovered"
    label = "cross-fitted" if is_fitted else "held out"
    if measured is None:
        yield label, "-: the searches of the folds measure the pick alone" if is_fitted else "not measured"
        return
    yield label, f"{sample.report}, in {folds} folds" if is_fitted else str(sample.report)
    if measured.tau is None:
        yield "  failed", measured.reason or "it has no tau"
    for name in TITLES if measured.tau is not None else ():
        yield f"  {TITLES[name]}", criterion_text(getattr(measured, name))
    yield "  ties", f"{ties_text(measured)} of pairs"
    kinds = kinds_text(measured)
    yield "  failures", f"{measured.n_failed:,} of {measured.n:,}{f' ({kinds})' if kinds else ''}"
    if entry is front.pick:
        if compared := verdict(front, sample):
            yield "  compared", compared
    elif sample.name in entry.versus_pick:
        yield "  compared", comparison(entry.versus_pick[sample.name])


def _briefly(measured: Measurement) -> str:
    if measured.tau is None:
        return f"failed, {measured.reason or 'it has no tau'},"
    return f"tau {criterion_text(measured.tau)}, rho {number_text(measured.rho)}"

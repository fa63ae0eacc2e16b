"""One proxy of a run in words: formula, origin, size and cost, and how well it ranks each sample."""

from __future__ import annotations

import json
from collections.abc import Iterator

from eznas.names import one_line
from eznas.programs import to_latex, with_signs_settled
from eznas.reporting.words import (
    TITLES,
    comparison,
    footnotes,
    formula_text,
    kinds_text,
    neighbours,
    rule_text,
    run_name,
    short,
    ties_text,
    time_text,
    verdict,
)
from eznas.runs.front import Entry, Front, Measurement, SampleCard, criterion_text, number_text


def entry_text(front: Front, entry: Entry, *, latex: bool = False, among: str = "") -> str:
    """The proxy for a terminal, one fact per line, the formula as people write it first.

    Args:
        front: of the run.
        entry: one of it.
        latex: whether to show the formula in LaTeX as well.
        among: what the pick was taken from, as the end of a sentence.
    """
    rule = f"the pick: {rule_text(front)}{f', {among}' if among else ''}"
    pick = f" ({rule})" if entry is front.pick else ""
    lines = [f"{short(entry.label, 80)}{pick}: {entry.kind} proxy of run {run_name(front.run)}"]
    facts = [*_facts(entry, latex), *(neighbours(front) if entry is front.pick else ())]
    lines += [f"  {label:<14}{one_line(text, 100_000)}" for label, text in facts]
    for sample in front.samples:
        lines += ["", f"{short(sample.name, 80)}: {one_line(sample.conditions, 400)}"]
        lines += [f"  {label:<24}{one_line(text, 1_000)}" for label, text in _on_sample(front, entry, sample)]
    if front.run.notes:
        lines += ["", *(f"Note: {one_line(note, 4_000)}." for note in front.run.notes)]
    return "\n".join(lines) + "\n"


def entry_json(entry: Entry) -> str:
    """The proxy as the run's document has it."""
    return json.dumps(entry.model_dump(mode="json"), indent=1) + "\n"


def _facts(entry: Entry, latex: bool) -> Iterator[tuple[str, str]]:
    if entry.title:
        yield "title", entry.title
    if entry.evolved is not None and entry.formula is not None:
        yield "formula", formula_text(entry.formula, entry.direction)
        for note in footnotes(entry.formula):
            yield "", note
        if latex:
            yield "latex", to_latex(with_signs_settled(entry.formula, entry.direction))
        yield "program", entry.evolved.text
        if entry.simplified is not None:
            on_data = " (equal on data: branches that say nothing there are left out)" if entry.is_settled else ""
            yield "simplified", f"{entry.formula.text}{on_data}"
    turned = ", which the formula has in it already" if entry.formula is not None else ""
    yield "direction", "higher is better" if entry.direction > 0 else f"lower is better (score is negated{turned})"
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

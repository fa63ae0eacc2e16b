"""One proxy of a run in words: formula, origin, size and cost, and how well it ranks each sample."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from eznas.programs import to_latex
from eznas.runs.front import Entry, Front, Measurement, Sample, number_text, tau_text


def entry_text(front: Front, entry: Entry) -> str:
    """The proxy for a terminal, one fact per line."""
    lines = [f"{entry.label}{' (the pick)' if entry is front.pick else ''}: {entry.kind} proxy of run {front.run.name}"]
    if entry.program is not None:
        lines += _fact("program", entry.program.text)
        if entry.simplified is not None:
            lines += _fact("simplified", entry.simplified.text)
        lines += _fact("formula", to_latex(entry.formula or entry.program))
    lines += _fact("direction", "higher is better" if entry.direction > 0 else "lower is better (score is negated)")
    if entry.size is not None and entry.cost is not None:
        lines += _fact("size", f"{entry.size} nodes, {entry.height} levels, cost {entry.cost:.2f} forward passes")
    if entry.operator is not None:
        origin = f" of {', '.join(parent[:8] for parent in entry.parents)}" if entry.parents else ""
        lines += _fact("origin", f"generation {entry.generation}, {entry.operator}{origin}")
    for task in front.tasks:
        lines += _fact("evolved on", _measured(entry.evolve, task.name, task.evolve))
        lines += _fact("selected on", _measured(entry.select, task.name, task.select))
        lines += _fact("held out", _measured(entry.report, task.name, task.report))
    return "\n".join(lines) + "\n"


def entry_json(front: Front, entry: Entry) -> str:
    """The proxy as the run's document has it."""
    return json.dumps(next(e for e in front.document["entries"] if e["id"] == entry.id), indent=1) + "\n"


def _fact(label: str, text: str) -> Iterable[str]:
    return (f"  {label:<12}{text}",)


def _measured(by_task: Mapping[str, Measurement], task: str, sample: Sample) -> str:
    measured = by_task.get(task)
    if measured is None:
        return f"{task}: not measured"
    if measured.tau is None:
        return f"{task}: failed, {measured.reason}"
    failed = f", {measured.n_failed} failed" if measured.n_failed else ""
    return f"{task}: tau {tau_text(measured)}, rho {number_text(measured.rho)}, {sample}{failed}"

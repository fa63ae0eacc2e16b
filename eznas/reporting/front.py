"""The front of a run for people and programs: a table for the terminal, JSON, CSV."""

from __future__ import annotations

import csv
import io
import json
import textwrap

from eznas.runs.front import Entry, Front, Task, number_text, tau_text


def front_table(front: Front, *, width: int = 120) -> str:
    """The front as a table for a terminal, `width` characters wide at most.

    Discovered proxies come in the order of the selection networks, published ones below; ``*`` marks the pick. Tau and
    rho are those of the held-out networks, with 95 % bootstrap intervals.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    of_tasks = [header for task in front.tasks for header in (f"tau {task.name}", "rho")]
    headers = ["", "proxy", *of_tasks, "size", "cost", "formula"]
    rows = [_table_cells(front, entry) for entry in front.entries]
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)][:-1]
    room = max(width - sum(widths) - 3 * len(widths) - 1, 24)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for position, (header, column_width) in enumerate(zip(headers, [*widths, room], strict=True)):
        is_number = header in ("rho", "size", "cost")
        table.add_column(
            header, justify="right" if is_number else "left", no_wrap=True, min_width=column_width if position else 1
        )
    for entry, cells in zip(front.entries, rows, strict=True):
        cells[-1] = cells[-1] if len(cells[-1]) <= room else cells[-1][: room - 1] + "…"
        is_last_discovered = bool(front.published) and front.discovered[-1:] == (entry,)
        table.add_row(*map(Text, cells), end_section=is_last_discovered)
    buffer = io.StringIO()
    full_width = sum(widths) + room + 3 * len(headers)
    console = Console(file=buffer, width=full_width, color_system=None, legacy_windows=False)
    console.print(table)
    table_text = "\n".join(line.rstrip() for line in buffer.getvalue().strip("\n").splitlines())
    return f"{table_text}\n\n{textwrap.fill(caption(front), width)}\n"


def _table_cells(front: Front, entry: Entry) -> list[str]:
    cells = ["*" if entry is front.pick else "", entry.label]
    for task in front.tasks:
        measured = entry.report.get(task.name)
        cells += [tau_text(measured), number_text(measured.rho if measured else None)]
    cells += ["" if entry.size is None else str(entry.size), "" if entry.cost is None else f"{entry.cost:.2f}"]
    sign = "-" if entry.direction < 0 else ""
    return [*cells, "" if entry.formula is None else sign + entry.formula.text]


def caption(front: Front) -> str:
    """What the numbers of the front were measured on."""
    samples = "; ".join(f"{task.name}: {task.report}" for task in front.tasks)
    return (
        f"tau (Kendall's tau-b, 95 % bootstrap interval) and rho (Spearman) on held-out networks: {samples}. "
        f"Ordered by tau on other networks ({', '.join(f'{t.name}: {t.select.n:,}' for t in front.tasks)}); * is the "
        "pick. Cost is in forward passes."
    )


def front_json(front: Front) -> str:
    """The front as JSON: the run's own document, entries in the order of the table."""
    order = {entry.id: position for position, entry in enumerate(front.entries)}
    entries = sorted(front.document["entries"], key=lambda entry: order[entry["id"]])
    return json.dumps({**front.document, "entries": entries}, indent=1) + "\n"


def front_csv(front: Front) -> str:
    """The front as CSV, one row per proxy and task; empty where there is no number."""
    columns = (
        "id", "name", "kind", "is_pick", "task", "select_tau", "report_tau", "report_tau_low", "report_tau_high",
        "report_rho", "report_n", "report_n_failed", "report_split", "report_epochs", "direction", "size", "height",
        "cost", "generation", "program", "simplified",
    )  # fmt: skip
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for entry in front.entries:
        for task in front.tasks:
            writer.writerow("" if value is None else value for value in _row(entry, task))
    return buffer.getvalue()


def _row(entry: Entry, task: Task) -> tuple[object, ...]:
    selected, reported = entry.select.get(task.name), entry.report.get(task.name)
    low, high = (reported.tau_interval if reported else None) or (None, None)
    return (
        entry.id, entry.name, entry.kind, entry.is_pick, task.name, selected.tau if selected else None,
        reported.tau if reported else None, low, high, reported.rho if reported else None,
        reported.n if reported else None, reported.n_failed if reported else None, task.report.split,
        task.report.epochs, entry.direction, entry.size, entry.height, entry.cost, entry.generation,
        entry.program.text if entry.program else None, entry.simplified.text if entry.simplified else None,
    )  # fmt: skip

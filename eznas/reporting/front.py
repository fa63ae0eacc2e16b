"""What a run found, read back from its folder: the front, beside the published proxies measured on the same networks.

The order is that of the selection networks; held-out numbers are shown and never choose.
"""

from __future__ import annotations

import csv
import io
import json
import math
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from eznas.errors import ProgramError, RunError
from eznas.programs import Program, from_tree, parse
from eznas.reporting.records import read_object

FORMAT = "eznas-front"
VERSION = 1
PARTS = ("evolve", "select", "report")
Part = Literal["evolve", "select", "report"]


@dataclass(frozen=True, slots=True)
class Sample:
    """Networks with labels: how many, of which split, trained for how many epochs (None: not stated)."""

    n: int
    split: str
    epochs: int | None

    def __str__(self) -> str:
        training = "full training" if self.epochs is None else f"{self.epochs} epochs"
        return f"{self.n:,} networks, {self.split} accuracy after {training}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One data set, with the disjoint samples a run evolved on, selected by and reports on."""

    name: str
    dataset: str
    evolve: Sample
    select: Sample
    report: Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """How well a proxy ranks the networks of one sample; correlations are in the proxy's direction.

    Attributes:
        tau, rho: Kendall's tau-b and Spearman's rho; None if the proxy failed on too many networks, see `reason`.
        n, n_failed: networks ranked, and those of them without a finite score, which share the last rank.
        standard_error: of tau.
        tau_interval, rho_interval: 95 % bootstrap intervals.
    """

    tau: float | None
    rho: float | None
    n: int
    n_failed: int
    standard_error: float | None = None
    tau_interval: tuple[float, float] | None = None
    rho_interval: tuple[float, float] | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A proxy of the front, or a published one beside it.

    Attributes:
        id: digest of the program, or the name of a published proxy without one.
        name: None for a discovered proxy.
        program: as it evolved; None for an estimator that is not a program.
        simplified: an equal, smaller program, certified; None if there is none.
        direction: 1 if higher values predict higher accuracy, else -1.
        parents: ids.
        is_pick: whether the selection networks chose it as the run's result.
        evolve, select, report: by task; empty where it was not measured.
    """

    id: str
    name: str | None
    kind: Literal["discovered", "published"]
    program: Program | None
    simplified: Program | None
    direction: int
    size: int | None
    height: int | None
    cost: float | None
    generation: int | None
    operator: str | None
    parents: tuple[str, ...]
    is_pick: bool
    evolve: Mapping[str, Measurement]
    select: Mapping[str, Measurement]
    report: Mapping[str, Measurement]

    @property
    def label(self) -> str:
        """What tables and figures call it."""
        return self.name or self.id[:8]

    @property
    def formula(self) -> Program | None:
        """The program to show: the simplified one if there is one."""
        return self.simplified or self.program

    def worst_tau(self, part: Part) -> float | None:
        """Smallest tau over the tasks; None if one is missing."""
        measured = getattr(self, part)
        taus = [m.tau for m in measured.values() if m.tau is not None]
        return min(taus) if taus and len(taus) == len(measured) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """The run in numbers; `seconds` is wall-clock time, `provenance` says where the accuracies come from."""

    name: str
    seed: int
    n_generations: int
    n_programs: int
    seconds: float
    primitive_set: str
    benchmark: str
    provenance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """A run's result.

    Attributes:
        folder: the run folder.
        entries: discovered proxies by falling tau on the selection networks, then published ones likewise.
        document: the file as it was read.
    """

    folder: Path
    run: RunSummary
    tasks: tuple[Task, ...]
    entries: tuple[Entry, ...]
    document: Mapping[str, Any]

    @property
    def discovered(self) -> tuple[Entry, ...]:
        """The proxies the run found."""
        return tuple(entry for entry in self.entries if entry.kind == "discovered")

    @property
    def published(self) -> tuple[Entry, ...]:
        """The yardsticks."""
        return tuple(entry for entry in self.entries if entry.kind == "published")

    @property
    def pick(self) -> Entry | None:
        """The run's result: the marked entry, else the first; None if nothing was found."""
        discovered = self.discovered
        return next((entry for entry in discovered if entry.is_pick), discovered[0] if discovered else None)

    @property
    def best_published(self) -> Entry | None:
        """The published proxy that ranks the held-out networks best: the hardest one to beat."""
        measured = [entry for entry in self.published if entry.worst_tau("report") is not None]
        return max(measured, key=lambda entry: _or_least(entry.worst_tau("report")), default=None)

    def entry(self, id_or_name: str) -> Entry:
        """The entry of that name, or whose id starts so.

        Raises:
            RunError: if there is none, or more than one.
        """
        found = [e for e in self.entries if e.name == id_or_name] or [
            e for e in self.entries if id_or_name and e.id.startswith(id_or_name)
        ]
        if len(found) == 1:
            return found[0]
        known = ", ".join(entry.label for entry in self.entries)
        problem = f"{len(found)} proxies begin with" if found else "There is no proxy"
        raise RunError(f"{problem} {id_or_name!r} in {self.folder}; it holds {known}")


# --- reading ------------------------------------------------------------------------------------------------------


def load_front(run_dir: Path) -> Front:
    """The front of a run.

    Raises:
        RunError: if the folder has no front, or it is damaged or of another version.
    """
    run_dir = Path(run_dir)
    if not (run_dir / "front.json").is_file():
        remedy = "finish the run with eznas resume" if run_dir.is_dir() else "check the path; eznas evolve makes runs"
        raise RunError(f"{run_dir} has no front.json; {remedy}")
    document = read_object(run_dir / "front.json")
    if document.get("format") != FORMAT or document.get("version") != VERSION:
        raise RunError(
            f"{run_dir / 'front.json'} has format {document.get('format')!r} version {document.get('version')!r}; this "
            f"release reads {FORMAT!r} version {VERSION}: make it anew with eznas resume"
        )
    reader = _Reader(document, str(run_dir / "front.json"))
    tasks = tuple(_task(r) for r in reader.items("tasks"))
    names = [task.name for task in tasks]
    entries = [_entry(r, names) for r in reader.items("entries")]
    entries.sort(key=_place)
    return Front(
        folder=run_dir, run=_run(reader.object("run")), tasks=tasks, entries=tuple(entries), document=document
    )


def _place(entry: Entry) -> tuple[bool, float, float]:
    """Discovered before published, then by falling tau; the held-out one only breaks ties."""
    selected, reported = (_or_least(entry.worst_tau(part)) for part in ("select", "report"))
    return entry.kind == "published", -selected, -reported


def _or_least(tau: float | None) -> float:
    return -2.0 if tau is None else tau


class _Reader:
    """A JSON object with the place it came from, so that what is wrong with it can be said in one sentence."""

    def __init__(self, data: Mapping[str, Any], where: str) -> None:
        self._data = data
        self.where = where

    def fail(self, key: str, expected: str) -> RunError:
        return RunError(
            f"{self.where} is damaged: {key!r} must be {expected}, got {self._data.get(key)!r:.60}; make it anew with "
            "eznas resume"
        )

    def text(self, key: str) -> str:
        value = self._data.get(key)
        if not isinstance(value, str):
            raise self.fail(key, "a text")
        return value

    def optional(self, key: str, read: Callable[[str], Any]) -> Any:
        return None if self._data.get(key) is None else read(key)

    def number(self, key: str) -> float:
        value = self._data.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.fail(key, "a finite number")
        return float(value)

    def integer(self, key: str) -> int:
        value = self._data.get(key)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.fail(key, "a whole number")
        return value

    def interval(self, key: str) -> tuple[float, float]:
        value = self._data.get(key)
        if not isinstance(value, list) or len(value) != 2:
            raise self.fail(key, "a pair of numbers")
        pair = _Reader({"low": value[0], "high": value[1]}, f"{self.where}, {key}")
        return pair.number("low"), pair.number("high")

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._data.get(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.fail(key, "a list of texts")
        return tuple(value)

    def chosen(self, key: str, *allowed: Any) -> Any:
        if self._data.get(key) not in allowed:
            raise self.fail(key, " or ".join(map(repr, allowed)))
        return self._data[key]

    def object(self, key: str) -> _Reader:
        value = self._data.get(key)
        if not isinstance(value, dict):
            raise self.fail(key, "an object")
        return _Reader(value, f"{self.where}, {key}")

    def items(self, key: str) -> list[_Reader]:
        value = self._data.get(key)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.fail(key, "a list of objects")
        return [_Reader(item, f"{self.where}, {key}[{index}]") for index, item in enumerate(value)]

    def program(self, key: str) -> Program:
        value = self._data[key]
        try:
            return parse(value) if isinstance(value, str) else from_tree(value)
        except ProgramError as error:
            raise RunError(f"{self.where} holds a program that cannot be read: {error}") from None


def _run(reader: _Reader) -> RunSummary:
    return RunSummary(
        name=reader.text("name"),
        seed=reader.integer("seed"),
        n_generations=reader.integer("n_generations"),
        n_programs=reader.integer("n_programs"),
        seconds=reader.number("seconds"),
        primitive_set=reader.text("primitive_set"),
        benchmark=reader.text("benchmark"),
        provenance=reader.text("provenance"),
    )


def _task(reader: _Reader) -> Task:
    samples = {part: _sample(reader.object(part)) for part in PARTS}
    return Task(name=reader.text("name"), dataset=reader.text("dataset"), **samples)


def _sample(reader: _Reader) -> Sample:
    return Sample(reader.integer("n"), reader.text("split"), reader.optional("epochs", reader.integer))


def _entry(reader: _Reader, tasks: list[str]) -> Entry:
    program = reader.optional("tree", reader.program) or reader.optional("program", reader.program)
    if reader.optional("kind", reader.text) == "discovered" and program and program.digest != reader.text("id"):
        raise reader.fail("id", f"the digest of its program, {program.digest}")
    return Entry(
        id=reader.text("id"),
        name=reader.optional("name", reader.text),
        kind=reader.chosen("kind", "discovered", "published"),
        program=program,
        simplified=reader.optional("simplified", reader.program),
        direction=reader.chosen("direction", 1, -1),
        size=reader.optional("size", reader.integer),
        height=reader.optional("height", reader.integer),
        cost=reader.optional("cost", reader.number),
        generation=reader.optional("generation", reader.integer),
        operator=reader.optional("operator", reader.text),
        parents=reader.optional("parents", reader.texts) or (),
        is_pick=reader.chosen("is_pick", True, False),
        evolve=_measurements(reader, "evolve", tasks),
        select=_measurements(reader, "select", tasks),
        report=_measurements(reader, "report", tasks),
    )


def _measurements(reader: _Reader, part: str, tasks: list[str]) -> Mapping[str, Measurement]:
    by_task = reader.optional(part, reader.object)
    if by_task is None:
        return {}
    found = {task: by_task.optional(task, by_task.object) for task in tasks}
    return {task: _measurement(measured) for task, measured in found.items() if measured is not None}


def _measurement(reader: _Reader) -> Measurement:
    return Measurement(
        tau=reader.optional("tau", reader.number),
        rho=reader.optional("rho", reader.number),
        n=reader.integer("n"),
        n_failed=reader.integer("n_failed"),
        standard_error=reader.optional("standard_error", reader.number),
        tau_interval=reader.optional("tau_interval", reader.interval),
        rho_interval=reader.optional("rho_interval", reader.interval),
        reason=reader.optional("reason", reader.text),
    )


# --- showing ------------------------------------------------------------------------------------------------------


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


def tau_text(measured: Measurement | None) -> str:
    """``0.612 [0.571, 0.648]``; ``failed`` or a dash where there is no number."""
    if measured is None:
        return "-"
    if measured.tau is None:
        return "failed"
    if measured.tau_interval is None:
        return f"{measured.tau:.3f}"
    low, high = measured.tau_interval
    return f"{measured.tau:.3f} [{low:.3f}, {high:.3f}]"


def number_text(value: float | None) -> str:
    """Three decimals, or a dash."""
    return "-" if value is None else f"{value:.3f}"


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

"""What a run wrote along the way, read for its report: history, scores on held-out networks, failures, lineage."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eznas.errors import ProgramError, RunError
from eznas.programs import Program, parse
from eznas.runs.config import load_config
from eznas.runs.manifest import MANIFEST, Manifest

ACCURACY = "accuracy:"
MAX_ANCESTORS = 200


@dataclass(frozen=True, slots=True)
class History:
    """One number per generation in each array; NaN where an event does not say.

    Attributes:
        generation: index.
        best_correlation, front_size, hypervolume: of everything found up to then.
        n_evaluated, n_duplicates, n_invalid: programs of that generation: ranked or tried, refused as known, failed.
        seconds: wall-clock time of that generation.
    """

    generation: np.ndarray
    best_correlation: np.ndarray
    front_size: np.ndarray
    hypervolume: np.ndarray
    n_evaluated: np.ndarray
    n_duplicates: np.ndarray
    n_invalid: np.ndarray
    seconds: np.ndarray

    def __len__(self) -> int:
        return len(self.generation)


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores on the held-out networks.

    Attributes:
        accuracies: by sample, (n_networks,) percent; NaN for a network that is not in it.
        by_proxy: by id or published name, (n_networks,) in the direction of the proxy: higher is better; NaN where it
            failed.
    """

    accuracies: Mapping[str, np.ndarray]
    by_proxy: Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class FailedPrograms:
    """Programs that could not be ranked for one kind of reason.

    Attributes:
        kind: see `eznas.programs.FailureKind`; ``"unstated"`` if a record does not say.
        n: how many.
        example: the reason that most of them have, a clause.
    """

    kind: str
    n: int
    example: str


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A program from which the pick descends, or the pick itself."""

    id: str
    program: Program | None
    generation: int
    operator: str
    parents: tuple[str, ...]


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        RunError: if the file is missing, unreadable or holds anything else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"Cannot read {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise RunError(f"{path} is not valid JSON; the file is damaged, make it anew with eznas resume") from None
    if not isinstance(found, dict):
        raise RunError(f"{path} must hold a JSON object, got {type(found).__name__}; the file is damaged")
    return found


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects in a growing file, one a line; a torn last line is left out, a missing file is empty.

    Raises:
        RunError: if another line is damaged.
    """
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise RunError(f"Cannot read {path}: {error.strerror or error}") from None
    records = []
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise RunError(f"{path} is damaged: line {number} is not a JSON object; restore the file, or evolve anew")
        records.append(record)
    return records


def read_history(run_dir: Path) -> History:
    """The generations in ``events.jsonl``, in order; a repeated one (after a resume) counts once, as last written.

    Raises:
        RunError: if a line other than the last is damaged.
    """
    events = read_lines(run_dir / "events.jsonl")
    generations = [e for e in events if e.get("event") == "generation" and isinstance(e.get("generation"), int)]
    rows = {event["generation"]: event for event in generations}
    ordered = [rows[generation] for generation in sorted(rows)]
    return History(
        **{name: np.array([_number(row.get(name)) for row in ordered]) for name in History.__dataclass_fields__}
    )


def read_scores(run_dir: Path) -> Scores:
    """The table in ``report_scores.csv``; without columns if there is no such file.

    Raises:
        RunError: if a cell is neither a number nor empty, or a row has another length than the header.
    """
    path = run_dir / "report_scores.csv"
    if not path.is_file():
        return Scores({}, {})
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(header)
        arrays = {
            name: np.array([_cell(cell) for cell in column])
            for name, column in zip(header, columns, strict=True)
            if name != "network"
        }
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"{path} is damaged ({error}); make it anew with eznas resume") from None
    return Scores(
        {name.removeprefix(ACCURACY): array for name, array in arrays.items() if name.startswith(ACCURACY)},
        {name: array for name, array in arrays.items() if not name.startswith(ACCURACY)},
    )


def read_failures(run_dir: Path) -> tuple[FailedPrograms, ...]:
    """The programs in ``failures.jsonl`` by kind of failure, most frequent first.

    Raises:
        RunError: if a line other than the last is damaged.
    """
    reasons: dict[str, Counter[str]] = {}
    for record in read_lines(run_dir / "failures.jsonl"):
        kind = str(record.get("kind") or "unstated")
        reasons.setdefault(kind, Counter())[str(record.get("reason") or "no reason given")] += 1
    found = [FailedPrograms(kind, of.total(), min(of, key=lambda r: (-of[r], r))) for kind, of in reasons.items()]
    return tuple(sorted(found, key=lambda failed: (-failed.n, failed.kind)))


def read_lineage(run_dir: Path, program_id: str) -> tuple[Ancestor, ...]:
    """The program of that id and all its recorded ancestors, youngest first; empty if nothing is recorded.

    Raises:
        RunError: if a line of ``programs.jsonl`` other than the last is damaged, or an id is that of another program.
    """
    records = read_lines(run_dir / "programs.jsonl")
    by_id = {str(record.get("id")): record for record in records}
    found: dict[str, Ancestor] = {}
    pending = [program_id]
    while pending and len(found) < MAX_ANCESTORS:
        id_ = pending.pop(0)
        if id_ in found or id_ not in by_id:
            continue
        found[id_] = _ancestor(id_, by_id[id_])
        pending.extend(found[id_].parents)
    return tuple(sorted(found.values(), key=lambda a: (-a.generation, a.id != program_id, a.id)))


def read_manifest(run_dir: Path) -> Manifest | None:
    """The manifest; None if there is none.

    Raises:
        RunError: if it is damaged.
    """
    return Manifest.read(run_dir) if (run_dir / MANIFEST).is_file() else None


def read_settings(run_dir: Path, manifest: Manifest | None) -> str:
    """The text of ``config.toml``; empty if there is none.

    Raises:
        RunError: if it does not say what the manifest, if there is one, recorded.
        ConfigError: if there are no settings in it.
    """
    path = run_dir / "config.toml"
    if not path.is_file():
        return ""
    if manifest is not None:
        manifest.check_settings(load_config(path), run_dir)
    return path.read_text(encoding="utf-8", errors="replace")


def flattened(document: Mapping[str, Any], prefix: str = "") -> tuple[tuple[str, str], ...]:
    """Nested keys as dotted names with their values as text, for display; long lists are counted, not spelled out."""
    rows: list[tuple[str, str]] = []
    for key, value in document.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            rows.extend(flattened(value, f"{name}."))
        elif isinstance(value, list) and len(value) > 12:
            rows.append((name, f"{len(value):,} items"))
        else:
            rows.append((name, value if isinstance(value, str) else json.dumps(value)))
    return tuple(rows)


def _ancestor(id_: str, record: Mapping[str, Any]) -> Ancestor:
    try:
        program = parse(str(record.get("program")))
    except ProgramError:
        program = None
    if program is not None and program.digest != id_:
        raise RunError(
            f"programs.jsonl names a program {id_!r:.40} whose digest is {program.digest}; restore the file, or evolve "
            f"anew"
        )
    generation, parents = record.get("generation"), record.get("parents")
    return Ancestor(
        id_,
        program,
        generation if isinstance(generation, int) else 0,
        str(record.get("operator", "")),
        tuple(map(str, parents)) if isinstance(parents, list) else (),
    )


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _cell(text: str) -> float:
    return float(text) if text.strip() else math.nan

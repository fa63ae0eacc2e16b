"""What a run wrote along the way, read for its report: history, scores on held-out networks, failures, lineage."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from eznas.errors import RunError
from eznas.forms import MAX_BYTES
from eznas.names import one_line
from eznas.runs.config import load_config
from eznas.runs.folder import RunFolder
from eznas.runs.manifest import MANIFEST, Manifest
from eznas.runs.records import FailureRecord, GenerationSummary, ProgramRecord
from eznas.tables import csv_rows

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
        networks: (n_networks,) their texts.
    """

    accuracies: Mapping[str, np.ndarray]
    by_proxy: Mapping[str, np.ndarray]
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FailedPrograms:
    """Programs that could not be ranked for one kind of reason.

    Attributes:
        kind: see `eznas.programs.FailureKind`.
        n: how many.
        example: the reason that most of them have, a clause.
    """

    kind: str
    n: int
    example: str


def read_history(run_dir: Path) -> History:
    """The generations in ``events.jsonl``, in order; a repeated one (after a resume) counts once, as last written.

    Raises:
        RunError: if a line other than the last is damaged.
    """
    events = RunFolder(run_dir).read_lines(GenerationSummary, "events.jsonl")
    rows = {event.generation: event for event in events}
    ordered = [rows[generation].model_dump() for generation in sorted(rows)]
    return History(**{f.name: np.array([row[f.name] for row in ordered], dtype=float) for f in fields(History)})


def read_scores(run_dir: Path) -> Scores:
    """The table in ``report_scores.csv``; without columns if there is no such file.

    Raises:
        RunError: if a cell is neither a number nor empty, or a row has another length than the header.
    """
    path = run_dir / "report_scores.csv"
    if not path.is_file():
        return Scores({}, {})
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES} bytes")
        header, *rows = csv_rows(content.decode("utf-8")) or [[]]
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(header)
        arrays = {
            name: np.array([_cell(cell) for cell in column])
            for name, column in zip(header, columns, strict=True)
            if name != "network"
        }
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"{path} is damaged ({one_line(error)}); make it anew with eznas resume") from None
    return Scores(
        {name.removeprefix(ACCURACY): array for name, array in arrays.items() if name.startswith(ACCURACY)},
        {name: array for name, array in arrays.items() if not name.startswith(ACCURACY)},
        next((tuple(column) for name, column in zip(header, columns, strict=True) if name == "network"), ()),
    )


def read_failures(run_dir: Path) -> tuple[FailedPrograms, ...]:
    """The programs in ``failures.jsonl`` by kind of failure, most frequent first.

    Raises:
        RunError: if a line other than the last is damaged.
    """
    reasons: dict[str, Counter[str]] = {}
    for record in RunFolder(run_dir).read_lines(FailureRecord, "failures.jsonl"):
        reasons.setdefault(record.kind.value, Counter())[record.reason] += 1
    found = [FailedPrograms(kind, of.total(), min(of, key=lambda r: (-of[r], r))) for kind, of in reasons.items()]
    return tuple(sorted(found, key=lambda failed: (-failed.n, failed.kind)))


def read_lineage(run_dir: Path, program_id: str) -> tuple[ProgramRecord, ...]:
    """The program of that id and all its recorded ancestors, youngest first; empty if nothing is recorded.

    Raises:
        RunError: if a line of ``programs.jsonl`` other than the last is damaged, or an id is that of another program.
    """
    by_id = {record.id: record for record in RunFolder(run_dir).read_lines(ProgramRecord, "programs.jsonl")}
    found: dict[str, ProgramRecord] = {}
    pending = [program_id]
    while pending and len(found) < MAX_ANCESTORS:
        id_ = pending.pop(0)
        if id_ in found or id_ not in by_id:
            continue
        found[id_] = by_id[id_]
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


def _cell(text: str) -> float:
    return float(text) if text.strip() else math.nan

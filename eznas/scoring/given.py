"""Scores that were made elsewhere: columns of a CSV file, one row per network."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from eznas.errors import ArchitectureError, ConfigError
from eznas.names import one_line, shown, unknown
from eznas.spaces import Architecture, networks_named
from eznas.tables import csv_rows

NO_PROXY: Final = frozenset(("index", "network", "content", "failed", "seconds"))
"""Columns of a file of scores that hold no scores."""
_FORM: Final = "give a CSV with a column 'network' and one for each proxy, as eznas score --output writes it"


@dataclass(frozen=True, slots=True, eq=False)
class GivenScores:
    """One column of a file.

    Attributes:
        name: of the column.
        scores: by network; NaN where the field is empty or not finite: the proxy failed.
        kinds: of failures that the file states, by network.
    """

    name: str
    scores: Mapping[Architecture, float]
    kinds: Mapping[Architecture, str]


def names_file(text: str) -> bool:
    """Whether a proxy is named as ``FILE.csv`` or ``FILE.csv:COLUMN``."""
    return text.endswith(".csv") or ".csv:" in text


def read_given(text: str, architectures: Sequence[Architecture]) -> list[GivenScores]:
    """Scores of some networks from a file; rows of other networks are left out.

    Args:
        text: ``FILE.csv`` for all columns of scores, or ``FILE.csv:COLUMN``; a higher score predicts a higher accuracy.
        architectures: the networks, of one space.

    Raises:
        ConfigError: if the file cannot be read or is no such table, lacks the column, repeats a network, holds
            something that is no number, or scores none of the networks.
    """
    name, _, column = text.partition(".csv:")
    path = Path(f"{name}.csv" if column else text)
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            header, *rows = csv_rows(stream.read(), strict=True)
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        reason = "it is empty" if isinstance(error, ValueError) and "unpack" in str(error) else one_line(str(error))
        raise ConfigError(f"{path} cannot be read as a table of scores ({reason}); {_FORM}") from None
    columns = [title for title in header if title not in NO_PROXY]
    if "network" not in header or not columns or len(set(header)) != len(header):
        raise ConfigError(f"The header of {path} is {shown(', '.join(header))}; {_FORM}, each once")
    if column and column not in columns:
        raise ConfigError(f"{unknown('column', column, tuple(columns))} of {path}")
    known = {arch.spec: arch for arch in architectures}
    found: dict[Architecture, dict[str, str]] = {}
    for line, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise ConfigError(f"Line {line} of {path} has {len(row)} of {len(header)} fields; {_FORM}")
        fields = dict(zip(header, row, strict=True))
        arch = known.get(fields["network"]) or _named(fields["network"], architectures[0].space)
        if arch in found:
            raise ConfigError(f"Line {line} of {path} repeats network {shown(fields['network'])}; keep one row of each")
        if arch is not None and arch.spec in known:
            found[arch] = fields
    if not found:
        raise ConfigError(
            f"None of the {len(rows):,} networks of {path} is one of the benchmark's; score networks of that benchmark"
        )
    return [_column(path, title, found) for title in columns if column in ("", title)]


def _named(text: str, space: str) -> Architecture | None:
    """The network of a text in another form than the benchmark's; None if it is none of the space."""
    if space == "python":
        return None
    try:
        found = networks_named(text if text.startswith(f"{space}:") else f"{space}:{text}")
    except ArchitectureError:
        return None
    return found[0] if len(found) == 1 else None


def _column(path: Path, title: str, rows: Mapping[Architecture, Mapping[str, str]]) -> GivenScores:
    scores, kinds = {}, {}
    for arch, fields in rows.items():
        try:
            scores[arch] = float(fields[title]) if fields[title].strip() else math.nan
        except ValueError:
            raise ConfigError(
                f"{path} must hold a number or nothing under {shown(title)}, but for network {shown(arch.spec)} it "
                f"holds {shown(fields[title])}; correct it"
            ) from None
        if not math.isfinite(scores[arch]):
            for part in fields.get("failed", "").split(";"):
                proxy, _, kind = part.partition(": ")
                if proxy == title and kind:
                    kinds[arch] = kind[:200]
    return GivenScores(title, scores, kinds)

"""Gzip-compressed CSV tables with a header, as the files of a data folder are: read whole, within a limit of size."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from eznas import tables
from eznas.errors import BenchmarkError
from eznas.files import is_file
from eznas.location import DATA_VARIABLE, data_folder
from eznas.names import one_line, shown

MAX_BYTES: Final = 256 * 2**20
"""Largest table that is read, decompressed."""
REMEDY: Final = "replace it by an intact copy"


@dataclass(frozen=True, slots=True)
class CsvTable:
    """A table as it was read.

    Attributes:
        path: of the file.
        header: names of the columns.
        rows: the fields of each row, as many as the header has.
    """

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def texts(self, name: str) -> list[str]:
        """The fields of one column."""
        field = self.header.index(name)
        return [row[field] for row in self.rows]

    def accuracies(self, name: str, *, are_fractions: bool = False) -> npt.NDArray[np.float64]:
        """(n_rows,) accuracies of one column in percent; `are_fractions` if the file holds them in 0..1.

        Raises:
            BenchmarkError: if a field is not a number in this range.
        """
        texts = self.texts(name)
        values = _numbers(texts)
        top = 1.0 if are_fractions else 100.0
        wrong = np.flatnonzero(~((values >= 0.0) & (values <= top)))
        if wrong.size:
            raise BenchmarkError(
                f"Column {name} of {self.path} must hold {'fractions' if are_fractions else 'percentages'} in "
                f"0..{top:g}, but row {wrong[0]} has {shown(texts[wrong[0]])}; {REMEDY}."
            )
        return values * 100.0 if are_fractions else values

    def seconds(self, name: str) -> npt.NDArray[np.float64]:
        """(n_rows,) training times of one column, each a positive number.

        Raises:
            BenchmarkError: if a field is not.
        """
        texts = self.texts(name)
        values = _numbers(texts)
        wrong = np.flatnonzero(~((values > 0.0) & np.isfinite(values)))
        if wrong.size:
            raise BenchmarkError(
                f"Column {name} of {self.path} must hold positive numbers of seconds, but row {wrong[0]} has "
                f"{shown(texts[wrong[0]])}; {REMEDY}, or leave the column out."
            )
        return values


def file_of_folder(file: str, data_dir: Path | None, what: str) -> Path:
    """A file that only a data folder can have.

    Args:
        file: its name.
        data_dir: the folder; None means ``EZNAS_DATA`` of the environment.
        what: is read from it, as the beginning of a sentence.

    Raises:
        BenchmarkError: if no folder is named or it does not exist.
    """
    folder = data_folder(data_dir)
    if folder is None:
        raise BenchmarkError(
            f"{what} are read from a data folder, but none is named; set {DATA_VARIABLE} to a folder that has {file}."
        )
    return folder / file


def read_csv_table(path: Path, needed: Sequence[str], absent: str) -> CsvTable:
    """The table in a file.

    Args:
        path: of the file.
        needed: columns that it must have.
        absent: what to do where the file is absent, as the end of a sentence.

    Raises:
        BenchmarkError: if the file is missing, damaged, too large, or lacks columns, rows or fields.
    """
    if not is_file(path):
        raise BenchmarkError(f"The data folder {str(path.parent)!r} lacks {path.name}; {absent}.")
    try:
        with gzip.open(path, "rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"it holds more than {MAX_BYTES} bytes")
        text = content.decode("utf-8")
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise _unreadable(path, error) from error
    return csv_rows(path, text, needed)


def csv_rows(path: Path, text: str, needed: Sequence[str]) -> CsvTable:
    """The table in a text.

    Raises:
        BenchmarkError: as `read_csv_table`.
    """
    try:
        lines = tables.csv_rows(text, strict=True)
        if not lines:
            raise ValueError("it is empty")
    except (csv.Error, ValueError) as error:
        raise _unreadable(path, error) from error
    header, rows = tuple(lines[0]), tuple(map(tuple, lines[1:]))
    missing = [name for name in needed if name not in header]
    if missing:
        names = one_line(", ".join(header))
        raise BenchmarkError(f"The header of {path} lacks {', '.join(missing)}; it has {names}; {REMEDY}.")
    for position, row in enumerate(rows):
        if len(row) != len(header):
            raise BenchmarkError(
                f"Row {position} of {path} must have {len(header)} fields, but it has {len(row)}; {REMEDY}."
            )
    return CsvTable(path, header, rows)


def _unreadable(path: Path, error: Exception) -> BenchmarkError:
    return BenchmarkError(f"{path} cannot be read as a gzip-compressed CSV table ({one_line(error)}); {REMEDY}.")


def _numbers(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """(n,) numbers, NaN where there is none."""
    values = np.empty(len(texts))
    for position, text in enumerate(texts):
        try:
            values[position] = float(text)
        except ValueError:
            values[position] = np.nan
    return values

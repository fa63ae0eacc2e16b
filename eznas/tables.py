"""Small tables for the terminal and for programs: text, JSON or CSV of the same rows.

A cell of text that a spreadsheet would take for a formula (it begins with ``=``, ``+``, ``-``, ``@``, a tab or a
carriage return, and is no number) is written with an apostrophe before it, and `plain` takes that away again. So what
a network or a data set is called is never run by whoever opens the file.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from eznas.names import printable

_FORMULA: Final = re.compile(r"'*[=+\-@\t\r]")
LONGEST_WORD: Final = 20
"""Characters up to which a word in a table is not broken, in a terminal that has room for the columns at all."""
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?(?:inf|nan)")


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Rows as CSV: None is an empty cell, and text that looks like a formula is made inert."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    quoting = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)  # the other leaves "\r" without quotes
    for row in rows:
        cells = ["" if cell is None else _inert(cell) for cell in row]
        (quoting if any(isinstance(cell, str) and "\r" in cell for cell in cells) else writer).writerow(cells)
    return out.getvalue()


def csv_rows(text: str, *, strict: bool = False) -> list[list[str]]:
    """The rows that `csv_text` wrote.

    Raises:
        csv.Error: if it is no CSV; with `strict`, of quotes that do not match too.
    """
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=strict))
    return [[plain(cell) for cell in row] for row in rows] if "'" in text else rows


def _inert(cell: object) -> object:
    is_formula = isinstance(cell, str) and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell)
    return f"'{cell}" if is_formula else cell


def plain(cell: str) -> str:
    """What a cell said before `csv_text` made it inert; any other cell as it is."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def render_table(rows: Sequence[Mapping[str, Any]], form: str, *, width: int = 120) -> str:
    """Rows with equal keys as ``"table"``, ``"json"`` (full precision) or ``"csv"``; printable, whatever cells hold."""
    if form == "json":
        return json.dumps([dict(row) for row in rows], indent=1) + "\n"
    if form == "csv":
        return printable(csv_text([list(rows[0]) if rows else [], *(row.values() for row in rows)]))
    out = io.StringIO()
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    header = {printable(key, keep=""): value for key, value in (rows[0] if rows else {}).items()}
    cells = [[_cell(value) for value in row.values()] for row in rows]
    columns = zip(*([*header], *cells), strict=True)
    least = [min(LONGEST_WORD, max(map(len, " ".join(column).split()), default=1)) for column in columns]
    room = width - sum(least)  # beside words that are whole
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1) if room >= 3 * len(least) else (0, 1, 0, 0))
    for size, (key, value) in zip(least, header.items(), strict=True):
        side: Literal["left", "right"] = "right" if isinstance(value, int | float) else "left"
        table.add_column(key, justify=side, overflow="fold", min_width=size if room >= 2 * len(least) else None)
    for row in cells:
        table.add_row(*map(Text, row))
    Console(file=out, width=width, color_system=None, legacy_windows=False, force_jupyter=False).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().strip("\n").splitlines()) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else printable(str(value))

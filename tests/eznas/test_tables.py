"""Tables: what is called like a formula is not run by a spreadsheet, and read back as it was; numbers stay numbers."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eznas.tables import csv_rows, csv_text, render_table

CELLS = st.text("'=+-@\t\r\n,\"a1.e\u202e\x1b ", max_size=8)
FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "'=1", "-", '=HYPERLINK("x")', "-1e"]


@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=5))
def test_rows_are_read_back_as_they_were(rows: list[list[str]]) -> None:
    assert csv_rows(csv_text(rows)) == rows


@pytest.mark.parametrize("cell", FORMULAS)
def test_no_cell_is_a_formula(cell: str) -> None:
    ((written,),) = csv.reader(io.StringIO(csv_text([[cell]]), newline=""))
    assert written == f"'{cell}"


@pytest.mark.parametrize("cell", [-1.5, -3, "-0.25", "+1e-3", "-inf", "nan", "1.", "it's", "'quoted'", "a=b", ""])
def test_numbers_and_plain_words_stay_as_they_are(cell: object) -> None:
    (written,) = csv.reader(io.StringIO(csv_text([[cell, None]]), newline=""))
    assert written == [str(cell), ""]


def test_what_a_terminal_is_sent_is_printable() -> None:
    rows = [{"na\x1bme": "a\x1b[2Jb\x9b\u202e", "tau": -0.5, "of": "=x"}]
    for form in ("table", "csv"):
        shown = render_table(rows, form)
        assert all(c.isprintable() or c == "\n" for c in shown)
        assert r"a\x1b[2Jb\x9b\u202e" in shown
    assert json.loads(render_table(rows, "json")) == rows
    assert csv_rows(render_table([{"of": "=x", "tau": -0.5}], "csv")) == [["of", "tau"], ["=x", "-0.5"]]


def test_words_are_whole_where_there_is_room() -> None:
    row = {"sample": "python", "networks": 20, "report": "all, cross-fitted", "accuracies": "of a split not stated"}
    for width in (44, 60, 120):
        shown = render_table([row], "table", width=width)
        assert max(map(len, shown.splitlines())) <= width
        for word in " ".join([*row, *map(str, row.values())]).split():
            assert word in shown, (width, word)
    narrow = render_table([row], "table", width=24)
    assert max(map(len, narrow.splitlines())) <= 24

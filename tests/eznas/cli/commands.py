"""Commands in this process: what they print, and the one sentence of those that fail."""

from __future__ import annotations

import pytest

from eznas.cli import main

Capsys = pytest.CaptureFixture[str]
OUTSIDE = "nb201:random:20:9"
"""Networks outside the tiny run."""
FEW = ["--quiet", "--set", "report.baseline_batch_size=4"]


def printed(capsys: Capsys, *arguments: str) -> str:
    """What a command writes to stdout; it must succeed, and say nothing on stderr."""
    assert main([*arguments]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


def complaint(capsys: Capsys, status: int, *arguments: str) -> str:
    """The one sentence a failing command writes to stderr; stdout stays empty."""
    assert main([*arguments]) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.startswith("error: ")
    assert "internal error" not in line
    assert len(line) < 700
    return line

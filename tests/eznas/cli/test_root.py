"""The command line as a whole: help and version without heavy imports, tracebacks on request."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from eznas.cli import main
from tests.eznas.cli.commands import Capsys

pytestmark = pytest.mark.usefixtures("embedded_data")
HEAVY = {"torch", "ray", "pandas", "numpy", "scipy", "sympy", "sklearn", "matplotlib", "deap", "jinja2"}
IMPORTED = """
import sys
from eznas.cli import app, main
commands = [command.callback.__name__ for command in app.registered_commands]
statuses = [main(["--help"]), main(["--version"]), *(main([command, "--help"]) for command in commands)]
print("\\n", *statuses, file=sys.stderr)
print(*{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""


def test_help_and_version_import_nothing_heavy() -> None:
    """Of no command: so they come at once."""
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=False, timeout=120)
    *_, statuses, imported = done.stderr.splitlines()
    assert len(statuses.split()) > 12
    assert set(statuses.split()) == {"0"}
    assert done.stdout.count("Usage") == len(statuses.split()) - 1
    assert "--run-dir" in done.stdout
    assert re.search(r"^\d+\.\d+\.\d+$", done.stdout, re.MULTILINE)
    assert "typer" in imported.split()
    assert not set(imported.split()) & HEAVY


def test_without_a_command_the_help_is_shown(capsys: Capsys) -> None:
    assert main([]) == 2
    shown = capsys.readouterr()
    assert "Usage" in shown.out + shown.err
    assert "error" not in shown.err


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    from eznas.errors import RunError

    with pytest.raises(RunError):
        main(["front", str(tmp_path), "--debug"])

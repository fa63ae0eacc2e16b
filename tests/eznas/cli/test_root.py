"""The command line as a whole: help and version without heavy imports, tracebacks on request."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from eznas.cli import app, main
from tests.eznas.cli.commands import Capsys, complaint

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
    assert done.stdout.count("Usage: eznas ") == len(statuses.split()) - 1
    assert "--run-dir" in done.stdout
    assert re.search(r"^\d+\.\d+\.\d+$", done.stdout, re.MULTILINE)
    assert "typer" in imported.split()
    assert not set(imported.split()) & HEAVY


@pytest.mark.parametrize("module", ["eznas", "eznas.cli"])
def test_modules_are_the_command(module: str) -> None:
    """Its name in the help is that of the command, however it is started; so is its status."""
    start = [sys.executable, "-m", module]
    helped = subprocess.run([*start, "front", "-h"], capture_output=True, text=True, check=False, timeout=120)
    assert helped.returncode == 0, helped.stderr
    assert helped.stdout.split()[:3] == ["Usage:", "eznas", "front"]
    assert subprocess.run([*start, "fronts"], capture_output=True, check=False, timeout=120).returncode == 2


def all_commands(command: Any, name: str = "eznas") -> Iterator[tuple[str, Any]]:
    """Every command by its full name."""
    if not hasattr(command, "commands"):
        yield name, command
    for word, inner in getattr(command, "commands", {}).items():
        yield from all_commands(inner, f"{name} {word}")


COMMANDS = dict(all_commands(typer.main.get_command(app)))


def example_of(name: str) -> str:
    """The example in the help of a command."""
    (line,) = [line.strip() for line in COMMANDS[name].help.splitlines() if line.strip().startswith("Example: ")]
    return str(line).removeprefix("Example: ")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_an_example_that_is_understood(name: str) -> None:
    """Nothing runs: the command of the example is this one, and takes its arguments."""
    words = shlex.split(example_of(name))
    n_words = len(name.split())
    assert words[:n_words] == name.split()
    COMMANDS[name].make_context(name, words[n_words:])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_begins_with_a_sentence_and_explains_its_options(name: str) -> None:
    first, *_ = COMMANDS[name].help.split("\n\n")
    assert " ".join(first.split()).endswith(".")
    shown = [one for one in COMMANDS[name].params if not getattr(one, "hidden", False) and one.name != "help"]
    assert [one.name for one in shown if not getattr(one, "help", None)] == []


def test_without_a_command_the_help_is_shown(capsys: Capsys) -> None:
    assert main([]) == 2
    shown = capsys.readouterr()
    assert "Usage" in shown.out + shown.err
    assert "error" not in shown.err


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    from eznas.errors import RunError

    with pytest.raises(RunError):
        main(["front", str(tmp_path), "--debug"])


ON_A_DEVICE = (
    "score naswot --networks nb201:random:2", "assess naswot --benchmark nb201", "nas score --proxy naswot",
    "benchmark build --space net:residual", "bank build", "oneshot train", "evolve", "evolve --seeds 2",
    "badges naswot", "aggregate jacob_cov+snip --reference nb201:random:3", "resume RUN",
    "extend RUN",
)  # fmt: skip


def test_every_command_that_takes_a_device_is_tested() -> None:
    def taking(command: Any, name: str) -> set[str]:
        inner = getattr(command, "commands", {})
        here = {name} if any(p.name == "device" for p in command.params) else set()
        return here.union(*(taking(one, f"{name} {word}".strip()) for word, one in inner.items()))

    every = taking(typer.main.get_command(app), "")
    tested = {name for name in every if any(f"{command} ".startswith(f"{name} ") for command in ON_A_DEVICE)}
    assert every - tested == {"init"}, "which tells it among all problems, see test_starting"


@pytest.mark.parametrize("command", ON_A_DEVICE)
@pytest.mark.parametrize("device", ["tpu", "cuda"])
def test_a_device_that_is_not_there_is_refused_at_once(
    command: str, device: str, tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "--device" in complaint(capsys, 2, *command.split(), "--device", device, "--quiet")
    assert list(tmp_path.iterdir()) == []

"""Foreign code prints to stderr, moves only itself, and may not end the program."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eznas.cli import main
from eznas.guests import guest
from tests.eznas.cli.commands import Capsys

pytestmark = pytest.mark.usefixtures("embedded_data")
ZOO = """
import os, sys
from torch import nn
print("imported")
os.makedirs("elsewhere", exist_ok=True)
os.chdir("elsewhere")
open("here", "w").close()

class Loud(nn.Sequential):
    def forward(self, x):
        print("passing")
        return super().forward(x)

def net(width):
    print("made")
    open("here").close()  # where it moved to
    return Loud(nn.Conv2d(3, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))

def networks():
    print("called")
    open("here").close()
    return [("a", lambda: net(4)), ("b", lambda: net(8))]

def leaves():
    sys.exit(0)

def builds():
    return [("a", lambda: sys.exit(3)), ("b", lambda: net(8))]

class Leaver(Loud):
    def forward(self, x):
        sys.exit()

def passes():
    return [("a", Leaver(nn.Conv2d(3, 4, 3))), ("b", net(8))]

def images():
    print("images")
    sys.exit(4)
"""


@pytest.fixture(autouse=True)
def first_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody was here before."""
    monkeypatch.setattr("eznas.guests._moved", [])


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that does all that."""
    name = f"loud_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(ZOO)
    monkeypatch.chdir(tmp_path)
    return f"python:{name}"


def test_results_stand_alone_and_paths_stay_ours(zoo: str, tmp_path: Path, capsys: Capsys) -> None:
    command = ["score", "parameter_count,naswot", "--networks", f"{zoo}:networks"]
    assert main([*command, "--format", "csv"]) == 0
    shown = capsys.readouterr()
    header, *rows = shown.out.splitlines()
    assert header.startswith("index,network,")
    assert len(rows) == 2
    for said in ("imported", "called", "made", "passing"):
        assert said in shown.err
    assert Path.cwd() == tmp_path
    assert main([*command, "--output", "o.csv"]) == 0
    assert (tmp_path / "o.csv").is_file()
    assert not (tmp_path / "elsewhere" / "o.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--networks", "{zoo}:leaves"), "raised SystemExit"),
        (("--networks", "nb201:0", "--set", "probe.images={zoo}:images"), "failed with SystemExit: 4"),
    ],
)
def test_the_end_of_the_program_is_one_sentence(
    zoo: str, arguments: tuple[str, ...], said: str, capsys: Capsys
) -> None:
    assert main(["score", "naswot", *(a.format(zoo=zoo) for a in arguments)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = [line for line in shown.err.splitlines() if line.startswith("error: ")]
    assert said in line


@pytest.mark.parametrize("function", ["builds", "passes"])
def test_a_network_that_ends_the_program_is_a_failure_of_its_own(zoo: str, function: str, capsys: Capsys) -> None:
    assert main(["score", "naswot,synflow", "--networks", f"{zoo}:{function}"]) == 0
    shown = capsys.readouterr()
    assert "exit" in shown.err.lower()
    assert "b" in shown.out


def test_a_guest_that_removes_its_folder_or_raises_leaves_us_where_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gone").mkdir()

    @guest()
    def goes() -> None:
        os.chdir("gone")
        raise KeyError

    with pytest.raises(KeyError):
        goes()
    (tmp_path / "gone").rmdir()
    with guest():
        assert Path.cwd() == tmp_path
    assert Path.cwd() == tmp_path

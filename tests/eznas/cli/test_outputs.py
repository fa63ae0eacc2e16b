"""Files that commands write: links are followed, devices are written through, trouble is one sentence."""

from __future__ import annotations

import os
import termios
import threading
from pathlib import Path

import pytest

from eznas.cli import main
from eznas.cli.options import say
from tests.eznas.cli.commands import Capsys, complaint

pytestmark = pytest.mark.usefixtures("embedded_data")


def test_an_output_that_cannot_be_written_is_one_sentence(tiny_run: Path, tmp_path: Path, capsys: Capsys) -> None:
    (tmp_path / "file").touch()
    for command in OUTPUTS.values():
        arguments = [str(tiny_run) if word == "RUN" else word for word in command]
        for bad, remedy in ((tmp_path, "it is a folder; give the name"), (tmp_path / "file" / "x", "give another")):
            line = complaint(capsys, 1, *arguments, str(bad))
            assert line.startswith(f"error: Cannot write {bad}: ")
            assert remedy in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


OUTPUTS = {
    "report": ["report", "RUN", "-o"],
    "front": ["front", "RUN", "--figure"],
    "export": ["export", "RUN", "-o"],
    "aggregate": ["aggregate", "mac_count+parameter_count", "--reference", "nb201:6111,1651", "--quiet", "-o"],
    "score": ["score", "mac_count", "--networks", "nb201:6111,1651", "--quiet", "-o"],
}


@pytest.mark.parametrize("command", OUTPUTS.values(), ids=OUTPUTS)
def test_an_output_follows_links_and_goes_through_devices(
    tiny_run: Path, tmp_path: Path, capsys: Capsys, command: list[str]
) -> None:
    arguments = [str(tiny_run) if word == "RUN" else word for word in command]
    link, target = tmp_path / "link", tmp_path / "there" / "file"
    link.symlink_to(target)
    for _ in range(2):  # new, and there already
        assert main([*arguments, str(link)]) == 0
        assert str(link) in "".join(capsys.readouterr())
    assert link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "there"], "settings lie beside the file itself"
    content = target.read_text()
    assert content
    control, terminal = os.openpty()
    device = Path(os.ttyname(terminal))
    attributes = termios.tcgetattr(terminal)
    attributes[1] = 0  # bytes as they are written
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)
    shown: list[bytes] = []
    reader = threading.Thread(target=lambda: shown.extend(iter(lambda: _read(control), b"")), daemon=True)
    reader.start()
    try:
        if command[0] == "score":
            line = complaint(capsys, 1, *arguments, str(device))
            assert "is no regular file, and scores are written so that a later command can go on" in line
            assert "leave out --output" in line
        else:
            assert main([*arguments, str(device)]) == 0
            assert str(device) not in "".join(capsys.readouterr())
        assert device.is_char_device()
    finally:
        os.close(terminal)
        reader.join(10)
        os.close(control)
    assert b"".join(shown).decode() == ("" if command[0] == "score" else content)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # how a terminal ends
        return b""


def test_sentences_on_a_terminal_are_broken_between_words(monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    """But no command at the end of one, which is to be copied; elsewhere a sentence is one line."""
    command = "eznas resume 'a run' --device cuda"
    text = f"Stopped; everything up to generation 12 is saved, and what was captured. Go on with: {command}"
    say(text, err=True)
    assert capsys.readouterr().err == f"{text}\n"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    say(text, err=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 2
    assert max(map(len, lines)) <= 40
    assert lines[-1].endswith(command)
    assert " ".join(lines) == text

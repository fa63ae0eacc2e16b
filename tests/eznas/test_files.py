"""Outputs: a regular file is replaced as a whole, a link is followed, anything else is written through."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eznas.errors import OutputError
from eznas.files import is_replaceable, replace_file, write_output

WRITE = "import sys; from pathlib import Path; from eznas.files import *; write_output(Path(sys.argv[1]), sys.argv[2])"


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o644)])
def test_a_new_file_has_the_permissions_of_one(tmp_path: Path, mask: int, mode: int) -> None:
    with umask(mask):
        write_output(tmp_path / "new" / "file", "text")
    assert stat.S_IMODE((tmp_path / "new" / "file").stat().st_mode) == mode
    assert (tmp_path / "new" / "file").read_text() == "text"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_file_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(mode)
    before = path.stat()
    write_output(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.stat().st_ino != before.st_ino, "a reader has the old one or the new one"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "there").mkdir()
    target = tmp_path / "there" / "file"
    if exists:
        target.write_text("old")
        target.chmod(0o600)
    (tmp_path / "second").symlink_to("there/file")
    (tmp_path / "first").symlink_to(tmp_path / "second")
    write_output(tmp_path / "first", "new")
    assert os.readlink(tmp_path / "first") == str(tmp_path / "second")
    assert os.readlink(tmp_path / "second") == "there/file"
    assert target.read_text() == "new"
    assert not exists or stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(os.listdir(tmp_path)) == ["first", "second", "there"]
    assert os.listdir(tmp_path / "there") == ["file"]


def test_a_pipe_is_written_through(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)
    for name in ("pipe", "link"):
        read: list[str] = []
        reader = threading.Thread(target=lambda into=read: into.append(pipe.read_text()), daemon=True)
        reader.start()
        write_output(tmp_path / name, "text")
        reader.join(10)
        assert read == ["text"]
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    assert (tmp_path / "link").is_symlink()


def test_a_device_is_written_through(tmp_path: Path) -> None:
    control, terminal = os.openpty()
    device = Path(os.ttyname(terminal))
    (tmp_path / "link").symlink_to(device)
    for path in (device, tmp_path / "link"):
        write_output(path, "text")
        assert os.read(control, 100) == b"text"
        assert stat.S_ISCHR(device.lstat().st_mode)
        assert not is_replaceable(path)
    os.close(control)
    os.close(terminal)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_stdout_goes_on_where_it_is(tmp_path: Path, name: str) -> None:
    """Redirected to the end of a file, it is neither replaced nor cut off."""
    log = tmp_path / "log"
    log.write_text("before\n")
    (tmp_path / "link").symlink_to("/dev/stdout")
    path = str(tmp_path / "link") if name == "link" else name
    inode = log.stat().st_ino
    code = f"print('first'); {WRITE}; print('last')"
    with log.open("ab") as file:
        subprocess.run([sys.executable, "-c", code, path, "text\n"], stdout=file, cwd=Path.cwd(), check=True)
    assert log.read_text() == "before\nfirst\ntext\nlast\n"
    assert log.stat().st_ino == inode
    done = subprocess.run([sys.executable, "-c", code, path, "text\n"], stdout=-1, cwd=Path.cwd(), check=True)
    assert done.stdout == b"first\ntext\nlast\n"


def test_process_substitution_is_written_through(tmp_path: Path) -> None:
    command = f"{sys.executable} -c {WRITE!r} >(tr a-z A-Z > {tmp_path / 'file'}) text; wait $!"
    subprocess.run(["bash", "-c", command], cwd=Path.cwd(), check=True)
    assert (tmp_path / "file").read_text() == "TEXT"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("folder", "Cannot write {}: it is a folder; give the name of a file"),
        ("file/x", "Cannot write {}: Not a directory; a part of the path is a file; give another name"),
        ("file/x/y", "Cannot write {}: Not a directory; a part of the path is a file; give another name"),
        ("circle", "Cannot write {}: Too many levels of symbolic links; its symbolic links lead round in a circle; "
                   "give another name"),
        ("x" * 300, "Cannot write {}: File name too long; give a shorter name"),
        ("/proc/nowhere/file", "Cannot write {}: No such file or directory; make the folder first, or give another "
                               "name"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_one_sentence_with_a_remedy(tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OutputError) as caught:
        write_output(tmp_path / name, "text")
    assert str(caught.value) == str(OutputError(sentence.format(tmp_path / name)))  # its middle left out where too long
    assert sorted(os.listdir(tmp_path)) == ["circle", "file", "folder"]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "No space left on device; free space or choose another place"),
        (errno.EDQUOT, "Disk quota exceeded; free space or choose another place"),
        (errno.EACCES, "Permission denied; choose another place, or change its permissions"),
        (errno.EROFS, "Read-only file system; choose another place"),
        (errno.EIO, "Input/output error; choose another place"),
    ],
)
def test_the_remedy_fits_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / "file").write_text("old")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OutputError) as caught:
        write_output(tmp_path / "file", "new")
    assert str(caught.value) == f"Cannot write {tmp_path / 'file'}: {remedy}"
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"], "no temporary file stays"


def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("old")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may everything
    with pytest.raises(PermissionError):
        replace_file(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "old"


def test_an_interruption_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        replace_file(tmp_path / "file", "text")
    assert os.listdir(tmp_path) == []

"""A run folder is never half-written: growing files lose at most a torn tail, rewritten files are old or new."""

from __future__ import annotations

import errno
import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eznas.errors import RunError
from eznas.forms import Form
from eznas.runs import RunFolder
from eznas.runs.manifest import Manifest


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run")


@contextmanager
def full_disk(n_bytes: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: the system itself refuses, in the middle of a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Line(Form):
    """What these files hold."""

    text: str


def files(folder: RunFolder) -> set[str]:
    return {path.name for path in folder.path.iterdir() if path.is_file()}


def test_a_run_begins_in_a_new_or_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "new" / "deep"):
        assert (RunFolder.create(path).path / "checkpoints").is_dir()
    with pytest.raises(RunError, match="is not empty; give another --run-dir, or use eznas resume"):
        RunFolder.create(tmp_path)


def test_a_run_that_was_killed_before_its_manifest_is_taken_over(tmp_path: Path) -> None:
    """Whenever that was; a folder with anything else in it is somebody's."""
    run = tmp_path / "run"
    for left in ((), (".lock",), ("config.toml", f".{'0a' * 8}.temporary")):
        folder = RunFolder.create(run)
        for name in left:
            (run / name).write_text("x")
    RunFolder.create(run)
    assert {path.name for path in run.iterdir()} == {"checkpoints", "config.toml", ".lock"}
    for more in ("programs.jsonl", "checkpoints/000001.json", "mine.txt", "manifest.json"):
        (run / more).write_text("x")
        with pytest.raises(RunError, match="is not empty"):
            RunFolder.create(run)
        (run / more).unlink()
    (tmp_path / "settings").mkdir()
    (tmp_path / "settings" / "config.toml").write_text("seed = 1")
    with pytest.raises(RunError, match="is not empty"):
        RunFolder.create(tmp_path / "settings")
    assert folder == RunFolder(run)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunError, match=f"Cannot create run folder {path}: "):
            RunFolder.create(path)


def test_opening_asks_for_a_manifest_of_this_version(folder: RunFolder, tmp_path: Path) -> None:
    for path in (folder.path, tmp_path / "nowhere"):
        with pytest.raises(RunError, match=r"is not a run folder: it has no manifest\.json; eznas evolve makes one"):
            RunFolder.open(path)
    folder.replace("manifest.json", Manifest().model_dump_json())
    assert RunFolder.open(folder.path) == folder
    for manifest in ({"format": "eznas-run", "version": 3}, {"format": "other", "version": 2}, {}):
        folder.replace("manifest.json", json.dumps(manifest))
        with pytest.raises(RunError, match="this release reads eznas-run version 2: use the release that"):
            RunFolder.open(folder.path)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000, b""])
def test_what_is_not_json_is_damaged(folder: RunFolder, content: bytes) -> None:
    (folder.path / "manifest.json").write_bytes(content)
    with pytest.raises(RunError, match=r"manifest\.json is not valid JSON; the file is damaged"):
        RunFolder.open(folder.path)


def test_json_of_another_kind_is_damaged(folder: RunFolder) -> None:
    folder.replace("manifest.json", "[]")
    with pytest.raises(RunError, match=r"must hold a JSON object, got \[\]; the file is damaged"):
        RunFolder.open(folder.path)


def test_one_writer_at_a_time(folder: RunFolder) -> None:
    with folder.writing(), pytest.raises(RunError, match="is being written by another process"), folder.writing():
        pass
    with folder.writing():
        pass  # and free again afterwards


def test_lines_are_appended_and_their_size_told(folder: RunFolder) -> None:
    records = [Line(text="a"), Line(text="ö\n")]
    sizes = [folder.append("events.jsonl", [record]) for record in records]
    assert sizes[1] == (folder.path / "events.jsonl").stat().st_size == folder.append("events.jsonl", [])
    assert folder.read_lines(Line, "events.jsonl") == records
    assert folder.read_lines(Line, "events.jsonl", sizes[0]) == records[:1]
    assert folder.read_lines(Line, "nothing.jsonl") == []


def test_a_torn_tail_is_left_out_and_cut_off(folder: RunFolder) -> None:
    size = folder.append("events.jsonl", [Line(text="a")])
    with (folder.path / "events.jsonl").open("a") as file:
        file.write('{"b": ')
    assert folder.read_lines(Line, "events.jsonl") == [Line(text="a")]
    folder.truncate("events.jsonl", size)
    folder.append("events.jsonl", [Line(text="c")])
    assert folder.read_lines(Line, "events.jsonl") == [Line(text="a"), Line(text="c")]


def test_a_growing_file_is_read_by_lines_of_a_bounded_length(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Line(text="a" * 50).model_dump_json()
    monkeypatch.setattr("eznas.forms.MAX_LINE_BYTES", len(line))
    (folder.path / "events.jsonl").write_text(f"{line}\n{line}\n")
    assert len(folder.read_lines(Line, "events.jsonl")) == 2
    longer = line.replace("aa", "aaa", 1)
    (folder.path / "events.jsonl").write_text(f"{line}\n{longer}\n{line}\n")
    with pytest.raises(RunError, match=rf"events\.jsonl, line 2 has more than {len(line)} bytes"):
        folder.read_lines(Line, "events.jsonl")


@pytest.mark.parametrize("line", ["{", "5", "[" * 100_000])
def test_a_damaged_line_is_an_error(folder: RunFolder, line: str) -> None:
    (folder.path / "events.jsonl").write_text(f'{line}\n{{"text":"a"}}\n')
    with pytest.raises(
        RunError, match=r"events\.jsonl, line 1 (is not valid JSON|must hold a JSON object, got 5); the file is damaged"
    ):
        folder.read_lines(Line, "events.jsonl")


def test_a_file_shorter_than_its_checkpoint_says_is_an_error(folder: RunFolder) -> None:
    size = folder.append("events.jsonl", [Line(text="a")])
    with pytest.raises(RunError, match=f"has {size} bytes, expected {size + 1}"):
        folder.read_lines(Line, "events.jsonl", size + 1)


def test_a_full_disk_leaves_a_rewritten_file_as_it_was(folder: RunFolder) -> None:
    folder.replace("front.json", "old")
    before = files(folder)
    with full_disk(1000), pytest.raises(RunError, match=r"Cannot write .*front\.json: File too large; free space and"):
        folder.replace("front.json", "new" * 1000)
    assert (folder.path / "front.json").read_text() == "old"
    assert files(folder) == before, "no temporary file stays"


def test_a_full_disk_leaves_a_growing_file_as_it_was(folder: RunFolder) -> None:
    folder.append("programs.jsonl", [Line(text="a")])
    with full_disk(1000), pytest.raises(RunError, match=r"Cannot write .*programs\.jsonl: File too large; free space"):
        folder.append("programs.jsonl", [Line(text="x" * 600), Line(text="y" * 600)])
    assert (folder.path / "programs.jsonl").read_text() == '{"text":"a"}\n'


def test_a_kill_before_the_new_name_leaves_the_old_file(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.replace("front.json", "old")

    def fail(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(RunError, match="No space left on device; free space and begin the run again"):
        folder.replace("front.json", "new")
    (folder.path / "checkpoints" / "000000.json").touch()
    with pytest.raises(RunError, match="No space left on device; free space and resume the run"):
        folder.replace("front.json", "new")
    assert (folder.path / "front.json").read_text() == "old"


def test_only_a_full_disk_is_to_be_freed(folder: RunFolder) -> None:
    (folder.path / "front.json").mkdir()
    with pytest.raises(RunError, match=r"Cannot write .*front\.json: it is a folder; give the name of a file$"):
        folder.replace("front.json", "new")


def test_a_rewritten_file_can_be_read_by_others(folder: RunFolder) -> None:
    assert folder.replace("front.json", "text").stat().st_mode & 0o777 == 0o644

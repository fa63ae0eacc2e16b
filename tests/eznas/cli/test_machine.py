"""Commands about this machine: what data it has, what is pruned, whether it can work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import filelock
import pytest

from eznas.cli import main
from eznas.statistics import in_use, keep_within
from tests.eznas.cli.commands import Capsys, complaint, printed

pytestmark = pytest.mark.usefixtures("embedded_data")


def test_data_status_and_doctor_in_three_forms(capsys: Capsys) -> None:
    for command in (["data", "status"], ["doctor"]):
        rows = json.loads(printed(capsys, *command, "--format", "json"))
        header = printed(capsys, *command, "--format", "csv").splitlines()[0]
        assert header.split(",") == list(rows[0])
        assert len(printed(capsys, *command).splitlines()) > len(rows)


STORE_MANIFEST = json.dumps(
    {"checksum": "0", "format": 1, "settings": {}, "statistics": [], "networks": [], "shards": []}
)


SHARD = f"000000-000008-{'0' * 32}.safetensors"


TEMPORARY = f"{'f' * 32}.temporary"


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache with three stores, an unfinished one among them, and things that are none."""
    monkeypatch.setenv("EZNAS_CACHE", str(tmp_path))
    root = tmp_path / "statistics"
    for age, (name, files) in enumerate({
        "a" * 32: {"manifest.json": STORE_MANIFEST}, "b" * 32: {"manifest.json": STORE_MANIFEST},
        "c" * 32: {TEMPORARY: ""},
    }.items()):  # fmt: skip
        (root / name).mkdir(parents=True)
        for file, text in files.items():
            (root / name / file).write_text(text)
        (root / name / SHARD).write_bytes(bytes(2**20))
        for path in (*(root / name).iterdir(), root / name):
            os.utime(path, (1e9 - age, 1e9 - age))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "manifest.json").write_text(STORE_MANIFEST)
    (root / ("d" * 32)).symlink_to(tmp_path / "elsewhere")
    for name, file, text in (
        ("thesis", "chapter.tex", "mine"),
        ("e" * 32, "notes.txt", "mine"),
        ("f" * 32, "manifest.json", '{"name": "an extension of a browser"}'),
        ("1" * 32, "manifest.json", "{"),
        ("2" * 31, "manifest.json", STORE_MANIFEST),
        ("A" * 32, "manifest.json", STORE_MANIFEST),
    ):
        (root / name).mkdir()
        (root / name / file).write_text(text)
        if file == "notes.txt":
            (root / name / SHARD).touch()
    (root / ("3" * 32)).mkdir()
    (root / ("4" * 32)).write_text("a file")
    (root / ("5" * 32)).mkdir()
    (root / ("5" * 32) / SHARD).symlink_to(tmp_path / "elsewhere" / "manifest.json")
    return root


def tree(root: Path) -> dict[str, bytes]:
    """Every file under a folder, links among them, without locks."""
    found = {str(path.relative_to(root)): path for path in root.rglob("*") if not path.name.endswith(".lock")}
    return {name: path.read_bytes() if path.is_file() else b"folder" for name, path in found.items()}


def folders(root: Path) -> set[str]:
    """First letters of the folders that are stores."""
    return {name for name in "abc" if (root / (name * 32)).is_dir()}


def test_old_statistics_are_pruned(stores: Path, capsys: Capsys) -> None:
    status = {row["source"]: row for row in json.loads(printed(capsys, "data", "status", "--format", "json"))}
    assert "3 store(s), 3.0 MiB" in status["cache"]["what"]
    shown = printed(capsys, "data", "prune", "--keep-gib", str(2.5 / 1024))
    assert "Removed 1 store(s), 1.0 MiB" in shown
    assert "2001-09-09" in next(line for line in shown.splitlines() if "c" * 32 in line)
    assert folders(stores) == {"a", "b"}
    with filelock.FileLock(stores / f"{'b' * 32}.lock"):  # being captured
        assert "Removed 1 store(s), 1.0 MiB" in printed(capsys, "data", "prune")
    assert folders(stores) == {"b"}
    assert "Removed 0 store(s)" in printed(capsys, "data", "prune", "--keep-gib", "1")
    assert folders(stores) == {"b"}


def test_what_a_run_uses_is_not_pruned(stores: Path, capsys: Capsys) -> None:
    with in_use([stores / ("b" * 32)]), in_use([stores / ("b" * 32)]):  # several may
        assert "1 in use now stay(s)" in printed(capsys, "data", "prune")
        assert folders(stores) == {"b"}
    assert "Removed 1 store(s)" in printed(capsys, "data", "prune")
    assert folders(stores) == set()


def test_the_cache_is_kept_within_its_bound(stores: Path) -> None:
    """What was used least recently goes first; not what was used a moment ago, or is spared."""
    bound = int(0.5 * 2**20)
    now = time.time()
    for name, hours in (("a", 0.1), ("b", 5.0), ("c", 9.0)):
        for path in (stores / (name * 32)).iterdir():
            os.utime(path, (now - hours * 3600,) * 2)
        os.utime(stores / (name * 32), (now - hours * 3600,) * 2)
    assert keep_within(stores, 10 * 2**20) == ()
    assert [store.folder.name[0] for store in keep_within(stores, bound, [stores / ("b" * 32)])] == ["c"]
    assert [store.folder.name[0] for store in keep_within(stores, bound)] == ["b"]
    assert keep_within(stores, 0) == ()
    assert folders(stores) == {"a"}


@pytest.mark.parametrize("bound", ["many", "-1", "nan", "1e300"])
def test_a_bound_that_is_no_size_is_refused(bound: str, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    monkeypatch.setenv("EZNAS_CACHE_GIB", bound)
    assert f"EZNAS_CACHE_GIB must be a number of GiB from 0, got '{bound}'" in complaint(capsys, 2, "evolve", "--quiet")


def test_pruning_leaves_what_is_no_store_alone(stores: Path, tmp_path: Path, capsys: Capsys) -> None:
    (stores / ("a" * 32) / "notes.txt").write_text("mine")
    before = tree(tmp_path)
    assert "Would remove 3 store(s), 3.0 MiB" in printed(capsys, "data", "prune", "--dry-run")
    assert tree(tmp_path) == before
    assert "Removed 3 store(s), 3.0 MiB" in printed(capsys, "data", "prune", "--yes")
    own = [*(f"statistics/{name * 32}" for name in "bc"), *(f"statistics/{name * 32}/{SHARD}" for name in "abc")]
    own += [f"statistics/{name * 32}/manifest.json" for name in "ab"] + [f"statistics/{'c' * 32}/{TEMPORARY}"]
    assert tree(tmp_path) == {name: content for name, content in before.items() if name not in own}


def test_a_real_store_is_known_and_pruned(tiny_run: Path, cache: Path, monkeypatch: pytest.MonkeyPatch,
                                          tmp_path: Path, capsys: Capsys) -> None:  # fmt: skip
    monkeypatch.setenv("EZNAS_CACHE", str(shutil.copytree(cache, tmp_path / "cache")))
    before = [path for path in (tmp_path / "cache" / "statistics").iterdir() if path.is_dir()]
    shown = main(["data", "prune", "--format", "json"]), capsys.readouterr()
    rows = json.loads(shown[1].out)
    assert {row["folder"] for row in rows} == {path.name for path in before}
    assert shown[1].err.startswith(f"Removed {len(before)} store(s)")
    assert sum(row["size"] for row in rows) > 0
    assert not [path for path in (tmp_path / "cache" / "statistics").iterdir() if path.is_dir()]


@pytest.mark.parametrize(("answer", "more", "gone"), [("n", [], False), ("y", [], True), ("", ["--yes"], True)])
def test_pruning_asks_on_a_terminal(stores: Path, answer: str, more: list[str], gone: bool) -> None:
    control, terminal = os.openpty()
    command = [sys.executable, "-c", "import sys; from eznas.cli import main; sys.exit(main())", "data", "prune", *more]
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, cwd=Path.cwd()) as process:
        os.close(terminal)
        os.write(control, f"{answer}\n".encode())
        shown = b""
        try:
            while block := os.read(control, 4096):
                shown += block
        except OSError:  # how a terminal ends
            pass
    os.close(control)
    assert process.returncode == 0
    assert (b"[y/N]" in shown) == (not more)
    assert (b"Nothing was removed" in shown) == (not gone)
    assert folders(stores) == (set() if gone else {"a", "b", "c"})


def test_a_machine_in_trouble_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capsys) -> None:
    monkeypatch.setenv("EZNAS_DATA", str(tmp_path / "nowhere"))
    assert main(["doctor", "--format", "json"]) == 1
    findings = {row["check"]: row for row in json.loads(capsys.readouterr().out)}
    assert findings["accuracies"]["is_well"] == "PROBLEM"
    assert "EZNAS_DATA must name a folder" in findings["accuracies"]["detail"]
    assert findings["torch"]["is_well"] == "ok"


def test_a_cache_beyond_its_bound_is_a_problem_with_a_remedy(
    stores: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    monkeypatch.setenv("EZNAS_CACHE_GIB", "0.001")
    assert main(["doctor", "--format", "json"]) == 1
    (detail,) = [row["detail"] for row in json.loads(capsys.readouterr().out) if row["check"] == "cache"]
    assert "holds 3 store(s) of statistics, 3.0 MiB of 1.0 MiB; free some with eznas data prune --keep-gib" in detail

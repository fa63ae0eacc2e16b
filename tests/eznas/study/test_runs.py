"""Whole runs: killed, interrupted or spread over workers, they end with the same result."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from eznas.cli import main
from eznas.runs import Journal
from eznas.runs.folder import RunFolder
from eznas.spaces import build_network, nb201
from eznas.study import Study
from eznas.workers import open_pool
from tests.eznas.tiny import evolve, options, result

pytestmark = pytest.mark.usefixtures("embedded_data")

KILLED = """
import os, signal, sys
from eznas.cli import main
from eznas.runs.folder import RunFolder

replace = RunFolder.replace

def kill(folder, name, text):
    if name == "checkpoints/000001.json":
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(folder, name, text)

RunFolder.replace = kill
main(sys.argv[1:])
"""


class StopHereError(Exception):
    """Raised in place of a stage that a test does without."""


def test_a_run_leaves_everything_in_its_folder(tiny_run: Path) -> None:
    names = {path.name for path in tiny_run.iterdir()}
    assert names >= {
        "config.toml", "manifest.json", "events.jsonl", "programs.jsonl", "failures.jsonl", "checkpoints",
        "hall_of_fame.csv", "front.json", "report_scores.csv", "report.html",
    }  # fmt: skip
    assert not [name for name in names if name.startswith(".") and name != ".lock"], "no temporary file stays"
    manifest = json.loads((tiny_run / "manifest.json").read_text())
    parts = [set(manifest["networks"][part]) for part in ("evolve", "select", "report")]
    assert [len(part) for part in parts] == [16, 12, 12]
    assert len(set.union(*parts)) == 40, "disjoint"
    front = result(tiny_run)["front"]
    assert front["run"]["n_programs"] == 60
    assert sum(entry["is_pick"] for entry in front["entries"]) == 1


@pytest.mark.usefixtures("no_report")
def test_a_second_run_captures_nothing_and_finds_the_same(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("captured again")

    monkeypatch.setattr("eznas.statistics.store.capture", refuse)
    assert evolve(tmp_path / "again", evaluation__tile_kib="1", evaluation__memory_mib="16") == 0
    assert result(tmp_path / "again") == result(tiny_run)


@pytest.mark.usefixtures("no_report")
def test_a_killed_run_ends_as_an_undisturbed_one(tiny_run: Path, tmp_path: Path) -> None:
    """Killed with the second generation written but not yet in a checkpoint, and a torn line besides."""
    run = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, "evolve", "--quiet", "--run-dir", str(run), *options()]
    killed = subprocess.run(command, cwd=Path.cwd(), capture_output=True, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (run / "front.json").exists()
    with (run / "events.jsonl").open("a") as file:
        file.write('{"event":')
    assert main(["resume", str(run), "--quiet"]) == 0
    assert result(run) == result(tiny_run)


@pytest.mark.usefixtures("no_report")
def test_ctrl_c_saves_and_stops_and_resume_goes_on(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = Journal.record

    def interrupted(journal: Journal, *arguments: object) -> None:
        record(journal, *arguments)  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Journal, "record", interrupted)
    run = tmp_path / "stopped"
    handler_before = signal.getsignal(signal.SIGINT)
    assert evolve(run) == 130
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[-1] == (
        f"Stopped; every finished generation is saved. Go on with: eznas resume {run}"
    )
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["000000.json"]
    assert signal.getsignal(signal.SIGINT) is handler_before
    assert main(["front", str(run)]) == 1
    assert "eznas resume" in capsys.readouterr().err
    monkeypatch.setattr(Journal, "record", record)
    assert main(["resume", str(run), "--quiet"]) == 0
    assert result(run) == result(tiny_run)


def test_ctrl_c_twice_stops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Journal, "record", interrupted)
    assert evolve(tmp_path / "run") == 130
    assert capsys.readouterr().err.splitlines()[-1].startswith("Interrupted;")
    with RunFolder(tmp_path / "run").writing():
        pass  # the lock is free


@pytest.mark.usefixtures("no_report")
def test_any_number_of_workers_finds_the_same(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop_here(*_: object) -> None:
        raise StopHereError

    ray = open_pool(2)  # started once for both runs
    try:
        assert evolve(tmp_path / "2", "--workers", "2") == 0
        assert result(tmp_path / "2") == result(tiny_run)
        monkeypatch.setattr("eznas.study.run.measure", stop_here)
        with pytest.raises(StopHereError):
            evolve(tmp_path / "1", "--workers", "1", "--debug")
    finally:
        ray.close()
    for name in ("programs.jsonl", "hall_of_fame.csv"):
        assert (tmp_path / "1" / name).read_bytes() == (tiny_run / name).read_bytes()


def test_a_finished_run_is_not_measured_again(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (tiny_run / "front.json").read_bytes()
    monkeypatch.setattr("eznas.study.run.measure", lambda *_: pytest.fail("measured again"))
    assert main(["resume", str(tiny_run), "--quiet"]) == 0
    assert (tiny_run / "front.json").read_bytes() == before


def test_a_run_with_the_labelled_words_ends_with_a_front(tmp_path: Path) -> None:
    changed = {"evolution__primitive_set": "labelled", "probe__units": "all"}
    assert evolve(tmp_path / "run", **changed) == 0
    study = Study(tmp_path / "run")
    network = build_network(nb201.from_index(7), nb201.Settings(), seed=0)
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert math.isfinite(study.best.score(network, images, torch.tensor([0, 1, 1, 0])))
    assert "targets" in study.best.to_python()

"""Whole runs: killed, interrupted or spread over workers, they end with the same result."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from eznas.cli import main
from eznas.digests import content_digest
from eznas.errors import ProgramError, RunError
from eznas.evaluation import ShardExecutor, make_plan
from eznas.runs import Journal, RunFolder
from eznas.runs.config import load_config
from eznas.runs.manifest import Manifest
from eznas.scoring import score_networks
from eznas.spaces import build_network, nb201
from eznas.study import Machine, Silent, Study, prepare
from eznas.study.evaluate import capture_stores
from eznas.study.manifest import version_changes, with_versions_noted
from eznas.study.run import _version_changes
from eznas.workers import LocalPool, open_pool
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
    (sample,) = manifest["samples"]
    parts = [set(sample["networks"][part]) for part in ("evolve", "select", "report")]
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
        "Stopped; everything up to generation 0 is saved, and the statistics that were captured. "
        f"Go on with: eznas resume {run}"
    )
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["000000.json"]
    assert signal.getsignal(signal.SIGINT) is handler_before
    assert main(["front", str(run)]) == 0
    assert capsys.readouterr().out.startswith("The run is not finished, at generation 0 of 2; go on with: eznas resume")
    monkeypatch.setattr(Journal, "record", record)
    assert main(["resume", str(run), "--quiet"]) == 0
    assert result(run) == result(tiny_run)


@pytest.mark.usefixtures("no_report")
def test_any_number_of_workers_finds_the_same(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.fixture(scope="module")
def stopped_run(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run, stopped after its first generation; to be copied."""
    record = Journal.record

    def interrupted(journal: Journal, *arguments: object) -> None:
        record(journal, *arguments)  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGINT)

    run = tmp_path_factory.mktemp("runs") / "stopped"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EZNAS_DATA", raising=False)
        patch.setenv("EZNAS_CACHE", str(cache))
        patch.setattr(Journal, "record", interrupted)
        assert evolve(run) == 130
    return run


@pytest.fixture
def stopped(stopped_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stopped_run, tmp_path / "stopped"))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence of a command that does nothing."""
    assert main([*arguments, "--quiet"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    return line


def test_a_finished_run_is_left_as_it_is_and_says_so(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under another version as well: nothing is computed."""
    before = {path: path.stat().st_mtime_ns for path in tiny_run.rglob("*") if path.name != ".lock"}
    monkeypatch.setattr("eznas.study.run.measure", lambda *_: pytest.fail("measured again"))
    monkeypatch.setattr("eznas.study.manifest.version", lambda name: "99.0")
    assert main(["resume", str(tiny_run), "--quiet"]) == 0
    assert {path: path.stat().st_mtime_ns for path in tiny_run.rglob("*") if path.name != ".lock"} == before
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"The run is finished. For more generations: eznas extend {tiny_run} --set evolution.n_generations=N"
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seed = 1\n", "seed = 2\n", "seed was 1 and is 2 now"),
        ("n_evolve = 16", "n_evolve = 17", "benchmark.n_evolve was 16 and is 17 now"),
        ("crossover = 0.3", "crossover = 0.31", "evolution.crossover was 0.3 and is 0.31 now"),
        ("batch_size = 3\n", "", "probe.batch_size was 3 and is 8 now"),
        ('aggregate = "worst"', 'aggregate = "mean"', 'evolution.aggregate was "worst" and is "mean" now'),
    ],
)
def test_a_run_does_not_go_on_with_other_settings(
    stopped: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    path = stopped / "config.toml"
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))
    before = {file: file.read_bytes() for file in stopped.rglob("*.json*")}
    line = refused(capsys, "resume", str(stopped))
    assert line == (
        f"error: {path} was changed after the run was started: {said}; put the old value back, or evolve anew with the "
        f"new one"
    )
    assert {file: file.read_bytes() for file in stopped.rglob("*.json*")} == before


@pytest.mark.usefixtures("no_report")
def test_layout_and_comments_of_the_settings_do_not_matter(stopped: Path, tiny_run: Path) -> None:
    path = stopped / "config.toml"
    text = path.read_text().replace(" = ", "=").replace("crossover=0.3", "crossover=3e-1")
    path.write_text(f"# tried on Monday\n{text}")
    assert main(["resume", str(stopped), "--quiet"]) == 0
    assert result(stopped) == result(tiny_run)


def test_settings_and_manifest_changed_together_are_known(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without its digest, and with."""
    manifest = json.loads((stopped / "manifest.json").read_text())
    assert manifest["settings"]["evolution"]["crossover"] == 0.3
    path = stopped / "config.toml"
    path.write_text(path.read_text().replace("crossover = 0.3", "crossover = 0.31"))
    manifest["settings"]["evolution"]["crossover"] = 0.31
    (stopped / "manifest.json").write_text(json.dumps(manifest))
    assert "its settings do not have the digest beside them" in refused(capsys, "resume", str(stopped))
    manifest["settings_digest"] = content_digest(manifest["settings"])
    (stopped / "manifest.json").write_text(json.dumps(manifest))
    assert "it does not have the digest in its checkpoints" in refused(capsys, "resume", str(stopped))
    with pytest.raises(RunError, match="it does not have the digest in its checkpoints"):
        RunFolder(stopped).settings()


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("package", ["eznas", "torch"])
def test_a_run_goes_on_with_another_version_only_if_asked_to(
    stopped: Path, tiny_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], package: str
) -> None:
    manifest = json.loads((stopped / "manifest.json").read_text())
    before = manifest["versions"][package]
    with monkeypatch.context() as patch:
        patch.setattr(
            "eznas.study.manifest.version", lambda name: "99.0" if name == package else manifest["versions"][name]
        )
        line = refused(capsys, "resume", str(stopped))
        assert f"was made with {package} {before} (now 99.0), and numbers of two versions must not mix; " in line
        assert f"install {package}=={before}, evolve anew, or go on all the same with --any-version" in line
        assert json.loads((stopped / "manifest.json").read_text()) == manifest
        patch.setattr("eznas.study.run._run", stop_here)
        with pytest.raises(StopHereError):
            main(["resume", str(stopped), "--quiet", "--any-version", "--debug"])
    (entry,) = json.loads((stopped / "manifest.json").read_text())["history"]
    assert entry["versions"] == {**manifest["versions"], package: "99.0"}
    assert f"{package} 99.0 (now {before})" in refused(capsys, "resume", str(stopped))
    if package == "torch":  # once is enough: it takes seconds
        assert main(["resume", str(stopped), "--quiet", "--any-version"]) == 0
        noted = RunFolder(stopped).manifest()
        assert [session.versions["torch"] for session in noted.history] == ["99.0", before]
        assert noted.model_copy(update={"history": ()}) == Manifest.model_validate(manifest)
        assert result(stopped) == result(tiny_run)


def test_another_build_of_a_version_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eznas.study.manifest.version", lambda name: "2.0+cpu")
    packages = ["eznas", "torch", "numpy", "scipy", "deap"]
    assert version_changes(Manifest(versions=dict.fromkeys(packages, "2.0+cu126"))) == {}
    assert version_changes(Manifest(versions=dict.fromkeys(packages, "2.1"))).keys() == {*packages}


def test_a_run_is_not_gone_on_with_on_another_device(tiny_run: Path) -> None:
    manifest = RunFolder(tiny_run).manifest()
    assert "device" not in manifest.versions
    assert version_changes(manifest, "cuda") == {"device": ("cpu", "cuda")}
    on_cuda = with_versions_noted(manifest, "cuda")
    assert on_cuda.history[-1].versions["device"] == "cuda"
    assert version_changes(on_cuda, "cuda") == {}
    assert version_changes(on_cuda) == {"device": ("cuda", "cpu")}
    with pytest.raises(RunError, match=r"device cuda \(now cpu\), and numbers of two devices .*; give --device cuda"):
        _version_changes(RunFolder(tiny_run), on_cuda, "cpu", any_version=False)
    assert _version_changes(RunFolder(tiny_run), on_cuda, "cpu", any_version=True)


def stop_here(*_: object, **__: object) -> None:
    raise StopHereError


def test_a_run_with_the_labelled_words_ends_with_a_front(tmp_path: Path) -> None:
    changed = {
        "evolution__primitive_set": "labelled", "probe__units": "all", "evolution__n_generations": "0",
        "benchmark__n_evolve": "8", "benchmark__n_select": "6", "benchmark__n_report": "6", "report__baselines": "[]",
    }  # fmt: skip
    assert evolve(tmp_path / "run", **changed) == 0
    study = Study(tmp_path / "run")
    network = build_network(nb201.from_index(7), nb201.Settings(), seed=0)
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert math.isfinite(study.best.score(network, images, torch.tensor([0, 1, 1, 0])))
    assert "targets" in study.export("python")


def test_a_run_over_metrics_scores_as_it_evolved(tmp_path: Path, cache: Path) -> None:
    """What the store holds of a network is what its pick is scored with later, also where an estimator has no score."""
    changed = {
        "evolution__primitive_set": "metrics", "evolution__n_generations": "1", "networks__channels": "4",
        "probe__input_size": "8", "report__baseline_batch_size": "5", "report__baselines": '["naswot"]',
        "benchmark__n_evolve": "8", "benchmark__n_select": "5", "benchmark__n_report": "5",
    }  # fmt: skip
    assert evolve(tmp_path / "run", **changed) == 0
    study = Study(tmp_path / "run")
    problem = prepare(load_config(tmp_path / "run" / "config.toml"))
    (family,) = problem.families
    metrics = [proxy for proxy in study.front if proxy.program.metrics]
    assert metrics
    (store,) = capture_stores(problem, Machine(cache=cache), Silent())
    stored = np.concatenate(
        [ShardExecutor(store.shard(i)).run(make_plan([p.program for p in metrics])) for i in range(store.n_shards)],
        axis=1,
    )
    scores = score_networks(metrics, family.stored, family.conditions, LocalPool()).scores
    directions = np.array([[proxy.direction] for proxy in metrics])
    np.testing.assert_array_equal(scores, stored * directions)
    assert "metric." in study.export("json")
    with pytest.raises(ProgramError, match="published estimators whose code a file of its own cannot carry"):
        study.export("python", metrics[0])

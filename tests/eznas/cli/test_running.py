"""Runs that cannot begin or go on: one sentence, and nothing half-written."""

from __future__ import annotations

import gzip
import json
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eznas.benchmarks.nb201 import TABLE_FILE
from eznas.cli import main
from tests.eznas.cli.commands import Capsys, complaint, printed
from tests.eznas.tiny import evolve, options

pytestmark = pytest.mark.usefixtures("embedded_data")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "evolution.popsize=5"], r"did you mean 'evolution.population_size'?"),
        (["--set", "popsize=5"], "Unknown key 'popsize'"),
        (["--set", "evolution.population_size=many"], "Setting 'evolution.population_size'"),
        (["--set", "evolution.population_size=1"], "greater than or equal to 4, got 1"),
        (["--set", "evolution.crossover=nan"], "Setting 'evolution.crossover'"),
        (["--set", "evolution.objectives=['taub']"], "no objective 'taub'; did you mean 'tau'?"),
        (["--set", "evolution.objectives=['size','tau']"], "The first objective must be one that ranks networks"),
        (["--set", "evolution.objectives=['tau','tau']"], "every name may occur once only"),
        (["--set", "seed"], "--set takes section.key=value, got 'seed'"),
        (["--set", "seed.x=1", "--set", "seed.x.y=1"], "'x' is a setting, not a section"),
        (["--set", "report.baselines=['naswott']"], "naswot"),
        (["--workers", "-1"], "--workers must be 0 (this process) or more, got -1"),
        (["--ray-address", "127.0.0.1:1"], "--ray-address needs --workers 1 or more"),
        (["--device", "tpu"], "--device must be cpu or cuda, got 'tpu'"),
        (["--workers", "many"], "Invalid value for '--workers'"),
        (["--colour"], "--colour"),
        (["/nowhere/at-all.toml"], "Cannot read configuration /nowhere/at-all.toml: No such file"),
    ],
)
def test_bad_usage_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: Capsys, arguments: list[str], message: str
) -> None:
    run = tmp_path / "run"
    assert message in complaint(capsys, 2, "evolve", "--quiet", "--run-dir", str(run), *arguments)
    assert not run.exists()


@pytest.mark.parametrize("content", [b"seed = ", b"\xff\xfe\x00", b"seed = " + b"[" * 50_000, b"[[seed]]\n"])
def test_a_damaged_configuration_is_one_sentence(tmp_path: Path, capsys: Capsys, content: bytes) -> None:
    config = tmp_path / "config.toml"
    config.write_bytes(content)
    assert str(config) in complaint(capsys, 2, "evolve", str(config), "--run-dir", str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def _truncated(folder: Path) -> None:
    (folder / TABLE_FILE).write_bytes(gzip.compress(b"index,arch_str\n" * 1000)[:-20])


def _not_gzip(folder: Path) -> None:
    (folder / TABLE_FILE).write_text("index,arch_str\n")


def _lacking(folder: Path) -> None:
    (folder / TABLE_FILE).write_bytes(gzip.compress(b"index,arch_str\n0,x\n"))


@pytest.mark.parametrize("damage", [_truncated, _not_gzip, _lacking, lambda folder: None])
def test_an_unreadable_table_is_one_sentence(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    damage(data)
    monkeypatch.setenv("EZNAS_DATA", str(data))
    assert "nb201.csv.gz" in complaint(capsys, 1, "evolve", "--quiet", "--run-dir", str(tmp_path / "run"), *options())
    assert not (tmp_path / "run").exists()


def test_data_that_point_nowhere_are_one_sentence(
    tiny_run: Path, tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EZNAS_DATA", str(tmp_path / "nowhere"))
    for arguments in (
        ["evolve", "--quiet", "--run-dir", str(tmp_path / "run"), *options()],
        ["resume", str(tiny_run), "--quiet"],
    ):
        assert "EZNAS_DATA must name a folder, but there is nothing at" in complaint(capsys, 1, *arguments)
    assert not (tmp_path / "run").exists()
    assert "EZNAS_DATA must name a folder" in printed(capsys, "data", "status", "-f", "json")


def test_a_damaged_store_is_one_sentence_and_leaves_no_run(
    tiny_run: Path, cache: Path, tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EZNAS_CACHE", str(shutil.copytree(cache, tmp_path / "cache")))
    for shard in (tmp_path / "cache").rglob("*.safetensors"):  # other runs' statistics lie there too
        content = bytearray(shard.read_bytes())
        content[-1] ^= 1
        shard.write_bytes(content)
    arguments = ["evolve", "--quiet", "--run-dir", str(tmp_path / "run"), *options()]
    line = complaint(capsys, 1, *arguments)
    assert "is damaged: expected checksum" in line
    assert "delete the folder, it will be captured again" in line
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_overwritten(run: Path, capsys: Capsys) -> None:
    before = (run / "front.json").read_bytes()
    assert "is not empty" in complaint(capsys, 1, "evolve", "--quiet", "--run-dir", str(run), *options())
    assert (run / "front.json").read_bytes() == before


def test_a_run_whose_labels_changed_is_not_resumed(run: Path, capsys: Capsys) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "labels_digest": "0"}))
    assert "was started with other labels" in complaint(capsys, 1, "resume", str(run), "--quiet")


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("damage", ["{", '{"format": "eznas-front", "version": 1}'])
def test_a_damaged_front_is_one_sentence_and_resume_makes_it_anew(run: Path, capsys: Capsys, damage: str) -> None:
    before = json.loads((run / "front.json").read_text())
    (run / "front.json").write_text(damage)
    complaint(capsys, 1, "front", str(run))
    if damage == "{":  # once is enough: it takes seconds
        assert main(["resume", str(run), "--quiet"]) == 0
        entries = json.loads((run / "front.json").read_text())["entries"]
        assert [entry | {"seconds": 0} for entry in entries] == [entry | {"seconds": 0} for entry in before["entries"]]


@contextmanager
def full_disk(n_bytes: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: the system itself refuses, in the middle of a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_while_capturing(tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EZNAS_CACHE", str(tmp_path / "cache"))
    with full_disk(200_000):
        line = complaint(capsys, 1, "evolve", "--quiet", "--run-dir", str(tmp_path / "run"), *options())
    assert "Could not write the statistics store" in line
    assert not (tmp_path / "run").exists()
    assert not list((tmp_path / "cache").rglob("*.temporary"))


@pytest.mark.usefixtures("no_report")
def test_a_disk_that_is_full_while_evolving(tiny_run: Path, tmp_path: Path, capsys: Capsys) -> None:
    """The first generation fits, the second does not; with room again the run ends as an undisturbed one."""
    from tests.eznas.tiny import result

    run = tmp_path / "run"
    n_bytes = (tiny_run / "programs.jsonl").stat().st_size * 2 // 3
    with full_disk(n_bytes):
        line = complaint(capsys, 1, "evolve", "--quiet", "--run-dir", str(run), *options())
    assert "programs.jsonl: File too large; free space and resume the run" in line
    assert not (run / "front.json").exists()
    assert main(["resume", str(run), "--quiet"]) == 0
    assert result(run) == result(tiny_run)


def test_an_address_where_nobody_answers_leaves_no_run(tiny_run: Path, tmp_path: Path, capsys: Capsys) -> None:
    arguments = ["--workers", "1", "--ray-address", "127.0.0.1:1"]
    assert evolve(tmp_path / "run", *arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: Cannot reach Ray at '127.0.0.1:1': ")
    assert not (tmp_path / "run").exists()

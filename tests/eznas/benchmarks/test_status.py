"""What data the machine has, as told to the user."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from eznas.benchmarks import DataSource, data_status, shipped_names
from eznas.benchmarks.importers import import_files
from eznas.cli import main
from eznas.spaces import SPACES, nb201
from tests.eznas.benchmarks import official_files as official


def _by_location(sources: tuple[DataSource, ...]) -> dict[str, DataSource]:
    return {source.location.split(" ")[0]: source for source in sources}


def test_embedded_data_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EZNAS_DATA", raising=False)
    sources = _by_location(data_status())
    assert {location for location, source in sources.items() if source.in_use} == {
        "analog-nasbench", "scikit-learn", "eznas",
    }  # fmt: skip
    assert sources["analog-nasbench"].detail.startswith("15625 architectures: cifar10 (test; epochs not stated); ")
    assert sources["nb201.csv.gz"].detail == "no data folder is named; set EZNAS_DATA to use one"
    assert not sources["nb201.csv.gz"].found
    assert "in place of cifar10, cifar100, imagenet16" in sources["scikit-learn"].detail


def test_full_folder(data_dir: Path) -> None:
    sources = _by_location(data_status(data_dir))
    assert all(source.found for source in sources.values())
    spaces = [source.space for source in data_status(data_dir)]
    assert spaces == sorted(spaces, key=[*SPACES, ""].index)  # by search space, images last
    assert {location for location, source in sources.items() if not source.in_use} == {
        "analog-nasbench",
        "scikit-learn",
    }
    assert sources["nb201.csv.gz"].detail.startswith(
        "15625 architectures: cifar10 (validation and test; 200 and 12 epochs), cifar100 (validation"
    )
    assert sources["cifar100_small.npz"].detail == "5000 images of 32x32 in 100 classes"
    assert sources["tinyimagenet16_120.npz"].detail == "6000 images of 16x16 in 120 classes"


def test_benchmarks_of_other_spaces(data_dir: Path) -> None:
    details = {source.name: source.detail for source in data_status(data_dir) if source.kind == "accuracies"}
    assert details["nb101"].startswith(
        "20001 architectures: cifar10 (validation; 4 and 12 and 36 and 108 epochs); training times; trainings of"
    )
    assert "trainings of each: the maximum of 3; " in details["nb101"]
    assert details["nb101_zero"].startswith(
        "250 architectures: cifar10 (validation; 108 epochs); trainings of each: 1 of 3; label noise cifar10 0.43 "
    )
    assert details["nb301"].startswith("609 architectures: cifar10 (validation; epochs not stated; predicted); ")
    assert details["nds_darts_in"].startswith("121 architectures: imagenet (test; 50 epochs); ")
    assert details["nds_darts_fixed_in"].startswith("499 architectures: imagenet (test; 5 epochs); ")
    assert "predicted by a surrogate, not trained" in details["nb301"]


def test_damaged_folder_is_told_and_does_not_raise(tmp_path: Path) -> None:
    (tmp_path / "nb201.csv.gz").write_bytes(b"no gzip")
    sources = _by_location(data_status(tmp_path))
    assert "cannot be read as a gzip-compressed CSV table" in sources["nb201.csv.gz"].detail
    assert "lacks nb101.csv.gz" in sources["nb101.csv.gz"].detail
    assert "lacks cifar10_small.npz" in sources["cifar10_small.npz"].detail
    # a named folder is never silently replaced by embedded accuracies
    own = set(shipped_names())
    assert not any(s.in_use for s in sources.values() if s.kind == "accuracies" and s.name not in own)


def test_missing_folder_is_told_and_does_not_raise(tmp_path: Path) -> None:
    sources = _by_location(data_status(tmp_path / "missing"))
    assert "there is nothing at" in sources["nb201.csv.gz"].detail
    assert not sources["analog-nasbench"].in_use


def _imported(folder: Path) -> Path:
    cells = nb201.all_architectures()[:12]
    networks = {
        index: official.nats_network(arch, index, {2: {7: 40.0 + index, 8: 41.0 + index}})
        for index, arch in enumerate(cells)
    }
    path = official.write_nats(folder / "all.pickle.pbz2", networks)
    (one,) = import_files("nats-tss", [path], folder)
    return one.path


def test_imported_tables_say_what_they_hold(tmp_path: Path) -> None:
    path = _imported(tmp_path)
    (source,) = (source for source in data_status(tmp_path) if source.name == "nats-tss")
    assert (source.space, source.location, source.n) == ("nb201", path.name, 12)
    assert (source.found, source.in_use) == (True, True)
    assert (source.datasets, source.splits, source.epochs) == (
        ("cifar10", "cifar100", "imagenet16"), ("validation", "test"), (2,),
    )  # fmt: skip
    assert source.seeds == "the mean of 2"
    assert source.noise.startswith("cifar10 0.71 points (test-retest tau 1.00), cifar100 0.71")
    assert "validation to learn from and test to report on" in source.good_for
    path.write_bytes(path.read_bytes()[:-9])
    (source,) = (source for source in data_status(tmp_path) if source.name == "nats-tss")
    assert (source.found, source.in_use) == (False, False)
    assert "nats-tss.table.gz cannot be read as an imported table" in source.problem


def test_the_list_fits_a_terminal_and_has_a_column_for_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _imported(tmp_path)
    monkeypatch.setenv("EZNAS_DATA", str(tmp_path))
    monkeypatch.setattr("eznas.cli.machine.width", lambda: 80)
    assert main(["data", "status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    (line,) = (line for line in lines if " nats-tss " in line)
    assert line.split()[:3] == ["nb201", "nats-tss", "used"]
    assert main(["data", "status", "--format", "json"]) == 0
    rows = {row["where"]: row for row in json.loads(capsys.readouterr().out)}
    row = rows["nats-tss.table.gz"]
    assert (row["kind"], row["space"], row["n"], row["found"]) == ("accuracies", "nb201", 12, True)
    assert (row["splits"], row["epochs"], row["trainings"]) == (["validation", "test"], [2], "the mean of 2")
    assert row["data sets"] == ["cifar10", "cifar100", "imagenet16"]
    assert "0.71 points" in row["label noise"]
    assert "lacks nb201.csv.gz" in rows["nb201.csv.gz"]["problem"]
    assert main(["data", "status", "--format", "csv"]) == 0
    csv_rows = {row["where"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert csv_rows["nats-tss.table.gz"]["data sets"] == "cifar10, cifar100, imagenet16"

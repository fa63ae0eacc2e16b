"""What data the machine has, as told to the user."""

from __future__ import annotations

from pathlib import Path

import pytest

from eznas.benchmarks import DataSource, data_status


def _by_location(sources: tuple[DataSource, ...]) -> dict[str, DataSource]:
    return {source.location.split(" ")[0]: source for source in sources}


def test_embedded_data_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EZNAS_DATA", raising=False)
    sources = _by_location(data_status())
    assert {location for location, source in sources.items() if source.in_use} == {"analog-nasbench", "scikit-learn"}
    assert sources["analog-nasbench"].detail == "15625 architectures: cifar10 (test; epochs not stated)"
    assert sources["nb201.csv.gz"].detail == "no data folder is named; set EZNAS_DATA to use one"
    assert not sources["nb201.csv.gz"].found
    assert "in place of cifar10, cifar100, imagenet16" in sources["scikit-learn"].detail


def test_full_folder(data_dir: Path) -> None:
    sources = _by_location(data_status(data_dir))
    assert all(source.found for source in sources.values())
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
        "20001 architectures: cifar10 (validation; 4 and 12 and 36 and 108 epochs); training times; another space"
    )
    assert details["nb101_zero"].startswith("250 architectures: cifar10 (validation; 108 epochs); ")
    assert details["nb301"].startswith("609 architectures: cifar10 (validation; epochs not stated; predicted); ")
    assert details["nds_darts_in"].startswith("121 architectures: imagenet (test; 50 epochs); ImageNet; ")
    assert details["nds_darts_fixed_in"].startswith("499 architectures: imagenet (test; 5 epochs); ")
    assert "predicted by a surrogate, not trained" in details["nb301"]


def test_damaged_folder_is_told_and_does_not_raise(tmp_path: Path) -> None:
    (tmp_path / "nb201.csv.gz").write_bytes(b"no gzip")
    sources = _by_location(data_status(tmp_path))
    assert "cannot be read as a gzip-compressed CSV table" in sources["nb201.csv.gz"].detail
    assert "lacks nb101.csv.gz" in sources["nb101.csv.gz"].detail
    assert "lacks cifar10_small.npz" in sources["cifar10_small.npz"].detail
    # a named folder is never silently replaced by embedded accuracies
    assert not any(source.in_use for source in sources.values() if source.kind == "accuracies")


def test_missing_folder_is_told_and_does_not_raise(tmp_path: Path) -> None:
    sources = _by_location(data_status(tmp_path / "missing"))
    assert "there is nothing at" in sources["nb201.csv.gz"].detail
    assert not sources["analog-nasbench"].in_use

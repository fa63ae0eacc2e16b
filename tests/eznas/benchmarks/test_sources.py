"""Benchmarks by name: what each holds, and damaged tables."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eznas.benchmarks import (
    BENCHMARKS,
    Benchmark,
    Sample,
    Split,
    learning_split,
    load_benchmark,
    networks_of,
    reporting_split,
)
from eznas.conditions import Conditions
from eznas.errors import ArchitectureError, BenchmarkError
from eznas.spaces import Architecture, darts, nb101, networks_named

VALIDATION = Split.VALIDATION
ROWS = [
    ["n_vertices", "adj_rowmajor", "ops_interior", "params", *(f"val_acc_{n}ep" for n in (4, 12, 36, 108))],
    ["7", "0100110001000000010010000010000001000000010000000", "02001", "8555530", "0.36", "0.42", "0.9", "0.93"],
    ["2", "0100", "", "1", "0.1", "0.2", "0.3", "0.4"],
]
ROWS[2][3] = str(nb101.parameter_count(nb101.architecture("01.00:")))


@pytest.fixture(scope="module")
def nb101_table(data_dir: Path) -> Benchmark:
    return load_benchmark("nb101", data_dir)


def test_nb101(nb101_table: Benchmark) -> None:
    assert len(nb101_table.architectures) == 20_001
    assert (nb101_table.space, nb101_table.full_training, nb101_table.datasets) == ("nb101", 108, ("cifar10",))
    assert {column[1:] for column in nb101_table.tables} == {(VALIDATION, epochs) for epochs in (4, 12, 36, 108)}
    first = nb101.architecture(
        "0100110.0010000.0001001.0000010.0000010.0000001.0000000:conv3x3,maxpool3x3,conv3x3,conv3x3,conv1x1"
    )
    assert nb101_table.architectures[0] == first
    assert nb101_table.accuracies([first], "cifar10", VALIDATION)[0] == pytest.approx(93.048877)
    assert nb101_table.accuracies([first], "cifar10", VALIDATION, 4)[0] == pytest.approx(36.047676)
    assert nb101_table.seconds["cifar10", 108][0] == pytest.approx(1768.976)
    assert nb101_table.functions is not None
    assert nb101_table.functions[0] == "00005c142e6f48ac74fdcf73e3439874" == nb101.function(first)
    assert nb101_table.label_noise == {}  # unknown: the maximum of three trainings


def test_nb101_is_read_as_its_space_reads_it(nb101_table: Benchmark) -> None:
    for arch in nb101_table.architectures[::97]:
        assert nb101.architecture(arch.spec) == arch


def test_nb101_learns_from_and_reports_on_validation_accuracies(nb101_table: Benchmark) -> None:
    assert learning_split(nb101_table, ("cifar10",)) is VALIDATION
    assert reporting_split(nb101_table, ("cifar10",)) is VALIDATION
    assert "there are no test accuracies" in nb101_table.provenance
    assert "maximum of three trainings" in nb101_table.provenance


def test_the_small_table_of_nb101_agrees_with_the_large_one(nb101_table: Benchmark, data_dir: Path) -> None:
    """The large one holds the maximum of three trainings, the small one a single number."""
    small = load_benchmark("nb101_zero", data_dir)
    assert (len(small.architectures), small.full_training) == (250, 108)
    alike = {nb101.function(arch): arch for arch in nb101_table.architectures[:10_000]}
    pairs = [(arch, alike[nb101.function(arch)]) for arch in small.architectures if nb101.function(arch) in alike]
    assert len(pairs) >= 5
    theirs = small.accuracies([pair[0] for pair in pairs], "cifar10", VALIDATION)
    ours = nb101_table.accuracies([pair[1] for pair in pairs], "cifar10", VALIDATION)
    assert np.all(ours >= theirs - 1e-3)
    assert np.all(ours <= theirs + 2.0)


def test_label_noise_of_networks_that_are_there_several_times(data_dir: Path) -> None:
    small = load_benchmark("nb101_zero", data_dir)
    labels: dict[str, set[float]] = {}
    for arch in small.architectures:
        labels.setdefault(nb101.function(arch), set()).add(small.accuracies([arch], "cifar10", VALIDATION)[0])
    assert max(map(len, labels.values())) == 3  # as many as there were trainings
    spreads = [np.var([*values], ddof=1) for values in labels.values() if len(values) == 3]
    assert len(spreads) >= 5
    assert small.label_noise["cifar10"] == pytest.approx(np.sqrt(np.mean(spreads)))
    assert 0.2 < small.label_noise["cifar10"] < 0.8


def test_nb301_is_said_to_be_predicted(data_dir: Path) -> None:
    benchmark = load_benchmark("nb301", data_dir)
    assert (len(benchmark.architectures), benchmark.space, benchmark.full_training) == (609, "darts", None)
    assert "predictions of the surrogate of NAS-Bench-301, not trainings" in benchmark.provenance
    assert benchmark.accuracies(benchmark.architectures[:1], "cifar10", VALIDATION) == pytest.approx([92.18582975])
    assert not any("_bn" in arch.spec for arch in benchmark.architectures)
    assert benchmark.describe(("cifar10", VALIDATION, None)) == "cifar10 validation (predicted; epochs not stated)"
    sample = Sample(
        name="nb301", benchmark=benchmark, dataset="cifar10", part="report", split=VALIDATION, epochs=None,
        architectures=benchmark.architectures[:9], conditions=Conditions(settings=darts.Settings()),
    )  # fmt: skip
    assert sample.stated_split == "predicted"


def test_networks_of_a_benchmark_by_its_name(data_dir: Path) -> None:
    known = load_benchmark("nb301", data_dir).architectures
    assert networks_of("nb301:all", data_dir) == known
    assert networks_of(" nb301 : 3, 10-11", data_dir) == (known[3], *known[10:12])
    drawn, again, other = (networks_of(f"nb301:random:20:{seed}", data_dir) for seed in (1, 1, 2))
    assert drawn == again != other
    assert len(set(drawn)) == 20
    assert set(drawn) <= set(known)
    assert networks_of("nb101:random:3", None) == networks_named("nb101:random:3")  # of the space, where both have it


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nb301:609", "nb301:609: indices go from 0 to 608, got '609'"),
        ("nb301:random:610", "Of benchmark nb301 1 to 609 can be drawn, but 610"),
        ("nb301:", "as nb301:all, nb301:random:N.* or by position, nb301:3,10-12, got 'nb301:'; others as darts:..."),
        ("nb301:|x~0|", "are named as nb301:all"),
        ("nb302:all", "Unknown search space|no search space|takes nb201:all"),
    ],
)
def test_what_is_no_network_of_a_benchmark(spec: str, message: str, data_dir: Path) -> None:
    with pytest.raises(ArchitectureError, match=message) as caught:
        networks_of(spec, data_dir)
    assert str(caught.value).isprintable()


def test_both_splits_where_they_are(official: Benchmark, embedded: Benchmark) -> None:
    assert (learning_split(official, ("cifar10",)), reporting_split(official, ("cifar10",))) == (
        VALIDATION,
        Split.TEST,
    )
    assert learning_split(embedded, ("cifar10",)) is reporting_split(embedded, ("cifar10",)) is Split.TEST
    with pytest.raises(BenchmarkError, match="has no full-training accuracies of cifar100; it has: cifar10 test"):
        learning_split(embedded, ("cifar10", "cifar100"))
    with pytest.raises(BenchmarkError, match="has no 12-epoch accuracies of cifar10"):
        reporting_split(embedded, ("cifar10",), 12)


def test_no_split_that_all_data_sets_have() -> None:
    values = np.linspace(0, 100, 3)
    tables = {("a", VALIDATION, 200): values, ("b", Split.TEST, 200): values}
    archs = tuple(Architecture("toy", name) for name in "abc")
    with pytest.raises(BenchmarkError, match="neither validation nor test accuracies of all of a, b"):
        learning_split(Benchmark("toy", "Made up.", archs, tables), ("a", "b"))


# Bad input ------------------------------------------------------------------------------------------------------------


def test_unknown_name() -> None:
    with pytest.raises(BenchmarkError, match=r"Unknown benchmark 'nb_101'; did you mean 'nb101'\?"):
        load_benchmark("nb_101")
    with pytest.raises(BenchmarkError, match=r"Unknown benchmark '.*'; known are nb201, nb101") as caught:
        load_benchmark("\x1b[31m" * 1_000)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["nb101", "nb101_zero", "nb301"])
def test_no_folder_and_no_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EZNAS_DATA", raising=False)
    (file,) = BENCHMARKS[name].files
    with pytest.raises(BenchmarkError, match=f"none is named; set EZNAS_DATA to a folder that has {file}"):
        load_benchmark(name)
    with pytest.raises(BenchmarkError, match=f"lacks {file}; put the table there"):
        load_benchmark(name, tmp_path)


def _write(folder: Path, name: str, rows: list[list[str]]) -> Path:
    with gzip.open(folder / BENCHMARKS[name].files[0], "wt", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return folder


def test_a_small_table(tmp_path: Path) -> None:
    benchmark = load_benchmark("nb101", _write(tmp_path, "nb101", ROWS))
    assert [arch.spec for arch in benchmark.architectures][1] == "01.00:"
    assert benchmark.tables["cifar10", VALIDATION, 108].tolist() == pytest.approx([93.0, 40.0])
    assert not benchmark.seconds


def _changed(row: int, field: int, text: str) -> Callable[[list[list[str]]], None]:
    def change(rows: list[list[str]]) -> None:
        rows[row][field] = text

    return change


def _hashed(text: str) -> Callable[[list[list[str]]], None]:
    def change(rows: list[list[str]]) -> None:
        for row, value in zip(rows, ("hash", text, text), strict=True):
            row.append(value)

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_changed(0, 3, "size"), "lacks params; it has n_vertices, adj_rowmajor, ops_interior, size"),
        (_changed(1, 0, "8"), "Row 0 of .* 2 to 7 vertices, but it has n_vertices '8'"),
        (_changed(1, 0, "²"), "Row 0 of .* n_vertices '²'"),
        (_changed(2, 1, "01"), "Row 1 of .* adj_rowmajor '01'"),
        (_changed(2, 1, "0120"), "adj_rowmajor '0120'"),
        (_changed(1, 2, "02003"), "ops_interior '02003'"),
        (_changed(1, 2, "0200"), "ops_interior '0200'"),
        (_changed(1, 3, "8555531"), "Row 0 of .* a cell of the parameters 8555530, .* but it says '8555531'"),
        (_hashed("0" * 32), "Row 0 of .* the hash 00005c142e6f48ac74fdcf73e3439874, .* but it says '0000"),
        (_changed(2, 1, "1100"), "Row 1 of .* is not a cell: Edges of a NAS-Bench-101 cell lead from"),
        (_changed(2, 7, "40.0"), "val_acc_108ep of .* must hold fractions in 0..1, but row 1 has '40.0'"),
        (_changed(2, 7, "nan"), "must hold fractions in 0..1, but row 1 has 'nan'"),
        (_changed(2, 7, "\x1b" * 999), "must hold fractions"),
        (lambda rows: rows.append(rows[2]), "must be distinct, but 1 of 3 repeat"),
        (lambda rows: rows[1].append("1"), "Row 0 of .* must have 8 fields, but it has 9"),
        (lambda rows: rows.__delitem__(slice(1, None)), "has no rows"),
    ],
)
def test_damaged_tables(tmp_path: Path, damage: Callable[[list[list[str]]], None], message: str) -> None:
    rows = [list(row) for row in ROWS]
    damage(rows)
    with pytest.raises(BenchmarkError, match=message) as caught:
        load_benchmark("nb101", _write(tmp_path, "nb101", rows))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["nb101_zero", "nb301"])
def test_damaged_codes(tmp_path: Path, name: str) -> None:
    with pytest.raises(BenchmarkError, match=r"Row 0 of .*: Expected a NAS-Bench-\d01 code.*, or replace it"):
        load_benchmark(name, _write(tmp_path, name, [["arch", "val_accuracy"], ["(0,1)", "90"]]))


def test_a_table_that_unfolds_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eznas.benchmarks.csv_table.MAX_BYTES", 1_000)
    (tmp_path / "nb101.csv.gz").write_bytes(gzip.compress(bytes(10_000_000)))
    with pytest.raises(BenchmarkError, match=r"cannot be read as a .* CSV table \(it holds more than 1000 bytes"):
        load_benchmark("nb101", tmp_path)

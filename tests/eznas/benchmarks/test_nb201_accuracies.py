"""NAS-Bench-201 accuracies: published values, agreement of the two sources, damaged and hostile files."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from eznas.benchmarks import DATASETS, Benchmark, Split, data_status, load_nb201
from eznas.benchmarks import nb201 as loader
from eznas.benchmarks.analog import _KNOWN_DIGEST, analog_file, load_analog, read_table
from eznas.errors import BenchmarkError
from eznas.spaces import nb201

VALIDATION, TEST = Split.VALIDATION, Split.TEST


# Official table -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "dataset", "split", "epochs", "expected"),
    [
        (0, "cifar10", VALIDATION, 200, 81.90),
        (0, "cifar10", TEST, 200, 85.863),
        (0, "cifar100", TEST, 200, 52.913),
        (0, "imagenet16", TEST, 200, 26.633),
        (11, "cifar10", VALIDATION, 200, 87.96),
        (11, "cifar10", TEST, 200, 91.583),
        (11, "cifar100", TEST, 200, 67.607),
        (11, "imagenet16", TEST, 200, 30.167),
        (284, "cifar10", VALIDATION, 200, 85.57),
        (284, "cifar10", TEST, 200, 88.79),
        (284, "cifar100", TEST, 200, 62.14),
        (284, "imagenet16", TEST, 200, 32.467),
        (1462, "cifar10", VALIDATION, 200, 90.36),
        (1462, "cifar10", TEST, 200, 93.76),
        (1462, "cifar10", TEST, 12, 82.2),
        (1462, "cifar100", VALIDATION, 200, 71.34),
        (1462, "cifar100", TEST, 200, 71.107),
        (1462, "imagenet16", VALIDATION, 200, 41.23),
        (1462, "imagenet16", TEST, 200, 41.444),
        (6111, "cifar10", VALIDATION, 200, 91.18),
        (6111, "cifar100", TEST, 200, 73.22),
        (6111, "imagenet16", TEST, 200, 46.711),
        (13714, "cifar10", VALIDATION, 200, 91.32),
        (13714, "cifar10", TEST, 200, 94.3733),
        (13714, "cifar100", TEST, 200, 73.093),
        (13714, "imagenet16", TEST, 200, 46.333),
        (9930, "cifar10", VALIDATION, 200, 90.93),
        (9930, "cifar10", TEST, 200, 94.363),
        (9930, "imagenet16", TEST, 200, 46.344),
        (857, "cifar10", VALIDATION, 200, 90.89),
        (857, "cifar10", TEST, 200, 93.987),
        (857, "cifar100", TEST, 200, 72.88),
        (1651, "cifar10", VALIDATION, 200, 10.0),
        (1651, "cifar100", VALIDATION, 200, 1.0),
        (1651, "imagenet16", TEST, 200, 0.833),
    ],
)
def test_published_accuracies(
    official: Benchmark, index: int, dataset: str, split: Split, epochs: int, expected: float
) -> None:
    (value,) = official.accuracies([nb201.from_index(index)], dataset, split, epochs)
    assert value == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize(
    ("dataset", "split", "epochs", "index", "best"),
    [
        ("cifar10", TEST, 200, 6111, 94.3733),
        ("cifar100", TEST, 200, 9930, 73.513),
        ("imagenet16", TEST, 200, 857, 47.311),
        ("cifar10", VALIDATION, 200, 1459, 91.57),
        ("cifar100", VALIDATION, 200, 3888, 73.26),
        ("imagenet16", VALIDATION, 200, 81, 47.33),
    ],
)
def test_best_cells(official: Benchmark, dataset: str, split: Split, epochs: int, index: int, best: float) -> None:
    accuracies = official.accuracies(official.architectures, dataset, split, epochs)
    assert accuracies.max() == pytest.approx(best, abs=0.006)
    assert accuracies[index] == accuracies.max()


def test_all_labels_are_there(official: Benchmark) -> None:
    assert official.datasets == DATASETS
    assert all(official.has(d, split, epochs) for d in DATASETS for split in Split for epochs in (200, 12))
    assert len(official.tables) == 12
    assert official.architectures == nb201.all_architectures()
    assert "single seed" in official.provenance
    assert "mean over the available seeds" in official.provenance


def test_341_cells_are_at_chance(official: Benchmark) -> None:
    accuracies = official.accuracies(official.architectures, "cifar10", TEST)
    assert sum(map(nb201.is_zero, official.architectures)) == 341
    assert {arch for arch, value in zip(official.architectures, accuracies, strict=True) if value <= 10.0} == {
        arch for arch in official.architectures if nb201.is_zero(arch)
    }


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (("cifar10", TEST, 200), ("cifar100", TEST, 200), 0.980),
        (("cifar10", TEST, 200), ("imagenet16", TEST, 200), 0.959),
        (("cifar10", VALIDATION, 200), ("cifar10", TEST, 200), 0.980),
        (("cifar100", VALIDATION, 200), ("cifar100", TEST, 200), 0.994),
        (("imagenet16", VALIDATION, 200), ("imagenet16", TEST, 200), 0.996),
        (("cifar10", VALIDATION, 12), ("cifar10", VALIDATION, 200), 0.810),
        (("cifar10", TEST, 12), ("cifar10", TEST, 200), 0.871),
        (("cifar100", TEST, 12), ("cifar100", TEST, 200), 0.824),
        (("imagenet16", TEST, 12), ("imagenet16", TEST, 200), 0.809),
    ],
)
def test_labels_agree_as_published(
    official: Benchmark, one: tuple[str, Split, int], other: tuple[str, Split, int], expected: float
) -> None:
    rho = spearmanr(official.tables[one], official.tables[other]).statistic
    assert rho == pytest.approx(expected, abs=0.0015)


def test_isomorphism_equals_the_official_strings(data_dir: Path) -> None:
    with gzip.open(data_dir / loader.TABLE_FILE, "rt") as stream:
        names = [line.rstrip("\r\n").rsplit(",", 1)[1] for line in stream][1:]
    assert [nb201.canonical_function(arch) for arch in nb201.all_architectures()] == names


# Embedded table -------------------------------------------------------------------------------------------------------


def test_embedded_table(embedded: Benchmark) -> None:
    assert embedded.architectures == nb201.all_architectures()
    assert list(embedded.tables) == [("cifar10", TEST, None)]
    assert embedded.full_training is None
    assert "analog-nasbench 0." in embedded.provenance
    some = embedded.accuracies([nb201.from_index(index) for index in (1651, 0, 1)], "cifar10", TEST)
    assert some.tolist() == pytest.approx([10.0, 85.9708, 93.2956])
    zeros = [arch for arch in embedded.architectures if nb201.is_zero(arch)]
    assert embedded.accuracies(zeros, "cifar10", TEST).max() < 10.5  # wrong digits or edges break this at once


def test_the_two_sources_agree(embedded: Benchmark, official: Benchmark) -> None:
    ours, theirs = (b.accuracies(b.architectures, "cifar10", TEST) for b in (embedded, official))
    assert spearmanr(ours, theirs).statistic == pytest.approx(0.991, abs=0.001)
    assert kendalltau(ours, theirs).statistic == pytest.approx(0.926, abs=0.001)


def test_embedded_data_is_used_without_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EZNAS_DATA", raising=False)
    assert "analog-nasbench" in load_nb201().provenance


def test_the_package_is_never_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "analognasbench", raising=False)
    load_analog()
    assert "analognasbench" not in sys.modules


class _Hostile:
    """Pickles to a call that would leave a trace."""

    def __init__(self, function: Callable[[str], object], argument: str) -> None:
        self.call = (function, (argument,))

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return self.call


def test_a_hostile_pickle_runs_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    payload = pickle.dumps(_Hostile(os.mkdir, str(trace)))
    with pytest.raises(BenchmarkError, match=r"names \w+\.mkdir, which is not allowed"):
        read_table(io.BytesIO(payload), "hostile.anb")
    assert not trace.exists()
    pickle.loads(payload)  # the payload itself works
    assert trace.exists()


def test_a_pickle_of_builtins_is_refused() -> None:
    with pytest.raises(BenchmarkError, match=r"names builtins.eval, which is not allowed"):
        read_table(io.BytesIO(pickle.dumps(_Hostile(eval, "1"))), "hostile.anb")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "pickle exhausted before seeing STOP"),
        (b"not a pickle", "."),
        (pickle.dumps([1, 2]), "list indices"),
        (pickle.dumps({}), r"it lacks \("),
        (pickle.dumps({(1,) * 6: 3.0}), "it lacks"),
    ],
)
def test_damaged_embedded_table(content: bytes, reason: str) -> None:
    with pytest.raises(
        BenchmarkError, match=f"bad.anb must hold one accuracy for each of the 15625.*{reason}.*reinstall"
    ):
        read_table(io.BytesIO(content), "bad.anb")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x80\x04Nr\x00\x00\x00\x10.", "it asks for 268435456 places to remember objects in"),
        (b"Np99999999999\n.", "it asks for 99999999999 places"),
        (b"\x80\x04\x8e\x00\x00\x00\x00\x00\x01\x00\x00x.", "expected 1099511627776 bytes"),
        (b"Pabc\n.", "load persistent id"),
        (b"(" * 100_000 + b".", "."),
    ],
)
def test_a_hostile_pickle_takes_no_memory(content: bytes, reason: str) -> None:
    with pytest.raises(BenchmarkError, match=f"bad.anb must hold one accuracy .*{reason}.*reinstall") as caught:
        read_table(io.BytesIO(content), "bad.anb")
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


def test_a_huge_embedded_table_is_not_read() -> None:
    with pytest.raises(BenchmarkError, match="it is larger than 67108864 bytes"):
        read_table(io.BytesIO(bytes(2**26 + 1)), "bad.anb")


def test_the_installed_table_is_the_known_one() -> None:
    """Any other one is walked through first, which takes longer than reading it."""
    path = analog_file()
    assert path is not None
    assert hashlib.sha256(path.read_bytes()).hexdigest() == _KNOWN_DIGEST


def test_truncated_embedded_table() -> None:
    path = analog_file()
    assert path is not None
    with pytest.raises(BenchmarkError, match="reinstall it"):
        read_table(io.BytesIO(path.read_bytes()[:100_000]), "short.anb")


def test_package_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EZNAS_DATA", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BenchmarkError, match="analog-nasbench, which is not installed; run 'pip install"):
        load_nb201()


# Damaged folders ------------------------------------------------------------------------------------------------------


def _lines() -> list[str]:
    """A made-up but well-formed table."""
    header = ["index", "arch_str", *loader._COLUMNS]
    rows = [[str(i), arch.spec, *["50.0"] * 12] for i, arch in enumerate(nb201.all_architectures())]
    return [",".join(row) for row in [header, *rows]]


def _write(folder: Path, lines: list[str]) -> Path:
    path = folder / loader.TABLE_FILE
    path.write_bytes(gzip.compress("\n".join(lines).encode(), compresslevel=1))
    return folder


def test_a_table_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EZNAS_DATA", str(_write(tmp_path, _lines())))
    benchmark = load_nb201()
    assert np.array_equal(benchmark.tables["imagenet16", VALIDATION, 12], np.full(15_625, 50.0))


def _timed(first: str) -> list[str]:
    """The table with times of short and of full trainings."""
    header, *rows = _lines()
    rows = [f"{row},{first if i == 0 else 150 + i / 1000},{2500 + i}" for i, row in enumerate(rows)]
    return [f"{header},c10_seconds_12ep,im16_seconds", *rows]


def test_training_times_are_read_where_they_are_recorded(tmp_path: Path) -> None:
    benchmark = load_nb201(_write(tmp_path, _timed("149.5")))
    assert set(benchmark.seconds) == {("cifar10", 12), ("imagenet16", 200)}
    assert benchmark.seconds["cifar10", 12][:2].tolist() == [149.5, 150.001]
    assert benchmark.seconds["imagenet16", 200][-1] == 2500 + 15_624
    assert len(benchmark.tables) == 12
    (table, *_) = data_status(tmp_path)
    assert "; training times; " in table.detail


@pytest.mark.parametrize("text", ["0", "-1", "", "soon", "inf"])
def test_damaged_training_times(tmp_path: Path, text: str) -> None:
    with pytest.raises(BenchmarkError, match=f"c10_seconds_12ep of .* positive numbers of seconds, .* 0 has '{text}'"):
        load_nb201(_write(tmp_path, _timed(text)))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda lines: [lines[0].replace("im16_test,", "x,"), *lines[1:]], "lacks im16_test; it has index, arch_str"),
        (lambda lines: lines[:-1], "one row for each of the 15625 .* but it has 15624"),
        (lambda lines: [*lines, lines[1]], "but it has 15626"),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], r"Row 0 of .* must describe index 0, .* index '1'"),
        (lambda lines: [*lines[:9], lines[9] + ",1", *lines[10:]], "Row 8 of .* must have 14 fields, but it has 15"),
        (lambda lines: [*lines[:9], lines[9].replace("50.0", "-1"), *lines[10:]], "cifar10_valid .* row 8 has '-1'"),
        (lambda lines: [*lines[:9], lines[9].replace("50.0", "x"), *lines[10:]], "in 0..100, but row 8 has 'x'"),
        (lambda lines: [*lines[:9], lines[9].replace("50.0", "nan"), *lines[10:]], "row 8 has 'nan'"),
        (lambda lines: [*lines[:9], lines[9].replace("50.0", "100.5"), *lines[10:]], "row 8 has '100.5'"),
        (lambda lines: [], r"cannot be read as a gzip-compressed CSV table \(it is empty\)"),
    ],
)
def test_damaged_tables(tmp_path: Path, damage: Callable[[list[str]], list[str]], message: str) -> None:
    with pytest.raises(BenchmarkError, match=message):
        load_nb201(_write(tmp_path, damage(_lines())))


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"no gzip", lambda b: b"", lambda b: b[:-4] + b"zzzz"]
)
def test_damaged_compression(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = _write(tmp_path, _lines()) / loader.TABLE_FILE
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BenchmarkError, match="cannot be read as a gzip-compressed CSV table"):
        load_nb201(tmp_path)


def test_folder_lacks_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EZNAS_DATA", str(tmp_path))
    with pytest.raises(BenchmarkError, match=r"lacks nb201.csv.gz; put the table there, or name no folder"):
        load_nb201()


def test_folder_does_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EZNAS_DATA", str(tmp_path / "missing"))
    with pytest.raises(BenchmarkError, match=r"EZNAS_DATA must name a folder, but there is nothing at .*missing"):
        load_nb201()


def test_folder_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BenchmarkError, match="The data folder must name a folder, but there is a file at"):
        load_nb201(tmp_path / "file")

"""The ImageNet tables of NDS: what a label is, what counting alone ranks, damaged tables."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau

from eznas.benchmarks import Split, load_benchmark
from eznas.benchmarks.csv_table import read_csv_table
from eznas.benchmarks.nds import TABLE_FILE, TABLES, rerun_noise
from eznas.errors import BenchmarkError
from eznas.spaces import SPACES

HEADER = ["file", "params", "max_epochs", "final_test_err", "net_json"]
RECORD = (
    '{"block_type":"res_bottleneck_block","bot_muls":[1.0,0.25,0.5,0.25],"ds":[1,2,2,2],"num_gs":[1,2,4,2],'
    '"ss":[8,1,2,2],"ws":[64,16,128,128]}'
)
ROWS = [
    HEADER,
    ["ResNeXt-A_in", "277592", "50", "40.25", RECORD],
    ["ResNet_reruns", "2174234", "100", "5.0", "{}"],
    ["ResNet_reruns", "2174234", "100", "5.2", "{}"],
    ["elsewhere", "", "", "100", ""],
]


@pytest.mark.parametrize(
    ("name", "n", "lowest", "highest"),
    [
        ("nds_darts_in", 121, 53.904, 72.0),
        ("nds_amoeba_in", 124, 42.954, 71.856),
        ("nds_enas_in", 117, 58.206, 71.072),
        ("nds_resnext_a_in", 130, 18.712, 70.016),
        ("nds_darts_fixed_in", 499, 0.0, 48.435999),
    ],
)
def test_labels_are_accuracies_of_the_last_epoch(
    name: str, n: int, lowest: float, highest: float, data_dir: Path
) -> None:
    benchmark = load_benchmark(name, data_dir)
    epochs = 5 if name == "nds_darts_fixed_in" else 50
    assert [*benchmark.tables] == [("imagenet", Split.TEST, epochs)]
    assert benchmark.full_training == epochs
    accuracies = benchmark.tables["imagenet", Split.TEST, epochs]
    assert (len(accuracies), accuracies.min(), accuracies.max()) == (n, pytest.approx(lowest), pytest.approx(highest))
    assert f"after {epochs} epochs" in benchmark.provenance
    assert "100 minus the error after the last epoch" in benchmark.provenance
    assert not benchmark.label_noise  # reruns are of other networks on other images
    assert "standard deviation of 0.14 and 0.26 points" in benchmark.notes[-1]
    assert ("Of the 499 trainings 1 ended with" in benchmark.notes[0]) == (name == "nds_darts_fixed_in")


@pytest.mark.parametrize(
    ("name", "of_parameters", "of_macs"),
    [
        ("nds_darts_in", 0.66, 0.64),
        ("nds_amoeba_in", 0.31, 0.36),
        ("nds_enas_in", 0.62, 0.60),
        ("nds_resnext_a_in", 0.80, 0.58),
        ("nds_darts_fixed_in", -0.07, -0.08),
    ],
)
def test_what_counting_ranks(name: str, of_parameters: float, of_macs: float, data_dir: Path) -> None:
    """Kendall's tau of closed-form sizes with the labels: of the trained networks, and of the reduced ones."""
    benchmark = load_benchmark(name, data_dir)
    space = SPACES[benchmark.space]
    accuracies = benchmark.accuracies(benchmark.architectures, "imagenet", Split.TEST)

    def taus(settings: object, size: int) -> list[float]:
        counted = [space.counts(arch, settings, size) for arch in benchmark.architectures] if space.counts else []
        columns = ([one.parameters for one in counted], [one.macs for one in counted])
        return [float(kendalltau(column, accuracies).statistic) for column in columns]

    assert taus(space.full, 224) == pytest.approx([of_parameters, of_macs], abs=0.006)
    assert taus(space.settings(), 16) == pytest.approx([of_parameters, of_macs], abs=0.08)


def test_the_noise_of_reruns(data_dir: Path) -> None:
    noise = rerun_noise(read_csv_table(data_dir / TABLE_FILE, HEADER, ""))
    assert noise == pytest.approx([0.142, 0.256], abs=0.005)


# Bad input ------------------------------------------------------------------------------------------------------------


def _write(folder: Path, rows: list[list[str]]) -> Path:
    with gzip.open(folder / TABLE_FILE, "wt", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return folder


def test_a_small_table(tmp_path: Path) -> None:
    benchmark = load_benchmark("nds_resnext_a_in", _write(tmp_path, ROWS))
    assert [arch.spec for arch in benchmark.architectures] == ["2x16m0.25g2-2x128m0.5g4-2x128m0.25g2"]
    assert benchmark.tables["imagenet", Split.TEST, 50].tolist() == [59.75]
    assert "deviation of 0.14 points" in benchmark.notes[0]
    assert rerun_noise(read_csv_table(tmp_path / TABLE_FILE, HEADER, "")) == pytest.approx([np.std([5, 5.2], ddof=1)])
    assert not load_benchmark("nds_resnext_a_in", _write(tmp_path, ROWS[:2])).notes


def _changed(field: str, text: str) -> Callable[[list[list[str]]], None]:
    def change(rows: list[list[str]]) -> None:
        rows[1][HEADER.index(field)] = text

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda rows: rows[0].__setitem__(3, "accuracy"), "lacks final_test_err; it has file"),
        (lambda rows: rows[1].pop(), "Row 0 of .* must have 5 fields, but it has 4"),
        (_changed("file", "resnext"), "has no rows of the file ResNeXt-A_in; replace it"),
        (_changed("params", "277593"), "Row 0 of .* must have params 277592, .* but it says '277593'"),
        (_changed("max_epochs", "100"), "Row 0 of .* must have max_epochs 50, .* but it says '100'"),
        (_changed("final_test_err", "140.25"), "final_test_err of .* percentages in 0..100, but row 0 has '140.25'"),
        (_changed("final_test_err", "nan"), "percentages in 0..100, but row 0 has 'nan'"),
        (_changed("net_json", RECORD[:-1]), "Row 0 of .*: Expected a network of ResNeXts .*, or replace it"),
        (_changed("net_json", "__import__('os')"), "Row 0 of .*: Expected a network of ResNeXts"),
        (_changed("net_json", "\x1b[31m" * 9_000), "Row 0 of .*: Expected a network of ResNeXts"),
        (lambda rows: rows.append(rows[1]), "must be distinct, but 1 of 2 repeat"),
    ],
)
def test_damaged_tables(tmp_path: Path, damage: Callable[[list[list[str]]], None], message: str) -> None:
    rows = [list(row) for row in ROWS]
    damage(rows)
    with pytest.raises(BenchmarkError, match=message) as caught:
        load_benchmark("nds_resnext_a_in", _write(tmp_path, rows))
    assert str(caught.value).isprintable()


def test_every_table_is_a_benchmark_that_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EZNAS_DATA", raising=False)
    for name in TABLES:
        with pytest.raises(BenchmarkError, match=f"none is named; set EZNAS_DATA to a folder that has {TABLE_FILE}"):
            load_benchmark(name)
        with pytest.raises(BenchmarkError, match=f"lacks {TABLE_FILE}; put the table there"):
            load_benchmark(name, tmp_path)

"""Scores: closed forms, files, ties and failures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eznas.cli import main
from eznas.errors import BenchmarkError
from eznas.nas import best, best_first, convolution_counts, parameter_counts, read_scores
from eznas.randomness import stream
from eznas.spaces import nb201

FAILURES = np.array([np.nan, 2.0, -np.inf, -5.0, np.inf, 2.0])
CELLS = nb201.all_architectures()[:4]


def test_failures_rank_last() -> None:
    for seed in range(20):
        order = best_first(FAILURES, stream(seed, "ties"))
        assert sorted(order.tolist()) == list(range(6))
        assert set(order[:2].tolist()) == {1, 5}
        assert order[2] == 3
        assert best(FAILURES, stream(seed, "ties")) in (1, 5)


@pytest.mark.parametrize("scores", [np.array([1.0, 3.0, 3.0, 3.0, 0.0]), np.full(3, np.nan), np.full(3, -np.inf)])
def test_ties_are_broken_uniformly(scores: np.ndarray) -> None:
    rng, n = stream(0, "test", "ties"), 3_000
    for drawn in ([best(scores, rng) for _ in range(n)], [int(best_first(scores, rng)[0]) for _ in range(n)]):
        places, counts = np.unique(drawn, return_counts=True)
        assert places.tolist() == ([1, 2, 3] if len(scores) == 5 else [0, 1, 2])
        assert ((counts - n / 3) ** 2 / (n / 3)).sum() < 13.8  # chi-square, 2 degrees of freedom, p = .001


def test_closed_forms_count() -> None:
    cells = [nb201.architecture(["none"] * 6), nb201.architecture(["nor_conv_3x3"] * 2 + ["nor_conv_1x1"] * 4)]
    assert parameter_counts(cells).tolist() == [73_306, 73_306 + 2 * 243_040 + 4 * 28_000]
    assert convolution_counts(cells).tolist() == [0, 6]


@pytest.mark.parametrize("is_printed", [True, False], ids=["printed", "output"])
def test_a_file_of_eznas_score_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], embedded_data: None, is_printed: bool
) -> None:
    path = tmp_path / "scores.csv"
    arguments = ["score", "parameter_count", "--networks", "nb201:0-3", "--quiet"]
    settings = ["--set", "probe.batch_size=2", "--set", "probe.input_size=8"]
    assert main([*arguments, *settings, *(["--format", "csv"] if is_printed else ["--output", str(path)])]) == 0
    if is_printed:
        path.write_text(capsys.readouterr().out)
    scores = read_scores(path, CELLS)
    assert list(scores) == ["parameter_count"]
    assert np.array_equal(np.argsort(scores["parameter_count"]), np.argsort(parameter_counts(CELLS)))


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


ROWS = [f"{cell.spec},{score},1" for cell, score in zip(CELLS, ("2.5", "", "nan", "-1e3"), strict=True)]


def test_rows_in_any_order_and_empty_fields(tmp_path: Path) -> None:
    scores = read_scores(written(tmp_path / "s.csv", "network,mine,other", *reversed(ROWS)), CELLS)
    np.testing.assert_array_equal(scores["mine"], [2.5, np.nan, np.nan, -1000.0])
    assert scores["other"].tolist() == [1.0] * 4


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([""], "must name a column 'network'"),
        (["index,mine", "0,1"], "must name a column 'network'"),
        (["index,network", *ROWS], "at least one proxy"),
        (["network,mine,mine", *ROWS], "each once"),
        (["network,mine,other", *ROWS[:3]], "must score all 4 architectures .* it scores 3"),
        (["network,mine,other", *ROWS, ROWS[0]], "Line 6 .* repeats a network"),
        (["network,mine,other", f"{CELLS[0].spec},1"], "Line 2 .* has 2 of 3 fields"),
        (["network,mine,other", f"{CELLS[0].spec},high,1"], "a number or nothing under mine, but it holds 'high'"),
        (["network,mine", "|warp~0|,1"], "must name an architecture of the benchmark"),
        (["network,mine", f"{nb201.from_index(9).spec},1"], "must name an architecture of the benchmark"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path: Path, lines: list[str], message: str) -> None:
    path = written(tmp_path / "s.csv", *lines)
    with pytest.raises(BenchmarkError, match=message) as caught:
        read_scores(path, CELLS)
    assert str(path) in str(caught.value)
    assert "eznas score" in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00", b'network,"a'])
def test_a_file_that_is_no_table_is_one_sentence(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "s.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BenchmarkError, match="cannot be read as a CSV table of scores"):
        read_scores(path, CELLS)

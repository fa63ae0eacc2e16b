"""Scores: closed forms, files, ties and failures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from eznas.cli import main
from eznas.errors import ConfigError
from eznas.nas import best, best_by_test, best_first, convolution_counts, parameter_counts, read_scores
from eznas.randomness import stream
from eznas.spaces import nb201, networks_named

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
    found = read_scores(str(path), CELLS)
    assert list(found) == ["parameter_count"]
    scores, scored = found["parameter_count"]
    assert scored.tolist() == [0, 1, 2, 3]
    assert np.array_equal(np.argsort(scores), np.argsort(parameter_counts(CELLS)))


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


ROWS = [f"{cell.spec},{score},1" for cell, score in zip(CELLS, ("2.5", "", "nan", "-1e3"), strict=True)]


def test_rows_in_any_order_and_empty_fields(tmp_path: Path) -> None:
    path = written(tmp_path / "s.csv", "network,mine,other", *reversed(ROWS))
    found = read_scores(str(path), CELLS)
    np.testing.assert_array_equal(found["mine"][0], [2.5, np.nan, np.nan, -1000.0])
    assert found["other"][0].tolist() == [1.0] * 4
    assert list(read_scores(f"{path}:other", CELLS)) == ["other"]


def test_a_file_may_score_some_architectures(tmp_path: Path) -> None:
    scores, scored = read_scores(str(written(tmp_path / "s.csv", "network,mine,other", *ROWS[1:3])), CELLS)["other"]
    assert scored.tolist() == [1, 2]
    np.testing.assert_array_equal(scores, [np.nan, 1.0, 1.0, np.nan])
    with pytest.raises(ConfigError, match="cannot be read"):
        read_scores(str(tmp_path / "none.csv"), CELLS)


def test_closed_forms_of_other_spaces() -> None:
    (net,) = networks_named(
        "net:plain/depth=1/width=4/kernel=3/groups=1/se=0/norm=batch/activation=relu/stem=conv3/down=stride"
    )
    for of, message in ((parameter_counts, "no parameter count in closed form"), (convolution_counts, "to count")):
        with pytest.raises(ConfigError, match=message):
            of([net])


# Tests between repeated scores ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_incumbent_falls_where_scipy_says_so(n: int) -> None:
    rng = stream(n, "test", "draws")
    fell = 0
    for _ in range(100):
        draws = rng.normal([0.0, 1.0], size=(n, 2))
        p = scipy.stats.mannwhitneyu(draws[:, 1], draws[:, 0], alternative="greater", method="exact").pvalue
        assert best_by_test(draws) == int(p <= 0.05 + 1e-12)
        fell += int(p <= 0.05)
    assert 0 < fell < 100


def test_what_a_test_cannot_tell_apart_keeps_its_place() -> None:
    draws = np.array([[0.0, 10.0, 11.0, 9.0, 30.0], [1.0, 12.0, 10.0, 13.0, np.nan], [2.0, 14.0, 15.5, 14.5, 31.0]])
    assert best_by_test(draws) == 1  # the third wins on average, and no test says so; the last failed once
    assert best_by_test(np.where(np.isnan(draws), 32.0, draws)) == 4
    assert best_by_test(np.full((4, 3), np.nan)) == 0
    with pytest.raises(ConfigError, match="3 draws"):
        best_by_test(draws[:2])

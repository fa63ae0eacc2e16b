"""The simulated clock: searches that pay with recorded training times and measured scoring times."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from eznas.benchmarks import Benchmark, Split
from eznas.cli import main
from eznas.errors import BenchmarkError, ConfigError
from eznas.nas import (
    PROTOCOLS,
    Budget,
    Guide,
    SearchTable,
    area,
    clock_of,
    log_rank_sum,
    move_proposal,
    read_scoring_seconds,
    regularised_evolution,
    repeat,
    search_table,
    warm_up_random,
)
from eznas.randomness import stream
from eznas.spaces import nb201

Make = Callable[..., SearchTable]
SHORT = stream(0, "test", "short").uniform(100.0, 150.0, nb201.N_CELLS)  # seconds of 12 epochs
FULL = 17 * SHORT


@pytest.fixture(scope="session")
def timed() -> Benchmark:
    """All cells with made-up accuracies and times."""
    values = np.linspace(0.0, 100.0, nb201.N_CELLS)
    tables = {
        ("cifar10", Split.VALIDATION, 200): values,
        ("cifar10", Split.VALIDATION, 12): stream(0, "test", "accuracies").permutation(values),
        ("cifar10", Split.TEST, 200): values / 2,
    }
    times = {("cifar10", 12): SHORT, ("cifar10", 200): FULL}
    return Benchmark("made up", "Made up for tests.", nb201.all_architectures(), tables, seconds=times)


def test_evolution_stops_at_the_published_budget(timed: Benchmark) -> None:
    table = search_table(timed)
    for outcome in repeat(partial(regularised_evolution, table), 10, seed=0).outcomes:
        assert outcome.is_timed
        np.testing.assert_allclose(outcome.spent, np.cumsum(SHORT[outcome.trained]))
        assert 12_000 - 150 < outcome.spent[-1] <= 12_000


@pytest.mark.parametrize("each", [0.0, 0.3, 100.0])
def test_assisted_evolution_pays_for_its_scores(timed: Benchmark, each: float) -> None:
    table = search_table(timed)
    search = partial(area, table, timed.tables["cifar10", Split.TEST, 200], scoring_seconds=each)
    for outcome in repeat(search, 10, seed=0).outcomes:
        np.testing.assert_allclose(outcome.spent, 20 * each + np.cumsum(SHORT[outcome.trained]))
        assert 12_000 - 150 < outcome.spent[-1] <= 12_000


def test_full_trainings_cost_their_own_time(timed: Benchmark) -> None:
    table, scores = search_table(timed), timed.tables["cifar10", Split.TEST, 200]
    search = partial(warm_up_random, table, scores, n_scored=500, budget=Budget(seconds=50_000), scoring_seconds=2.0)
    outcome = repeat(search, 1, seed=0).outcomes[0]
    np.testing.assert_allclose(outcome.spent, 1_000 + np.cumsum(FULL[outcome.trained]))


def test_moves_pay_once_for_each_architecture_they_score(timed: Benchmark) -> None:
    table, scores = search_table(timed), timed.tables["cifar10", Split.TEST, 200]
    search = partial(move_proposal, table, scores, budget=Budget(seconds=300_000), scoring_seconds=1.0)
    outcome = repeat(search, 1, seed=0).outcomes[0]
    assert outcome.n_scored > 24
    paid = outcome.spent[-1] - FULL[outcome.trained].sum()
    # the last ones scored may precede a training that was too dear
    assert outcome.n_scored - 24 <= round(paid, 6) <= outcome.n_scored


def test_trainings_can_be_counted_all_the_same(timed: Benchmark) -> None:
    search = partial(area, search_table(timed), SHORT, budget=Budget(evaluations=30), scoring_seconds=1e6)
    outcome = repeat(search, 1, seed=0).outcomes[0]
    assert not outcome.is_timed
    assert outcome.spent.tolist() == list(range(1, 31))


def test_short_times_do_not_pay_for_full_trainings(timed: Benchmark, make_small: Make) -> None:
    assert search_table(timed).training_seconds("short") is timed.seconds["cifar10", 12]
    assert search_table(timed).training_seconds("full") is timed.seconds["cifar10", 200]
    only_short = make_small(seconds={"short": np.ones(625)})  # whose accuracies are those of full trainings
    assert only_short.training_seconds("short") is None


def test_the_clock_is_named(timed: Benchmark, small: SearchTable) -> None:
    assert clock_of(search_table(timed), PROTOCOLS["area"]) == "12000 s, recorded times"
    assert clock_of(search_table(timed), PROTOCOLS["aging-evolution"]) == "300 trainings"
    assert clock_of(small, PROTOCOLS["area"]) == "100 trainings"
    assert clock_of(small, PROTOCOLS["score"]) == "-"


def test_a_guide_brings_its_time(timed: Benchmark) -> None:
    scores = timed.tables["cifar10", Split.TEST, 200]
    search = PROTOCOLS["area"].bind(search_table(timed), Guide(scores, 7.0))
    outcome = repeat(search, 1, seed=0).outcomes[0]
    assert outcome.spent[0] == pytest.approx(140 + SHORT[outcome.trained[0]])


def test_seconds_without_times_are_one_sentence(small: SearchTable) -> None:
    with pytest.raises(ConfigError, match="12000 seconds needs recorded training times, but there are none of made up"):
        repeat(partial(regularised_evolution, small, budget=Budget(seconds=12_000)), 1, seed=0)
    with pytest.raises(ConfigError, match="0 seconds or more, got -20"):
        repeat(partial(area, small, np.zeros(625), scoring_seconds=-1.0), 1, seed=0)


def test_scoring_that_eats_the_budget_is_one_sentence(timed: Benchmark) -> None:
    search = partial(area, search_table(timed), SHORT, scoring_seconds=600.0)
    with pytest.raises(ConfigError, match="must pay for at least one training"):
        repeat(search, 1, seed=0)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_a_benchmark_with_impossible_times_is_refused(bad: float) -> None:
    cells = nb201.all_architectures()[:3]
    with pytest.raises(BenchmarkError, match=r"cifar10 training times \(12 epochs\) .* 3 positive numbers"):
        Benchmark("b", "Made up.", cells, {}, seconds={("cifar10", 12): np.array([1.0, bad, 1.0])})


def test_scoring_times_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("network,mine,failed,seconds\na,1,,0.5\nb,,mine,1.5\n")
    assert read_scoring_seconds(path) == 1.0
    path.write_text("network,mine\na,1\n")
    assert read_scoring_seconds(path) == 0.0
    for text in ("soon", "-1", "inf"):
        path.write_text(f"network,mine,seconds\na,1,{text}\n")
        with pytest.raises(BenchmarkError, match="time"):
            read_scoring_seconds(path)


# Command --------------------------------------------------------------------------------------------------------------


def rows_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    assert main(["nas", *arguments, "--repeats", "3", "--format", "json", "--quiet"]) == 0
    found: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return found


def test_the_command_searches_by_the_clock(
    timed: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("eznas.study.search.load_benchmark", lambda name: timed)
    path = tmp_path / "scores.csv"
    lines = [f"{arch.spec},{position},,50" for position, arch in enumerate(timed.architectures)]
    path.write_text("\n".join(["network,slow,failed,seconds", *lines]) + "\n")
    by_proxy = {}
    for row in rows_of(capsys, "area", "--seconds", "6000", "--proxy", str(path)):
        assert row["budget"] == "6000 s, recorded times"
        assert 5_850 < float(str(row["spent"])) <= 6_000
        by_proxy[row["proxy"]] = int(str(row["trained"]))
    assert by_proxy["slow"] <= by_proxy["params"] - 6  # a thousand seconds of scoring are missing
    assert {row["budget"] for row in rows_of(capsys, "evolution")} == {"12000 s, recorded times"}
    (counted, *_) = rows_of(capsys, "evolution", "--evaluations", "20")
    assert (counted["budget"], counted["trained"], counted["spent"]) == ("20 trainings", 20, 20)
    assert {(row["budget"], row["spent"]) for row in rows_of(capsys, "score")} == {("-", None)}
    assert main(["nas", "evolution", "--seconds", "1e15", "--quiet"]) == 2
    assert "which train all 15,625 networks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["area", "--seconds", "12000"], "12000 seconds needs recorded training times"),
        (["area", "--seconds", "12000", "--evaluations", "5"], "give one of them"),
        (["area", "--seconds", "0"], "must be positive and finite, but seconds is 0"),
        (["area", "--seconds", "inf"], "must be positive and finite, but seconds is inf"),
        (["score", "--seconds", "12000"], "The search 'score' does not take --seconds"),
    ],
)
def test_bad_clocks_are_one_sentence(
    capsys: pytest.CaptureFixture[str], embedded_data: None, arguments: list[str], message: str
) -> None:
    assert main(["nas", *arguments, "--quiet"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_two_columns_of_one_file_were_scored_together_and_are_paid_once() -> None:
    scores = np.arange(4.0)
    guides = {"a": Guide(scores, 0.3, "x.csv"), "b": Guide(-scores, 0.3, "x.csv"), "c": Guide(scores, 0.2, "y.csv")}
    guides["params"] = Guide(scores)
    assert log_rank_sum("a+b+params", guides).seconds == pytest.approx(0.3)
    assert log_rank_sum("a+c", guides).seconds == pytest.approx(0.5)

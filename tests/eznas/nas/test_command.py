"""``eznas nas``: rows on stdout, one sentence per error."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from eznas.benchmarks import Benchmark
from eznas.benchmarks.analog import load_analog
from eznas.cli import main
from eznas.nas import PROTOCOLS
from eznas.spaces import nb201
from eznas.study import search as study_search

pytestmark = pytest.mark.usefixtures("embedded_data", "table_once")
Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def embedded() -> Benchmark:
    return load_analog()


@pytest.fixture
def table_once(embedded: Benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded table, read once for all commands."""
    load = study_search.load_benchmark
    monkeypatch.setattr("eznas.study.search.load_benchmark", lambda name: embedded if name == "nb201" else load(name))


def printed(capsys: Capsys, *arguments: str) -> str:
    assert main(["nas", *arguments, "--quiet"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


def complaint(capsys: Capsys, status: int, *arguments: str) -> str:
    assert main(["nas", *arguments, "--quiet"]) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("search", PROTOCOLS)
def test_every_search_runs(capsys: Capsys, search: str) -> None:
    rows = json.loads(printed(capsys, search, "--repeats", "3", "--format", "json"))
    (row,) = rows  # the embedded table has one data set and split
    protocol = PROTOCOLS[search]
    assert (row["search"], row["dataset"], row["split"], row["repeats"]) == (search, "cifar10", "test", 3)
    assert row["proxy"] == ("params" if protocol.uses_scores else "-")
    assert row["driven by"] == ("score" if search.startswith("score") else "cifar10 test, full training")
    assert row["trained"] == (protocol.budget.evaluations if protocol.budget else 0)
    assert row["low"] <= row["mean"] <= row["high"]
    assert row["rank"] >= 1
    assert row["regret"] >= 0


def test_parameters_are_always_beside_a_proxy(capsys: Capsys, tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    rng = np.random.default_rng(0)
    lines = [f"{arch.spec},{rng.normal():.6g}" for arch in nb201.all_architectures()]
    path.write_text("\n".join(["network,noise", *lines]) + "\n")
    arguments = ["score", "--proxy", str(path), "--n", "1000", "--repeats", "20"]
    rows = list(csv.DictReader(io.StringIO(printed(capsys, *arguments, "--format", "csv"))))
    assert [row["proxy"] for row in rows] == ["noise", "params"]
    assert float(rows[0]["regret"]) > float(rows[1]["regret"])
    assert {row["scored"] for row in rows} == {"1000"}
    table = printed(capsys, *arguments)
    assert "noise" in table
    assert "params" in table
    assert "1,000 of 15,625 scored networks" in table
    assert printed(capsys, *arguments) == table
    assert printed(capsys, *arguments, "--seed", "1") != table


def test_columns_of_a_file_are_aggregated_into_one_more_row(capsys: Capsys, tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    rng = np.random.default_rng(0)
    lines = [f"{arch.spec},{rng.normal():.6g},{rng.normal():.6g}" for arch in nb201.all_architectures()]
    path.write_text("\n".join(["network,one,two", *lines]) + "\n")
    arguments = ["score", "--proxy", str(path), "--n", "1000", "--repeats", "20", "--format", "json"]
    sums = ["--aggregate", "one+two", "--aggregate", "one+1000*params"]
    rows = {row["proxy"]: row for row in json.loads(printed(capsys, *arguments, *sums))}
    assert list(rows) == ["one", "two", "params", "one+two", "one+1000*params"]
    alone = {row["proxy"]: row for row in json.loads(printed(capsys, *arguments))}
    assert alone == {name: rows[name] for name in alone}
    assert rows["one+1000*params"]["regret"] == pytest.approx(rows["params"]["regret"], abs=0.3)
    assert rows["one+two"]["regret"] > rows["params"]["regret"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["score", "--aggregate", "params+naswot"], "Unknown --proxy 'naswot'; known are params"),
        (["score", "--aggregate", "param+params"], "did you mean 'params'?"),
        (["score", "--aggregate", "params+"], "An aggregate is written NAME+NAME"),
        (["evolution", "--aggregate", "params"], "does not take --aggregate"),
        (["evolve"], "Unknown search 'evolve'; known are score, score-evolution, optimum"),
        (["scores"], "did you mean 'score'?"),
        (["score", "--proxy", "nosuch"], "nosuch"),
        (["score", "--proxy", "naswot", "--networks", "15626"], "1 to 15,625"),
        (["score", "--networks", "10"], "of proxies that are scored here, and none is"),
        (["score", "--proxy", "naswot", "--draws", "2"], "3 to 100"),
        (["area", "--proxy", "naswot", "--draws", "5"], "not of 'area'"),
        (["evolution", "--proxy", "params"], "The search 'evolution' does not take --proxy"),
        (["evolution", "--n", "5"], "does not take --n"),
        (["score", "--evaluations", "5"], "does not take --evaluations"),
        (["score", "--n", "0"], "at least one architecture, got 0"),
        (["score", "--repeats", "0"], "at least once, got 0"),
        (["score", "--seed", "-1"], "0 or more, got -1"),
        (["random", "--evaluations", "0"], "must be positive and finite, but evaluations is 0"),
        (["warm-up", "--n", "20000"], "1 to 15625 architectures"),
        (["score", "--n", "99999999999"], "1 to 15625 architectures"),
        (["evolution", "--evaluations", "99999999999"], "at most 15,625, as many as the benchmark has networks"),
        (["optimum", "--repeats", "99999999999"], "at most 100,000"),
    ],
)
def test_bad_usage_is_one_sentence(capsys: Capsys, arguments: list[str], message: str) -> None:
    assert message in complaint(capsys, 2, *arguments)


def test_bad_data_are_one_sentence(capsys: Capsys, tmp_path: Path) -> None:
    assert "cifar100" in complaint(capsys, 1, "score", "--dataset", "cifar100")
    assert "'nb20'" in complaint(capsys, 1, "score", "--benchmark", "nb20")
    assert "cannot be read" in complaint(capsys, 2, "score", "--proxy", str(tmp_path / "none.csv"))
    other = tmp_path / "other.csv"
    other.write_text("network,mine\nplain/depth=1,2\n")
    assert "None of the 1 networks" in complaint(capsys, 2, "score", "--proxy", str(other))
    two = [tmp_path / "one.csv", tmp_path / "two.csv"]
    for index, path in enumerate(two):
        path.write_text(f"network,p{index}\n{nb201.from_index(index).spec},1\n")
    apart = ["score", *(text for path in two for text in ("--proxy", str(path)))]
    assert "No network has a score of every --proxy" in complaint(capsys, 2, *apart)


SMALL = ["--set", "report.baseline_batch_size=4", "--set", "probe.batch_size=4", "--repeats", "20", "--format", "json"]


def test_proxies_are_scored_on_a_sample_that_all_draw_from(capsys: Capsys) -> None:
    named = "naswot,gallery:dimensionality,snip+naswot"
    arguments = ["score", "--proxy", named, "--networks", "12", "--n", "6", *SMALL]
    rows = json.loads(printed(capsys, *arguments))
    assert [row["proxy"] for row in rows] == ["naswot", "dimensionality", "snip+naswot", "params"]
    assert {(row["of"], row["scored"], row["trained"]) for row in rows} == {(12, 6, 0)}
    assert json.loads(printed(capsys, *arguments)) == rows
    everything = json.loads(printed(capsys, "area", "--proxy", "naswot", "--networks", "12", *SMALL))
    assert {(row["of"], row["scored"], row["trained"]) for row in everything} == {(12, 12, 100)}
    assert "scores every neighbour, but 12 of 15,625" in complaint(
        capsys, 2, "move-proposal", "--proxy", "naswot", "--networks", "12", *SMALL
    )


def test_repeated_scores_are_told_apart_by_a_test(capsys: Capsys) -> None:
    arguments = ["score", "--proxy", "grad_norm", "--networks", "8", "--n", "8", *SMALL]
    once, tested = (json.loads(printed(capsys, *arguments, *more))[0] for more in ([], ["--draws", "3"]))
    assert once["proxy"] == tested["proxy"] == "grad_norm"
    assert once["mean"] != tested["mean"]


@pytest.mark.parametrize("search", PROTOCOLS)
def test_every_search_runs_on_a_benchmark_that_lists_a_part_of_its_space(capsys: Capsys, search: str) -> None:
    command = [search, "--benchmark", "net_residual", "--repeats", "2", "--format", "json"]
    if search == "warm-up":
        assert "At least 64 architectures" in complaint(capsys, 2, *command)
        return
    (row,) = json.loads(printed(capsys, *command))
    assert (row["dataset"], row["split"], row["of"]) == ("cifar10", "validation", 60)
    assert row["trained"] <= 90  # those that take less than the mean time are more than the networks
    assert row["rank"] <= 60


def test_a_table_says_what_it_is_of(capsys: Capsys) -> None:
    text = printed(capsys, "area", "--repeats", "3", "--evaluations", "12")
    assert max(map(len, text.splitlines()[:-1])) <= 100
    for part in ("area, 3 repeats", "20 of 15,625 scored", "12 trained", "budget 12 trainings", "± "):
        assert part in text, part


def test_a_proxy_that_is_given_twice_is_one_sentence(capsys: Capsys, tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("\n".join(["network,params", *(f"{a.spec},1" for a in nb201.all_architectures())]) + "\n")
    assert "scores with 'params', as another" in complaint(
        capsys, 2, "score", "--proxy", "params", "--proxy", str(path)
    )

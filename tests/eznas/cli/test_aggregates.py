"""Aggregates from the command line: made with a reference, scored among it, refused elsewhere."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest

from eznas import load_proxy
from eznas.cli import main
from eznas.programs import parse, to_json
from eznas.proxies import RECIPES, load_proxy_file
from eznas.spaces import nb201
from tests.eznas.cli.commands import FEW, Capsys, complaint, printed

pytestmark = pytest.mark.usefixtures("embedded_data")


PAIR = "jacob_cov+2*parameter_count"


@pytest.fixture(scope="module")
def pair_file(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """An aggregate of an estimator and a program, with a reference of twelve networks."""
    path = tmp_path_factory.mktemp("aggregates") / "new" / "pair.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EZNAS_DATA", raising=False)
        patch.setenv("EZNAS_CACHE", str(cache))
        sample = ["--reference", "nb201:random:12:1", "-o", str(path)]
        assert main(["aggregate", PAIR, *sample, *FEW]) == 0
    return path


def test_an_aggregate_ranks_among_the_reference_in_its_file(pair_file: Path, tmp_path: Path, capsys: Capsys) -> None:
    """As a file under the conditions it records, beside its members, in a table, in a file, and in Python."""
    members = ["jacob_cov", "parameter_count"]
    networks = ["--networks", "nb201:6111,1651,10-12"]  # 1651, 10 and 12 are dead
    arguments = ["score", str(pair_file), *members, *networks, "--quiet"]
    rows = json.loads(printed(capsys, *arguments, "--format", "json"))
    sample = ["score", *members, "--networks", "nb201:random:12:1", *FEW, "--format", "json"]
    reference = json.loads(printed(capsys, *sample))

    def place(name: str, value: float | None) -> float:
        low = float("-inf")
        value, others = (low if value is None else value), [low if r[name] is None else r[name] for r in reference]
        return (sum(o < value for o in others) + sum(o == value for o in others) / 2 + 1 / 2) / 13

    first, second = ([math.log(place(name, row[name])) for row in rows] for name in members)
    expected = [one + 2 * other for one, other in zip(first, second, strict=True)]
    assert [row[PAIR] for row in rows] == pytest.approx(expected)
    assert [row["jacob_cov"] for row in rows[1:3]] == [None, None]

    path = tmp_path / "scores.csv"
    command = ["score", str(pair_file), *networks, "--quiet", "-o", str(path)]
    printed(capsys, *command)
    whole = path.read_text()
    table = list(csv.DictReader(io.StringIO(whole)))
    assert [float(row[PAIR]) for row in table] == [row[PAIR] for row in rows]
    failed = {row["index"] for row in table if row["failed"].startswith(f"{PAIR}[jacob_cov]: ")}
    assert failed == {"1651", "10", "12"}
    printed(capsys, *command)  # nothing is left to do
    assert path.read_text() == whole

    (conditions,) = load_proxy_file(pair_file).conditions
    assert conditions.estimator_batch_size == 4
    network = conditions.network(nb201.from_index(6111))
    assert load_proxy(pair_file).score(network, *conditions.batch(4)) == pytest.approx(expected[0])


def test_an_aggregate_scores_under_the_conditions_of_its_reference_alone(
    pair_file: Path, tiny_run: Path, capsys: Capsys
) -> None:
    at = ["--networks", "nb201:0", "--quiet"]
    for setting, what in (
        ("seed=1", "seed 0, here 1"),
        ("networks.channels=8", "channels 16, here 8"),
        ("report.baseline_batch_size=5", "estimator_batch_size 4, here 5"),
    ):
        line = complaint(capsys, 2, "score", str(pair_file), *at, "--set", setting)
        assert "ranks among 12 networks scored under other conditions" in line
        assert what in line
        assert "eznas aggregate" in line
    same = ["score", str(pair_file), *at, "--format", "json"]
    assert printed(capsys, *same, "--set", "report.baseline_batch_size=4") == printed(capsys, *same)
    assert "other conditions" in complaint(capsys, 2, "score", f"{tiny_run}:best", str(pair_file), *at)


@pytest.mark.parametrize("name", RECIPES)
def test_every_published_aggregate_ranks_reduced_networks(name: str, capsys: Capsys) -> None:
    arguments = ["score", name, "--networks", "nb201:6111,3000,11,1462", "-q", "--format", "json", *FEW[1:]]
    assert main(arguments) == 0
    scores = [row[name] for row in json.loads(capsys.readouterr().out)]
    assert len(set(scores)) > 1
    assert all(isinstance(score, float) and math.isfinite(score) for score in scores)


def test_a_sum_or_a_published_aggregate_ranks_the_candidates(tmp_path: Path, capsys: Capsys) -> None:
    networks = ["--networks", "nb201:6111,1651,3000,11"]
    arguments = ["score", "jacob_cov", "mac_count", "jacob_cov+mac_count", "te_nas", *networks]
    assert main([*arguments, "--format", "json", *FEW[1:]]) == 0
    shown = capsys.readouterr()
    rows = json.loads(shown.out)
    assert "te_nas ranks these 4 networks among each other." in shown.err
    assert "jacob_cov of jacob_cov+mac_count failed on 1 of 4 networks, which rank last." in shown.err

    def ranks(name: str) -> list[float]:
        values = [float("-inf") if row[name] is None else row[name] for row in rows]
        return [sum(o < v for o in values) + (sum(o == v for o in values) + 1) / 2 for v in values]

    both = zip(ranks("jacob_cov"), ranks("mac_count"), strict=True)
    expected = [math.log(first / 5) + math.log(second / 5) for first, second in both]
    assert [row["jacob_cov+mac_count"] for row in rows] == pytest.approx(expected)
    assert "names one; name more" in complaint(capsys, 2, "score", "te_nas", "--networks", "nb201:0", "--quiet")
    to_file = complaint(capsys, 2, "score", "te_nas", *networks, "--quiet", "-o", str(tmp_path / "x.csv"))
    assert "eznas aggregate te_nas --reference nb201:random:500 -o FILE.json" in to_file
    assert list(tmp_path.iterdir()) == []


def test_an_aggregate_may_hold_programs_of_files_and_runs(tiny_run: Path, tmp_path: Path, capsys: Capsys) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text(to_json(parse("(log parameter_count)"), direction=-1))
    text, made = f"{tiny_run}:best+{mine}", tmp_path / "made.json"
    sample = ["--reference", "nb201:random:6", "--mode", "rank-sum", "--quiet"]
    document = json.loads(printed(capsys, "aggregate", text, *sample))
    assert document["proxy"]["mode"] == "rank_sum"
    assert document["proxy"]["members"][1]["proxy"]["direction"] == -1
    made.write_text(json.dumps(document))
    scored = ["score", str(made), f"{tiny_run}:best", "--networks", "nb201:random:6", "--quiet", "--format", "json"]
    rows = json.loads(printed(capsys, *scored))
    assert sum(row[document["proxy"]["name"]] for row in rows) == pytest.approx(6.0)  # 6 times twice the mean place
    assert "is an aggregate and no member" in complaint(capsys, 2, "score", f"naswot+{made}", *scored[3:])
    assert "is an aggregate and no member" in complaint(capsys, 2, "aggregate", str(made), *sample)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["naswott+zen", "--reference", "nb201:0-3"], 2, "did you mean 'naswot'?"),
        (["naswot+", "--reference", "nb201:0-3"], 2, "An aggregate is written NAME+NAME"),
        (["naswot", "--reference", "nb201:0"], 2, "A reference is 2 to 100000 networks of one search space, got 1"),
        (["jacob_cov+zen", "--reference", "nb201:10,12"], 2, "'jacob_cov' failed on every network of the reference"),
        (["naswot", "--reference", "nb202:all"], 1, "nb201:all"),
        (["naswot", "--reference", "nb201:0-3", "--mode", "vote"], 2, "--mode"),
    ],
)
def test_an_aggregate_that_cannot_be_made_is_one_sentence(
    tmp_path: Path, capsys: Capsys, arguments: list[str], status: int, message: str
) -> None:
    line = complaint(capsys, status, "aggregate", *arguments, *FEW, "-o", str(tmp_path / "x.json"))
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_a_hostile_aggregate_file_is_one_sentence(pair_file: Path, tmp_path: Path, capsys: Capsys) -> None:
    document = json.loads(pair_file.read_text())
    proxy, path = document["proxy"], tmp_path / "pair.json"
    reference = proxy["reference"]
    for change in (
        {"version": 9},
        {"proxy": proxy | {"members": [{"weight": 1, "proxy": {"kind": "estimator", "name": "rm", "direction": 1}}]}},
        {"proxy": proxy | {"reference": reference | {"n": 3}}},
        {"conditions": None},
    ):
        path.write_text(json.dumps(document | change))
        assert str(path) in complaint(capsys, 1, "score", str(path), "--networks", "nb201:0", "--quiet")
    path.write_text(json.dumps(document | {"proxy": proxy | {"reference": reference | {"space": "nb101"}}}))
    assert "ranks among networks of nb101" in complaint(capsys, 2, "score", str(path), "--networks", "nb201:0", "-q")
    document["conditions"]["settings"]["launch"] = 1
    path.write_text(json.dumps(document))
    assert "launch" in complaint(capsys, 1, "score", str(path), "--networks", "nb201:0", "--quiet")

"""Scoring from the command line: every kind of proxy, files that are gone on with, the list of estimators."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import filelock
import pytest

from eznas.assessment import BADGES
from eznas.cli import main
from eznas.programs import parse, to_json
from eznas.proxies import gallery_proxy
from tests.eznas.cli.commands import Capsys, complaint, printed

pytestmark = pytest.mark.usefixtures("embedded_data")


def test_every_kind_of_proxy_is_scored_side_by_side(tiny_run: Path, tmp_path: Path, capsys: Capsys) -> None:
    path = tmp_path / "mine.json"
    path.write_text(to_json(parse("(log parameter_count)")))
    names = ["mac_count", str(path), f"{tiny_run}:best", "naswot"]
    arguments = ["score", *names, "--networks", "nb201:6111,10-12", "--quiet"]
    rows = json.loads(printed(capsys, *arguments, "--format", "json"))
    assert [row["index"] for row in rows] == [6111, 10, 11, 12]
    columns = ["mac_count", "mine", f"{tiny_run.name}:best", "naswot"]
    assert all(list(row) == ["index", "network", *columns, "failed", "coverage"] for row in rows)
    table = list(csv.DictReader(io.StringIO(printed(capsys, *arguments, "--format", "csv"))))
    assert [float(row["mac_count"]) for row in table] == [row["mac_count"] for row in rows]
    assert "6111" in printed(capsys, *arguments)


def test_scores_in_a_file_are_gone_on_with(tmp_path: Path, capsys: Capsys) -> None:
    """Cut off anywhere, and gone on with: the scores of an undisturbed command, and nothing is scored twice."""
    names = ["mac_count", "jacob_cov"]
    networks = ["--networks", "nb201:6111,1651,10-12", "--quiet", "--set", "report.baseline_batch_size=4"]
    path = tmp_path / "new" / "scores.csv"
    command = ["score", *names, *networks, "--output", str(path)]
    assert printed(capsys, *command).strip() == str(path)
    whole = path.read_text()
    rows = list(csv.DictReader(io.StringIO(whole)))
    assert [row["index"] for row in rows] == ["6111", "1651", "10", "11", "12"]
    dead = ["1651", "10", "12"]  # their output is zero
    assert [row["index"] for row in rows if row["failed"].startswith("jacob_cov: ")] == dead
    assert len({row["failed"] for row in rows}) == 2
    assert all(float(row["seconds"]) > 0 for row in rows)
    expected = json.loads(printed(capsys, "score", *names, *networks, "--format", "json"))
    for row, other in zip(rows, expected, strict=True):
        assert {name: float(row[name]) if row[name] else None for name in names} == {n: other[n] for n in names}

    def without_seconds(text: str) -> list[str]:
        return [line.rpartition(",")[0] for line in text.splitlines()]

    lines = whole.splitlines(keepends=True)
    for kept in ("".join(lines[:1]), "".join(lines[:3]), "".join(lines[:3]) + lines[3][:20], whole):
        path.write_text(kept)
        printed(capsys, *command)
        assert without_seconds(path.read_text()) == without_seconds(whole)
        assert path.read_text().startswith(kept[: kept.rfind("\n") + 1])
    for other in (["naswot", *names], names[:1]):
        assert "was begun with other proxies" in complaint(capsys, 2, "score", *other, *networks, "-o", str(path))
    assert "was begun with other settings" in complaint(capsys, 2, *command, "--set", "seed=5")
    reversed_ = complaint(capsys, 2, "score", *names[::-1], *networks, "-o", str(path))
    assert "do not have the columns" in reversed_
    with filelock.FileLock(path.with_name(".scores.csv.lock")):  # another process
        assert complaint(capsys, 1, *command) == (
            f"error: {path} is being written by another process; wait for it to end, or choose another --output"
        )
    settings = path.with_name("scores.csv.settings.json")
    settings.write_text(settings.read_text().replace('"seed": 0', '"seed": 5'))
    assert "was begun with other settings" in complaint(capsys, 2, *command)
    assert path.read_text().startswith(whole.splitlines()[0])
    (tmp_path / "notes.csv").write_text("mine\n")
    assert "notes.csv" in complaint(capsys, 2, *command[:-1], str(tmp_path / "notes.csv"))
    assert (tmp_path / "notes.csv").read_text() == "mine\n"


def test_proxies_between_commas_are_arguments_of_their_own(tmp_path: Path, capsys: Capsys) -> None:
    at = ["--networks", "nb201:6111,10-12", "--quiet", "--format", "json", "--set", "report.baseline_batch_size=4"]
    apart = printed(capsys, "score", "naswot", "synflow", *at)
    assert printed(capsys, "score", "naswot,synflow", *at) == apart
    assert printed(capsys, "score", "naswot, synflow", "naswot", *at) == apart
    path = tmp_path / "a,b+c.json"
    path.write_text(to_json(parse("parameter_count")))
    (row, *_) = json.loads(printed(capsys, "score", str(path), *at))
    assert list(row) == ["index", "network", "a,b+c", "failed", "coverage"]
    many = ",".join(["naswot", "synflow"] * 100)
    assert printed(capsys, "score", many, *at) == apart
    assert "NAME,NAME without gaps" in complaint(capsys, 2, "score", "naswot,,synflow", *at)


@pytest.mark.parametrize(
    "networks", ["|nor_conv_3x3~0|", "|warp~0|+|none~0|none~1|+|none~0|none~1|none~2|", "nb201:", "nb201:9-3", "x:all",
                 "nb201:random:0", "nb201:15625", "nb201:1,,2", "nb201:random:1:2:3", "", "nb201:²"],
)  # fmt: skip
def test_networks_that_do_not_exist_are_one_sentence(capsys: Capsys, networks: str) -> None:
    complaint(capsys, 1, "score", "mac_count", "--networks", networks, "--quiet")


DEEP = '{"op": "log", "args": [' * 10_000 + '{"leaf": "mac_count"}' + "]}" * 10_000


HEAD = '{"format": "eznas-program", "version": 1, "root": '


BAD_PROGRAMS = {
    "not json": "log mac_count",
    "empty": "",
    "another format": '{"format": "other"}',
    "another version": '{"format": "eznas-program", "version": 2}',
    "ill-typed": HEAD + '{"op": "sum_layers", "args": [{"leaf": "weight"}]}}',
    "incomplete": HEAD + '{"leaf": "weight"}}',
    "unknown operator": HEAD + '{"op": "launch", "args": []}}',
    "too deep": HEAD + DEEP + "}",
    "too large": HEAD + '{"leaf": "' + "x" * 2_000_000 + '"}}',
    "direction": HEAD.replace('"version"', '"direction": "up", "version"') + '{"leaf": "mac_count"}}',
}


@pytest.mark.parametrize("text", BAD_PROGRAMS.values(), ids=BAD_PROGRAMS)
def test_a_bad_program_file_is_one_sentence(tmp_path: Path, capsys: Capsys, text: str) -> None:
    path = tmp_path / "program.json"
    path.write_text(text)
    complaint(capsys, 1, "score", str(path), "--networks", "nb201:0", "--quiet")


def test_an_unknown_proxy_is_one_sentence(tiny_run: Path, tmp_path: Path, capsys: Capsys) -> None:
    at = ["--networks", "nb201:0", "--quiet"]
    assert "naswot" in complaint(capsys, 2, "score", "naswott", *at)
    assert "feedbeef" in complaint(capsys, 1, "score", f"{tiny_run}:feedbeef", *at)
    assert "is not a run folder" in complaint(capsys, 1, "score", f"{tmp_path}:best", *at)
    assert "missing.json" in complaint(capsys, 1, "score", str(tmp_path / "missing.json"), *at)
    assert "feedbeef" in complaint(capsys, 1, "show", str(tiny_run), "feedbeef")


def test_the_estimators_are_listed_in_three_forms(capsys: Capsys) -> None:
    rows = {row["name"]: row for row in json.loads(printed(capsys, "estimators", "--format", "json"))}
    assert rows["ntk"]["better"] == "lower"
    assert (rows["snip"]["labels"], rows["snip"]["images"], rows["zen"]["images"]) == ("yes", "values", "shape")
    assert [row["name"] for row in csv.DictReader(io.StringIO(printed(capsys, "estimators", "-f", "csv")))] == [*rows]
    assert "az_trainability" in printed(capsys, "estimators")


def test_the_initialisation_is_an_option_and_its_default_is_said(capsys: Capsys) -> None:
    arguments = ["score", "l2_norm,naswot", "--networks", "nb201:6111", "--format", "json"]
    arguments += ["--set", "report.baseline_batch_size=4"]
    scores = {}
    for scheme in (None, "eznas", "default"):
        assert main([*arguments, *(["--initialise", scheme] if scheme else [])]) == 0
        shown = capsys.readouterr()
        scores[scheme] = json.loads(shown.out)
        said = "Parameters are drawn by scheme eznas, the default; --initialise default draws them otherwise."
        assert (said in shown.err) == (scheme is None)
    assert scores[None] == scores["eznas"] != scores["default"]
    arguments.append("--quiet")
    kept = complaint(capsys, 2, *arguments, "--initialise", "keep")
    assert "input should be 'default' or 'eznas', got 'keep'" in kept
    assert "--initialise" in complaint(capsys, 2, *arguments, "--initialise", "xavier")


def test_progress_goes_to_stderr_alone(tiny_run: Path, capsys: Capsys) -> None:
    assert main(["score", "mac_count", "--networks", "nb201:0", "--format", "json"]) == 0
    shown = capsys.readouterr()
    found: list[dict[str, Any]] = json.loads(shown.out)
    assert len(found) == 1
    assert "Scoring 1 networks" in shown.err


def test_the_gallery_is_listed_in_three_forms(capsys: Capsys) -> None:
    names = [row["name"] for row in json.loads(printed(capsys, "gallery", "--format", "json"))]
    assert [row["name"] for row in csv.DictReader(io.StringIO(printed(capsys, "gallery", "-f", "csv")))] == names
    assert all(name in printed(capsys, "gallery") for name in names)
    assert "proxy of the gallery" in complaint(capsys, 2, "score", "gallery:none", "--networks", "nb201:0", "--quiet")


def test_a_proxy_of_the_gallery_in_every_form(tmp_path: Path, capsys: Capsys) -> None:
    name = "gradient_rank"
    assert printed(capsys, "gallery", name).startswith(f"gallery:{name}\n")
    found = json.loads(printed(capsys, "gallery", name, "--format", "json"))
    assert found["card"]["proxy"] == gallery_proxy(name).digest
    assert found["about"]["Kind"]
    assert printed(capsys, "gallery", name, "-f", "latex").startswith("\\sum_")
    path = tmp_path / "proxy.py"
    assert main(["gallery", name, "--format", "python", "-o", str(path)]) == 0
    assert f"{path}" in capsys.readouterr().err
    assert "def score(network" in path.read_text()
    assert "no latex form" in complaint(capsys, 2, "gallery", "-f", "latex")
    assert "got --format csv" in complaint(capsys, 2, "gallery", name, "-f", "csv")
    assert "did you mean 'gradient_rank'" in complaint(capsys, 2, "gallery", "gradients_rank")


def test_badges_of_any_proxy(capsys: Capsys) -> None:
    few = ["--networks", "nb201:random:5:1", "--quiet", "--set", "probe.input_size=8", "--set", "networks.channels=4"]
    rows = json.loads(printed(capsys, "badges", "parameter_count,gallery:dimensionality", *few, "-f", "json"))
    assert [(row["proxy"], row["changed"]) for row in rows] == [
        (name, badge.title) for name in ("parameter_count", "dimensionality") for badge in BADGES.values()
    ]
    known = {(row["proxy"], row["changed"]): row for row in rows}
    assert known["parameter_count", "another seed of everything"]["at most"] == 0
    assert known["dimensionality", "other images"]["at most"] == 0  # it looks at noise alone
    assert known["dimensionality", "another initialisation"]["at most"] > 0
    assert "5 networks or more, got 2" in complaint(capsys, 2, "badges", "naswot", "--networks", "nb201:0-1", "-q")
    assert "among each other" in complaint(capsys, 2, "badges", "az_nas", "--networks", "nb201:0-9", "-q")

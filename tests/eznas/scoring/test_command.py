"""Scores as people see them: a table, JSON with reasons, CSV."""

from __future__ import annotations

import csv
import io
import json

import pytest

from eznas.cli import main
from tests.eznas.scoring.conftest import Zoo

pytestmark = pytest.mark.usefixtures("embedded_data")
SOME = "{'good': Net, 'tuple': Tuple, 'broken': broken, 'large': lambda: Net(8)}"
Output = pytest.CaptureFixture[str]


def score(capsys: Output, *arguments: str) -> tuple[int, str, str]:
    status = main(["score", *arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_a_table_has_a_short_word_and_the_first_reason_of_each(zoo: Zoo, capsys: Output) -> None:
    spec = zoo(SOME, "zoo_table")
    status, out, err = score(capsys, "naswot,parameter_count", "--networks", spec)
    assert status == 0
    lines = [line.split() for line in out.splitlines() if "#" in line]
    assert [line[:2] for line in lines[1:3]] == [
        ["zoo_table:networks#tuple", "unfit"], ["zoo_table:networks#broken", "network"],
    ]  # fmt: skip
    assert float(lines[0][1]) != float(lines[3][1])
    reasons = [line for line in err.splitlines() if "has no score for" in line]
    assert [reason.partition(" has")[0] for reason in reasons] == ["naswot", "parameter_count"]
    assert "naswot has no score for zoo_table:networks#tuple: " in reasons[0]
    assert reasons[0].endswith(" (and 1 more)")
    assert "the checkpoint is gone" in reasons[1]
    assert err.isascii()
    assert "\x1b" not in out + err


def test_json_carries_the_reasons(zoo: Zoo, capsys: Output) -> None:
    spec = zoo("{**%s, 'raises': Raises}" % SOME, "zoo_json")  # noqa: UP031 (of braces)
    status, out, _ = score(capsys, "naswot,parameter_count", "--networks", spec, "--format", "json")
    assert status == 0
    found = {row["network"].partition("#")[2]: row for row in json.loads(out)}
    assert list(found) == ["good", "tuple", "broken", "large", "raises"]
    assert found["good"]["failed"] == found["large"]["failed"] == {}
    assert found["tuple"]["naswot"] is None
    assert found["tuple"]["parameter_count"] == found["good"]["parameter_count"]
    assert list(found["tuple"]["failed"]) == ["naswot"]
    assert found["tuple"]["failed"]["naswot"]["kind"] == "unfit"
    assert "tuple" in found["tuple"]["failed"]["naswot"]["detail"]
    assert {name: failure["kind"] for name, failure in found["broken"]["failed"].items()} == {
        "naswot": "network", "parameter_count": "network",
    }  # fmt: skip
    assert found["raises"]["failed"]["naswot"]["detail"].endswith("no [31m way at all")


def test_what_little_is_read_is_told(zoo: Zoo, capsys: Output) -> None:
    """By hand: of the three layers, the convolution between a ReLU and a normalisation is read; or all of them."""
    spec = zoo("{'small': Net, 'large': lambda: Net(8)}", "zoo_read")
    formula = "(sum_layers (frobenius_norm weight))"
    usual = ("--set", "probe.units=convolutional")
    status, out, err = score(capsys, formula, "parameter_count", "--networks", spec, "--format", "json", *usual)
    assert status == 0
    small = json.loads(out)[0]["coverage"]
    second, first, last = 4 * 4 * 9, 4 * 3 * 9, 4 * 10 + 10
    n_macs = 32 * 32 * (first + second) + last
    assert list(small) == [formula], "a program that counts alone reads no layer"
    assert small[formula] == {
        "layers": round(1 / 3, 4),
        "parameters": round(second / (first + second + last + 16), 4),
        "macs": round(32 * 32 * second / n_macs, 4),
    }
    told = f"{formula} reads 33% of the layers and 57% of the multiply-accumulates of zoo_read:networks#small (and"
    assert told in err
    status, out, err = score(capsys, formula, "--networks", spec, "--format", "json")
    assert json.loads(out)[1]["coverage"][formula]["layers"] == 1.0
    assert "of the layers" not in err
    status, out, err = score(capsys, formula, "--networks", spec, "--output", "read.csv", *usual)
    assert f"{formula} reads 33% of the layers" in err


def test_csv_is_empty_where_a_proxy_failed(zoo: Zoo, capsys: Output) -> None:
    status, out, _ = score(capsys, "naswot", "--networks", zoo(SOME), "--format", "csv")
    assert status == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == ["index", "network", "naswot"]
    assert [bool(row["naswot"]) for row in rows] == [True, False, False, True]


def test_workers_give_the_same_scores(zoo: Zoo, capsys: Output) -> None:
    spec = zoo("{'good': Net, 'tuple': Tuple, 'large': lambda: Net(8)}")
    options = ("naswot,naswot_units", "--networks", spec, "--format", "json", "-q")
    here = score(capsys, *options)
    there = score(capsys, *options, "--workers", "2")
    assert here[0] == there[0] == 0
    assert json.loads(here[1]) == json.loads(there[1])


def test_networks_whose_forward_pass_does_not_suit_can_be_counted(zoo: Zoo, capsys: Output) -> None:
    spec = zoo("[('t', Tuple()), ('u', Tuple(8)), ('r', Raises())]")
    status, out, _ = score(capsys, "parameter_count,trainable_layers", "--networks", spec, "--format", "json")
    assert status == 0
    first, larger, raises = ((row["parameter_count"], row["trainable_layers"]) for row in json.loads(out))
    assert first == raises == (3 * 4 * 9 + 4 * 4 * 9 + 16 + 50, 8)
    assert larger[0] > first[0]
    status, out, err = score(capsys, "naswot,parameter_count", "--networks", spec, "--quiet")
    assert (status, out) == (2, "")
    assert err.count("\n") == 1


def test_networks_of_one_channel_and_of_two_classes(zoo: Zoo, capsys: Output) -> None:
    for network in ("Net(channels=1)", "Net(n_classes=2)"):
        spec = zoo(f"[('a', {network})]")
        status, out, err = score(capsys, "naswot,zico,snip", "--networks", spec, "--format", "json")
        assert status == 0, err
        (row,) = json.loads(out)
        assert row["failed"] == {}


def test_a_formula_and_a_device(capsys: Output) -> None:
    formula = "(sum_layers (frobenius_norm weight))"
    status, out, _ = score(capsys, formula, "--networks", "nb201:0-1", "--device", "cpu", "--format", "csv")
    assert status == 0
    assert out.splitlines()[0] == f"index,network,{formula}"
    status, _, err = score(capsys, "naswot", "--networks", "nb201:0", "--device", "tpu")
    assert (status, err) == (2, "error: --device must be cpu or cuda, got 'tpu'\n")

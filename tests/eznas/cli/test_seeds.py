"""Runs of several seeds: each in its folder, gone on with, and one table of what they found."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from eznas.cli import main
from eznas.reporting.spread import mean_interval
from tests.eznas.cli.commands import Capsys, complaint, printed
from tests.eznas.reporting.conftest import make_run
from tests.eznas.tiny import options, result

pytestmark = pytest.mark.usefixtures("embedded_data")


@pytest.mark.usefixtures("no_report")
def test_seeds_are_run_one_after_another_and_gone_on_with(tiny_run: Path, tmp_path: Path, capsys: Capsys) -> None:
    """The settings are those of the tiny run, whose seed is 1: so the first is that run again."""
    folder = tmp_path / "many"
    asked = ["evolve", "--quiet", "--run-dir", str(folder), *options()]
    assert main([*asked, "--seeds", "1"]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["seed-1"]
    assert result(folder / "seed-1") == result(tiny_run)
    before = (folder / "seed-1" / "front.json").read_bytes()
    capsys.readouterr()
    (folder / "seed-1" / "report.html").write_text("")  # as if the report had been written: nothing is left to do
    assert main([*asked, "--seeds", "2"]) == 0
    table = capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == ["seed-1", "seed-2"]
    assert (folder / "seed-1" / "front.json").read_bytes() == before
    assert json.loads((folder / "seed-2" / "front.json").read_text())["run"]["seed"] == 2
    assert printed(capsys, "front", str(folder)) == table
    changed = ["evolve", "--quiet", "--run-dir", str(folder), *options(evolution__n_generations="3"), "--seeds", "2"]
    assert "begun with other settings" in complaint(capsys, 1, *changed)
    assert "is a run itself" in complaint(capsys, 1, *asked[:3], str(folder / "seed-1"), *options(), "--seeds", "2")


def test_the_spread_is_told_with_mean_deviation_and_interval(tmp_path: Path, capsys: Capsys) -> None:
    for seed in (10, 9):
        make_run(tmp_path / f"seed-{seed}", ["cifar10"], seed=seed)
    (tmp_path / "seed-11").mkdir()  # not finished
    path = tmp_path / "seed-9" / "front.json"
    document = json.loads(path.read_text())
    for entry in document["entries"]:
        if entry["is_pick"]:
            entry["report"]["cifar10"]["tau"] = {"value": 0.5, "low": 0.4, "high": 0.6}
    path.write_text(json.dumps(document))
    rows = list(csv.DictReader(io.StringIO(printed(capsys, "front", str(tmp_path), "-f", "csv"))))
    assert [row["seed"] for row in rows] == ["9", "10"]
    taus = [float(row["report"]) for row in rows]
    assert taus[0] == 0.5
    text = printed(capsys, "front", str(tmp_path))
    (mean,) = [line for line in text.splitlines() if line.split()[:1] == ["mean"]]
    (deviation,) = [line for line in text.splitlines() if line.split()[:1] == ["sd"]]
    assert f"{np.mean(taus):.3f}" in mean
    assert f"{np.std(taus, ddof=1):.3f}" in deviation
    low, high = mean_interval(taus)
    said = " ".join(text.split())
    assert f"Mean held-out tau over 2 seeds: {np.mean(taus):.3f} [{low:.3f}, {high:.3f}]" in said
    assert "160 networks, test accuracy after 200 epochs" in said
    assert "0.500 [0.400, 0.600]" in said
    assert "name one of them" in complaint(capsys, 2, "front", str(tmp_path), "--format", "latex")


def test_the_interval_of_a_mean_is_that_of_student() -> None:
    assert mean_interval([0.1, 0.2, 0.3, 0.4, 0.5]) == pytest.approx((0.3 - 0.19632, 0.3 + 0.19632), abs=1e-4)

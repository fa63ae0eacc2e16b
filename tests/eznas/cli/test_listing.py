"""Commands about several runs: what is listed of sound, unfinished and damaged ones; two picks on common networks."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau

from eznas.cli import main
from eznas.runs import load_front
from eznas.runs.history import read_scores
from tests.eznas.cli.commands import Capsys, complaint

pytestmark = pytest.mark.usefixtures("embedded_data")


@pytest.fixture
def folder(tiny_run: Path, tmp_path: Path) -> Path:
    """A finished run, one without a front, one whose front is damaged, and a folder that is no run."""
    for name in ("done", "inner/begun", "broken"):
        shutil.copytree(tiny_run, tmp_path / name)
    for name in ("front.json", "report.html"):
        (tmp_path / "inner" / "begun" / name).unlink(missing_ok=True)
    (tmp_path / "broken" / "front.json").write_text("{")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text("{}")
    return tmp_path


def json_of(capsys: Capsys, *arguments: str) -> Any:
    assert main([*arguments, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_runs_are_listed_with_state_tau_and_size(folder: Path, capsys: Capsys) -> None:
    broken, done, begun = json_of(capsys, "runs", str(folder))
    front = load_front(folder / "done")
    assert front.pick is not None
    tau = front.pick.report["cifar10"].tau
    assert tau is not None
    assert done["run"] == str(folder / "done")
    assert (done["tau"], done["tau low"], done["tau high"]) == (tau.value, tau.low, tau.high)
    assert done["measured on"] == "cifar10: 12 networks, test accuracy after full training"
    assert done["programs"] == front.run.n_programs == begun["programs"]
    assert done["bytes"] == sum(file.lstat().st_size for file in (folder / "done").rglob("*") if file.is_file())
    assert begun["state"] == "generation 2 of 2"
    assert begun["tau"] is None
    assert broken["state"].startswith("damaged: ")
    assert main(["runs", str(folder)]) == 0
    shown = capsys.readouterr()
    assert f"{tau.value:.3f} [{tau.low:.3f}, {tau.high:.3f}]" in shown.out
    assert shown.err.startswith("3 run(s), ")
    assert "There is no folder" in complaint(capsys, 2, "runs", str(folder / "none"))


def edited_scores(run: Path, change: dict[str, str], n_kept: int | None = None) -> None:
    """Columns renamed or reversed in the table of a run's scores, and its last rows left out."""
    path = run / "report_scores.csv"
    header, *rows = list(csv.reader(io.StringIO(path.read_text())))
    for column, how in change.items():
        place = header.index(column)
        for row in rows:
            row[place] = str(-float(row[place])) if how == "reversed" else row[place]
    path.write_text("\n".join(",".join(f'"{cell}"' for cell in row) for row in [header, *rows[:n_kept]]) + "\n")


def test_two_runs_are_compared_on_the_networks_that_both_held_out(folder: Path, capsys: Capsys) -> None:
    first, second = folder / "done", folder / "inner" / "other"
    shutil.copytree(first, second)
    pick = load_front(first).pick
    assert pick is not None
    edited_scores(second, {pick.id: "reversed"}, n_kept=9)
    (row,) = json_of(capsys, "compare", str(first), str(second), "--resamples", "200")
    scores = read_scores(first)
    tau = kendalltau(scores.by_proxy[pick.id][:9], scores.accuracies["cifar10"][:9]).statistic
    assert (row["n"], row["sample"]) == (9, "nb201/cifar10")
    assert row["first"] == pytest.approx(tau)
    assert row["second"] == pytest.approx(-tau)
    assert row["difference"] == pytest.approx(2 * tau)
    assert row["verdict"] == ("the first is better" if row["difference low"] > 0 else "not told apart")
    assert main(["compare", f"{first}:naswot", str(second)]) == 0
    shown = capsys.readouterr()
    assert "The first is naswot of" in shown.err
    assert "9 networks, test accuracy" in " ".join(shown.out.split())


def test_a_run_is_not_told_apart_from_itself(tiny_run: Path, capsys: Capsys) -> None:
    (row,) = json_of(capsys, "compare", str(tiny_run), str(tiny_run))
    assert (row["difference"], row["difference low"], row["difference high"]) == (0.0, 0.0, 0.0)
    assert row["verdict"] == "not told apart"


def test_runs_without_common_networks_are_refused(folder: Path, capsys: Capsys) -> None:
    first, second = folder / "done", folder / "broken"
    assert "front.json" in complaint(capsys, 1, "compare", str(first), str(second))
    other = folder / "other_networks"
    shutil.copytree(first, other)
    edited_scores(other, {}, n_kept=4)
    said = complaint(capsys, 1, "compare", str(first), str(other))
    assert "4 network(s)" in said
    assert "eznas assess" in said


def test_other_accuracies_do_not_count(folder: Path, capsys: Capsys) -> None:
    other = folder / "other_accuracies"
    shutil.copytree(folder / "done", other)
    edited_scores(other, {"accuracy:cifar10": "reversed"})
    assert "0 network(s) with the same accuracy" in complaint(capsys, 1, "compare", str(folder / "done"), str(other))


def test_scores_name_their_networks(tiny_run: Path) -> None:
    scores = read_scores(tiny_run)
    assert len(set(scores.networks)) == 12 == np.isfinite(scores.accuracies["cifar10"]).sum()

"""The front is read back faithfully, shown in order, and damaged files are refused in one sentence."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eznas.errors import RunError
from eznas.reporting import front_csv, front_json, front_table
from eznas.runs.front import Front, load_front


@pytest.fixture
def changed(finished_run: Path, tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], None]], Path]:
    """A copy of the run with its front.json changed."""

    def make(change: Callable[[dict[str, Any]], None]) -> Path:
        folder = tmp_path / "run"
        shutil.copytree(finished_run, folder)
        document = json.loads((folder / "front.json").read_text())
        change(document)
        (folder / "front.json").write_text(json.dumps(document))
        return folder

    return make


@pytest.fixture(scope="module")
def front(finished_run: Path) -> Front:
    return load_front(finished_run)


def test_everything_is_read(front: Front, finished_run: Path) -> None:
    document = json.loads((finished_run / "front.json").read_text())
    assert front.run.n_programs == 2_314
    assert [task.name for task in front.tasks] == ["cifar10", "cifar100"]
    assert front.tasks[0].report.split == "test"
    by_id = {entry.id: entry for entry in front.entries}
    for recorded in document["entries"]:
        entry = by_id[recorded["id"]]
        assert (entry.program.text if entry.program else None) == recorded["program"]
        assert entry.direction == recorded["direction"]
        for task, measured in recorded["report"].items():
            assert entry.report[task].tau == measured["tau"]
    assert front.pick is not None
    assert front.pick.is_pick
    assert front.best_published is not None
    assert front.best_published.name == "naswot"


def test_order_is_that_of_the_selection_networks_never_of_the_held_out_ones(
    changed: Callable[[Callable[[dict[str, Any]], None]], Path],
) -> None:
    def worst_looks_best_on_held_out_networks(document: dict[str, Any]) -> None:
        for entry in document["entries"]:
            for task in entry["select"]:
                if entry["report"][task]["tau"] is not None:
                    entry["report"][task]["tau"] = -entry["report"][task]["tau"]

    front = load_front(changed(worst_looks_best_on_held_out_networks))
    taus = [entry.worst_tau("select") or 0.0 for entry in front.discovered]
    assert taus == sorted(taus, reverse=True)
    kinds = [entry.kind for entry in front.entries]
    assert kinds == sorted(kinds)
    assert front.published[-1].name == "eznas_a_paper"


@pytest.mark.parametrize("width", [60, 120, 200])
def test_table_names_all_proxies_and_what_was_measured(front: Front, width: int) -> None:
    lines = front_table(front, width=width).splitlines()
    assert front.pick is not None
    for entry in front.entries:
        (row,) = [line for line in lines if re.match(rf"[ *]+{re.escape(entry.label)} ", line)]
        assert row.lstrip().startswith("*") == (entry is front.pick)
        measured = entry.report["cifar10"]
        expected = "failed" if measured.tau is None else f"{measured.tau:.3f} ["
        assert expected in row
    text = " ".join(" ".join(lines).split())
    for expected in ("160 networks, test accuracy after 200 epochs", "95 % bootstrap interval", "held-out"):
        assert expected in text


def test_wide_tables_stay_within_their_width(front: Front) -> None:
    assert max(map(len, front_table(front, width=160).splitlines())) <= 160


def test_json_and_csv_hold_the_same_numbers(front: Front) -> None:
    document = json.loads(front_json(front))
    assert [entry["id"] for entry in document["entries"]] == [entry.id for entry in front.entries]
    rows = list(csv.DictReader(io.StringIO(front_csv(front))))
    assert len(rows) == 2 * len(front.entries)
    first = front.entries[0]
    assert float(rows[0]["report_tau"]) == first.report["cifar10"].tau
    assert rows[-1]["report_tau"] == ""


def test_entries_are_found_by_name_or_by_the_start_of_their_id(front: Front) -> None:
    assert front.pick is not None
    assert front.entry(front.pick.id[:6]) is front.pick
    assert front.entry("synflow").name == "synflow"
    with pytest.raises(RunError, match=r"There is no proxy 'zzz' in .*; it holds .*synflow"):
        front.entry("zzz")
    with pytest.raises(RunError, match="There is no proxy ''"):
        front.entry("")


def test_name_wins_over_ids_that_start_so(front: Front) -> None:
    assert front.entry("eznas_a_code").name == "eznas_a_code"
    with pytest.raises(RunError, match="2 proxies begin with 'eznas'"):
        front.entry("eznas")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(version=2), "version 2; this release reads 'eznas-front' version 1"),
        (lambda d: d.pop("tasks"), "'tasks' must be a list of objects, got None"),
        (lambda d: d["run"].update(seed="7"), "run is damaged: 'seed' must be a whole number, got '7'"),
        (lambda d: d["entries"][2].update(direction=0), r"entries\[2\] is damaged: 'direction' must be 1 or -1, got 0"),
        (lambda d: d["entries"][0].update(tree={"op": "os.system", "args": []}), "Unknown operator 'os.system'"),
        (lambda d: d["entries"][1].update(simplified="(mean"), r"entries\[1\] holds a program that cannot be read"),
        (lambda d: d["entries"][0]["report"]["cifar10"].update(tau=float("nan")), "'tau' must be a finite number"),
        (lambda d: d["entries"][0]["report"]["cifar10"].update(tau_interval=[1]), "must be a pair of numbers"),
    ],
)
def test_damage_is_refused_in_one_sentence(
    change: Callable[[dict[str, Any]], None], message: str,
    changed: Callable[[Callable[[dict[str, Any]], None]], Path],
) -> None:  # fmt: skip
    with pytest.raises(RunError, match=message) as caught:
        load_front(changed(change))
    assert "\n" not in str(caught.value)


def test_missing_and_broken_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no front\.json; check the path"):
        load_front(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"has no front\.json; finish the run with eznas resume"):
        load_front(tmp_path)
    (tmp_path / "front.json").write_text('{"format": ')
    with pytest.raises(RunError, match="is not valid JSON"):
        load_front(tmp_path)
    (tmp_path / "front.json").write_text("[]")
    with pytest.raises(RunError, match="must hold a JSON object, got list"):
        load_front(tmp_path)

"""What is taken from a front on the command line: limits and rules alike in front, show, export and score; seeds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eznas.cli import main
from eznas.runs.config import load_config
from eznas.study import evolve_seeds
from tests.eznas.cli.commands import FEW, OUTSIDE, Capsys, complaint, printed
from tests.eznas.tiny import options

pytestmark = pytest.mark.usefixtures("embedded_data")


def test_a_choice_is_one_and_the_same_everywhere(tiny_run: Path, capsys: Capsys) -> None:
    document = json.loads(printed(capsys, "front", str(tiny_run), "--select", "best", "-f", "json"))
    pick = next(entry for entry in document["entries"] if entry["is_pick"])
    shown = json.loads(printed(capsys, "show", str(tiny_run), "--select", "best", "-f", "json"))
    assert shown["id"] == pick["id"]
    assert pick["id"][:8] in printed(capsys, "export", str(tiny_run), "--select", "best")
    table = printed(capsys, "score", f"{tiny_run}:best", "--networks", OUTSIDE, "--select", "best", *FEW)
    assert pick["id"] in table
    assert r"\toprule" in printed(capsys, "front", str(tiny_run), "--format", "latex")


def test_what_leaves_nothing_is_one_sentence(run: Path, capsys: Capsys) -> None:
    document = json.loads((run / "front.json").read_text())
    document["entries"] = [e for e in document["entries"] if e["name"] or "(" in e["program"]]
    (run / "front.json").write_text(json.dumps(document))
    for words in (["front", str(run)], ["show", str(run)], ["export", str(run)]):
        assert "is left by --max-size 1" in complaint(capsys, 1, *words, "--max-size", "1")
    line = complaint(capsys, 1, "score", f"{run}:best", "--networks", OUTSIDE, "--max-size", "1")
    assert "is left by --max-size 1" in line
    line = complaint(capsys, 2, "score", "naswot", "--networks", OUTSIDE, "--max-size", "9")
    assert "none of the proxies is RUN:best" in line


def test_seeds_run_one_after_another_and_can_be_gone_on_with(tmp_path: Path, no_report: None, capsys: Capsys) -> None:
    words = ["evolve", "--quiet", "--seeds", "2", "--run-dir", str(tmp_path / "run"), *options()]
    asked: list[int] = []

    def after_two() -> bool:
        asked.append(1)
        return len(asked) > 2

    settings = load_config(None, options()[1::2])
    begun = evolve_seeds(settings, 2, run_dir=tmp_path / "run", should_stop=after_two)
    assert [study.is_finished for study in begun] == [False]
    assert main(["resume", "--quiet", str(tmp_path / "run")]) == 0
    first = capsys.readouterr().out
    for seed in (1, 2):
        assert json.loads((tmp_path / "run" / f"seed-{seed}" / "front.json").read_text())["run"]["seed"] == seed
    assert "deviation" in first
    assert (tmp_path / "run" / "seeds.csv").is_file()
    assert 'href="seed-2/report.html"' in (tmp_path / "run" / "report.html").read_text()
    assert main(words) == 0
    assert capsys.readouterr().out == first
    plan = (tmp_path / "run" / "seeds.json").read_text()
    line = complaint(capsys, 1, *words, "--set", "evolution.n_generations=3")
    assert "was begun with other settings (evolution)" in line
    assert (tmp_path / "run" / "seeds.json").read_text() == plan
    (tmp_path / "run" / "seeds.json").write_text(plan.replace('"n_seeds": 2', '"n_seeds": 0'))
    assert "'n_seeds' in" in complaint(capsys, 1, "resume", str(tmp_path / "run"))
    too_many = ["evolve", "--quiet", "--seeds", "2", "--set", "benchmark.n_evolve=100000"]
    complaint(capsys, 1, *too_many, "--run-dir", str(tmp_path / "none"))
    assert not (tmp_path / "none").exists(), "nothing was begun"

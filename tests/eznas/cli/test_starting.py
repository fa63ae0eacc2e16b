"""Commands before a run: settings listed and compared, what a run would do, all that would stop it at once."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from eznas.cli import main
from eznas.evolution.two_level import listed_words
from eznas.files import size_text
from eznas.runs.config import RunConfig, config_from, load_config, problems_of
from eznas.runs.settings import changes
from eznas.study import Machine
from eznas.study.plan import plan
from primitives import PRIMITIVE_SETS
from tests.eznas import small_zoo
from tests.eznas.cli.commands import Capsys, complaint, printed
from tests.eznas.tiny import options

pytestmark = pytest.mark.usefixtures("embedded_data")


def test_config_is_a_file_that_evolve_reads(capsys: Capsys) -> None:
    assert config_from(tomllib.loads(printed(capsys, "config"))) == RunConfig()
    some = printed(capsys, "config", "evolution.n_")
    assert set(tomllib.loads(some)) == {"evolution"}
    assert "# two-level: sentences tried in a generation." in some
    rows = json.loads(printed(capsys, "config", "probe.batch_size", "--format", "json"))
    assert rows == [
        {"setting": "probe.batch_size", "default": "8", "takes": "a whole number from 1 to 1,000,000",
         "meaning": "Images of a batch."}
    ]  # fmt: skip
    assert "did you mean 'evolution" in complaint(capsys, 2, "config", "evolution.n_generation_s")


def test_config_says_what_a_run_changed(tiny_run: Path, capsys: Capsys) -> None:
    assert main(["config", "--diff", str(tiny_run), "-f", "csv", "evolution"]) == 0
    shown = capsys.readouterr()
    assert "evolution.population_size,200,20\n" in shown.out
    assert "benchmark" not in shown.out
    assert "3 setting(s)" in shown.err
    assert "Cannot read" in complaint(capsys, 2, "config", "--diff", str(tiny_run / "none"))
    assert "--set too" in complaint(capsys, 2, "config", "--diff", str(tiny_run), "--set", "seed=1")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options that name twelve networks with accuracies."""
    monkeypatch.chdir(tmp_path)
    Path("plan_zoo.py").write_text(small_zoo.MODULE.replace("N)", "12)"))
    rows = [f"n{width},{60 + 3 * width}" for width in range(2, 14)]
    Path("accuracies.csv").write_text("\n".join(["network,accuracy", *rows]) + "\n")
    return ["--networks", "python:plan_zoo:networks", "--accuracies", "accuracies.csv"]


def test_a_dry_run_tells_networks_images_time_and_cache(
    tmp_path: Path, cache: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = options(report__baselines='["mac_count"]')
    assert main(["evolve", "--dry-run", "--run-dir", "new", "--seeds", "3", *asked]) == 0
    shown = capsys.readouterr()
    row = next(line for line in shown.out.splitlines() if " nb201 " in line).split()
    assert row[:6] == ["nb201", "15625", "16", "12", "12", "cifar10"]
    assert "3 x 8 x 8" in shown.out
    assert "Programs: 60 at most." in shown.out
    assert "Time: about " in shown.out
    assert "with 3 seeds" in shown.out
    assert f"MiB of statistics in {cache / 'statistics'}" in shown.out
    assert "nothing was begun" in shown.err
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_at_two_levels_tells_the_time_of_words_and_what_the_bank_knows(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EZNAS_CACHE", str(tmp_path / "cache"))
    two_levels = {
        "evolution__regime": "two-level", "evolution__primitive_set": "general", "evolution__n_words": "30",
        "evolution__n_new_words": "4", "evolution__n_sentences": "300",
    }  # fmt: skip
    asked = options(report__baselines="[]", **two_levels)
    assert main(["evolve", "--dry-run", *asked]) == 0
    shown = capsys.readouterr()
    assert "Trying 38 words on 2 networks of nb201 ..." in shown.err
    assert "Programs: 300 sentences of words are tried in each of 3 generations" in shown.out
    assert "(evolution " in shown.out
    assert "capture" not in shown.out
    n_bytes = 9 * 16 * (38 + 2 * 4)
    assert f"Cache: {size_text(n_bytes)} of values of words in {tmp_path / 'cache' / 'banks'}.\n" in shown.out
    assert not (tmp_path / "cache").exists(), "nothing is written"
    settings = load_config(None, asked[1::2])
    machine = Machine()
    first = plan(settings, machine=machine).estimate
    words = tmp_path / "words"
    words.write_text("\n".join(listed_words(PRIMITIVE_SETS["general"], 30, 1)))
    assert main(["bank", "build", "--quiet", "--words", str(words), *asked]) == 0
    again = plan(settings, machine=machine).estimate
    assert first is not None
    assert again is not None
    assert (first.n_known, again.n_known) == (0, 9 * 16 * 38)
    assert first.n_bytes == again.n_bytes == n_bytes


def test_a_dry_run_tells_every_problem_at_once(tiny_run: Path, capsys: Capsys) -> None:
    wrong = {
        "evolution.popsize": "3", "probe.batch_size": "0", "report.baselines": '["naswit"]',
        "evolution.seeds": '["(mean)"]', "benchmark.accuracies": '"none.csv"', "benchmark.networks": '"python:none:f"',
        "benchmark.name": "python", "evolution.objectives": '["tao"]',
    }  # fmt: skip
    asked = [word for key, value in wrong.items() for word in ("--set", f"{key}={value}")]
    assert main(["evolve", "--dry-run", "--run-dir", str(tiny_run), "--device", "tpu", *asked]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    *problems, last = (line for line in shown.err.splitlines() if not line.endswith(" ..."))
    for word in ("popsize", "batch_size", "naswit", "evolution.seeds", "none.csv", "none", "tao", "--run-dir", "tpu"):
        assert any(word in problem for problem in problems), word
    assert sum("none.csv" in problem for problem in problems) == 1
    assert all(problem.startswith("error: ") for problem in problems)
    assert last == f"{len(problems)} problem(s); nothing was begun."


def test_unknown_benchmarks_do_not_hide_other_problems() -> None:
    table = {"benchmark": {"name": "nb2011"}, "seed": -1, "probe": {"input_size": "x", "batch_size": 4}}
    config, problems = problems_of(table)
    assert config is not None
    assert config.probe.batch_size == 4
    assert {problem.split()[0] for problem in problems} == {"Unknown", "Setting"}
    assert problems_of({"seed": 3}) == (config_from({"seed": 3}), ())


def test_init_writes_a_file_that_evolve_reads(own: list[str], capsys: Capsys) -> None:
    assert main(["init", "mine.toml", *own, "--set", "seed=4", "--set", "report.baselines=[]"]) == 0
    told = capsys.readouterr().out
    assert "cross-fitted" in told
    assert "of a split not stated" in told
    config = load_config(Path("mine.toml"))
    assert (config.seed, config.benchmark.networks) == (4, own[1])
    assert {key for key, *_ in changes(config)} == {
        "seed", "benchmark.name", "benchmark.networks", "benchmark.accuracies", "report.baselines",
    }  # fmt: skip
    assert "is there already" in complaint(capsys, 2, "init", "mine.toml")
    assert main(["init", "other.toml", *own, "--set", "seed=x"]) == 2
    assert main(["init", "third.toml", *own, "--device", "tpu"]) == 2
    assert "--device must be cpu or cuda, got 'tpu'" in "".join(capsys.readouterr())
    assert not Path("other.toml").exists()

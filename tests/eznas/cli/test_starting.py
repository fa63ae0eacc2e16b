"""Commands before a run: settings listed and compared with the defaults."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from eznas.cli import main
from eznas.runs.config import RunConfig, config_from
from tests.eznas.cli.commands import Capsys, complaint, printed

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

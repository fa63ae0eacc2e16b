"""Runs at two levels: killed, resumed or spread over workers they end alike, and their banks serve the next run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from eznas.bank.block import Block, read_block, write_block
from eznas.errors import BankError
from eznas.runs import Journal, RunFolder
from eznas.runs.config import load_config
from eznas.study import Silent, Study
from eznas.study import run as runs
from eznas.study.outlook import Outline
from tests.eznas.tiny import evolve, result

pytestmark = pytest.mark.usefixtures("embedded_data", "nothing_simplified")

WORDS = {
    "evolution__regime": "two-level", "evolution__primitive_set": "general", "evolution__n_words": "60",
    "evolution__n_new_words": "6", "evolution__n_sentences": "600", "evolution__max_size": "30",
    "evolution__population_size": "12",
}  # fmt: skip


class Steps(Silent):
    """Remembers the steps of a run, and how far each was told to be."""

    def __init__(self) -> None:
        self.far: list[tuple[str, list[tuple[int, int]]]] = []
        self.outline: Outline | None = None

    def begin(self, outline: Outline) -> None:
        self.outline = outline

    def step(self, text: str, unit: str = "networks") -> None:
        self.far.append((text, []))

    def advance(self, done: int, total: int) -> None:
        self.far[-1][1].append((done, total))


def front_of(path: Path) -> object:
    front = result(path)["front"]
    return [(entry["program"], entry["direction"], entry["report"]) for entry in front["entries"]]


@pytest.fixture(scope="module")
def banks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of the runs of this module."""
    return tmp_path_factory.mktemp("banks")


@pytest.fixture(autouse=True)
def _one_cache(embedded_data: None, banks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EZNAS_CACHE", str(banks))


def test_a_run_ends_with_typed_programs_and_its_bank_serves_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert evolve(tmp_path / "one", **WORDS) == 0
    study = Study(tmp_path / "one")
    assert study.best.program.is_complete
    found = {c.operator for c in Journal(RunFolder(tmp_path / "one"), 3).load(read_only=True).candidates.values()}
    assert found == {"law", "sum", "sentence"}

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("eznas.bank.build.statistics_for", refuse)
    assert evolve(tmp_path / "two", **WORDS) == 0
    assert front_of(tmp_path / "two") == front_of(tmp_path / "one")


def test_workers_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert evolve(tmp_path / "one", **WORDS) == 0
    monkeypatch.setenv("EZNAS_CACHE", str(tmp_path / "other-cache"))
    assert evolve(tmp_path / "two", "--workers", "2", **WORDS) == 0
    programs = [[entry[0] for entry in front_of(tmp_path / name)] for name in ("one", "two")]  # type: ignore[attr-defined]
    assert programs[0] == programs[1]


def test_a_stopped_run_goes_on_as_if_undisturbed(tmp_path: Path) -> None:
    assert evolve(tmp_path / "whole", **WORDS) == 0
    config = load_config(tmp_path / "whole" / "config.toml")
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    steps = Steps()
    runs.evolve(config, run_dir=tmp_path / "stopped", should_stop=should_stop, observer=steps)
    assert steps.outline is not None
    assert steps.outline.n_words == 60
    assert [text.split()[0] for text, _ in steps.far[:2]] == ["Computing", "Choosing"]
    begins = ("Fitting laws of up to", "Fitting sums of up to", "Breeding sentences of", "Tuning the constants of")
    for number, begin in enumerate(begins, start=2):
        text, marks = steps.far[number]
        assert text.startswith(begin)
        assert marks, text
        assert [done for done, _ in marks] == sorted(done for done, _ in marks)
        assert marks[-1][0] == marks[-1][1], "a bar is full at the end of its step"
    assert steps.far[6][0].startswith("Evaluating")
    assert not (tmp_path / "stopped" / "front.json").exists()
    runs.resume(tmp_path / "stopped")
    assert front_of(tmp_path / "stopped") == front_of(tmp_path / "whole")


def test_a_bank_that_was_changed_is_not_believed(tmp_path: Path, banks: Path) -> None:
    assert evolve(tmp_path / "one", **WORDS) == 0
    shutil.copytree(banks, tmp_path / "changed")
    for path in sorted((tmp_path / "changed").rglob("*.safetensors")):
        block = read_block(path, len(json.loads((path.parent / "rows.json").read_text())))
        path.unlink()
        write_block(path.parent, Block(block.columns, block.values * 1.5, block.kinds))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EZNAS_CACHE", str(tmp_path / "changed"))
        (tmp_path / "one" / "front.json").unlink()
        with pytest.raises(BankError, match="do not agree"):
            runs.resume(tmp_path / "one")

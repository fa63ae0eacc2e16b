"""What a killed run left behind: nothing but the generation in flight is lost."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from eznas.errors import RunError
from eznas.runs import Journal, RunFolder, SearchState, hall_of_fame
from eznas.runs.journal import GROWING, HALL_OF_FAME_SIZE
from eznas.runs.records import read_history
from tests.eznas.evolution.fakes import contents, make_search


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("journal") / "run"
    make_search(path).run()
    return path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run to be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def load(path: Path) -> SearchState:
    return Journal(RunFolder(path), 3).load()


def checkpoints(path: Path) -> list[Path]:
    return sorted((path / "checkpoints").iterdir())


def test_a_finished_run_is_read_back(finished: Path) -> None:
    state = load(finished)
    assert state.generation == 5
    assert state.n_evaluated == 20 + 5 * 12
    assert load(finished) == state
    assert set(state.population) <= set(state.candidates)
    assert [c.id for c in state.candidates.values()] == [
        json.loads(line)["id"] for line in (finished / "programs.jsonl").read_text().splitlines()
    ]


def test_the_last_checkpoints_are_kept(finished: Path) -> None:
    assert [path.name for path in checkpoints(finished)] == ["000003.json", "000004.json", "000005.json"]


@pytest.mark.parametrize("name", GROWING)
def test_what_lies_beyond_the_checkpoint_is_cut_off(run: Path, name: str) -> None:
    before = (run / name).read_bytes()
    with (run / name).open("ab") as file:
        file.write(b'{"id":"ffff","reason":"x"}\n{"torn')
    state = load(run)
    assert "ffff" not in state
    assert (run / name).read_bytes() == before


@pytest.mark.parametrize("damage", ["torn", "not json", "another format", "a field lacks", "too far", "a stranger"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(run: Path, finished: Path, damage: str) -> None:
    newest = checkpoints(run)[-1]
    document = json.loads(newest.read_text())
    match damage:
        case "torn":
            newest.write_text(newest.read_text()[:50])
        case "not json":
            newest.write_bytes(b"\x00\xff")
        case "another format":
            newest.write_text(json.dumps({**document, "version": 2}))
        case "a field lacks":
            newest.write_text(json.dumps({k: v for k, v in document.items() if k != "population"}))
        case "too far":
            document["sizes"]["events.jsonl"] += 1
            newest.write_text(json.dumps(document))
        case "a stranger":
            newest.write_text(json.dumps({**document, "population": ["0123456789abcdef"]}))
    assert load(run).generation == 4
    make_search(run).run()
    assert contents(run) == contents(finished)
    assert len(read_history(run)) == 6


@pytest.mark.parametrize("generation", [0, 2])
def test_a_run_killed_in_the_middle_of_a_generation_ends_as_if_undisturbed(
    tmp_path: Path, finished: Path, generation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed with programs and a torn event written, but without the checkpoint of that generation."""
    path = tmp_path / "killed"
    search = make_search(path)
    search.run(should_stop=lambda: search.state.generation == generation - 1)
    replace = RunFolder.replace

    def killed(folder: RunFolder, name: str, text: str) -> Path:
        if name.startswith("checkpoints"):
            with (path / "events.jsonl").open("r+") as file:
                file.truncate((path / "events.jsonl").stat().st_size - 20)
            raise KeyboardInterrupt
        return replace(folder, name, text)

    monkeypatch.setattr(RunFolder, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        search.run()
    monkeypatch.undo()
    make_search(path).run()
    assert contents(path) == contents(finished)
    assert len(read_history(path)) == 6
    assert len((path / "events.jsonl").read_text().splitlines()) == 6


def test_when_every_checkpoint_is_damaged_the_run_is_refused(run: Path) -> None:
    for path in checkpoints(run):
        path.write_text("{}")
    before = contents(run)
    with pytest.raises(RunError, match=r"000005\.json is not a checkpoint this release reads; evolve anew"):
        load(run)
    assert contents(run) == before, "nothing is cut off"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("programs.jsonl", b"", r"programs\.jsonl has 0 bytes, its checkpoint says \d+"),
        ("programs.jsonl", b"{}\n", "A recorded program is damaged"),
        ("failures.jsonl", b"{}\n", "holds a record without an id"),
        ("failures.jsonl", b"7\n", "not a JSON object"),
    ],
)
def test_damaged_records_are_one_sentence(run: Path, name: str, content: bytes, message: str) -> None:
    size = (run / name).stat().st_size
    (run / name).write_bytes((content * (size // len(content) + 1))[:size] if content else b"")
    with pytest.raises(RunError, match=message) as caught:
        load(run)
    assert "\n" not in str(caught.value)


def test_the_hall_of_fame_holds_the_best_distinct_programs_in_order(finished: Path) -> None:
    state = load(finished)
    with (finished / "hall_of_fame.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    correlations = [float(row["correlation"]) for row in rows]
    assert correlations == sorted(correlations, reverse=True)
    assert len(rows) == min(HALL_OF_FAME_SIZE, len(state.candidates)) == len({row["id"] for row in rows})
    assert [row["id"] for row in rows] == [c.id for c in hall_of_fame(state)]
    assert correlations[0] == max(c.fitness.correlation for c in state.candidates.values())

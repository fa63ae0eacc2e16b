"""What a killed run left behind: nothing but the generation in flight is lost."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from eznas.digests import PrefixDigest, content_digest
from eznas.errors import RunError
from eznas.runs import Journal, RunFolder, SearchState, hall_of_fame
from eznas.runs.history import read_history
from eznas.runs.journal import GROWING, HALL_OF_FAME_SIZE
from eznas.runs.manifest import Manifest
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


def forge(path: Path) -> None:
    """Make every checkpoint say what the files hold now."""
    for checkpoint in checkpoints(path):
        document = json.loads(checkpoint.read_text())
        for name, size in document["sizes"].items():
            document["digests"][name] = PrefixDigest().of(path / name, size)
        checkpoint.write_text(json.dumps(sealed(document)))


def sealed(document: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint with the digest of its content."""
    content = {key: value for key, value in document.items() if key != "digest"}
    return {**content, "digest": content_digest(content)}


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


@pytest.mark.parametrize(
    "damage", ["torn", "not json", "another format", "a field lacks", "too far", "a stranger", "infinite", "edited"]
)
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(run: Path, finished: Path, damage: str) -> None:
    newest = checkpoints(run)[-1]
    document = json.loads(newest.read_text())
    match damage:
        case "torn":
            newest.write_text(newest.read_text()[:50])
        case "not json":
            newest.write_bytes(b"\x00\xff")
        case "another format":
            newest.write_text(json.dumps(sealed({**document, "version": 3})))
        case "a field lacks":
            newest.write_text(json.dumps(sealed({k: v for k, v in document.items() if k != "population"})))
        case "too far":
            document["sizes"]["events.jsonl"] += 1
            newest.write_text(json.dumps(sealed(document)))
        case "a stranger":
            newest.write_text(json.dumps(sealed({**document, "population": ["0123456789abcdef"]})))
        case "infinite":
            newest.write_text(json.dumps(sealed({**document, "generation": math.inf})))
        case "edited":
            newest.write_text(json.dumps({**document, "population": document["population"][::-1]}))
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


def test_a_run_whose_checkpoints_are_gone_says_that_it_starts_over(run: Path) -> None:
    for path in checkpoints(run):
        path.unlink()
    said: list[str] = []
    journal = Journal(RunFolder(run), n_checkpoints=3)
    before = contents(run)
    assert journal.load(read_only=True, note=said.append) == SearchState()
    assert contents(run) == before
    assert journal.load(note=said.append) == SearchState()
    assert said == [f"The checkpoints of run {run} are gone; it starts over from its first generation"] * 2
    assert journal.load(note=said.append) == SearchState()
    assert len(said) == 2, "of a run without programs nothing is lost"


def test_a_damaged_checkpoint_is_told(run: Path) -> None:
    newest = checkpoints(run)[-1]
    newest.write_text("{}")
    said: list[str] = []
    Journal(RunFolder(run), n_checkpoints=3).load(note=said.append)
    assert said == [f"{newest} is damaged; the run goes on after generation 4"]


def test_when_every_checkpoint_is_damaged_the_run_is_refused(run: Path) -> None:
    for path in checkpoints(run):
        path.write_text("{}")
    before = contents(run)
    with pytest.raises(RunError, match=r"000005\.json has format None version None; this release reads"):
        load(run)
    assert contents(run) == before, "nothing is cut off"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("programs.jsonl", b"", r"programs\.jsonl has 0 bytes, its checkpoint says \d+"),
        ("programs.jsonl", b"{}\n", r"Setting 'id' in .*programs\.jsonl, line 1: field required"),
        ("failures.jsonl", b"{}\n", r"Setting 'id' in .*failures\.jsonl, line 1: field required"),
        ("failures.jsonl", b"7\n", r"failures\.jsonl, line 1 must hold a JSON object, got 7"),
        ("events.jsonl", b'{"seconds":1}\n', r"Setting 'generation' in .*events\.jsonl, line 1: field required"),
    ],
)
def test_damaged_records_are_one_sentence(run: Path, name: str, content: bytes, message: str) -> None:
    size = (run / name).stat().st_size
    (run / name).write_bytes((content * (size // len(content) + 1))[:size] if content else b"")
    if content:
        forge(run)
    with pytest.raises(RunError, match=message) as caught:
        load(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["programs.jsonl", "failures.jsonl", "events.jsonl"])
def test_a_file_that_was_changed_is_not_gone_on_with(run: Path, name: str) -> None:
    """Changed in a part that every checkpoint covers, the length kept."""
    content = (run / name).read_bytes()
    digit = next(i for i, byte in enumerate(content) if byte in b"123456")
    changed = content[:digit] + b"7" + content[digit + 1 :]
    (run / name).write_bytes(changed)
    with pytest.raises(RunError, match=rf"{name} was changed: its first \d+ bytes do not have the digest in the"):
        load(run)
    assert (run / name).read_bytes() == changed, "nothing is cut off"


def test_what_was_changed_after_an_older_checkpoint_is_found_again(run: Path, finished: Path) -> None:
    lines = (run / "programs.jsonl").read_bytes().splitlines(keepends=True)
    lines[-1] = lines[-1].replace(b'"correlation":0', b'"correlation":1')
    (run / "programs.jsonl").write_bytes(b"".join(lines))
    assert load(run).generation == 4
    make_search(run).run()
    assert contents(run) == contents(finished)


@pytest.mark.parametrize("name", ["programs.jsonl", "failures.jsonl"])
def test_an_id_that_is_not_of_its_program_is_refused(run: Path, name: str) -> None:
    content = (run / name).read_text()
    given = json.loads(content.splitlines()[0])["id"]
    other = f"{int(given, 16) ^ 1:016x}"
    (run / name).write_text(content.replace(given, other))
    forge(run)
    with pytest.raises(RunError, match=f"its id '{other}' is not the digest of its program, {given}"):
        load(run)


def test_a_manifest_that_was_changed_is_not_gone_on_with(tmp_path: Path) -> None:
    """Apart from its layout, and from a history that grew."""
    path = tmp_path / "run"
    path.mkdir()
    manifest = json.loads(Manifest(platform="here").model_dump_json())
    (path / "manifest.json").write_text(json.dumps(manifest))
    search = make_search(path)
    search.run(should_stop=lambda: search.state.generation == 0)
    (path / "manifest.json").write_text(json.dumps(manifest, indent=3))
    assert load(path).generation == 0
    assert RunFolder(path).manifest() == Manifest.model_validate(manifest)
    grown = {**manifest, "history": [{"resumed": "today"}]}
    (path / "manifest.json").write_text(json.dumps(grown))
    search = make_search(path)
    search.run(should_stop=lambda: search.state.generation == 1)
    assert RunFolder(path).manifest() == Manifest.model_validate(grown)
    for other in ({**grown, "platform": "there"}, {**grown, "history": [{"resumed": "never"}]}):
        (path / "manifest.json").write_text(json.dumps(other))
        for read in (lambda: load(path), lambda: RunFolder(path).manifest()):
            with pytest.raises(RunError, match=r"manifest\.json was changed after the run was started"):
                read()
    (path / "manifest.json").unlink()
    with pytest.raises(RunError, match=r"manifest\.json was changed after the run was started"):
        load(path)


def test_the_hall_of_fame_holds_the_best_distinct_programs_in_order(finished: Path) -> None:
    state = load(finished)
    with (finished / "hall_of_fame.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    correlations = [float(row["correlation"]) for row in rows]
    assert correlations == sorted(correlations, reverse=True)
    assert len(rows) == min(HALL_OF_FAME_SIZE, len(state.candidates)) == len({row["id"] for row in rows})
    assert [row["id"] for row in rows] == [c.id for c in hall_of_fame(state)]
    assert correlations[0] == max(c.fitness.correlation for c in state.candidates.values())

"""What is to be read of a run that is not finished: its front as a table, its page, and a page that is watched."""

from __future__ import annotations

import html
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from eznas.cli import looking, main
from eznas.programs import directed_infix, parse
from eznas.reporting import front_csv
from eznas.runs import Front, load_front
from eznas.runs.config import load_config
from eznas.runs.interim import is_interim
from eznas.study import Study, evolve
from eznas.tables import csv_rows
from tests.eznas.cli.commands import Capsys, complaint
from tests.eznas.tiny import options

pytestmark = pytest.mark.usefixtures("embedded_data")


@pytest.fixture
def unfinished(tiny_run: Path, tmp_path: Path) -> Path:
    """The tiny run, stopped after its first generation; its name holds markup."""
    del tiny_run  # has captured the statistics
    asked: list[int] = []

    def after_one() -> bool:
        asked.append(1)
        return len(asked) > 1

    settings = load_config(None, options()[1::2])
    return evolve(settings, run_dir=tmp_path / "<b>run", should_stop=after_one).run_dir


def files(run: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_an_unfinished_run_has_a_front_and_a_page(unfinished: Path, tmp_path: Path, capsys: Capsys) -> None:
    header, *lines = csv_rows((unfinished / "front.csv").read_text())
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    sizes, values = [int(row["size"]) for row in rows], [float(row["evolve_tau"]) for row in rows]
    assert sizes == sorted(set(sizes), reverse=True)
    assert values == sorted(set(values), reverse=True)
    assert is_interim(unfinished)
    assert not Study(unfinished).is_complete
    page = (unfinished / "report.html").read_text()
    assert "The search is at generation 0 of 2" in page
    assert "<b>run" not in page
    for row in rows:
        formula = html.escape(directed_infix(parse(row["program"]), int(row["direction"])))
        assert f">{formula}<" in page.replace("<wbr>", "")
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    before = files(unfinished)
    target = tmp_path / "page.html"
    assert main(["report", str(unfinished), "-o", str(target)]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{target}\n"
    assert "The run is not finished" in shown.err
    assert target.read_text() == page
    assert files(unfinished) == before


def test_the_front_of_an_unfinished_run_says_what_it_is(
    unfinished: Path, tiny_run: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = f"The run is not finished, at generation 0 of 2; go on with: eznas resume '{unfinished}'"
    before = files(unfinished)
    assert main(["front", str(unfinished), "--format", "csv"]) == 0
    shown = capsys.readouterr()
    assert shown.out == (unfinished / "front.csv").read_text()
    assert shown.err == f"{how}\n"
    header, *lines = csv_rows(shown.out)
    final, *_ = csv_rows((tiny_run / "front.csv").read_text())
    assert header == final
    for line in lines:
        row = dict(zip(header, line, strict=True))
        known = {name for name, cell in row.items() if cell}
        assert not {name for name in known if name.startswith(("report_", "select_", "pick_", "is_pick"))}
        assert parse(row["program"]).digest == row["id"]
    assert main(["front", str(unfinished), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["format"], document["is_finished"]) == ("eznas-interim-front", False)
    assert [row["id"] for row in document["rows"]] == [line[0] for line in lines]
    with pytest.raises(ValueError, match="format"):
        Front.model_validate(document)
    monkeypatch.setattr(looking, "width", lambda: 60)
    assert main(["front", str(unfinished)]) == 0
    first, _, caption, names, *table = capsys.readouterr().out.splitlines()
    assert first == how
    assert "on the networks evolved on" in caption
    assert names.startswith("size  tau")
    assert len(table) == len(lines)
    assert max(map(len, [names, *table])) <= 60
    assert files(unfinished) == before
    for more in (["--max-size", "9"], ["--format", "latex"]):
        assert "finish the run with eznas resume" in complaint(capsys, 1, "front", str(unfinished), *more)


def test_a_folder_without_a_run_has_nothing_to_go_on_with(tmp_path: Path, capsys: Capsys) -> None:
    line = complaint(capsys, 1, "front", str(tmp_path))
    assert "it is no run folder; eznas runs lists" in line
    assert "resume" not in line


def test_a_watched_page_becomes_the_report_when_the_run_is_finished(
    unfinished: Path, tiny_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    slept: list[float] = []

    def finish_later(seconds: float) -> None:
        slept.append(seconds)
        assert is_interim(unfinished)
        if len(slept) == 2:
            for name in ("front.json", "report_scores.csv"):
                shutil.copyfile(tiny_run / name, unfinished / name)
            assert not Study(unfinished).is_complete, "its page is still that of an unfinished run"

    monkeypatch.setattr(looking.time, "sleep", finish_later)
    assert main(["report", str(unfinished), "--watch"]) == 0
    assert slept == [10.0, 10.0]
    assert Study(unfinished).is_complete
    assert "held-out networks" in (unfinished / "report.html").read_text()
    shown = capsys.readouterr()
    assert shown.out == f"{unfinished / 'report.html'}\n"
    assert shown.err.splitlines()[-1] == "The run is finished; the page is its report."


def test_a_finished_run_has_its_own(tiny_run: Path) -> None:
    assert Study(tiny_run).is_complete
    assert (tiny_run / "front.csv").read_text() == front_csv(load_front(tiny_run))


def test_a_full_disk_does_not_end_a_run_for_its_page(unfinished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eznas.errors import RunError
    from eznas.runs import Journal, RunFolder
    from eznas.study.interim import Interim

    def full(*_: Any) -> None:
        raise RunError("No space left")

    folder = RunFolder(unfinished)
    monkeypatch.setattr(RunFolder, "replace", full)
    Interim(folder, folder.settings()).write(Journal(folder, 3).load(read_only=True))

"""What the page of a run says to paste does what it says: commands, Python, badges."""

from __future__ import annotations

import html
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from eznas.assessment import BADGES
from eznas.cli import main
from eznas.errors import RunError
from eznas.reporting import write_report
from eznas.runs import load_front
from eznas.runs.badges import FILE, load_badges
from tests.eznas.tiny import evolve

pytestmark = pytest.mark.usefixtures("embedded_data")


@pytest.fixture
def odd_run(run: Path) -> Path:
    """A finished run whose path must be quoted."""
    return run.rename(run.with_name("it's a run"))


def pasted(page: str, which: str) -> str:
    """The text of a block of the page."""
    found = re.search(rf'<pre class="code" id="{which}">(.*?)</pre>', page, flags=re.DOTALL)
    assert found is not None
    return html.unescape(found[1])


def test_commands_and_python_of_the_page_run_as_they_stand(
    odd_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = write_report(odd_run).read_text()
    monkeypatch.chdir(tmp_path)
    commands = pasted(page, "commands").splitlines()
    assert [shlex.split(line)[:2] for line in commands] == [["eznas", "export"], ["eznas", "score"]]
    for line in commands:
        assert main([*shlex.split(line)[1:], *(["-q", "-f", "csv"] if " score " in line else [])]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 6
    (tmp_path / "use.py").write_text(pasted(page, "snippet"))
    done = subprocess.run([sys.executable, "use.py"], capture_output=True, text=True, check=True, cwd=tmp_path)
    scores = [line.split() for line in done.stdout.splitlines()]
    assert [width for width, _ in scores] == ["8", "32"]
    assert float(scores[0][1]) != float(scores[1][1])


def test_badges_of_a_run_are_kept_and_shown_on_its_page(odd_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = write_report(odd_run).read_text()
    (command,) = re.findall(r"<pre>(eznas badges .*?)</pre>", before)
    assert "Not measured." in before
    other = load_front(odd_run).published[0]
    assert main([*shlex.split(html.unescape(command))[1:], f"{odd_run}:{other.id}", "-q", "-f", "csv"]) == 0
    said = capsys.readouterr()
    assert str(odd_run / "report.html") in said.err
    sheet, front = load_badges(odd_run), load_front(odd_run)
    assert sheet is not None
    assert front.pick is not None
    assert (sheet.n, list(sheet.proxies)) == (12, [front.pick.id, other.id])
    readings = sheet.proxies[front.pick.id].readings
    assert [one.badge for one in readings] == [name for name in BADGES if name in {one.badge for one in readings}]
    assert len(said.out.splitlines()) == 1 + 2 * len(readings)
    page = (odd_run / "report.html").read_text()
    assert "Not measured." not in page
    for one in readings:
        assert one.title in page
        if one.tau is not None:
            assert one.low is not None
            assert one.high is not None
            assert one.low <= one.tau <= one.high
            assert f"{one.tau:.3f} <span class=\"interval\">[{one.low:.3f}, {one.high:.3f}]" in page


def test_badges_that_are_damaged_are_one_sentence(run: Path) -> None:
    (run / FILE).write_text('{"format": "eznas-badges", "version": 1, "n": -3}')
    with pytest.raises(RunError, match=r"badges\.json.*(required|greater)"):
        write_report(run)


@pytest.mark.usefixtures("nothing_simplified")
def test_a_run_reads_the_badges_of_its_pick_at_its_end(tmp_path: Path) -> None:
    assert evolve(tmp_path / "run", report__badge_networks="5", evolution__n_generations="1") == 0
    sheet, front = load_badges(tmp_path / "run"), load_front(tmp_path / "run")
    assert sheet is not None
    assert front.pick is not None
    assert sheet.n == 5
    assert list(sheet.proxies) == [front.pick.id]
    low, median, high = sheet.proxies[front.pick.id].seconds or (0.0, 0.0, 0.0)
    assert 0 < low <= median <= high

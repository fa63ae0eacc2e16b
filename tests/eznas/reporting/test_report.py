"""The page holds what the run found, stands alone, and shows hostile text as text."""

from __future__ import annotations

import dataclasses
import html.parser
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from eznas.errors import RunError
from eznas.programs import parse
from eznas.reporting import figures, formula_lines, latex_svg, load_front, records, write_report
from eznas.reporting.report import headline, render_report
from primitives import EXTENDED, PAPER, STATISTICS
from tests.strategies import random_programs

VOID = {"meta", "br"}


class Outline(html.parser.HTMLParser):
    """Tags of a page, what they refer to, and whether they are closed in order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href", "action")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def outline(page: str) -> Outline:
    found = Outline()
    found.feed(page)
    found.close()
    assert found.open == []
    found.text = " ".join(found.text.split())
    return found


@pytest.fixture(scope="module")
def page(finished_run: Path) -> str:
    return render_report(finished_run)


def copied(run: Path, folder: Path) -> Path:
    shutil.copytree(run, folder / "run")
    return folder / "run"


def test_page_stands_alone(page: str) -> None:
    found = outline(page)
    assert not found.tags & {"script", "link", "iframe", "img", "object", "form"}
    assert [link for link in found.links if not link.startswith("#")] == []
    assert "url(http" not in page
    assert len(page) < 1_000_000


def test_page_says_what_was_found_and_on_what(page: str, finished_run: Path) -> None:
    text, front = outline(page).text, load_front(finished_run)
    assert front.pick is not None
    for task in front.tasks:
        assert f"{front.pick.report[task.name].tau:.3f}" in text
    for expected in (
        "A proxy with tau", "naswot", "160 networks, test accuracy after 200 epochs", "60 programs gave no fitness",
        "failed: no finite score", "non-finite after 'exp' ", "generation 4, by crossover", "an estimator outside",
        "eznas evolve config.toml --set seed=7", "n_generations", "versions.torch", "NAS-Bench-201 accuracies",
    ):  # fmt: skip
        assert expected in text, expected
    for entry in front.entries:
        assert entry.label in text
        assert entry.program is None or entry.program.text in text


def test_page_says_what_the_formula_reads(page: str, finished_run: Path) -> None:
    pick = load_front(finished_run).pick
    assert pick is not None
    assert pick.formula is not None
    for name in pick.formula.statistics:
        assert f"{STATISTICS[name].meaning} {name}" in outline(page).text


def test_text_from_files_is_shown_and_never_markup(finished_run: Path, tmp_path: Path) -> None:
    run = copied(finished_run, tmp_path)
    document = json.loads((run / "front.json").read_text())
    evil = "<script>alert(1)</script>{{ 7 * 7 }}\"'"
    document["run"]["name"] = document["run"]["provenance"] = evil
    document["tasks"][0]["dataset"] = evil
    document["entries"][-1]["name"] = evil
    document["entries"][-1]["report"]["cifar10"]["reason"] = evil
    (run / "front.json").write_text(json.dumps(document))
    (run / "config.toml").write_text(evil)
    (run / "manifest.json").write_text(json.dumps({evil: evil, "command": [evil]}))
    (run / "failures.jsonl").write_text(json.dumps({"reason": evil}) + "\n")
    found = outline(render_report(run))
    assert "script" not in found.tags
    assert found.text.count("<script>alert(1)</script>{{ 7 * 7 }}") >= 8


def test_unsafe_names_in_figures_stay_text(finished_run: Path, tmp_path: Path) -> None:
    run = copied(finished_run, tmp_path)
    document = json.loads((run / "front.json").read_text())
    names = [entry["name"] for entry in document["entries"]]
    document["entries"][names.index("naswot")]["name"] = "</svg><script>$x_{$ & <"
    (run / "front.json").write_text(json.dumps(document))
    svg = figures.front_figure(load_front(run))
    assert "</svg><script>$x_{$ & <" in "".join(ElementTree.fromstring(svg).itertext())


def test_report_is_written_whole_and_again_the_same(finished_run: Path, tmp_path: Path) -> None:
    run = copied(finished_run, tmp_path)
    target = write_report(run)
    assert target == run / "report.html"
    first = target.read_bytes()
    assert write_report(run, tmp_path / "new" / "page.html").read_bytes() == first
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]
    with pytest.raises(RunError, match="it is a folder; give the name of a file"):
        write_report(run, tmp_path)


def test_report_without_anything_but_a_front(finished_run: Path, tmp_path: Path) -> None:
    shutil.copy(finished_run / "front.json", tmp_path / "front.json")
    text = outline(render_report(tmp_path)).text
    assert "Progress" not in text
    assert "eznas evolve config.toml" in text


def test_report_of_a_run_that_found_nothing(finished_run: Path, tmp_path: Path) -> None:
    run = copied(finished_run, tmp_path)
    document = json.loads((run / "front.json").read_text())
    document["entries"] = [entry for entry in document["entries"] if entry["kind"] == "published"]
    (run / "front.json").write_text(json.dumps(document))
    assert "No proxy was found" in outline(render_report(run)).text


def test_headline_claims_no_more_than_the_intervals_allow(finished_run: Path, tmp_path: Path) -> None:
    assert "intervals are apart" in headline(load_front(finished_run)).text
    run = copied(finished_run, tmp_path)
    document = json.loads((run / "front.json").read_text())
    for entry in document["entries"]:
        if entry["is_pick"]:
            for task in entry["report"].values():
                task.update(tau=0.4, tau_interval=[0.3, 0.5])
    (run / "front.json").write_text(json.dumps(document))
    text = headline(load_front(run)).text
    assert re.search(r"the proxy is behind by 0\.1\d\d, and the 95 % intervals overlap", text)


def test_torn_last_line_is_left_out_and_a_damaged_one_refused(finished_run: Path, tmp_path: Path) -> None:
    assert len(records.read_history(finished_run)) == 12
    run = copied(finished_run, tmp_path)
    with (run / "events.jsonl").open("a") as file:
        file.write('\n{"event": "generation", "generation": 12}\n')
    with pytest.raises(RunError, match="line 14 is not a JSON object"):
        records.read_history(run)


def test_generation_repeated_after_a_resume_counts_once(tmp_path: Path) -> None:
    lines = [{"event": "generation", "generation": g, "hypervolume": v} for g, v in ((0, 1.0), (1, 2.0), (1, 3.0))]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    history = records.read_history(tmp_path)
    assert history.hypervolume.tolist() == [1.0, 3.0]
    assert np.isnan(history.seconds).all()


def test_scores_are_read_and_damage_named(finished_run: Path, tmp_path: Path) -> None:
    scores = records.read_scores(finished_run)
    assert set(scores.accuracies) == {"cifar10", "cifar100"}
    assert np.isnan(scores.by_proxy["eznas_a_paper"]).all()
    assert np.isfinite(scores.by_proxy["naswot"]).all()
    (tmp_path / "report_scores.csv").write_text("network,accuracy:a,b\nx,1,2\ny,3\n")
    with pytest.raises(RunError, match=r"report_scores\.csv is damaged"):
        records.read_scores(tmp_path)


def test_lineage_goes_back_to_the_start_and_ends_on_a_loop(finished_run: Path, tmp_path: Path) -> None:
    front = load_front(finished_run)
    assert front.pick is not None
    line = records.read_lineage(finished_run, front.pick.id)
    assert [ancestor.generation for ancestor in line] == [4, 2]
    assert line[1].id in line[0].parents
    loop = [{"id": "a", "program": "?", "generation": 1, "operator": "x", "parents": ["b"]},
            {"id": "b", "program": "?", "generation": 1, "operator": "x", "parents": ["a"]}]  # fmt: skip
    (tmp_path / "programs.jsonl").write_text("".join(json.dumps(record) + "\n" for record in loop))
    assert {ancestor.id for ancestor in records.read_lineage(tmp_path, "a")} == {"a", "b"}


def test_figures_are_well_formed_deterministic_and_take_the_page_s_colours(finished_run: Path) -> None:
    front, scores = load_front(finished_run), records.read_scores(finished_run)
    history = records.read_history(finished_run)
    for draw in (
        lambda: figures.front_figure(front),
        lambda: figures.scatter_figure(front, scores),
        lambda: figures.history_figure(history),
    ):
        svg = draw()
        assert svg == draw()
        ElementTree.fromstring(svg)
        assert "var(--ink, #1c2430)" in svg
        assert not re.search(r"(?<!, )#1c2430", svg)
        assert "DejaVu" not in svg
    assert "160 networks, test accuracy after 200 epochs" in figures.front_figure(front)
    assert figures.history_figure(records.History(*[np.array([])] * len(dataclasses.fields(records.History)))) == ""


def test_failed_and_tied_scores_rank_last_together() -> None:
    shares = figures._rank_shares(np.array([3.0, np.nan, 1.0, np.nan, 2.0]))
    assert shares.tolist() == [100.0, 12.5, 50.0, 12.5, 75.0]


def test_every_statistic_and_drawn_program_typesets() -> None:
    for statistic in STATISTICS.values():
        ElementTree.fromstring(latex_svg(statistic.latex))
    for program in [*random_programs(EXTENDED, 5, 25, max_height=5), *random_programs(PAPER, 6, 15, max_height=5)]:
        for line in formula_lines(program):
            ElementTree.fromstring(line.svg)


def test_long_formulas_are_set_in_parts_that_fit() -> None:
    part = "(mean_layers (frobenius_norm (multiply weight (tanh weight_grad.data))))"
    text = part
    for _ in range(5):
        text = f"(add {text} (log (multiply parameter_count {part})))"
    lines = formula_lines(parse(text), max_width=20.0)
    assert len(lines) > 1
    widths = [float(re.search(r"width:([\d.]+)em", line.svg)[1]) for line in lines]  # type: ignore[index]
    assert max(widths) <= 21.0
    for index, line in enumerate(lines[1:], start=1):
        symbol = line.latex.split(" =")[0]
        assert symbol in "".join(other.latex for other in lines[:index]), "a part is explained after it is used"


def test_direction_puts_a_minus_before_the_formula() -> None:
    assert formula_lines(parse("parameter_count"), direction=-1)[0].latex.startswith("-")


def test_nothing_heavy_is_loaded_before_it_is_needed() -> None:
    code = (
        "import sys, eznas.reporting as r; light = set(sys.modules); r.load_front; front = set(sys.modules); "
        "print(bool(light & {'torch', 'numpy'}), bool(front & {'matplotlib', 'jinja2', 'rich.table'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout.split() == ["False", "False"]


def test_the_history_shows_early_decisions_where_there_are_any(finished_run: Path) -> None:
    history = records.read_history(finished_run)
    assert "stopped early" in figures.history_figure(history)
    none = dataclasses.replace(history, n_stopped=np.zeros(len(history)))
    unknown = dataclasses.replace(history, n_stopped=np.full(len(history), np.nan))  # a run from before
    for other in (none, unknown):
        assert "stopped early" not in figures.history_figure(other)

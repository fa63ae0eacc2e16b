"""The page holds what the run found, stands alone, and shows hostile text as text."""

from __future__ import annotations

import dataclasses
import html.parser
import json
import re
import shutil
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from eznas.errors import OutputError, RunError
from eznas.fitness import CRITERIA, OBJECTIVES, kendall_tau_b
from eznas.programs import parse, to_latex
from eznas.reporting import figures, formula_lines, latex_svg, words, write_report
from eznas.reporting.formulas import estimated_width
from eznas.reporting.report import render_report
from eznas.reporting.words import headline
from eznas.runs import history
from eznas.runs.front import criterion_text, load_front
from primitives import EXTENDED, PAPER, STATISTICS
from tests.eznas.reporting.conftest import cross_fitted, generation, make_run
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
    found.feed(page.replace("<wbr>", ""))  # where a line may break
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
    for expected in (
        "A proxy with tau", "naswot", "160 networks, test accuracy after 200 epochs", "60 programs gave no fitness",
        "failed: it has no finite score on 160 of 160", "160 undefined", "2 non-finite 1 network",
        "generation 4, by crossover", "an estimator outside", "eznas evolve config.toml --set seed=7", "n_generations",
        "versions.torch", "NAS-Bench-201 accuracies", "Images are digits, since no others were at hand.",
        "41 non-finite non-finite after 'exp'", "17 constant all its scores are equal",
    ):  # fmt: skip
        assert expected in text, expected
    for entry in front.entries:
        assert entry.label in text
        assert entry.formula is None or entry.formula.text in text


def test_page_shows_every_criterion_of_every_proxy_on_every_sample(page: str, finished_run: Path) -> None:
    text, front = outline(page).text, load_front(finished_run)
    sections = re.split(r"Sample (cifar\d+) ", text)
    of_sample = dict(zip(sections[1::2], sections[2::2], strict=True))
    assert list(of_sample) == [sample.name for sample in front.samples]
    for sample in front.samples:
        section = of_sample[sample.name].partition("What the columns are")[0]
        assert str(sample.conditions) in section
        assert f"Evolved on {sample.evolve}; selected by {sample.select}; reported on {sample.report}." in section
        for name in CRITERIA:
            assert OBJECTIVES[name].title in section
        for entry in front.entries:
            measured = entry.report[sample.name]
            shown = [criterion_text(criterion) for criterion in measured.criteria.values()]
            shown = shown or [f"failed: {measured.reason}"]
            shown += [words.ties_text(measured), str(measured.n_failed)]
            assert f"{entry.label} {' '.join(shown)}" in section
            if sample.name in entry.versus_pick:
                assert criterion_text(entry.versus_pick[sample.name]) in section


def test_a_cross_fitted_report_and_seeds_are_said_where_they_matter(tmp_path: Path) -> None:
    run = cross_fitted(make_run(tmp_path / "run", ["cifar10"], n_folds=5, seeds=("parameter_count",)))
    front = load_front(run)
    text = outline(render_report(run)).text
    assert re.search(r"A proxy with cross-fitted tau 0\.\d{3} on cifar10 Evolved and chosen on all 160 networks", text)
    assert "cross-fitted in 5 folds: 160 networks, test accuracy after 200 epochs, each ranked by" in text
    assert "Other discovered proxies have no such figure." in text
    assert text.count("– not cross-fitted") == len(front.discovered) - 1
    assert "eznas run synthetic (started from 1 given program) ·" in text
    assert "The run started from 1 given program parameter_count" in text
    assert "held-out ones" not in text


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
    document["run"].update(name=evil, notes=[evil] * 9)
    for sample in document["samples"]:
        sample.update(provenance=evil, benchmark=evil, dataset=evil)
        sample["conditions"]["images"] = evil
        sample["report"]["split"] = evil
    document["entries"][-1].update(name=evil, title=evil)
    document["entries"][-1]["report"]["cifar10"].update(reason=evil, failures={evil: 160})
    (run / "front.json").write_text(json.dumps(document))
    with (run / "config.toml").open("a") as file:
        file.write(f"# {evil}\n")
    manifest = json.loads((run / "manifest.json").read_text())
    manifest |= {"platform": evil, "versions": {evil: evil}, "command": [evil]}
    (run / "manifest.json").write_text(json.dumps(manifest))
    line = json.loads((run / "failures.jsonl").read_text().splitlines()[0])
    (run / "failures.jsonl").write_text(json.dumps(line | {"reason": f"{evil}\x1b\u202e"}) + "\n")
    page = write_report(run).read_text()
    found = outline(page)
    assert "script" not in found.tags
    assert found.text.count("<script>alert(1)</script>{{ 7 * 7 }}") >= 21
    assert all(c.isprintable() or c == "\n" for c in page)


def test_settings_other_than_those_of_the_run_are_not_quoted(finished_run: Path, tmp_path: Path) -> None:
    run = copied(finished_run, tmp_path)
    text = (run / "config.toml").read_text()
    (run / "config.toml").write_text(f"# as it was\n{text.replace(' = ', '=')}")
    assert "# as it was" in outline(render_report(run)).text
    (run / "config.toml").write_text(text.replace("seed = 7", "seed = 8"))
    with pytest.raises(RunError, match=r"config\.toml was changed after the run was started: seed was 7 and is 8 now"):
        render_report(run)


def test_an_id_of_another_program_is_refused(finished_run: Path, tmp_path: Path) -> None:
    run = copied(finished_run, tmp_path)
    front = load_front(run)
    assert front.pick is not None
    lines = [json.loads(line) for line in (run / "programs.jsonl").read_text().splitlines()]
    for line in lines:
        line["program"] = "parameter_count"
    (run / "programs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(RunError, match=r"programs\.jsonl, line 1: its id '\w+' is not the digest of its program, "):
        render_report(run)
    document = json.loads((run / "front.json").read_text())
    entry = next(entry for entry in document["entries"] if entry["kind"] == "discovered")
    entry["id"] = "0" * 16
    (run / "front.json").write_text(json.dumps(document))
    with pytest.raises(RunError, match=r"'id' must be the digest of its program, [0-9a-f]+, got '0+'"):
        load_front(run)


def test_unsafe_names_in_figures_stay_text(finished_run: Path, tmp_path: Path) -> None:
    run = copied(finished_run, tmp_path)
    document = json.loads((run / "front.json").read_text())
    names = [entry["name"] for entry in document["entries"]]
    document["entries"][names.index("naswot")]["name"] = "</svg><script>$x_{$ & <"
    document["samples"][0]["name"] = "\x1b\x00$\\frac{$"
    document["samples"][1]["report"]["split"] = "$^$ \x07" * 9
    for entry in document["entries"]:
        for found in (entry["report"], entry["versus_pick"]):
            if "cifar10" in found:
                found["\x1b\x00$\\frac{$"] = found.pop("cifar10")
    (run / "front.json").write_text(json.dumps(document))
    front = load_front(run)
    scores = history.read_scores(run)
    scores = dataclasses.replace(scores, accuracies=dict.fromkeys([s.name for s in front.samples], np.arange(160.0)))
    for svg in (figures.front_figure(front), figures.scatter_figure(front, scores)):
        text = "".join(ElementTree.fromstring(svg).itertext())
        assert "</svg><script>$x_{$ & <" in text
        assert "$\\frac{$" in text
        assert "accuracy" in text


def test_report_is_written_whole_and_again_the_same(finished_run: Path, tmp_path: Path) -> None:
    run = copied(finished_run, tmp_path)
    target = write_report(run)
    assert target == run / "report.html"
    first = target.read_bytes()
    assert write_report(run, tmp_path / "new" / "page.html").read_bytes() == first
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]
    with pytest.raises(OutputError, match="it is a folder; give the name of a file"):
        write_report(run, tmp_path)


def test_report_without_anything_but_a_front(finished_run: Path, tmp_path: Path) -> None:
    shutil.copy(finished_run / "front.json", tmp_path / "front.json")
    text = outline(render_report(tmp_path)).text
    assert "History" not in text
    assert "eznas evolve config.toml" in text


def test_report_of_a_run_that_found_nothing(finished_run: Path, tmp_path: Path) -> None:
    run = copied(finished_run, tmp_path)
    document = json.loads((run / "front.json").read_text())
    document["entries"] = [entry for entry in document["entries"] if entry["kind"] == "published"]
    (run / "front.json").write_text(json.dumps(document))
    assert "No proxy was found" in outline(render_report(run)).text


def changed_difference(run: Path, folder: Path, difference: dict[str, float] | None) -> str:
    """The headline of a run whose pick differs so from every published proxy; overlapping intervals of tau are left."""
    run = copied(run, folder)
    document = json.loads((run / "front.json").read_text())
    for entry in document["entries"]:
        entry["versus_pick"] = {name: difference for name in entry["versus_pick"] if difference}
    (run / "front.json").write_text(json.dumps(document))
    return headline(load_front(run)).text


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        ({"value": 0.03, "low": 0.01, "high": 0.05}, "the pick is ahead by 0.030 [0.010, 0.050] (paired difference"),
        ({"value": -0.03, "low": -0.05, "high": -0.01}, "the pick is behind by 0.030 [0.010, 0.050] (paired"),
        (
            {"value": 0.03, "low": -0.01, "high": 0.07},
            "the pick less it, 0.030 [-0.010, 0.070] (paired, 95 %), does not tell the two apart.",
        ),
        ({"value": 0.03}, "the pick is ahead by 0.030."),
        (None, "the two were not compared."),
    ],
)
def test_headline_compares_by_the_paired_difference(
    difference: dict[str, float] | None, said: str, finished_run: Path, tmp_path: Path
) -> None:
    text = changed_difference(finished_run, tmp_path, difference)
    assert said in text
    assert re.search(r"best published proxy, naswot, has 0\.\d{3} \[0\.\d{3}, 0\.\d{3}\] on the same networks; ", text)
    assert "Evolved on 100 networks, validation accuracy after 200 epochs, and chosen on 200 others" in text
    assert "on held-out ones: 160 networks, test accuracy after 200 epochs" in text
    assert "Of 2 samples, cifar10 is the hardest for it." in text


def test_torn_last_line_is_left_out_and_a_damaged_one_refused(finished_run: Path, tmp_path: Path) -> None:
    assert len(history.read_history(finished_run)) == 12
    run = copied(finished_run, tmp_path)
    with (run / "events.jsonl").open("a") as file:
        file.write('\n{"event": "generation", "generation": 12}\n')
    with pytest.raises(RunError, match=r"events\.jsonl, line 13 is not valid JSON; the file is damaged: restore"):
        history.read_history(run)


def test_generation_repeated_after_a_resume_counts_once(tmp_path: Path) -> None:
    lines = [generation(g, hypervolume=v) for g, v in ((0, 1.0), (1, 2.0), (1, 3.0))]
    (tmp_path / "events.jsonl").write_text("".join(line.model_dump_json() + "\n" for line in lines))
    assert history.read_history(tmp_path).hypervolume.tolist() == [1.0, 3.0]


def test_scores_are_read_and_damage_named(finished_run: Path, tmp_path: Path) -> None:
    scores = history.read_scores(finished_run)
    assert set(scores.accuracies) == {"cifar10", "cifar100"}
    assert np.isnan(scores.by_proxy["eznas_a_paper"]).all()
    assert np.isfinite(scores.by_proxy["naswot"]).all()
    front = load_front(finished_run)
    (turned,) = [entry for entry in front.discovered if entry.direction < 0]
    measured = turned.report["cifar10"].tau
    assert measured is not None
    found = kendall_tau_b(scores.by_proxy[turned.id], scores.accuracies["cifar10"])
    assert found == pytest.approx(measured.value, abs=1e-4), "scores are in the direction of the proxy"
    (tmp_path / "report_scores.csv").write_text("network,accuracy:a,b\nx,1,2\ny,3\n")
    with pytest.raises(RunError, match=r"report_scores\.csv is damaged"):
        history.read_scores(tmp_path)


def test_failures_are_counted_by_kind_with_the_most_frequent_reason(finished_run: Path, tmp_path: Path) -> None:
    found = history.read_failures(finished_run)
    assert [(failed.kind, failed.n, failed.example) for failed in found] == [
        ("non-finite", 41, "non-finite after 'exp'"), ("constant", 17, "all its scores are equal"),
        ("worker", 2, "<b>odd</b> reason"),
    ]  # fmt: skip
    (tmp_path / "failures.jsonl").write_text('{"id": "a"}\n')
    with pytest.raises(RunError, match=r"Setting 'program' in .*failures\.jsonl, line 1: field required"):
        history.read_failures(tmp_path)


def test_lineage_goes_back_to_the_start_and_ends_on_a_loop(finished_run: Path, tmp_path: Path) -> None:
    front = load_front(finished_run)
    assert front.pick is not None
    line = history.read_lineage(finished_run, front.pick.id)
    assert [ancestor.generation for ancestor in line] == [4, 2]
    assert line[1].id in line[0].parents
    one, other = line
    loop = [one.model_copy(update={"parents": (other.id,)}), other.model_copy(update={"parents": (one.id,)})]
    (tmp_path / "programs.jsonl").write_text("".join(record.model_dump_json() + "\n" for record in loop))
    assert {ancestor.id for ancestor in history.read_lineage(tmp_path, one.id)} == {one.id, other.id}


def test_figures_are_well_formed_deterministic_and_take_the_page_s_colours(finished_run: Path) -> None:
    front, scores = load_front(finished_run), history.read_scores(finished_run)
    generations = history.read_history(finished_run)
    for draw in (
        lambda: figures.front_figure(front),
        lambda: figures.scatter_figure(front, scores),
        lambda: figures.history_figure(generations),
    ):
        svg = draw()
        assert svg == draw()
        ElementTree.fromstring(svg)
        assert "var(--ink, #1c2430)" in svg
        assert not re.search(r"(?<!, )#1c2430", svg)
        assert "DejaVu" not in svg
    assert "160 networks, test accuracy after 200 epochs" in figures.front_figure(front)
    assert figures.history_figure(history.History(*[np.array([])] * len(dataclasses.fields(history.History)))) == ""


def test_names_in_any_script_are_drawn_without_a_warning(finished_run: Path, tmp_path: Path) -> None:
    run = copied(finished_run, tmp_path)
    for name in ("front.json", "report_scores.csv"):
        text = (run / name).read_text(encoding="utf-8").replace("cifar100", "\u753b\u50cf")
        (run / name).write_text(text, encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = outline(render_report(run)).text
    assert text.count("\u753b\u50cf") > 5


def test_failed_and_tied_scores_rank_last_together() -> None:
    shares = figures._rank_shares(np.array([3.0, np.nan, 1.0, np.nan, 2.0]))
    assert shares.tolist() == [100.0, 12.5, 50.0, 12.5, 75.0]


def test_every_statistic_and_drawn_program_typesets() -> None:
    for statistic in STATISTICS.values():
        ElementTree.fromstring(latex_svg(statistic.latex))
    for program in [*random_programs(EXTENDED, 5, 25, max_height=5), *random_programs(PAPER, 6, 15, max_height=5)]:
        for line in formula_lines(program):
            ElementTree.fromstring(line.svg)


def test_the_estimated_width_of_a_line_is_near_that_of_the_typeset_one() -> None:
    for program in random_programs(EXTENDED, 3, 40, max_height=5):
        latex = to_latex(program)
        exact = float(re.search(r"width:([\d.]+)em", latex_svg(latex))[1])  # type: ignore[index]
        assert estimated_width(latex) == pytest.approx(exact, rel=0.3, abs=1.0), latex


def test_long_formulas_are_set_in_parts_that_fit() -> None:
    part = "(mean_layers (frobenius_norm (multiply weight (tanh weight_grad.data))))"
    text = part
    for _ in range(5):
        text = f"(add {text} (log (multiply parameter_count {part})))"
    lines = formula_lines(parse(text), max_width=20.0)
    assert len(lines) > 1
    widths = [float(re.search(r"width:([\d.]+)em", line.svg)[1]) for line in lines]  # type: ignore[index]
    assert max(widths) <= 21.0
    assert [line.goes_on for line in lines] == [False] + [True] * 5, "a sum goes on in the next line"
    assert not any(line.is_part for line in lines)


def test_parts_of_a_formula_are_numbered_as_one_meets_them() -> None:
    one = "(mean_layers (frobenius_norm (multiply weight (tanh weight_grad.data))))"
    other = "(log_abs_determinant (sum_layers (agreement_kernel activation_input.data)))"
    whole = parse(f"(multiply (multiply {one} (log {other})) (tanh (multiply {one} {other})))")
    lines = formula_lines(whole, max_width=12.0)
    named = [line.latex.split(" =")[0] for line in lines if line.is_part and not line.goes_on]
    assert len(named) > 1
    assert [re.sub(r"\D", "", symbol) for symbol in named] == [str(place) for place in range(1, len(named) + 1)]
    met = re.findall(r"[su]_\{\d\}", " ".join(line.latex.partition(" = ")[2] or line.latex for line in lines))
    assert list(dict.fromkeys(met)) == named, "each is explained after it is used, in that order"


def test_direction_puts_a_minus_before_the_formula() -> None:
    assert formula_lines(parse("parameter_count"), direction=-1)[0].latex.startswith("-")


def test_nothing_heavy_is_loaded_before_it_is_needed() -> None:
    code = (
        "import sys, eznas.reporting as r; light = set(sys.modules); r.front_table; front = set(sys.modules); "
        "print(bool(light & {'torch', 'numpy'}), bool(front & {'matplotlib', 'jinja2', 'rich.table'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout.split() == ["False", "False"]

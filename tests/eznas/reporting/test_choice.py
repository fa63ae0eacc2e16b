"""Choosing from a front: rules and limits, marks, differences to another pick, what tables and pages say."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata

from eznas.errors import RunError
from eznas.fitness import Criterion
from eznas.reporting import (
    entry_latex,
    entry_text,
    front_latex,
    front_table,
    render_report,
    seeds_text,
    write_seeds_page,
)
from eznas.reporting.weakness import Counting, _settings_in, counting, weakness_of
from eznas.runs import Choice, Front, chosen, load_front
from eznas.runs.choice import elbow, gains_per_node, marks, neighbours, pick_by, selection_error, staircase
from eznas.runs.history import Scores, read_scores
from eznas.spaces import space_named
from eznas.study.chosen import with_differences
from tests.eznas.reporting.conftest import N_RESAMPLES, make_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("chosen") / "run")


@pytest.fixture
def front(folder: Path) -> Front:
    return load_front(folder)


def test_without_a_choice_the_front_is_as_it_is(front: Front) -> None:
    assert chosen(front, Choice()) is front


@pytest.mark.parametrize("max_size", [4, 6, 12])
def test_limits_leave_what_is_within_them_and_all_published(front: Front, max_size: int) -> None:
    found = chosen(front, Choice(max_size=max_size))
    assert [e.id for e in found.discovered] == [
        e.id for e in front.discovered if e.formula is not None and e.formula.size <= max_size
    ]
    assert [e.id for e in found.published] == [e.id for e in front.published]
    assert [e.is_pick for e in found.discovered].count(True) == 1


def test_forward_only_leaves_no_gradient(front: Front) -> None:
    found = chosen(front, Choice(forward_only=True))
    assert 0 < len(found.discovered) < len(front.discovered)
    assert all("grad" not in (entry.program or "") for entry in found.discovered)


def test_nothing_left_is_one_sentence(front: Front) -> None:
    with pytest.raises(RunError, match=r"is left by --max-size 1, of \d+; its smallest formula has \d nodes"):
        chosen(front, Choice(max_size=1))


def test_rules_take_what_they_say(front: Front) -> None:
    taus = {entry.id: front.tau(entry, "select") or -1.0 for entry in front.discovered}
    best = pick_by(front, front.discovered, "best")
    assert best is not None
    assert taus[best.id] == max(taus.values())
    least = taus[best.id] - selection_error(front, best)
    enough = [entry for entry in front.discovered if taus[entry.id] >= least]
    simplest = pick_by(front, front.discovered, "simplest-within-se")
    cheapest = pick_by(front, front.discovered, "cheapest-within-se")
    assert simplest is not None
    assert cheapest is not None
    assert simplest.size == min(entry.size or 0 for entry in enough)
    assert cheapest.cost == min(entry.cost or 0.0 for entry in enough)
    said = marks(front)
    assert "best" in said[best.id]
    assert "simplest-within-se" in said[simplest.id]


def test_a_recorded_standard_error_is_used(front: Front) -> None:
    best = pick_by(front, front.discovered, "best")
    assert best is not None
    sharp = [entry.model_copy(update={"select_error": 0.0}) for entry in front.discovered]
    assert pick_by(front, sharp, "simplest-within-se").id == best.id  # type: ignore[union-attr]
    wide = [entry.model_copy(update={"select_error": 9.0}) for entry in front.discovered]
    smallest = min(entry.size or 0 for entry in front.discovered)
    assert pick_by(front, wide, "simplest-within-se").size == smallest  # type: ignore[union-attr]


def test_gains_are_of_the_staircase(front: Front) -> None:
    steps, gains = staircase(front), gains_per_node(front)
    taus = [front.tau(entry, "select") or 0.0 for entry in steps]
    assert taus == sorted(taus)
    assert set(gains) == {entry.id for entry in steps[1:]}
    for smaller, larger in pairwise(steps):
        rise = (front.tau(larger, "report") or 0.0) - (front.tau(smaller, "report") or 0.0)
        assert gains[larger.id] * ((larger.size or 0) - (smaller.size or 0)) == pytest.approx(rise)
    bend = elbow(front)
    assert bend is None or bend in steps[1:-1]
    assert len(neighbours(front, steps[0])) == 1


def test_differences_to_the_run_s_own_pick_are_found_again(front: Front, folder: Path) -> None:
    again = with_differences(front, read_scores(folder), n_resamples=N_RESAMPLES)
    pick = again.pick
    assert pick is not None
    compared = 0
    for before, after in zip(front.entries, again.entries, strict=True):
        assert set(before.versus_pick) == set(after.versus_pick)
        for name, difference in after.versus_pick.items():
            assert difference.value == pytest.approx(before.versus_pick[name].value, abs=1e-3)
            compared += 1
    assert compared > 10


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_table_fits_and_says_what_its_marks_are(front: Front, width: int) -> None:
    text = front_table(front, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "Marked: b the best there" in " ".join(text.split())
    assert "neighbours on the front" in " ".join(text.split())


def test_the_table_for_a_paper(front: Front) -> None:
    text = front_latex(front)
    assert text.startswith("% needs \\usepackage{booktabs,amsmath}\n\\begin{table}\n")
    for word in (r"\toprule", r"\midrule", r"\bottomrule", "160 networks, test accuracy after 200 epochs", r"95\,\%"):
        assert word in text
    assert r"parameter\_count" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count(" & ") for line in rows} == {5}
    assert len(rows) == 1 + len(front.entries)
    assert text.count("{") == text.count("}")


def test_one_proxy_is_shown_in_infix_first_and_latex_on_request(front: Front) -> None:
    pick = front.pick
    assert pick is not None
    lines = entry_text(front, pick).splitlines()
    assert lines[1].startswith("  formula     log_abs_determinant(")
    assert "\\" not in "\n".join(lines)
    assert "\\" in entry_latex(pick)


def test_the_page_begins_with_use_trust_and_failure(folder: Path, front: Front) -> None:
    page = render_report(folder)
    places = [page.index(f"<h2>{title}") for title in ("Use it", "Why trust it", "Where it fails", "Front")]
    assert places == sorted(places)
    assert f"eznas export {folder} best -o proxy.py" in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "<script" not in page
    for entry in front.discovered:
        assert f"<title>{entry.label}, {entry.size} nodes: " in page


def test_the_networks_that_are_misjudged_most(front: Front, folder: Path) -> None:
    pick = front.pick
    assert pick is not None
    found = weakness_of(front, pick, front.samples[0], read_scores(folder))
    assert found is not None
    assert len(found.too_high) == len(found.too_low) == 5
    assert all(one.by_score < one.by_accuracy for one in found.too_high)
    assert all(one.by_score > one.by_accuracy for one in found.too_low)
    assert found.edits == ()  # the names of these networks are no cells


def test_operations_are_those_that_networks_have(front: Front) -> None:
    rng = np.random.default_rng(3)
    networks = [space_named("nb201").sample(rng, 1)[0] for _ in range(60)]  # type: ignore[misc]
    y, x = rng.normal(size=60), rng.normal(size=60)
    pick, sample = front.pick, front.samples[0]
    assert pick is not None
    scores = Scores({sample.name: y}, {pick.id: x}, tuple(arch.spec for arch in networks))
    found = weakness_of(front, pick, sample, scores)
    assert found is not None
    places = (rankdata(-y) - rankdata(-x)) / 60
    assert found.operations
    for one in found.operations:
        here = places[[f"{one.text}~" in arch.spec for arch in networks]]
        half = 1.96 * here.std(ddof=1) / np.sqrt(len(here))
        assert one.n == len(here)
        assert one.difference.value == pytest.approx(here.mean())
        assert (one.difference.low, one.difference.high) == pytest.approx((here.mean() - half, here.mean() + half))
    assert _settings_in("cell/depth=1-2/norm=batch/cell=sep3-none") == {
        "depth=1", "depth=2", "norm=batch", "cell=sep3", "cell=none",
    }  # fmt: skip


def test_the_spread_over_seeds(front: Front, tmp_path: Path) -> None:
    other = front.model_copy(update={"run": front.run.model_copy(update={"seed": 8})})
    rows = json.loads(seeds_text([front, other], "json"))
    assert [row["seed"] for row in rows] == [7, 8, "mean", "deviation", "smallest", "largest"]
    assert rows[0]["report"] == round(front.tau(front.pick, "report") or 0.0, 3)  # type: ignore[arg-type]
    assert rows[3]["report"] == 0.0
    assert "Kendall's tau-b of the pick of each of 2 seeds" in seeds_text([front, other])
    page = write_seeds_page([front, other], tmp_path / "report.html").read_text()
    assert 'href="seed-8/report.html"' in page
    assert "default-src" in page


def test_samples_that_counting_ranks_better_are_told(finished_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    document = json.loads((run / "front.json").read_text())
    for entry in document["entries"]:
        if entry["id"] == "mac_count":
            entry["report"]["cifar100"]["tau"] = {"value": 0.99, "low": 0.98, "high": 1.0}
            entry["versus_pick"]["cifar100"] = {"value": -0.3, "low": -0.4, "high": -0.2}
    (run / "front.json").write_text(json.dumps(document))
    front = load_front(run)
    assert front.pick is not None
    ahead = {}
    for sample in front.samples:
        found = counting(front, sample)
        assert found is not None
        ahead[sample.name] = found.is_ahead_of(front.pick.report[sample.name]), found.is_told
    assert ahead == {"cifar10": (False, False), "cifar100": (True, True)}
    page = render_report(run)
    assert "MACs ranks better on 1 of 2 samples, 1 of them beyond the paired 95 % interval" in page
    own = front.pick.report["cifar10"]
    assert own.tau is not None
    assert not Counting(name="MACs", tau=Criterion(value=own.tau.value + 1e-15), difference=None).is_ahead_of(own)
    assert page.count('class="n behind"') == 1

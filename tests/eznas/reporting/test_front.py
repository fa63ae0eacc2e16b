"""The front is read back faithfully, shown in order, and damaged files are refused in one sentence."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eznas.errors import RunError
from eznas.fitness import CRITERIA, OBJECTIVES
from eznas.reporting import entry_json, entry_text, front_csv, front_json, front_table
from eznas.reporting.words import beside, headline, less, less_of, rule_text
from eznas.runs.front import Front, criterion_text, load_front
from tests.eznas.reporting.conftest import cross_fitted, make_run


@pytest.fixture
def changed(finished_run: Path, tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], None]], Path]:
    """A copy of the run with its front.json changed."""

    def make(change: Callable[[dict[str, Any]], None]) -> Path:
        folder = tmp_path / "run"
        shutil.copytree(finished_run, folder)
        document = json.loads((folder / "front.json").read_text())
        change(document)
        (folder / "front.json").write_text(json.dumps(document))
        return folder

    return make


@pytest.fixture(scope="module")
def front(finished_run: Path) -> Front:
    return load_front(finished_run)


def test_everything_is_read(front: Front, finished_run: Path) -> None:
    document = json.loads((finished_run / "front.json").read_text())
    assert front.run.n_programs == 2_314
    assert [sample.name for sample in front.samples] == ["cifar10", "cifar100"]
    by_id = {entry.id: entry for entry in front.entries}
    for recorded in document["entries"]:
        assert json.loads(by_id[recorded["id"]].model_dump_json()) == recorded
    assert front.pick is not None
    assert front.pick.is_pick
    assert front.best_published is not None
    assert front.best_published.name == "naswot"


def test_order_is_that_of_the_selection_networks_never_of_the_held_out_ones(
    changed: Callable[[Callable[[dict[str, Any]], None]], Path],
) -> None:
    def worst_looks_best_on_held_out_networks(document: dict[str, Any]) -> None:
        for entry in document["entries"]:
            for measured in entry["report"].values():
                if measured["tau"] is not None:
                    measured["tau"]["value"] = -measured["tau"]["value"]

    front = load_front(changed(worst_looks_best_on_held_out_networks))
    taus = [front.worst_tau(entry, "select") or 0.0 for entry in front.discovered]
    assert taus == sorted(taus, reverse=True)
    kinds = [entry.kind for entry in front.entries]
    assert kinds == sorted(kinds)
    assert front.published[-1].name == "eznas_a_paper"


def test_a_run_on_the_mean_of_its_samples_is_ordered_and_told_by_it(tmp_path: Path) -> None:
    front = load_front(make_run(tmp_path / "run", aggregate="mean"))
    assert front.pick is not None
    for part in ("select", "report"):
        taus = front.taus(front.pick, part)
        assert len(taus) == len(front.samples) > 1
        assert front.tau(front.pick, part) == pytest.approx(sum(taus.values()) / len(taus))
    means = [front.tau(entry, "select") or 0.0 for entry in front.discovered]
    assert means == sorted(means, reverse=True)
    told, tau = headline(front), front.tau(front.pick, "report")
    assert told.title == f"A proxy with mean tau {tau:.3f} on held-out networks of 2 samples"
    assert front.best_published is not None
    assert f"has a mean of {front.tau(front.best_published, 'report'):.3f} on the same networks" in told.text
    table = front_table(front, width=40)  # too narrow for both
    assert "mean tau" in table
    assert "worst tau" in table
    assert "Ordered by the mean tau on the selection" in " ".join(table.split())
    worst = load_front(make_run(tmp_path / "worst"))
    assert worst.tau(front.pick, "report") == worst.worst_tau(front.pick, "report")


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("samples", [("cifar10",), ("cifar10", "cifar100")], ids=len)
def test_table_names_all_proxies_and_what_was_measured(samples: tuple[str, ...], width: int, tmp_path: Path) -> None:
    front = load_front(make_run(tmp_path / "run", samples))
    lines = front_table(front, width=width).splitlines()
    assert max(map(len, lines)) <= width
    assert front.pick is not None
    has_room = width >= 26 + 22 * len(samples)
    for entry in front.entries:
        (row,) = [line for line in lines if re.match(rf"[ *bsce]+{re.escape(entry.label)} ", line)]
        assert row.lstrip().startswith("*") == (entry is front.pick)
        for name in samples:
            measured = entry.report[name].tau
            expected = "failed" if measured is None else f"{measured.value:.3f}{' [' if has_room else ''}"
            assert expected in row
    text = " ".join(" ".join(lines).split()).replace("held- out", "held-out")
    assert "160 networks, test accuracy after 200 epochs" in text
    assert ("95 % bootstrap interval" in text) == has_room
    assert ("rho (Spearman)" in text) == (len(samples) == 1)
    assert ("rho within levels" in lines[0]) == (len(samples) == 1 and width >= 120)
    assert "pick is ahead by" in text
    assert "Note: Images are digits" in text


def test_table_of_many_samples_fits_and_tells_them_apart(
    changed: Callable[[Callable[[dict[str, Any]], None]], Path],
) -> None:
    def many(document: dict[str, Any], n: int) -> None:
        cards = document["samples"]
        document["samples"] = [cards[0] | {"name": f"a name as long as this one {i} of a sample"} for i in range(n)]
        for entry in document["entries"]:
            for part in ("report", "select"):
                found = entry[part].get("cifar10")
                entry[part] = {card["name"]: found for card in document["samples"] if found}

    front = load_front(changed(lambda document: many(document, 4)))
    header, *_ = front_table(front, width=120).splitlines()
    assert len(header) <= 120
    names = re.findall(r"sample \d|a n\S+|\S+…\S+", header)
    assert len(set(names)) == 4, header
    many_more = front.model_copy(update={"samples": front.samples * 8})
    table = front_table(many_more, width=80)
    assert "worst tau" in table.splitlines()[0]
    assert max(map(len, table.splitlines())) <= 80
    assert "and 20 more samples" in " ".join(table.split())


def test_names_from_a_file_cannot_break_the_table(changed: Callable[[Callable[[dict[str, Any]], None]], Path]) -> None:
    evil = "\x1b[31mred\x07\n\r\u202e\u2028[bold]x"

    def spoil(document: dict[str, Any]) -> None:
        document["run"].update(name=evil, notes=[evil], seeds=["parameter_count"])
        document["samples"][0].update(name=evil, dataset=evil, provenance=evil)
        document["samples"][0]["report"]["split"] = evil
        for entry in document["entries"]:
            for part in ("evolve", "select", "report", "versus_pick"):
                if "cifar10" in entry[part]:
                    entry[part][evil] = entry[part].pop("cifar10")
        document["entries"][-1].update(name=evil * 5, title=evil)
        document["entries"][-1]["report"][evil].update(reason=evil, failures={evil: 160})

    front = load_front(changed(spoil))
    texts = [front_table(front, width=width) for width in (60, 120)]
    texts += [entry_text(front, entry) for entry in (front.entries[0], front.entries[-1])]
    for text in texts:
        assert all(c.isprintable() or c == "\n" for c in text)
        assert "[31mred" in text
        assert max(map(len, text.splitlines())) < 2_000
    assert front_json(front).isascii()


def test_a_run_with_seeds_and_a_cross_fitted_one_say_so(tmp_path: Path, finished_run: Path) -> None:
    seeded = load_front(make_run(tmp_path / "seeded", ["cifar10"], seeds=("parameter_count", "mac_count")))
    assert "Run synthetic started from 2 given programs." in front_table(seeded)
    assert "run synthetic (started from 2 given programs)" in entry_text(seeded, seeded.entries[0])
    fitted = load_front(cross_fitted(make_run(tmp_path / "fitted", ["cifar10"], n_folds=5)))
    text = " ".join(front_table(fitted).split())
    assert "the report is cross-fitted in 5 folds" in text
    assert "held-out" not in text
    for entry in fitted.discovered:
        (row,) = [line for line in front_table(fitted).splitlines() if entry.label in line]
        assert (" - " in row) == (entry is not fitted.pick)
        shown = entry_text(fitted, entry)
        assert ("the searches of the folds measure the pick alone" in shown) == (entry is not fitted.pick)
        assert ("160 networks, test accuracy after 200 epochs, in 5 folds" in shown) == (entry is fitted.pick)
    assert "started from" not in front_table(load_front(finished_run))
    assert "cross-fitted" not in front_table(load_front(finished_run))


def test_one_proxy_is_shown_with_every_criterion_ties_and_failures_by_kind(front: Front) -> None:
    assert front.pick is not None
    assert front.best_published is not None
    (failing,) = [entry for entry in front.discovered if entry.report["cifar10"].n_failed == 3]
    text = entry_text(front, failing)
    for sample in front.samples:
        assert f"{sample.name}: {sample.conditions}" in text
        measured = failing.report[sample.name]
        assert len(measured.criteria) == len(CRITERIA)
        for name, criterion in measured.criteria.items():
            title = OBJECTIVES[name].title
            assert re.search(rf"  {title} +{re.escape(criterion_text(criterion))}\n", text), title
        assert criterion_text(measured.tau).count(", ") == 1
    assert text.count("failures              3 of 160 (2 non-finite, 1 network)") == 2
    assert text.count("ties                  ") == 2
    assert "does not tell the two apart" in text
    of_pick = entry_text(front, front.pick)
    assert "failures              0 of 160\n" in of_pick
    difference = front.best_published.versus_pick["cifar10"]
    assert f"ahead by {difference.value:.3f} [{difference.low:.3f}, {difference.high:.3f}]" in of_pick
    lost = entry_text(front, front.entry("eznas_a_paper"))
    assert "it has no finite score on 160 of 160" in lost
    assert "160 of 160 (160 undefined)" in lost
    assert json.loads(entry_json(front.pick))["id"] == front.pick.id


def test_json_is_the_stored_document_and_csv_holds_the_same_numbers(front: Front, finished_run: Path) -> None:
    document, stored = json.loads(front_json(front)), json.loads((finished_run / "front.json").read_text())
    assert [entry["id"] for entry in document["entries"]] == [entry.id for entry in front.entries]
    by_id = {entry["id"]: entry for entry in stored["entries"]}
    assert document == stored | {"entries": [by_id[entry.id] for entry in front.entries]}
    rows = list(csv.DictReader(io.StringIO(front_csv(front))))
    assert len(rows) == 2 * len(front.entries)
    first = front.entries[0]
    for name, criterion in first.report["cifar10"].criteria.items():
        ends = (criterion.value, criterion.low, criterion.high)
        assert tuple(float(rows[0][f"report_{name}{end}"]) for end in ("", "_low", "_high")) == ends
    assert rows[0]["pick_minus_this"] == ""
    assert float(rows[2]["pick_minus_this"]) == front.entries[1].versus_pick["cifar10"].value
    assert float(rows[0]["select_tau"]) == pytest.approx(front.worst_tau(first, "select"), abs=0.1)
    assert rows[0]["sample"] == "cifar10"
    assert rows[-1]["report_tau"] == rows[-1]["pick_minus_this"] == ""


def test_entries_are_found_by_name_or_by_the_start_of_their_id(front: Front) -> None:
    assert front.pick is not None
    assert front.entry(front.pick.id[:6]) is front.pick
    assert front.entry("synflow").name == "synflow"
    with pytest.raises(RunError, match=r"There is no proxy 'zzz' in .*; it holds .*synflow"):
        front.entry("zzz")
    with pytest.raises(RunError, match="There is no proxy ''"):
        front.entry("")


def test_name_wins_over_ids_that_start_so(front: Front) -> None:
    assert front.entry("eznas_a_code").name == "eznas_a_code"
    with pytest.raises(RunError, match="2 proxies begin with 'eznas'"):
        front.entry("eznas")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(version=1), "version 1; this release reads eznas-front version 2"),
        (lambda d: d.pop("samples"), "'samples' in .*field required"),
        (lambda d: d["run"].update(seed="x"), r"'run\.seed' in .* got 'x'"),
        (lambda d: d["entries"][2].update(direction=0), r"'entries\.2\.direction' in .* got 0"),
        (lambda d: d["entries"][0].update(tree={}), r"Unknown key 'entries\.0\.tree'"),
        (lambda d: d["entries"][1].update(simplified="(os.system weight)"), "a program that cannot be read"),
        (lambda d: d["entries"][0].update(id="0" * 16), "'id' must be the digest of its program, [0-9a-f]+, got '0+'"),
        (lambda d: d["entries"][0]["report"]["cifar10"]["tau"].update(value=float("nan")), "finite number"),
        (lambda d: d["entries"][0]["report"]["cifar10"].update(n_failed=-1), "greater than or equal to 0, got -1"),
    ],
)
def test_damage_is_refused_in_one_sentence(
    change: Callable[[dict[str, Any]], None], message: str,
    changed: Callable[[Callable[[dict[str, Any]], None]], Path],
) -> None:  # fmt: skip
    with pytest.raises(RunError, match=message) as caught:
        load_front(changed(change))
    assert "\n" not in str(caught.value)


def test_missing_and_broken_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no front\.json; check the path"):
        load_front(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"has no front\.json; it is no run folder; eznas runs lists those below"):
        load_front(tmp_path)
    (tmp_path / "front.json").write_text('{"format": ')
    with pytest.raises(RunError, match="is not valid JSON"):
        load_front(tmp_path)
    (tmp_path / "front.json").write_text("[]")
    with pytest.raises(RunError, match=r"must hold a JSON object, got \[\]"):
        load_front(tmp_path)


def test_a_mean_over_samples_is_told_with_intervals(tmp_path: Path) -> None:
    front = load_front(make_run(tmp_path / "run", aggregate="mean"))
    pick, best = front.pick, front.best_published
    assert pick is not None
    assert best is not None
    text = headline(front).text
    assert re.search(r"Its mean is 0\.\d{3} \[0\.\d{3}, 0\.\d{3}\] \(95 %, over networks\)", text)
    assert re.search(r"on the same networks; the pick .*\[.*\] \(paired.*; the pick is ahead on \d of 2 samples", text)
    found = less(front, pick, best)
    assert found is not None
    assert found.value == pytest.approx((front.tau(pick, "report") or 0) - (front.tau(best, "report") or 0))
    assert less_of(front, pick) == ("mean tau", " over 2 samples")
    assert "Mean tau of the pick less that of its neighbours on the front over 2 samples" in beside(front, pick)
    (tmp_path / "run" / "report_scores.csv").write_text("network\n,")
    damaged = load_front(tmp_path / "run")
    assert "Its mean" not in headline(damaged).text
    assert damaged.pick is not None
    assert beside(damaged, damaged.pick) == ""


def test_a_run_by_another_objective_says_so(tmp_path: Path) -> None:
    front = load_front(make_run(tmp_path / "run", ["cifar10"]))
    assert front.pick is not None
    assert front.pick is not front.discovered[0]
    assert "* is the pick, the best there by the first objective of the run" in " ".join(front_table(front).split())
    first = front.discovered[0].id
    marked = [one.model_copy(update={"is_pick": one.id == first}) for one in front.entries]
    assert rule_text(front.model_copy(update={"entries": tuple(marked)})) == "the best there"

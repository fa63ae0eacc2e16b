"""Several samples in one run: spaces side by side, each with its store, its conditions and its labels."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau

from eznas.benchmarks import Benchmark, Part, Split
from eznas.errors import ConfigError
from eznas.fitness import Labels
from eznas.programs import Invalid, parse
from eznas.proxies import ProgramProxy
from eznas.reporting import front_table, write_report
from eznas.runs import Journal, RunFolder
from eznas.runs.config import config_from
from eznas.spaces import nb101, nb201, own
from eznas.study import Problem, Study, capture_stores, evolve, make_assessor, make_evaluator, prepare
from eznas.study.machine import Machine
from eznas.study.observer import Silent
from eznas.workers import open_pool
from tests.eznas.small_zoo import write_zoo

pytestmark = pytest.mark.usefixtures("embedded_data", "nothing_simplified")


def made_up(space: Any, name: str, seed: int) -> Benchmark:
    """Architectures of a space with validation and test accuracies out of nowhere."""
    rng = np.random.default_rng(seed)
    architectures = space.sample(rng, 40)
    tables = {("made", split, 10): rng.uniform(20, 90, size=40) for split in Split}
    return Benchmark(name, "Made up for tests.", tuple(architectures), tables)


@pytest.fixture(scope="module")
def benchmarks() -> dict[str, Benchmark]:
    return {"nb201": made_up(nb201.SPACE, "nb201", 1), "nb101": made_up(nb101.SPACE, "nb101", 2)}


@pytest.fixture
def side_by_side(
    benchmarks: dict[str, Benchmark], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    """Settings of a run on cells of two spaces and on networks of one's own."""
    monkeypatch.setattr("eznas.study.problem.load_benchmark", lambda name: benchmarks[name])
    monkeypatch.chdir(tmp_path)
    own._family.cache_clear()
    write_zoo(tmp_path, {"mine": np.round(50 + 20 * np.sin(np.arange(26)), 4)}, name="zoo_beside")
    sizes = {"n_evolve": 8, "n_select": 5, "n_report": 6}
    yield {
        "seed": 2,
        "samples": [
            {"name": "nb201", "settings": {"channels": 4}, **sizes},
            {"name": "nb101", "settings": {"channels": 4}, "probe": {"batch_size": 4}, "weight": 3.0, **sizes},
            {"name": "python:zoo_beside:networks", "accuracies": "zoo_beside.csv", **sizes, "n_select": 5},
        ],
        "probe": {"batch_size": 3},
        "evolution": {"population_size": 10, "initial_size": 14, "n_generations": 1},
        "report": {
            "bootstrap": 100, "badge_networks": 0, "front_size": 2, "baselines": ["mac_count"],
            "baseline_batch_size": 4,
        },
    }
    own._family.cache_clear()
    sys.modules.pop("zoo_beside", None)


def test_samples_have_names_conditions_and_stores_of_their_own(side_by_side: dict[str, Any], tmp_path: Path) -> None:
    problem = prepare(config_from(side_by_side))
    assert [family.name for family in problem.families] == ["nb201", "nb101", "python"]
    assert [s.name for s in problem.samples("evolve")] == ["nb201/made", "nb101/made", "python/mine"]
    assert problem.weights == (1.0, 3.0, 1.0)
    assert problem.folds == ()
    sizes = {(c.space, c.batch_size, c.input_size, c.channels) for c in (f.conditions for f in problem.families)}
    assert {space for space, *_ in sizes} == {"nb201", "nb101", "python"}
    by_space = {family.conditions.space: family.conditions for family in problem.families}
    assert (by_space["nb201"].batch_size, by_space["nb101"].batch_size) == (3, 4)
    assert (by_space["python"].channels, by_space["nb101"].channels) == (1, 3)
    keys = problem.store_keys()
    assert len({key.digest if hasattr(key, "digest") else str(key.conditions) for key in keys}) == 3
    stores = capture_stores(problem, Machine(cache=tmp_path / "stores"), Silent())
    assert [store.n_networks for store in stores] == [8, 8, 8]
    assert len([path for path in (tmp_path / "stores").iterdir() if path.is_dir()]) == 3


def test_two_samples_of_one_benchmark_are_told_apart(side_by_side: dict[str, Any]) -> None:
    first, *_ = side_by_side["samples"]
    table = {**side_by_side, "samples": [first, {**first, "settings": {"channels": 8}}]}
    problem = prepare(config_from(table))
    assert [family.name for family in problem.families] == ["nb201", "nb201 2"]
    assert [sample.name for sample in problem.samples("report")] == ["nb201/made", "nb201 2/made"]


def expected_taus(problem: Problem, program: str, direction: int, part: str) -> list[float]:
    """Kendall's tau of a program on each family, network by network."""
    found = []
    for family, sample in zip(problem.families, problem.samples(part), strict=True):  # type: ignore[arg-type]
        proxy = ProgramProxy(name="p", program=parse(program), direction=direction).bound(family.conditions)
        batch = family.conditions.batch(family.conditions.batch_size)
        scores = [proxy.outcome(family.conditions.network(arch), *batch) for arch in family.networks(part)]  # type: ignore[arg-type]
        finite = [-1e300 if isinstance(score, Invalid) else score for score in scores]
        found.append(float(kendalltau(finite, sample.accuracies).statistic))
    return found


@pytest.mark.parametrize("aggregate", ["worst", "mean"])
def test_fitness_is_the_worst_or_the_weighted_mean_of_the_samples(
    side_by_side: dict[str, Any], tmp_path: Path, aggregate: str
) -> None:
    side_by_side["evolution"]["aggregate"] = aggregate
    problem = prepare(config_from(side_by_side))
    machine = Machine(cache=tmp_path / "stores")
    pool = open_pool(0)
    evaluator = make_evaluator(problem, capture_stores(problem, machine, Silent()), pool, machine)
    programs = [parse(text).canonical for text in ("parameter_count", "(mean_layers (share_positive weight))")]
    for program, fitness in zip(programs, make_assessor(problem, evaluator).assess(programs)[0], strict=True):
        assert not isinstance(fitness, Invalid)
        taus = expected_taus(problem, program.text, fitness.direction, "evolve")
        assert [task.tau for task in fitness.tasks] == pytest.approx(taus, abs=1e-6)
        assert [task.task for task in fitness.tasks] == ["nb201/made", "nb101/made", "python/mine"]
        expected = min(taus) if aggregate == "worst" else (taus[0] + 3 * taus[1] + taus[2]) / 5
        assert fitness.correlation == pytest.approx(expected, abs=1e-6)
        turned = [-tau for tau in taus]
        other = min(turned) if aggregate == "worst" else -expected
        assert expected >= other - 1e-9, "the direction in which the aggregate is higher"


def test_a_program_that_fails_on_one_family_ranks_nowhere(side_by_side: dict[str, Any], tmp_path: Path) -> None:
    """And says on which: its exponential is too large for networks of more than four layers, as cells are."""
    del side_by_side["samples"][1]
    problem = prepare(config_from(side_by_side))
    machine = Machine(cache=tmp_path / "stores")
    evaluator = make_evaluator(problem, capture_stores(problem, machine, Silent()), open_pool(0), machine)
    text = "(add parameter_count (exp (multiply 1000.0 (subtract unit_count 4.0))))"
    programs = [parse(text).canonical, parse("parameter_count")]
    (lost, kept), scores = make_assessor(problem, evaluator).assess(programs)
    assert isinstance(lost, Invalid)
    assert "nb201/made" in lost.detail
    assert not isinstance(kept, Invalid)
    assert not np.isfinite(scores[0, :8]).any(), "cells"
    assert scores[0, 8:] == pytest.approx(scores[1, 8:]), "own networks"


def test_a_run_on_three_families_reports_each(side_by_side: dict[str, Any], tmp_path: Path) -> None:
    config = config_from(side_by_side)
    study = evolve(config, run_dir=tmp_path / "run")
    front = study.result
    names = ["nb201/made", "nb101/made", "python/mine"]
    assert [sample.name for sample in front.samples] == names
    assert [sample.conditions.space for sample in front.samples] == ["nb201", "nb101", "python"]
    assert [sample.report.split for sample in front.samples] == ["test", "test", "unstated"]
    pick = front.pick
    assert pick is not None
    problem = prepare(config)
    assert list(pick.report) == names
    taus = expected_taus(problem, pick.program or "", pick.direction, "report")
    assert [pick.report[name].tau.value for name in names] == pytest.approx(taus, abs=1e-6)  # type: ignore[union-attr]
    for state in Journal(RunFolder(tmp_path / "run"), 3).load(read_only=True).candidates.values():
        assert state.fitness.correlation == pytest.approx(min(task.tau for task in state.fitness.tasks))
    with (tmp_path / "run" / "report_scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 18
    for name, start in zip(names, (0, 6, 12), strict=True):
        known = [index for index, row in enumerate(rows) if row[f"accuracy:{name}"]]
        assert known == list(range(start, start + 6))
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert [sample["name"] for sample in manifest["samples"]] == ["nb201", "nb101", "python"]
    assert [condition["settings"]["space"] for condition in manifest["conditions"]] == ["nb201", "nb101", "python"]


@pytest.mark.parametrize("regime", ["nsga2", "two-level"])
def test_accuracies_to_report_on_choose_nothing(
    side_by_side: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, regime: str
) -> None:
    evolution = {**side_by_side["evolution"], "regime": regime, "n_words": 60, "n_sentences": 50}
    if regime == "two-level":
        evolution["primitive_set"] = "general"
    config = config_from({**side_by_side, "evolution": evolution})
    front = evolve(config, run_dir=tmp_path / "run").result
    labels = Problem.labels

    def turned(self: Problem, part: Part, *, of_store: bool = False) -> tuple[Labels, ...]:
        sign = -1.0 if part == "report" else 1.0
        return tuple(
            dataclasses.replace(one, accuracies=sign * one.accuracies) for one in labels(self, part, of_store=of_store)
        )

    monkeypatch.setattr(Problem, "labels", turned)
    other = evolve(config, run_dir=tmp_path / "turned").result
    assert [entry.id for entry in other.discovered] == [entry.id for entry in front.discovered]
    assert other.pick is not None
    assert front.pick is not None
    assert other.pick.id == front.pick.id
    for entry in front.discovered:
        twin = other.entry(entry.id)
        assert twin.direction == entry.direction
        assert other.tau(twin, "select") == front.tau(entry, "select")
        assert other.worst_tau(twin, "report") != front.worst_tau(entry, "report")


def test_folds_are_of_one_benchmark(side_by_side: dict[str, Any]) -> None:
    side_by_side["samples"][2]["folds"] = 5
    with pytest.raises(ConfigError, match="cross-fitted for one benchmark alone, and 3 samples are given"):
        prepare(config_from(side_by_side))


# --- samples that nothing is learnt from --------------------------------------------------------------------------


def left_out(table: dict[str, Any], *places: int) -> dict[str, Any]:
    """The settings with some samples left out."""
    sizes = ("n_evolve", "n_select", "n_report")
    samples = [
        {**{k: v for k, v in sample.items() if k not in sizes}, "left_out": True} if place in places else sample
        for place, sample in enumerate(table["samples"])
    ]
    return {**table, "samples": samples}


@pytest.mark.parametrize("regime", ["nsga2", "two-level"])
def test_what_is_left_out_is_reported_and_touches_nothing_else(
    side_by_side: dict[str, Any], tmp_path: Path, regime: str
) -> None:
    table = left_out(side_by_side, 1)
    table["evolution"] = {**table["evolution"], "regime": regime, "n_words": 60, "n_sentences": 50}
    if regime == "two-level":
        table["evolution"]["primitive_set"] = "general"
    problem = prepare(config_from(table))
    assert [sample.name for sample in problem.samples("evolve")] == ["nb201/made", "python/mine"]
    assert [sample.name for sample in problem.samples("report")] == ["nb201/made", "nb101/made", "python/mine"]
    assert len(problem.families[1].networks("report")) == 40  # all of them
    assert problem.weights == (1.0, 1.0)
    study = evolve(config_from(table), run_dir=tmp_path / "run")
    without = {**table, "samples": [table["samples"][0], table["samples"][2]]}
    same = evolve(config_from(without), run_dir=tmp_path / "without")
    front, other = study.result, same.result
    assert [entry.id for entry in front.discovered] == [entry.id for entry in other.discovered]
    assert [card.name for card in front.left_out] == ["nb101/made"]
    assert front.left_out[0].report.n == 40
    for entry in front.discovered:
        twin = other.entry(entry.id)
        assert front.tau(entry, "select") == other.tau(twin, "select")
        assert {**entry.report} == {**twin.report, "nb101/made": entry.report["nb101/made"]}
        assert front.worst_tau(entry, "report") == other.worst_tau(twin, "report")
    pick = front.pick
    assert pick is not None
    (expected,) = [
        tau for sample, tau in zip(
            problem.samples("report"),
            expected_taus(problem, pick.formula.text, pick.direction, "report"),  # type: ignore[union-attr]
            strict=True,
        ) if sample.name == "nb101/made"
    ]  # fmt: skip
    assert front.left_out_tau(pick) == pytest.approx(expected, abs=1e-9)
    shown = front_table(front, width=200)
    assert "left out" in shown
    assert f"{front.left_out_tau(pick):.3f}" in shown
    assert "nothing was learnt from" in shown
    page = write_report(tmp_path / "run").read_text(encoding="utf-8")
    assert "Left out: nothing was learnt from it" in page


def test_a_run_learns_from_something(side_by_side: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"every one of the .* is left_out"):
        config_from(left_out(side_by_side, 0, 1, 2))
    wrong = {**side_by_side, "samples": [{**side_by_side["samples"][0], "left_out": True}]}
    with pytest.raises(ConfigError, match="drop its n_evolve"):
        config_from(wrong)


@pytest.mark.usefixtures("data_dir")
def test_nas_bench_101_beside_nas_bench_201(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the official accuracies: validation of both to learn from, the only split of NAS-Bench-101 to report."""
    monkeypatch.setenv("EZNAS_DATA", str(data_dir))
    sizes = {"n_evolve": 8, "n_select": 6, "n_report": 6}
    table = {
        "samples": [
            {"name": "nb201", "settings": {"channels": 4}, "datasets": ["cifar10", "cifar100"], **sizes},
            {"name": "nb101", "settings": {"channels": 4}, **sizes},
        ],
        "probe": {"batch_size": 2, "images": "digits"},
        "evolution": {"population_size": 6, "initial_size": 8, "n_generations": 0},
        "report": {"bootstrap": 100, "badge_networks": 0, "front_size": 1, "baselines": []},
    }
    config = config_from(table)
    study: Study = evolve(config, run_dir=tmp_path / "run")
    names = ["nb201/cifar10", "nb201/cifar100", "nb101/cifar10"]
    assert [sample.name for sample in study.result.samples] == names
    splits = [(s.evolve.split, s.select.split, s.report.split) for s in study.result.samples]
    assert splits == [("validation", "validation", "test")] * 2 + [("validation", "validation", "validation")]
    problem = prepare(config)
    parts = [{arch.spec for arch in problem.families[1].networks(part)} for part in ("evolve", "select", "report")]  # type: ignore[arg-type]
    assert len(set.union(*parts)) == 20
    pick = study.result.pick
    assert pick is not None
    assert set(pick.report) == set(names)

"""The measuring end of a run, against direct computations: made-up networks whose two splits disagree."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import kendalltau, spearmanr

from eznas.benchmarks import Part
from eznas.export.entry import proxy_card
from eznas.fitness import Fitness, assess_population
from eznas.programs import Invalid, Program, parse
from eznas.proxies import ProgramProxy, Proxy, published_proxy
from eznas.reporting.entry import entry_text
from eznas.reporting.report import render_report
from eznas.runs import Candidate, Front, RunFolder, SearchState, load_front
from eznas.runs.config import config_from
from eznas.scoring import score_networks
from eznas.simplification import Outcome, Simplification
from eznas.statistics import capture
from eznas.study import Given, Problem, Silent, prepare, single_threaded
from eznas.study.machine import Machine
from eznas.study.measure import Proposal, _proposals, _score, measure
from eznas.workers import open_pool
from tests.eznas.small_zoo import networks

N = 100
ACTIVE = "(mean_layers (share_positive activation_output.noise))"
BEST = f"(subtract (multiply 100 {ACTIVE}) (log parameter_count))"
SMALLEST = 200  # networks of fewer parameters are beyond what an exponential can hold
PROGRAMS = {
    "low": "parameter_count",
    "long": f"(negate (negate {ACTIVE}))",
    "twin": ACTIVE.replace("activation_output.noise", "(tanh activation_output.noise)"),
    "failing": f"(add {BEST} (exp (multiply 50 (subtract {SMALLEST} parameter_count))))",
}
PROPOSED = {
    "long": ACTIVE,
    "twin": ACTIVE,
    "failing": "(mean_layers (share_positive activation_output.data))",
}
"""The last is not equal to its program."""
BASELINES = ("mac_count", "naswot")
FloatArray = npt.NDArray[np.float64]


def scores_of(problem: Problem, proxy: Proxy, part: str) -> FloatArray:
    """(n_networks,) scores, network by network; -inf where the proxy fails."""
    (family,) = problem.families
    conditions = family.conditions
    bound = proxy.bound(conditions) if isinstance(proxy, ProgramProxy) else proxy
    n = conditions.batch_size if isinstance(proxy, ProgramProxy) else conditions.estimator_batch_size
    found = [
        bound.outcome(conditions.network(arch), *conditions.batch(n))
        for arch in family.networks(part)  # type: ignore[arg-type]
    ]
    return np.array([-np.inf if isinstance(one, Invalid) else one for one in found])


def scores_of_all(problem: Problem, programs: Sequence[Program], part: Part) -> FloatArray:
    """(n_programs, n_networks) scores, for what is no expected value."""
    (family,) = problem.families
    proxies = [ProgramProxy(name=f"p{number}", program=program) for number, program in enumerate(programs)]
    pool = open_pool(0)
    return score_networks(proxies, family.networks(part), family.conditions, pool).scores


def settings(**benchmark: object) -> dict[str, Any]:
    return {
        "benchmark": {"name": "python", "networks": "given", "accuracies": "given", "folds": "none"} | benchmark,
        "probe": {"batch_size": 3, "images": "digits", "input_size": 8, "channels": 1},
        "report": {"bootstrap": 300, "badge_networks": 0, "baselines": BASELINES, "baseline_batch_size": 4},
    }


@dataclass(frozen=True)
class Case:
    """A finished search on the made-up networks, and what was measured of it."""

    problem: Problem
    state: SearchState
    front: Front
    folder: Path
    known: dict[tuple[str, str], FloatArray] = field(default_factory=dict)

    def entry(self, name: str) -> Any:
        """Of a program by its name above, the long one or its twin, whichever is shown, or of a published proxy."""
        names = {"long", "twin"} if name == "long" else {name} & set(PROGRAMS)
        ids = [parse(PROGRAMS[one]).canonical.digest for one in names]
        shown = [entry for entry in self.front.entries if entry.id in ids or entry.name == name]
        (entry,) = shown
        return entry

    def test_accuracies(self) -> FloatArray:
        (sample,) = self.problem.samples("report")
        return sample.accuracies


def labels() -> dict[str, dict[str, float]]:
    """Validation accuracies that follow the best program, small networks last; test accuracies in another order."""
    everything = prepare(config_from(settings()), Given(networks=networks(N), accuracies=dict_of(np.linspace(1, 9, N))))
    (family,) = everything.families
    parts = replace(family.parts, report=family.benchmark.architectures)
    everything = replace(everything, families=(replace(family, parts=parts),))
    best, size = scores_of_all(everything, [parse(BEST), parse("parameter_count")], "report")
    rng = np.random.default_rng(0)
    validation = np.where(size < SMALLEST, 1.0, 40 + 0.4 * best.argsort().argsort()) + rng.normal(scale=0.3, size=N)
    test = 50 + 0.2 * size.argsort().argsort() + rng.normal(scale=8.0, size=N)
    return {
        name: {"made_valid": float(v), "made_test": float(t)}
        for name, v, t in zip(networks(N), validation, test, strict=True)
    }


def dict_of(values: FloatArray) -> dict[str, float]:
    return dict(zip(networks(N), values.tolist(), strict=True))


def searched(problem: Problem) -> SearchState:
    """A search that found the programs above, each in the direction that ranks the networks to evolve on."""
    programs = [parse(text).canonical for text in PROGRAMS.values()]
    found = assess_population(scores_of_all(problem, programs, "evolve"), problem.labels("evolve"), programs)
    candidates = [
        Candidate(program=program, fitness=fitness, generation=0, operator="random", parents=())
        for program, fitness in zip(programs, found, strict=True)
        if isinstance(fitness, Fitness)
    ]
    assert len(candidates) == len(PROGRAMS), found
    return SearchState(generation=0, candidates={candidate.id: candidate for candidate in candidates})


def proposing(programs: list[Program], *, seconds_per_program: float, **_: Any) -> list[Simplification]:
    """What algebra might propose, right or wrong."""
    proposed = {parse(PROGRAMS[name]).canonical.text: parse(text) for name, text in PROPOSED.items()}
    return [
        Simplification(
            program=program,
            candidate=proposed.get(program.text),
            outcome=Outcome.SIMPLIFIED if program.text in proposed else Outcome.UNCHANGED,
            seconds=0.0,
        )
        for program in programs
    ]


@dataclass(frozen=True)
class Learnt:
    """Values on the networks to evolve on."""

    problem: Problem

    def raw(self, programs: Sequence[Program]) -> FloatArray:
        return scores_of_all(self.problem, programs, "evolve")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    with pytest.MonkeyPatch.context() as patch, single_threaded():
        patch.delenv("EZNAS_DATA", raising=False)
        patch.setattr("eznas.study.measure.simplify", proposing)
        given = Given(networks=networks(N), accuracies=labels())
        problem = prepare(config_from(settings()), given)
        state = searched(problem)
        folder = RunFolder.create(tmp_path_factory.mktemp("measure") / "run")
        pool = open_pool(0)
        learnt: Any = Learnt(problem)
        measure(folder, problem, state, pool, Silent(), machine=Machine(), learnt=lambda: learnt)
        pool.close()
        return Case(problem, state, load_front(folder.path), folder.path)


def test_the_two_splits_disagree(case: Case) -> None:
    (family,) = case.problem.families
    splits = [sample.split.value for part in ("evolve", "select", "report") for sample in case.problem.samples(part)]  # type: ignore[arg-type]
    assert splits == ["validation", "validation", "test"]
    both = [family.benchmark.accuracies(family.networks("report"), "made", s) for s in set(family.splits.values())]
    assert abs(kendalltau(*both).statistic) < 0.4
    assert len({*family.networks("evolve"), *family.networks("select"), *family.networks("report")}) == N


def test_what_is_shown_and_what_a_twin_is(case: Case) -> None:
    """Of two programs that rank alike one stays, though one is smaller and the other cheaper."""
    shown = {entry.id for entry in case.front.discovered}
    ids = {name: parse(text).canonical.digest for name, text in PROGRAMS.items()}
    pair = {ids["long"], ids["twin"]}
    assert pair <= set(case.state.candidates)
    assert shown & pair == {ids["twin"]}, "the smaller one"
    assert shown - pair == {ids["low"], ids["failing"]}
    assert [entry.is_pick for entry in case.front.discovered] == [True, False, False]
    assert case.front.pick is not None
    assert case.front.pick.id == case.entry("failing").id


def test_directions_are_those_of_the_search(case: Case) -> None:
    assert {name: case.entry(name).direction for name in ("low", "long", "failing")} == {
        "low": -1, "long": 1, "failing": 1,
    }  # fmt: skip


def test_branches_that_say_nothing_are_proposed_to_be_left_out(case: Case) -> None:
    learnt: Any = Learnt(case.problem)
    silent = parse(f"(add {BEST} (multiply (heaviside parameter_count) 0.25))")
    smaller = parse(f"(add {BEST} 0.25)")
    assert _proposals(silent, None, learnt) == (Proposal(smaller, is_settled=True),)
    assert _proposals(silent, smaller, learnt) == (Proposal(smaller, is_settled=False),)
    assert _proposals(parse(BEST), None, learnt) == ()


def test_only_a_certified_simplification_is_shown(case: Case) -> None:
    assert case.entry("long").simplified == parse(ACTIVE).text
    assert not case.entry("long").is_settled
    assert case.entry("failing").simplified is None
    assert case.entry("low").simplified is None


def in_direction(case: Case, name: str, part: str) -> FloatArray:
    """(n,) scores of an entry, higher predicted better, failures last."""
    if (name, part) not in case.known:
        case.known[name, part] = scores_of(case.problem, of_entry(case, name), part)
    return case.known[name, part]


def of_entry(case: Case, name: str) -> Proxy:
    """The proxy that an entry says it is."""
    entry = case.entry(name)
    if entry.kind == "published":
        return published_proxy(name)
    return ProgramProxy(name=name, program=parse(entry.program), direction=entry.direction)


def correlations(scores: FloatArray, accuracies: FloatArray) -> tuple[float, float]:
    finite = np.where(np.isfinite(scores), scores, scores[np.isfinite(scores)].min() - 1)
    return float(kendalltau(finite, accuracies).statistic), float(spearmanr(finite, accuracies).statistic)


@pytest.mark.parametrize("name", ["low", "long", "failing", *BASELINES])
def test_the_report_is_on_test_accuracies_of_the_networks_to_report(case: Case, name: str) -> None:
    scores = in_direction(case, name, "report")
    measured = case.entry(name).report["made"]
    tau, rho = correlations(scores, case.test_accuracies())
    assert measured.tau.value == pytest.approx(tau, abs=1e-9)
    assert measured.rho.value == pytest.approx(rho, abs=1e-9)
    assert measured.n == len(scores)
    assert measured.n_failed == np.sum(~np.isfinite(scores))
    assert sum(measured.failures.values()) == measured.n_failed
    if name == "failing":
        assert measured.n_failed > 0
        assert set(measured.failures) == {"non-finite"}


@pytest.mark.parametrize("name", ["low", "failing"])
def test_intervals_are_of_the_direction_that_is_reported(case: Case, name: str) -> None:
    scores, accuracies = in_direction(case, name, "report"), case.test_accuracies()
    rng = np.random.default_rng(5)
    drawn = rng.integers(len(scores), size=(300, len(scores)))
    taus = [correlations(scores[rows], accuracies[rows])[0] for rows in drawn]
    low, high = np.quantile(taus, [0.025, 0.975])
    measured = case.entry(name).report["made"].tau
    assert measured.low <= measured.value <= measured.high
    assert (measured.low, measured.high) == pytest.approx((low, high), abs=0.08)


def test_a_proxy_that_is_no_better_than_chance_on_the_test_split_is_said_to_be(case: Case) -> None:
    """It predicts by a low score, and test accuracies rise with it: held-out numbers never choose."""
    assert case.entry("low").select["made"].tau.value > 0.2
    assert case.entry("low").report["made"].tau.high < 0


@pytest.mark.parametrize(("part", "stored"), [("evolve", "evolve"), ("select", "select")])
def test_evolution_and_selection_are_on_validation_accuracies(case: Case, part: str, stored: str) -> None:
    (sample,) = case.problem.samples(part)  # type: ignore[arg-type]
    for name in ("low", "long", "failing"):
        measured = getattr(case.entry(name), stored)["made"]
        tau, rho = correlations(in_direction(case, name, part), sample.accuracies)
        assert (measured.tau.value, measured.rho.value) == pytest.approx((tau, rho), abs=1e-9)
        assert measured.n == sample.n


def test_how_much_better_the_pick_is_than_the_others(case: Case) -> None:
    accuracies = case.test_accuracies()
    pick, _ = correlations(in_direction(case, "failing", "report"), accuracies)
    assert case.entry("failing").versus_pick == {}
    for name in ("low", "long", *BASELINES):
        other, _ = correlations(in_direction(case, name, "report"), accuracies)
        versus = case.entry(name).versus_pick["made"]
        assert versus.value == pytest.approx(pick - other, abs=1e-9)
        assert versus.low <= versus.value <= versus.high


def test_the_scores_of_the_report_are_in_a_table(case: Case) -> None:
    with (case.folder / "report_scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    (family,) = case.problem.families
    assert [row["network"] for row in rows] == [arch.spec for arch in family.networks("report")]
    assert [float(row["accuracy:made"]) for row in rows] == pytest.approx(case.test_accuracies().tolist(), rel=1e-5)
    for name in ("low", "failing", *BASELINES):
        expected = in_direction(case, name, "report")
        column = [row[case.entry(name).id] for row in rows]
        assert [text == "" for text in column] == (~np.isfinite(expected)).tolist()
        known = [(float(text), value) for text, value in zip(column, expected, strict=True) if text]
        assert [one for one, _ in known] == pytest.approx([other for _, other in known], rel=1e-5)


def test_the_front_is_read_back_as_it_was_written(case: Case) -> None:
    document = json.loads((case.folder / "front.json").read_text())
    assert [entry["id"] for entry in document["entries"]] == [entry.id for entry in case.front.entries]
    (card,) = case.front.samples
    assert (card.evolve.split, card.select.split, card.report.split) == ("validation", "validation", "test")
    assert card.evolve.n + card.select.n + card.report.n == N


def test_how_much_is_read_is_the_mean_over_the_networks_of_the_report(case: Case) -> None:
    (family,) = case.problem.families
    conditions = family.conditions
    inputs, _ = conditions.batch(conditions.batch_size)
    read = [
        capture(conditions.network(arch), inputs, seed=0, statistics=(), units=conditions.units).coverage
        for arch in family.networks("report")
    ]
    (card,) = case.front.samples
    assert card.coverage is not None
    for name, share in card.coverage.model_dump().items():
        assert share == pytest.approx(np.mean([getattr(one, name) for one in read]))
    assert 0 < card.coverage.parameters < card.coverage.layers == 1
    carded = proxy_card(case.front, case.front.entry("best"))
    assert carded[f"Reads of {card.name}"] == f"{card.coverage} (units: layers)"
    assert str(card.coverage) in entry_text(case.front, case.front.entry("best"))
    assert f"Discovered programs read {card.coverage} (units: layers)." in render_report(case.folder)


@pytest.mark.parametrize("strategy", ["stratified", "uniform"])
def test_networks_to_evolve_on_are_drawn_as_asked(case: Case, strategy: str) -> None:
    """Stratified: one of each tenth of those that were dealt, by validation accuracy."""
    (family,) = case.problem.families
    accuracies = {
        arch.spec: dict(zip(("made_valid", "made_test"), values, strict=True))
        for arch, *values in zip(
            family.benchmark.architectures,
            family.benchmark.accuracies(family.benchmark.architectures, "made", family.splits["evolve"]),
            family.benchmark.accuracies(family.benchmark.architectures, "made", family.splits["report"]),
            strict=True,
        )
    }
    problem = prepare(
        config_from(settings(n_evolve=10, strategy=strategy)), Given(networks=networks(N), accuracies=accuracies)
    )
    (drawn,) = problem.families
    dealt = {arch.spec for arch in family.networks("evolve")}
    chosen = [arch.spec for arch in drawn.networks("evolve")]
    assert set(chosen) <= dealt
    order = sorted(dealt, key=lambda spec: accuracies[spec]["made_valid"])
    tenths = sorted(order.index(spec) * 10 // len(order) for spec in chosen)
    assert (tenths == list(range(10))) == (strategy == "stratified")
    assert drawn.networks("report") == family.networks("report")


class Progress(Silent):
    """Remembers how far it was."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []

    def advance(self, done: int, total: int) -> None:
        self.steps.append((done, total))


def test_progress_goes_over_the_networks_of_all_families(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EZNAS_DATA", raising=False)
    sizes = [{"n_evolve": 5, "n_select": n, "n_report": 5} for n in (6, 5)]
    problem = prepare(config_from({"samples": [{"name": "nb201", **size} for size in sizes]}))
    progress, pool = Progress(), open_pool(0)
    _score(problem, "select", [published_proxy("parameter_count")], pool, progress, "cpu")
    pool.close()
    assert progress.steps == [(n, 11) for n in range(1, 12)]
    assert problem.n_networks("select") == 11

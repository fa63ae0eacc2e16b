"""What a run will still take, told with a clock of its own."""

from __future__ import annotations

import pytest

from eznas.runs import SearchState
from eznas.runs.config import EvolutionSettings
from eznas.runs.records import GenerationSummary
from eznas.study.outlook import (
    FORWARD,
    LATER,
    PROGRAM,
    REPORT_SECONDS,
    SIMPLIFY_SECONDS,
    STAGES,
    WORDS,
    Left,
    Outline,
    Outlook,
    stage_of,
)

OUTLINE = Outline(
    n_capture=10, n_evolve=10, n_generations=4, n_initial=400, n_population=200, n_select=20, n_report=50, n_front=5,
    published_cost=5.0,
)  # fmt: skip
SETTINGS = EvolutionSettings(n_generations=4, population_size=200, initial_size=400)
SIMPLIFY = SIMPLIFY_SECONDS[0] + 5 * SIMPLIFY_SECONDS[1]
MEASURE = 1 + 5.0 * FORWARD
"""Of a captured network."""


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def generation(number: int, seconds: float, n: int = 200) -> GenerationSummary:
    return GenerationSummary(
        generation=number, n_evaluated=n, n_valid=n, n_invalid=0, n_duplicates=0, best_correlation=0.5,
        best_values=(0.5,), best_size=3, best_id="a", front_size=1, hypervolume=0.1, seconds=seconds,
    )  # fmt: skip


def told(outlook: Outlook, number: int, seconds: float, state: SearchState, n: int = 200) -> None:
    state.generation, state.seconds = number, state.seconds + seconds
    outlook.generation(generation(number, seconds, n), state, SETTINGS)


def test_nothing_is_made_up_before_anything_is_known() -> None:
    clock = Clock()
    outlook = Outlook(OUTLINE, clock)
    outlook.stage("Capturing statistics of 10 networks")
    assert outlook.left() == Left(None, is_whole=False)


def test_every_stage_is_foreseen_by_what_the_first_networks_took() -> None:
    clock = Clock()
    outlook = Outlook(OUTLINE, clock)
    outlook.stage("Capturing statistics of 4 networks")
    clock.now += 4
    outlook.advance(4, 4)
    outlook.stage("Capturing statistics of 6 others")
    assert outlook.left().is_whole
    ahead = 20 + 50 * MEASURE + SIMPLIFY + REPORT_SECONDS  # a second each
    search = 10 * PROGRAM * (400 + LATER * 4 * 200)
    assert outlook.left().seconds == pytest.approx(6 + search + ahead)
    clock.now += 2
    assert outlook.left().seconds == pytest.approx(6 - 2 + search + ahead), "the time that goes by is counted"
    clock.now += 4
    outlook.advance(6, 6)
    outlook.stage("Evolving")
    clock.now += 1
    assert outlook.left().seconds == pytest.approx(search - 1 + ahead)


def test_a_search_is_foreseen_by_its_generations() -> None:
    clock, state = Clock(), SearchState()
    outlook = Outlook(OUTLINE, clock)
    outlook.stage("Evolving")
    told(outlook, 0, 8.0, state, 400)
    later = LATER * 8.0 / 2  # of half as many programs
    assert outlook.left().seconds == pytest.approx(4 * later + SIMPLIFY + REPORT_SECONDS)
    assert not outlook.left().is_whole, "the statistics were in the cache, so nothing says what a network takes"
    told(outlook, 1, 3.0, state)
    assert outlook.left().seconds == pytest.approx(3 * 3.0 + SIMPLIFY + REPORT_SECONDS)
    outlook.stage("Choosing among 60 programs")
    assert outlook.left() == Left(SIMPLIFY + REPORT_SECONDS, is_whole=False)
    clock.now += 10
    outlook.advance(5, 20)
    assert outlook.left() == Left(pytest.approx(30 + SIMPLIFY + 50 * 2 * MEASURE + REPORT_SECONDS), is_whole=True)


def test_the_searches_of_a_cross_fitted_report_are_counted() -> None:
    clock, state = Clock(), SearchState()
    outline = Outline(
        n_capture=0, n_evolve=10, n_searches=6, n_generations=4, n_initial=400, n_population=200, n_select=0,
        n_report=0, n_front=5,
    )  # fmt: skip
    outlook = Outlook(outline, clock)
    outlook.stage("Evolving")
    for number, seconds in enumerate([8.0, 3.0, 3.0, 3.0, 3.0]):
        told(outlook, number, seconds, state)
    rest = SIMPLIFY + REPORT_SECONDS
    assert outlook.left() == Left(pytest.approx(5 * 20.0 + rest), is_whole=True)
    outlook.stage("Evolving for fold 1 of 5")
    clock.now += 5
    assert outlook.left().seconds == pytest.approx(5 * 20.0 - 5 + rest), "as long as the first, until it is known"


def test_a_network_at_two_levels_takes_less_once_its_words_are_known() -> None:
    clock, state = Clock(), SearchState()
    settings = EvolutionSettings(regime="two-level", primitive_set="general", n_generations=4)
    outline = Outline(
        n_capture=0, n_evolve=10, n_generations=4, n_initial=200, n_population=200, n_words=1500, n_new_words=500,
        n_select=20, n_report=50, n_front=5,
    )  # fmt: skip
    outlook = Outlook(outline, clock)
    outlook.stage("Evolving")
    outlook.step("Computing 3,000 words")
    clock.now += 8
    outlook.advance(4, 10)  # two seconds each, and half of it for 500 words
    later = (WORDS + 500) / (WORDS + 1500)
    assert later == 0.5
    rest = 70 * 2 * later + SIMPLIFY + REPORT_SECONDS
    assert outlook.left().seconds == pytest.approx(10 * 2 - 8 + 4 * 10 * 2 * later + rest)
    outlook.step("Breeding sentences of 3,000 words")
    clock.now += 1
    outlook.advance(1, 100)
    assert outlook.left().seconds == pytest.approx(10 * 2 - 9 + 4 * 10 * 2 * later + rest), "sentences are no networks"
    state.seconds = 20.0
    outlook.generation(generation(0, 20.0), state, settings)
    assert outlook.left().seconds == pytest.approx(4 * 20 * later + rest)
    outlook.stage("Measuring on 50 held-out networks")
    outlook.step("Scoring 2 networks of each space afresh")
    clock.now += 2
    outlook.advance(2, 4)
    assert outlook.left().seconds == pytest.approx(50 * 1 - 2 + REPORT_SECONDS), "a few beside say little of all"
    outlook.step("Computing 20 words")
    clock.now += 20
    outlook.advance(10, 50)
    assert outlook.left().seconds == pytest.approx(40 * 2 + REPORT_SECONDS)


def test_the_last_stage_ends() -> None:
    clock = Clock()
    outlook = Outlook(OUTLINE, clock)
    outlook.stage("Writing the report")
    assert outlook.left() == Left(REPORT_SECONDS, is_whole=True)
    clock.now += 100
    assert outlook.left() == Left(0.0, is_whole=True)


def test_stages_are_known_by_how_they_begin() -> None:
    assert [stage_of(begins[0] + " it") for begins in STAGES.values()] == list(STAGES)
    assert stage_of("Scoring 3 networks") is None

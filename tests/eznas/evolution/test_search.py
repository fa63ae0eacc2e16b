"""The loop: same seed, same run, in one go or in pieces; nothing is evaluated twice."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eznas.errors import RunError
from eznas.evolution import Search
from eznas.programs import FailureKind, Invalid
from eznas.runs import SearchState
from eznas.runs.config import EvolutionSettings
from eznas.runs.records import GenerationSummary
from eznas.runs.stopping import Stop, is_finished, stopped_by
from tests.eznas.evolution.fakes import SETTINGS, FakeAssessor, contents, make_search

PAPER = SETTINGS.model_copy(update={"regime": "paper", "primitive_set": "paper", "mutation": 0.4})
ISLANDS = SETTINGS.model_copy(update={"islands": 3, "migration_interval": 2, "migrants": 1})
REGIMES = pytest.mark.parametrize("settings", [SETTINGS, PAPER, ISLANDS], ids=["nsga2", "paper", "islands"])


def assessed(search: Search) -> list[str]:
    assessor = search._assessor
    assert isinstance(assessor, FakeAssessor)
    return assessor.assessed


@REGIMES
def test_the_same_seed_gives_the_same_run(tmp_path: Path, settings: EvolutionSettings) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        make_search(tmp_path / name, settings, seed=seed).run()
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


@REGIMES
def test_a_run_in_pieces_equals_a_run_in_one_go(tmp_path: Path, settings: EvolutionSettings) -> None:
    whole = make_search(tmp_path / "whole", settings)
    whole.run()
    for n_done in range(1, 7):
        piece = make_search(tmp_path / "pieces", settings)
        before = piece.state.generation
        piece.run(should_stop=lambda p=piece, b=before: p.state.generation > b)
        assert piece.state.generation == n_done - 1
    assert contents(tmp_path / "pieces") == contents(tmp_path / "whole")
    assert piece.state == whole.state


@REGIMES
def test_no_program_is_evaluated_twice(tmp_path: Path, settings: EvolutionSettings) -> None:
    search = make_search(tmp_path, settings)
    state = search.run()
    assert len(assessed(search)) == len(set(assessed(search))) == state.n_evaluated
    assert set(assessed(search)) == {*state.candidates, *state.failed}
    assert not {*state.candidates} & {*state.failed}
    assert state.failed, "the fake lets some fail"


@REGIMES
def test_populations_are_full_and_distinct(tmp_path: Path, settings: EvolutionSettings) -> None:
    seen: list[tuple[str, ...]] = []
    make_search(tmp_path, settings).run(lambda _, state: seen.append(state.population))
    assert len(seen) == settings.n_generations + 1
    for population in seen[1:]:
        assert len(population) == settings.population_size
        ends = np.cumsum([len(part) for part in np.array_split(np.arange(len(population)), settings.islands)])
        for island in np.split(np.array(population), ends[:-1]):
            assert len(set(island.tolist())) == len(island)


def test_islands_meet_only_where_programs_migrate(tmp_path: Path) -> None:
    def homes(search: Search, population: tuple[str, ...]) -> dict[str, set[int]]:
        parts = np.array_split(np.array(population), search._settings.islands)
        return {one: {n for n, part in enumerate(parts) if one in part.tolist()} for one in population}

    for interval, may_share in ((100, False), (1, True)):
        settings = ISLANDS.model_copy(update={"migration_interval": interval})
        search = make_search(tmp_path / str(interval), settings)
        found: list[tuple[str, ...]] = []
        search.run(lambda _, state, found=found: found.append(state.population))  # type: ignore[misc]
        shared = [one for population in found for one, of in homes(search, population).items() if len(of) > 1]
        assert bool(shared) == may_share
        if not may_share:
            for before, after in itertools.pairwise(found):
                stayed = {one: of for one, of in homes(search, after).items() if one in before}
                assert stayed
                assert all(of == homes(search, before)[one] for one, of in stayed.items())


def test_a_search_ends_with_the_generation_in_which_its_time_is_up(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"seconds": 1e-9})
    first = make_search(tmp_path, settings)
    assert first.run().generation == 0
    assert first.state.seconds > 0
    again = make_search(tmp_path, SETTINGS.model_copy(update={"seconds": 1e6}))
    assert again.state.seconds == pytest.approx(first.state.seconds)  # time used before a resumption counts
    assert again.run().generation == SETTINGS.n_generations
    assert is_finished(settings, again.state)


STOPS = pytest.mark.parametrize(
    ("asked", "generation"),
    [
        ({"n_programs": 25}, 1),
        ({"n_programs": 20}, 0),
        ({"patience": 1}, 3),  # better ones are found in generations 0, 1 and 2
        ({"patience": 2}, 4),
        ({"target": "tau > .9"}, 1),
        ({"target": "tau > .9 and size < 5"}, 2),
    ],
    ids=str,
)


@STOPS
def test_a_search_ends_by_what_was_asked_and_says_so(tmp_path: Path, asked: dict[str, Any], generation: int) -> None:
    """In one go and in pieces, and a search that is gone on with knows that it is finished."""
    settings = SETTINGS.model_copy(update=asked)
    (setting,) = asked
    whole = make_search(tmp_path / "whole", settings, seed=8)
    ended = whole.run()
    stop = stopped_by(settings, ended)
    assert stop is not None
    assert stop.setting == setting
    assert ended.generation == generation < settings.n_generations
    for _ in range(generation + 2):
        piece = make_search(tmp_path / "pieces", settings, seed=8)
        piece.run(should_stop=lambda p=piece, b=piece.state.generation: p.state.generation > b)
    again = make_search(tmp_path / "pieces", settings, seed=8)
    assert stopped_by(settings, again.state) == stop
    assert again.run().generation == generation
    assert contents(tmp_path / "whole") == contents(tmp_path / "pieces")
    longer = make_search(tmp_path / "pieces", SETTINGS, seed=8)
    assert stopped_by(SETTINGS, longer.run()) == Stop("n_generations", "all 5 generations are done")


def test_a_search_goes_on_while_nothing_ends_it(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(
        update={"n_programs": 10**6, "patience": 100, "target": "tau > .9 and size < 1", "seconds": 1e6}
    )
    assert stopped_by(settings, SearchState()) is None
    stop = stopped_by(settings, make_search(tmp_path, settings).run())
    assert stop is not None
    assert stop.setting == "n_generations"


def test_elites_survive_under_nsga2(tmp_path: Path) -> None:
    best: list[float] = []

    def observe(summary: GenerationSummary, state: SearchState) -> None:
        top = max(state.candidates.values(), key=lambda c: c.fitness.correlation)
        assert top.id in state.population
        assert summary.best_correlation == top.fitness.correlation
        best.append(top.fitness.correlation)

    make_search(tmp_path).run(observe)
    assert best == sorted(best)


def test_under_the_paper_half_is_bred_and_half_is_new(tmp_path: Path) -> None:
    state = make_search(tmp_path, PAPER).run()
    for generation in range(1, PAPER.n_generations + 1):
        made = [c for c in state.candidates.values() if c.generation == generation]
        assert len(made) == PAPER.population_size
        assert sum(c.operator == "random" for c in made) >= PAPER.population_size // 2
        assert sum(c.operator != "random" for c in made) >= 1
    assert set(state.population) == {c.id for c in made}, "nothing survives but the records"


@REGIMES
def test_lineage_names_programs_of_earlier_generations(tmp_path: Path, settings: EvolutionSettings) -> None:
    state = make_search(tmp_path, settings).run()
    children = [c for c in state.candidates.values() if c.parents]
    assert children
    for child in children:
        assert all(state.candidates[parent].generation < child.generation for parent in child.parents)
        assert child.operator != "random"


def test_programs_stay_in_their_limits(tmp_path: Path) -> None:
    state = make_search(tmp_path).run()
    assert all(c.program.size <= SETTINGS.max_size for c in state.candidates.values())
    assert all(c.program.height <= SETTINGS.max_height for c in state.candidates.values())


def test_the_summary_counts_what_the_journal_holds(tmp_path: Path) -> None:
    summaries: list[GenerationSummary] = []
    state = make_search(tmp_path).run(lambda summary, _: summaries.append(summary))
    assert sum(s.n_valid for s in summaries) == len(state.candidates)
    assert sum(s.n_invalid for s in summaries) == len(state.failed)
    assert sum(s.n_evaluated for s in summaries) == state.n_evaluated
    assert sum(s.n_duplicates for s in summaries) == state.n_duplicates
    assert [s.hypervolume for s in summaries] == sorted(s.hypervolume for s in summaries)
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [event["n_valid"] for event in events] == [s.n_valid for s in summaries]


def test_a_search_can_be_stopped_before_it_begins(tmp_path: Path) -> None:
    state = make_search(tmp_path).run(should_stop=lambda: True)
    assert state == SearchState()
    assert not (tmp_path / "programs.jsonl").exists()


def test_a_search_without_any_ranked_program_says_why(tmp_path: Path) -> None:
    search = make_search(tmp_path)
    search._assessor.assess = lambda programs: (  # type: ignore[method-assign]
        [Invalid(FailureKind.CONSTANT, "all alike", 0)] * len(programs),
        np.full((len(programs), 3), np.nan, dtype=np.float32),
    )
    with pytest.raises(RunError, match="None of the 20 programs so far could be ranked, the first because all alike"):
        search.run()

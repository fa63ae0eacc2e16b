"""Searches on a small table with one best architecture: what they find, pay, and reproduce."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from eznas.benchmarks import Split
from eznas.errors import ConfigError
from eznas.nas import (
    PROTOCOLS,
    Budget,
    Outcome,
    Search,
    SearchTable,
    area,
    move_proposal,
    optimum_search,
    random_search,
    regularised_evolution,
    repeat,
    repeat_once,
    score_evolution,
    score_search,
    warm_up_evolution,
    warm_up_random,
)
from eznas.randomness import stream

Make = Callable[..., SearchTable]


def accuracies(table: SearchTable) -> np.ndarray:
    return table.fitness("full")


def every_search(table: SearchTable, budget: Budget) -> dict[str, Search]:
    """All searches, the guided ones by a score with ties and failures."""
    scores = np.where(np.arange(table.n) % 7 == 0, np.nan, np.round(accuracies(table) / 4))
    trained = {"budget": budget}
    return {
        "score": partial(score_search, table, scores, n=20),
        "score-evolution": partial(score_evolution, table, scores, n=200),
        "optimum": partial(optimum_search, table, n=20),
        "random": partial(random_search, table, **trained),
        "evolution": partial(regularised_evolution, table, **trained),
        "area": partial(area, table, scores, **trained),
        "aging-evolution": partial(regularised_evolution, table, population_size=64, sample_size=10, **trained),
        "warm-up": partial(warm_up_evolution, table, scores, n_scored=300, **trained),
        "warm-up-random": partial(warm_up_random, table, scores, n_scored=300, **trained),
        "move-proposal": partial(move_proposal, table, scores, **trained),
    }


def assert_equal(one: Outcome, other: Outcome) -> None:
    assert (one.pick, one.n_scored) == (other.pick, other.n_scored)
    for name in ("trained", "incumbents", "spent"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


SEARCHES = list(PROTOCOLS)


def test_every_search_is_tested(small: SearchTable) -> None:
    assert list(every_search(small, Budget(evaluations=100))) == SEARCHES


@pytest.mark.parametrize("name", SEARCHES)
def test_a_repeat_alone_equals_that_repeat_of_many(small: SearchTable, name: str) -> None:
    search = every_search(small, Budget(evaluations=90))[name]
    many, again = repeat(search, 4, seed=3), repeat(search, 4, seed=3)
    for position, (one, other) in enumerate(zip(many.outcomes, again.outcomes, strict=True)):
        assert_equal(one, other)
        assert_equal(one, repeat_once(search, position, seed=3))
    others = [*many.outcomes[1:], repeat_once(search, 0, seed=4)]
    assert any(
        o.pick != many.outcomes[0].pick or o.trained.tolist() != many.outcomes[0].trained.tolist() for o in others
    )
    assert {tuple(o.trained) for o in repeat(search, 4, seed=4).outcomes}.isdisjoint(
        {tuple(o.trained) for o in many.outcomes} - {()}
    )


@pytest.mark.parametrize("name", SEARCHES)
def test_the_budget_is_never_exceeded(make_small: Make, name: str) -> None:
    seconds = stream(0, "test", "seconds").uniform(50.0, 400.0, size=625)
    timed = make_small(seconds={"full": seconds})
    for table, budget, limit in ((make_small(), Budget(evaluations=70), 70), (timed, Budget(seconds=9_000), 9_000)):
        for outcome in repeat(every_search(table, budget)[name], 5, seed=0).outcomes:
            if name in ("score", "score-evolution", "optimum"):
                assert len(outcome.trained) == 0
                continue
            assert outcome.is_timed == bool(table.seconds)
            cost = table.seconds.get("full", np.ones(625))
            np.testing.assert_allclose(outcome.spent, np.cumsum(cost[outcome.trained]))
            assert outcome.spent[-1] <= limit
            if not table.seconds:
                assert len(outcome.trained) == 70
            else:
                assert outcome.spent[-1] > limit - 400.0  # it stopped because nothing more could be paid for
            driving = accuracies(table)[outcome.trained]
            np.testing.assert_array_equal(accuracies(table)[outcome.incumbents], np.maximum.accumulate(driving))
            assert outcome.pick == outcome.incumbents[-1]


@pytest.mark.parametrize("search", [regularised_evolution, area, move_proposal])
def test_evolution_finds_the_optimum(small: SearchTable, search: Callable[..., Outcome]) -> None:
    scores = () if search is regularised_evolution else (accuracies(small),)
    found = repeat(partial(search, small, *scores, budget=Budget(evaluations=600)), 10, seed=0)
    share = np.mean(found.picks == accuracies(small).argmax())
    assert share == 1.0 if search is move_proposal else share >= 0.9


def test_a_perfect_score_leads_straight_to_the_optimum(small: SearchTable) -> None:
    """Every proposed move replaces one edge by its best operation, so four moves after the first one is enough."""
    search = partial(move_proposal, small, accuracies(small), probability=1.0, population_size=1, sample_size=1)
    for outcome in repeat(partial(search, budget=Budget(evaluations=5)), 20, seed=0).outcomes:
        assert accuracies(small).argmax() in outcome.trained


def test_a_score_finds_what_it_prefers(small: SearchTable) -> None:
    found = repeat(partial(score_search, small, -accuracies(small), n=5_000), 3, seed=0)
    assert (found.picks == accuracies(small).argmin()).all()
    failing = np.full(625, np.nan)
    failing[7] = -1e300
    assert (repeat(partial(score_search, small, failing, n=10_000), 3, seed=0).picks == 7).all()
    assert len(set(repeat(partial(score_search, small, np.full(625, np.nan), n=9), 50, seed=0).picks)) > 40


def test_every_child_is_one_edit_from_a_good_architecture_among_the_youngest(small: SearchTable) -> None:
    best = accuracies(small)
    for outcome in repeat(partial(regularised_evolution, small, budget=Budget(evaluations=200)), 5, seed=0).outcomes:
        population = deque(outcome.trained[:10].tolist(), maxlen=10)
        for child in outcome.trained[10:].tolist():
            # the two worst of the living win no tournament of three
            strong = sorted(population, key=best.__getitem__)[2:]
            assert any(child in small.neighbours[parent] for parent in strong)
            population.append(child)


def test_the_best_dies_of_age(make_small: Make) -> None:
    """One bright architecture among equals: with the whole population in each sample it is the parent until it dies."""
    values = np.full(625, 10.0)
    values[0] = 90.0
    table = make_small(reported={("made up", Split.VALIDATION): values})
    search = partial(regularised_evolution, table, population_size=5, sample_size=5, budget=Budget(evaluations=14))
    tried = [repeat_once(search, position, seed=0) for position in range(400)]
    bright = [outcome for outcome in tried if 0 in outcome.trained[:5] and list(outcome.trained).count(0) == 1]
    assert bright
    for outcome in bright:
        birth = list(outcome.trained).index(0)
        while_alive = outcome.trained[5 : 5 + birth + 1]  # children until the architectures born before it are gone
        assert all(child in table.neighbours[0] for child in while_alive)
    later = [outcome.trained[5 + list(outcome.trained).index(0) + 1 :] for outcome in bright]
    assert not all(child in table.neighbours[0] for children in later for child in children)


def test_assistance_starts_from_the_best_scores(small: SearchTable) -> None:
    scores = accuracies(small)
    for outcome in repeat(partial(area, small, scores, budget=Budget(evaluations=10)), 10, seed=0).outcomes:
        assert outcome.n_scored == 20
        assert (np.diff(scores[outcome.trained]) <= 0).all()
    assisted = repeat(partial(area, small, scores, budget=Budget(evaluations=10)), 50, seed=0)
    plain = repeat(partial(regularised_evolution, small, budget=Budget(evaluations=10)), 50, seed=0)
    assert np.mean([scores[o.trained].mean() for o in assisted.outcomes]) > np.mean(
        [scores[o.trained].mean() for o in plain.outcomes]
    )


def test_a_warm_up_trains_from_the_top_down(small: SearchTable) -> None:
    scores = accuracies(small)
    everything = partial(warm_up_random, small, scores, n_scored=625, budget=Budget(evaluations=50))
    assert repeat_once(everything, 0, 0).trained.tolist() == np.argsort(-scores)[:50].tolist()
    evolved = partial(warm_up_evolution, small, scores, n_scored=625, budget=Budget(evaluations=80))
    assert repeat_once(evolved, 0, 0).trained[:64].tolist() == np.argsort(-scores)[:64].tolist()


def test_short_trainings_drive_and_full_ones_are_reported(made_up_nb201: SearchTable) -> None:
    found = repeat(partial(random_search, made_up_nb201, budget=Budget(evaluations=200)), 20, seed=0)
    full = repeat(partial(random_search, made_up_nb201, budget=Budget(evaluations=200), training="full"), 20, seed=0)
    for split in Split:  # short accuracies are those in reverse order
        low, high = (r.summary(made_up_nb201, "cifar10", split) for r in (found, full))
        assert low.mean < 0.05 * high.mean


# ----------------------------------------------------------------------------------------------------------- summaries


def test_a_summary_is_that_of_the_picks(small: SearchTable) -> None:
    found = repeat(partial(optimum_search, small, n=3), 40, seed=0)
    s = found.summary(small, "made up", Split.VALIDATION)
    values = accuracies(small)[found.picks]
    assert s.n == 40
    assert s.mean == pytest.approx(values.mean())
    assert s.std == pytest.approx(values.std(ddof=1))
    assert s.low is not None
    assert s.high is not None
    half = 2.0226909 * values.std(ddof=1) / np.sqrt(40)  # Student's t with 39 degrees of freedom
    assert (s.mean - s.low, s.high - s.mean) == (pytest.approx(half), pytest.approx(half))
    assert s.regret == pytest.approx(accuracies(small).max() - values.mean())
    assert s.rank == pytest.approx(np.mean([1 + np.sum(accuracies(small) > value) for value in values]))


def test_the_best_has_rank_one_and_no_regret(small: SearchTable) -> None:
    perfect = repeat(partial(score_search, small, accuracies(small), n=20_000), 1, seed=0)
    validation, test = perfect.summaries(small)
    assert (validation.rank, validation.regret) == (1.0, 0.0)
    assert (validation.std, validation.low, validation.high) == (None, None, None)
    assert test.rank == 625.0


def test_curves_keep_their_last_value(make_small: Make) -> None:
    table = make_small(seconds={"full": np.linspace(100.0, 900.0, 625)})
    found = repeat(partial(random_search, table, budget=Budget(seconds=5_000)), 20, seed=0)
    lengths = [len(outcome.trained) for outcome in found.outcomes]
    curves = found.curves(table, "made up", Split.VALIDATION)
    assert curves.shape == (20, max(lengths))
    assert min(lengths) < max(lengths)
    assert (np.diff(curves, axis=1) >= 0).all()
    np.testing.assert_array_equal(curves[:, -1], accuracies(table)[found.picks])
    with pytest.raises(ConfigError, match="has no curve"):
        repeat(partial(optimum_search, table, n=3), 2, seed=0).curves(table, "made up", Split.VALIDATION)


def test_score_only_searches_of_a_seed_see_the_same_candidates(small: SearchTable) -> None:
    """With two candidates, a score and its negative pick one each."""
    scores = np.arange(625.0)
    one, other = (repeat(partial(score_search, small, sign * scores, n=2), 50, seed=0).picks for sign in (1, -1))
    drawn = [stream(0, "nas", i, "candidates").integers(625, size=2) for i in range(50)]
    np.testing.assert_array_equal(np.stack([other, one], axis=1), np.sort(drawn, axis=1))


@pytest.mark.parametrize("n", [1, 5, 40])
def test_repeats_have_the_mean_of_the_closed_form(small: SearchTable, n: int) -> None:
    """The pick of n draws is of a class of equal scores with the probability F(s)^n - F(s-)^n."""
    scores = np.round(accuracies(small) / 5)  # few classes, so ties matter
    values = small.reported["made up", Split.VALIDATION]
    levels, level = np.unique(scores, return_inverse=True)
    counts = np.bincount(level)
    chances = np.diff([0.0, *(np.cumsum(counts) / 625) ** n])
    expected = float(chances @ (np.bincount(level, values) / counts))
    s = repeat(partial(score_search, small, scores, n=n), 2_000, seed=0).summary(small, "made up", Split.VALIDATION)
    assert s.std is not None
    assert abs(s.mean - expected) < 4 * s.std / np.sqrt(2_000)
    assert len(levels) < 12


def test_evolution_by_scores_climbs_to_the_best_score(small: SearchTable) -> None:
    scores = accuracies(small)
    drawn = repeat(partial(score_search, small, scores, n=200), 30, seed=0)
    evolved = repeat(partial(score_evolution, small, scores, n=200), 30, seed=0)
    assert scores[evolved.picks].mean() > scores[drawn.picks].mean()
    assert {len(outcome.trained) for outcome in evolved.outcomes} == {0}
    with pytest.raises(ConfigError, match="3 of 625 architectures have scores"):
        repeat(partial(score_evolution, replace(small, pool=np.arange(3)), scores), 1, seed=0)


def test_searches_by_score_draw_from_those_that_have_scores(small: SearchTable) -> None:
    table, scores = replace(small, pool=np.array([5, 99, 600])), np.zeros(625)
    budget = Budget(evaluations=10)
    for search in (
        partial(score_search, table, scores, n=50),
        partial(warm_up_random, table, scores, n_scored=3, budget=budget),
        partial(area, table, scores, n_scored=10, budget=budget),
    ):
        for outcome in repeat(search, 20, seed=0).outcomes:
            assert {outcome.pick, *outcome.trained.tolist()} <= {5, 99, 600}


# ----------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("search", "settings", "message"),
    [
        (score_search, {"n": 0}, "at least one architecture, got 0"),
        (area, {"n_scored": 9}, "At least 10 architectures must be scored"),
        (area, {"sample_size": 11}, "1 to 10 members"),
        (warm_up_random, {"n_scored": 626}, "1 to 625 architectures"),
        (warm_up_evolution, {"n_scored": 63}, "At least 64 architectures"),
        (move_proposal, {"probability": 1.5}, r"lie in 0\.\.1, got 1.5"),
        (area, {"budget": Budget(seconds=1.0)}, "at least one training, but 1 seconds do not"),
    ],
)
def test_bad_settings_are_one_sentence(
    make_small: Make, search: Callable[..., Outcome], settings: dict[str, object], message: str
) -> None:
    table = make_small(seconds={"full": np.full(625, 10.0)})
    with pytest.raises(ConfigError, match=message):
        repeat(partial(search, table, accuracies(table), **settings), 1, seed=0)
    with pytest.raises(ConfigError, match=r"one score for each of the 625 .* shape \(3,\)"):
        repeat(partial(search, table, np.zeros(3), **({"n": 5} if search is score_search else {})), 1, seed=0)


def test_bad_repeats_and_budgets_are_one_sentence(small: SearchTable) -> None:
    search = partial(optimum_search, small, n=1)
    with pytest.raises(ConfigError, match="at least once, got 0"):
        repeat(search, 0, seed=0)
    with pytest.raises(ConfigError, match=r"seed .* 0 or more, got -1"):
        repeat(search, 1, seed=-1)
    with pytest.raises(ConfigError, match="limits neither"):
        Budget()
    for settings in ({"evaluations": 0}, {"seconds": float("nan")}):
        with pytest.raises(ConfigError, match="must be positive"):
            Budget(**settings)  # type: ignore[arg-type]

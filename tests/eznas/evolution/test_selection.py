"""Selection against the plain definitions of dominance, fronts and volume."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest

from eznas.evolution import hypervolume, niches, non_dominated, select_nsga2, select_survivors, select_tournament
from eznas.randomness import stream

Matrix = npt.NDArray[np.float64]


def dominates(a: Matrix, b: Matrix) -> bool:
    return bool((a >= b).all() and (a > b).any())


def front_numbers(values: Matrix) -> list[int]:
    """The front of each row, peeling one front after another."""
    left, number, found = set(range(len(values))), 0, [0] * len(values)
    while left:
        front = {i for i in left if not any(dominates(values[j], values[i]) for j in left)}
        for i in front:
            found[i] = number
        left, number = left - front, number + 1
    return found


def matrices(n: int, k: int) -> list[Matrix]:
    rng = stream(n, "objectives", k)
    spread = rng.normal(size=(n, k))
    return [spread, rng.integers(0, 4, size=(n, k)).astype(float), np.round(spread, 1)]


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 40])
def test_non_dominated_rows_are_the_first_front(n: int, k: int) -> None:
    for values in matrices(n, k):
        front = {i for i, number in enumerate(front_numbers(values)) if number == 0}
        found = non_dominated(values)
        assert found == sorted(found)
        assert set(found) <= front
        assert {tuple(values[i]) for i in found} == {tuple(values[i]) for i in front}
        assert len({tuple(values[i]) for i in found}) == len(found), "equal rows are named once"
        assert all(not any((values[j] == values[i]).all() for j in range(i)) for i in found), "the first of equal rows"


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 2, 5, 30])
def test_better_fronts_survive_first(n: int, k: int) -> None:
    for values in matrices(n, k):
        _, first = np.unique(values, axis=0, return_index=True)
        distinct = values[first]
        numbers = np.array(front_numbers(distinct))
        for n_selected in range(len(distinct) + 1):
            selected = select_nsga2(distinct, n_selected, stream(1))
            assert len(set(selected)) == n_selected
            expected = sorted(numbers.tolist())[:n_selected]
            assert sorted(numbers[selected].tolist()) == expected


def test_the_ends_of_a_front_survive() -> None:
    x = np.linspace(0, 1, 21)
    values = np.stack([x, 1 - x**2], axis=1)
    for seed in range(10):
        selected = select_nsga2(values, 8, stream(seed))
        assert {0, 20} <= set(selected)
        assert np.mean(selected) > 10, "steps widen towards the end, so there is more room there"


def test_copies_wait_until_every_distinct_row_is_in() -> None:
    best, middle, worst = [3.0, 3.0], [2.0, 2.0], [1.0, 1.0]
    values = np.array([best] * 10 + [middle] * 2 + [worst])
    for n_selected, expected in ((2, (1, 1, 0)), (3, (1, 1, 1)), (4, (2, 1, 1)), (5, (2, 2, 1)), (8, (5, 2, 1))):
        counts = Counter(values[i][0] for i in select_nsga2(values, n_selected, stream(3)))
        assert (counts[3.0], counts[2.0], counts[1.0]) == expected
    assert sorted(select_nsga2(values, 13, stream(1))) == list(range(13))
    firsts = {next(i for i in select_nsga2(values, 3, stream(seed)) if i < 10) for seed in range(60)}
    assert firsts == set(range(10)), "which copy survives is drawn"


def test_survivors_behave_differently_as_long_as_there_are_enough() -> None:
    """Six behaviours in twelve rows, the second copy of each larger than the first."""
    values = np.array([[tau, -size] for size in (3.0, 7.0) for tau in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)])
    behaviours = values[:, 0].tolist()
    for share in (0.0, 0.5, 1.0):
        assert sorted(select_survivors(values, behaviours, 6, stream(1), share)) == [0, 1, 2, 3, 4, 5]
        assert set(select_survivors(values, behaviours, 8, stream(1), share)) > {0, 1, 2, 3, 4, 5}
        assert sorted(select_survivors(values, behaviours, 12, stream(1), share)) == list(range(12))
        assert select_survivors(values, behaviours, 0, stream(1), share) == []


def test_the_elite_survives_whatever_its_size() -> None:
    """The best are the largest: NSGA-II spreads over the whole front, the elite keeps its upper end."""
    tau = np.linspace(0.0, 0.9, 40)
    values = np.stack([tau, -np.linspace(1.0, 40.0, 40)], axis=1)
    behaviours = list(range(40))
    spread = select_survivors(values, behaviours, 10, stream(1), 0.0)
    half = select_survivors(values, behaviours, 10, stream(1), 0.5)
    assert len(set(half)) == 10
    assert set(half) >= set(range(35, 40))
    assert min(half) < 10, "the rest still holds small programs"
    assert not set(spread) >= set(range(35, 40))
    assert sorted(select_survivors(values, behaviours, 10, stream(1), 1.0)) == list(range(30, 40))


def test_survivors_need_a_behaviour_each_and_a_share() -> None:
    values = np.ones((3, 2))
    for behaviours, share in (([1, 2], 0.5), ([1, 2, 3], 1.5)):
        with pytest.raises(ValueError, match=r"one behaviour for each of 3 rows and a share in \[0, 1\]"):
            select_survivors(values, behaviours, 1, stream(1), share)


def test_selection_repeats_with_its_stream() -> None:
    values = matrices(60, 3)[1]
    assert select_nsga2(values, 25, stream(1)) == select_nsga2(values, 25, stream(1))
    assert select_nsga2(values, 25, stream(1)) != select_nsga2(values, 25, stream(2))
    random.seed(0)
    state = random.getstate()
    pool = select_tournament(values, 50, 3, stream(1))
    assert random.getstate() == state
    random.seed(1)
    assert select_tournament(values, 50, 3, stream(1)) == pool
    assert select_tournament(values, 50, 3, stream(2)) != pool


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_tournaments_press_as_they_should(size: int) -> None:
    """The best of `size` uniform draws from ranks 0 .. n - 1 is expected at n size / (size + 1) - 1/2."""
    n = 100
    winners = select_tournament(np.arange(n, dtype=float), 4000, size, stream(1, size))
    assert np.mean(winners) == pytest.approx(n * size / (size + 1) - 0.5, abs=2.0)


def test_tournaments_prefer_fronts_then_room() -> None:
    values = np.array([[0.0, 4.0], [1.99, 2.01], [2.0, 2.0], [2.01, 1.99], [4.0, 0.0], [-1.0, -1.0]])
    wins = Counter(select_tournament(values, 6000, 2, stream(1)))
    assert wins[5] < 250, "wins only against itself"
    assert min(wins[0], wins[4]) > 1.3 * max(wins[1], wins[2], wins[3])


def test_hypervolume_of_boxes() -> None:
    assert hypervolume([[2.0, 3.0]], [0.0, 0.0]) == pytest.approx(6.0)
    assert hypervolume([[2.0, 1.0], [1.0, 3.0], [0.5, 0.5]], [0.0, 0.0]) == pytest.approx(4.0)
    assert hypervolume([[1.0, 2.0, 3.0], [-1.0, 9.0, 9.0]], [0.0, 0.0, 0.0]) == pytest.approx(6.0)
    assert hypervolume([0.25, 0.75], [0.5]) == pytest.approx(0.25)
    assert hypervolume([[0.0, 5.0]], [0.0, 0.0]) == 0.0
    assert hypervolume(np.empty((0, 2)), [0.0, 0.0]) == 0.0


def test_hypervolume_equals_counting_cells() -> None:
    rng = stream(8, "cells")
    points = rng.integers(0, 6, size=(7, 3)).astype(float)
    cells = np.stack(np.meshgrid(*[np.arange(6)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    is_covered = np.array([any((cell < point).all() for point in points) for cell in cells])
    assert hypervolume(points, np.zeros(3)) == pytest.approx(is_covered.sum())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_must_be_finite(bad: float) -> None:
    values = np.array([[1.0, 2.0], [3.0, bad]])
    for call in (
        lambda: select_nsga2(values, 1, stream(1)),
        lambda: select_tournament(values, 1, 2, stream(1)),
        lambda: non_dominated(values),
        lambda: hypervolume(values, [0.0, 0.0]),
    ):
        with pytest.raises(ValueError, match=r"must be finite, got .* in row 1, column 1"):
            call()


def test_misuse_is_explained() -> None:
    values = np.ones((3, 2))
    for n_selected in (-1, 4):
        with pytest.raises(ValueError, match=f"must be 0 to 3, got {n_selected}"):
            select_nsga2(values, n_selected, stream(1))
    with pytest.raises(ValueError, match="size of at least 1, got 3 row"):
        select_tournament(values, 2, 0, stream(1))
    with pytest.raises(ValueError, match="at least 1 row"):
        select_tournament(np.empty((0, 2)), 2, 2, stream(1))
    with pytest.raises(ValueError, match=r"must have shape \(n, k\)"):
        non_dominated(np.ones((2, 2, 2)))
    with pytest.raises(ValueError, match=r"1 value.s., but there are 2 objectives"):
        hypervolume(values, [0.0])
    with pytest.raises(ValueError, match="one finite value per objective"):
        hypervolume(values, [0.0, np.nan])
    assert non_dominated(np.empty((0, 3))) == []
    assert select_nsga2(np.empty((0, 3)), 0, stream(1)) == []


def test_a_niche_is_led_by_its_best_row() -> None:
    rng = stream(7)
    truth = rng.normal(size=50)
    near = truth + 0.01 * rng.normal(size=50)
    other = rng.normal(size=50)
    scores = np.stack([near, other, np.exp(truth), -(truth**3), other * 2])
    objectives = np.array([[0.5, -3], [0.4, -3], [0.6, -9], [0.6, -8], [0.4, -3]])
    assert niches(scores, objectives, 0.99) == [3, 1, 3, 3, 1]
    assert niches(scores, objectives, 1.0) == [0, 1, 3, 3, 1]
    assert niches(np.empty((0, 50)), np.empty((0, 2)), 0.9) == []


def test_niches_compare_failures_as_the_last_rank() -> None:
    scores = np.array([[1.0, 2.0, 3.0, np.nan, 5.0], [1.0, 2.0, 3.0, -7.0, 5.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
    assert niches(scores, np.array([[0.3], [0.2], [0.1]]), 1.0) == [0, 0, 2]

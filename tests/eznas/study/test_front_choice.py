"""Which programs of a run are shown: the best first, and what smaller and cheaper ones give up."""

from __future__ import annotations

import pytest

from eznas.fitness import Fitness, TaskFitness, Unrankable
from eznas.programs import Program, parse
from eznas.runs import Candidate
from eznas.study.choose import PickRule, choose_front, standard_error


def _program(size: int) -> Program:
    text = "parameter_count"
    for _ in range(size - 1):
        text = f"(sqrt {text})"
    return parse(text)


def _task(name: str, tau: float, error: float) -> TaskFitness:
    return TaskFitness(task=name, tau=tau, rho=tau, n=50, n_failed=0, standard_error=error, share_tied=0.0)


def _fitness(correlation: float, size: int, cost: float, error: float = 0.0) -> Fitness:
    values = (correlation, -float(size), -cost)
    tasks = (_task("one", correlation, error),)
    return Fitness(tasks=tasks, direction=1, correlation=correlation, size=size, cost=cost, values=values)


def _choose(
    rows: list[tuple[float, ...]], size: int, rule: PickRule = "simplest-within-se"
) -> tuple[list[float], float]:
    """Correlations of the programs chosen, and of the pick."""
    fitnesses = [_fitness(row[0], int(row[1]), *row[2:]) for row in rows]
    candidates = [
        Candidate(program=_program(f.size), fitness=f, generation=0, operator="random", parents=()) for f in fitnesses
    ]
    chosen, pick = choose_front(candidates, fitnesses, size, rule)
    picked = next(c for c in candidates if c.id == pick)
    return [c.fitness.correlation for c in chosen], picked.fitness.correlation


def test_best_comes_first() -> None:
    assert _choose([(0.5, 2, 1.0), (0.7, 9, 4.0), (0.6, 4, 2.0)], 10) == ([0.7, 0.6, 0.5], 0.7)


@pytest.mark.parametrize(("rule", "pick"), [("best", 0.70), ("simplest-within-se", 0.66), ("cheapest-within-se", 0.68)])
def test_the_pick_is_the_simplest_within_one_standard_error_or_another_by_name(rule: PickRule, pick: float) -> None:
    rows = [(0.70, 9, 4.0, 0.05), (0.68, 5, 1.0, 0.0), (0.66, 4, 2.0, 0.0), (0.64, 3, 0.5, 0.5)]  # .64 is too far off
    shown, picked = _choose(rows, 10, rule)
    assert shown == [0.70, 0.68, 0.66, 0.64]
    assert picked == pick


def test_the_standard_error_is_that_of_the_worst_sample_or_of_the_mean() -> None:
    two = _fitness(0.5, 3, 1.0).model_copy(update={"tasks": (_task("a", 0.6, 0.03), _task("b", 0.5, 0.04))})
    assert standard_error(two, "worst") == 0.04
    assert standard_error(two, "mean") == pytest.approx(0.05 / 2)
    assert standard_error(two, "bound", [3.0, 1.0]) == pytest.approx((0.09**2 + 0.04**2) ** 0.5 / 4)


def test_dominated_programs_are_not_shown() -> None:
    assert _choose([(0.7, 3, 1.0), (0.6, 4, 2.0)], 10) == ([0.7], 0.7)


@pytest.mark.parametrize("size", range(1, 9))
def test_a_large_front_is_thinned_evenly_from_the_best_to_the_smallest(size: int) -> None:
    shown, pick = _choose([(0.1 * n, n, 1.0) for n in range(1, 9)], size)
    assert len(shown) == size
    assert shown == sorted(shown, reverse=True)
    assert shown[0] == pick == pytest.approx(0.8)
    assert size == 1 or shown[-1] == pytest.approx(0.1)


def test_cheaper_programs_fill_what_is_left() -> None:
    rows = [(0.7, 3, 9.0), (0.65, 5, 1.0), (0.6, 6, 0.5)]  # only the first is best for its size
    assert _choose(rows, 2)[0] == [0.7, 0.65]
    assert _choose(rows, 3)[0] == [0.7, 0.65, 0.6]


def test_programs_no_better_than_chance_are_not_shown() -> None:
    assert _choose([(0.4, 5, 1.0), (-0.2, 1, 0.0)], 10)[0] == [0.4]
    assert _choose([(-0.1, 5, 1.0), (-0.2, 1, 0.0)], 10)[0] == [-0.1]


def test_unrankable_programs_are_passed_over() -> None:
    fitness = _fitness(0.5, 2, 1.0)
    good = Candidate(program=_program(2), fitness=fitness, generation=0, operator="random", parents=())
    bad = Candidate(program=_program(3), fitness=fitness, generation=0, operator="random", parents=())
    chosen, pick = choose_front([bad, good], [Unrankable("it failed"), fitness], 10)
    assert [c.id for c in chosen] == [good.id] == [pick]

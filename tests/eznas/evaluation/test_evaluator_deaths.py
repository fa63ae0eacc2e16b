"""Workers that die over a population: the others' scores stay, the program at fault is found and never sent again."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eznas.errors import WorkerError
from eznas.evaluation import PopulationEvaluator
from eznas.programs import FailureKind, Invalid, parse
from eznas.statistics import StatisticsStore
from eznas.workers import Arguments, Died, LocalPool, Pool, open_pool
from primitives import EXTENDED
from tests.eznas.evaluation.owners import DEADLY, ENDLESS, Clumsy, Mortal
from tests.strategies import random_programs

SOUND = random_programs(EXTENDED, 21, 40)
FAILING = "(invert (zeros_like mac_count))"
Deadly = Callable[[int, str, Sequence[Any]], bool]


class FragilePool(LocalPool):
    """Several states in this process, and a rule of when a worker dies over a method and its items."""

    def __init__(self, n_workers: int, is_deadly: Deadly) -> None:
        self.n_workers, self._is_deadly, self._states = n_workers, is_deadly, []  # type: ignore[misc]
        self.sent: list[tuple[int, str, list[Any]]] = []

    def deploy(self, factory: Callable[..., Any], arguments: Sequence[Arguments]) -> None:
        self._states = [factory(*of_one) for of_one in arguments]

    def attempt(
        self, method: str, arguments: Mapping[int, Arguments], timeout: float | None = None
    ) -> dict[int, Any | Died]:
        found: dict[int, Any | Died] = {}
        for worker, (items, *_) in arguments.items():
            self.sent.append((worker, method, list(items)))
            dies = self._is_deadly(worker, method, items)
            found[worker] = Died("it fell") if dies else getattr(self._states[worker], method)(items)
        return found


@pytest.fixture(scope="module")
def store(stores: dict[int, StatisticsStore]) -> StatisticsStore:
    return stores[1]


@pytest.fixture(scope="module")
def expected(store: StatisticsStore) -> np.ndarray:
    return PopulationEvaluator(LocalPool(), [store]).evaluate(SOUND).scores


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b, equal_nan=True)


def given_up(reason: str) -> tuple[int, Invalid]:
    return 0, Invalid(FailureKind.WORKER, f"it was given up: it killed its worker twice ({reason})")


@pytest.mark.parametrize("place", [0, 17, 40])
def test_programs_that_kill_workers_are_found_and_never_sent_again(
    store: StatisticsStore, expected: np.ndarray, place: int
) -> None:
    """One kills all three workers, another the last only; each is given to a worker alone twice, and then no more."""
    pool = FragilePool(3, lambda worker, _, items: DEADLY in items or (worker == 2 and ENDLESS in items))
    evaluator = PopulationEvaluator(pool, [store])
    population = [*SOUND, parse(FAILING)]
    population[place:place] = [parse(DEADLY), parse(ENDLESS), parse(DEADLY)]
    fatal = [place, place + 1, place + 2]
    matrix = evaluator.evaluate(population)
    assert np.isnan(matrix.scores[fatal]).all()
    assert same(np.delete(matrix.scores, fatal, axis=0)[:-1], expected)
    assert [matrix.failures[index] for index in fatal] == [given_up("it fell")] * 3
    assert matrix.failures[43][1].detail == "non-finite after 'invert'"
    assert [worker for worker, _, items in pool.sent if items == [DEADLY]] == [0, 0]
    assert [worker for worker, _, items in pool.sent if items == [ENDLESS] and worker == 2] == [2, 2]
    assert len(pool.sent) < 60
    pool.sent.clear()
    again = evaluator.evaluate(population[::-1])
    assert same(again.scores, matrix.scores[::-1])
    assert {43 - index: failure for index, failure in again.failures.items()} == matrix.failures
    assert [method for _, method, _ in pool.sent] == ["evaluate"] * 3 + ["explain"] * (len(pool.sent) - 3)
    assert not any({DEADLY, ENDLESS} & {i if isinstance(i, str) else i[0] for i in items} for *_, items in pool.sent)


def test_an_accident_is_no_programs_fault(store: StatisticsStore, expected: np.ndarray) -> None:
    accidents = iter([True, True, False, False, True])
    pool = FragilePool(2, lambda *_: next(accidents, False))
    evaluator = PopulationEvaluator(pool, [store])
    undisturbed = PopulationEvaluator(LocalPool(), [store]).evaluate(SOUND)
    for _ in range(2):
        matrix = evaluator.evaluate(SOUND)
        assert same(matrix.scores, expected)
        assert matrix.failures == undisturbed.failures


def test_a_list_too_long_for_the_time_limit_is_evaluated_in_parts(store: StatisticsStore, expected: np.ndarray) -> None:
    pool = FragilePool(2, lambda _, method, items: method == "evaluate" and len(items) > 7)
    matrix = PopulationEvaluator(pool, [store]).evaluate(SOUND)
    assert same(matrix.scores, expected)
    assert not any("given up" in failure.detail for _, failure in matrix.failures.values())


@pytest.mark.parametrize("population", [SOUND, SOUND[:1], []], ids=len)
def test_workers_that_die_over_nothing_are_an_error(store: StatisticsStore, population: list[Any]) -> None:
    pool = FragilePool(2, lambda *_: True)
    with pytest.raises(WorkerError, match=r"^Worker 0 dies even when it is given no program to evaluate: it fell; "):
        PopulationEvaluator(pool, [store]).evaluate(population)
    assert len(pool.sent) < 20


def test_a_death_over_an_explanation_costs_the_explanation_only(store: StatisticsStore, expected: np.ndarray) -> None:
    pool = FragilePool(2, lambda _, method, __: method == "explain")
    matrix = PopulationEvaluator(pool, [store]).evaluate([*SOUND, parse(FAILING)])
    assert same(matrix.scores[:-1], expected)
    reason = "non-finite, and the worker that was to explain it died twice (it fell)"
    assert matrix.failures[40] == (0, Invalid(FailureKind.WORKER, reason))


def test_every_worker_is_asked_once_for_scores_and_once_for_explanations(store: StatisticsStore) -> None:
    pool = FragilePool(2, lambda *_: False)
    evaluator = PopulationEvaluator(pool, [store])
    found = evaluator.evaluate([*SOUND, parse(FAILING)])
    assert found.failures == PopulationEvaluator(LocalPool(), [store]).evaluate([*SOUND, parse(FAILING)]).failures
    assert len(found.failures) > 1
    assert len(pool.sent) <= 4


def test_in_process_programs_are_evaluated_whatever_the_time_limit(
    store: StatisticsStore, expected: np.ndarray
) -> None:
    assert same(PopulationEvaluator(LocalPool(), [store], timeout=1e-9).evaluate(SOUND).scores, expected)


# ---------------------------------------------------------------------------------------------------------- with Ray


@pytest.fixture(scope="module")
def ray_pool() -> Iterator[Pool]:
    """A worker on Ray; every death costs the import of PyTorch, so there is one only."""
    pool = open_pool(1)
    yield pool
    pool.close()


def test_a_worker_killed_once_changes_nothing(
    ray_pool: Pool, store: StatisticsStore, expected: np.ndarray, tmp_path: Path
) -> None:
    matrix = PopulationEvaluator(ray_pool, [store], owner=functools.partial(Clumsy, tmp_path)).evaluate(SOUND)
    assert (tmp_path / "fell").exists()
    assert same(matrix.scores, expected)
    assert matrix.failures == PopulationEvaluator(LocalPool(), [store]).evaluate(SOUND).failures


@pytest.mark.parametrize(
    ("fatal", "company", "reason"),
    [(DEADLY, 1, "its process ended"), (ENDLESS, 0, "it took longer than 1.5 s")],
    ids=["deadly", "endless"],
)
def test_a_fatal_program_is_ended_and_given_up(
    ray_pool: Pool,
    store: StatisticsStore,
    expected: np.ndarray,
    tmp_path: Path,
    fatal: str,
    company: int,
    reason: str,
) -> None:
    """With no process left over, and the worker goes on."""
    evaluator = PopulationEvaluator(ray_pool, [store], owner=functools.partial(Mortal, tmp_path), timeout=1.5)
    matrix = evaluator.evaluate([parse(fatal), *SOUND[:company]])
    assert matrix.failures[0] == given_up(reason)
    assert same(matrix.scores[1:], expected[:company])
    assert same(evaluator.evaluate([SOUND[1], parse(fatal)]).scores[:1], expected[1:2])
    sent = [path.read_text().splitlines() for path in tmp_path.iterdir()]
    assert sum(texts.count(fatal) for texts in sent) == 2 + 2 * company
    assert sum(is_running(int(path.name)) for path in tmp_path.iterdir()) == 1


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

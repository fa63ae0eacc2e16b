"""Architecture searches as pure functions of a table, scores and named random streams.

Two kinds: *score-only* searches train nothing and pick the best score; *trained* searches pay for trainings out of a
budget and pick the best accuracy they saw. Accuracies are looked up, so a repeat takes milliseconds at most.

Source: `Mellor et al. 2021 <https://arxiv.org/abs/2006.04647>`_ (score-only search, AREA);
`Abdelfattah et al. 2021 <https://arxiv.org/abs/2101.08134>`_ (warm-up, aging evolution, move proposal);
`Real et al. 2019 <https://arxiv.org/abs/1802.01548>`_ (regularised evolution).
"""

from __future__ import annotations

import math
from bisect import bisect
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import numpy as np

from eznas.errors import ConfigError
from eznas.nas.scores import best, best_by_test, best_first
from eznas.nas.table import Floats, Indices, SearchTable, Training

Streams = Callable[[str], np.random.Generator]
"""Gives the generator of one purpose: ``candidates``, ``ties``, ``evolution`` (samples), ``mutation`` or ``moves``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a trained search may spend; it stops before the first training that it cannot pay for.

    With both limits, seconds hold where the table records training times, and evaluations where it does not.

    Attributes:
        seconds: simulated seconds of training and of scoring; None counts trainings.
        evaluations: trainings; None insists on seconds.

    Raises:
        ConfigError: if there is no limit, or one is not positive.
    """

    seconds: float | None = None
    evaluations: int | None = None

    def __post_init__(self) -> None:
        limits = {"seconds": self.seconds, "evaluations": self.evaluations}
        if all(limit is None for limit in limits.values()):
            raise ConfigError("The budget of a search must limit seconds, evaluations or both, but it limits neither")
        for name, limit in limits.items():
            if limit is not None and not 0 < limit < math.inf:
                raise ConfigError(f"The budget of a search must be positive and finite, but {name} is {limit}")

    def is_timed(self, table: SearchTable, training: Training) -> bool:
        """Whether seconds limit a search that pays for this training.

        Raises:
            ConfigError: if the budget has seconds only and the table records no such times.
        """
        if self.seconds is None:
            return False
        is_recorded = table.training_seconds(training) is not None
        if not is_recorded and self.evaluations is None:
            raise ConfigError(
                f"A budget of {self.seconds:g} seconds needs recorded training times, but there are none of "
                f"{table.describe_fitness(training)}; add them to the accuracy table (see docs/data.md), or count "
                "trainings with --evaluations"
            )
        return is_recorded


EVOLUTION_BUDGET: Final = Budget(seconds=12_000.0, evaluations=100)
"""The published seconds; where no times are recorded, by a convention of this project, what they pay for at two minutes
per training."""
AGING_BUDGET: Final = Budget(evaluations=300)  # published with 300 to 1,000 trained models, in no other unit


@dataclass(frozen=True, eq=False, kw_only=True)
class Outcome:
    """What one search did. Architectures are positions in the table.

    Attributes:
        pick: its answer.
        n_scored: architectures it scored without training; those an optimum is taken of.
        trained: (n_evaluations,) architectures in the order of their training, repeated ones again.
        incumbents: (n_evaluations,) best architecture, by the accuracy that drives, after each training.
        spent: (n_evaluations,) simulated seconds, those of scoring among them, or trainings, spent after each training.
        is_timed: whether `spent` are seconds.
    """

    pick: int
    n_scored: int
    trained: Indices
    incumbents: Indices
    spent: Floats
    is_timed: bool = False


# Score-only -----------------------------------------------------------------------------------------------------------


def score_search(
    table: SearchTable, scores: Floats, streams: Streams, *, n: int, draws: Floats | None = None
) -> Outcome:
    """The best score of `n` architectures drawn uniformly with replacement, untrained.

    Args:
        table: what to search.
        scores: (table.n,) scores; not finite where the proxy failed, which ranks last.
        streams: randomness.
        n: architectures to score (10, 100, 500 and 1000 in the published tables).
        draws: (n_draws, table.n) scores with several initialisations and images; with them the best is found by
            `eznas.nas.scores.best_by_test`.

    Raises:
        ConfigError: if `n` is below 1 or `scores` has another length than the table.
    """
    candidates = _drawn(table, n, streams, among=table.pool)
    _check_scores(table, scores)
    if draws is None:
        return _untrained(int(candidates[best(scores[candidates], streams("ties"))]), n)
    return _untrained(int(candidates[best_by_test(draws[:, candidates])]), n)


def optimum_search(table: SearchTable, streams: Streams, *, n: int) -> Outcome:
    """The best of `n` by the fully trained accuracies that drive: what a perfect score would pick.

    Raises:
        ConfigError: if `n` is below 1.
    """
    candidates = _drawn(table, n, streams)
    return _untrained(int(candidates[best(table.fitness("full")[candidates], streams("ties"))]), n)


def score_evolution(
    table: SearchTable,
    scores: Floats,
    streams: Streams,
    *,
    n: int = 1000,
    population_size: int = 64,
    sample_size: int = 10,
) -> Outcome:
    """Aging evolution in which the score is the fitness and nothing is trained: the best score of those seen.

    Args:
        table: what to search; all its architectures have scores.
        scores: (table.n,) scores; failures rank last.
        streams: randomness.
        n: architectures to score, repeated ones again.
        population_size: architectures alive.
        sample_size: how many compete to be the parent.

    Raises:
        ConfigError: if `n` is below 1, or some architectures have no scores.

    Source: `Akhauri et al. 2022 <https://arxiv.org/abs/2209.07413>`_ searches so; its sizes are not stated.
    """
    _check_scores(table, scores)
    _check_all_scored(table, "An evolution by scores")
    rng, ties, mutate = streams("evolution"), streams("ties"), _mutation(table, streams)
    ranked = np.where(np.isfinite(scores), scores, -np.inf)
    seen = _drawn(table, min(n, population_size), streams).tolist()
    population: deque[int] = deque(seen, maxlen=population_size)
    while len(seen) < n:
        size = min(sample_size, len(population))
        sample = [population[place] for place in rng.choice(len(population), size=size, replace=False)]
        child = mutate(max(sample, key=ranked.__getitem__))
        population.append(child)
        seen.append(child)
    known = np.unique(seen)
    return _untrained(int(known[best(scores[known], ties)]), n)


def _untrained(pick: int, n_scored: int) -> Outcome:
    nothing = np.empty(0, dtype=np.intp)
    return Outcome(pick=pick, n_scored=n_scored, trained=nothing, incumbents=nothing, spent=np.empty(0))


# Trained --------------------------------------------------------------------------------------------------------------


def random_search(
    table: SearchTable, streams: Streams, *, budget: Budget = EVOLUTION_BUDGET, training: Training = "short"
) -> Outcome:
    """Train architectures drawn uniformly with replacement until the budget is spent."""
    rng = streams("candidates")
    log = _TrainingLog(table, training, budget)
    while log.train(int(rng.integers(table.n))):
        pass
    return log.outcome(0)


def regularised_evolution(
    table: SearchTable,
    streams: Streams,
    *,
    population_size: int = 10,
    sample_size: int = 3,
    budget: Budget = EVOLUTION_BUDGET,
    training: Training = "short",
) -> Outcome:
    """Evolution in which the oldest dies.

    The first population is random. Then the best of a random sample (without replacement) of the population is mutated,
    the child trained and appended, and the oldest removed.

    Args:
        table: what to search.
        streams: randomness.
        population_size: architectures alive.
        sample_size: how many compete to be the parent.
        budget: for trainings.
        training: which recorded training is paid for and drives.

    Raises:
        ConfigError: if a size is below 1, the sample is larger than the population, or the budget pays for no training.
    """
    initial = _drawn(table, population_size, streams)
    log = _TrainingLog(table, training, budget)
    return _evolve(table, initial, _mutation(table, streams), streams, population_size, sample_size, log).outcome(0)


def area(
    table: SearchTable,
    scores: Floats,
    streams: Streams,
    *,
    n_scored: int = 20,
    population_size: int = 10,
    sample_size: int = 3,
    budget: Budget = EVOLUTION_BUDGET,
    training: Training = "short",
    scoring_seconds: float = 0.0,
) -> Outcome:
    """Assisted regularised evolution: the first population are the best scores of `n_scored` random architectures.

    Arguments and errors are those of `regularised_evolution` and `score_search`; at least `population_size`
    architectures must be scored. The size of the sample is not published; 3 is that of the unassisted search. Where
    seconds are counted, every scored architecture costs `scoring_seconds`, before the first training.
    """
    _check_scores(table, scores)
    _check_enough(n_scored, population_size)
    candidates = _drawn(table, n_scored, streams, among=table.pool)
    initial = candidates[best_first(scores[candidates], streams("ties"))[:population_size]]
    log = _TrainingLog(table, training, budget)
    log.charge(n_scored * scoring_seconds)
    _evolve(table, initial, _mutation(table, streams), streams, population_size, sample_size, log)
    return log.outcome(n_scored)


def aging_evolution(
    table: SearchTable,
    streams: Streams,
    *,
    population_size: int = 64,
    sample_size: int = 10,
    budget: Budget = AGING_BUDGET,
    training: Training = "full",
) -> Outcome:
    """`regularised_evolution` with the sizes and full trainings that warm-up and move proposal are compared with."""
    return regularised_evolution(
        table, streams, population_size=population_size, sample_size=sample_size, budget=budget, training=training
    )


def warm_up_evolution(
    table: SearchTable,
    scores: Floats,
    streams: Streams,
    *,
    n_scored: int = 3000,
    population_size: int = 64,
    sample_size: int = 10,
    budget: Budget = AGING_BUDGET,
    training: Training = "full",
    scoring_seconds: float = 0.0,
) -> Outcome:
    """Aging evolution whose first population are the best scores of `n_scored` distinct random architectures.

    Raises:
        ConfigError: as `area` does, or if more are scored than the table has.
    """
    _check_enough(n_scored, population_size)
    ranked = _ranked_distinct(table, scores, streams, n_scored)[:population_size]
    log = _TrainingLog(table, training, budget)
    log.charge(n_scored * scoring_seconds)
    _evolve(table, ranked, _mutation(table, streams), streams, population_size, sample_size, log)
    return log.outcome(n_scored)


def warm_up_random(
    table: SearchTable,
    scores: Floats,
    streams: Streams,
    *,
    n_scored: int = 3000,
    budget: Budget = AGING_BUDGET,
    training: Training = "full",
    scoring_seconds: float = 0.0,
) -> Outcome:
    """Train `n_scored` distinct random architectures from the best score down until the budget is spent.

    Raises:
        ConfigError: as `warm_up_evolution` does.
    """
    log = _TrainingLog(table, training, budget)
    log.charge(n_scored * scoring_seconds)
    for architecture in _ranked_distinct(table, scores, streams, n_scored):
        if not log.train(int(architecture)):
            break
    return log.outcome(n_scored)


def move_proposal(
    table: SearchTable,
    scores: Floats,
    streams: Streams,
    *,
    probability: float = 0.75,
    population_size: int = 64,
    sample_size: int = 10,
    budget: Budget = AGING_BUDGET,
    training: Training = "full",
    scoring_seconds: float = 0.0,
) -> Outcome:
    """Aging evolution whose child is the parent's neighbour of the best score, or, now and then, a random one.

    Args:
        table: what to search.
        scores: (table.n,) scores; failures rank last.
        streams: randomness.
        probability: of taking the best score among all neighbours; else all neighbours are equally likely.
        population_size: architectures alive.
        sample_size: how many compete to be the parent.
        budget: for trainings.
        training: which recorded training is paid for and drives.
        scoring_seconds: where seconds are counted, cost of every architecture that is scored for the first time.

    Raises:
        ConfigError: as `regularised_evolution` does, or if `probability` is outside 0..1.
    """
    _check_scores(table, scores)
    if not 0.0 <= probability <= 1.0:
        raise ConfigError(f"The probability of a proposed move must lie in 0..1, got {probability}")
    _check_all_scored(table, "A move proposal")
    rng, ties = streams("moves"), streams("ties")
    neighbours, _ = table.moves
    n_neighbours = neighbours.shape[1]
    scored: set[int] = set()

    def propose(parent: int) -> int:
        near = neighbours[parent]
        if rng.random() < probability:
            n_before = len(scored)
            scored.update(near.tolist())
            log.charge((len(scored) - n_before) * scoring_seconds)
            return int(near[best(scores[near], ties)])
        return int(near[rng.integers(n_neighbours)])

    log = _TrainingLog(table, training, budget)
    _evolve(table, _drawn(table, population_size, streams), propose, streams, population_size, sample_size, log)
    return log.outcome(len(scored))


class _TrainingLog:
    """Trainings so far, and what they cost."""

    def __init__(self, table: SearchTable, training: Training, budget: Budget) -> None:
        self.fitness = table.fitness(training)
        self._is_timed = budget.is_timed(table, training)
        self._seconds = table.training_seconds(training) if self._is_timed else None
        limit = budget.seconds if self._is_timed else budget.evaluations
        assert limit is not None
        self._limit = float(limit)
        self._scoring = 0.0  # seconds since the last training
        self._spent: list[float] = []
        self._trained: list[int] = []
        self._incumbents: list[int] = []

    def charge(self, seconds: float) -> None:
        """Pay for scoring, where seconds are counted."""
        if not (seconds >= 0 and np.isfinite(seconds)):
            raise ConfigError(f"Scoring must cost 0 seconds or more, got {seconds:g}")
        if self._is_timed:
            self._scoring += seconds

    def train(self, architecture: int) -> bool:
        """Train one architecture if the budget allows it; whether it did."""
        cost = 1.0 if self._seconds is None else float(self._seconds[architecture]) + self._scoring
        spent = cost + (self._spent[-1] if self._spent else 0.0)
        if spent > self._limit:
            return False
        before = self._incumbents[-1] if self._incumbents else architecture
        is_better = self.fitness[architecture] > self.fitness[before]
        self._spent.append(spent)
        self._scoring = 0.0
        self._trained.append(architecture)
        self._incumbents.append(architecture if is_better else before)
        return True

    def outcome(self, n_scored: int) -> Outcome:
        """What was found; the first of equally good architectures is the pick."""
        if not self._trained:
            raise ConfigError(
                f"The budget of a search must pay for at least one training, but {self._limit:g} seconds do not; "
                "raise it"
            )
        return Outcome(
            pick=self._incumbents[-1],
            n_scored=n_scored,
            trained=np.array(self._trained, dtype=np.intp),
            incumbents=np.array(self._incumbents, dtype=np.intp),
            spent=np.array(self._spent),
            is_timed=self._is_timed,
        )


def _evolve(
    table: SearchTable,
    initial: Iterable[int],
    propose: Callable[[int], int],
    streams: Streams,
    population_size: int,
    sample_size: int,
    log: _TrainingLog,
) -> _TrainingLog:
    """Train the first population, then children of the best of a sample; first in, first out."""
    if not 1 <= sample_size <= population_size:
        raise ConfigError(
            f"The sample of an evolution must have 1 to {population_size} members, as many as the population, but it "
            f"has {sample_size}"
        )
    rng = streams("evolution")
    population: deque[int] = deque(maxlen=population_size)
    for architecture in initial:
        if not log.train(int(architecture)):
            return log
        population.append(int(architecture))
    while True:
        # the sample is in random order, so the first of the best is a random one of them
        sample = [population[place] for place in rng.choice(len(population), size=sample_size, replace=False)]
        child = propose(max(sample, key=log.fitness.__getitem__))
        if not log.train(child):
            return log
        population.append(child)


def _mutation(table: SearchTable, streams: Streams) -> Callable[[int], int]:
    rng = streams("mutation")
    neighbours, chances = table.moves
    bounds = list(accumulate(chances.tolist()))[:-1]
    return lambda parent: int(neighbours[parent, bisect(bounds, rng.random())])


def _drawn(table: SearchTable, n: int, streams: Streams, among: Indices | None = None) -> Indices:
    if n < 1:
        raise ConfigError(f"A search must draw at least one architecture, got {n}")
    drawn: Indices = streams("candidates").integers(table.n if among is None else len(among), size=n, dtype=np.intp)
    return drawn if among is None else among[drawn]


def _ranked_distinct(table: SearchTable, scores: Floats, streams: Streams, n: int) -> Indices:
    _check_scores(table, scores)
    if not 1 <= n <= table.n_scored:
        raise ConfigError(f"A warm-up must score 1 to {table.n_scored} architectures, as many as there are, got {n}")
    candidates = streams("candidates").choice(table.n_scored, size=n, replace=False)
    candidates = candidates if table.pool is None else table.pool[candidates]
    ranked: Indices = candidates[best_first(scores[candidates], streams("ties"))]
    return ranked


def _check_all_scored(table: SearchTable, what: str) -> None:
    if table.pool is not None:
        raise ConfigError(
            f"{what} scores every neighbour, but {table.n_scored:,} of {table.n:,} architectures have scores; give a "
            "file with the scores of all"
        )


def _check_enough(n_scored: int, population_size: int) -> None:
    if n_scored < population_size:
        raise ConfigError(
            f"At least {population_size} architectures must be scored, as many as the first population has, "
            f"got {n_scored}"
        )


def _check_scores(table: SearchTable, scores: Floats) -> None:
    if scores.shape != (table.n,):
        raise ConfigError(
            f"A search needs one score for each of the {table.n} architectures of its table, but the scores have shape "
            f"{scores.shape}"
        )

"""The evolution loop: propose, assess, select, record; the same seed gives the same run, resumed or not.

Every random draw of a generation comes from streams named by the generation, so a resumed run needs no generator state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from eznas.errors import ConfigError, RunError
from eznas.evolution.assessor import Assessor
from eznas.evolution.combination import Combiner
from eznas.evolution.grammar import Grammar
from eznas.evolution.listener import Listener, NoListener
from eznas.evolution.selection import hypervolume, niches, non_dominated, select_survivors, select_tournament
from eznas.evolution.two_level import TwoLevel
from eznas.evolution.variation import Offspring, Variation
from eznas.programs import Constant, Invalid, Program
from eznas.randomness import stream
from eznas.runs.candidate import Candidate
from eznas.runs.config import EvolutionSettings
from eznas.runs.journal import Journal, SearchState
from eznas.runs.records import GenerationSummary
from eznas.runs.stopping import is_finished
from primitives import PRIMITIVE_SETS

MAX_ROUNDS = 50
"""Times newcomers are drawn again in one generation until enough are valid (paper regime)."""


Observer = Callable[[GenerationSummary, SearchState], None]


class Search:
    """A search by genetic programming.

    Args:
        settings: of the evolution.
        seed: of all its streams.
        assessor: ranks populations.
        journal: records every generation.
        state: where to go on from.
        seeds: programs that the search starts from; they stay parents whatever selection says.
        listener: told what is done within a generation, and what was left out.
    """

    def __init__(
        self,
        settings: EvolutionSettings,
        seed: int,
        assessor: Assessor,
        journal: Journal,
        state: SearchState | None = None,
        *,
        seeds: Sequence[Program] = (),
        listener: Listener | None = None,
    ) -> None:
        grammar = _grammar(settings)
        check_seeds(settings, seeds)
        self._settings = settings
        self._seed = seed
        self._seeds = tuple(seeds)
        self._assessor = assessor
        self._journal = journal
        self._combiner = Combiner(grammar, assessor.promise)
        self._variation = Variation(
            grammar,
            crossover=settings.crossover,
            mutation=settings.mutation,
            combination=settings.combination if settings.regime == "nsga2" else 0.0,
            initial_height=(2, settings.initial_height),
        )
        self._listener = listener or NoListener()
        is_two_level = settings.regime == "two-level"
        self._two_level = TwoLevel(settings, seed, grammar, assessor, self._listener) if is_two_level else None
        self.state = state or SearchState()

    def run(self, observe: Observer | None = None, should_stop: Callable[[], bool] = lambda: False) -> SearchState:
        """Go on until the search is finished, or asked to stop; finished generations are on disk.

        Raises:
            RunError: if no program of a generation could be ranked at all.
        """
        while not is_finished(self._settings, self.state) and not should_stop():
            summary = self._step(self.state.generation + 1)
            if observe is not None:
                observe(summary, self.state)
        return self.state

    def _step(self, generation: int) -> GenerationSummary:
        start = time.perf_counter()
        advance = self._paper_generation if self._settings.regime == "paper" else self._nsga2_generation
        assessed, population, n_duplicates = advance(generation)
        state = self.state
        state.generation = generation
        state.population = tuple(c.id for c in population)
        state.candidates.update((c.id, c) for c in assessed.found)
        state.failed.update((p.digest, invalid.kind) for p, invalid in assessed.failures)
        state.n_duplicates += n_duplicates
        if not state.candidates:
            raise RunError(
                f"None of the {state.n_evaluated} programs so far could be ranked, the first because "
                f"{assessed.failures[0][1].detail}; check the statistics and the accuracies of this run"
            )
        summary = self._summary(assessed, n_duplicates, time.perf_counter() - start)
        state.seconds += summary.seconds
        self._journal.record(state, assessed.found, assessed.failures, summary)
        return summary

    # ------------------------------------------------------------------------------------------------- the regimes

    def _nsga2_generation(self, generation: int) -> _Generation:
        """Offspring of the population and a few newcomers; of both, the best in the first objective and by NSGA-II.

        At two levels the offspring are sentences bred from the population, and newcomers are words.
        """
        settings, state = self._settings, self.state
        population = [state.candidates[digest] for digest in state.population]
        self._combiner.learn(state.candidates.values())
        if settings.islands > 1:
            return self._island_generation(population, generation)
        offspring, n_duplicates = self._offspring(population, generation)
        assessed = self._assess(offspring, generation)
        pool = [*population, *assessed.found]
        survivors = self._survivors(pool, settings.population_size, stream(self._seed, "selection", generation))
        return assessed, survivors, n_duplicates

    def _offspring(self, population: Sequence[Candidate], generation: int) -> tuple[list[Offspring], int]:
        settings, state = self._settings, self.state
        rng = stream(self._seed, "variation", generation)
        if self._two_level is not None:
            drawn = self._two_level.offspring(population, self._seeds, state, generation)
            return (drawn if population else self._with_seeds(drawn)), 0
        if population:
            return self._variation.offspring(
                self._parents(population, generation),
                settings.population_size,
                rng,
                state,
                immigrants=settings.immigrants,
                combiner=self._combiner,
            )
        return self._with_seeds(self._variation.initial(settings.initial_size, rng)), 0

    def _survivors(self, pool: Sequence[Candidate], n: int, rng: np.random.Generator) -> list[Candidate]:
        if not pool:
            return []
        objectives = np.array([c.objectives for c in pool])
        chosen = select_survivors(
            objectives,
            niches(np.stack([c.scores for c in pool]), objectives, self._settings.likeness),
            min(n, len(pool)),
            rng,
            self._settings.elite_share,
        )
        return [pool[index] for index in chosen]

    def _island_generation(self, population: Sequence[Candidate], generation: int) -> _Generation:
        """As with one population, on every island apart; from time to time the best of each join the next in a ring.

        The population is that of the islands one after another, of equal sizes, so that its order says who lives where.
        """
        settings, n_islands = self._settings, self._settings.islands
        islands = [list(part) for part in _split(population, n_islands)]
        seen, n_duplicates = _Seen(self.state), 0
        bred: list[list[Offspring]] = []
        if population:
            for number, n in enumerate(_shares(settings.population_size, n_islands)):
                offspring, n_again = self._variation.offspring(
                    self._parents(islands[number], generation, n, number),
                    n,
                    stream(self._seed, "variation", generation, number),
                    seen,
                    immigrants=settings.immigrants,
                    combiner=self._combiner,
                )
                seen.add(offspring)
                n_duplicates += n_again
                bred.append(offspring)
        else:
            rng = stream(self._seed, "variation", generation)
            drawn = self._with_seeds(self._variation.initial(settings.initial_size, rng))
            bred = [drawn[number::n_islands] for number in range(n_islands)]
        assessed = self._assess([one for offspring in bred for one in offspring], generation)
        home = {one.program.digest: number for number, offspring in enumerate(bred) for one in offspring}
        for one in assessed.found:
            islands[home[one.id]].append(one)
        if population and generation % settings.migration_interval == 0:
            best = [sorted(island, key=lambda c: (*(-v for v in c.objectives), c.id)) for island in islands]
            for number, island in enumerate(islands):
                known = {one.id for one in island}
                island += [one for one in best[number - 1][: settings.migrants] if one.id not in known]
        if not all(islands):  # none of the programs of an island could be ranked
            everyone = [one for island in islands for one in island]
            islands = [everyone[number::n_islands] for number in range(n_islands)]
        room = min(settings.population_size, n_islands * min(map(len, islands)))
        survivors = [
            self._survivors(island, n, stream(self._seed, "selection", generation, number))
            for number, (island, n) in enumerate(zip(islands, _shares(room, n_islands), strict=True))
        ]
        return assessed, [one for island in survivors for one in island], n_duplicates

    def _paper_generation(self, generation: int) -> _Generation:
        """Half valid offspring of tournament winners, half valid newcomers; nothing survives but the records.

        Source: EZNAS (Akhauri et al. 2022), appendix on the search, and the settings file of its release.
        """
        settings, state = self._settings, self.state
        rng = stream(self._seed, "variation", generation)
        population = [state.candidates[digest] for digest in state.population]
        n_bred = settings.population_size // 2 if population else 0
        parents = self._parents(population, generation) if population else []
        assessed = Assessed()
        n_duplicates = 0
        seen = _Seen(state)
        for quota, immigrants in ((n_bred, 0.0), (settings.population_size, 1.0)):
            for _ in range(MAX_ROUNDS):
                n_missing = quota - len(assessed.found)
                if n_missing <= 0:
                    break
                if immigrants and not population:
                    drawn = self._with_seeds(self._variation.initial(n_missing, rng))
                    offspring = [o for o in drawn if o.program.digest not in seen]
                else:
                    offspring, n_again = self._variation.offspring(parents, n_missing, rng, seen, immigrants=immigrants)
                    n_duplicates += n_again
                seen.add(offspring)
                assessed.extend(self._assess(offspring, generation))
        return assessed, assessed.found, n_duplicates

    def _with_seeds(self, drawn: Sequence[Offspring]) -> list[Offspring]:
        """The first programs of a search: its seeds, and what was drawn beside them."""
        known = {program.digest for program in self._seeds}
        seeds = [Offspring(program, "seed", ()) for program in self._seeds]
        return [*seeds, *(one for one in drawn if one.program.digest not in known)]

    def _parents(
        self, population: Sequence[Candidate], generation: int, n: int | None = None, *island: int
    ) -> list[Program]:
        """Winners of tournaments on correlation, one for each program of the next generation, and the ranked seeds."""
        chosen = select_tournament(
            np.array([c.fitness.correlation for c in population]),
            n_selected=self._settings.population_size if n is None else n,
            size=self._settings.tournament_size,
            rng=stream(self._seed, "parents", generation, *island),
        )
        kept = [program for program in self._seeds if program.digest in self.state.candidates]
        return [*(population[index].program for index in chosen), *kept]

    def _assess(self, offspring: Sequence[Offspring], generation: int) -> Assessed:
        programs = [o.program.canonical for o in offspring]
        self._listener.step(f"Evaluating {len(programs):,} programs", "programs")
        outcomes, scores = self._assessor.assess(programs)
        assessed = Assessed()
        for one, program, outcome, row in zip(offspring, programs, outcomes, scores, strict=True):
            if isinstance(outcome, Invalid):
                assessed.failures.append((program, outcome))
            else:
                assessed.found.append(
                    Candidate(
                        program=program,
                        fitness=outcome,
                        generation=generation,
                        operator=one.operator,
                        parents=one.parents,
                        scores=row,
                    )
                )
        return assessed

    def _summary(self, assessed: Assessed, n_duplicates: int, seconds: float) -> GenerationSummary:
        candidates = list(self.state.candidates.values())
        objectives = np.array([c.objectives for c in candidates])
        best = max(candidates, key=lambda c: c.objectives)
        low, high = np.array([one.scale(self._settings.max_size) for one in self._assessor.objectives]).T
        front = non_dominated(objectives)
        return GenerationSummary(
            generation=self.state.generation,
            n_evaluated=assessed.n_programs,
            n_valid=len(assessed.found),
            n_invalid=len(assessed.failures),
            n_duplicates=n_duplicates,
            best_correlation=best.fitness.correlation,
            best_values=best.objectives,
            best_size=best.fitness.size,
            best_id=best.id,
            front_size=len(front),
            hypervolume=hypervolume(objectives[front] / (high - low), low / (high - low)),
            seconds=round(seconds, 3),
        )


@dataclass(frozen=True, slots=True)
class Assessed:
    """What became of the programs of one generation."""

    found: list[Candidate] = field(default_factory=list)
    failures: list[tuple[Program, Invalid]] = field(default_factory=list)

    @property
    def n_programs(self) -> int:
        """All of them."""
        return len(self.found) + len(self.failures)

    def extend(self, other: Assessed) -> None:
        """Take in another batch."""
        self.found.extend(other.found)
        self.failures.extend(other.failures)


_Generation = tuple[Assessed, list[Candidate], int]
"""What was assessed, the next population, and the number of duplicates thrown away."""


class _Seen:
    """Ids of evaluated programs, those of the generation in flight included."""

    def __init__(self, state: SearchState) -> None:
        self._state = state
        self._new: set[str] = set()

    def add(self, offspring: Sequence[Offspring]) -> None:
        self._new.update(o.program.digest for o in offspring)

    def __contains__(self, digest: object) -> bool:
        return digest in self._new or digest in self._state


def _shares(n: int, n_islands: int) -> list[int]:
    """What each island has of `n`, the first ones one more where it does not come out even."""
    return [n // n_islands + (number < n % n_islands) for number in range(n_islands)]


def _split(population: Sequence[Candidate], n_islands: int) -> list[Sequence[Candidate]]:
    shares = _shares(len(population), n_islands)
    ends = np.cumsum(shares).tolist()
    return [population[end - n : end] for end, n in zip(ends, shares, strict=True)]


def _grammar(settings: EvolutionSettings) -> Grammar:
    return Grammar(PRIMITIVE_SETS[settings.primitive_set], max_size=settings.max_size, max_height=settings.max_height)


def check_seeds(settings: EvolutionSettings, seeds: Sequence[Program]) -> None:
    """Refuse seeds that cannot be varied in the language of the run.

    Raises:
        ConfigError: if one has words that the primitive set lacks, or is beyond the limits.
    """
    grammar = _grammar(settings)
    for program in seeds:
        _check_seed(program, grammar)


def _check_seed(program: Program, grammar: Grammar) -> None:
    words = {operator.name for operator in grammar.primitive_set.primitives}
    words |= {statistic.name for statistic in grammar.primitive_set.statistics}
    missing = [node.name for node in program.nodes if not isinstance(node, Constant) and node.name not in words]
    if missing:
        raise ConfigError(
            f"The seed {program.text} has the word {missing[0]!r}, which primitive set {grammar.primitive_set.name!r} "
            "lacks; set evolution.primitive_set to one that has it"
        )
    if not grammar.fits(program):
        raise ConfigError(
            f"The seed {program.text} has {program.size} nodes and {program.height} levels, more than "
            f"evolution.max_size and evolution.max_height allow ({grammar.max_size} and {grammar.max_height}); raise"
            " them"
        )

"""Variation: new programs from old ones, and from nothing.

Every program proposed is complete, within the limits of the grammar, reads at least one statistic, computes nothing on
constants alone, and is new: no two proposals, and no proposal and a program seen before, differ only in the order of
commuting arguments.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from eznas.evolution._deap import Nodes, Trees, seeded_randomness
from eznas.evolution.combination import Combiner
from eznas.evolution.grammar import Grammar, below
from eznas.programs import Constant, Program, arity

MUTATION_WEIGHTS: Final[Mapping[str, float]] = MappingProxyType(
    {"subtree": 4.0, "point": 3.0, "insert": 2.0, "shrink": 2.0, "constant": 1.0}
)
"""Relative frequency of the mutations; that of constants counts only where there is one."""
ATTEMPTS: Final = 20
"""Times variation is tried for one offspring before a random newcomer takes its place."""
COMBINATION_ATTEMPTS: Final = 5
"""Of the wholes that one program could be part of, those that are proposed before it is given up."""
RANDOM_ATTEMPTS: Final = 200
"""Times a newcomer is drawn before the language counts as exhausted."""


@dataclass(frozen=True, slots=True)
class Offspring:
    """A proposed program and where it comes from.

    Attributes:
        program: complete and within limits.
        operator: "crossover", "combination", "subtree", "point", "insert", "shrink", "constant" or "random".
        parents: digests of the programs it was made from; for a crossover the one that lent its root comes first.
    """

    program: Program
    operator: str
    parents: tuple[str, ...]


class Variation:
    """Proposes programs of one grammar; holds no state between calls.

    Args:
        grammar: the language and its limits.
        crossover: relative frequency of crossovers.
        mutation: relative frequency of mutations.
        combination: relative frequency of combinations. The three are normalised to sum to one: the rest, reproduction
            in the EZNAS paper, would propose programs already seen.
        initial_height: least and greatest height of random programs, the set's ending included; trimmed to what the
            grammar allows.
        mutations: relative frequency of each kind of mutation.

    Raises:
        ValueError: if a frequency is negative or unknown, or nothing could ever be drawn.
    """

    def __init__(
        self,
        grammar: Grammar,
        *,
        crossover: float = 0.5,
        mutation: float = 0.5,
        combination: float = 0.0,
        initial_height: tuple[int, int] = (2, 6),
        mutations: Mapping[str, float] = MUTATION_WEIGHTS,
    ) -> None:
        if set(mutations) - set(MUTATION_WEIGHTS):
            raise ValueError(f"Mutations must be among {sorted(MUTATION_WEIGHTS)}, got {sorted(mutations)}.")
        structural = sum(weight for name, weight in mutations.items() if name != "constant")
        least = min(crossover, mutation, combination, *mutations.values())
        if least < 0 or crossover + combination + mutation * structural <= 0:
            raise ValueError(
                f"Crossover, mutation and combination must have frequencies of at least 0, not all 0, got "
                f"crossover={crossover}, mutation={mutation}, combination={combination} and "
                f"mutations={dict(mutations)}."
            )
        if mutation > 0 and structural == 0:
            raise ValueError("At least one mutation other than 'constant' must have a frequency above 0.")
        low, high = initial_height
        if not 0 <= low <= high:
            raise ValueError(f"The heights of random programs must be a range from 0, got {low} to {high}.")
        possible = grammar.possible_heights()
        self.grammar = grammar
        self._initial_height = min(low, possible[-1]), max(high, possible[0])
        total = crossover + mutation + combination
        self._crossover_share = crossover / total
        self._combination_share = combination / total
        self._mutations = dict(mutations)
        self._trees = Trees(grammar)

    def initial(self, n: int, rng: np.random.Generator) -> list[Offspring]:
        """`n` distinct random programs; fewer only if the language within its limits seems to have no more."""
        proposals = _Proposals(self.grammar, ())
        for _ in range(n):
            if not self._newcomer(proposals, rng):
                break
        return proposals.accepted

    def offspring(
        self,
        parents: Sequence[Program],
        n: int,
        rng: np.random.Generator,
        seen: Container[str] = (),
        immigrants: float = 0.0,
        combiner: Combiner | None = None,
    ) -> tuple[list[Offspring], int]:
        """`n` new programs varied from a mating pool, and the number of duplicates thrown away on the way.

        Args:
            parents: the pool; each offspring draws its parents from it uniformly, so a program that stands in it twice
                is twice as likely to be one.
            n: number of programs wanted. There are fewer only if the language seems to have no more new ones.
            rng: the only source of randomness.
            seen: digests not to propose again; the parents' own count as seen.
            immigrants: share of `n` that is drawn at random instead, in [0, 1].
            combiner: makes the combinations; without it there are none.

        Raises:
            ValueError: if there are no parents, or `immigrants` is not a share.
            ProgramError: if a parent has a word or an ending that is not the primitive set's.
        """
        if not parents:
            raise ValueError("Offspring need at least one parent, got none; use `initial` to start from nothing.")
        if not 0 <= immigrants <= 1:
            raise ValueError(f"The share of immigrants must be in [0, 1], got {immigrants}.")
        pool = [_Parent(self.grammar.inner(program), program.digest) for program in parents]
        proposals = _Proposals(self.grammar, seen, {parent.digest for parent in pool})
        n_varied = n - round(immigrants * n)
        with seeded_randomness(rng):
            for i in range(n):
                is_varied = i < n_varied and any(self._vary(proposals, pool, combiner, rng) for _ in range(ATTEMPTS))
                if not is_varied and not self._newcomer(proposals, rng):
                    break
        return proposals.accepted, proposals.n_duplicates

    def _vary(
        self, proposals: _Proposals, pool: Sequence[_Parent], combiner: Combiner | None, rng: np.random.Generator
    ) -> bool:
        first = pool[below(rng, len(pool))]
        draw = rng.random()
        if draw < self._combination_share and combiner is not None:
            wholes = itertools.islice(combiner.joined(first.digest, rng), COMBINATION_ATTEMPTS)
            return any(proposals.add(child, "combination", (first.digest, partner)) for child, partner in wholes)
        if draw < self._combination_share + self._crossover_share:
            second = pool[below(rng, len(pool))]
            child = self._trees.crossover(first.nodes, second.nodes, rng)
            return proposals.add(child, "crossover", (first.digest, second.digest))
        mutation = self._mutation(first, rng)
        child = getattr(self._trees, mutation)(first.nodes, rng)
        return proposals.add(child, mutation, (first.digest,))

    def _mutation(self, parent: _Parent, rng: np.random.Generator) -> str:
        has_constant = any(isinstance(node, Constant) for node in parent.nodes)
        names = [name for name in self._mutations if name != "constant" or has_constant]
        cumulative = list(itertools.accumulate(self._mutations[name] for name in names))
        return names[bisect_right(cumulative, rng.random() * cumulative[-1])]

    def _newcomer(self, proposals: _Proposals, rng: np.random.Generator) -> bool:
        low, high = self._initial_height
        for _ in range(RANDOM_ATTEMPTS):
            program = self.grammar.random_program(rng, min_height=low, max_height=high)
            if proposals.add(self.grammar.inner(program), "random", ()):
                return True
        return False


@dataclass(frozen=True, slots=True)
class _Parent:
    nodes: Nodes  # inside the ending
    digest: str


class _Proposals:
    """The programs accepted so far in one call, and those it has to avoid."""

    def __init__(self, grammar: Grammar, *avoided: Container[str]) -> None:
        self._grammar = grammar
        self._avoided: tuple[Container[str], ...] = avoided
        self._proposed: set[str] = set()
        self.accepted: list[Offspring] = []
        self.n_duplicates = 0

    def add(self, nodes: Nodes, operator: str, parents: tuple[str, ...]) -> bool:
        """Accept the program with these nodes inside the ending if it is sensible, within limits and new."""
        if len(nodes) > self._grammar.max_size or not _is_sensible(nodes):
            return False
        program = self._grammar.complete(nodes)
        if not self._grammar.fits(program):
            return False
        digest = program.digest
        if digest in self._proposed or any(digest in group for group in self._avoided):
            self.n_duplicates += 1
            return False
        self._proposed.add(digest)
        self.accepted.append(Offspring(program, operator, parents))
        return True


def _is_sensible(nodes: Nodes) -> bool:
    """Whether a statistic is read and no operator has constants only, which would make it a constant too."""
    for index, node in enumerate(nodes):
        n_arguments = arity(node)
        if n_arguments and all(isinstance(a, Constant) for a in nodes[index + 1 : index + 1 + n_arguments]):
            return False
    return not all(isinstance(node, Constant) or arity(node) for node in nodes)

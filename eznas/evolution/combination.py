"""Combination: two programs joined by one operator, the partner chosen by what the whole would score.

A program gives one number per network, so the scores of ``(multiply a b)`` follow from those of ``a`` and ``b`` without
a look at any statistic. Many partners can be tried for the price of a few array operations, and only the most promising
whole is proposed for evaluation. Which building blocks go well together is what crossover finds out slowly, one
evaluation at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from eznas.evolution._deap import Nodes
from eznas.evolution.grammar import Grammar, below
from eznas.runs.candidate import Candidate
from primitives import Primitive

N_TRIALS: Final = 240
"""Wholes that are looked at for one proposal."""
MAX_PARTNER_SIZE: Final = 12
"""Most nodes of a partner: blocks, not whole formulas."""
MIN_PARTNER_CORRELATION: Final = 0.1
"""Least correlation of a partner alone; below, it is noise far more often than a complement."""
BENT_SHARE: Final = 0.4
"""Of the partners, the share that first passes through a power: under a product, that is the weight of a partner."""

Promise = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float64]]
"""(n_programs, n_networks) scores to (n_programs,) figures of merit, ``-inf`` for those without."""


class Combiner:
    """Joins programs of one run; knows every program evaluated so far.

    Args:
        grammar: the language and its limits. In one without an operator of two whole programs nothing is ever joined.
        promise: judges scores.
    """

    def __init__(self, grammar: Grammar, promise: Promise) -> None:
        self._grammar = grammar
        self._promise = promise
        ways = [p for p in grammar.productions if p.result == grammar.root and set(p.arguments) == {grammar.root}]
        self._joints = tuple(p.operator for p in ways if len(p.arguments) == 2 and grammar.is_typed)
        self._bends = tuple(p.operator for p in ways if len(p.arguments) == 1 and p.operator.power not in (None, 1.0))
        self._scores: dict[str, torch.Tensor] = {}
        self._nodes: dict[str, Nodes] = {}
        self._partners: list[str] = []

    def learn(self, candidates: Iterable[Candidate]) -> None:
        """Take in programs evaluated since; those known already are passed over."""
        for candidate in candidates:
            if candidate.id in self._scores or not (candidate.scores.size and np.isfinite(candidate.scores).all()):
                continue
            self._scores[candidate.id] = torch.from_numpy(candidate.scores)
            self._nodes[candidate.id] = self._grammar.inner(candidate.program)
            is_block = candidate.program.size <= min(MAX_PARTNER_SIZE, self._grammar.max_size // 2)
            if is_block and candidate.fitness.correlation >= MIN_PARTNER_CORRELATION:
                self._partners.append(candidate.id)

    def joined(self, first: str, rng: np.random.Generator) -> Iterator[tuple[Nodes, str]]:
        """Wholes with one program as a part, the most promising first.

        Args:
            first: id of the program.
            rng: draws the partners, the operators, and the order of the arguments.

        Yields:
            The nodes inside the ending, and the id of the partner. Nothing if `first` is unknown or nothing fits.
        """
        if first not in self._scores or not self._partners or not self._joints:
            return
        trials = list(filter(None, (self._trial(first, rng) for _ in range(N_TRIALS))))
        if not trials:
            return
        promise = self._promise(np.stack([scores for _, _, scores in trials]))
        for trial in np.argsort(-promise, kind="stable").tolist():
            if promise[trial] == -np.inf:
                return
            nodes, partner, _ = trials[trial]
            yield nodes, partner

    def _trial(self, first: str, rng: np.random.Generator) -> tuple[Nodes, str, npt.NDArray[np.float32]] | None:
        partner = self._partners[below(rng, len(self._partners))]
        joint = self._joints[below(rng, len(self._joints))]
        nodes, scores = self._bent(partner, rng)
        parts = [(self._nodes[first], self._scores[first]), (nodes, scores)]
        if rng.random() < 0.5:
            parts.reverse()
        if 1 + sum(len(part) for part, _ in parts) > self._grammar.max_size:
            return None
        whole = (joint, *itertools.chain.from_iterable(part for part, _ in parts))
        return whole, partner, joint(*(scores for _, scores in parts)).numpy()

    def _bent(self, partner: str, rng: np.random.Generator) -> tuple[Nodes, torch.Tensor]:
        nodes, scores = self._nodes[partner], self._scores[partner]
        if not self._bends or rng.random() >= BENT_SHARE:
            return nodes, scores
        bend: Primitive = self._bends[below(rng, len(self._bends))]
        return (bend, *nodes), bend(scores)

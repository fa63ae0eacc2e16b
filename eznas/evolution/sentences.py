"""Sentences: formulas of words, bred by the ten thousand per second, because a word is an array of known numbers.

One step takes a sentence and a place in it, and tries many candidates there at once: another word, a word joined to
what stands there, another constant. All that is above the place is evaluated for all candidates together, and an
unbiased estimate of the objective, from pairs of networks drawn for this step, says which few are worth a place in the
population. Words are tried the more often, the more they say of the pairs that the sentence orders wrongly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eznas.bank import Tree, value_of, words_of
from eznas.evolution.grammar import CONSTANT_DIGITS, below
from eznas.evolution.selection import non_dominated
from eznas.fitness import Aggregate, Labels
from eznas.fitness.fitness import aggregated
from eznas.fitness.pairs import PairSample
from primitives import PRIMITIVES, Primitive

N_TRIALS: Final = 96
"""Candidates at one place."""
N_KEPT: Final = 3
"""Of them, those that enter the population of the next round."""
N_PAIRS: Final = 128
"""Pairs of the networks of a task in a step's estimate, if there are many tasks; more of few."""
N_EXACT: Final = 4_096
"""Pairs by which the population is compared."""
TOURNAMENT: Final = 4
N_PROBED: Final = 2_048
"""Words whose worth for a parent is looked up."""
WEIGHTS: Final = (math.log(0.05), math.log(1.5))
"""Logarithms of the least and the greatest spread of a new term of a sum, in spreads of what it is added to."""
PARSIMONY: Final = 1e-4
"""What a node costs in the comparison of sentences: a tie-breaker, no more. The front says what size is worth."""

ADD, SUBTRACT, MULTIPLY, DIVIDE = (PRIMITIVES[name] for name in ("add", "subtract", "multiply", "divide"))
JOINTS: Final = ("add", "add", "add", "subtract", "multiply", "multiply", "divide", "maximum", "minimum")
BENDS: Final = ("log", "log_one_plus", "sqrt", "square", "tanh", "sigmoid", "exp", "abs")


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Words with their values.

    Attributes:
        words: canonical texts.
        sizes: (n_words,) nodes of each.
        values: (n_words, n_networks) float64; finite.
    """

    words: tuple[str, ...]
    sizes: npt.NDArray[np.int64]
    values: Tensor

    def place(self) -> dict[str, int]:
        """Rows by word."""
        return {word: row for row, word in enumerate(self.words)}


@dataclass(frozen=True, eq=False, slots=True)
class _Probe:
    """How some words order the pairs of a step: their rows, and (n_words, n_pairs) signs."""

    rows: npt.NDArray[np.int64]
    signs: Tensor


class SentenceSearch:
    """Breeds sentences over a vocabulary.

    Args:
        vocabulary: the words.
        labels: the tasks on the networks of the vocabulary.
        aggregate, weights: of tau over the tasks.
        operators: names of the operators of the language; others are not used.
        max_size: most nodes of a sentence, words counted with theirs.
        may_turn: whether a sentence may predict by a low score.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        labels: Sequence[Labels],
        *,
        aggregate: Aggregate,
        weights: Sequence[float] | None,
        operators: frozenset[str],
        max_size: int,
        may_turn: bool = True,
    ) -> None:
        self._words = vocabulary
        self._place = vocabulary.place()
        self._labels, self._aggregate, self._weights = tuple(labels), aggregate, weights
        self._joints = [PRIMITIVES[name] for name in JOINTS if name in operators]
        self._bends = [PRIMITIVES[name] for name in BENDS if name in operators]
        self._max_size = max_size
        self._may_turn = may_turn
        self._values: dict[Tree, Tensor] = {}
        values = vocabulary.values
        self._scales = values.std(dim=1).clamp(min=1e-300)
        self.n_tried = 0

    # ------------------------------------------------------------------------------------------------ values

    def value(self, tree: Tree) -> Tensor:
        """(n_networks,) values of a sentence."""
        if tree not in self._values:
            if len(self._values) > 20_000:
                self._values.clear()
            found = value_of(tree, lambda word: self._words.values[self._place[word]])
            self._values[tree] = found.expand(self._words.values.shape[1])
        return self._values[tree]

    def size(self, tree: Tree) -> int:
        """Nodes of the program that a sentence is."""
        match tree:
            case str():
                return int(self._words.sizes[self._place[tree]])
            case tuple():
                return 1 + sum(self.size(child) for child in tree[1])
            case _:
                return 1

    def merit(self, taus: Tensor) -> npt.NDArray[np.float64]:
        """(n,) the aggregate of (n, n_tasks) estimates, in the better direction; not finite counts as nothing."""
        rows = taus.double().numpy().T
        forward = aggregated(rows, self._aggregate, self._weights)
        if not self._may_turn:
            return forward
        return np.maximum(forward, aggregated(-rows, self._aggregate, self._weights))

    # ------------------------------------------------------------------------------------------------ the search

    def run(
        self,
        seeds: Sequence[Tree],
        n_sentences: int,
        n_population: int,
        rng: np.random.Generator,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[Tree]:
        """Breed until so many sentences were tried; the best by merit, and the front of merit and size.

        Args:
            seeds: sentences to begin with; words alone are added.
            n_sentences: to try.
            n_population: kept from step to step, and at most returned.
            rng: of all draws.
            progress: told the sentences tried and all that are to be.
        """
        population = self._first(seeds, n_population, rng)
        until = self.n_tried + n_sentences
        while self.n_tried < until:
            many = PairSample.draw(self._labels, self._n_exact, rng)
            few = PairSample.draw(self._labels, self._n_few, rng)
            population = self._survivors(population, many, n_population)
            merits = self.merit(many.tau(torch.stack([self.value(tree) for tree in population])))
            probe = self._probe(few, rng)
            offspring: dict[Tree, None] = {}
            for _ in range(max(8, n_population // 2)):
                chosen = max((below(rng, len(population)) for _ in range(TOURNAMENT)), key=lambda i: merits[i])
                offspring |= dict.fromkeys(self._step(population[chosen], few, probe, population, rng))
            population = list(dict.fromkeys((*population, *offspring)))
            progress(min(n_sentences, n_sentences - until + self.n_tried), n_sentences)
        many = PairSample.draw(self._labels, 4 * self._n_exact, rng)
        return self._survivors(population, many, n_population)

    @property
    def _n_few(self) -> int:
        return max(N_PAIRS, 1024 // len({labels.networks.tobytes() for labels in self._labels}))

    @property
    def _n_exact(self) -> int:
        return max(512, N_EXACT // len({labels.networks.tobytes() for labels in self._labels}))

    def _first(self, seeds: Sequence[Tree], n: int, rng: np.random.Generator) -> list[Tree]:
        """Seeds, and the best words alone."""
        pairs = PairSample.draw(self._labels, self._n_few, rng)
        merits = np.concatenate([self.merit(pairs.tau(part)) for part in self._words.values.split(512)])
        self.n_tried += len(merits)
        best = np.argsort(-merits, kind="stable")[:n]
        return list(dict.fromkeys((*seeds, *(self._words.words[i] for i in best.tolist()))))

    def _survivors(self, population: Sequence[Tree], pairs: PairSample, n: int) -> list[Tree]:
        """At most n sentences: one of each behaviour, the best by merit and the front of merit and size."""
        values = torch.stack([self.value(tree) for tree in population])
        taus = pairs.tau(values)
        merits = np.nan_to_num(self.merit(taus), nan=-1.0)
        sizes = np.array([self.size(tree) for tree in population], dtype=np.float64)
        finite = values.isfinite().all(dim=1).numpy()
        order = np.lexsort((sizes, -(merits - PARSIMONY * sizes)))
        seen: set[bytes] = set()
        unique = []
        for i in order.tolist():
            behaviour = (taus[i] * 2048).round().abs().numpy().tobytes()
            if finite[i] and behaviour not in seen:
                seen.add(behaviour)
                unique.append(i)
        front = {unique[i] for i in non_dominated(np.stack([merits[unique], -sizes[unique]], axis=1))}
        n_front = n // 3
        kept = [i for i in unique if i in front][:n_front]
        kept += [i for i in unique if i not in set(kept)][: n - len(kept)]
        return [population[i] for i in sorted(kept, key=unique.index)]

    # ------------------------------------------------------------------------------------------------ one step

    def _step(
        self, parent: Tree, pairs: PairSample, probe: _Probe, population: Sequence[Tree], rng: np.random.Generator
    ) -> list[Tree]:
        """The most promising of many candidates at one place of a sentence."""
        places = _places(parent)
        place = places[below(rng, len(places))] if rng.random() < 0.6 else ()
        here = _at(parent, place)
        draw = rng.random()
        if isinstance(here, float) or (draw < 0.15 and _constants(parent)):
            return self._with_constants(parent, pairs, rng)
        if place and draw < 0.25:
            return self._best_of(_shorter(parent, place), pairs)
        if draw < 0.35 and len(population) > 1:
            others = [population[below(rng, len(population))] for _ in range(16)]
            return self._best_of([_put(parent, place, self._joined(here, other, rng)) for other in others], pairs)
        if draw < 0.4:
            return self._best_of([_put(parent, place, (bend, (here,))) for bend in self._bends], pairs)
        rows = self._candidates(parent, pairs, probe, rng)
        tried, made = self._words.values[rows], [self._words.words[row] for row in rows.tolist()]
        sizes = self._words.sizes[rows] + self.size(parent)
        if draw < 0.55:
            sizes = sizes - self.size(here)
            return self._best_at(parent, place, tried, list(made), sizes, pairs)
        trees: list[Tree] = list(made)
        if self._bends and rng.random() < 0.4:
            bend = self._bends[below(rng, len(self._bends))]
            tried, trees, sizes = bend(tried), [(bend, (word,)) for word in made], sizes + 1
        joint = self._joints[below(rng, len(self._joints))]
        if joint in (ADD, SUBTRACT) and rng.random() < 0.8:
            spreads = float(self.value(here).std()) / tried.std(dim=1).clamp(min=1e-300)
            shares = np.exp(rng.uniform(*WEIGHTS, len(trees)))
            weights = [few_digits(float(weight)) for weight in spreads * torch.from_numpy(shares)]
            tried = MULTIPLY(torch.tensor(weights, dtype=torch.float64)[:, None], tried)
            trees = [(MULTIPLY, (weight, tree)) for weight, tree in zip(weights, trees, strict=True)]
            sizes = sizes + 2
        value = self.value(here)
        if joint.commutative or rng.random() < 0.8:
            return self._best_at(
                parent, place, joint(value, tried), [(joint, (here, tree)) for tree in trees], sizes + 1, pairs
            )
        return self._best_at(
            parent, place, joint(tried, value), [(joint, (tree, here)) for tree in trees], sizes + 1, pairs
        )

    def _best_at(
        self,
        parent: Tree,
        place: Place,
        values: Tensor,
        parts: Sequence[Tree],
        sizes: npt.NDArray[np.int64],
        pairs: PairSample,
    ) -> list[Tree]:
        """The best of a parent with each of some parts at a place; all that is above is evaluated for all together."""
        for depth in range(len(place) - 1, -1, -1):
            above = _at(parent, place[:depth])
            assert isinstance(above, tuple)
            operator, children = above
            values = operator(*(values if i == place[depth] else self.value(c) for i, c in enumerate(children)))
        self.n_tried += len(parts)
        merits = np.nan_to_num(self.merit(pairs.tau(values)), nan=-1.0) - PARSIMONY * sizes
        merits[sizes > self._max_size] = -np.inf
        order = np.argsort(-merits, kind="stable")[:N_KEPT]
        return [_put(parent, place, parts[i]) for i in order.tolist() if merits[i] > -1.0]

    def _best_of(self, trees: Sequence[Tree], pairs: PairSample) -> list[Tree]:
        """The best of some sentences."""
        trees = [tree for tree in dict.fromkeys(trees) if self.size(tree) <= self._max_size and words_of(tree)]
        if not trees:
            return []
        self.n_tried += len(trees)
        values = torch.stack([self.value(tree) for tree in trees])
        merits = np.nan_to_num(self.merit(pairs.tau(values)), nan=-1.0)
        sizes = np.array([self.size(tree) for tree in trees])
        return [trees[i] for i in np.argsort(-(merits - PARSIMONY * sizes), kind="stable")[:N_KEPT].tolist()]

    def _candidates(
        self, parent: Tree, pairs: PairSample, probe: _Probe, rng: np.random.Generator
    ) -> npt.NDArray[np.int64]:
        """Rows of words, half of them drawn by what they say of the pairs that the parent orders wrongly."""
        value = self.value(parent)[None]
        sign = 1.0 if self.merit(pairs.tau(value))[0] == self._forward(pairs.tau(value)) else -1.0
        own = pairs.signs(value)[0] * sign
        total = pairs.orders.sum(dim=1)
        wrong = torch.where(own * total < 0, total, torch.zeros_like(total))
        worth = (probe.signs @ wrong).abs()
        best = probe.rows[torch.argsort(worth, descending=True, stable=True)[: 2 * N_TRIALS].numpy()]
        chosen = best[np.sort(rng.permutation(len(best))[: N_TRIALS // 2])]
        drawn = rng.integers(0, len(self._words.words), N_TRIALS // 2)
        return np.unique(np.concatenate([chosen, drawn]))

    def _forward(self, taus: Tensor) -> float:
        return float(aggregated(taus.double().numpy().T, self._aggregate, self._weights)[0])

    def _probe(self, pairs: PairSample, rng: np.random.Generator) -> _Probe:
        """How some words order the pairs of a step."""
        rows = np.sort(rng.permutation(len(self._words.words))[:N_PROBED])
        return _Probe(rows, torch.cat([pairs.signs(part) for part in self._words.values[rows].split(512)]))

    def _joined(self, here: Tree, other: Tree, rng: np.random.Generator) -> Tree:
        """Two sentences as one; in a sum the second has a weight by which its spread matters beside the first's."""
        joint = self._joints[below(rng, len(self._joints))]
        if joint in (ADD, SUBTRACT) and rng.random() < 0.8:
            spread = float(self.value(here).std()) / max(float(self.value(other).std()), 1e-300)
            weight = spread * math.exp(rng.uniform(*WEIGHTS))
            if math.isfinite(weight) and weight > 0:
                other = (MULTIPLY, (few_digits(weight), other))
        pair = (here, other) if joint.commutative or rng.random() < 0.8 else (other, here)
        return joint, pair

    def _with_constants(self, parent: Tree, pairs: PairSample, rng: np.random.Generator) -> list[Tree]:
        places = _constants(parent)
        if not places:
            return []
        place = places[below(rng, len(places))]
        value = float(_at(parent, place))  # type: ignore[arg-type]
        factors = [*(math.exp(rng.normal() * 0.7) for _ in range(24)), -1.0]
        parts = [few_digits(value * factor) for factor in factors]
        sizes = np.full(len(parts), self.size(parent))
        return self._best_at(parent, place, torch.tensor(parts, dtype=torch.float64)[:, None], parts, sizes, pairs)

    def tuned(self, tree: Tree, rng: np.random.Generator, *, n_rounds: int = 3) -> Tree:
        """The sentence with constants that rank better, searched one by one; as it was if none does.

        The objective is compared on the same pairs throughout, and a constant changes only if that gains something.
        """
        pairs = PairSample.draw(self._labels, 4 * self._n_exact, rng)
        best = float(self.merit(pairs.tau(self.value(tree)[None]))[0])
        for _ in range(n_rounds):
            before = best
            for place in _constants(tree):
                value = float(_at(tree, place))  # type: ignore[arg-type]
                trials = [_put(tree, place, few_digits(value * f)) for f in (0.5, 0.7, 0.85, 0.95, 1.05, 1.2, 1.4, 2.0)]
                merits = self.merit(pairs.tau(torch.stack([self.value(one) for one in trials])))
                if merits.max() > best + 1e-4:
                    best, tree = float(merits.max()), trials[int(merits.argmax())]
            if best <= before:
                break
        return tree


# --- places in a tree ---------------------------------------------------------------------------------------------

Place = tuple[int, ...]
"""The way from the root of a sentence to a part of it."""


def _places(tree: Tree, here: Place = ()) -> list[Place]:
    found = [here]
    if isinstance(tree, tuple):
        for index, child in enumerate(tree[1]):
            found += _places(child, (*here, index))
    return found


def _constants(tree: Tree) -> list[Place]:
    return [place for place in _places(tree) if isinstance(_at(tree, place), float)]


def _at(tree: Tree, place: Place) -> Tree:
    for index in place:
        assert isinstance(tree, tuple)
        tree = tree[1][index]
    return tree


def _put(tree: Tree, place: Place, new: Tree) -> Tree:
    if not place:
        return new
    assert isinstance(tree, tuple)
    operator, children = tree
    return operator, tuple(_put(c, place[1:], new) if i == place[0] else c for i, c in enumerate(children))


def _shorter(tree: Tree, place: Place) -> list[Tree]:
    """Sentences without what stands at a place: its parent gone, or one of its own parts in its stead."""
    here = _at(tree, place)
    parent = _at(tree, place[:-1])
    assert isinstance(parent, tuple)
    found = [_put(tree, place[:-1], child) for index, child in enumerate(parent[1]) if index != place[-1]]
    if isinstance(here, tuple):
        found += [_put(tree, place, child) for child in here[1]]
    return found


def few_digits(value: float) -> float:
    """To few digits: a formula is to be read."""
    return float(f"{min(max(abs(value), 1e-15), 1e15) * (1.0 if value >= 0 else -1.0):.{CONSTANT_DIGITS}g}")


def operators_of(primitives: Sequence[Primitive]) -> frozenset[str]:
    """Names of the operators of a language."""
    return frozenset(operator.name for operator in primitives)

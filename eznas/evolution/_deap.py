"""DEAP, confined: subtree variation of typed trees, and selection.

This is the only module that imports DEAP. It uses DEAP's operators and typed sets, never its `creator`, `compile` or
`from_string`. Three habits of DEAP are tamed here: it draws from Python's global `random`, so every call sits inside
`seeded_randomness`; it puts types into sets, so types get a hash that is equal in every process; and its operators know
neither limits nor grammar, so where they need new material they insert a *blank* that our `Grammar` fills in.
"""

from __future__ import annotations

import enum
import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from deap import base, gp, tools

from eznas.errors import ProgramError
from eznas.evolution.grammar import Grammar, below, rounded
from eznas.programs import Constant, Node, arity
from primitives import Primitive, Sort, Type

SUBTREE_GROWTH: Final = 2
"""Levels by which a subtree drawn in mutation may exceed the least height of its type."""
SIBLING_GROWTH: Final = 1
"""The same for the other arguments of an operator that is inserted."""
CONSTANT_STEP: Final = 0.5
"""Standard deviation of the change of a constant's logarithm in one mutation, in nats."""
CONSTANT_FLIP_SHARE: Final = 0.1
"""Of mutated constants, the share that also changes sign."""

Nodes = tuple[Node, ...]


@contextmanager
def seeded_randomness(rng: np.random.Generator) -> Iterator[None]:
    """Inside, Python's global `random` (which DEAP draws from) is seeded from `rng`; afterwards it is as before."""
    state = random.getstate()
    random.seed(int(rng.integers(2**63)))
    try:
        yield
    finally:
        random.setstate(state)


class _TypeClass(type):
    """Class of the classes that stand for our types in DEAP, hashed by position: sets of them iterate alike everywhere.

    By default a class is hashed by its address, and the same seed would give other crossovers in another process.
    """

    position: int  # in the grammar's types

    def __hash__(cls) -> int:
        return cls.position


class _Blank(enum.Enum):
    """A leaf that one of DEAP's operators inserted and that is still to be drawn."""

    CONSTANT = "a constant"
    EXPRESSION = "a small expression"


class Trees:
    """Variation of the programs of one grammar; every method maps nodes inside the ending to such nodes.

    The results are well-typed, but may exceed the limits of the grammar or equal an argument: the caller decides. Call
    them inside `seeded_randomness`.

    Raises (every method):
        ProgramError: if an argument holds a word that is not in the primitive set.
    """

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._types = grammar.types
        self._classes = {t: _TypeClass(str(t), (), {"position": i}) for i, t in enumerate(grammar.types)}
        self._operators: dict[str, Primitive] = {}  # by DEAP's name
        self._items: dict[tuple[str | int, ...], Any] = {}  # DEAP's nodes, by our name and its arguments' positions
        root = self._classes[grammar.root]
        self._words = gp.PrimitiveSetTyped("words", [], root)
        self._insertions = gp.PrimitiveSetTyped("insertions", [], root)
        # An operator above the root: DEAP's operators that spare the root then spare this one.
        self._top = gp.Primitive("program", [root], _TypeClass("Program", (), {"position": -1}))
        self._fill_sets()

    def crossover(self, first: Sequence[Node], second: Sequence[Node], rng: np.random.Generator) -> Nodes:
        """`first` with a subtree (never all of it) exchanged for one of the same type from `second`."""
        child, _ = gp.cxOnePoint(self._tree(first), self._tree(second))
        return self._flat(child, rng)

    def subtree(self, nodes: Sequence[Node], rng: np.random.Generator) -> Nodes:
        """A random subtree exchanged for a newly drawn one of the same type."""

        def draw(pset: Any, type_: Any) -> Any:
            return self._tree(self._expression(self._types[type_.position], SUBTREE_GROWTH, rng))

        (child,) = gp.mutUniform(self._tree(nodes), expr=draw, pset=self._words)
        return self._flat(child, rng)

    def point(self, nodes: Sequence[Node], rng: np.random.Generator) -> Nodes:
        """A random node exchanged for another with the same arguments and result."""
        (child,) = gp.mutNodeReplacement(self._topped(nodes), pset=self._words)
        return self._flat(child[1:], rng)

    def insert(self, nodes: Sequence[Node], rng: np.random.Generator) -> Nodes:
        """A new operator put above a random node; its other arguments are newly drawn."""
        (child,) = gp.mutInsert(self._tree(nodes), pset=self._insertions)
        return self._flat(child, rng)

    def shrink(self, nodes: Sequence[Node], rng: np.random.Generator) -> Nodes:
        """A random subtree exchanged for a part of itself: an argument of its root, or any part of the same type."""
        if rng.random() < 0.5:
            (child,) = gp.mutShrink(self._topped(nodes))
            return self._flat(child[1:], rng)
        tree = self._tree(nodes)
        spans = [tree.searchSubtree(i) for i in range(len(tree))]
        pairs = [
            (outer, part)
            for outer in spans
            for part in spans[outer.start + 1 : outer.stop]
            if tree[part.start].ret is tree[outer.start].ret
        ]
        if pairs:
            outer, part = pairs[below(rng, len(pairs))]
            tree[outer] = tree[part]
        return self._flat(tree, rng)

    def constant(self, nodes: Sequence[Node], rng: np.random.Generator) -> Nodes:
        """A random constant multiplied by a log-normal factor, now and then with the other sign."""
        positions = [i for i, node in enumerate(nodes) if isinstance(node, Constant)]
        if not positions:
            return tuple(nodes)
        position = positions[below(rng, len(positions))]
        old = nodes[position]
        assert isinstance(old, Constant)
        sign = -1 if rng.random() < CONSTANT_FLIP_SHARE else 1
        value = sign * old.value * math.exp(CONSTANT_STEP * rng.standard_normal())
        return (*nodes[:position], Constant(rounded(value), old.level), *nodes[position + 1 :])

    def _fill_sets(self) -> None:
        for production in self._grammar.productions:
            types = (*production.arguments, production.result)
            name = f"{production.operator.name}[{','.join(map(str, types))}]"
            *arguments, result = (self._classes[t] for t in types)
            for words in (self._words, self._insertions):
                words.addPrimitive(production.operator, arguments, result, name=name)
            self._operators[name] = production.operator
            positions = (argument.position for argument in arguments)
            self._items[production.operator.name, *positions] = self._words.mapping[name]
        for type_, class_ in self._classes.items():
            for statistic in self._grammar.leaves.get(type_, ()):
                self._words.addTerminal(statistic, class_)
                self._items[(statistic.name,)] = gp.Terminal(statistic, False, class_)
            if type_.sort is Sort.SCALAR and self._grammar.primitive_set.constants:
                self._words.addTerminal(_Blank.CONSTANT, class_)
            self._insertions.addTerminal(_Blank.EXPRESSION, class_)

    def _tree(self, nodes: Sequence[Node]) -> Any:
        """DEAP's tree of nodes inside the ending; inverse of `_flat`."""
        found: list[Any] = []
        stack: list[int] = []  # positions of the types of the arguments still without an operator
        for node in reversed(nodes):
            arguments = [stack.pop() for _ in range(arity(node))]
            item = self._items.get((node.name, *arguments)) or self._constant_item(node)
            if item is None:
                raise ProgramError(
                    f"{node.name!r} is no word of primitive set {self._grammar.primitive_set.name!r} in this place, so "
                    f"the program cannot be varied; use a set that has it, or leave the program out."
                )
            stack.append(item.ret.position)
            found.append(item)
        return gp.PrimitiveTree(reversed(found))

    def _constant_item(self, node: Node) -> Any:
        if not isinstance(node, Constant) or not self._grammar.primitive_set.constants:
            return None
        class_ = self._classes.get(node.type)
        return None if class_ is None else gp.Terminal(node, False, class_)

    def _topped(self, nodes: Sequence[Node]) -> Any:
        return gp.PrimitiveTree([self._top, *self._tree(nodes)])

    def _flat(self, tree: Sequence[Any], rng: np.random.Generator) -> Nodes:
        """The nodes of DEAP's tree, every blank filled in."""
        nodes: list[Node] = []
        for item in tree:
            if isinstance(item, gp.Primitive):
                nodes.append(self._operators[item.name])
            elif item.value is _Blank.CONSTANT:
                nodes.append(self._grammar.random_constant(rng, self._types[item.ret.position].level))
            elif item.value is _Blank.EXPRESSION:
                nodes.extend(self._expression(self._types[item.ret.position], SIBLING_GROWTH, rng))
            else:
                nodes.append(item.value)
        return tuple(nodes)

    def _expression(self, type_: Type, growth: int, rng: np.random.Generator) -> Nodes:
        least = self._grammar.least_height(type_)
        return self._grammar.random_nodes(rng, type_, min_height=least, max_height=least + growth)


@dataclass(slots=True, eq=False)
class _Ranked:
    """What DEAP selects from: the fitness of one row of objectives."""

    row: int
    fitness: Any
    merit: tuple[float, float] = (0.0, 0.0)


@lru_cache
def _fitness_class(n_objectives: int) -> type[Any]:
    return type("Maximised", (base.Fitness,), {"weights": (1.0,) * n_objectives})


def _ranked(objectives: npt.NDArray[np.float64], rows: Sequence[int]) -> list[_Ranked]:
    """Rows of (n, k) objectives for DEAP, whose log-time sort needs two objectives: one is written twice."""
    if objectives.shape[1] == 1:
        objectives = np.repeat(objectives, 2, axis=1)
    fitness = _fitness_class(objectives.shape[1])
    return [_Ranked(row, fitness(objectives[row].tolist())) for row in rows]


def nsga2(objectives: npt.NDArray[np.float64], rows: Sequence[int], n_selected: int) -> list[int]:
    """The `n_selected` best of the rows by front and crowding distance; earlier rows win ties."""
    if n_selected == 0:
        return []
    return [ranked.row for ranked in tools.selNSGA2(_ranked(objectives, rows), n_selected, nd="log")]


def tournament(objectives: npt.NDArray[np.float64], n_selected: int, size: int, rng: np.random.Generator) -> list[int]:
    """The winners of tournaments of `size` rows by the crowded comparison: lower front, then larger distance."""
    everyone = _ranked(objectives, range(len(objectives)))
    for number, front in enumerate(tools.sortLogNondominated(everyone, len(everyone))):
        tools.emo.assignCrowdingDist(front)
        for ranked in front:
            ranked.merit = (-number, ranked.fitness.crowding_dist if objectives.shape[1] > 1 else 0.0)
    with seeded_randomness(rng):
        return [r.row for r in tools.selTournament(everyone, n_selected, size, fit_attr="merit")]

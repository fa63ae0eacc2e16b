"""The grammar of a primitive set: what may stand under what, and programs drawn at random from it.

Signatures with variables are spelled out as productions over concrete types, and a table holds the least number of
nodes that each type needs within given heights. A draw therefore never runs into a dead end and never breaks a limit:
every program it starts, it finishes.

A set with an ending (the paper's language) is untyped: any layer-level value may be the argument of any operator, so
all its productions are over the one type `DYNAMIC`, and the ending is put around what they give.
"""

from __future__ import annotations

import enum
import itertools
import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from eznas.errors import ProgramError
from eznas.programs import MAX_HEIGHT, MAX_SIZE, Constant, Node, Program
from primitives import DYNAMIC, NETWORK_SCALAR, TYPES, Level, Primitive, PrimitiveSet, Sort, Statistic, Type


class Category(enum.Enum):
    """Kinds of choices at a node. A category is drawn first and a member of it second, so that a family with many
    members (readings of kernels, say) does not drown a family with few."""

    LEAF = "a statistic of the layers; in a set without any, a quantity of the network"
    QUANTITY = "a quantity of the whole network, or the role of a layer"
    MAP = "an operator that keeps the type of its one argument"
    ARITHMETIC = "an operator on two values of one type"
    REDUCTION = "a tensor to a scalar"
    KERNEL = "a tensor to a kernel between samples or channels"
    KERNEL_READING = "a kernel to a scalar"
    AGGREGATION = "layers to their network"
    UNTYPED = "any operator of an untyped set"


CATEGORY_WEIGHTS: Final[Mapping[Category, float]] = MappingProxyType(
    {
        Category.LEAF: 4.0,
        Category.QUANTITY: 0.5,
        Category.MAP: 3.0,
        Category.ARITHMETIC: 2.0,
        Category.REDUCTION: 5.0,
        Category.KERNEL: 5.0,
        Category.KERNEL_READING: 2.5,
        Category.AGGREGATION: 6.0,
        Category.UNTYPED: 5.0,
    }
)
"""Relative frequency of the categories possible at a node. On tensors, 4 : 3 : 2 gives 0.78 arguments per node on
average: below one, so growth ends by itself."""

CONSTANT_SHARE: Final = 0.25
"""Of the two-argument operators on scalars, the share with a constant as one argument."""
NORMAL_SHARE: Final = 0.5
"""Of the constants, the share drawn from a standard normal; the others are log-uniform with a random sign."""
CONSTANT_RANGE: Final = (1e-3, 1e3)
"""Magnitudes of log-uniform constants, and the bounds within which mutation keeps a constant."""
CONSTANT_DIGITS: Final = 3
"""Significant digits of a constant: formulas stay readable, and nearly equal programs become equal."""

_ANYWHERE: Final = -1  # no argument has to reach a height
_KERNELS: Final = {Sort.SAMPLE_KERNEL, Sort.CHANNEL_KERNEL}


@dataclass(frozen=True, slots=True)
class Production:
    """One operator at concrete types."""

    operator: Primitive
    arguments: tuple[Type, ...]
    result: Type
    category: Category


@dataclass(frozen=True, slots=True)
class _Choices:
    """What may stand at a node: for each category, its statistics, or its operators with their productions."""

    cumulative: tuple[float, ...]  # weights of the categories, summed up; the last is the total
    members: tuple[tuple[Statistic | tuple[Production, ...], ...], ...]


class Grammar:
    """Typed random generation of programs over a primitive set, within a size and a height.

    Attributes:
        primitive_set: the words.
        max_size: most nodes of a whole program, its ending included.
        max_height: most edges from the root of a whole program to a leaf, its ending included.
        root: type of what stands inside the ending: `NETWORK_SCALAR`, or `DYNAMIC` for an untyped set.
        productions: every useful production, in a fixed order; those that no complete program can use are left out.
        leaves: statistics by type.

    Raises:
        ValueError: if a limit is out of range, no complete program fits the limits, or an operator of an untyped set
            restricts its arguments.
    """

    def __init__(self, primitive_set: PrimitiveSet, *, max_size: int, max_height: int) -> None:
        if not (1 <= max_size <= MAX_SIZE and 0 <= max_height <= MAX_HEIGHT):
            raise ValueError(
                f"Programs may be limited to sizes of 1 to {MAX_SIZE} and heights of 0 to {MAX_HEIGHT}, "
                f"got max_size={max_size} and max_height={max_height}."
            )
        self.primitive_set = primitive_set
        self.max_size = max_size
        self.max_height = max_height
        self.is_typed = not primitive_set.ending
        self.root = NETWORK_SCALAR if self.is_typed else DYNAMIC
        self._ending: tuple[Node, ...] = tuple(reversed(primitive_set.ending))
        self._least_sizes: dict[tuple[Type, int, int], float] = {}
        self._heights_of: dict[Type, tuple[int, ...]] = {}
        self._choices_at: dict[tuple[Type, int, int, int], _Choices] = {}

        leaves = _leaves(primitive_set, self.is_typed)
        possible = _derivable(_productions(primitive_set, self.is_typed), leaves)
        types = _reachable(self.root, possible)
        self.productions = tuple(p for p in possible if p.result in types)
        self.leaves: Mapping[Type, tuple[Statistic, ...]] = MappingProxyType(
            {t: statistics for t, statistics in leaves.items() if t in types}
        )
        self.types = tuple(t for t in TYPES if t in types)
        self._by_result = {t: tuple(p for p in self.productions if p.result == t) for t in self.types}
        if self.root not in types or self._least(self.root, 0, self._inner_height) > self._inner_size:
            raise ValueError(
                f"No program of primitive set {primitive_set.name!r} has at most {max_size} node(s) and height "
                f"{max_height}; raise max_size or max_height."
            )

    @property
    def _inner_size(self) -> int:
        return self.max_size - len(self._ending)

    @property
    def _inner_height(self) -> int:
        return self.max_height - len(self._ending)

    def least_height(self, type_: Type) -> int:
        """Height of the flattest expression of a type inside the ending; constants do not count as expressions.

        Raises:
            ValueError: if no expression of that type keeps the limits.
        """
        if heights := self._heights(type_):
            return heights[0]
        raise ValueError(f"Primitive set {self.primitive_set.name!r} has no expression of type {type_} in its limits.")

    def possible_heights(self, type_: Type | None = None) -> tuple[int, ...]:
        """Ascending heights of the expressions of a type, or of complete programs, that keep both limits."""
        if type_ is None:
            n_ending = len(self._ending)
            return tuple(height + n_ending for height in self._heights(self.root))
        return self._heights(type_)

    def inner(self, program: Program) -> tuple[Node, ...]:
        """The nodes of a complete program inside the set's ending.

        Raises:
            ProgramError: if the program does not end as the set prescribes.
        """
        n_ending = len(self._ending)
        if program.nodes[:n_ending] != self._ending or not program.is_complete:
            ending = " ".join(node.name for node in self._ending) or "one number per network"
            raise ProgramError(
                f"A program of primitive set {self.primitive_set.name!r} must give {ending}, got {_shown(program)}."
            )
        return program.nodes[n_ending:]

    def complete(self, nodes: Iterable[Node]) -> Program:
        """The program with these nodes inside the set's ending; inverse of `inner`."""
        return Program((*self._ending, *nodes))

    def fits(self, program: Program) -> bool:
        """Whether a program keeps the limits of size and height."""
        return program.size <= self.max_size and program.height <= self.max_height

    def random_program(
        self, rng: np.random.Generator, *, min_height: int = 0, max_height: int | None = None, type_: Type | None = None
    ) -> Program:
        """A program drawn at random.

        Its height is drawn first, uniformly among the possible ones, then at each node a category by
        `CATEGORY_WEIGHTS`, an operator and the types of its arguments; one branch reaches the height, the others grow
        until they happen to end.

        Args:
            rng: source of randomness.
            min_height: least height of the whole program; raised to the least possible one.
            max_height: greatest height, the grammar's by default.
            type_: of the program; by default it is complete, ending included. Other types have no ending.

        Raises:
            ValueError: if no program has such a height within the grammar's limits.
        """
        highest = self.max_height if max_height is None else min(max_height, self.max_height)
        if type_ is None or type_ == NETWORK_SCALAR:
            n_ending = len(self._ending)
            return self.complete(
                self.random_nodes(rng, self.root, min_height=min_height - n_ending, max_height=highest - n_ending)
            )
        return Program(self.random_nodes(rng, type_, min_height=min_height, max_height=highest))

    def random_nodes(
        self, rng: np.random.Generator, type_: Type, *, min_height: int, max_height: int
    ) -> tuple[Node, ...]:
        """The nodes of a random expression inside the ending, as `random_program` draws it.

        Raises:
            ValueError: if no expression has such a height within the grammar's limits.
        """
        lowest, highest = max(min_height, 0), min(max_height, self._inner_height)
        heights = [h for h in self._heights(type_) if lowest <= h <= highest]
        if not heights:
            raise ValueError(
                f"No expression of type {type_} has a height of {lowest} to {highest} and at most {self._inner_size} "
                f"node(s) in primitive set {self.primitive_set.name!r}."
            )
        height = heights[below(rng, len(heights))]
        nodes: list[Node] = []
        self._grow(nodes, rng, type_, height, height, self._inner_size)
        return tuple(nodes)

    def random_constant(self, rng: np.random.Generator, level: Level) -> Constant:
        """A constant: standard normal, or log-uniform in magnitude with a random sign."""
        if rng.random() < NORMAL_SHARE:
            value = rng.standard_normal()
        else:
            low, high = map(math.log, CONSTANT_RANGE)
            value = math.exp(low + (high - low) * rng.random()) * (1 if rng.random() < 0.5 else -1)
        return Constant(rounded(value), level)

    def _grow(
        self, nodes: list[Node], rng: np.random.Generator, type_: Type, lowest: int, highest: int, budget: int
    ) -> None:
        """Append an expression of height `lowest` to `highest` and at most `budget` nodes; the caller knows one is."""
        choices = self._choices(type_, max(lowest, 0), highest, budget)
        category = bisect_right(choices.cumulative, rng.random() * choices.cumulative[-1])
        members = choices.members[category]
        member = members[below(rng, len(members))]
        if isinstance(member, Statistic):
            nodes.append(member)
            return
        production = member[below(rng, len(member))]
        nodes.append(production.operator)
        arguments = production.arguments
        least = [self._least(t, 0, highest - 1) for t in arguments]
        tall = _ANYWHERE
        if lowest > 1:
            spare = budget - 1 - sum(least)
            taller = [self._least(t, lowest - 1, highest - 1) for t in arguments]
            able = [i for i, (tall_, any_) in enumerate(zip(taller, least, strict=True)) if tall_ - any_ <= spare]
            tall = able[below(rng, len(able))]
            least[tall] = taller[tall]
        constant = self._constant_position(rng, production, tall)
        if constant is not None:
            least[constant] = 1
        left, reserved = budget - 1, sum(least)
        for position, argument in enumerate(arguments):
            reserved -= least[position]
            before = len(nodes)
            if position == constant:
                nodes.append(self.random_constant(rng, argument.level))
            else:
                need = lowest - 1 if position == tall else 0
                self._grow(nodes, rng, argument, need, highest - 1, int(left - reserved))
            left -= len(nodes) - before

    def _constant_position(self, rng: np.random.Generator, production: Production, tall: int) -> int | None:
        """Which argument is a constant: never all of them, never the one that must reach the height."""
        is_open = production.category is Category.ARITHMETIC and production.result.sort is Sort.SCALAR
        if not (self.primitive_set.constants and is_open) or rng.random() >= CONSTANT_SHARE:
            return None
        free = [i for i in range(len(production.arguments)) if i != tall]
        return free[below(rng, len(free))]

    def _choices(self, type_: Type, lowest: int, highest: int, budget: int) -> _Choices:
        key = (type_, lowest, highest, budget)
        if key not in self._choices_at:
            self._choices_at[key] = self._find_choices(*key)
        return self._choices_at[key]

    def _find_choices(self, type_: Type, lowest: int, highest: int, budget: int) -> _Choices:
        found: dict[Category, list[Statistic | tuple[Production, ...]]] = {}
        if lowest == 0 and type_ in self.leaves:
            is_aside = type_.sort is Sort.SCALAR and len(self.leaves) > 1
            category = Category.QUANTITY if is_aside else Category.LEAF
            found[category] = list(self.leaves[type_])
        fitting = (p for p in self._by_result[type_] if self._least_of(p, lowest, highest) <= budget)
        for _, group in itertools.groupby(fitting, key=lambda p: (p.category, p.operator)):
            productions = tuple(group)
            found.setdefault(productions[0].category, []).append(productions)
        weights = [CATEGORY_WEIGHTS[category] for category in found]
        return _Choices(tuple(itertools.accumulate(weights)), tuple(tuple(members) for members in found.values()))

    def _heights(self, type_: Type) -> tuple[int, ...]:
        if type_ not in self._heights_of:
            heights = range(self._inner_height + 1)
            self._heights_of[type_] = tuple(h for h in heights if self._least(type_, h, h) <= self._inner_size)
        return self._heights_of[type_]

    def _least(self, type_: Type, lowest: int, highest: int) -> float:
        """Fewest nodes of an expression without constants, of height `lowest` to `highest`; inf if there is none."""
        if highest < max(lowest, 0):
            return math.inf
        key = (type_, max(lowest, 0), highest)
        if key not in self._least_sizes:
            leaf = 1.0 if lowest <= 0 and type_ in self.leaves else math.inf
            found = (self._least_of(p, key[1], highest) for p in self._by_result.get(type_, ()))
            self._least_sizes[key] = min(leaf, min(found, default=math.inf))
        return self._least_sizes[key]

    def _least_of(self, production: Production, lowest: int, highest: int) -> float:
        """Fewest nodes of an expression with this production at its root."""
        sizes = [self._least(t, 0, highest - 1) for t in production.arguments]
        total = 1.0 + sum(sizes)
        if lowest <= 1 or total == math.inf:
            return total
        growth = (self._least(t, lowest - 1, highest - 1) - s for t, s in zip(production.arguments, sizes, strict=True))
        return total + min(growth)


def rounded(value: float) -> float:
    """`value` to `CONSTANT_DIGITS` significant digits, its magnitude within `CONSTANT_RANGE`."""
    low, high = CONSTANT_RANGE
    return math.copysign(float(f"{min(max(abs(value), low), high):.{CONSTANT_DIGITS}g}"), value)


def below(rng: np.random.Generator, n: int) -> int:
    """A uniform index below n; several times faster than `rng.integers` for a single draw."""
    return int(rng.random() * n)


def _leaves(primitive_set: PrimitiveSet, is_typed: bool) -> dict[Type, tuple[Statistic, ...]]:
    if not is_typed:
        return {DYNAMIC: primitive_set.statistics}
    types = dict.fromkeys(s.type for s in primitive_set.statistics)
    return {t: tuple(s for s in primitive_set.statistics if s.type == t) for t in types}


def _productions(primitive_set: PrimitiveSet, is_typed: bool) -> list[Production]:
    if is_typed:
        return [
            Production(operator, arguments, result, _category(operator, arguments, result))
            for operator in primitive_set.primitives
            for arguments, result in operator.signature.instances()
        ]
    layer_types = [t for t in TYPES if t.level is Level.LAYER]
    for operator in primitive_set.primitives:
        instances = dict(operator.signature.instances())
        for arguments in itertools.product(layer_types, repeat=operator.arity):
            if arguments not in instances or instances[arguments].level is not Level.LAYER:
                raise ValueError(
                    f"Operator {operator.name!r} of the untyped primitive set {primitive_set.name!r} must take any "
                    f"values of layers to a value of layers, but does not take ({', '.join(map(str, arguments))})."
                )
    return [Production(o, (DYNAMIC,) * o.arity, DYNAMIC, Category.UNTYPED) for o in primitive_set.primitives]


def _category(operator: Primitive, arguments: Sequence[Type], result: Type) -> Category:
    if operator.is_aggregation:
        return Category.AGGREGATION
    if all(argument == result for argument in arguments):
        return Category.MAP if len(arguments) == 1 else Category.ARITHMETIC
    if result.sort in _KERNELS:
        return Category.KERNEL
    return Category.KERNEL_READING if arguments[0].sort in _KERNELS else Category.REDUCTION


def _derivable(productions: Sequence[Production], leaves: Mapping[Type, object]) -> list[Production]:
    """The productions whose arguments all have expressions that end in statistics."""
    known = set(leaves)
    while True:
        usable = [p for p in productions if all(t in known for t in p.arguments)]
        grown = known | {p.result for p in usable}
        if grown == known:
            return usable
        known = grown


def _reachable(root: Type, productions: Sequence[Production]) -> set[Type]:
    """The types that can occur in an expression of type `root`."""
    reached = {root}
    while True:
        grown = reached | {t for p in productions if p.result in reached for t in p.arguments}
        if grown == reached:
            return reached
        reached = grown


def _shown(program: Program) -> str:
    return repr(program.text if len(program.text) <= 80 else program.text[:77] + "...")

"""Programs drawn at random: complete, within limits, from the whole vocabulary."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter

import numpy as np
import pytest

from eznas.errors import ProgramError
from eznas.evolution import Grammar
from eznas.evolution.grammar import CONSTANT_DIGITS, CONSTANT_RANGE, Category, rounded
from eznas.programs import Constant, Program, arity, parse
from eznas.randomness import stream
from primitives import (
    DYNAMIC,
    EXTENDED,
    INPUT_ACTIVATION,
    LAYER_KERNEL,
    METRICS,
    NETWORK_KERNEL,
    NETWORK_SCALAR,
    PAPER,
    TYPES,
    PrimitiveSet,
    Statistic,
    Type,
)
from primitives.elementwise import add

SETS = pytest.mark.parametrize("primitive_set", [EXTENDED, PAPER, METRICS], ids=lambda s: s.name)


def draw(grammar: Grammar, n: int, *, min_height: int = 0, max_height: int | None = None) -> list[Program]:
    rng = stream(3, "grammar", grammar.primitive_set.name)
    return [grammar.random_program(rng, min_height=min_height, max_height=max_height) for _ in range(n)]


@SETS
def test_programs_are_complete_and_keep_the_limits(primitive_set: PrimitiveSet) -> None:
    for max_size, max_height in itertools.product((3, 4, 5, 7, 12, 40), (2, 3, 4, 6, 12)):
        grammar = Grammar(primitive_set, max_size=max_size, max_height=max_height)
        for program in draw(grammar, 20):
            assert program.is_complete
            assert program.size <= max_size
            assert program.height <= max_height
            assert grammar.fits(program)


@SETS
def test_heights_are_drawn_uniformly_within_the_bounds(primitive_set: PrimitiveSet) -> None:
    grammar = Grammar(primitive_set, max_size=60, max_height=12)
    heights = [program.height for program in draw(grammar, 600, min_height=4, max_height=7)]
    counts = np.bincount(heights, minlength=8)
    assert counts.sum() == counts[4:8].sum()
    assert (counts[4:8] > 110).all(), counts  # 150 each are expected, with a standard deviation of 11


@SETS
def test_the_whole_vocabulary_is_used(primitive_set: PrimitiveSet) -> None:
    grammar = Grammar(primitive_set, max_size=40, max_height=10)
    used = {node.name for program in draw(grammar, 4000) for node in program.nodes}
    words = {operator.name for operator in primitive_set.primitives} | {s.name for s in primitive_set.statistics}
    assert words <= used, words - used


def test_a_set_of_quantities_alone_has_them_as_leaves_and_stops_growing() -> None:
    """As rare as quantities are beside layers, most branches would end where they have to."""
    grammar = Grammar(METRICS, max_size=60, max_height=8)
    sizes = [program.size for program in draw(grammar, 400, min_height=6, max_height=6)]
    assert 7 <= np.median(sizes) <= 13, np.median(sizes)


def test_no_category_is_drowned() -> None:
    grammar = Grammar(EXTENDED, max_size=40, max_height=8)
    programs = draw(grammar, 1000, min_height=3)
    by_name = {p.operator.name: p.category for p in grammar.productions if p.category is not Category.REDUCTION}
    found = Counter(by_name[node.name] for program in programs for node in program.nodes if node.name in by_name)
    for category in (Category.MAP, Category.ARITHMETIC, Category.KERNEL, Category.KERNEL_READING):
        assert found[category] > 100, found


@pytest.mark.parametrize("type_", [t for t in TYPES if t != DYNAMIC], ids=str)
def test_expressions_of_every_type(type_: Type) -> None:
    grammar = Grammar(EXTENDED, max_size=20, max_height=6)
    rng = stream(5, "types")
    assert all(grammar.random_program(rng, type_=type_).type == type_ for _ in range(30))


def test_least_heights() -> None:
    grammar = Grammar(EXTENDED, max_size=20, max_height=6)
    least = {t: grammar.least_height(t) for t in (NETWORK_SCALAR, INPUT_ACTIVATION, LAYER_KERNEL, NETWORK_KERNEL)}
    assert least == {NETWORK_SCALAR: 0, INPUT_ACTIVATION: 0, LAYER_KERNEL: 1, NETWORK_KERNEL: 2}
    with pytest.raises(ValueError, match="'extended' has no expression of type Dynamic@layer"):
        grammar.least_height(DYNAMIC)


def test_least_sizes_equal_enumeration() -> None:
    """Against every size that exists, built up height by height without any minimum."""
    grammar = Grammar(EXTENDED, max_size=12, max_height=4)
    sizes = {(t, 0): {1} if t in grammar.leaves else set() for t in grammar.types}  # of exactly this height
    for height in range(1, 5):
        for t in grammar.types:
            sizes[t, height] = set()
        for production in grammar.productions:
            for heights in itertools.product(range(height), repeat=len(production.arguments)):
                if max(heights) == height - 1:
                    parts = [sizes[pair] for pair in zip(production.arguments, heights, strict=True)]
                    totals = {1 + sum(combination) for combination in itertools.product(*parts)}
                    sizes[production.result, height] |= {s for s in totals if s <= 12}
    for t, low in itertools.product(grammar.types, range(5)):
        for high in range(low, 5):
            expected = min((s for h in range(low, high + 1) for s in sizes[t, h]), default=np.inf)
            assert grammar._least(t, low, high) == expected, (t, low, high)


def test_constants_never_stand_alone() -> None:
    grammar = Grammar(EXTENDED, max_size=40, max_height=8)
    n_constants = 0
    for program in draw(grammar, 2000):
        for index, node in enumerate(program.nodes):
            children = [program.nodes[c] for c in program.children(index)]
            assert not children or not all(isinstance(c, Constant) for c in children), program
            n_constants += isinstance(node, Constant)
    assert n_constants > 50


def test_constants_are_short_and_bounded() -> None:
    grammar = Grammar(EXTENDED, max_size=40, max_height=8)
    rng = stream(1, "constants")
    values = np.array([grammar.random_constant(rng, NETWORK_SCALAR.level).value for _ in range(2000)])
    assert all(v == float(f"{v:.{CONSTANT_DIGITS}g}") for v in values)
    assert CONSTANT_RANGE[0] <= np.abs(values).min() < 0.01
    assert 100 < np.abs(values).max() <= CONSTANT_RANGE[1]
    assert 0.4 < (values < 0).mean() < 0.6
    assert rounded(-1e9) == -1e3
    assert rounded(0.0) == 1e-3


def test_the_ending_of_the_paper() -> None:
    grammar = Grammar(PAPER, max_size=20, max_height=8)
    program = parse("(mean_layers (element_mean (abs weight)))")
    assert [node.name for node in grammar.inner(program)] == ["abs", "weight"]
    assert grammar.complete(grammar.inner(program)) == program
    for text in ("(sum_layers (element_mean weight))", "(mean_layers (mean weight))", "(element_mean weight)"):
        with pytest.raises(ProgramError, match="must give mean_layers element_mean, got"):
            grammar.inner(parse(text))
    with pytest.raises(ProgramError, match="must give one number per network"):
        Grammar(EXTENDED, max_size=20, max_height=8).inner(parse("(mean weight)"))


def test_the_same_stream_gives_the_same_programs() -> None:
    grammar = Grammar(EXTENDED, max_size=40, max_height=8)
    assert draw(grammar, 50) == draw(Grammar(EXTENDED, max_size=40, max_height=8), 50)


def test_impossible_limits_are_refused() -> None:
    with pytest.raises(ValueError, match="max_size=0 and max_height=3"):
        Grammar(EXTENDED, max_size=0, max_height=3)
    with pytest.raises(ValueError, match="No program of primitive set 'paper' has at most 2 node"):
        Grammar(PAPER, max_size=2, max_height=5)
    without_quantities = dataclasses.replace(EXTENDED, statistics=EXTENDED.statistics[:22])
    with pytest.raises(ValueError, match="No program of primitive set 'extended' has at most 9 node"):
        Grammar(without_quantities, max_size=9, max_height=1)
    with pytest.raises(ValueError, match="has a height of 5 to 3"):
        Grammar(EXTENDED, max_size=9, max_height=6).random_program(stream(1), min_height=5, max_height=3)


def test_an_untyped_set_must_take_anything() -> None:
    picky = PrimitiveSet("picky", (add,), PAPER.statistics, False, PAPER.ending)
    with pytest.raises(ValueError, match="Operator 'add' of the untyped primitive set 'picky' must take any"):
        Grammar(picky, max_size=9, max_height=5)


def test_words_that_no_program_can_use_are_left_out() -> None:
    """Without activations there are no sample kernels, at any level."""
    weights_only: tuple[Statistic, ...] = tuple(s for s in EXTENDED.statistics if s.name.startswith("weight"))
    grammar = Grammar(dataclasses.replace(EXTENDED, statistics=weights_only), max_size=30, max_height=8)
    assert LAYER_KERNEL not in grammar.types
    assert NETWORK_KERNEL not in grammar.types
    assert all(t in grammar.types for p in grammar.productions for t in (*p.arguments, p.result))
    leaves = {n.name for program in draw(grammar, 200) for n in program.nodes if not arity(n)}
    assert {name for name in leaves if not name[-1].isdigit() and "@" not in name} == {s.name for s in weights_only}

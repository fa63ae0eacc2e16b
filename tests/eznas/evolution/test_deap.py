"""DEAP behind its wall: trees and back, what each operator does, and no trace left outside."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

import eznas
from eznas.errors import ProgramError
from eznas.evolution import Grammar
from eznas.evolution._deap import Trees, seeded_randomness
from eznas.programs import Constant, Node, Program, parse
from eznas.randomness import stream
from primitives import EXTENDED, PAPER, PrimitiveSet

Nodes = Sequence[Node]
SETS = pytest.mark.parametrize("primitive_set", [EXTENDED, PAPER], ids=lambda s: s.name)
MUTATIONS = ("subtree", "point", "insert", "shrink", "constant")


def grammar_of(primitive_set: PrimitiveSet) -> Grammar:
    return Grammar(primitive_set, max_size=40, max_height=10)


def changes(primitive_set: PrimitiveSet, operator: str, n: int = 150) -> Iterator[tuple[Program, Program]]:
    """Programs and what an operator makes of them."""
    grammar = grammar_of(primitive_set)
    trees = Trees(grammar)
    rng = stream(11, operator, primitive_set.name)
    change: Callable[[Nodes, np.random.Generator], Nodes] = getattr(trees, operator)
    for _ in range(n):
        program = grammar.random_program(rng, min_height=3, max_height=7)
        with seeded_randomness(rng):
            yield program, grammar.complete(change(grammar.inner(program), rng))


def n_equal_ends(a: Nodes, b: Nodes) -> tuple[int, int]:
    """Lengths of the common beginning and of the common end of what remains."""
    n_front = n_equal(a, b)
    return n_front, n_equal(a[n_front:][::-1], b[n_front:][::-1])


def n_equal(a: Nodes, b: Nodes) -> int:
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


@SETS
def test_a_tree_is_its_program(primitive_set: PrimitiveSet) -> None:
    grammar = grammar_of(primitive_set)
    trees, rng = Trees(grammar), stream(2, "round trip")
    for _ in range(300):
        nodes = grammar.inner(grammar.random_program(rng))
        assert trees._flat(trees._tree(nodes), rng) == nodes


@SETS
@pytest.mark.parametrize("operator", MUTATIONS)
def test_mutants_are_complete_programs(primitive_set: PrimitiveSet, operator: str) -> None:
    changed = [program != mutant for program, mutant in changes(primitive_set, operator)]  # `Program` checks types
    if operator != "constant":
        assert sum(changed) > len(changed) / 2


@SETS
def test_point_changes_one_node(primitive_set: PrimitiveSet) -> None:
    positions = set()
    for program, mutant in changes(primitive_set, "point", 400):
        differing = [i for i, (a, b) in enumerate(zip(program.nodes, mutant.nodes, strict=True)) if a != b]
        assert len(differing) <= 1
        positions.update(differing)
    assert len(primitive_set.ending) in positions, "the root is a node too"


@SETS
def test_insert_keeps_every_node_and_adds_one_above(primitive_set: PrimitiveSet) -> None:
    n_binary = 0
    for program, mutant in changes(primitive_set, "insert"):
        assert not Counter(program.nodes) - Counter(mutant.nodes)
        assert mutant.size > program.size
        n_binary += mutant.size > program.size + 1
    assert n_binary > 10


@SETS
def test_shrink_takes_a_part_out(primitive_set: PrimitiveSet) -> None:
    for program, mutant in changes(primitive_set, "shrink"):
        assert mutant == program or mutant.size < program.size
        assert not Counter(mutant.nodes) - Counter(program.nodes)


@SETS
def test_subtree_changes_one_place(primitive_set: PrimitiveSet) -> None:
    for program, mutant in changes(primitive_set, "subtree"):
        n_front, n_back = n_equal_ends(program.nodes, mutant.nodes)
        inside = range(n_front, program.size - n_back)
        assert any(
            start <= n_front and program.spans[start] >= program.size - n_back for start in range(program.size)
        ), (inside, program, mutant)


def test_constants_move_a_little() -> None:
    trees, rng = Trees(grammar_of(EXTENDED)), stream(4, "constants")
    program = parse("(add (multiply mac_count 2.0) (sum_layers (maximum (mean weight) -0.5@layer)))")
    factors = []
    for _ in range(400):
        mutant = Program(trees.constant(program.nodes, rng))
        for old, new in zip(program.nodes, mutant.nodes, strict=True):
            if old != new:
                assert isinstance(old, Constant)
                assert isinstance(new, Constant)
                assert old.level is new.level
                factors.append(new.value / old.value)
    assert 350 < len(factors) <= 400
    logs = np.log(np.abs(factors))
    assert abs(logs.mean()) < 0.1
    assert 0.4 < logs.std() < 0.6
    assert 0.05 < np.mean(np.array(factors) < 0) < 0.16
    without = parse("(mean_layers (mean weight))").nodes
    assert trees.constant(without, rng) == without


@SETS
def test_crossover_exchanges_equal_types(primitive_set: PrimitiveSet) -> None:
    grammar = grammar_of(primitive_set)
    trees, rng = Trees(grammar), stream(6, "crossover")
    n_new = 0
    for _ in range(200):
        first, second = (grammar.random_program(rng, min_height=3, max_height=6) for _ in range(2))
        with seeded_randomness(rng):
            child = grammar.complete(trees.crossover(grammar.inner(first), grammar.inner(second), rng))
        assert not Counter(child.nodes) - (Counter(first.nodes) + Counter(second.nodes))
        assert child.nodes[0] == first.nodes[0]
        n_new += child not in (first, second)
    assert n_new > 100


def test_a_foreign_word_is_named() -> None:
    trees, rng = Trees(grammar_of(PAPER)), stream(1)
    with pytest.raises(ProgramError, match="'mean' is no word of primitive set 'paper' in this place"):
        trees.point(parse("(mean weight)").nodes, rng)
    with pytest.raises(ProgramError, match=r"'0\.5@layer' is no word of primitive set 'paper'"):
        trees.point(parse("0.5@layer").nodes, rng)
    with pytest.raises(ProgramError, match="'element_norm' is no word of primitive set 'extended'"):
        Trees(grammar_of(EXTENDED)).point(parse("(mean_layers (element_norm weight))").nodes, rng)


def test_python_randomness_is_left_alone() -> None:
    random.seed(5)
    expected = [random.random() for _ in range(3)]
    random.seed(5)
    drawn = [random.random()]
    with seeded_randomness(stream(1)):
        inside = random.random()
    drawn.append(random.random())
    with contextlib.suppress(KeyError), seeded_randomness(stream(1)):
        assert random.random() == inside
        raise KeyError
    drawn.append(random.random())
    assert drawn == expected


def test_deap_is_imported_in_one_file() -> None:
    root = Path(eznas.__file__).parent
    words = ("import deap", "from deap")
    importing = [
        path for path in root.rglob("*.py") if any(li.strip().startswith(words) for li in path.read_text().splitlines())
    ]
    assert [path.relative_to(root).as_posix() for path in importing] == ["evolution/_deap.py"]

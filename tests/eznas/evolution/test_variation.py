"""New programs: distinct, within limits, sensible, and the same for the same seed in every process."""

from __future__ import annotations

import inspect
import os
import random
import subprocess
import sys
from collections import Counter

import pytest

from eznas.errors import ProgramError
from eznas.evolution import Grammar, Offspring, Variation
from eznas.evolution.variation import MUTATION_WEIGHTS, _is_sensible
from eznas.programs import Constant, Program, parse
from eznas.randomness import stream
from primitives import EXTENDED, PAPER, PrimitiveSet, Statistic
from primitives.elementwise import add
from primitives.paper import broadcast_add
from tests.eznas.calls import n_calls

SETS = pytest.mark.parametrize("primitive_set", [EXTENDED, PAPER], ids=lambda s: s.name)


def variation_of(primitive_set: PrimitiveSet = EXTENDED, **settings: object) -> Variation:
    return Variation(Grammar(primitive_set, max_size=20, max_height=8), **settings)  # type: ignore[arg-type]


def programs(offspring: list[Offspring]) -> list[Program]:
    return [one.program for one in offspring]


@SETS
def test_generations_hold_new_sensible_programs(primitive_set: PrimitiveSet) -> None:
    variation = variation_of(primitive_set)
    rng = stream(1, "variation", primitive_set.name)
    population = variation.initial(60, rng)
    seen: set[str] = set()
    for generation in range(6):
        assert len(population) == 60
        digests = [program.digest for program in programs(population)]
        assert len(set(digests)) == 60
        assert not seen & set(digests)
        for program in programs(population):
            assert program.is_complete
            assert program.size <= 20
            assert program.height <= 8
            assert program.statistics
            for index in range(program.size):
                children = [program.nodes[c] for c in program.children(index)]
                assert not children or not all(isinstance(c, Constant) for c in children), program
        known = set(digests)
        seen |= known
        population, n_duplicates = variation.offspring(programs(population), 60, rng, seen)
        assert all(set(one.parents) <= known for one in population), generation
        assert n_duplicates >= 0


def test_initial_programs_come_from_nothing() -> None:
    assert {(o.operator, o.parents) for o in variation_of().initial(40, stream(1))} == {("random", ())}


def test_every_operator_contributes() -> None:
    variation = variation_of()
    pool = programs(variation.initial(100, stream(1)))
    assert any(isinstance(node, Constant) for program in pool for node in program.nodes)
    offspring, _ = variation.offspring(pool, 600, stream(2), immigrants=0.1)
    counts = Counter(o.operator for o in offspring)
    assert set(counts) == {"crossover", "random", *MUTATION_WEIGHTS}
    assert 60 <= counts["random"] <= 70
    n_parents = {o.operator: len(o.parents) for o in offspring}
    assert n_parents == {"crossover": 2, "random": 0} | dict.fromkeys(MUTATION_WEIGHTS, 1)


def test_settings_choose_the_operators() -> None:
    pool = programs(variation_of().initial(50, stream(1)))
    for settings, expected in (
        ({"crossover": 1.0, "mutation": 0.0}, {"crossover"}),
        ({"crossover": 0.0, "mutation": 0.1}, {"subtree", "point", "insert", "shrink"}),
        ({"crossover": 0.0, "mutations": {"point": 1.0}}, {"point"}),
    ):
        offspring, _ = variation_of(**settings).offspring(pool, 150, stream(2))  # type: ignore[arg-type]
        assert {o.operator for o in offspring} - {"random", "constant"} == expected
    everyone, _ = variation_of().offspring(pool, 30, stream(2), immigrants=1.0)
    assert {o.operator for o in everyone} == {"random"}


def test_constants_mutate_only_where_there_are_some() -> None:
    variation = variation_of(crossover=0.0, mutations={"constant": 1e9, "point": 1.0})
    with_constant = parse("(multiply (mean_layers (mean weight)) 2.0)")
    offspring, _ = variation.offspring([with_constant], 20, stream(1))
    assert {o.operator for o in offspring} == {"constant"}
    offspring, _ = variation.offspring([parse("(mean_layers (mean weight))")], 20, stream(1))
    assert "point" in {o.operator for o in offspring}
    assert "constant" not in {o.operator for o in offspring}


@pytest.mark.parametrize(
    ("text", "is_sensible"),
    [
        ("0.5", False),
        ("(log 0.5)", False),
        ("(sum_layers 0.5@layer)", False),
        ("(add (multiply 2.0 3.0) mac_count)", False),
        ("(add 3.0 (mean_layers (exp 0.1@layer)))", False),
        ("mac_count", True),
        ("(add 3.0 (add mac_count 2.0))", True),
        ("(mean_layers (multiply 2.0@layer (mean weight)))", True),
    ],
)
def test_programs_that_compute_on_constants_alone_are_not_sensible(text: str, is_sensible: bool) -> None:
    assert _is_sensible(parse(text).nodes) is is_sensible


def test_seen_programs_and_parents_are_not_proposed_again() -> None:
    variation = variation_of()
    pool = programs(variation.initial(20, stream(1)))
    first, n_before = variation.offspring(pool, 50, stream(2))
    again, n_again = variation.offspring(pool, 50, stream(2), seen={p.digest for p in programs(first)})
    excluded = {p.digest for p in (*pool, *programs(first))}
    assert not excluded & {p.digest for p in programs(again)}
    assert n_again > n_before, "the same draws meet the same programs again"


def test_commuted_arguments_are_no_novelty() -> None:
    """A language of one operator and two statistics, within height 3: two leaves and three sums, whatever the order."""
    tiny = PrimitiveSet("tiny", (broadcast_add,), PAPER.statistics[:2], False, PAPER.ending)
    variation = Variation(Grammar(tiny, max_size=9, max_height=3))
    found = variation.initial(50, stream(1))
    assert len(found) == 5
    offspring, n_duplicates = variation.offspring(programs(found)[:2], 50, stream(1))
    assert len(offspring) == 3
    assert n_duplicates > 0
    assert variation.offspring(programs(found), 50, stream(1))[0] == []


def test_a_language_without_kernels_or_constants() -> None:
    quantities: tuple[Statistic, ...] = EXTENDED.statistics[-3:]
    counting = PrimitiveSet("counting", (add,), quantities, False, ())
    offspring, _ = Variation(Grammar(counting, max_size=9, max_height=4)).offspring([parse("mac_count")], 20, stream(1))
    assert len(offspring) == 20


@SETS
def test_the_same_stream_gives_the_same_offspring(primitive_set: PrimitiveSet) -> None:
    def run() -> list[Offspring]:
        variation = variation_of(primitive_set)
        pool = programs(variation.initial(30, stream(9, "initial")))
        return variation.offspring(pool, 60, stream(9, "variation", 1))[0]

    first = run()
    random.seed(1)
    state = random.getstate()
    assert run() == first
    assert random.getstate() == state


def listing(n_ballast: int) -> str:
    """Offspring of a fixed seed, after filling the heap with classes."""
    ballast = [type(f"Ballast{i}", (), {}) for i in range(n_ballast)]
    variation = Variation(Grammar(EXTENDED, max_size=25, max_height=9))
    pool = [one.program for one in variation.initial(40, stream(1, "initial"))]
    offspring = variation.offspring(pool, 120, stream(1, "variation"))[0]
    del ballast
    return "\n".join(f"{one.operator} {one.parents} {one.program}" for one in offspring)


def test_processes_with_other_hashes_and_heaps_agree() -> None:
    imports = (
        "from eznas.evolution import Grammar, Variation\n"
        "from eznas.randomness import stream\n"
        "from primitives import EXTENDED\n"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", f"{imports}{inspect.getsource(listing)}print(listing(777))"],
        env=os.environ | {"PYTHONHASHSEED": "12345"},
        capture_output=True,
        check=True,
        text=True,
    )
    here = listing(0)
    assert elsewhere.stdout.strip() == here
    assert len(here.splitlines()) == 120


@pytest.mark.parametrize(("max_size", "max_height"), [(1, 0), (2, 1), (3, 8), (20, 2), (60, 12)])
def test_heights_of_newcomers_are_trimmed_to_the_limits(max_size: int, max_height: int) -> None:
    variation = Variation(Grammar(EXTENDED, max_size=max_size, max_height=max_height), initial_height=(4, 5))
    heights = {program.height for program in programs(variation.initial(30, stream(1)))}
    assert heights <= ({4, 5} if max_size == 60 else {min(max_height, max_size - 1)}), heights
    assert heights


def test_the_work_grows_with_the_offspring_and_no_faster() -> None:
    variation = variation_of()
    pool = programs(variation.initial(100, stream(1)))
    half, whole = (n_calls(lambda n=n: variation.offspring(pool, n, stream(2))) for n in (400, 800))
    assert whole < 2.5 * half


def test_misuse_is_explained() -> None:
    variation = variation_of()
    with pytest.raises(ValueError, match="at least one parent, got none"):
        variation.offspring([], 3, stream(1))
    with pytest.raises(ValueError, match=r"must be in \[0, 1\], got 1.5"):
        variation.offspring([parse("mac_count")], 3, stream(1), immigrants=1.5)
    with pytest.raises(ValueError, match="at least 0, not all 0, got crossover=-1"):
        variation_of(crossover=-1.0)
    with pytest.raises(ValueError, match="not all 0"):
        variation_of(crossover=0.0, mutation=0.0)
    with pytest.raises(ValueError, match="Mutations must be among"):
        variation_of(mutations={"hoist": 1.0})
    with pytest.raises(ValueError, match="other than 'constant'"):
        variation_of(mutations={"constant": 1.0})
    with pytest.raises(ValueError, match=r"must be a range from 0, got 5 to 3"):
        variation_of(initial_height=(5, 3))
    with pytest.raises(ProgramError, match="must give one number per network"):
        variation.offspring([parse("(mean weight)")], 3, stream(1))
    with pytest.raises(ProgramError, match="'element_mean' is no word of primitive set 'extended'"):
        variation.offspring([parse("(mean_layers (element_mean weight))")], 3, stream(1))


def test_what_is_not_sensible_is_not_proposed() -> None:
    """Shrinking this program gives its mean or the number 2.0, which is no proxy."""
    variation = variation_of(crossover=0.0, mutations={"shrink": 1.0})
    offspring, _ = variation.offspring([parse("(multiply (mean_layers (mean weight)) 2.0)")], 20, stream(1))
    assert [one.program.text for one in offspring if one.operator == "shrink"] == ["(mean_layers (mean weight))"]

"""Programs as values: validation, shape of the tree, equality up to commuting, the one traversal."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eznas.errors import ProgramError
from eznas.programs import MAX_HEIGHT, MAX_SIZE, Constant, Node, Program, arity, fold, parse
from primitives import EXTENDED, NETWORK_SCALAR, PAPER, PRIMITIVES, STATISTICS, WEIGHT, Level, Primitive
from tests.strategies import any_programs, random_programs

ABS, ADD, MEAN, MEAN_LAYERS, MATMUL = (PRIMITIVES[n] for n in ("abs", "add", "mean", "mean_layers", "matmul"))
W, INPUT, OUTPUT = (STATISTICS[n] for n in ("weight", "activation_input.data", "activation_output.data"))


def test_random_programs_are_complete_distinct_and_reproducible() -> None:
    for primitive_set in (PAPER, EXTENDED):
        found = random_programs(primitive_set, 0, 200)
        assert all(p.is_complete for p in found)
        assert [p.text for p in found] == [p.text for p in random_programs(primitive_set, 0, 200)]
        assert len({p.digest for p in found}) > 140
        used = {n.name for p in random_programs(primitive_set, 1, 600) for n in p.nodes if isinstance(n, Primitive)}
        assert used == {p.name for p in (*primitive_set.primitives, *primitive_set.ending)}


def test_knows_its_parts() -> None:
    program = parse("(mean_layers (mean (add weight (abs weight_grad.noise))))")
    assert (program.size, len(program), program.height) == (6, 6, 4)
    assert program.type == NETWORK_SCALAR
    assert program.is_complete
    assert program.types[2] == WEIGHT
    assert program.statistics == ("weight", "weight_grad.noise")
    assert program.spans == (6, 6, 6, 4, 6, 6)
    assert program.children(2) == (3, 4)
    assert program.children(3) == ()
    assert program.subprogram(4).text == "(abs weight_grad.noise)" == str(program.subprogram(4))
    assert not program.subprogram(2).is_complete


@settings(max_examples=60, deadline=None)
@given(program=any_programs())
def test_children_and_spans_partition_every_sub_tree(program: Program) -> None:
    for index, node in enumerate(program.nodes):
        children = program.children(index)
        assert len(children) == arity(node)
        part = program.subprogram(index)
        assert part.size == 1 + sum(program.subprogram(c).size for c in children)
        assert part.height == (1 + max(program.subprogram(c).height for c in children) if children else 0)
        assert part.type == program.types[index]


@settings(max_examples=60, deadline=None)
@given(program=any_programs())
def test_fold_rebuilds_and_measures(program: Program) -> None:
    rebuilt = fold(program, leaf=lambda n: (n,), branch=lambda op, args: (op, *(n for a in args for n in a)))
    assert rebuilt == program.nodes
    assert fold(program, leaf=lambda n: 1, branch=lambda op, args: 1 + sum(args)) == program.size
    assert fold(program, leaf=lambda n: 0, branch=lambda op, args: 1 + max(args)) == program.height


def swapped(program: Program, choices: list[bool]) -> Program:
    """The same program with the arguments of some commutative operators exchanged."""
    remaining = iter(choices)

    def branch(operator: Primitive, arguments: tuple[tuple[Node, ...], ...]) -> tuple[Node, ...]:
        if operator.commutative and next(remaining, True):
            arguments = arguments[::-1]
        return (operator, *(n for a in arguments for n in a))

    return Program(fold(program, leaf=lambda n: (n,), branch=branch))


@settings(max_examples=80, deadline=None)
@given(program=any_programs(), choices=st.lists(st.booleans(), max_size=20))
def test_digest_and_canonical_form_do_not_see_commuting(program: Program, choices: list[bool]) -> None:
    other = swapped(program, choices)
    assert other.digest == program.digest
    assert other.canonical == program.canonical == program.canonical.canonical
    assert program.canonical.size == program.size


def test_digest_sees_everything_else() -> None:
    texts = [
        "(mean_layers (mean (subtract weight weight_grad.data)))",
        "(mean_layers (mean (subtract weight_grad.data weight)))",
        "(mean_layers (mean (add weight weight_grad.data)))",
        "(sum_layers (mean (add weight weight_grad.data)))",
        "(multiply 2.0 parameter_count)",
        "(multiply 2.5 parameter_count)",
    ]
    assert len({parse(t).digest for t in texts}) == len(texts)
    assert parse(texts[0]).digest == "4bebedf969b1c5af", "stored runs refer to programs by digest: it must not change"


def test_equal_nodes_make_equal_hashable_programs() -> None:
    text = "(mean_layers (mean (abs weight)))"
    assert parse(text) == parse(text)
    assert len({parse(text), parse(text)}) == 1
    assert parse(text) != parse("(mean_layers (mean (square weight)))")


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((), "A program is one expression, got 0"),
        ((W, W), "A program is one expression, got 2; put them under one operator"),
        ((ADD, W), r"Node 0 \('add'\) takes 2 argument\(s\), got 1"),
        (
            (MEAN, ADD, INPUT, OUTPUT),
            "Ill-typed program at node 1: argument 2 of 'add' must be InputActivation@layer, ",
        ),
        ((MEAN_LAYERS, W), "Ill-typed program at node 0: argument 1 of 'mean_layers' must be SampleKernel@layer or "),
        ((ADD, MATMUL, W, W, MATMUL, W, W), "argument 1 of 'add' must be .*, got Dynamic@layer"),
    ],
)
def test_refuses_what_is_no_program(nodes: tuple[Node, ...], message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        Program(nodes)


def test_refuses_what_is_too_large_or_too_high() -> None:
    assert Program((*[ABS] * MAX_HEIGHT, W)).height == MAX_HEIGHT
    with pytest.raises(
        ProgramError, match=f"at most {MAX_HEIGHT} levels high, got {MAX_HEIGHT + 1}; use a flatter one"
    ):
        Program((*[ABS] * (MAX_HEIGHT + 1), W))
    with pytest.raises(ProgramError, match=f"at most {MAX_SIZE} nodes, got {MAX_SIZE + 1}; use a smaller one"):
        Program((*[ABS] * MAX_SIZE, W))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_constants_are_finite(value: float) -> None:
    with pytest.raises(ProgramError, match=r"A constant must be finite, got .*; programs hold no nan or inf"):
        Constant(value, Level.NETWORK)

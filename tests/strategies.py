"""Random programs for tests: seeded generators, and hypothesis strategies on top of them."""

from __future__ import annotations

import functools

import numpy as np
from hypothesis import strategies as st

from eznas.programs import Constant, Node, Program
from eznas.randomness import stream
from primitives import (
    EXTENDED,
    GENERAL,
    GRAPH,
    LABELLED,
    LAYER_SCALAR,
    NETWORK_SCALAR,
    PAPER,
    PRIMITIVE_SETS,
    Level,
    Primitive,
    PrimitiveSet,
    Type,
)

UNREACHABLE = 10**6
SHARE_OF_LEAVES = 0.25
SHARE_OF_CONSTANTS = 0.3


def random_programs(primitive_set: PrimitiveSet, seed: int, n: int, *, max_height: int = 7) -> list[Program]:
    """`n` complete programs of a primitive set, the same for the same seed; some may be equal."""
    return [_random_program(primitive_set, stream(seed, "programs", i), max_height) for i in range(n)]


def programs(primitive_set: PrimitiveSet = EXTENDED, *, max_height: int = 7) -> st.SearchStrategy[Program]:
    """Hypothesis strategy of complete programs; an example is replayed from its seed."""
    return st.integers(0, 2**32 - 1).map(lambda seed: random_programs(primitive_set, seed, 1, max_height=max_height)[0])


def any_programs() -> st.SearchStrategy[Program]:
    """Complete programs of any primitive set."""
    return programs(EXTENDED) | programs(PAPER) | programs(LABELLED) | programs(GRAPH) | programs(GENERAL)


def _random_program(primitive_set: PrimitiveSet, rng: np.random.Generator, max_height: int) -> Program:
    height = int(rng.integers(3, max_height + 1))
    if primitive_set.ending:
        nodes = _untyped(primitive_set, height - len(primitive_set.ending), rng)
        return Program((*reversed(primitive_set.ending), *nodes))
    return Program(_typed(primitive_set, NETWORK_SCALAR, height, rng))


def _untyped(primitive_set: PrimitiveSet, height: int, rng: np.random.Generator) -> tuple[Node, ...]:
    if height <= 0 or rng.random() < SHARE_OF_LEAVES:
        return (primitive_set.statistics[rng.integers(len(primitive_set.statistics))],)
    operator = primitive_set.primitives[rng.integers(len(primitive_set.primitives))]
    arguments = (_untyped(primitive_set, height - 1, rng) for _ in range(operator.arity))
    return (operator, *(node for argument in arguments for node in argument))


def _typed(primitive_set: PrimitiveSet, type_: Type, height: int, rng: np.random.Generator) -> tuple[Node, ...]:
    leaves = [s for s in primitive_set.statistics if s.type == type_]
    makers = [(op, inputs) for op, inputs, least in _makers(primitive_set.name)[type_] if least <= height]
    if not makers or (leaves and rng.random() < SHARE_OF_LEAVES):
        if type_ in (LAYER_SCALAR, NETWORK_SCALAR) and (not leaves or rng.random() < SHARE_OF_CONSTANTS):
            level = Level.LAYER if type_ == LAYER_SCALAR else Level.NETWORK
            return (Constant(round(float(rng.normal()), 3), level),)
        return (leaves[rng.integers(len(leaves))],)
    names = sorted({operator.name for operator, _ in makers})
    name = names[rng.integers(len(names))]
    chosen = [(operator, inputs) for operator, inputs in makers if operator.name == name]
    maker: Primitive
    maker, inputs = chosen[rng.integers(len(chosen))]
    return (maker, *(node for i in inputs for node in _typed(primitive_set, i, height - 1, rng)))


@functools.cache
def _makers(name: str) -> dict[Type, list[tuple[Primitive, tuple[Type, ...], int]]]:
    """For each type of a primitive set, what makes it: operator, argument types, least height of the result."""
    primitive_set = PRIMITIVE_SETS[name]
    instances = [(p, *instance) for p in primitive_set.primitives for instance in p.signature.instances()]
    heights = dict.fromkeys((t for _, inputs, output in instances for t in (*inputs, output)), UNREACHABLE)
    heights.update({s.type: 0 for s in primitive_set.statistics})
    if primitive_set.constants:
        heights[LAYER_SCALAR] = 0
    for _ in heights:
        for _, inputs, output in instances:
            heights[output] = min(heights[output], 1 + max(heights[i] for i in inputs))
    makers: dict[Type, list[tuple[Primitive, tuple[Type, ...], int]]] = {type_: [] for type_ in heights}
    for operator, inputs, output in instances:
        least = 1 + max(heights[i] for i in inputs)
        if least < UNREACHABLE:
            makers[output].append((operator, inputs, least))
    return makers

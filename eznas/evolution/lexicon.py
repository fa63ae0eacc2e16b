"""The lexicon: the short words of a language, listed instead of drawn.

A word is one number of a layer under an aggregation over layers. What is listed follows from the declarations of the
operators alone: every reduction of every statistic, every reading of every kernel of it, angles and products of two
statistics of one quantity, numbers of the graph, each as it is or through a logarithm.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from eznas.programs import Node, Program
from primitives import (
    CHANNEL_KERNEL,
    LAYER_KERNEL,
    LAYER_SCALAR,
    PRIMITIVES,
    Level,
    Primitive,
    PrimitiveSet,
    Sort,
    Type,
)
from primitives.types import LanguageTypeError

Nodes = tuple[Node, ...]
DEAR: Final = 20.0
"""Passes from which on a reading is dear; of kernels between channels, which are large, only cheap ones are listed."""
_SKIPPED: Final = frozenset({"log_sum_layers"})
"""Aggregations that are others of a logarithm."""


def layer_numbers(primitive_set: PrimitiveSet) -> list[Nodes]:
    """Expressions of one number per layer, in a fixed order."""
    unary = [p for p in primitive_set.primitives if p.arity == 1 and not p.is_aggregation]
    binary = [p for p in primitive_set.primitives if p.arity == 2 and p.commutative]
    statistics = [s for s in primitive_set.statistics if s.type.level is Level.LAYER]
    reductions = [p for p in unary if p.passes > 0 or p.name == "numel"]
    found: dict[Nodes, None] = {}
    for statistic in statistics:
        if statistic.type == LAYER_SCALAR:
            found[(statistic,)] = None
            continue
        for operator in reductions:
            if _result(operator, statistic.type) == LAYER_SCALAR:
                found[operator, statistic] = None
        for kernel in unary:
            made = _result(kernel, statistic.type)
            if made not in (LAYER_KERNEL, CHANNEL_KERNEL) or statistic.type in (LAYER_KERNEL, CHANNEL_KERNEL):
                continue
            for reading in unary:
                is_dear = made == CHANNEL_KERNEL and reading.passes >= DEAR and reading.name != "spectral_entropy"
                if _result(reading, made) == LAYER_SCALAR and not is_dear and _result(reading, statistic.type) is None:
                    found[reading, kernel, statistic] = None
    total = PRIMITIVES["sum"]
    for one, other in itertools.combinations(statistics, 2):
        if one.quantity.name != other.quantity.name or one.type == LAYER_SCALAR:
            continue
        for operator in binary:
            result = _result(operator, one.type, other.type)
            if result == LAYER_SCALAR:
                found[operator, one, other] = None
            elif operator.name == "multiply" and one.is_gradient != other.is_gradient:
                found[total, operator, one, other] = None
                found[PRIMITIVES["mean_abs"], operator, one, other] = None
    return list(found)


def words(primitive_set: PrimitiveSet) -> Iterator[Program]:
    """Complete programs: every aggregation of every number of a layer, as it is and through a logarithm."""
    aggregations = [p for p in primitive_set.primitives if p.is_aggregation and p.name not in _SKIPPED]
    log = PRIMITIVES["log"]
    weights: list[Nodes] = [
        (PRIMITIVES["numel"], s)
        for s in primitive_set.statistics
        if s.name in ("weight", "activation_output.data") and "numel" in {p.name for p in primitive_set.primitives}
    ]
    for number in layer_numbers(primitive_set):
        for aggregation in aggregations:
            if _result(aggregation, *[LAYER_SCALAR] * aggregation.arity) is None:
                continue
            for inner in (number, (log, *number)):
                if aggregation.arity == 1:
                    yield Program((aggregation, *inner))
                    continue
                for weight in weights:
                    yield Program((aggregation, *inner, *weight))
    for statistic in primitive_set.statistics:
        if statistic.type.level is Level.NETWORK and statistic.type.sort is Sort.SCALAR:
            yield Program((statistic,))


@lru_cache(maxsize=4)
def lexicon(primitive_set: PrimitiveSet) -> tuple[str, ...]:
    """The words in their canonical form, each once; listed once in a process, which takes seconds for a large set."""
    return tuple(dict.fromkeys(word.canonical.text for word in words(primitive_set)))


def _result(operator: Primitive, *arguments: Type) -> Type | None:
    try:
        return operator.signature.resolve(arguments, name=operator.name)
    except LanguageTypeError:
        return None

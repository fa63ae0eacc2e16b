"""The definition of what a program means: one program, one network, a plain loop over its layers.

Slow and obvious. The fast evaluation in `plan` and `execute` must give the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from eznas.errors import ProgramError, UnfitError
from eznas.programs import Constant, FailureKind, Invalid, Node, Program, arity
from eznas.statistics import NetworkStatistics
from primitives import Layers, Level, Primitive, Statistic

Value = list[Tensor] | Tensor
"""One (1, ...) tensor per layer, or one (1, ...) float64 tensor for the network."""
FAILURES = (RuntimeError, ValueError, IndexError)
"""What an operator raises on values it is not defined for; torch reports a missing axis as an `IndexError`."""


def evaluate(program: Program, statistics: NetworkStatistics) -> float | Invalid:
    """Score of one network.

    Args:
        program: complete, that is, a network-level scalar.
        statistics: what the network showed; must hold every statistic the program reads.

    Returns:
        The score in double precision, or `Invalid` with the node at fault: the one that raised, or the one that made
        the non-finite value that reached the root out of finite ones. A program fails where a published estimator that
        it reads has no finite score, whatever it makes of that.

    Raises:
        ProgramError: if the program is not complete, or reads a statistic that was not captured.
    """
    if not program.is_complete:
        raise ProgramError(f"A proxy gives one number per network, got {program.type} from {program.text}")
    outcome = _run(program, statistics, blames=False)
    if isinstance(outcome, Invalid) and outcome.at == 0:  # rare, so worth a second, slower look for the culprit
        return _run(program, statistics, blames=True)
    return outcome


def _run(program: Program, statistics: NetworkStatistics, *, blames: bool) -> float | Invalid:
    """The loop itself; only if it `blames` does it look for the node at fault for a non-finite score, else the root."""
    stack: list[tuple[Value, int]] = []  # each value with the node to blame, should it not be finite
    for index in range(program.size - 1, -1, -1):
        node = program.nodes[index]
        arguments = [stack.pop() for _ in range(arity(node))]
        lost = _lost(node, statistics)
        if lost is not None:
            return Invalid(*lost, index)
        try:
            value = _apply(node, [argument for argument, _ in arguments], statistics)
        except UnfitError as error:
            return Invalid(FailureKind.UNFIT, f"{error} in {node.name!r}", index)
        except FAILURES as error:
            return Invalid(FailureKind.UNDEFINED, f"{_first_line(error)} in {node.name!r}", index)
        culprits = (culprit for argument, culprit in arguments if blames and not _is_finite(argument))
        stack.append((value, next(culprits, index)))
    (value, at) = stack[0]
    score = float(value[0])
    if math.isfinite(score):
        return score
    return Invalid(FailureKind.NON_FINITE, f"non-finite after {program.nodes[at].name!r}", at)


def _apply(node: Node, arguments: list[Value], statistics: NetworkStatistics) -> Value:
    if not isinstance(node, Primitive):
        return _leaf(node, statistics)
    if node.is_aggregation:
        stacked = [_stacked(list(layers)) for layers in arguments]
        return node(*stacked, Layers.of_one_network(len(stacked[0]), stacked[0].device))
    if isinstance(arguments[0], list):
        return [node(*of_layer) for of_layer in zip(*arguments, strict=True)]
    return node(*arguments)


def _stacked(layers: Sequence[Tensor]) -> Tensor:
    """(n_layers, ...) float64 values of all layers, in order of execution."""
    if not layers:
        raise ValueError("no layers to aggregate")
    _require_one_size(layers)
    return torch.cat(list(layers)).double()


def _require_one_size(layers: Sequence[Tensor]) -> None:
    """Refuse kernels between samples of layers that do not have as many.

    Raises:
        UnfitError: names the first layer that differs from the first of all.
    """
    for index, layer in enumerate(layers):
        if layer.shape != layers[0].shape:
            raise UnfitError(
                f"unit {index} has {layer.shape[-1]} samples where unit 0 has {layers[0].shape[-1]} (a layer that sees "
                "windows or tokens on its first axis has no row for each image)"
            )


def _leaf(node: Node, statistics: NetworkStatistics) -> Value:
    match node:
        case Constant(value, Level.NETWORK):
            return torch.full((1,), value, dtype=torch.float64)
        case Constant(value, Level.LAYER):
            return [torch.full((1,), value) for _ in statistics.layers]
        case Statistic() if node.type.level is Level.NETWORK:
            return torch.as_tensor(quantity(node.name, statistics), dtype=torch.float64)[None]
        case _:
            missing = [layer for layer in statistics.layers if node.name not in layer]
            if missing:
                raise ProgramError(f"Statistic {node.name!r} was not captured; capture it, or use another program")
            return [layer[node.name][None] for layer in statistics.layers]


def quantity(name: str, statistics: NetworkStatistics) -> float | Tensor:
    """Value of a network-level leaf.

    Raises:
        ProgramError: if it was not captured.
    """
    if name == "unit_count":
        return float(len(statistics.layers))
    if name not in statistics.quantities:
        raise ProgramError(f"Quantity {name!r} was not captured; capture it, or use another program")
    return statistics.quantities[name]


def _lost(node: Node, statistics: NetworkStatistics) -> tuple[FailureKind, str] | None:
    """Why the score of a published estimator cannot be read, if `node` is one that has no finite value."""
    if not isinstance(node, Statistic) or node.estimator is None or node.name not in statistics.quantities:
        return None
    if math.isfinite(float(statistics.quantities[node.name])):
        return None
    kind, detail = statistics.failures.get(
        node.name, (FailureKind.NON_FINITE, f"{node.estimator.name} has no finite score")
    )
    return FailureKind(kind), detail


def _is_finite(value: Value) -> bool:
    tensors = value if isinstance(value, list) else [value]
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__

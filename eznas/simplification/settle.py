"""Branches that say nothing on the data: constants in disguise, and operators that change no value.

Algebra cannot know that a guard is always in force, or that a term is too small to be seen; the values on networks can.
What is found on some networks is certified on others before it is used, as any simplification is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eznas.programs import Constant, Node, Program
from primitives import NETWORK_SCALAR

STEADY: Final = 1e-9
"""Values that differ by less than this share of the largest magnitude are one and the same."""


def settle(program: Program, score: Callable[[Sequence[Program]], NDArray[np.float64]]) -> Program | None:
    """A smaller program with the same values on some networks; None if none is found.

    From the root down, a number of the network that is the same for all networks becomes that constant, and one that
    has the values of one of its arguments becomes that argument.

    Args:
        program: complete.
        score: (n_programs, n_networks) float64 values of programs on these networks, not finite where one failed.

    Returns:
        A program of fewer nodes, not certified yet. None also if the whole is constant or fails somewhere.
    """
    indices = [index for index, kind in enumerate(program.types) if kind == NETWORK_SCALAR]
    rows = np.asarray(score([program.subprogram(index) for index in indices]), dtype=np.float64)
    values = dict(zip(indices, rows, strict=True))
    if not np.isfinite(values[0]).all() or _is_steady(values[0]):
        return None

    def settled(index: int) -> tuple[Node, ...]:
        node, children = program.nodes[index], program.children(index)
        row = values.get(index)
        if row is None or isinstance(node, Constant):
            return program.nodes[index : program.spans[index]]
        if _is_steady(row):
            return (Constant(float(np.median(row)), NETWORK_SCALAR.level),)
        for child in children:
            if child in values and _is_same(row, values[child]):
                return settled(child)
        if not all(child in values for child in children):
            return program.nodes[index : program.spans[index]]  # a word, whose parts are of layers
        return (node, *(part for child in children for part in settled(child)))

    found = Program(settled(0))
    return found if found.size < program.size else None


def _is_steady(row: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(row).all() and np.ptp(row) <= STEADY * np.abs(row).max())


def _is_same(row: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    largest = np.maximum(np.abs(row), np.abs(other))
    return bool(np.isfinite(row).all() and np.isfinite(other).all() and (np.abs(row - other) <= STEADY * largest).all())

"""Whether the divisions of a formula are plain fractions on data, or the smoothing at 0 shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eznas.errors import ProgramError
from eznas.programs import Program
from primitives import LAYER_SCALAR, NETWORK_SCALAR, PRIMITIVES

PLAIN: Final = 1e-5
"""A denominator over itself that is this near to 1, in the mean over its entries, is far from the smoothing."""

_DIVIDE, _MEAN, _MEAN_LAYERS = (PRIMITIVES[name] for name in ("divide", "mean", "mean_layers"))


def divides_plainly(
    program: Program, score: Callable[[Sequence[Program]], NDArray[np.float64]], *, of_networks_alone: bool = False
) -> bool | None:
    """Whether every division of a program is a plain fraction on some networks; None if it has none, or none can say.

    The division of the language is ``x y / (y² + DIVISION_FLOOR²)``. A denominator over itself is 1 where the floor is
    not felt, and less where it is.

    Args:
        program: any.
        score: (n_programs, n_networks) float64 values of programs on these networks, not finite where one failed.
        of_networks_alone: `score` knows numbers of networks, and nothing within their words.
    """
    denominators = dict.fromkeys(
        program.subprogram(program.children(index)[1]) for index, node in enumerate(program.nodes) if node is _DIVIDE
    )
    if not denominators:
        return None
    ratios = []
    for denominator in denominators:
        if of_networks_alone and denominator.type != NETWORK_SCALAR:
            return None
        ratio = _over_itself(denominator)
        if ratio is None:
            return None
        ratios.append(ratio)
    values = np.asarray(score(ratios), dtype=np.float64)
    return bool((np.abs(values - 1.0) <= PLAIN).all()) if np.isfinite(values).all() else None


def _over_itself(denominator: Program) -> Program | None:
    """``y / y`` as one number of the network, the mean over entries and layers."""
    nodes = (_DIVIDE, *denominator.nodes, *denominator.nodes)
    if denominator.type == NETWORK_SCALAR:
        before: tuple[object, ...] = ()
    else:
        before = (_MEAN_LAYERS,) if denominator.type == LAYER_SCALAR else (_MEAN_LAYERS, _MEAN)
    try:
        found = Program((*before, *nodes))  # type: ignore[arg-type]
    except ProgramError:
        return None
    return found if found.is_complete else None

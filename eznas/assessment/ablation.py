"""Which part of a formula carries its ranking: each part in turn is made a constant, or left to one of its parts.

A part is a sub-expression that is a number of the whole network. All variants of a formula are scored as one
population, so that what they share is computed once; over a bank that is arithmetic on arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from eznas.fitness import Labels, kendall_tau_b, scores_with_failures_last
from eznas.fitness.labels import FloatArray
from eznas.programs import Constant, Program
from primitives import NETWORK_SCALAR

Score = Callable[[Sequence[Program]], FloatArray]
"""(n_programs, n_networks) values of complete programs, not finite where one failed."""
STEADY: Final = 1e-9
"""A part is constant if its values differ by less than this share of the largest magnitude."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A sub-expression, and what the formula is without it.

    Attributes:
        index: of its root among the nodes of the program.
        program: the sub-expression.
        value: its median over the networks; NaN if it has no finite value.
        is_constant: whether it has that value on all networks.
        loss: tau of the formula less tau with the median in its place; negative if the formula is better without it.
        is_idle: whether the networks of every sample are then ranked as before.
        bypass: smallest loss with one of its arguments in its place, None if none is a number of the network.
    """

    index: int
    program: Program
    value: float
    is_constant: bool
    loss: float
    is_idle: bool
    bypass: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """The parts of a formula.

    Attributes:
        program: the formula.
        tau: its mean Kendall tau-b over the samples.
        parts: in prefix order, the root left out.
    """

    program: Program
    tau: float
    parts: tuple[Part, ...]

    @property
    def idle(self) -> tuple[Part, ...]:
        """The largest parts without which all networks are ranked as before; none lies in another."""
        found: list[Part] = []
        for part in self.parts:
            inside = any(p.index < part.index < self.program.spans[p.index] for p in found)
            if part.is_idle and not inside:
                found.append(part)
        return tuple(found)

    @property
    def share_idle(self) -> float:
        """Of the nodes of the formula, those in idle parts."""
        return sum(part.program.size for part in self.idle) / self.program.size


def ablate(program: Program, score: Score, samples: Sequence[Labels], *, direction: int = 1) -> Ablation:
    """What each part of a formula contributes to its rank correlation.

    A constant in place of a part takes away all that the part says of one network and not of another; the median keeps
    the scale that its surroundings expect. Parts that are constants already are left out.

    Args:
        program: complete.
        score: values of programs on networks.
        samples: accuracies, and the columns of `score` they belong to.
        direction: of the formula.

    Returns:
        The parts with what is lost without them: differences of mean Kendall tau-b over the samples.

    Raises:
        ValueError: if the program is not complete, or there is no sample.
    """
    if not program.is_complete or not samples:
        raise ValueError("An ablation needs a complete program and at least one sample of accuracies")
    indices = parts_of(program)
    values = score([program, *(program.subprogram(index) for index in indices)])
    medians = [_median(row) for row in values[1:]]
    variants: list[Program] = []
    for index, median in zip(indices, medians, strict=True):
        variants.append(replaced(program, index, median if np.isfinite(median) else 0.0))
    bypasses = [
        (place, replaced(program, index, program.subprogram(child)))
        for place, index in enumerate(indices)
        for child in program.children(index)
        if program.types[child] == NETWORK_SCALAR and not isinstance(program.nodes[child], Constant)
    ]
    scores = score([*variants, *(variant for _, variant in bypasses)]) if variants else np.empty((0, values.shape[1]))
    before = _taus(values[0], samples, direction)
    after = [_taus(row, samples, direction) for row in scores]
    bypass: dict[int, float] = {}
    for (place, _), taus in zip(bypasses, after[len(indices) :], strict=True):
        loss = float(np.mean(before) - np.mean(taus))
        bypass[place] = min(loss, bypass.get(place, loss))
    parts = tuple(
        Part(
            index=index,
            program=program.subprogram(index),
            value=medians[place],
            is_constant=is_steady(values[1 + place]),
            loss=float(np.mean(before) - np.mean(after[place])),
            is_idle=all(_ranked_alike(values[0], scores[place], sample) for sample in samples),
            bypass=bypass.get(place),
        )
        for place, index in enumerate(indices)
    )
    return Ablation(program=program, tau=float(np.mean(before)), parts=parts)


def parts_of(program: Program) -> tuple[int, ...]:
    """Roots of the sub-expressions that are numbers of the network; the whole and constants left out."""
    return tuple(
        index
        for index, node in enumerate(program.nodes)
        if index and program.types[index] == NETWORK_SCALAR and not isinstance(node, Constant)
    )


def replaced(program: Program, index: int, by: Program | float) -> Program:
    """The program with another in place of its sub-expression at a node; a number stands for that constant."""
    nodes = by.nodes if isinstance(by, Program) else (Constant(float(by), program.types[index].level),)
    return Program((*program.nodes[:index], *nodes, *program.nodes[program.spans[index] :]))


def is_steady(values: npt.ArrayLike) -> bool:
    """Whether (n,) values are finite and one and the same, but for rounding."""
    row = np.asarray(values, dtype=np.float64)
    return bool(np.isfinite(row).all() and np.ptp(row) <= STEADY * np.abs(row).max())


def _median(values: FloatArray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")


def _taus(row: FloatArray, samples: Sequence[Labels], direction: int) -> list[float]:
    """Kendall tau-b on each sample, failures last; 0 where all scores are one."""
    found = []
    for labels in samples:
        x = row[labels.networks]
        tau = kendall_tau_b(scores_with_failures_last(x, ~np.isfinite(x), direction), labels.accuracies)
        found.append(float(tau) if np.isfinite(tau) else 0.0)
    return found


def _ranked_alike(before: FloatArray, after: FloatArray, labels: Labels) -> bool:
    """Whether the same networks fail and all others are in one order, ties included."""
    one, other = before[labels.networks], after[labels.networks]
    finite = np.isfinite(one)
    if not np.array_equal(finite, np.isfinite(other)):
        return False
    return bool(np.array_equal(_dense(one[finite]), _dense(other[finite])))


def _dense(values: FloatArray) -> npt.NDArray[np.int64]:
    return np.unique(values, return_inverse=True)[1].astype(np.int64)

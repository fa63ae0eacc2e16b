"""A reading: what an estimator looks at that others may look at as well, apart from the score it makes of it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor, nn

Part = TypeVar("Part", bound=Hashable)
Shown = TypeVar("Shown")


@dataclass(frozen=True, slots=True)
class Reading(Generic[Part, Shown]):
    """How an estimator scores in two steps, of which several can share the first (see `eznas.estimators.together`).

    Whatever `show` gives must show each part the same, bit by bit, whichever other parts are asked for beside it, and
    in any order: a score does not depend on who is scored beside. Forward passes begin with draws of their own
    (`eznas.estimators.passes.forward`); of backward passes after the first that is up to `show`.

    Attributes:
        show: ``(network, inputs, targets, parts)`` -> what passes through the network show of these parts, distinct and
            in order; targets are (batch,) or None. Estimators with the same `show` are a family and share one call.
        part: what this estimator reads of it.
        score: the score, from what is shown; draws nothing.
    """

    show: Callable[[nn.Module, Tensor, Tensor | None, tuple[Part, ...]], Shown]
    part: Part
    score: Callable[[Shown], float]

    def alone(self, network: nn.Module, inputs: Tensor, targets: Tensor | None) -> float:
        """The score of one network, from passes of its own."""
        return self.score(self.show(network, inputs, targets, (self.part,)))

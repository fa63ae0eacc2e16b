"""An estimator: a published score of an untrained network, with the direction its authors gave it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from eznas.errors import ConfigError

ScoreFunction = Callable[[nn.Module, Tensor, Tensor | None], float]
"""``(network, inputs, targets) -> score``: inputs (batch, channels, height, width), targets (batch,) or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimator:
    """A named yardstick, scored on the same networks and the same batch as evolved programs.

    The direction is fixed beforehand, as published; choosing it from the accuracies would be leakage.
    """

    name: str  # as users type it
    title: str  # as tables print it
    direction: int  # +1: a higher score predicts a higher accuracy; -1: a lower one does
    needs_targets: bool
    needs_gradients: bool
    function: ScoreFunction
    source: str  # author, year and link

    def __call__(self, network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
        """The score of one network, which is left exactly as it was found.

        Args:
            network: maps `inputs` to one tensor of logits; scored in train mode (batch statistics).
            inputs: (batch, channels, height, width) on the device of the network.
            targets: (batch,) class of each image, if the estimator needs them.

        Returns:
            The score; NaN or infinite where the formula has no finite value, such as for a network whose output is
            constantly zero. Whoever ranks counts it as a failure.

        Raises:
            ConfigError: if targets are needed and absent, or hold a class that the network does not have.
            CaptureError: if a pass through the network fails, or does not show what the estimator looks at.
        """
        if self.needs_targets and targets is None:
            raise ConfigError(f"The estimator {self.name!r} needs the class of each image; pass targets of shape (n,).")
        return self.function(network, inputs, targets)

"""An estimator: a published score of an untrained network, with the direction its authors gave it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from eznas.errors import CaptureError, ConfigError, EznasError

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
    needs_images: bool  # whether the values of the images matter, or their shape alone
    passes: str  # through the network, such as "1 forward, 1 backward", or "none"
    function: ScoreFunction  # its docstring has the formula and the degenerate cases
    source: str  # author, year and link

    @property
    def documentation(self) -> str:
        """Formula, degenerate cases, errors and sources, as text."""
        return inspect.getdoc(self.function) or ""

    def __call__(self, network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
        """The score of one network, which is left exactly as it was found.

        Args:
            network: maps `inputs` to one tensor of logits; scored in train mode (batch statistics).
            inputs: (batch, channels, height, width) on the device of the network, at least one image.
            targets: (batch,) class of each image, if the estimator needs them.

        Returns:
            The score; NaN or infinite where the formula has no finite value, such as for a network whose output is
            constantly zero or whose weights are not finite. Whoever ranks counts it as a failure.

        Raises:
            ConfigError: if targets are needed and absent, or hold a class that the network does not have; if there is
                no image, or the images are on another device than the network.
            CaptureError: if a pass through the network fails, does not show what the estimator looks at, or shows it in
                a precision in which torch cannot compute the formula.
        """
        if self.needs_targets and targets is None:
            raise ConfigError(f"The estimator {self.name!r} needs the class of each image; pass targets of shape (n,).")
        _check_inputs(network, inputs)
        try:
            return self.function(network, inputs, targets)
        except EznasError:
            raise
        except Exception as error:  # of torch outside a pass, or of what a foreign network shows
            raise CaptureError(
                f"The estimator {self.name!r} could not score {type(network).__name__} from images of {inputs.dtype} "
                f"and shape {tuple(inputs.shape)}: {error}"
            ) from error


def _check_inputs(network: nn.Module, inputs: Tensor) -> None:
    """Refuse a batch that no estimator can use.

    Raises:
        ConfigError: if it is empty, or values are not where the network's are.
    """
    if inputs.dim() < 2 or not inputs.numel():
        raise ConfigError(
            f"Expected a batch of at least one image, (batch, channels, height, width), but got shape "
            f"{tuple(inputs.shape)}."
        )
    devices = {tensor.device for tensor in (*network.parameters(), *network.buffers())}
    elsewhere = sorted(str(device) for device in devices if device != inputs.device)
    if elsewhere:
        raise ConfigError(
            f"{type(network).__name__} has tensors on {', '.join(elsewhere)}, but the images are on {inputs.device}; "
            f"move both to one device."
        )
    if inputs.device.type == "meta":
        raise ConfigError("The images are on the device 'meta', which holds no values; move them to another device.")

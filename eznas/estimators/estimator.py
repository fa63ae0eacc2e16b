"""An estimator: a published score of an untrained network, with the direction its authors gave it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from eznas.conditions import as_inputs, as_targets
from eznas.errors import CaptureError, ConfigError, EznasError, ScoreError, UnfitError
from eznas.estimators.parametrised import with_plain_weights
from eznas.estimators.reading import Reading
from eznas.names import one_line
from eznas.programs import FailureKind, Invalid
from eznas.statistics.running import Unfit, own_draws, refuse_hidden

ScoreFunction = Callable[[nn.Module, Tensor, Tensor | None], float]
"""``(network, inputs, targets) -> score``: inputs (batch, channels, height, width), targets (batch,) or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimator:
    """A published proxy in its own definition, scored on the same networks and the same batch as evolved programs.

    The direction is fixed beforehand, as published; choosing it from the accuracies would be leakage.
    """

    name: str  # as users type it
    title: str  # as tables print it
    direction: int  # +1: a higher score predicts a higher accuracy; -1: a lower one does
    needs_targets: bool
    needs_gradients: bool
    needs_images: bool  # whether the values of the images matter, or their shape alone
    passes: str  # through the network, such as "1 forward, 1 backward", or "none"
    cost: float  # in forward passes of a batch, an estimate
    function: ScoreFunction  # its docstring has the formula and the degenerate cases
    source: str  # author, year and link
    reading: Reading[Any, Any] | None = None  # `function` in two steps, the first of which others may share

    @property
    def documentation(self) -> str:
        """Formula, degenerate cases, errors and sources, as text."""
        return inspect.getdoc(self.function) or ""

    @property
    def degenerate(self) -> str:
        """What the documentation says of scores that are no numbers; empty if it says nothing."""
        _, _, returns = self.documentation.partition("Returns:\n")
        text = " ".join(line.strip() for line in returns.partition("\n\n")[0].splitlines())
        return text.partition("; ")[2].rstrip(".").replace("``", "")

    @property
    def needs(self) -> frozenset[str]:
        """Of ``"images"``, ``"labels"`` and ``"gradients"``."""
        asked = {"images": self.needs_images, "labels": self.needs_targets, "gradients": self.needs_gradients}
        return frozenset(kind for kind, is_needed in asked.items() if is_needed)

    def __call__(self, network: nn.Module, inputs: Any, targets: Any = None) -> float:
        """The raw score of one network, as the formula gives it; the network is left exactly as it was found.

        Weights that are computed from other parameters, as by weight normalisation, count as what they are used as.

        Args:
            network: maps `inputs` to one tensor of logits; scored in train mode (batch statistics).
            inputs: (batch, channels, height, width) on the device of the network, at least one image; a NumPy array
                will do.
            targets: (batch,) class of each image, if the estimator needs them; a list will do.

        Returns:
            The score; NaN or infinite where the formula has no finite value, such as for a network whose output is
            constantly zero or whose weights are not finite. Whoever ranks counts it as a failure.

        Raises:
            ConfigError: if targets are needed and absent; if there is no image, or the images are on another device
                than the network.
            CaptureError: if a pass through the network fails, or shows the formula's values in a precision in which
                torch cannot compute it; `UnfitError` if the network does not have what the estimator looks at.
        """
        inputs, targets = as_inputs(inputs), as_targets(targets)
        if self.needs_targets and targets is None:
            raise ConfigError(f"The estimator {self.name!r} needs the class of each image; pass targets of shape (n,).")
        check_inputs(network, inputs)
        try:
            refuse_hidden(network)
        except Unfit as error:
            raise UnfitError(str(error)) from None
        try:
            with own_draws(network, inputs.device):  # a backward pass may draw, too
                return self.function(with_plain_weights(network), inputs, targets)
        except EznasError:
            raise
        except Exception as error:  # of torch outside a pass, or of what a foreign network shows
            raise CaptureError(
                f"The estimator {self.name!r} could not score {type(network).__name__} from images of {inputs.dtype} "
                f"and shape {tuple(inputs.shape)}: {one_line(error, 300)}"
            ) from error

    def outcome(self, network: nn.Module, inputs: Any, targets: Any = None) -> float | Invalid:
        """The score in the direction in which a higher one predicts a higher accuracy, or why there is none.

        Raises:
            ConfigError: as calling it does.
        """
        try:
            value = self(network, inputs, targets)
        except CaptureError as error:
            return self.failed(error)
        return self.judged(value)

    def failed(self, error: CaptureError) -> Invalid:
        """The outcome where calling it raises this."""
        kind = FailureKind.UNFIT if isinstance(error, UnfitError) else FailureKind.NETWORK
        return Invalid(kind, f"{self.name}: {error}")

    def judged(self, value: float) -> float | Invalid:
        """The outcome where calling it gives this raw score."""
        if math.isfinite(value):
            return self.direction * value
        reason = f" ({self.degenerate})" if self.degenerate else ""
        return Invalid(FailureKind.NON_FINITE, f"{self.name} is {value:g}{reason}")

    def score(self, network: nn.Module, inputs: Any, targets: Any = None) -> float:
        """As `outcome`, for those who want a number.

        Raises:
            ConfigError: as calling it does.
            ScoreError: if there is no finite score; says why.
        """
        outcome = self.outcome(network, inputs, targets)
        if isinstance(outcome, Invalid):
            raise ScoreError(f"{type(network).__name__} has no score: {outcome.detail}")
        return outcome

    def __reduce__(self) -> str | tuple[Any, ...]:
        """A published estimator travels to other processes by its name; one of your own as its parts."""
        from eznas.estimators.published import PUBLISHED, by_name

        if self in PUBLISHED:
            return by_name, (self.name,)
        return _made, (tuple(getattr(self, name) for name in self.__slots__),)


def _made(values: tuple[Any, ...]) -> Estimator:
    return Estimator(**dict(zip(Estimator.__slots__, values, strict=True)))


def check_inputs(network: nn.Module, inputs: Tensor) -> None:
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

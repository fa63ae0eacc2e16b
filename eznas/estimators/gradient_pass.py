"""One forward pass of a network with its own weights, and what is sent back through it: of the loss, of the logits."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from eznas.estimators.passes import (
    Call,
    class_labels,
    copied_state,
    cross_entropy,
    differentiable,
    forward,
    gradients,
    summed_logits,
    weight_names,
)
from eznas.statistics.running import own_draws
from eznas.statistics.torch_functions import CONVOLUTIONS, LINEAR, argument


class Part(Enum):
    """Whose gradients are read."""

    WEIGHTS = "of the loss, for the weights of `weight_names`"
    LAYERS = "of the loss, for the outputs of convolutions and linear layers, times these outputs"
    IMAGES = "of the summed logits, for the images"


@dataclass(frozen=True, eq=False, slots=True)
class Layer:
    """One call of a convolution or linear layer.

    Attributes:
        weight: (channels, ...).
        effects: (batch, channels) sum over places of the output times the gradient of the loss for it.
        is_reached: whether any of that gradient is not 0, a Boolean scalar.
    """

    weight: Tensor
    effects: Tensor
    is_reached: Tensor


class GradientPass:
    """Gradients of the mean cross-entropy of a batch, in nats, and of its summed logits, from one forward pass.

    Weights and images require gradients whichever parts are read, because torch multiplies some matrices in another
    order, with other last bits, where they do not.

    Args:
        network: maps `inputs` to one tensor of logits; runs in train mode on a copy of its state.
        inputs: (batch, ...) on the device of the network.
        targets: (batch,) classes; None will do for `Part.IMAGES`.
        parts: what will be read; the graph is let go with the last backward pass that these take.

    Raises:
        CaptureError, UnfitError: as `forward`.
    """

    def __init__(self, network: nn.Module, inputs: Tensor, targets: Tensor | None, parts: Collection[Part]) -> None:
        self.network, self._targets, self._parts = network, targets, parts
        self._to_come = {part is Part.IMAGES for part in parts}  # backward passes: of the logits, of the loss
        self._images = inputs.detach().clone()
        if self._images.is_floating_point():
            self._images.requires_grad_()
        self._calls: list[tuple[Tensor, int, Tensor]] = []  # output of a layer, its axis of channels, weight
        state = copied_state(network)
        self._weights = differentiable(state, weight_names(network))
        with torch.enable_grad():
            self._logits = forward(
                network, self._images, state, on_result=self._record if Part.LAYERS in parts else None
            )

    @property
    def weights(self) -> tuple[list[Tensor], list[Tensor]]:
        """The weights, detached, and the gradient of the loss for each.

        Raises:
            ConfigError, UnfitError: as `cross_entropy`.
            CaptureError: if the backward pass fails.
        """
        return [weight.detach() for weight in self._weights], self._of_loss[0]

    @property
    def layers(self) -> list[Layer]:
        """The calls of convolutions and linear layers, in order.

        Raises:
            ConfigError, UnfitError, CaptureError: as `weights`.
        """
        return self._of_loss[1]

    @property
    def labels(self) -> Tensor:
        """(batch,) classes, as `class_labels`.

        Raises:
            ConfigError, UnfitError: as `class_labels`.
        """
        return class_labels(self.network, self._logits, self._targets, len(self._images))

    @cached_property
    def images(self) -> tuple[Tensor, Tensor]:
        """(batch, features) gradient of the summed logits for each image, in float64, and the (batch, ...) logits.

        One backward pass for the whole batch, as published: in train mode batch normalisation couples the images.

        Raises:
            UnfitError: as `summed_logits`.
            CaptureError: if the backward pass fails.
        """
        if not self._images.requires_grad:
            self._images.requires_grad_()  # torch says why they cannot
        with torch.enable_grad():
            total = summed_logits(self.network, self._logits, len(self._images))
        (jacobian,) = self._sent_back(total, [self._images], is_of_logits=True)
        return jacobian.flatten(1).double(), self._logits.detach()

    @cached_property
    def _of_loss(self) -> tuple[list[Tensor], list[Layer]]:
        """The gradients of the loss for the weights, and the layers; of those that are read."""
        if True in self._to_come:  # the larger pass comes last, because the last lets go of the graph on its way
            with suppress(Exception):  # whoever reads the images is told
                _ = self.images
        with torch.enable_grad():
            loss = cross_entropy(self.network, self._logits, self._targets, len(self._images))
        weights = self._weights if Part.WEIGHTS in self._parts else []
        found = self._sent_back(loss, [*weights, *(output for output, _, _ in self._calls)], is_of_logits=False)
        layers = [_layer(*call, along) for call, along in zip(self._calls, found[len(weights) :], strict=True)]
        self._calls.clear()  # outputs take as much memory as all that the next backward pass needs
        return found[: len(weights)], layers

    def _sent_back(self, total: Tensor, tensors: list[Tensor], *, is_of_logits: bool) -> list[Tensor]:
        is_last = self._to_come <= {is_of_logits}
        self._to_come.discard(is_of_logits)
        with nullcontext() if is_last else own_draws(self.network, self._images.device):  # the last draws the same
            return gradients(total, tensors, retain_graph=not is_last)

    def _record(self, call: Call, result: Any) -> Any:
        function, args, kwargs = call
        if function not in CONVOLUTIONS and function not in LINEAR:
            return result
        weight = argument(args, kwargs, 1, "weight")
        self._calls.append((result, result.dim() - 1 if function in LINEAR else 1, weight))
        return result.clone()  # so that an activation in place does not overwrite the output


def _layer(output: Tensor, axis: int, weight: Tensor, gradient: Tensor) -> Layer:
    product = (output.detach() * gradient).movedim(axis, 1)  # (batch, channels, ...)
    effects = product.flatten(2).sum(dim=2) if product.dim() > 2 else product
    return Layer(weight, effects, (effects.abs() > 0).any() or gradient.any())  # an effect says it at less expense

"""Estimators that add up a saliency over all weights: norms, loss gradients, pruning criteria.

In all of them W are the weights of convolutions and linear layers, the projections of attention and the maps inside
recurrent layers among them, without biases and without normalisation, and L is the mean cross-entropy of the batch, in
nats. The batch is never split: in train mode parts of a batch have batch statistics of their own, and so other
gradients. A weight the loss does not depend on adds zero, so that a network whose output is a constant scores 0, or
next to it (`fisher`: the bias of its classifier), and ``-inf`` in `synflow` and `synflow_bn`. A network whose last
layer is zero as it is initialised is refused by all but `l2_norm`: gradients reach that layer alone, and the sum would
say nothing of the others.

Source of all: `Abdelfattah 2021 <https://arxiv.org/abs/2101.08134>`_, section 3.1 and the released code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from eznas.estimators.gradient_pass import GradientPass, Part
from eznas.estimators.passes import (
    Function,
    copied_state,
    cross_entropy,
    differentiable,
    exact_sum,
    forward,
    gradients,
    refuse_zero_layer,
    summed_logits,
    weight_names,
)
from eznas.estimators.reading import Reading
from eznas.statistics.torch_functions import BATCH_NORMALISATIONS, DROPOUT


def l2_norm(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Sum over layers of the Euclidean norm of the weights: sum_l \\|\\|W_l\\|\\|.

    Needs no pass through the network. Under PyTorch's default initialisation a convolution from and to c channels adds
    about sqrt(c / 3) whatever its kernel, so this counts convolutions.

    Source: `Abdelfattah 2021 <https://arxiv.org/abs/2101.08134>`_, the released code.
    """
    del inputs, targets
    state = copied_state(network)
    return exact_sum(float(state[name].norm()) for name in weight_names(network))


def grad_norm(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Sum over layers of the Euclidean norm of the loss gradient: sum_l \\|\\|dL/dW_l\\|\\|.

    The sum of the norms of layers, not the norm of the whole gradient.

    Raises:
        ConfigError: if `targets` is absent.
        UnfitError: if it holds a class that the network does not have, or the last layer is zero.

    Source: `Abdelfattah 2021 <https://arxiv.org/abs/2101.08134>`_, section 3.1.
    """
    return GRAD_NORM.alone(network, inputs, targets)


def plain(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Sum over weights of weight times loss gradient, signed: sum w dL/dw.

    Mostly noise: two batches of one network hardly agree. Its published direction is +1, although on NAS-Bench-201 it
    correlates negatively with accuracy.

    Raises:
        ConfigError: if `targets` is absent.
        UnfitError: if it holds a class that the network does not have, or the last layer is zero.

    Source: `Abdelfattah 2021 <https://arxiv.org/abs/2101.08134>`_, the released code; `Mozer 1988
    <https://papers.nips.cc/paper/1988/hash/07e1cd7dca89a1678042477183b7ac3f-Abstract.html>`_.
    """
    return PLAIN.alone(network, inputs, targets)


def snip(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Sum over weights of the loss's sensitivity to removing them: sum \\|w dL/dw\\|.

    Equal to sum \\|dL/dm\\| for a mask m of ones that multiplies the weights.

    Raises:
        ConfigError: if `targets` is absent.
        UnfitError: if it holds a class that the network does not have, or the last layer is zero.

    Source: `Lee 2019 <https://arxiv.org/abs/1810.02340>`_; as a score of a network `Abdelfattah 2021
    <https://arxiv.org/abs/2101.08134>`_, section 3.1.
    """
    return SNIP.alone(network, inputs, targets)


def grasp(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Sum over weights of minus weight times curvature along the gradient: sum -w (H g), with g = dL/dW, H = d2L/dW2.

    H g is the gradient of <g held fixed, g>: a second backward pass through the first. Logits are not divided by a
    temperature. The sign is that of the released code, opposite to the pruning paper's.

    Raises:
        ConfigError: if `targets` is absent.
        UnfitError: if it holds a class that the network does not have, or the last layer is zero.
        CaptureError: if an operation of the network cannot be differentiated twice.

    Source: `Wang 2020 <https://arxiv.org/abs/2002.07376>`_; as a score of a network `Abdelfattah 2021
    <https://arxiv.org/abs/2101.08134>`_, section 3.1.
    """
    with sdpa_kernel(SDPBackend.MATH):  # the other kernels of attention cannot be differentiated twice
        loss, weights = _loss(network, inputs, targets)
    with torch.enable_grad():
        first = gradients(loss, weights, create_graph=True)
        refuse_zero_layer(network, weights, first)
        along = sum(((g.detach() * g).sum() for g in first), torch.zeros((), device=inputs.device))
    curvature = gradients(along, weights)
    return exact_sum(float((-w.detach() * h).sum()) for w, h in zip(weights, curvature, strict=True))


def fisher(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Loss expected from removing each channel, to second order, counted once per weight of the channel.

    With a the output of a convolution or linear layer, before normalisation, and n over images,

        D_c = 1/2 mean_n ( sum_hw a dL/da )^2,   score = sum_l sum_c D_c * (weights per output channel of layer l);

    a layer called twice counts twice. The factor comes from the released code, which spreads the saliency of a channel
    over its weights.

    Raises:
        ConfigError: if `targets` is absent.
        UnfitError: if it holds a class that the network does not have, or the last layer is zero.

    Source: `Theis 2018 <https://arxiv.org/abs/1801.05787>`_ and `Turner 2020 <https://arxiv.org/abs/1906.04113>`_;
    as a score of a network `Abdelfattah 2021 <https://arxiv.org/abs/2101.08134>`_, section 3.1.
    """
    return FISHER.alone(network, inputs, targets)


def synflow(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Natural logarithm of the synaptic flow: ln of the sum over weights of \\|w dR/dw\\|.

    R is the sum of the logits of one image of ones, with every parameter and buffer replaced by its absolute value and
    batch normalisation by the identity; the sum is over the weights of convolutions and linear layers. In float64,
    because R spans 1e32 to 1e61 on NAS-Bench-201.

    Returns:
        The score in nats; ``-inf`` if no weight reaches the output.

    Raises:
        UnfitError: if the network does not return (batch, n_classes) logits, or its last layer is zero.

    Source: `Tanaka 2020 <https://arxiv.org/abs/2006.05467>`_, eq. 2; as a score of a network `Abdelfattah 2021
    <https://arxiv.org/abs/2101.08134>`_, section 3.1. The logarithm is NAS-Bench-Suite-Zero's.
    """
    return SYNFLOW.alone(network, inputs, targets)


def synflow_bn(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """`synflow` with batch normalisation kept, in train mode: by the statistics of the one image of ones.

    Normalisation undoes the scale of each layer, so the score no longer measures size. Equal to `synflow` for a
    network without batch normalisation.

    Returns:
        The score in nats; ``-inf`` if no weight reaches the output.

    Raises:
        UnfitError: if the network does not return (batch, n_classes) logits, or its last layer is zero.
        CaptureError: if a batch normalisation sees a single value per channel, as after global pooling.

    Source: `Abdelfattah 2021 <https://arxiv.org/abs/2101.08134>`_, the released code (measure ``synflow_bn``).
    """
    del targets
    return _log_flow(_flows(network, inputs, DROPOUT))


def logsynflow(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Synaptic flow with damped gradients: the sum over weights of \\|w ln(dR/dw + 1)\\|.

    R as in `synflow`, without batch normalisation, in float64; dR/dw is never negative in networks of convolutions,
    linear layers and ReLUs. The logarithm inside keeps the weights of deep networks from being drowned by their
    gradients; the sum itself is not a logarithm.

    Returns:
        The score; 0 for a network that no weight of which reaches the output, NaN where a gradient is below -1, as
        behind layer normalisation or attention, through which a larger weight may lessen the flow.

    Raises:
        UnfitError: if the network does not return (batch, n_classes) logits, or its last layer is zero.

    Source: `Cavagnero 2023 <https://arxiv.org/abs/2207.05135>`_, as in the released code.
    """
    return LOGSYNFLOW.alone(network, inputs, targets)


# ----------------------------------------------------------------------------------------- gradients of the loss


def _over_weights(shown: GradientPass, saliency: Callable[[Tensor, Tensor], Tensor]) -> float:
    """Sum over layers of a scalar made of the weight and its loss gradient."""
    weights, found = shown.weights
    refuse_zero_layer(shown.network, weights, found)
    return exact_sum(float(saliency(weight, gradient)) for weight, gradient in zip(weights, found, strict=True))


def _over_channels(shown: GradientPass) -> float:
    """`fisher`."""
    layers = shown.layers
    refuse_zero_layer(shown.network, (layer.weight for layer in layers), (layer.is_reached for layer in layers))
    return exact_sum(float(one.effects.square().mean(dim=0).sum()) / 2 * one.weight[0].numel() for one in layers)


GRAD_NORM: Final = Reading(
    GradientPass, Part.WEIGHTS, lambda shown: _over_weights(shown, lambda weight, gradient: gradient.norm())
)
PLAIN: Final = Reading(
    GradientPass, Part.WEIGHTS, lambda shown: _over_weights(shown, lambda weight, gradient: (weight * gradient).sum())
)
SNIP: Final = Reading(
    GradientPass,
    Part.WEIGHTS,
    lambda shown: _over_weights(shown, lambda weight, gradient: (weight * gradient).abs().sum()),
)
FISHER: Final = Reading(GradientPass, Part.LAYERS, _over_channels)


def _loss(network: nn.Module, inputs: Tensor, targets: Tensor | None) -> tuple[Tensor, list[Tensor]]:
    """The loss of the batch, scalar, and copies of the weights it was computed with."""
    state = copied_state(network)
    weights = differentiable(state, weight_names(network))
    with torch.enable_grad():
        return cross_entropy(network, forward(network, inputs, state), targets, len(inputs)), weights


# ----------------------------------------------------------------------------------------------- the synaptic flow


Flows = tuple[list[Tensor], list[Tensor]]
"""The absolute weights, detached, and the gradient of the synaptic flow for each of them, in float64."""


def _flows(network: nn.Module, inputs: Tensor, identity: frozenset[Function]) -> Flows:
    """The absolute weights, detached, and the gradient of the synaptic flow for each of them, in float64."""
    state = copied_state(network, lambda t: t.abs().double() if t.is_floating_point() else t.clone())
    weights = differentiable(state, weight_names(network))
    ones = torch.ones((1, *inputs.shape[1:]), dtype=torch.float64, device=inputs.device)
    with torch.enable_grad():
        flow = summed_logits(network, forward(network, ones, state, identity=identity), 1)
    found = gradients(flow, weights)
    refuse_zero_layer(network, weights, found)
    return [weight.detach() for weight in weights], found


def _unnormalised_flows(network: nn.Module, inputs: Tensor, targets: Tensor | None, parts: tuple[None, ...]) -> Flows:
    """The flows of `synflow`, with batch normalisation as the identity."""
    del targets, parts
    return _flows(network, inputs, DROPOUT | BATCH_NORMALISATIONS)


def _log_flow(flows: Flows) -> float:
    """`synflow`."""
    products = ((weight * flow).abs().sum() for weight, flow in zip(*flows, strict=True))
    return float(torch.as_tensor(sum(products), dtype=torch.float64).log())  # -inf if there are none


def _damped_flow(flows: Flows) -> float:
    """`logsynflow`."""
    return exact_sum(float((weight * flow.log1p()).abs().sum()) for weight, flow in zip(*flows, strict=True))


SYNFLOW: Final = Reading(_unnormalised_flows, None, _log_flow)
LOGSYNFLOW: Final = Reading(_unnormalised_flows, None, _damped_flow)

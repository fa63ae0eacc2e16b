"""Estimators that compare the weight gradients of several batches or of single images."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn

from eznas.errors import ConfigError
from eznas.estimators.passes import (
    copied_state,
    cross_entropy,
    differentiable,
    exact_sum,
    forward,
    gradients,
    one_label_per_image,
    refuse_zero_layer,
    summed_logits,
    weight_names,
)

FLOAT64_EPS: Final = float(torch.finfo(torch.float64).eps)


def zico(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """How steady the loss gradient of each weight is over two batches: the two halves of the given one.

    With g_b the gradient of the mean cross-entropy of batch b for a weight of a convolution or linear layer,

        m = mean_b \\|g_b\\|,   s = standard deviation of g_b over batches (population),
        score = sum_l ln( sum over weights of layer l with s > 0 of m / s ),

    in nats; a layer whose inner sum is 0 is left out, so that a network with zero output scores 0. Each half has batch
    statistics of its own, as two batches have: give twice the batch you mean. Of an odd batch the second half is larger
    by one. (A single batch has s = 0 everywhere, and the score is 0.)

    Raises:
        ConfigError: if the batch has one image, or `targets` is absent.
        UnfitError: if it holds a class that the network does not have, or the last layer is zero.

    Source: `Li 2023 <https://arxiv.org/abs/2301.11300>`_, as in the released code.
    """
    if len(inputs) < 2:
        raise ConfigError("zico compares the gradients of two halves of a batch, but got 1 image; pass at least 2.")
    targets = one_label_per_image(targets, len(inputs))
    middle = len(inputs) // 2
    parts = (slice(0, middle), slice(middle, None))
    found = [_loss_gradients(network, inputs[part], targets[part]) for part in parts]
    layers = []
    for first, second in zip(*found, strict=True):
        mean, deviation = (first.abs() + second.abs()) / 2, (first - second).abs() / 2
        varies = deviation > 0
        ratio = float((mean[varies] / deviation[varies]).sum(dtype=torch.float64))
        if ratio != 0:
            layers.append(math.log(ratio))
    return exact_sum(layers)


def gradsign(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """How often the loss gradients of single images agree in sign: sum over weights of \\|sum_n sign g_n\\|.

    g_n is the gradient of the cross-entropy of image n alone, in a batch of one in train mode, for the weights of
    convolutions and linear layers. A count; 0 for a network with zero output. One forward and one backward pass per
    image.

    Raises:
        ConfigError: if `targets` is absent.
        UnfitError: if it holds a class that the network does not have, or the last layer is zero.
        CaptureError: if a batch normalisation sees a single value per channel, as after global pooling.

    Source: `Zhang 2022 <https://arxiv.org/abs/2110.08616>`_, as in the released code.
    """
    targets = one_label_per_image(targets, len(inputs))
    agreement: list[Tensor] = []
    for n in range(len(inputs)):
        each = _loss_gradients(network, inputs[n : n + 1], targets[n : n + 1])
        signs = [gradient.sign() for gradient in each]
        agreement = [total.add_(sign) for total, sign in zip(agreement, signs, strict=True)] if agreement else signs
    return exact_sum(float(total.abs().sum(dtype=torch.float64)) for total in agreement)


def ntk(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Condition number of the neural tangent kernel of a batch; **lower is better**.

        T[n, m] = < d(sum_k logit_k(x_n)) / dW, d(sum_k logit_k(x_m)) / dW >,   score = L_max / L_min,

    with L the eigenvalues of T and W all parameters called weight, those of normalisation included. One forward pass of
    the whole batch in train mode and one backward pass per image; T is summed in float64. The published search
    initialises by Kaiming's normal scheme (fan out) and averages three initialisations; here the network is scored as
    it comes.

    Returns:
        The score, at least 1; ``inf`` if T is singular in float64; NaN if T is zero, such as for a network with zero
        output and no normalisation behind it (the released code writes 100,000).

    Raises:
        UnfitError: if the network does not return (batch, n_classes) logits, or its last layer is zero.

    Source: `Chen 2021 <https://arxiv.org/abs/2102.11535>`_, as in the released code.
    """
    del targets
    state = copied_state(network)
    names = [name for name, _ in network.named_parameters() if "weight" in name.rpartition(".")[2]]
    weights = differentiable(state, names)
    with torch.enable_grad():
        logits = forward(network, inputs, state)
        summed_logits(network, logits, len(inputs))  # refuses what are no logits
        totals = [logits[n].sum() for n in range(len(inputs))]
    rows = [gradients(total, weights, retain_graph=n + 1 < len(totals)) for n, total in enumerate(totals)]
    refuse_zero_layer(network, weights, map(torch.stack, zip(*rows, strict=True)))
    kernel = torch.zeros((len(inputs), len(inputs)), dtype=torch.float64, device=inputs.device)
    for each in zip(*rows, strict=True):
        jacobian = torch.stack(each).flatten(1).double()  # (batch, weights of one layer)
        kernel += jacobian @ jacobian.T
    if not kernel.isfinite().all():
        return float("nan")
    eigenvalues = torch.linalg.eigvalsh(kernel)  # ascending
    smallest, largest = float(eigenvalues[0]), float(eigenvalues[-1])
    if largest <= 0:
        return float("nan")
    return largest / smallest if smallest > largest * len(inputs) * FLOAT64_EPS else float("inf")


def _loss_gradients(network: nn.Module, inputs: Tensor, targets: Tensor) -> list[Tensor]:
    """The gradient of the batch's mean cross-entropy for each weight of a convolution or linear layer."""
    state = copied_state(network)
    weights = differentiable(state, weight_names(network))
    with torch.enable_grad():
        loss = cross_entropy(network, forward(network, inputs, state), targets, len(inputs))
    found = gradients(loss, weights)
    refuse_zero_layer(network, weights, found)
    return found

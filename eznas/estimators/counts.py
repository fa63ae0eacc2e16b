"""How large a network is: the baselines every estimator has to beat."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eznas.estimators.passes import Activation, copied_state, forward
from eznas.statistics import count_parameters, counts


def parameter_count(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Number of parameters, the affine ones of batch normalisation included."""
    del inputs, targets
    return float(count_parameters(network))


def mac_count(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Multiply-accumulates for one image: of convolutions, linear and recurrent layers, attention and other products.

    A bias counts as one; normalisation, activations and pooling count nothing, as in the "FLOPs" of NAS-Bench-201. The
    whole convention is that of `eznas.statistics.macs`. The network runs in evaluation mode; what it returns does not
    matter.
    """
    del targets
    return counts(network, inputs)["mac_count"]


def trainable_layers(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Number of parameter tensors: weights and biases of layers and normalisations, each tensor once.

    The part of `vkdnw` that counts ("aleph"). On NAS-Bench-201 it orders cells by their number of convolutions.

    Source: `Tybl 2025 <https://arxiv.org/abs/2502.04975>`_.
    """
    del inputs, targets
    return float(sum(1 for _ in network.parameters()))


def relu_count(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Number of ReLUs that a forward pass calls, of any kind and spelling, functional ones too: a measure of depth.

    What counts as one, `eznas.statistics.rectifiers.Rectifiers` says.

    Returns:
        A count; 0 for a network with other activations.

    Source: `Ning 2021 <https://arxiv.org/abs/2008.03064>`_, the released code (measure ``relu``).
    """
    del targets
    n_calls = 0

    def count(kind: Activation, _: Tensor) -> None:
        nonlocal n_calls
        n_calls += kind is Activation.RELU

    with torch.no_grad():
        forward(network, inputs[:2], copied_state(network), on_activation=count)
    return float(n_calls)

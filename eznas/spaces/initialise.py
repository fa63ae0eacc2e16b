"""Initialisation: the distributions parameters are drawn from, and the one order in which they are drawn."""

from __future__ import annotations

import math
from typing import Final, Literal, get_args

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from eznas.errors import ArchitectureError

Scheme = Literal["default", "eznas"]
SCHEMES: Final[tuple[Scheme, ...]] = get_args(Scheme)


@torch.no_grad()
def initialise_(network: nn.Module, scheme: Scheme, generator: torch.Generator) -> None:
    """Draw every parameter of a network anew, in place, in the order of ``network.modules()``.

    ``"eznas"``
        convolution weights N(0, 2 / fan_out) with fan_out = out channels x kernel area (Kaiming-normal for ReLU),
        linear weights N(0, 0.01^2), biases 0.
    ``"default"``
        the distributions of torch's own constructors, and the same values if `generator` continues the same state:
        weights and biases of convolutions and linear layers uniform in +-1 / sqrt(fan_in).

    Under both, normalisation layers get weight 1, bias 0 and fresh running statistics, and draw nothing.

    Args:
        network: any network of convolutions, linear layers and batch, group, instance or layer normalisation.
        scheme: one of `SCHEMES`.
        generator: on the device of the parameters; the draws are its next ones.

    Raises:
        ArchitectureError: if `scheme` is unknown, or a layer that owns parameters is of another kind.

    Source: the released code of `Akhauri et al. 2022 <https://arxiv.org/abs/2209.07413>`_ for ``"eznas"``.
    """
    if scheme not in SCHEMES:
        raise ArchitectureError(
            f"The initialisation scheme must be one of {', '.join(SCHEMES)}, but it is {scheme!r}; use one of them."
        )
    for name, module in network.named_modules():
        match module:
            case _ConvNd() | nn.Linear():
                _draw_(module, scheme, generator)
            case _NormBase() | nn.GroupNorm() | nn.LayerNorm():
                if module.weight is not None:
                    module.weight.fill_(1.0)
                if module.bias is not None:
                    module.bias.zero_()
                if isinstance(module, _NormBase):
                    module.reset_running_stats()
            case _ if next(module.parameters(recurse=False), None) is not None:
                raise ArchitectureError(
                    f"Layer {name!r} is a {type(module).__name__}, which has parameters but no initialisation rule; "
                    "rules exist for convolutions, linear layers and normalisation; initialise this network yourself."
                )


def _draw_(layer: _ConvNd | nn.Linear, scheme: Scheme, generator: torch.Generator) -> None:
    weight, bias = layer.weight, layer.bias
    if scheme == "default":
        bound = 1.0 / math.sqrt(weight[0].numel())  # fan_in; Kaiming-uniform with a = sqrt(5) has this bound
        weight.uniform_(-bound, bound, generator=generator)
        if bias is not None:
            bias.uniform_(-bound, bound, generator=generator)
        return
    # weight is (out, in, *kernel); fan_out = out * kernel area
    deviation = 0.01 if isinstance(layer, nn.Linear) else math.sqrt(2.0 / weight[:, 0].numel())
    weight.normal_(0.0, deviation, generator=generator)
    if bias is not None:
        bias.zero_()

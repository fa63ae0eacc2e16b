"""Initialisation: the distributions parameters are drawn from, and the one order in which they are drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.modules.rnn import RNNBase, RNNCellBase
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized

from eznas.errors import ArchitectureError

Scheme = Literal["default", "eznas"]
SCHEMES: Final[tuple[Scheme, ...]] = get_args(Scheme)
SETTLING: Final = 15
"""Times that a parametrisation with a state of its own is run on a weight that is new to it, as torch does."""

Fill = Callable[[Tensor], object]
"""Fills a contiguous tensor on the processor, in single precision, in place."""


@torch.no_grad()
def initialise_(network: nn.Module, scheme: Scheme, generator: torch.Generator) -> tuple[str, ...]:
    """Draw the parameters of a network anew, in place, in the order of ``network.modules()``.

    ``"eznas"``
        convolution weights N(0, 2 / fan_out) with fan_out = out channels x kernel area (Kaiming-normal for ReLU),
        linear weights N(0, 0.01^2), the projections of attention among them, biases 0. For kinds that the release does
        not draw, the distribution of torch.
    ``"default"``
        the distributions of torch's own constructors, and of convolutions and linear layers the same values if
        `generator` continues the same state: weights and biases uniform in +-1 / sqrt(fan_in).

    Under both: normalisation has weight 1, bias 0 and fresh running statistics; embeddings are N(0, 1), recurrent
    layers uniform in +-1 / sqrt(hidden), bilinear ones in +-1 / sqrt(in), PReLU as it was made. What is drawn for a
    parametrised layer (weight or spectral normalisation, pruning) is its effective weight where torch can invert the
    parametrisation. Every other parameter, such as a class token, an embedding of positions or a scale of a layer,
    keeps its value: nothing says how it is meant to be drawn.

    Args:
        network: any.
        scheme: one of `SCHEMES`.
        generator: on the processor, so that every device sees the same values; the draws are its next ones.

    Returns:
        Names of the parameters that keep their values.

    Raises:
        ArchitectureError: if `scheme` is unknown, or a layer has no shape before a first pass.

    Source: the released code of `Akhauri et al. 2022 <https://arxiv.org/abs/2209.07413>`_ for ``"eznas"``.
    """
    if scheme not in SCHEMES:
        raise ArchitectureError(
            f"The initialisation scheme must be one of {', '.join(SCHEMES)}, but it is {scheme!r}; use one of them."
        )
    kept: list[str] = []
    done: set[int] = set()  # parametrisations whose layer has been given a weight
    for prefix, module in network.named_modules():
        parameters = {name: parameter for name, parameter in module._parameters.items() if parameter is not None}
        if any(map(is_lazy, parameters.values())):
            raise ArchitectureError(
                f"Layer {prefix!r} is a {type(module).__name__}, whose shape is not known before a first pass; run the "
                "network once on images before."
            )
        known: set[str] = set()
        for name, fill in _rules(module, scheme, generator).items():
            known |= _set(module, name, fill, done)
        if isinstance(module, _NormBase):
            module.reset_running_stats()
        if id(module) not in done:
            kept += [f"{prefix}.{name}".lstrip(".") for name in parameters if name not in known]
    return tuple(kept)


def _rules(module: nn.Module, scheme: Scheme, generator: torch.Generator) -> Mapping[str, Fill]:
    """How each parameter of a module that has a rule is drawn, in order."""

    def uniform(bound: float) -> Fill:
        return lambda tensor: tensor.uniform_(-bound, bound, generator=generator)

    def normal(deviation: float) -> Fill:
        return lambda tensor: tensor.normal_(0.0, deviation, generator=generator)

    match module:
        case _ConvNd() | nn.Linear():
            weight = module.weight  # (out, in, *kernel)
            bound = 1.0 / math.sqrt(weight[0].numel())  # fan_in; Kaiming-uniform with a = sqrt(5) has this bound
            # fan_out = out * kernel area
            deviation = 0.01 if isinstance(module, nn.Linear) else math.sqrt(2.0 / weight[:, 0].numel())
            of_attention = isinstance(module, NonDynamicallyQuantizableLinear)
            return {
                "weight": uniform(bound) if scheme == "default" else normal(deviation),
                "bias": uniform(bound) if scheme == "default" and not of_attention else Tensor.zero_,
            }
        case nn.MultiheadAttention():
            names = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
            weights = {name: module._parameters.get(name) for name in names}
            return {
                **{
                    name: uniform(math.sqrt(6.0 / sum(weight.shape))) if scheme == "default" else normal(0.01)
                    for name, weight in weights.items() if weight is not None
                },
                "in_proj_bias": Tensor.zero_,
                **dict.fromkeys(("bias_k", "bias_v"), normal(1.0 / math.sqrt(module.embed_dim))),
            }  # fmt: skip
        case _NormBase() | nn.GroupNorm() | nn.LayerNorm() | nn.RMSNorm():
            return {"weight": lambda tensor: tensor.fill_(1.0), "bias": Tensor.zero_}
        case nn.Embedding() | nn.EmbeddingBag():
            return {"weight": lambda tensor: _without(normal(1.0)(tensor), module.padding_idx)}
        case RNNBase() | RNNCellBase():
            bound = 1.0 / math.sqrt(module.hidden_size)
            return {name: uniform(bound) for name in module._parameters}
        case nn.Bilinear():
            return dict.fromkeys(("weight", "bias"), uniform(1.0 / math.sqrt(module.in1_features)))
        case nn.PReLU():
            return {"weight": lambda tensor: tensor.fill_(module.init)}
    return {}


def _without(table: Any, row: int | None) -> None:
    """The row of padding is zero."""
    if row is not None:
        table[row].zero_()


def _set(module: nn.Module, name: str, fill: Fill, done: set[int]) -> set[str]:
    """Fill a parameter, or the tensor that a module computes in its place; which of its own parameters that settles."""
    parameter = module._parameters.get(name)
    if parameter is not None:
        if parameter.is_contiguous() and parameter.dtype == torch.float32 and parameter.device.type == "cpu":
            fill(parameter)
        else:
            parameter.copy_(_filled(parameter, fill))
        return {name}
    computed = getattr(module, name, None)
    if not isinstance(computed, Tensor):
        return set()
    value = _filled(computed, fill).to(computed)
    if is_parametrized(module, name):
        _set_parametrised(module, name, value, done)
        return set()
    parameters = module._parameters
    direction, length = parameters.get(f"{name}_v"), parameters.get(f"{name}_g")  # of torch.nn.utils.weight_norm
    if direction is not None and length is not None:
        direction.copy_(value)
        over = [axis for axis, size in enumerate(length.shape) if size == 1]
        length.copy_(value.square().sum(over, keepdim=True).sqrt() if length.dim() else value.norm())
        return {f"{name}_v", f"{name}_g"}
    original = parameters.get(f"{name}_orig")  # of torch.nn.utils.spectral_norm and torch.nn.utils.prune
    if original is None:
        return set()
    original.copy_(value)
    return {f"{name}_orig"}


def _set_parametrised(module: nn.Module, name: str, value: Tensor, done: set[int]) -> None:
    """Give a parametrised tensor a value; it stays as it is if torch cannot invert the parametrisation."""
    listed: Any = getattr(module, "parametrizations")[name]  # noqa: B009 (an attribute that torch adds)
    try:
        setattr(module, name, value)
    except (NotImplementedError, RuntimeError, ValueError):
        return
    done.add(id(listed))
    if next(listed.buffers(), None) is not None:  # spectral normalisation finds the norm by iterating
        modes = [(part, part.training) for part in listed.modules()]
        listed.train()
        for _ in range(SETTLING):
            getattr(module, name)
        for part, training in modes:
            part.training = training


def _filled(like: Tensor, fill: Fill) -> Tensor:
    value = torch.empty(like.shape)
    fill(value)
    return value

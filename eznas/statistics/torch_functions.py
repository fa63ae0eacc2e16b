"""Functions of torch by what they compute, however they are called, and the arguments of such calls.

This module needs nothing but torch and the standard library, because exported proxies carry its source with them.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F


def functions(*names: str) -> frozenset[Callable[..., Any]]:
    """Every way torch offers to call the functions of these names."""
    places = (F, torch, torch.Tensor)
    return frozenset(getattr(place, name) for name in names for place in places if hasattr(place, name))


KINKED = ("relu", "relu6", "leaky_relu", "prelu", "rrelu")
"""Activations with a kink at zero; `Rectifiers` knows what else computes one."""
ACTIVATIONS = functions(
    *(*KINKED, "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "hardtanh", "hardswish", "hardsigmoid"),
    *("sigmoid", "logsigmoid", "tanh", "tanhshrink", "softsign", "threshold"),
)
NORMALISATIONS = functions("batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm")
CONVOLUTIONS = functions("conv1d", "conv2d", "conv3d")
TRANSPOSED = functions("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
LINEAR = functions("linear")
ADDITIONS = functions("add", "add_", "__add__", "__radd__")
BATCH_NORMALISATIONS = functions("batch_norm")
DROPOUT = functions("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
DROPOUT_INSIDE: Mapping[Callable[..., Any], int] = {
    F.scaled_dot_product_attention: 4,
    F.multi_head_attention_forward: 10,
}
"""Functions with a dropout of their own, and the position of its probability, ``dropout_p``."""
OUT_OF_PLACE: Mapping[Callable[..., Any], Callable[..., Any]] = {
    in_place: getattr(torch.Tensor, name, None) or getattr(F, name)
    for name in (
        *("relu", "leaky_relu", "rrelu", "elu", "selu", "celu", "hardtanh", "sigmoid", "tanh", "threshold"),
        *("add", "sub", "mul", "div", "clamp", "clip", "clamp_min", "clamp_max", "masked_fill"),
        *("neg", "exp", "abs", "pow", "square", "sqrt"),
    )
    for in_place in functions(f"{name}_")
} | {
    torch.Tensor.__iadd__: torch.Tensor.__add__,
    torch.Tensor.__isub__: torch.Tensor.__sub__,
    torch.Tensor.__imul__: torch.Tensor.__mul__,
    torch.Tensor.__itruediv__: torch.Tensor.__truediv__,
}


def _opened(function: Any) -> Callable[..., Any]:
    """A function of torch that hides the calls inside it from a tracer, with these calls to be seen."""
    seen = {**function.__globals__, "has_torch_function": lambda values: False}
    made = types.FunctionType(function.__code__, seen, function.__name__, function.__defaults__, function.__closure__)
    made.__kwdefaults__ = function.__kwdefaults__
    return made


ATTENTION = _opened(F.multi_head_attention_forward)
"""Multi-head attention, with the calls inside it to be seen."""


def argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], position: int = 0, name: str = "input") -> Any:
    """One argument of a call, given by position or by name; by default the input. None if it is not given."""
    return args[position] if len(args) > position else kwargs.get(name)


def replace_argument(
    args: tuple[Any, ...], kwargs: dict[str, Any], position: int, name: str, value: Any
) -> tuple[Any, ...]:
    """`args` with `value` at `position`; an argument that was given by name is replaced in `kwargs`."""
    if len(args) > position:
        return (*args[:position], value, *args[position + 1 :])
    kwargs[name] = value
    return args


def without_dropout(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call with the probability of a dropout inside it, such as that of attention, set to 0."""
    position = DROPOUT_INSIDE.get(func)
    if position is None:
        return args, kwargs
    if len(args) > position:
        return (*args[:position], 0.0, *args[position + 1 :]), kwargs
    return args, {**kwargs, "dropout_p": 0.0}

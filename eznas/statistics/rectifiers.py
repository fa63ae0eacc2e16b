"""Activations with a kink at zero, however they are written.

This module needs nothing but torch, the standard library and `eznas.statistics.torch_functions`, because exported
proxies carry its source with them.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eznas.statistics.torch_functions import KINKED, argument, functions


@dataclass(frozen=True)
class _Sign:
    """That a tensor says where another is positive, or where it is negative; zero itself may be on either side."""

    tensor: weakref.ref[Tensor]
    of: weakref.ref[Tensor]
    version: int
    is_positive: bool


class Rectifiers:
    """Tells which calls of a forward pass are activations with a kink at zero, whatever they are called.

    These are ReLU, ReLU6, leaky, parametric and randomised ReLU; and as the same functions, out of place and in place,

    * ``clamp`` (``clip``) from 0, with or without an upper bound, ``clamp_min`` at 0, ``hardtanh`` from 0;
    * ``threshold`` of 0 with value 0;
    * ``maximum``, ``fmax`` or ``max`` of a tensor and zeros;
    * ``where(x > 0, x, 0)``, also from ``x < 0``, with ``>=`` or ``<=``; ``masked_fill`` of or assignment to
      ``x[x < 0]``;
    * ``x * (x > 0)``, the mask also as numbers, and ``x * heaviside(x, ...)``.

    Clamps and masks of what has one axis or none, or is a parameter, are no activations. Not seen are sums such as
    ``(x + x.abs()) / 2``, a slope written by hand (``maximum(x, 0.1 * x)``), an upper bound in a call of its own (the
    ReLU is seen without it), scripted code, and functions with a gradient of their own.

    Args:
        parameters: the parameters and buffers that the pass uses.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self._parameters = {id(parameter) for parameter in parameters}
        self._signs: dict[int, _Sign] = {}
        self._aliases: dict[int, tuple[weakref.ref[Tensor], weakref.ref[Tensor]]] = {}

    def input_of(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
        """The tensor that this call rectifies; None if it is no such activation."""
        first = argument(args, kwargs)
        if func in _RELUS:
            return first if isinstance(first, Tensor) else None
        found: Any = None
        if func in _CLAMPS or func in _HARDTANH:
            lower, upper = argument(args, kwargs, 1, _LOWER[func in _HARDTANH]), argument(args, kwargs, 2, "max")
            found = first if _is_zero(lower) and not _is_zero(upper) else None
        elif func in _THRESHOLDS:
            is_relu = all(_is_zero(argument(args, kwargs, i, name)) for i, name in ((1, "threshold"), (2, "value")))
            found = first if is_relu else None
        elif func in _MAXIMA:
            found = _beside_zero(first, argument(args, kwargs, 1, "other"))
        elif func in _PRODUCTS:
            found = self._masked(first, argument(args, kwargs, 1, "other"))
        elif func in _WHERE:
            found = self._chosen(func, args, kwargs)
        elif func in _FILLED and len(args) + len(kwargs) == 3:
            mask, value = argument(args, kwargs, 1, "mask"), argument(args, kwargs, 2, "value")
            found = first if self._says(mask, first, is_positive=False) and _is_zero(value) else None
        return found if self.is_activation(found) else None

    def note(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        """Remembers what this call says of the sign of a tensor."""
        if func in _ALIASES:
            source = argument(args, kwargs)
            self._aliases[id(result)] = weakref.ref(result), weakref.ref(self._original(source))
        elif func in _ABOVE or func in _BELOW:
            left, right = argument(args, kwargs), argument(args, kwargs, 1, "other")
            compared = left if _is_zero(right) else right if _is_zero(left) else None
            if isinstance(compared, Tensor):
                self._remember(result, compared, is_positive=(func in _ABOVE) == (compared is left))
        elif func in _STEPS:
            self._remember(result, argument(args, kwargs), is_positive=True)
        elif func in _NEGATIONS or func in _CONVERSIONS:
            sign = self._sign(argument(args, kwargs))
            of = sign.of() if sign is not None else None
            if sign is not None and of is not None and of._version == sign.version:
                self._remember(result, of, is_positive=sign.is_positive != (func in _NEGATIONS))

    def _original(self, tensor: Tensor) -> Tensor:
        result, source = self._aliases.get(id(tensor), (None, None))
        found = source() if source is not None and result is not None and result() is tensor else None
        return tensor if found is None else found

    def _remember(self, result: Any, of: Tensor, *, is_positive: bool) -> None:
        if isinstance(result, Tensor):
            of = self._original(of)
            self._signs[id(result)] = _Sign(weakref.ref(result), weakref.ref(of), of._version, is_positive)

    def _sign(self, mask: Any) -> _Sign | None:
        sign = self._signs.get(id(mask))
        return sign if sign is not None and sign.tensor() is mask else None

    def _says(self, mask: Any, tensor: Any, *, is_positive: bool) -> bool:
        """Whether `mask` says where `tensor`, as it is now, is positive, or negative."""
        sign = self._sign(mask)
        if sign is None or not isinstance(tensor, Tensor):
            return False
        is_of = sign.of() is self._original(tensor) and tensor._version == sign.version
        return is_of and sign.is_positive is is_positive

    def _masked(self, left: Any, right: Any) -> Any:
        if self._says(right, left, is_positive=True):
            return left
        return right if self._says(left, right, is_positive=True) else None

    def _chosen(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The tensor that ``where`` keeps where it is positive, if it puts zeros elsewhere."""
        if func is torch.Tensor.where:
            mask, yes, no = argument(args, kwargs, 1, "condition"), args[0], argument(args, kwargs, 2, "other")
        else:
            mask = argument(args, kwargs, 0, "condition")
            yes, no = argument(args, kwargs, 1, "input"), argument(args, kwargs, 2, "other")
        if self._says(mask, yes, is_positive=True) and _is_zero(no):
            return yes
        return no if self._says(mask, no, is_positive=False) and _is_zero(yes) else None

    def is_activation(self, tensor: Any) -> bool:
        """Whether what a function is given is a feature, and no parameter, mask or number."""
        return (
            isinstance(tensor, Tensor)
            and tensor.is_floating_point()
            and tensor.dim() >= 2
            and id(tensor) not in self._parameters
        )


_RELUS = functions(*KINKED, *(f"{name}_" for name in KINKED))
_CLAMPS = functions("clamp", "clamp_", "clip", "clip_", "clamp_min", "clamp_min_")
_HARDTANH = functions("hardtanh", "hardtanh_")
_LOWER = {False: "min", True: "min_val"}
_THRESHOLDS = functions("threshold", "threshold_")
_MAXIMA = functions("maximum", "fmax", "max")
_PRODUCTS = functions("mul", "mul_", "multiply", "multiply_")
_WHERE = functions("where")
_FILLED = functions("masked_fill", "masked_fill_") | {torch.Tensor.__setitem__}
_ABOVE = functions("gt", "ge", "greater", "greater_equal")
_BELOW = functions("lt", "le", "less", "less_equal")
_STEPS = functions("heaviside")
_NEGATIONS = functions("logical_not", "bitwise_not", "__invert__")
_CONVERSIONS = functions("float", "double", "half", "bfloat16", "bool", "int", "long", "to", "type", "type_as")
_ALIASES = functions("detach") | {torch.Tensor.data.__get__}  # type: ignore[attr-defined]


def _is_zero(value: Any) -> bool:
    """Whether a number is 0, or all values of a tensor are."""
    if isinstance(value, Tensor):
        return value.numel() > 0 and not bool(value.any())
    return isinstance(value, int | float) and value == 0


def _beside_zero(left: Any, right: Any) -> Any:
    """Of two tensors the one that the other, all zeros, is compared with."""
    if not isinstance(left, Tensor) or not isinstance(right, Tensor):
        return None
    return left if _is_zero(right) else right if _is_zero(left) else None

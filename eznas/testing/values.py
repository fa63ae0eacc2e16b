"""Random values of every type of the language: ordinary ones, hard ones, and others that agree in one aspect."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from primitives import Aspect, Sort, Type

SHAPES: Mapping[Sort, tuple[int, ...]] = {
    Sort.INPUT_ACTIVATION: (3, 4, 5, 5),
    Sort.OUTPUT_ACTIVATION: (3, 6, 3, 3),
    Sort.WEIGHT: (6, 4, 3, 3),
    Sort.SAMPLE_KERNEL: (3, 3),
    Sort.CHANNEL_KERNEL: (4, 4),
    Sort.SCALAR: (),
    Sort.DYNAMIC: (2, 4, 4),
}
"""One small shape per sort, without the leading axis; all differ, so that mixing them up is an error."""

_KERNELS = (Sort.SAMPLE_KERNEL, Sort.CHANNEL_KERNEL)
_SPECIAL = (0.0, -0.0, torch.inf, -torch.inf, torch.nan)


def random_value(type_: Type, n: int, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """(n, ...) ordinary value of a type: normal entries; kernels symmetric and positive definite."""
    x = torch.randn((n, *SHAPES[type_.sort]), generator=generator, dtype=torch.float64)
    if type_.sort in _KERNELS:
        x = x @ x.mT + torch.eye(x.shape[-1], dtype=torch.float64)
    return x.to(dtype)


def coarse_value(type_: Type, n: int, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """(n, ...) value of whole numbers, so that there are zeros, ones and ties; n of 5 or more.

    The first item is all zeros, the second has a row of them, the third no entry above zero, the fourth a row without,
    and the fifth nothing but its last entry.
    """
    x = torch.randn((n, *SHAPES[type_.sort]), generator=generator, dtype=torch.float64).mul(1.5).round()
    x[0] = 0.0
    x[2] = -x[2].abs()
    if x.ndim > 1:
        x[1, 0] = 0.0
        x[3, 0] = -1.0 - x[3, 0].abs()
        x[4].view(-1)[:-1] = 0.0
    return _symmetric(type_, x).to(dtype)


def negative_value(type_: Type, n: int, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """(n, ...) ordinary value without an entry above zero."""
    return -random_value(type_, n, generator, dtype).abs()


def hard_value(type_: Type, n: int, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """(n, ...) value of magnitudes from 1e-30 to 1e30, with zeros of both signs, infinities and NaN; n of 5 or more."""
    x = random_value(type_, n, generator, torch.float64)
    scales = 10.0 ** torch.linspace(-30, 30, n, dtype=torch.float64)
    x = (x * scales.reshape(n, *([1] * (x.ndim - 1)))).to(dtype)
    x[0] = 0.0
    places = x if x.ndim == 1 else x[n // 2].view(-1)
    places[: len(_SPECIAL)] = torch.tensor(_SPECIAL, dtype=dtype)[: len(places)]
    return _symmetric(type_, x)


def redrawn(aspect: Aspect, type_: Type, x: Tensor, generator: torch.Generator, *, exactly: bool) -> Tensor:
    """Another value of a type that agrees with `x` in an aspect and is drawn anew in everything else.

    Args:
        aspect: what is the same.
        type_: the type of `x`.
        x: (n, ...) value.
        generator: draws the rest.
        exactly: whether NaN may replace what cannot be told from it by the aspect.
    """
    magnitudes = torch.rand(x.shape, generator=generator, dtype=torch.float64).to(x.dtype) + 0.5
    negative = torch.rand(x.shape, generator=generator) < 0.5
    hidden = torch.rand(x.shape, generator=generator) < (0.2 if exactly else 0.0)
    signed = torch.where(negative, -magnitudes, magnitudes)
    below = torch.where(negative, -magnitudes, torch.zeros_like(x))
    hole = torch.full_like(x, torch.nan)
    match aspect:
        case Aspect.VALUES:
            return x
        case Aspect.UP_TO_SIGN:
            return -x
        case Aspect.MAGNITUDES:
            found = torch.where(negative, -x, x)
        case Aspect.POSITIVE_PARTS:
            found = torch.where(x < 0, below, x)
        case Aspect.SIGNS:
            found = torch.where(x.sign() == 0, torch.where(hidden, hole, x), x.sign() * magnitudes)
        case Aspect.ZEROS:
            found = torch.where(x == 0, x, torch.where(hidden, hole, signed))
        case Aspect.POSITIVES:
            found = torch.where(x > 0, magnitudes, torch.where(hidden, hole, below))
        case Aspect.SHAPE:
            found = torch.where(hidden, hole, signed)
    return _symmetric(type_, found)


def agrees(aspect: Aspect, x: Tensor, y: Tensor) -> bool:
    """Whether two (n, ...) values agree in an aspect, to the last bit where it has bits."""
    if x.shape != y.shape or aspect is Aspect.SHAPE:
        return x.shape == y.shape
    match aspect:
        case Aspect.UP_TO_SIGN:
            return all(same_bits(a, b) or same_bits(-a, b) for a, b in zip(x, y, strict=True))
        case Aspect.MAGNITUDES:
            return same_bits(x.abs(), y.abs())
        case Aspect.POSITIVE_PARTS:
            return same_bits(*(torch.where(v < 0, torch.zeros_like(v), v) for v in (x, y)))
        case Aspect.SIGNS:
            return same_bits(x.sign(), y.sign())
        case Aspect.ZEROS:
            return torch.equal(x == 0, y == 0)
        case Aspect.POSITIVES:
            return torch.equal(x > 0, y > 0)
    return same_bits(x, y)


def same_bits(x: Tensor, y: Tensor) -> bool:
    """Whether two values are the same to the last bit, the sign of zeros included; every NaN is one."""
    is_alike = x.shape == y.shape and torch.equal(x.isnan(), y.isnan())
    return is_alike and bool((x.isnan() | ((x == y) & (x.signbit() == y.signbit()))).all())


def _symmetric(type_: Type, x: Tensor) -> Tensor:
    """The value with the lower half of every kernel mirrored."""
    return x.tril() + x.tril(-1).mT if type_.sort in _KERNELS else x

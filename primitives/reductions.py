"""Operators that reduce a tensor or kernel to one number per layer (or network)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from primitives.aspects import Aspect
from primitives.elementwise import absolute, heaviside
from primitives.numerics import DIVISION_FLOOR, deviation, flat, is_above, per_item, reciprocal_length, rows
from primitives.primitive import primitive
from primitives.types import TENSOR, TYPED_TENSOR, WITH_CHANNELS, ScalarOf


@primitive("mean", (TENSOR,), ScalarOf(TENSOR), latex=r"\overline{{{0}}}")
def mean(x: Float[Tensor, "n *s"]) -> Float[Tensor, " n"]:
    """Mean over all entries (the paper's "normalised sum")."""
    return flat(x).mean(dim=1)


@primitive("sum", (TENSOR,), ScalarOf(TENSOR), latex=r"\Sigma\left({0}\right)")
def sum_entries(x: Float[Tensor, "n *s"]) -> Float[Tensor, " n"]:
    """Sum over all entries."""
    return flat(x).sum(dim=1)


@primitive(
    "mean_abs", (TENSOR,), ScalarOf(TENSOR), latex=r"\overline{{\left|{0}\right|}}", passes=2.0,
    sees=Aspect.MAGNITUDES, bitwise=True, non_negative=True, merges=(mean, absolute),
)  # fmt: skip
def mean_abs(x: Float[Tensor, "n *s"]) -> Float[Tensor, " n"]:
    """Mean magnitude of the entries."""
    return flat(x).abs().mean(dim=1)


@primitive(
    "standard_deviation", (TENSOR,), ScalarOf(TENSOR), latex=r"\mathrm{{sd}}\left({0}\right)", passes=2.0,
    sees=Aspect.UP_TO_SIGN, non_negative=True,
)  # fmt: skip
def standard_deviation(x: Float[Tensor, "n *s"]) -> Float[Tensor, " n"]:
    """Population standard deviation of the entries; 0 for a single entry."""
    return deviation(flat(x))


@primitive(
    "frobenius_norm", (TENSOR,), ScalarOf(TENSOR), latex=r"\left\|{0}\right\|_F", passes=2.0,
    sees=Aspect.MAGNITUDES, bitwise=True, non_negative=True,
)  # fmt: skip
def frobenius_norm(x: Float[Tensor, "n *s"]) -> Float[Tensor, " n"]:
    """Square root of the sum of squares of the entries."""
    return torch.linalg.vector_norm(flat(x), dim=1)


@primitive("largest", (TENSOR,), ScalarOf(TENSOR), latex=r"\max\left({0}\right)")
def largest(x: Float[Tensor, "n *s"]) -> Float[Tensor, " n"]:
    """Largest entry; NaN if any is."""
    return flat(x).amax(dim=1)


@primitive(
    "share_positive", (TENSOR,), ScalarOf(TENSOR), latex=r"P\left({0} > 0\right)", passes=2.0,
    sees=Aspect.POSITIVES, bitwise=True, non_negative=True, merges=(mean, heaviside),
)  # fmt: skip
def share_positive(x: Float[Tensor, "n *s"]) -> Float[Tensor, " n"]:
    """Share of entries above zero, in [0, 1]; NaN entries count as not above."""
    return is_above(flat(x)).mean(dim=1)


@primitive(
    "numel", (TENSOR,), ScalarOf(TENSOR), latex=r"\#\left({0}\right)", passes=0.0,
    sees=Aspect.SHAPE, non_negative=True,
)  # fmt: skip
def numel(x: Float[Tensor, "n *s"]) -> Float[Tensor, " n"]:
    """Number of entries."""
    return x.new_full((x.shape[0],), float(x[0].numel()) if x.shape[0] else 0.0)


@primitive(
    "cosine", (TYPED_TENSOR, TYPED_TENSOR), ScalarOf(TYPED_TENSOR),
    latex=r"\cos\left({0}, {1}\right)", commutative=True, passes=4.0,
)  # fmt: skip
def cosine(x: Float[Tensor, "n *s"], y: Float[Tensor, "n *s"]) -> Float[Tensor, " n"]:
    """Cosine of the angle between the two tensors read as vectors; 0 if either is zero."""
    x, y = flat(x), flat(y)
    return (x * y).sum(dim=1) * reciprocal_length(x) * reciprocal_length(y)


@primitive("standardise", (TENSOR,), TENSOR, latex=r"\mathrm{{z}}\left({0}\right)", passes=4.0)
def standardise(x: Float[Tensor, "n *s"]) -> Float[Tensor, "n *s"]:
    """``(x - mean) / sd`` with mean and population standard deviation over all entries; a constant gives 0."""
    centred = x - per_item(flat(x).mean(dim=1), x)
    spread = torch.linalg.vector_norm(flat(centred), dim=1) / flat(x).shape[1] ** 0.5
    return centred * per_item(spread / (spread * spread + DIVISION_FLOOR**2), x)


@primitive(
    "row_share_dead", (WITH_CHANNELS,), ScalarOf(WITH_CHANNELS), latex=r"\mathrm{{dead}}\left({0}\right)", passes=2.0,
    sees=Aspect.ZEROS, bitwise=True, non_negative=True,
)  # fmt: skip
def row_share_dead(x: Float[Tensor, "n d *s"]) -> Float[Tensor, " n"]:
    """Share of samples (activations) or filters (weights) whose entries are all exactly zero."""
    return (rows(x).abs().amax(dim=2) == 0).to(x.dtype).mean(dim=1)


REDUCTIONS = (
    mean, sum_entries, mean_abs, standard_deviation, frobenius_norm, largest, share_positive, numel, cosine,
    standardise, row_share_dead,
)  # fmt: skip

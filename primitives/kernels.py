"""Operators that compare samples or channels with each other, and what can be read off such a kernel.

Every kernel is symmetric: it is built symmetric, and elementwise operators and aggregations keep it so.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from primitives.aspects import Aspect
from primitives.numerics import (
    DIVISION_FLOOR,
    LOG_FLOOR,
    SPECTRUM_FLOOR,
    centred_rows,
    is_above,
    log_abs_det,
    row_cosines,
    row_products,
    rows,
    spectrum,
)
from primitives.primitive import primitive
from primitives.types import (
    ACTIVATION,
    CHANNEL_KERNEL,
    KERNEL,
    LAYER_KERNEL,
    OUTPUT_ACTIVATION,
    WEIGHT,
    ScalarOf,
)


@primitive(
    "gram_kernel", (ACTIVATION,), LAYER_KERNEL, latex=r"\mathrm{{gram}}\left({0}\right)", passes=2.0,
    sees=Aspect.UP_TO_SIGN,
)  # fmt: skip
def gram_kernel(x: Float[Tensor, "n batch *s"]) -> Float[Tensor, "n batch batch"]:
    """Mean product of the entries of each pair of samples."""
    x = rows(x)
    return row_products(x) / x.shape[2]


@primitive(
    "agreement_kernel", (ACTIVATION,), LAYER_KERNEL, latex=r"\mathrm{{agree}}\left({0}\right)", passes=4.0,
    sees=Aspect.POSITIVES, bitwise=True,
)  # fmt: skip
def agreement_kernel(x: Float[Tensor, "n batch *s"]) -> Float[Tensor, "n batch batch"]:
    """Number of entries whose indicators [x > 0] agree between each pair of samples.

    Source: Mellor et al. 2021, "Neural Architecture Search without Training", eq. 2: ``N_A - Hamming distance``.
    """
    positive = is_above(rows(x))
    both = positive @ positive.mT
    counts = torch.diagonal(both, dim1=1, dim2=2)
    return positive.shape[2] - counts[:, :, None] - counts[:, None, :] + 2.0 * both


@primitive(
    "correlation_kernel", (ACTIVATION,), LAYER_KERNEL, latex=r"\mathrm{{corr}}\left({0}\right)", passes=5.0,
    sees=Aspect.UP_TO_SIGN,
)  # fmt: skip
def correlation_kernel(x: Float[Tensor, "n batch *s"]) -> Float[Tensor, "n batch batch"]:
    """Pearson correlation between each pair of samples; 0 with a sample of zeros."""
    return row_cosines(centred_rows(rows(x)))


@primitive(
    "channel_covariance", (OUTPUT_ACTIVATION,), CHANNEL_KERNEL, latex=r"\mathrm{{cov}}_c\left({0}\right)", passes=5.0,
    sees=Aspect.UP_TO_SIGN,
)  # fmt: skip
def channel_covariance(x: Float[Tensor, "n batch channels *s"]) -> Float[Tensor, "n channels channels"]:
    """Population covariance between each pair of output channels over samples and positions.

    Of the output side only, as the filters of a weight are: so all channel kernels of a layer have one size.
    """
    by_channel = centred_rows(rows(x.transpose(1, 2).contiguous()))
    return row_products(by_channel) / by_channel.shape[2]


@primitive(
    "filter_correlation", (WEIGHT,), CHANNEL_KERNEL, latex=r"\mathrm{{corr}}_f\left({0}\right)", passes=5.0,
    sees=Aspect.UP_TO_SIGN,
)  # fmt: skip
def filter_correlation(x: Float[Tensor, "n out *s"]) -> Float[Tensor, "n out out"]:
    """Pearson correlation between each pair of filters of a weight (or of its gradient)."""
    return row_cosines(centred_rows(rows(x)))


@primitive(
    "log_abs_determinant", (KERNEL,), ScalarOf(KERNEL), latex=r"\ln\left|\det\left({0}\right)\right|", passes=8.0,
    sees=Aspect.UP_TO_SIGN,
)  # fmt: skip
def log_abs_determinant(x: Float[Tensor, "n d d"]) -> Float[Tensor, " n"]:
    """Log of the absolute determinant, in nats; -inf if singular (the evaluator reports it as `Invalid`).

    Source: Mellor et al. 2021, the NASWOT score, applied to the kernel of agreements.
    """
    return log_abs_det(x).to(x.dtype)


@primitive("spectral_score", (KERNEL,), ScalarOf(KERNEL), latex=r"\mathrm{{spec}}\left({0}\right)", passes=20.0)
def spectral_score(x: Float[Tensor, "n d d"]) -> Float[Tensor, " n"]:
    """``-Σ (ln(λ + k) + 1/(λ + k))`` over the eigenvalues, k = `SPECTRUM_FLOOR`; negative λ count as 0.

    Source: the Jacobian-covariance score of Mellor et al. (first version of NASWOT), there of a correlation matrix.
    """
    values = spectrum(x).clamp(min=0.0) + SPECTRUM_FLOOR
    return -(values.log() + 1.0 / values).sum(dim=1).to(x.dtype)


@primitive(
    "spectral_entropy", (KERNEL,), ScalarOf(KERNEL), latex=r"H\left({0}\right)", passes=20.0,
    sees=Aspect.UP_TO_SIGN,
)  # fmt: skip
def spectral_entropy(x: Float[Tensor, "n d d"]) -> Float[Tensor, " n"]:
    """Entropy of the normalised eigenvalue magnitudes, in nats; 0 for the zero kernel.

    Source: the expressivity term of AZ-NAS (2024), there of a channel covariance.
    """
    magnitudes = spectrum(x).abs()
    total = magnitudes.sum(dim=1, keepdim=True)
    shares = magnitudes * (total / (total * total + DIVISION_FLOOR**2))
    return -(shares * (shares + LOG_FLOOR).log()).sum(dim=1).to(x.dtype)


@primitive(
    "condition_number", (KERNEL,), ScalarOf(KERNEL), latex=r"\kappa\left({0}\right)", passes=20.0,
    sees=Aspect.UP_TO_SIGN, non_negative=True,
)  # fmt: skip
def condition_number(x: Float[Tensor, "n d d"]) -> Float[Tensor, " n"]:
    """Largest over smallest eigenvalue magnitude, each raised by `SPECTRUM_FLOOR`."""
    magnitudes = spectrum(x).abs() + SPECTRUM_FLOOR
    return (magnitudes.amax(dim=1) / magnitudes.amin(dim=1)).to(x.dtype)


@primitive("trace", (KERNEL,), ScalarOf(KERNEL), latex=r"\mathrm{{tr}}\left({0}\right)", passes=0.1)
def trace(x: Float[Tensor, "n d d"]) -> Float[Tensor, " n"]:
    """Sum of the diagonal."""
    return torch.diagonal(x, dim1=1, dim2=2).sum(dim=1)


@primitive(
    "off_diagonal_mean_abs",
    (KERNEL,),
    ScalarOf(KERNEL),
    latex=r"\overline{{\left|\mathrm{{off}}\left({0}\right)\right|}}",
    passes=1.0,
    sees=Aspect.MAGNITUDES,
    non_negative=True,
)
def off_diagonal_mean_abs(x: Float[Tensor, "n d d"]) -> Float[Tensor, " n"]:
    """Mean magnitude of the entries off the diagonal; 0 for a 1 x 1 kernel."""
    size = x.shape[1]
    total = x.abs().sum(dim=(1, 2)) - torch.diagonal(x, dim1=1, dim2=2).abs().sum(dim=1)
    return total / max(size * (size - 1), 1)


KERNELS = (
    gram_kernel, agreement_kernel, correlation_kernel, channel_covariance, filter_correlation,
    log_abs_determinant, spectral_score, spectral_entropy, condition_number, trace, off_diagonal_mean_abs,
)  # fmt: skip

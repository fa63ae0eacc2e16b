"""What can be read off the spectrum of a kernel whatever its scale: a kernel and its double say the same.

Spectra of raw kernels saturate at the floor that protects them where activations are small, and then say nothing; and a
number that changes with the scale of weights or images does not travel between families of networks. Negative
eigenvalues, which elementwise operators can bring about, count by their magnitude.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from primitives.aspects import Aspect
from primitives.numerics import DIVISION_FLOOR, SPECTRUM_FLOOR, per_item, spectrum
from primitives.primitive import primitive
from primitives.types import KERNEL, ScalarOf


@primitive(
    "participation_ratio", (KERNEL,), ScalarOf(KERNEL), latex=r"\mathrm{{pr}}\left({0}\right)", passes=2.0,
    sees=Aspect.UP_TO_SIGN, non_negative=True,
)  # fmt: skip
def participation_ratio(x: Float[Tensor, "n d d"]) -> Float[Tensor, " n"]:
    """``tr(x)² / tr(x²)``, an effective rank without eigenvalues: 1 of rank one, d of the identity, 0 of zeros.

    Source: Gao et al. 2017, "A theory of multineuronal dimensionality", there of a covariance.
    """
    scaled = _of_unit_scale(x)
    trace = torch.diagonal(scaled, dim1=1, dim2=2).sum(dim=1)
    energy = scaled.square().sum(dim=(1, 2))
    return trace.square() * (energy / (energy * energy + DIVISION_FLOOR**2))


@primitive(
    "stable_rank", (KERNEL,), ScalarOf(KERNEL), latex=r"\mathrm{{sr}}\left({0}\right)", passes=20.0,
    sees=Aspect.UP_TO_SIGN, non_negative=True,
)  # fmt: skip
def stable_rank(x: Float[Tensor, "n d d"]) -> Float[Tensor, " n"]:
    """Sum of the eigenvalue magnitudes over the largest: between 1 and d; 0 of zeros.

    Source: Rudelson and Vershynin 2007; of a Gram matrix this is the stable rank of the vectors it is made of.
    """
    magnitudes = spectrum(_of_unit_scale(x)).abs()
    largest = magnitudes.amax(dim=1)
    return (magnitudes.sum(dim=1) * (largest / (largest * largest + DIVISION_FLOOR**2))).to(x.dtype)


@primitive(
    "inverse_condition", (KERNEL,), ScalarOf(KERNEL), latex=r"\kappa^{{-1}}\left({0}\right)", passes=20.0,
    sees=Aspect.UP_TO_SIGN, non_negative=True,
)  # fmt: skip
def inverse_condition(x: Float[Tensor, "n d d"]) -> Float[Tensor, " n"]:
    """Smallest over largest eigenvalue magnitude, in [0, 1]; 0 of a singular kernel."""
    magnitudes = spectrum(_of_unit_scale(x)).abs()
    largest = magnitudes.amax(dim=1)
    return (magnitudes.amin(dim=1) * (largest / (largest * largest + DIVISION_FLOOR**2))).to(x.dtype)


@primitive(
    "mean_log_eigenvalue", (KERNEL,), ScalarOf(KERNEL), latex=r"\overline{{\ln\lambda}}\left({0}\right)", passes=20.0,
    sees=Aspect.UP_TO_SIGN,
)  # fmt: skip
def mean_log_eigenvalue(x: Float[Tensor, "n d d"]) -> Float[Tensor, " n"]:
    """Mean of ``ln(|λ| / m + k)``, m the mean magnitude of the eigenvalues and k = `SPECTRUM_FLOOR`.

    A log-determinant that neither the scale nor the size of the kernel changes: about 0 if all eigenvalues are alike,
    down to ln k = -11.5 of a kernel of low rank.
    """
    magnitudes = spectrum(_of_unit_scale(x)).abs()
    mean = magnitudes.mean(dim=1, keepdim=True)
    return (magnitudes * (mean / (mean * mean + DIVISION_FLOOR**2)) + SPECTRUM_FLOOR).log().mean(dim=1).to(x.dtype)


def _of_unit_scale(x: Tensor) -> Tensor:
    """A kernel over its largest magnitude, so that products of its entries neither vanish nor overflow; zeros stay."""
    scale = x.abs().amax(dim=(1, 2))
    return x / per_item(torch.where(scale > 0, scale, torch.ones_like(scale)), x)


SPECTRA = (participation_ratio, stable_rank, inverse_condition, mean_log_eigenvalue)

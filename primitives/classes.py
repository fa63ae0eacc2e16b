"""Operators that published estimators need beside the others: correlations within classes, and energies of channels."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from primitives.numerics import SPECTRUM_FLOOR
from primitives.primitive import primitive
from primitives.types import LAYER_SCALAR, NETWORK_KERNEL, NETWORK_SCALAR, OUTPUT_ACTIVATION, WEIGHT


@primitive(
    "class_separation", (NETWORK_KERNEL, NETWORK_KERNEL), NETWORK_SCALAR,
    latex=r"\mathrm{{sep}}\left({0}, {1}\right)", passes=0.1,
)  # fmt: skip
def class_separation(x: Float[Tensor, "n batch batch"], same: Float[Tensor, "n batch batch"]) -> Float[Tensor, " n"]:
    """``Σ_c |Σ_ij ln(|x_ij| + k)|`` with i and j over the images of class c, and k = `SPECTRUM_FLOOR`.

    Args:
        x: kernel between samples, for example their correlation.
        same: 1 where two samples share a class, else 0, as ``same_class``.

    Source: EPE-NAS (Lopes et al. 2021), the form for up to 100 classes, there of a correlation of Jacobians.
    """
    within, sizes = _within_classes(x, same)
    return (within.abs() / sizes).sum(dim=1)  # each class occurs once for each of its samples


@primitive(
    "class_separation_spread", (NETWORK_KERNEL, NETWORK_KERNEL), NETWORK_SCALAR,
    latex=r"\mathrm{{sep}}_{{\Delta}}\left({0}, {1}\right)", passes=0.1,
)  # fmt: skip
def class_separation_spread(
    x: Float[Tensor, "n batch batch"], same: Float[Tensor, "n batch batch"]
) -> Float[Tensor, " n"]:
    """``(1/m) Σ_c Σ_c' |e_c / n_c - e_c' / n_c'|`` over the m classes of two samples or more; 0 without any.

    Here ``e_c = Σ_ij ln(|x_ij| + k)`` over the images of class c, n_c is their number and k = `SPECTRUM_FLOOR`.

    Args:
        x: kernel between samples, for example their correlation.
        same: 1 where two samples share a class, else 0, as ``same_class``.

    Source: EPE-NAS (Lopes et al. 2021), the released form for more than 100 classes.
    """
    within, sizes = _within_classes(x, same)
    share = (sizes > 1).to(x.dtype) / sizes  # so that the samples of a class weigh 1 together
    means = within / sizes
    distances = (means[:, :, None] - means[:, None, :]).abs()
    total = (distances * share[:, :, None] * share[:, None, :]).sum(dim=(1, 2))
    return total / share.sum(dim=1).clamp(min=1.0)


def _within_classes(x: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
    """(n, batch) ``e_c`` of each sample's class, and (n, batch) the size of that class, at least 1."""
    logs = ((x.abs() + SPECTRUM_FLOOR).log() * same).sum(dim=2)
    within = (same * logs[:, None, :]).sum(dim=2)
    return within, same.sum(dim=2).clamp(min=1.0)


@primitive("map_energy", (OUTPUT_ACTIVATION,), LAYER_SCALAR, latex=r"E\left({0}\right)", passes=2.0)
def map_energy(x: Float[Tensor, "n batch channels *s"]) -> Float[Tensor, " n"]:
    """Mean over samples of the sum over channels of the squared sum over places.

    Source: the saliency of channels of Theis et al. 2018 (Fisher pruning), without its factor 1/2.
    """
    return x.flatten(3).sum(dim=3).square().sum(dim=2).mean(dim=1)


@primitive("filter_size", (WEIGHT,), LAYER_SCALAR, latex=r"\#_f\left({0}\right)", passes=0.0)
def filter_size(x: Float[Tensor, "n out *s"]) -> Float[Tensor, " n"]:
    """Number of weights of one filter: input channels per group times the area of the kernel."""
    return x.new_full((x.shape[0],), float(x[0, 0].numel()) if x.shape[0] else 0.0)


CLASS_OPERATORS = (class_separation, class_separation_spread, map_energy, filter_size)

"""Estimators from the gradients of the summed logits for each image: how differently a network treats its images."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from eznas.estimators.gradient_pass import GradientPass, Part
from eznas.estimators.reading import Reading

CORRELATION_EPS: Final = 1e-5
"""k of `jacob_cov` and `epe_nas`."""
MANY_CLASSES: Final = 100
"""The largest number of classes for which `epe_nas` has its first form."""


def jacob_cov(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """How far apart the network's linear maps at the images of a batch lie ("NASWOT v1", also "jacov").

    With R the (batch, batch) Pearson correlation of the gradients of the summed logits with respect to each image, and
    L_i its eigenvalues,

        score = - sum_i [ ln(L_i + k) + 1 / (L_i + k) ],   k = 1e-5,

    at most ``-batch`` (all L_i = 1: uncorrelated maps). Eigenvalues are those of a symmetric matrix; the released code
    uses a general solver, which can return tiny negative or complex ones.

    Returns:
        The score; NaN if the gradient of an image is constant, such as for a network whose last layer is zero, as some
        are initialised.

    Raises:
        UnfitError: if the network does not return (batch, n_classes) logits.

    Source: `Mellor 2021 <https://arxiv.org/abs/2006.04647>`_, first version of the preprint (eq. 2).
    """
    return JACOB_COV.alone(network, inputs, targets)


def epe_nas(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """How uncorrelated the network's linear maps are at images of one class, with as many classes as the network has.

    With R_c the correlation of the Jacobians of the images of class c (see `class_separation` for both forms), and the
    number of classes C that of the logits: the first form for C <= 100, the second above it.

    Returns:
        The score, in nats; NaN if the gradient of an image is constant, such as for a network whose last layer is zero,
        as some are initialised, and in the second form if no class has two images. Without a second image in any class
        it is nearly constant.

    Raises:
        ConfigError: if `targets` is absent.
        UnfitError: if it holds a class that the network does not have, or the network returns no such logits.

    Source: `Lopes 2021 <https://arxiv.org/abs/2102.08099>`_, as in the released code; the two forms are joined as
    NAS-Bench-Suite-Zero runs them, which passes the number of classes.
    """
    return EPE_NAS.alone(network, inputs, targets)


def epe_nas_as_released(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """`epe_nas` in its first form for any number of classes.

    The authors' search never passes the number of classes, so that the second form is not used even for
    ImageNet16-120. Equal to `epe_nas` for up to 100 classes.

    Returns:
        The score, in nats; NaN if the gradient of an image is constant, such as for a network whose last layer is zero,
        as some are initialised.

    Raises:
        ConfigError, UnfitError: as `epe_nas`.

    Source: `Lopes 2021 <https://arxiv.org/abs/2102.08099>`_, the released code.
    """
    return EPE_NAS_AS_RELEASED.alone(network, inputs, targets)


def class_separation(jacobian: Tensor, labels: Tensor, *, n_classes: int) -> float:
    """The score of `epe_nas` from the Jacobians.

    With n_c the number of images of class c, R_c their (n_c, n_c) Pearson correlation and k = 1e-5,

        e_c = sum_ij ln(\\|R_c[i, j]\\| + k)
        score = sum_c \\|e_c\\|                                  if n_classes <= 100
        score = (1 / m) sum_c sum_c' \\|e_c / n_c - e_c' / n_c'\\|  if n_classes > 100

    where the second runs over the m classes with at least two images, each ordered pair once; the first also counts
    classes of one image, with e_c about k.

    Args:
        jacobian: (batch, features), one row per image.
        labels: (batch,) classes.
        n_classes: chooses the form.

    Returns:
        In nats; NaN if a row is constant or, in the second form, if no class has two images.
    """
    separations = []
    for label in labels.unique():
        rows = jacobian[labels == label]
        separation = (_correlation(rows).abs() + CORRELATION_EPS).log().sum()
        if n_classes <= MANY_CLASSES:
            separations.append(separation.abs())
        elif len(rows) > 1:
            separations.append(separation / len(rows))
    if not separations:
        return float("nan")
    each = torch.stack(separations)
    if n_classes <= MANY_CLASSES:
        return float(each.sum())
    return float((each[:, None] - each[None, :]).abs().sum() / len(each))


def _spread(shown: GradientPass) -> float:
    """`jacob_cov`."""
    jacobian, _ = shown.images
    correlation = _correlation(jacobian)
    if not correlation.isfinite().all():
        return float("nan")
    shifted = torch.linalg.eigvalsh(correlation) + CORRELATION_EPS
    return float(-(shifted.log() + 1 / shifted).sum())


def _separation(shown: GradientPass) -> float:
    """`epe_nas`."""
    jacobian, logits = shown.images
    return class_separation(jacobian, shown.labels, n_classes=logits.shape[1])


def _separation_as_released(shown: GradientPass) -> float:
    """`epe_nas_as_released`."""
    jacobian, _ = shown.images
    return class_separation(jacobian, shown.labels, n_classes=1)


def _correlation(rows: Tensor) -> Tensor:
    """(n, n) Pearson correlation of n rows; NaN where a row is constant."""
    return torch.corrcoef(rows).reshape(len(rows), len(rows))


JACOB_COV: Final = Reading(GradientPass, Part.IMAGES, _spread)
EPE_NAS: Final = Reading(GradientPass, Part.IMAGES, _separation)
EPE_NAS_AS_RELEASED: Final = Reading(GradientPass, Part.IMAGES, _separation_as_released)

"""What scores are ranked against: the accuracies of one task, and what else is known of its networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy

from eznas.errors import BenchmarkError

FloatArray = npt.NDArray[np.float64]

MIN_NETWORKS: Final = 5
"""Networks below which no rank correlation is quoted, and its standard error cannot be estimated."""
N_GROUPS: Final = 5
"""Groups of `quintiles`."""


@dataclass(frozen=True, slots=True, eq=False)
class Covariates:
    """What the size of networks says of them without any score, one entry per network.

    Raises:
        BenchmarkError: if the three are not lists of one length, a value is not finite, or a level not a whole number.
    """

    log_parameters: FloatArray  # (n,) natural logarithm of the number of parameters
    log_macs: FloatArray  # (n,) natural logarithm of the multiply-accumulates of one image
    levels: npt.NDArray[np.int64]  # (n,) complexity level; networks of one level count as equally complex

    def __post_init__(self) -> None:
        levels = np.asarray(self.levels)
        logarithms = {
            "log_parameters": np.array(self.log_parameters, dtype=np.float64),
            "log_macs": np.array(self.log_macs, dtype=np.float64),
        }
        shapes = {values.shape for values in (*logarithms.values(), levels)}
        if len(shapes) > 1 or levels.ndim != 1:
            raise BenchmarkError(
                f"Covariates must be three lists of one length, one entry per network, got the shapes {sorted(shapes)}."
            )
        if levels.dtype.kind not in "iu":
            raise BenchmarkError(f"Complexity levels must be whole numbers, got values of type {levels.dtype}.")
        for name, values in logarithms.items():
            n_bad = int((~np.isfinite(values)).sum())
            if n_bad:
                raise BenchmarkError(
                    f"Covariate {name} must be finite, but {n_bad} of {values.size} values are not; count at least one "
                    f"parameter and one operation per network, or leave the covariates out."
                )
            values.setflags(write=False)
            object.__setattr__(self, name, values)
        levels = levels.astype(np.int64)
        levels.setflags(write=False)
        object.__setattr__(self, "levels", levels)


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The accuracies of one task, and which columns of the score matrix they belong to.

    Raises:
        BenchmarkError: if the lists do not match, a network occurs twice, an accuracy is not finite, there are fewer
            than five networks, or all accuracies are equal.
    """

    task: str
    accuracies: npt.NDArray[np.float64]  # (n,)
    networks: npt.NDArray[np.int64]  # (n,) column of each network in the score matrix
    covariates: Covariates | None = None  # of the same n networks in the same order; None if they are not known
    group: str = ""  # of tasks whose networks are of one kind, and are left out together; empty: a kind of its own

    def __post_init__(self) -> None:
        networks = np.asarray(self.networks)
        accuracies = np.array(self.accuracies, dtype=np.float64)
        what = f"The labels of task {self.task!r}"
        if networks.ndim != 1 or accuracies.shape != networks.shape:
            raise BenchmarkError(
                f"{what} must be one accuracy per network, but there are accuracies of shape {accuracies.shape} and "
                f"networks of shape {networks.shape}."
            )
        if accuracies.size < MIN_NETWORKS:
            raise BenchmarkError(f"{what} cover {accuracies.size} network(s); use at least {MIN_NETWORKS}.")
        if networks.dtype.kind not in "iu" or networks.min() < 0 or np.unique(networks).size != networks.size:
            raise BenchmarkError(f"{what} must name distinct columns of the score matrix, counted from 0.")
        if not np.isfinite(accuracies).all():
            raise BenchmarkError(f"{what} hold {(~np.isfinite(accuracies)).sum()} accuracies that are not finite.")
        if accuracies.min() == accuracies.max():
            raise BenchmarkError(f"{what} are all {accuracies[0]:g}, so no order can be learnt; use other networks.")
        if self.covariates is not None and self.covariates.levels.shape != accuracies.shape:
            raise BenchmarkError(
                f"{what} cover {accuracies.size} networks, but their covariates cover {self.covariates.levels.size}."
            )
        accuracies.setflags(write=False)
        object.__setattr__(self, "accuracies", accuracies)
        object.__setattr__(self, "networks", networks.astype(np.int64))


def quintiles(values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Complexity levels 0 to 4 for a space without natural ones: five groups by size, equal values never split.

    Args:
        values: (n,) finite sizes, such as MACs.

    Returns:
        (n,) levels, the smallest networks first. Of equal size if there are no ties; a value that many networks share
        goes where its middle rank belongs, so that some levels may be empty.

    Source: the groups by FLOPs of `Ning et al. 2021 <https://arxiv.org/abs/2008.03064>`_.

    Raises:
        ValueError: if there is no value, or one is not finite.
    """
    sizes = np.asarray(values, dtype=np.float64)
    if sizes.ndim != 1 or not sizes.size or not np.isfinite(sizes).all():
        raise ValueError(f"Quintiles need one finite size per network, got {sizes.size} of shape {sizes.shape}.")
    middles = scipy.stats.rankdata(sizes) - 0.5
    return np.asarray(np.floor(N_GROUPS * middles / sizes.size), dtype=np.int64)

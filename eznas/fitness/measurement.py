"""A measurement: what is known of a proxy on a sample."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from eznas.forms import Form

CRITERIA: Final = ("tau", "rho", "top_tau", "level_rho", "partial_rho", "ndcg")
"""Criteria of a measurement in the order of tables: rows of `eznas.fitness.OBJECTIVES`, which has their titles."""

_Count = Annotated[int, Field(ge=0, le=10**9)]
_Kind = Annotated[str, Field(min_length=1, max_length=200)]


class Criterion(Form, strict=True):
    """The value of one criterion and its 95 % interval over the choice of networks; higher is better."""

    value: float
    low: float | None = None
    """None, as `high`, if the criterion has a value on no resample."""
    high: float | None = None


class Measurement(Form, strict=True):
    """How a proxy orders the networks of one sample, in its own direction; failed networks share the last rank.

    A criterion is None if it has no value: all of them for the `reason` that is then given, single ones if the sample
    is too small for them, or if it has no covariates.
    """

    n: Annotated[int, Field(ge=1, le=10**9)]
    """Networks, failed ones included."""
    n_failed: _Count
    """Networks without a finite score."""
    failures: Annotated[dict[_Kind, _Count], Field(max_length=100)]
    """How many of them failed in which way."""
    share_tied: Annotated[float, Field(ge=0, le=1)]
    """Of all pairs of networks, those with equal scores."""
    tau: Criterion | None = None
    """Kendall's tau-b."""
    rho: Criterion | None = None
    """Spearman's rho."""
    top_tau: Criterion | None = None
    """tau-b within the top tenth by accuracy."""
    level_rho: Criterion | None = None
    """rho within equal complexity, the mean over levels."""
    partial_rho: Criterion | None = None
    """rho given the logarithms of parameters and MACs."""
    ndcg: Criterion | None = None
    """Normalised discounted cumulative gain of the first 1,000."""
    reason: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    """Why the proxy ranks no networks, as a clause that completes "because"."""

    @property
    def criteria(self) -> dict[str, Criterion]:
        """Those that have a value, by name, in the order of `CRITERIA`."""
        found = {name: getattr(self, name) for name in CRITERIA}
        return {name: criterion for name, criterion in found.items() if criterion is not None}

"""A measurement: what is known of a proxy on a sample, in memory and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eznas.errors import RunError

CRITERIA: Final = ("tau", "rho", "top_tau", "level_rho", "partial_rho", "ndcg")
"""Criteria of a measurement in the order of tables: rows of `eznas.fitness.OBJECTIVES`, which has their titles."""

_Number = Annotated[float, Field(allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0, le=10**9)]
_Kind = Annotated[str, Field(min_length=1, max_length=200)]


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Criterion(_Stored):
    """The value of one criterion and its 95 % interval over the choice of networks; higher is better."""

    value: _Number
    low: _Number | None = None
    """None, as `high`, if the criterion has a value on no resample."""
    high: _Number | None = None


class Measurement(_Stored):
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

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary that `from_dict` reads back."""
        return self.model_dump(mode="json")

    @classmethod
    def from_dict(cls, data: object, where: str = "A recorded measurement") -> Measurement:
        """The measurement that `as_dict` described.

        Args:
            data: what was read.
            where: of the sentence that says what is wrong with it.

        Raises:
            RunError: if a key is missing or unknown, or a value of another type, not finite or too large.
        """
        if not isinstance(data, Mapping):
            raise RunError(f"{where} is damaged: expected a table of values, got {data!r:.60}")
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            first = error.errors()[0]
            path = ".".join(str(part)[:60] for part in first["loc"])
            message = first["msg"][0].lower() + first["msg"][1:]
            raise RunError(f"{where} is damaged at {path!r}: {message}, got {first['input']!r:.60}") from None

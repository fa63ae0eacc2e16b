"""Failure as a value: why a proxy gave a network no finite score, and where."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from eznas.programs.program import Program


class FailureKind(StrEnum):
    """Why there is no score; reports count kinds, not sentences."""

    NON_FINITE = "non-finite"
    """The formula has no finite value for what this network shows."""
    UNDEFINED = "undefined"
    """An operator of the formula is not defined for what this network shows."""
    NETWORK = "network"
    """The network cannot be built, or a pass through it fails."""
    UNFIT = "unfit"
    """The network does not have what the proxy looks at: a batch on the first axis, so many classes, such layers."""
    WORKER = "worker"
    """The worker that scored it died, by memory or by time."""
    CONSTANT = "constant"
    """The proxy gives all networks one and the same score, and orders none."""
    FAILS_OFTEN = "fails often"
    """The proxy fails on more networks than a ranking allows."""
    MEMBERS = "members"
    """Every member of an aggregate failed."""


@dataclass(frozen=True, slots=True)
class Invalid:
    """A proxy gave no finite score.

    Attributes:
        kind: of the failure.
        detail: a clause for people, for example ``"non-finite after 'log_abs_determinant'"``.
        at: index in `Program.nodes` of the node at fault, 0 is the root; None if no node is to blame.
    """

    kind: FailureKind
    detail: str
    at: int | None = None

    def describe(self, program: Program | None = None) -> str:
        """One clause that names the node, where there is one."""
        if self.at is None or program is None:
            return self.detail
        return f"{self.detail} at node {self.at} ({program.nodes[self.at].name}) of {program.text}"

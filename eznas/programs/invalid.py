"""Failure as a value: why a program gave no finite score, and where."""

from __future__ import annotations

from dataclasses import dataclass

from eznas.programs.program import Program


@dataclass(frozen=True, slots=True)
class Invalid:
    """A program gave no finite score.

    Attributes:
        reason: a clause for people, for example ``"non-finite after 'log_abs_determinant'"``.
        at: index in `Program.nodes` of the node at fault; 0 is the root.
    """

    reason: str
    at: int

    def describe(self, program: Program) -> str:
        """One sentence that names the node."""
        return f"{self.reason} at node {self.at} ({program.nodes[self.at].name}) of {program.text}"

"""Which images an accuracy was measured on: the one distinction that may never be blurred."""

from __future__ import annotations

from enum import Enum


class Split(Enum):
    """The images a trained network was measured on.

    Evolution and selection see `VALIDATION` wherever a benchmark has it; `TEST` is for reports.
    """

    VALIDATION = "validation"
    TEST = "test"

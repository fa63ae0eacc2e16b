"""What the growing files of a run hold, one record a line: ranked programs, failed programs, generations."""

from __future__ import annotations

import base64
import binascii
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, NonNegativeFloat, NonNegativeInt, field_validator, model_validator

from eznas.errors import ProgramError
from eznas.fitness import Fitness
from eznas.forms import Form
from eznas.programs import FailureKind, Program, parse

_STORED = np.dtype("<f4")
"""How scores are written: base64 of little-endian float32."""

_Id = Annotated[str, Field(min_length=1, max_length=200)]
_Formula = Annotated[str, Field(min_length=1, max_length=100_000)]


class _OfProgram(Form):
    """A record of a program, which its id must name."""

    id: _Id
    program: _Formula
    generation: NonNegativeInt

    @cached_property
    def parsed(self) -> Program:
        """The program."""
        return parse(self.program)

    @model_validator(mode="after")
    def _has_the_id_of_its_program(self) -> _OfProgram:
        try:
            digest = self.parsed.digest
        except ProgramError as error:
            raise ValueError(f"it holds a program that cannot be read: {error}") from None
        if self.id != digest:
            raise ValueError(f"its id {self.id!r:.40} is not the digest of its program, {digest}")
        return self


class ProgramRecord(_OfProgram):
    """A ranked program, a line of ``programs.jsonl``.

    Attributes:
        operator, parents: that it came from.
        fitness: on the networks it evolved on.
        scores: of those networks; empty if they were not kept.
    """

    operator: _Id
    parents: Annotated[tuple[_Id, ...], Field(max_length=100)]
    fitness: Fitness
    scores: str

    @field_validator("scores")
    @classmethod
    def _is_base64(cls, text: str) -> str:
        try:
            unpacked_scores(text)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"scores must be base64 of float32 ({error})") from None
        return text


class FailureRecord(_OfProgram):
    """A program that cannot be ranked, and why, a line of ``failures.jsonl``; see `eznas.programs.Invalid`."""

    kind: FailureKind
    reason: str
    node: NonNegativeInt | None


class GenerationSummary(Form):
    """One generation in figures, a line of ``events.jsonl``.

    Attributes:
        n_evaluated: programs of this generation, `n_valid` that could be ranked and `n_invalid` that could not.
        n_duplicates: proposed again and not evaluated again.
        best_correlation, best_values, best_size, best_id: of the best program up to now.
        front_size, hypervolume: of everything found up to now.
        seconds: wall-clock time of this generation.
    """

    event: Literal["generation"] = "generation"
    generation: NonNegativeInt
    n_evaluated: NonNegativeInt
    n_valid: NonNegativeInt
    n_invalid: NonNegativeInt
    n_duplicates: NonNegativeInt
    best_correlation: float | None
    best_values: tuple[float, ...]
    best_size: NonNegativeInt | None
    best_id: str | None
    front_size: NonNegativeInt
    hypervolume: float
    seconds: NonNegativeFloat


def packed_scores(scores: npt.NDArray[np.float32]) -> str:
    """(n_networks,) scores as text."""
    return base64.b64encode(scores.astype(_STORED).tobytes()).decode("ascii")


def unpacked_scores(text: str) -> npt.NDArray[np.float32]:
    """(n_networks,) scores that `packed_scores` wrote."""
    return np.frombuffer(base64.b64decode(text, validate=True), _STORED).astype(np.float32)

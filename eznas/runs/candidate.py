"""A program that was evaluated: what it is, how well it ranks, and where it came from."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from eznas.errors import ProgramError, RunError
from eznas.fitness import Fitness
from eznas.programs import Program, parse

_STORED = np.dtype("<f4")
"""How scores are written: base64 of little-endian float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A ranked program.

    Attributes:
        program: in its canonical form.
        fitness: on the networks it evolved on.
        generation: that produced it, from 0.
        operator: of variation that made it, ``"random"`` for a newcomer.
        parents: ids of the programs it was made from.
        scores: (n_networks,) float32, of the networks it evolved on; empty if they were not kept.
    """

    program: Program
    fitness: Fitness
    generation: int
    operator: str
    parents: tuple[str, ...]
    scores: npt.NDArray[np.float32] = field(
        default_factory=lambda: np.empty(0, dtype=np.float32), compare=False, repr=False
    )

    @property
    def id(self) -> str:
        """Digest of the program: equal programs have equal ids in every run."""
        return self.program.digest

    @property
    def objectives(self) -> tuple[float, ...]:
        """What selection maximises, the most important first."""
        return self.fitness.values

    @property
    def behaviour(self) -> tuple[float, ...]:
        """What its ranking looks like from outside; programs of equal behaviour almost surely rank alike."""
        return tuple(round(value, 9) for t in self.fitness.tasks for value in (t.tau, t.rho, t.share_tied))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready record that `from_dict` reads back."""
        return {
            "id": self.id,
            "program": self.program.text,
            "generation": self.generation,
            "operator": self.operator,
            "parents": list(self.parents),
            "fitness": self.fitness.as_dict(),
            "scores": base64.b64encode(self.scores.astype(_STORED).tobytes()).decode("ascii"),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Candidate:
        """The candidate a record describes.

        Raises:
            RunError: if the record is damaged.
        """
        try:
            return cls(
                program=identified(data),
                fitness=Fitness.from_dict(data["fitness"]),
                generation=int(data["generation"]),
                operator=str(data["operator"]),
                parents=tuple(map(str, data["parents"])),
                scores=np.frombuffer(base64.b64decode(data["scores"], validate=True), _STORED).astype(np.float32),
            )
        except (KeyError, TypeError, ValueError, OverflowError, ProgramError) as error:
            raise RunError(f"A recorded program is damaged ({error}); the run folder was changed by hand") from None


def identified(data: Mapping[str, Any]) -> Program:
    """The program of a record that names it by its digest.

    Raises:
        KeyError, ValueError: if the record has no program or id, or the id is that of another program.
        ProgramError: if the program is none.
    """
    program = parse(str(data["program"]))
    if data["id"] != program.digest:
        raise ValueError(f"its id {data['id']!r:.40} is not the digest of its program, {program.digest}")
    return program

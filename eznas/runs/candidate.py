"""A program that was evaluated: what it is, how well it ranks, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from eznas.fitness import Fitness
from eznas.programs import Program
from eznas.runs.records import ProgramRecord, packed_scores, unpacked_scores


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

    def record(self) -> ProgramRecord:
        """What is stored of it, which `of_record` reads back."""
        return ProgramRecord(
            id=self.id,
            program=self.program.text,
            generation=self.generation,
            operator=self.operator,
            parents=self.parents,
            fitness=self.fitness,
            scores=packed_scores(self.scores),
        )

    @classmethod
    def of_record(cls, record: ProgramRecord) -> Candidate:
        """The candidate that was stored."""
        return cls(
            program=record.parsed,
            fitness=record.fitness,
            generation=record.generation,
            operator=record.operator,
            parents=record.parents,
            scores=unpacked_scores(record.scores),
        )

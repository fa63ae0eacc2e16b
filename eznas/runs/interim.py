"""What a search has found up to now, for whoever looks before it is finished."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from eznas.programs import to_infix
from eznas.runs.candidate import Candidate
from eznas.tables import csv_text

FRONT_CSV: Final = "front.csv"
"""The front as a table: of what was found up to now, and of a finished run the one that was measured."""


def smallest_best(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The programs that no smaller or equal one beats in the first objective, from small to large."""
    front: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (c.program.size, -c.objectives[0], c.id)):
        if not front or candidate.objectives[0] > front[-1].objectives[0]:
            front.append(candidate)
    return front


def interim_csv(candidates: Iterable[Candidate], objectives: Sequence[str]) -> str:
    """`smallest_best` as a table, largest and best first, with values on the networks evolved on."""
    header = ["id", f"evolve:{objectives[0]}", "direction", "size", "cost", "generation", "formula", "program"]
    rows: list[list[object]] = [list(header)]
    for c in reversed(smallest_best(candidates)):
        fitness, program = c.fitness, c.program
        row = [c.id, f"{c.objectives[0]:.6f}", fitness.direction, fitness.size, f"{fitness.cost:.4f}", c.generation]
        rows.append([*row, to_infix(program), program.text])
    return csv_text(rows)

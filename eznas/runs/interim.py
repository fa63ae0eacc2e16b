"""What a search has found up to now, for whoever looks before it is finished."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from eznas.runs.candidate import Candidate

FRONT_CSV: Final = "front.csv"
"""The front as a table: of what was found up to now, and of a finished run the one that was measured."""
PAGE: Final = "report.html"
INTERIM_MARK: Final = "<!-- interim -->"
"""Second line of the page of an unfinished run."""


def is_interim(run_dir: Path) -> bool:
    """Whether the page in a run folder is that of a run which was not finished when it was written."""
    try:
        with (run_dir / PAGE).open("rb") as file:
            return INTERIM_MARK.encode() in file.read(200)
    except OSError:
        return False


def smallest_best(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The programs that no smaller or equal one beats in the first objective, from small to large."""
    front: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (c.program.size, -c.objectives[0], c.id)):
        if not front or candidate.objectives[0] > front[-1].objectives[0]:
            front.append(candidate)
    return front

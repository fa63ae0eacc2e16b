"""The memory of a run: what each generation found, written so that killing the run loses at most one generation.

The checkpoint is what counts: it names the generation, the population and how long the growing files were. Whatever
those files hold beyond it belongs to a generation that did not finish and is cut off on resumption.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eznas.errors import RunError
from eznas.programs import Invalid, Program
from eznas.runs.candidate import Candidate
from eznas.runs.folder import RunFolder

GROWING = ("programs.jsonl", "failures.jsonl", "events.jsonl")
CHECKPOINT_FORMAT = "eznas-checkpoint"
HALL_OF_FAME_SIZE = 100


@dataclass
class SearchState:
    """Where a search stands after a finished generation.

    Attributes:
        generation: last finished, -1 before the first.
        population: ids of the current population, in order.
        candidates: every ranked program of the run by id, in order of evaluation.
        failed: ids of every program that cannot be ranked.
        n_duplicates: programs that variation proposed again and that were not evaluated again.
        seconds: that the generations so far took.
    """

    generation: int = -1
    population: tuple[str, ...] = ()
    candidates: dict[str, Candidate] = field(default_factory=dict)
    failed: dict[str, None] = field(default_factory=dict)
    n_duplicates: int = 0
    seconds: float = field(default=0.0, compare=False)

    def __contains__(self, digest: object) -> bool:
        """Whether a program of that id was evaluated."""
        return digest in self.candidates or digest in self.failed

    @property
    def n_evaluated(self) -> int:
        """Distinct programs evaluated so far."""
        return len(self.candidates) + len(self.failed)


@dataclass(frozen=True, slots=True)
class Journal:
    """Writes a search into its run folder, generation by generation, and reads it back."""

    folder: RunFolder
    n_checkpoints: int

    def record(
        self,
        state: SearchState,
        found: Sequence[Candidate],
        failures: Sequence[tuple[Program, Invalid]],
        summary: Mapping[str, Any],
    ) -> None:
        """Write one finished generation; `state` already includes it."""
        sizes = {
            "programs.jsonl": self.folder.append("programs.jsonl", [c.as_dict() for c in found]),
            "failures.jsonl": self.folder.append(
                "failures.jsonl", [_failure(program, invalid, state.generation) for program, invalid in failures]
            ),
            "events.jsonl": self.folder.append("events.jsonl", [{"event": "generation", **summary}]),
        }
        self.folder.replace("hall_of_fame.csv", hall_of_fame_csv(state))
        checkpoint = {
            "format": CHECKPOINT_FORMAT,
            "version": 1,
            "generation": state.generation,
            "population": list(state.population),
            "n_duplicates": state.n_duplicates,
            "sizes": sizes,
        }
        self.folder.replace(f"checkpoints/{state.generation:06d}.json", json.dumps(checkpoint))
        for old in sorted((self.folder.path / "checkpoints").glob("[0-9]*.json"))[: -self.n_checkpoints]:
            old.unlink(missing_ok=True)

    def load(self) -> SearchState:
        """The state at the last checkpoint; what was written after it is cut off.

        Raises:
            RunError: if every checkpoint is damaged, or the files do not reach as far as the checkpoint says.
        """
        paths = sorted((self.folder.path / "checkpoints").glob("[0-9]*.json"), reverse=True)
        if not paths:
            for name in GROWING:
                self.folder.truncate(name, 0)
            return SearchState()
        problem: RunError | None = None
        for path in paths:
            try:
                return self._load(f"checkpoints/{path.name}")
            except RunError as error:
                problem = problem or error
        assert problem is not None
        raise problem

    def _load(self, name: str) -> SearchState:
        checkpoint = self.folder.read_json(name)
        if checkpoint.get("format") != CHECKPOINT_FORMAT or checkpoint.get("version") != 1:
            raise RunError(f"{self.folder.path / name} is not a checkpoint this release reads; evolve anew")
        try:
            sizes = {key: int(checkpoint["sizes"][key]) for key in GROWING}
            population = tuple(map(str, checkpoint["population"]))
            generation, n_duplicates = int(checkpoint["generation"]), int(checkpoint["n_duplicates"])
        except (KeyError, TypeError, ValueError):
            raise RunError(f"{self.folder.path / name} is damaged; delete it and resume from the one before") from None
        found = [Candidate.from_dict(r) for r in self.folder.read_lines("programs.jsonl", sizes["programs.jsonl"])]
        failures = self.folder.read_lines("failures.jsonl", sizes["failures.jsonl"])
        events = self.folder.read_lines("events.jsonl", sizes["events.jsonl"])
        if not all("id" in record for record in failures):
            raise RunError(f"{self.folder.path / 'failures.jsonl'} holds a record without an id; it is damaged")
        state = SearchState(
            generation=generation,
            population=population,
            candidates={candidate.id: candidate for candidate in found},
            failed={str(record["id"]): None for record in failures},
            n_duplicates=n_duplicates,
            seconds=sum(float(event.get("seconds", 0.0)) for event in events),
        )
        missing = [digest for digest in population if digest not in state.candidates]
        if missing:
            raise RunError(f"Checkpoint {name} names program {missing[0]}, which programs.jsonl lacks; it is damaged")
        for key, size in sizes.items():
            self.folder.truncate(key, size)
        return state


def hall_of_fame(state: SearchState, size: int = HALL_OF_FAME_SIZE) -> list[Candidate]:
    """The best programs of a run, one of each behaviour: by the objectives in their order, then by text."""
    leaders: dict[tuple[float, ...], Candidate] = {}
    for candidate in sorted(state.candidates.values(), key=lambda c: (*(-o for o in c.objectives), c.program.text)):
        leaders.setdefault(candidate.behaviour, candidate)
    return list(leaders.values())[:size]


def hall_of_fame_csv(state: SearchState) -> str:
    """The hall of fame as a table."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["rank", "id", "correlation", "direction", "size", "cost", "generation", "operator", "program"])
    for rank, c in enumerate(hall_of_fame(state), start=1):
        fitness = c.fitness
        row = [rank, c.id, f"{fitness.correlation:.6f}", fitness.direction, fitness.size, f"{fitness.cost:.4f}"]
        writer.writerow([*row, c.generation, c.operator, c.program.text])
    return out.getvalue()


def _failure(program: Program, invalid: Invalid, generation: int) -> dict[str, Any]:
    return {
        "id": program.digest,
        "program": program.text,
        "kind": invalid.kind.value,
        "reason": invalid.detail,
        "node": invalid.at,
        "generation": generation,
    }

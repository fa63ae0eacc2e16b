"""The memory of a run: what each generation found, written so that killing the run loses at most one generation.

The checkpoint is what counts: it names the generation, the population and how long the growing files were. Whatever
those files hold beyond it belongs to a generation that did not finish and is cut off on resumption. It also holds the
digests of the manifest, of those files up to there, and of itself: what was changed by hand is not gone on with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from eznas.digests import PrefixDigest
from eznas.errors import RunError
from eznas.programs import FailureKind, Invalid, Program
from eznas.runs.candidate import Candidate
from eznas.runs.checkpoint import Checkpoint
from eznas.runs.folder import RunFolder
from eznas.runs.manifest import MANIFEST, Binding, Manifest
from eznas.runs.records import FailureRecord, GenerationSummary, ProgramRecord
from eznas.tables import csv_text

GROWING = ("programs.jsonl", "failures.jsonl", "events.jsonl")
HALL_OF_FAME_SIZE = 100


@dataclass
class SearchState:
    """Where a search stands after a finished generation.

    Attributes:
        generation: last finished, -1 before the first.
        population: ids of the current population, in order.
        candidates: every ranked program of the run by id, in order of evaluation.
        failed: ids of every program that cannot be ranked, and the kind of its failure.
        n_duplicates: programs that variation proposed again and that were not evaluated again.
        seconds: that the generations so far took.
    """

    generation: int = -1
    population: tuple[str, ...] = ()
    candidates: dict[str, Candidate] = field(default_factory=dict)
    failed: dict[str, FailureKind] = field(default_factory=dict)
    n_duplicates: int = 0
    seconds: float = field(default=0.0, compare=False)

    def __contains__(self, digest: object) -> bool:
        """Whether a program of that id was evaluated."""
        return digest in self.candidates or digest in self.failed

    @property
    def n_evaluated(self) -> int:
        """Distinct programs evaluated so far."""
        return len(self.candidates) + len(self.failed)


@dataclass(slots=True)
class Journal:
    """Writes a search into its run folder, generation by generation, and reads it back."""

    folder: RunFolder
    n_checkpoints: int
    _prefixes: dict[str, PrefixDigest] = field(default_factory=lambda: {name: PrefixDigest() for name in GROWING})
    _manifest: Binding | None = None

    def record(
        self,
        state: SearchState,
        found: Sequence[Candidate],
        failures: Sequence[tuple[Program, Invalid]],
        summary: GenerationSummary,
    ) -> None:
        """Write one finished generation; `state` already includes it."""
        sizes = {
            "programs.jsonl": self.folder.append("programs.jsonl", [c.record() for c in found]),
            "failures.jsonl": self.folder.append(
                "failures.jsonl", [_failure(program, invalid, state.generation) for program, invalid in failures]
            ),
            "events.jsonl": self.folder.append("events.jsonl", [summary]),
        }
        self._checkpoint(state, sizes)

    def _checkpoint(self, state: SearchState, sizes: Mapping[str, int]) -> None:
        self.folder.replace("hall_of_fame.csv", hall_of_fame_csv(state))
        checkpoint = Checkpoint(
            generation=state.generation,
            population=state.population,
            n_duplicates=state.n_duplicates,
            sizes=dict(sizes),
            digests={name: self._prefixes[name].of(self.folder.path / name, sizes[name]) for name in GROWING},
            manifest=self._manifest or _binding(self._read_manifest()),
        )
        self.folder.replace(f"checkpoints/{state.generation:06d}.json", checkpoint.sealed().model_dump_json())
        for old in self.folder.checkpoints()[self.n_checkpoints :]:
            (self.folder.path / old).unlink(missing_ok=True)

    def adopt(self, state: SearchState) -> None:
        """Make the state of another run, whose growing files were copied, the beginning of this one."""
        self._manifest = _binding(self._read_manifest())
        sizes = {name: (self.folder.path / name).stat().st_size for name in GROWING}
        self._checkpoint(state, sizes)

    def load(self, *, read_only: bool = False, note: Callable[[str], None] = lambda text: None) -> SearchState:
        """The state at the last checkpoint; what was written after it is cut off, unless it is only to be read.

        Args:
            read_only: leave all files as they are.
            note: told if checkpoints are gone or damaged, so that more than a generation is done again.

        Raises:
            RunError: if every checkpoint is damaged, or the manifest or the files are not those that it recorded.
        """
        names = self.folder.checkpoints()
        manifest = self._read_manifest()
        self.folder.check_manifest(manifest)
        self._manifest = _binding(manifest)
        if not names:
            paths = [self.folder.path / name for name in GROWING]
            if any(path.is_file() and path.stat().st_size for path in paths):
                note(f"The checkpoints of run {self.folder.path} are gone; it starts over from its first generation")
            for name in () if read_only else GROWING:
                self.folder.truncate(name, 0)
            return SearchState()
        problem: RunError | None = None
        for name in names:
            try:
                state = self._load(name, read_only)
            except RunError as error:
                problem = problem or error
                continue
            if problem is not None:
                note(f"{self.folder.path / names[0]} is damaged; the run goes on after generation {state.generation}")
            return state
        assert problem is not None
        raise problem

    def _load(self, name: str, read_only: bool) -> SearchState:
        checkpoint = Checkpoint.read(self.folder.path / name)
        sizes, digests = checkpoint.sizes, checkpoint.digests
        if not sizes.keys() == digests.keys() == set(GROWING):
            raise RunError(f"{self.folder.path / name} is damaged; delete it and resume from the one before")
        prefixes = {key: self._prefix(key, sizes[key], digests[key]) for key in GROWING}
        read = self.folder.read_lines
        found = map(Candidate.of_record, read(ProgramRecord, "programs.jsonl", sizes["programs.jsonl"]))
        failures = read(FailureRecord, "failures.jsonl", sizes["failures.jsonl"])
        events = read(GenerationSummary, "events.jsonl", sizes["events.jsonl"])
        state = SearchState(
            generation=checkpoint.generation,
            population=checkpoint.population,
            candidates={candidate.id: candidate for candidate in found},
            failed={record.id: record.kind for record in failures},
            n_duplicates=checkpoint.n_duplicates,
            seconds=sum(event.seconds for event in events),
        )
        missing = [digest for digest in checkpoint.population if digest not in state.candidates]
        if missing:
            raise RunError(f"Checkpoint {name} names program {missing[0]}, which programs.jsonl lacks; it is damaged")
        for key, size in () if read_only else sizes.items():
            self.folder.truncate(key, size)
        self._prefixes = prefixes
        return state

    def _read_manifest(self) -> Manifest | None:
        """The manifest; None for a search that has none."""
        return Manifest.read(self.folder.path) if (self.folder.path / MANIFEST).exists() else None

    def _prefix(self, name: str, n_bytes: int, recorded: str) -> PrefixDigest:
        """The digest of a growing file up to a size, known to be the one that was recorded."""
        path, prefix = self.folder.path / name, PrefixDigest()
        try:
            found = prefix.of(path, n_bytes)
        except (OSError, ValueError):
            size = path.stat().st_size if path.is_file() else 0
            raise RunError(f"{path} has {size} bytes, its checkpoint says {n_bytes}; the run is damaged") from None
        if found != recorded:
            raise RunError(
                f"{path} was changed: its first {n_bytes} bytes do not have the digest in the checkpoint; restore the "
                f"file, or evolve anew"
            )
        return prefix


def hall_of_fame(state: SearchState, size: int = HALL_OF_FAME_SIZE) -> list[Candidate]:
    """The best programs of a run, one of each behaviour: by the objectives in their order, then by text."""
    leaders: dict[tuple[float, ...], Candidate] = {}
    for candidate in sorted(state.candidates.values(), key=lambda c: (*(-o for o in c.objectives), c.program.text)):
        leaders.setdefault(candidate.behaviour, candidate)
    return list(leaders.values())[:size]


def hall_of_fame_csv(state: SearchState) -> str:
    """The hall of fame as a table."""
    rows: list[list[object]] = [
        ["rank", "id", "correlation", "direction", "size", "cost", "generation", "operator", "program"]
    ]
    for rank, c in enumerate(hall_of_fame(state), start=1):
        fitness = c.fitness
        row = [rank, c.id, f"{fitness.correlation:.6f}", fitness.direction, fitness.size, f"{fitness.cost:.4f}"]
        rows.append([*row, c.generation, c.operator, c.program.text])
    return csv_text(rows)


def _failure(program: Program, invalid: Invalid, generation: int) -> FailureRecord:
    return FailureRecord(
        id=program.digest,
        program=program.text,
        generation=generation,
        kind=invalid.kind,
        reason=invalid.detail,
        node=invalid.at,
    )


def _binding(manifest: Manifest | None) -> Binding | None:
    return manifest.binding() if manifest is not None else None

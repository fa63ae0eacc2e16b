"""The front of a run as it is stored: what a run found, beside the published proxies measured on the same networks.

The order is that of the selection networks; held-out numbers are shown and never choose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from eznas.benchmarks import Part
from eznas.conditions import Conditions, Units
from eznas.errors import ProgramError, RunError
from eznas.files import is_file, is_folder
from eznas.fitness import CRITERIA, Criterion, Measurement
from eznas.forms import Form, read_form, shown
from eznas.programs import Program, parse
from eznas.runs.manifest import MANIFEST

FILE: Final = "front.json"
REMEDY: Final = "make it anew with eznas resume"
MAX_BYTES: Final = 64_000_000
_Text = Annotated[str, Field(min_length=1, max_length=4_000)]
_Name = Annotated[str, Field(min_length=1, max_length=200)]
_Formula = Annotated[str, Field(min_length=1, max_length=100_000)]


class PartCard(Form):
    """Networks with labels: how many, of which split, trained for how many epochs (None: not stated)."""

    n: Annotated[int, Field(ge=1)]
    split: _Name
    epochs: Annotated[int, Field(ge=1)] | None = None

    def __str__(self) -> str:
        training = "full training" if self.epochs is None else f"{self.epochs} epochs"
        return f"{self.n:,} networks, {self.split} accuracy after {training}"


_Share = Annotated[float, Field(ge=0, le=1)]


class CoverageCard(Form):
    """How much of the networks programs read, mean shares over the networks."""

    layers: _Share
    """Of the convolutions and linear layers."""
    parameters: _Share
    macs: _Share
    """Of the multiply-accumulates of convolutions and linear layers."""

    def __str__(self) -> str:
        return (
            f"{self.layers:.0%} of the layers, {self.parameters:.0%} of the parameters and {self.macs:.0%} of the "
            "multiply-accumulates"
        )


class SampleCard(Form):
    """One sample of a run: a data set of a benchmark, and the disjoint networks to evolve on, select by and report."""

    name: _Name
    dataset: _Name
    benchmark: _Name
    provenance: _Text
    conditions: Conditions
    evolve: PartCard | None = None
    """None, as `select`, if the sample was left out: nothing was learnt from it."""
    select: PartCard | None = None
    report: PartCard
    weight: Annotated[float, Field(gt=0)] = 1.0
    """In a mean over the samples."""
    coverage: CoverageCard | None = None
    """Of the networks of the report by the programs of the run; None if none of these reads layers."""

    @property
    def is_left_out(self) -> bool:
        """Whether nothing was learnt from the sample."""
        return self.evolve is None or self.select is None


class Entry(Form):
    """A proxy of the front, or a published one beside it: what it is, where it came from, and how well it ranks."""

    id: _Name
    """Digest of the program, or the name of a published proxy."""
    name: _Name | None = None
    """None for a discovered proxy."""
    title: Annotated[str, Field(max_length=200)] = ""
    kind: Literal["discovered", "published"]
    program: _Formula | None = None
    """As it evolved; None for an estimator that is not a program."""
    simplified: _Formula | None = None
    """An equal, smaller program, certified; None if there is none."""
    is_settled: bool = False
    """Whether it is equal on data alone: branches that say nothing on the networks evolved on were taken out."""
    direction: Literal[1, -1]
    units: Units | None = None
    """The layers that the program reads."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """Of the noise of the program's probes."""
    cost: Annotated[float, Field(ge=0)] | None = None
    seconds: Annotated[float, Field(ge=0)] | None = None
    """Mean time of one network on one core; of programs, which share their work, that of all together."""
    generation: int | None = None
    operator: _Name | None = None
    parents: Annotated[tuple[_Name, ...], Field(max_length=100)] = ()
    is_pick: bool = False
    """Whether the selection networks chose it as the run's result."""
    evolve: dict[str, Measurement] = Field(default_factory=dict)
    select: dict[str, Measurement] = Field(default_factory=dict)
    report: dict[str, Measurement] = Field(default_factory=dict)
    """By sample; empty where it was not measured."""
    select_error: Annotated[float, Field(ge=0)] | None = None
    """Standard error of tau on the selection networks, over the samples as they count together."""
    division: Literal["plain", "smoothed"] | None = None
    """Whether the divisions of the formula are plain fractions on the networks evolved on, or their smoothing shows;
    None if there are none, or it is not known."""
    versus_pick: dict[str, Criterion] = Field(default_factory=dict)
    """By sample, tau of the pick minus tau of this proxy on the held-out networks, with its paired interval."""

    @field_validator("program", "simplified")
    @classmethod
    def _is_program(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                parse(text)
            except ProgramError as error:
                raise ValueError(f"it holds a program that cannot be read: {error}") from None
        return text

    @model_validator(mode="after")
    def _has_the_id_of_its_program(self) -> Entry:
        if self.kind == "discovered" and (self.evolved is None or self.evolved.digest != self.id):
            digest = "and there is none" if self.evolved is None else self.evolved.digest
            raise ValueError(f"'id' must be the digest of its program, {digest}, got {shown(self.id)}")
        return self

    @property
    def label(self) -> str:
        """What tables and figures call it."""
        return self.name or self.id[:8]

    @cached_property
    def evolved(self) -> Program | None:
        """The program as it evolved."""
        return None if self.program is None else parse(self.program)

    @cached_property
    def formula(self) -> Program | None:
        """The program to show and to score with: the simplified one if there is one."""
        return self.evolved if self.simplified is None else parse(self.simplified)

    @property
    def size(self) -> int | None:
        """Nodes of the program as it evolved."""
        return None if self.evolved is None else self.evolved.size

    @property
    def height(self) -> int | None:
        """Levels of the program as it evolved."""
        return None if self.evolved is None else self.evolved.height


class RunCard(Form):
    """The run in numbers; `seconds` is wall-clock time."""

    name: _Name
    seed: Annotated[int, Field(ge=0)]
    n_generations: int
    n_programs: Annotated[int, Field(ge=0)]
    seconds: Annotated[float, Field(ge=0)]
    primitive_set: _Name
    seeds: Annotated[tuple[_Formula, ...], Field(max_length=1000)] = ()
    """Programs the run started from; a run that started from nothing has none."""
    n_folds: Annotated[int, Field(ge=2)] | None = None
    """Of a cross-fitted report; then every network is reported by a search that did not see it."""
    aggregate: Literal["worst", "mean", "bound"] = "worst"
    """How samples count together."""
    pick: Literal["simplest-within-se", "best", "cheapest-within-se"] = "best"
    """The rule that chose the pick."""
    stopped_by: Annotated[str, Field(max_length=1000)] = ""
    """Which condition ended the search, a clause; empty where a release that knew of generations alone wrote it."""
    notes: Annotated[tuple[_Text, ...], Field(max_length=1000)] = ()
    """What was assumed or left out, a sentence each."""


class Front(Form):
    """A run's result."""

    format: Literal["eznas-front"] = "eznas-front"
    version: Literal[2] = 2
    run: RunCard
    samples: Annotated[tuple[SampleCard, ...], Field(min_length=1, max_length=1000)]
    entries: Annotated[tuple[Entry, ...], Field(max_length=10_000)]
    """Discovered proxies by falling tau on the selection networks, then published ones by falling tau on the held-out
    ones."""

    _folder: Path = PrivateAttr(default=Path())

    def model_post_init(self, context: Any) -> None:
        """Entries in their order."""
        object.__setattr__(self, "entries", tuple(sorted(self.entries, key=self._place)))

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self._folder

    @property
    def discovered(self) -> tuple[Entry, ...]:
        """The proxies the run found."""
        return tuple(entry for entry in self.entries if entry.kind == "discovered")

    @property
    def published(self) -> tuple[Entry, ...]:
        """The yardsticks."""
        return tuple(entry for entry in self.entries if entry.kind == "published")

    @property
    def pick(self) -> Entry | None:
        """The run's result: the marked entry, else the first; None if nothing was found."""
        discovered = self.discovered
        return next((entry for entry in discovered if entry.is_pick), discovered[0] if discovered else None)

    @property
    def best_published(self) -> Entry | None:
        """The published proxy that ranks the held-out networks best: the hardest one to beat."""
        measured = [entry for entry in self.published if self.taus(entry, "report")]
        return max(measured, key=lambda entry: _or_least(self.tau(entry, "report")), default=None)

    @property
    def learnt(self) -> tuple[SampleCard, ...]:
        """The samples that the run learnt from."""
        return tuple(sample for sample in self.samples if not sample.is_left_out)

    @property
    def left_out(self) -> tuple[SampleCard, ...]:
        """The samples that the run only reports on."""
        return tuple(sample for sample in self.samples if sample.is_left_out)

    def taus(self, entry: Entry, part: Part) -> dict[str, float]:
        """Of an entry, by sample that the run learnt from; empty if one is missing."""
        return _taus(getattr(entry, part), self.learnt)

    def tau(self, entry: Entry, part: Part) -> float | None:
        """Tau of an entry over the samples learnt from, as they count together in this run; None if one is missing."""
        taus = self.taus(entry, part)
        if self.run.aggregate == "worst" or not taus:
            return min(taus.values(), default=None)
        weights = {sample.name: sample.weight for sample in self.samples}
        total = sum(weights[name] for name in taus)
        return sum(weights[name] * tau for name, tau in taus.items()) / total

    def worst_tau(self, entry: Entry, part: Part) -> float | None:
        """Smallest tau of an entry over the samples learnt from; None if one is missing."""
        return min(self.taus(entry, part).values(), default=None)

    def left_out_tau(self, entry: Entry) -> float | None:
        """Mean held-out tau of an entry over the samples left out; None if one is missing, or there are none."""
        taus = _taus(entry.report, self.left_out)
        return sum(taus.values()) / len(taus) if taus else None

    def _place(self, entry: Entry) -> tuple[bool, float, float]:
        """Discovered before published, then by falling tau; the held-out one only breaks ties."""
        selected, reported = _or_least(self.tau(entry, "select")), _or_least(self.tau(entry, "report"))
        return entry.kind == "published", -selected, -reported

    @property
    def provenance(self) -> str:
        """Where the accuracies come from."""
        return " ".join(dict.fromkeys(sample.provenance for sample in self.samples))

    def entry(self, id_or_name: str) -> Entry:
        """The entry of that name, or whose id starts so; ``best`` is the pick.

        Raises:
            RunError: if there is none, or more than one.
        """
        if id_or_name == "best":
            if self.pick is None:
                raise RunError(f"Run {self.folder} found no proxy; look at its failures.jsonl, or evolve longer")
            return self.pick
        found = [e for e in self.entries if e.name == id_or_name] or [
            e for e in self.entries if id_or_name and e.id.startswith(id_or_name)
        ]
        if len(found) == 1:
            return found[0]
        known = ", ".join(entry.label for entry in self.entries)
        problem = f"{len(found)} proxies begin with" if found else "There is no proxy"
        raise RunError(f"{problem} {shown(id_or_name)} in {self.folder}; it holds best, {known}")


def load_front(run_dir: Path) -> Front:
    """The front of a run.

    Raises:
        RunError: if the folder has no front, or it is damaged or of another version.
    """
    run_dir = Path(run_dir)
    if not is_file(run_dir / FILE):
        raise RunError(f"{run_dir} has no {FILE}; {_without_front(run_dir)}")
    front = read_form(Front, run_dir / FILE, error=RunError, remedy=REMEDY, max_bytes=MAX_BYTES)
    front._folder = run_dir
    return front


def _without_front(run_dir: Path) -> str:
    """What to do where there is none, a clause."""
    if not is_folder(run_dir):
        return "check the path; eznas evolve makes runs"
    if is_file(run_dir / MANIFEST):
        return "finish the run with eznas resume"
    return "it is no run folder; eznas runs lists those below a folder"


def _or_least(tau: float | None) -> float:
    return -2.0 if tau is None else tau


# --- in words -----------------------------------------------------------------------------------------------------


def tau_text(measured: Measurement | None) -> str:
    """``0.612 [0.571, 0.648]``; ``failed`` or a dash where there is no number."""
    if measured is None:
        return "-"
    return "failed" if measured.tau is None else criterion_text(measured.tau)


def criterion_text(criterion: Criterion | None) -> str:
    """``0.612 [0.571, 0.648]``, or a dash."""
    if criterion is None:
        return "-"
    if criterion.low is None or criterion.high is None:
        return f"{criterion.value:.3f}"
    return f"{criterion.value:.3f} [{criterion.low:.3f}, {criterion.high:.3f}]"


def number_text(criterion: Criterion | None) -> str:
    """Three decimals, or a dash."""
    return "-" if criterion is None else f"{criterion.value:.3f}"


__all__ = [
    "CRITERIA", "FILE", "REMEDY", "CoverageCard", "Entry", "Front", "PartCard", "RunCard", "SampleCard",
    "criterion_text", "load_front", "number_text", "tau_text",
]  # fmt: skip


def _taus(measured: Mapping[str, Measurement], samples: Sequence[SampleCard]) -> dict[str, float]:
    """By sample; empty if one is missing."""
    found = {s.name: measured[s.name].tau for s in samples if s.name in measured}
    taus = {name: tau.value for name, tau in found.items() if tau is not None}
    return taus if len(taus) == len(samples) else {}

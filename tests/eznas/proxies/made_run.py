"""A run folder with a front, written down rather than evolved."""

from __future__ import annotations

from pathlib import Path

from eznas.conditions import Conditions
from eznas.proxies import ProgramProxy, Proxy
from eznas.runs import Entry, Front, PartCard, RunCard, SampleCard
from eznas.runs.manifest import MANIFEST, Manifest
from eznas.spaces import nb201

CONDITIONS = Conditions(
    settings=nb201.Settings(channels=4), seed=11, input_size=8, batch_size=4, estimator_batch_size=4, units="all"
)
PART = PartCard(n=10, split="validation")


def sample(name: str = "cifar10", conditions: Conditions = CONDITIONS) -> SampleCard:
    """What a front says of one sample."""
    return SampleCard(
        name=name,
        dataset="cifar10",
        benchmark="nb201",
        provenance="written down",
        conditions=conditions.drawn(),
        evolve=PART,
        select=PART,
        report=PART,
    )


def entry_of(proxy: Proxy, *, is_pick: bool = False, is_published: bool = False) -> Entry:
    """The row of a proxy."""
    if not isinstance(proxy, ProgramProxy):
        return Entry(id=proxy.name, name=proxy.name, kind="published", direction=proxy.direction)
    bound = proxy.bound(CONDITIONS)
    return Entry(
        id=proxy.name if is_published else proxy.id,
        name=proxy.name if is_published else None,
        kind="published" if is_published else "discovered",
        program=proxy.program.text,
        direction=proxy.direction,
        units=bound.units,
        seed=bound.seed,
        is_pick=is_pick,
    )


def make_run(folder: Path, *entries: Entry, samples: tuple[SampleCard, ...] = ()) -> Path:
    """A folder that reads as that of a finished run."""
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text(Manifest().model_dump_json())
    card = RunCard(name="made", seed=11, n_generations=0, n_programs=0, seconds=0, primitive_set="extended")
    front = Front(run=card, samples=samples or (sample(),), entries=entries)
    (folder / "front.json").write_text(front.model_dump_json())
    return folder

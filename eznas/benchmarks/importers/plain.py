"""A plain CSV table of networks of a known space: read as accuracies of your own are (see `eznas.benchmarks.own`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from eznas.benchmarks.importers.gathering import Gathering, Split_
from eznas.benchmarks.importers.importer import Draft, Importer, Request, text_of
from eznas.benchmarks.importers.streams import refuse
from eznas.benchmarks.own import load_accuracies, names_in
from eznas.benchmarks.split import Split
from eznas.errors import BenchmarkError
from eznas.names import nearest, one_line, unknown
from eznas.spaces import SPACES, Architecture, own

_KNOWN: Final = tuple(name for name in SPACES if name != own.NAME)


def _read(files: Sequence[Path], request: Request) -> Draft:
    (path,) = files
    space = request.space
    if space is None:
        raise BenchmarkError(
            "A CSV table does not say of which space its networks are; name it with --space, one of "
            f"{', '.join(_KNOWN)}."
        )
    if space == own.NAME:
        raise BenchmarkError(
            "Accuracies of your own networks need no import; run eznas evolve --networks python:module:function "
            f"--accuracies {one_line(path, 80)}."
        )
    if space not in SPACES and nearest(space, _KNOWN) is not None:
        raise BenchmarkError(f"{unknown('search space', space, _KNOWN)}")
    networks: dict[str, Architecture] = {}
    for line, text in names_in(path):
        networks[text] = Architecture(space, text_of(space, text, f"{one_line(path, 200)}, line {line}"))
    if not networks:
        raise refuse(str(path), "a network in each row", "it names none")
    benchmark = load_accuracies(path, networks)
    gathered = Gathering()
    for position, arch in enumerate(benchmark.architectures):
        where = f"{path}, network {arch.spec}"
        number = gathered.network(arch.spec, where)
        for (dataset, split, epochs), values in benchmark.tables.items():
            is_unstated = split is Split.TEST and dataset in benchmark.unstated_splits
            said: Split_ = "unstated" if is_unstated else "test" if split is Split.TEST else "validation"
            gathered.add(number, (dataset, said, epochs), float(values[position]), where)
    return Draft(
        name=path.name.partition(".")[0],
        space=space,
        is_read=space in SPACES,
        provenance=f"Accuracies of {{n}} networks read from {one_line(path.name)}, as its columns name them.",
        gathered=gathered,
        max_trainings=1,
        has_seeds=False,
        notes=benchmark.notes,
    )


CSV: Final = Importer(
    kind="csv",
    title="plain table of a known space",
    takes="a CSV file with a column of networks and columns of accuracies, as cifar10_valid_200ep",
    read=_read,
    is_one_table=False,
)

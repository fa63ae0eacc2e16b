"""Importers: official files of benchmarks to tables of ours. A row of `IMPORTERS` and a module for each kind."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from eznas.benchmarks.imported import SourceFile, TableHeader, read_header, table_file, write_table
from eznas.benchmarks.importers.gathering import Table
from eznas.benchmarks.importers.importer import Draft, Importer, Request
from eznas.benchmarks.importers.nats import SSS, TSS
from eznas.benchmarks.importers.nb101 import NB101
from eznas.benchmarks.importers.nds import NDS
from eznas.benchmarks.importers.plain import CSV
from eznas.benchmarks.importers.suite_zero import SUITE_ZERO
from eznas.benchmarks.sources import BENCHMARKS
from eznas.errors import BenchmarkError, OutputError
from eznas.files import why_not_written
from eznas.names import one_line, shown, unknown
from eznas.spaces import own

__all__ = ["IMPORTERS", "Imported", "Importer", "Request", "import_files"]

IMPORTERS: Final[Mapping[str, Importer]] = MappingProxyType(
    {importer.kind: importer for importer in (TSS, SSS, NDS, NB101, SUITE_ZERO, CSV)}
)
"""Every kind of file that is read."""
_N_SOURCES: Final = 100


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import made.

    Attributes:
        path: of the table.
        header: what it holds.
        was_there: whether the same table was there already.
    """

    path: Path
    header: TableHeader
    was_there: bool


def import_files(
    kind: str,
    files: Sequence[Path],
    folder: Path,
    *,
    request: Request | None = None,
    name: str | None = None,
    replace: bool = False,
) -> tuple[Imported, ...]:
    """Tables made of official files, each written as a whole once all of its files were read.

    Args:
        kind: a row of `IMPORTERS`.
        files: to read; folders where the kind takes them.
        folder: where the tables go.
        request: what the importer is asked.
        name: of the table, where the files make one.
        replace: another table of that name.

    Raises:
        BenchmarkError: if a file is missing, damaged or not what it should be; nothing is written then. Also if another
            table of that name is there.
        OutputError: if a table cannot be written.
    """
    if kind not in IMPORTERS:
        raise BenchmarkError(unknown("kind of files", kind, IMPORTERS))
    importer = IMPORTERS[kind]
    found = importer.files(files)
    groups = [found] if importer.is_one_table else [(path,) for path in found]
    if name is not None and len(groups) > 1:
        raise BenchmarkError(
            f"{len(groups)} files of kind {kind} make a table each, and one name was given; leave it out."
        )
    drafts = [(importer.read(group, request or Request()), group) for group in groups]
    named: dict[str, tuple[Draft, Table, tuple[Path, ...]]] = {}
    for draft, group in drafts:
        called = draft.name if name is None else name
        if called in BENCHMARKS or called == own.NAME or called in named:
            why = "is taken twice" if called in named else "is that of a benchmark that is known already"
            raise BenchmarkError(f"The name {shown(called)} {why}; give the table another one with --name.")
        where = one_line(", ".join(str(path) for path in group[:3]), 300)
        table = draft.gathered.table(
            "predicted" if draft.is_predicted else draft.label,
            where=where,
            max_trainings=draft.max_trainings,
            has_seeds=draft.has_seeds,
        )
        named[called] = (draft, table, group)
    return tuple(_written(importer, called, *parts, folder=folder, replace=replace) for called, parts in named.items())


def _written(
    importer: Importer, name: str, draft: Draft, table: Table, files: Sequence[Path], *, folder: Path, replace: bool
) -> Imported:
    try:
        header = TableHeader(
            name=name,
            kind=importer.kind,
            title=importer.title,
            space=draft.space,
            is_read=draft.is_read,
            provenance=draft.provenance.replace("{n}", f"{len(table.rows):,}"),
            notes=(*draft.notes, *table.notes),
            sources=_sources(files),
            n_networks=len(table.rows),
            columns=table.columns,
            times=table.times,
            scores=table.scores,
            digest="0" * 64,
        )
    except ValueError:
        raise BenchmarkError(
            f"A table cannot be called {shown(name)}, or a data set of it has no plain name; give it one of letters, "
            "digits, points and dashes with --name."
        ) from None
    path = table_file(folder, name)
    before = None
    if path.exists() and not replace:
        try:
            before = read_header(path)
        except BenchmarkError:
            before = None  # damaged, so that nothing is lost
    try:
        header = write_table(path, header, table.names, table.rows, only_over=None if before is None else before.digest)
    except OSError as error:
        raise OutputError(why_not_written(path, error)) from None
    return Imported(path=path, header=header, was_there=before is not None)


def _sources(files: Sequence[Path]) -> tuple[SourceFile, ...]:
    """Name, size and checksum of each file; of very many, those of all together."""
    found = []
    for path in files:
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found.append(SourceFile(name=one_line(path.name, 200), bytes=path.stat().st_size, sha256=digest))
        except OSError as error:
            raise BenchmarkError(f"Cannot read {path}: {error.strerror or error}.") from None
    if len(found) <= _N_SOURCES:
        return tuple(found)
    together = hashlib.sha256("".join(source.sha256 for source in found).encode()).hexdigest()
    name = f"{len(found)} files, {found[0].name} to {found[-1].name} (checksum of their checksums)"
    return (SourceFile(name=name, bytes=sum(source.bytes for source in found), sha256=together),)

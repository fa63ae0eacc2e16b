"""Tables made by ``eznas data import``: one compressed file each, which says what it holds and whether it is whole.

``NAME.table.gz`` is gzip of UTF-8 text. Its first line is a `TableHeader` as JSON: what the table is of, where it was
made from, every column of accuracies with split, epochs, seeds and label noise, and the SHA-256 of all that follows.
That is a CSV table with a header and one row for each network: ``arch`` (its text), ``function`` (equal for equal
networks) where the source says it, ``params`` where it does; for each column of accuracies ``DATASET_SPLIT_EPOCHSep``
the accuracy in percent and, where there were several trainings, ``..._n`` (how many) and ``..._std`` (their standard
deviation); ``DATASET_seconds_EPOCHSep``; and ``score_DATASET_PROXY`` for published scores.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import Field

from eznas.benchmarks.benchmark import Benchmark, Column
from eznas.benchmarks.csv_table import MAX_BYTES, REMEDY, CsvTable, csv_rows
from eznas.benchmarks.split import Split
from eznas.errors import ArchitectureError, BenchmarkError
from eznas.files import is_file, replace_file
from eznas.forms import Form, form_of
from eznas.names import one_line
from eznas.spaces import SPACES, Architecture, space_named
from eznas.tables import csv_text

SUFFIX: Final = ".table.gz"
MAX_HEADER: Final = 2**20
N_CHECKED: Final = 200
"""Networks, evenly spread, whose text is read by their space when a table is loaded."""
_REMEDY: Final = f"{REMEDY}, or import it again (eznas data import)"
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$")]
Line = Annotated[str, Field(min_length=1, max_length=2000)]


class SourceFile(Form):
    """A file that a table was made from."""

    name: Line
    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class LabelColumn(Form):
    """What one column of accuracies is of."""

    dataset: Word
    split: Literal["validation", "test", "unstated"]
    epochs: Annotated[int, Field(ge=1)] | None
    label: Literal["mean", "maximum", "recorded", "predicted"]
    """Over the trainings of a network: their mean, their maximum, or the one number that the source records; or what a
    surrogate predicts of it."""
    trainings: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
    """Fewest and most trainings of a network."""
    seeds: tuple[int, ...] = ()
    """Of the trainings, where the source names them."""
    noise: Annotated[float, Field(gt=0)] | None = None
    """Standard deviation between trainings of one network, pooled over networks, in percent points."""
    retest: Annotated[float, Field(ge=-1, le=1)] | None = None
    """Kendall's tau between one training of every network and another: what no proxy can pass by much."""

    @property
    def name(self) -> str:
        """Of the column in the table."""
        return f"{self.dataset}_{self.split}{'' if self.epochs is None else f'_{self.epochs}ep'}"

    @property
    def column(self) -> Column:
        """As benchmarks call it."""
        return self.dataset, Split.VALIDATION if self.split == "validation" else Split.TEST, self.epochs


class TimeColumn(Form):
    """Seconds that one training takes."""

    dataset: Word
    epochs: Annotated[int, Field(ge=1)] | None

    @property
    def name(self) -> str:
        """Of the column in the table."""
        return f"{self.dataset}_seconds{'' if self.epochs is None else f'_{self.epochs}ep'}"


class TableHeader(Form):
    """The first line of a table."""

    format: Literal["eznas-table"] = "eznas-table"
    version: Literal[1] = 1
    name: Word
    kind: Word
    """The importer that made it."""
    title: Line
    space: Word
    """Search space of the networks."""
    is_read: bool
    """Whether their texts are in the form of that space; else they are as the source has them."""
    provenance: Line
    notes: Annotated[tuple[Line, ...], Field(max_length=100)] = ()
    sources: Annotated[tuple[SourceFile, ...], Field(max_length=100_000)]
    n_networks: Annotated[int, Field(ge=1)]
    columns: Annotated[tuple[LabelColumn, ...], Field(min_length=1, max_length=1000)]
    times: Annotated[tuple[TimeColumn, ...], Field(max_length=1000)] = ()
    scores: Annotated[tuple[Line, ...], Field(max_length=1000)] = ()
    """Columns of published scores, which are kept beside the accuracies."""
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """SHA-256 of what follows the first line."""

    @property
    def longest(self) -> tuple[LabelColumn, ...]:
        """Columns of the longest training: what a benchmark means by full."""
        most = max(column.epochs or 0 for column in self.columns)
        return tuple(column for column in self.columns if (column.epochs or 0) == most)

    @property
    def noise(self) -> dict[str, LabelColumn]:
        """By data set the column of full trainings whose label noise is known; validation where both are."""
        known = (column for column in self.longest if column.noise is not None)
        return {c.dataset: c for c in sorted(known, key=lambda c: c.split == "validation")}

    @property
    def predicted(self) -> frozenset[str]:
        """Data sets whose accuracies a surrogate predicted."""
        return frozenset(column.dataset for column in self.columns if column.label == "predicted")

    @property
    def unstated(self) -> frozenset[str]:
        """Data sets whose split the source does not state."""
        return frozenset(column.dataset for column in self.columns if column.split == "unstated")

    @property
    def is_buildable(self) -> bool:
        """Whether this release builds these networks."""
        return self.space in SPACES


def table_file(folder: Path, name: str) -> Path:
    """Where a table of that name is."""
    return folder / f"{name}{SUFFIX}"


def tables_in(folder: Path) -> tuple[Path, ...]:
    """The tables of a folder, by name."""
    return tuple(sorted(path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith(".")))


def write_table(
    path: Path,
    header: TableHeader,
    names: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    only_over: str | None = None,
) -> TableHeader:
    """Write a table as a whole, or leave what was there; equal content gives equal bytes.

    Args:
        path: of the file.
        header: of which the digest is made here.
        names: of the columns.
        rows: one for each network.
        only_over: digest of the table that is there and may be written again; another one is not replaced.

    Returns:
        The header as it was written.

    Raises:
        BenchmarkError: if another table is there.
        OSError: if it cannot be written.
    """
    body = csv_text([names, *rows]).encode()
    header = header.model_copy(update={"digest": hashlib.sha256(body).hexdigest()})
    if only_over not in (None, header.digest):
        raise BenchmarkError(
            f"{path} holds another table; give this one another name with --name, or replace that one with --replace."
        )
    replace_file(path, gzip.compress(header.model_dump_json().encode() + b"\n" + body, compresslevel=9, mtime=0))
    return header


def read_header(path: Path, *, is_whole: bool = True) -> TableHeader:
    """What a table says of itself.

    Args:
        path: of the file.
        is_whole: read all of it, and check that it is what was written.

    Raises:
        BenchmarkError: if there is no such file or it is damaged.
    """
    return _read(path, MAX_BYTES if is_whole else MAX_HEADER)[0]


def load_table(path: Path) -> Benchmark:
    """The benchmark in a table.

    Networks are those of the table, in its order; columns that the header calls "unstated" are filed under test, as for
    tables of your own.

    Raises:
        BenchmarkError: if the file is missing or damaged, or its networks are of a space that this release lacks.
    """
    header, body = _read(path, MAX_BYTES)
    if not header.is_buildable:
        raise BenchmarkError(
            f"{path} holds {header.n_networks} networks of the space {header.space!r}, which this release cannot build "
            f"(it has {', '.join(SPACES)}); the table stays as it is until a release does."
        )
    needed = ["arch", *(column.name for column in header.columns), *(column.name for column in header.times)]
    table = csv_rows(path, body.decode("utf-8"), needed)
    if len(table.rows) != header.n_networks:
        raise BenchmarkError(f"{path} must have {header.n_networks} rows, but it has {len(table.rows)}; {_REMEDY}.")
    return Benchmark(
        name=header.name,
        provenance=header.provenance,
        architectures=_architectures(table, header),
        tables={column.column: table.accuracies(column.name) for column in header.columns},
        seconds={(column.dataset, column.epochs): table.seconds(column.name) for column in header.times},
        label_noise={dataset: column.noise or 0.0 for dataset, column in header.noise.items()},
        unstated_splits=header.unstated,
        functions=tuple(table.texts("function")) if "function" in table.header else None,
        notes=header.notes,
    )


def _read(path: Path, max_bytes: int) -> tuple[TableHeader, bytes]:
    """Header and the rest; a rest that was not read to its end is not looked at."""
    if not is_file(path):
        raise BenchmarkError(
            f"The data folder {str(path.parent)!r} lacks {path.name}; make it with eznas data import KIND FILE."
        )
    try:
        with gzip.open(path, "rb") as stream:
            first = stream.readline(MAX_HEADER + 1)
            body = stream.read(max_bytes + 1) if max_bytes > MAX_HEADER else b""
    except (OSError, EOFError, zlib.error) as error:
        raise BenchmarkError(f"{path} cannot be read as an imported table ({one_line(error)}); {_REMEDY}.") from None
    if not first.endswith(b"\n") or len(first) > MAX_HEADER:
        raise BenchmarkError(
            f"{path} must begin with a line of at most {MAX_HEADER} bytes, but it does not; {_REMEDY}."
        )
    header = form_of(TableHeader, first, where=str(path), error=BenchmarkError, remedy=_REMEDY)
    if header.name != path.name.removesuffix(SUFFIX):
        raise BenchmarkError(f"{path} holds the table {header.name!r}; call it {header.name}{SUFFIX} again.")
    if max_bytes > MAX_HEADER and hashlib.sha256(body).hexdigest() != header.digest:
        raise BenchmarkError(f"{path} is not as it was written, its checksum is another one; {_REMEDY}.")
    return header, body


def _architectures(table: CsvTable, header: TableHeader) -> tuple[Architecture, ...]:
    space = space_named(header.space)
    texts = table.texts("arch")
    if header.is_read:
        found = [Architecture(header.space, text) for text in texts]
        checked: Iterable[int] = np.unique(np.linspace(0, len(texts) - 1, N_CHECKED).astype(int)).tolist()
    else:
        found = []
        checked = range(len(texts))
    for position in checked:
        try:
            read = space.named(texts[position])
        except ArchitectureError as error:
            raise BenchmarkError(f"Row {position} of {table.path}: {str(error).rstrip('.')}, or {REMEDY}.") from error
        if len(read) != 1 or (found and header.is_read and read[0] != found[position]):
            raise BenchmarkError(
                f"Row {position} of {table.path} must name one network of the space {header.space!r}, but it names "
                f"{len(read)} or writes it in another way; {_REMEDY}."
            )
        if not header.is_read:
            found.append(read[0])
    return tuple(found)

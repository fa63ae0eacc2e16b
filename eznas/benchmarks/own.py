"""Accuracies of networks of your own: a table with a row for each network, as a CSV file or as Python data.

**Which column is what** is read from its name, in lower case and cut into words:

- the names of the networks: ``network``, ``name``, ``model``, ``arch`` and the like, or else the first column that
  holds one of them;
- ``X_valid``, ``X_val`` and ``X_validation`` are validation accuracies on the data set X, ``X_test`` test accuracies;
- plain ``X`` is the one label of the data set X: it is filed under test and reported as "split not stated";
- ``acc``, ``accuracy`` and ``top1`` say nothing more, so ``val_acc`` is a validation accuracy on a data set without a
  name, which is called `UNNAMED`;
- ``error`` or ``err`` makes it an error rate: the accuracy is 100 minus it;
- ``12ep`` or ``12_epochs`` states the epochs of the training;
- ``params``, ``loss``, ``seconds``, ``std`` and the like are no accuracies.

A column that has none of these words and is not a well-known data set is read only where no column is surer, and only
if it holds nothing but numbers in 0..100. `columns` says it outright instead.

Every assumption becomes a note of the benchmark; whatever can be read in two ways is refused.
"""

from __future__ import annotations

import csv
import io
import math
import numbers
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from eznas.benchmarks.benchmark import Benchmark, Column
from eznas.benchmarks.split import Split
from eznas.errors import BenchmarkError
from eznas.names import nearest, one_line, shown
from eznas.spaces import Architecture
from eznas.tables import plain

UNNAMED: Final = "own"
"""The data set of accuracies that name none."""
MIN_NETWORKS: Final = 10
"""Networks with accuracies that are needed at least."""
MAX_BYTES: Final = 64 * 2**20
MAX_ROWS: Final = 500_000
MAX_COLUMNS: Final = 1_000

_NAMES: Final = (
    "network", "networks", "name", "names", "model", "arch", "arch_str", "architecture", "net", "network_name",
    "model_name", "spec",
)  # fmt: skip
_SPLITS: Final = {
    "val": Split.VALIDATION, "valid": Split.VALIDATION, "validation": Split.VALIDATION, "test": Split.TEST,
}  # fmt: skip
_ACCURACY: Final = frozenset(("acc", "accs", "accuracy", "accuracies", "top1", "percent", "pct"))
_ERROR: Final = frozenset(("error", "err", "errors"))
_NO_ACCURACY: Final = frozenset(
    (
        "params", "param", "parameters", "flops", "flop", "macs", "mac", "madds", "latency", "time", "seconds", "sec",
        "secs", "s", "ms", "loss", "train", "training", "std", "sd", "stderr", "var", "ci", "seed", "seeds", "epoch",
        "epochs", "index", "idx", "id", "rank", "size", "memory", "mb", "depth", "width", "layers", "channels",
        "kernel", "resolution", "batch", "lr", "hash",
    )
)  # fmt: skip
_DATASETS: Final = frozenset(
    (
        "cifar10", "cifar100", "imagenet16", "imagenet", "imagenet1k", "tinyimagenet", "mnist",
        "fashionmnist", "fashion_mnist", "emnist", "kmnist", "svhn", "stl10", "food101", "flowers102", "digits",
    )
)  # fmt: skip
_SPELLINGS: Final = {
    "cifar_10": "cifar10", "cifar_100": "cifar100", "c10": "cifar10", "c100": "cifar100", "im16": "imagenet16",
    "imagenet16_120": "imagenet16", "tiny_imagenet": "tinyimagenet",
}  # fmt: skip
_EPOCHS: Final = re.compile(r"(?:^|_)(\d{1,6})_?(?:ep|epochs?)(?=_|$)")
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_DECIMAL_COMMA: Final = re.compile(r"[+-]?\d+,\d+\s*%?", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_MISSING: Final = frozenset(("", "na", "n/a", "none", "null", "-"))
_N_NAMED: Final = 5  # names that a sentence lists


def load_accuracies(
    source: Any,
    networks: Mapping[str, Architecture] | Sequence[Architecture],
    *,
    columns: Sequence[str] | Mapping[str, str] | None = None,
) -> Benchmark:
    """A benchmark of your own networks.

    Networks without a row, or with an empty field, are left out, and so are rows of other networks; the notes name
    them. A column whose values all lie in 0..1 holds fractions and becomes percent, which is noted too.

    Args:
        source: path of a CSV file (UTF-8; separated by commas, semicolons or tabs; with a header), or a mapping from
            networks to accuracies or to rows, a mapping from columns to values, a data frame, a sequence of rows
            (mappings) or of (network, accuracy) pairs.
        networks: the networks by name; or their architectures, which are then called as what follows ``#`` in their
            text if that is theirs alone. Their full text is understood as well.
        columns: the columns to read; as a mapping, each with the name that says what it is: ``{"y": "cifar10_test"}``.

    Returns:
        The architectures that have accuracies, in the order of `networks`, with what was assumed in `notes`.

    Raises:
        BenchmarkError: if the table cannot be read, does not say clearly which accuracies it holds, or has fewer than
            `MIN_NETWORKS` of the networks; the first problem with its row, and how many more there are.
    """
    called = _called(networks)
    sheet = _sheet(source)
    problems: list[str] = []
    notes: list[str] = []
    names = _names_column(sheet, called, notes)
    rows = _rows_of_networks(sheet, names, called, problems, notes)
    meanings = _accuracy_columns(sheet, names, rows, columns, notes)
    found = [_accuracies(sheet, meaning, rows, problems, notes) for meaning in meanings]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise BenchmarkError(f"{problems[0].rstrip('.')}{more}.")

    is_complete: npt.NDArray[np.bool_] = np.all(~np.isnan(np.stack(found)), axis=0)
    _note_left_out(sheet, called, rows, is_complete, notes)
    for meaning, table in zip(meanings, found, strict=True):
        if np.ptp(table[is_complete]) == 0.0:
            raise BenchmarkError(
                f"All accuracies in column {shown(meaning.name)} of {sheet.where} are {table[is_complete][0]:g} "
                "percent, so they rank nothing; give accuracies that differ."
            )
    benchmark = Benchmark(
        name=UNNAMED,
        provenance=f"Accuracies of {is_complete.sum()} networks of your own read from {sheet.where}.",
        architectures=tuple(row.arch for row, complete in zip(rows, is_complete, strict=True) if complete),
        tables={m.column: table[is_complete] for m, table in zip(meanings, found, strict=True)},
        unstated_splits=frozenset(meaning.dataset for meaning in meanings if meaning.split is None),
        notes=tuple(notes),
    )
    labels = ", ".join(map(benchmark.describe, benchmark.tables))
    return replace(benchmark, provenance=f"{benchmark.provenance.rstrip('.')}: {labels}.")


def names_in(path: Path) -> list[tuple[int, str]]:
    """Number of the line and name of each network in a CSV file: what stands in a column called so, or in the first.

    Raises:
        BenchmarkError: if the table cannot be read.
    """
    sheet = _sheet_of_file(path)
    usual = [position for position, name in enumerate(sheet.header) if _words(name) in _NAMES]
    column = min(usual, key=lambda position: _NAMES.index(_words(sheet.header[position])), default=0)
    return [(line, name) for line, fields in sheet.rows if (name := _name(fields[column]))]


# The table ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Sheet:
    """A table as it was given.

    Attributes:
        where: what to call it in a sentence.
        unit: what its rows are counted in: the lines of a file, or rows.
        header: names of the columns.
        rows: number of the line (from 1) and the fields, as many as the header has.
    """

    where: str
    unit: str
    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[Any, ...]], ...]

    def at(self, line: int) -> str:
        return f"{self.unit} {line} of {self.where}"


def _sheet(source: Any) -> _Sheet:
    if isinstance(source, str | Path):
        return _sheet_of_file(Path(source))
    where = "the given table"
    if isinstance(source, Mapping):
        header, rows = _of_mapping(source)
    elif hasattr(source, "columns") and hasattr(source, "__getitem__"):  # a data frame of pandas, polars and so on
        header, rows = _of_columns({str(name): source[name] for name in source.columns}, getattr(source, "index", None))
    elif isinstance(source, Iterable):
        header, rows = _of_rows(source)
    else:
        raise BenchmarkError(
            f"Accuracies must be the path of a CSV file, a mapping, a data frame or a sequence of rows, but they are "
            f"{type(source).__name__}; give one of these."
        )
    _check_size(where, len(rows), len(header))
    return _Sheet(where, "row", tuple(map(str, header)), tuple(enumerate(map(tuple, rows), 1)))


def _of_mapping(source: Mapping[Any, Any]) -> tuple[list[str], list[list[Any]]]:
    """Header and rows of networks by name, with one accuracy or one row each, or of columns by name."""
    values = list(source.values())
    if values and all(isinstance(value, Mapping) for value in values):
        return _of_rows([{"network": name, **row} for name, row in source.items()])
    if any(isinstance(v, Iterable) and not isinstance(v, str) and getattr(v, "ndim", 1) for v in values):
        return _of_columns({str(name): value for name, value in source.items()}, None)
    return ["network", "accuracy"], [[name, value] for name, value in source.items()]


def _of_columns(columns: Mapping[str, Any], index: Any) -> tuple[list[str], list[list[Any]]]:
    try:
        lists = {name: list(column) for name, column in columns.items()}
        if index is not None and not callable(index):
            lists = {"": list(index), **lists}  # a data frame may name the networks there
    except TypeError:
        raise BenchmarkError(
            "Each column of the given table must be a sequence of values, but not all are; give lists of equal lengths."
        ) from None
    lengths = {name: len(column) for name, column in lists.items()}
    if len(set(lengths.values())) > 1:
        longest, shortest = (pick(lengths, key=lambda name: lengths[name]) for pick in (max, min))
        raise BenchmarkError(
            f"The columns of the given table must be equally long, but {shown(longest)} has {lengths[longest]} "
            f"values and {shown(shortest)} has {lengths[shortest]}; give one value for each network."
        )
    return list(lists), [list(row) for row in zip(*lists.values(), strict=True)]


def _of_rows(source: Iterable[Any]) -> tuple[list[str], list[list[Any]]]:
    rows = list(source)
    if rows and all(isinstance(row, Mapping) for row in rows):
        header = list(dict.fromkeys(str(name) for row in rows for name in row))
        by_name = [{str(name): value for name, value in row.items()} for row in rows]
        return header, [[row.get(name) for name in header] for row in by_name]
    if rows and all(isinstance(row, tuple | list) and len(row) == 2 for row in rows):
        return ["network", "accuracy"], [list(row) for row in rows]
    raise BenchmarkError(
        "The rows of the given table must be mappings from columns to values, or (network, accuracy) pairs, but "
        f"{'there are none' if not rows else 'some are neither'}; give one of these."
    )


def _sheet_of_file(path: Path) -> _Sheet:
    where = one_line(path, 200)
    try:
        if not path.is_file():
            raise OSError("it is not a file" if path.exists() else "there is no such file")
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES} bytes")
        text = content.decode("utf-8-sig")
        control = _CONTROL.search(text)
        if control is not None:
            line = text.count("\n", 0, control.start()) + 1
            raise ValueError(f"line {line} has the control character {control[0]!r}")
        lines = _csv_lines(text)
    except UnicodeDecodeError:
        raise BenchmarkError(f"{where} is not UTF-8 text; save the accuracies as a CSV file in UTF-8.") from None
    except (OSError, ValueError, csv.Error) as error:
        reason = one_line(getattr(error, "strerror", None) or error)
        raise BenchmarkError(f"{where} cannot be read as accuracies: {reason}; name a CSV file.") from None
    if not lines:
        raise BenchmarkError(f"{where} is empty; write a header and a row for each network.")
    header = tuple(field.strip() for field in lines[0][1])
    _check_size(where, len(lines) - 1, len(header))
    problems, rows = [], []
    for line, fields in lines[1:]:
        while len(fields) > len(header) and not fields[-1].strip():
            fields = fields[:-1]
        if len(fields) != len(header):
            problems.append(
                f"Line {line} of {where} has {len(fields)} fields, but the header has {len(header)}; give every line "
                "one field for each column, and write decimals with a point"
            )
        rows.append((line, tuple(plain(field.strip()) for field in fields)))
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise BenchmarkError(f"{problems[0]}{more}.")
    return _Sheet(where, "line", header, tuple(rows))


def _csv_lines(text: str) -> list[tuple[int, list[str]]]:
    """Each row that is not blank with the number of its first line; the separator is what the header has most of."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(",;\t", key=lambda mark: len(next(csv.reader([header], delimiter=mark), [])))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    lines: list[tuple[int, list[str]]] = []
    first = 1
    for fields in reader:
        if any(field.strip() for field in fields):
            lines.append((first, fields))
        if len(lines) > MAX_ROWS + 1:
            break
        first = reader.line_num + 1
    return lines


def _check_size(where: str, n_rows: int, n_columns: int) -> None:
    if n_rows > MAX_ROWS or n_columns > MAX_COLUMNS:
        raise BenchmarkError(
            f"{_begin(where)} must have at most {MAX_ROWS} rows and {MAX_COLUMNS} columns, but it has "
            f"{'more' if n_rows > MAX_ROWS else n_rows} and {n_columns}; leave out what is not needed."
        )
    if n_rows == 0:
        raise BenchmarkError(f"{_begin(where)} has no rows; write one for each network below the header.")


# Networks -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """The fields of one network.

    Attributes:
        arch: the network.
        line: number of the row, for people.
        fields: one for each column.
    """

    arch: Architecture
    line: int
    fields: tuple[Any, ...]


def _called(networks: Mapping[str, Architecture] | Sequence[Architecture]) -> dict[str, Architecture]:
    """Every name under which a network may stand, the one to show first.

    Raises:
        BenchmarkError: if there are no networks.
    """
    if isinstance(networks, Mapping):
        called = {str(name): arch for name, arch in networks.items()}
    else:
        last = [arch.spec.rpartition("#")[2] for arch in networks]
        n_called = Counter(last)
        called = {
            name if name and n_called[name] == 1 else arch.spec: arch for name, arch in zip(last, networks, strict=True)
        }
    if not called:
        raise BenchmarkError("Accuracies were given for no networks; name networks too.")
    for arch in dict.fromkeys(called.values()):
        called.setdefault(arch.spec, arch)
        called.setdefault(f"{arch.space}:{arch.spec}", arch)
    return called


def _first_names(called: Mapping[str, Architecture]) -> dict[Architecture, str]:
    """What to call each network in a sentence, in the order of the networks."""
    names: dict[Architecture, str] = {}
    for name, arch in called.items():
        names.setdefault(arch, name)
    return names


def _names_column(sheet: _Sheet, called: Mapping[str, Architecture], notes: list[str]) -> int:
    """Position of the column that holds the names of the networks."""
    if any(name in called for name in sheet.header) and any(_NUMBER.fullmatch(name) for name in sheet.header):
        raise BenchmarkError(
            f"The first {sheet.unit} of {sheet.where} is about a network, so there is no header; write one such as "
            "network,cifar10_valid,cifar10_test above it."
        )
    given = [name for name in sheet.header if name]
    repeated = next((name for name, n in Counter(map(_words, given)).items() if n > 1), None)
    if repeated is not None:
        twice = [name for name in given if _words(name) == repeated][:2]
        raise BenchmarkError(
            f"The header of {sheet.where} has the columns {shown(twice[0])} and {shown(twice[1])}, which have the same "
            "name; keep one of them."
        )
    usual = sorted(
        (position for position, name in enumerate(sheet.header) if _words(name) in _NAMES),
        key=lambda position: _NAMES.index(_words(sheet.header[position])),
    )
    others = [position for position in range(len(sheet.header)) if position not in usual]
    for position in (*usual, *others):
        if any(_name(fields[position]) in called for _, fields in sheet.rows):
            if position not in usual:
                notes.append(
                    f"Column {_title(sheet, position)} of {sheet.where} is read as the names of the networks, because "
                    "it holds some of them."
                )
            return position
    here = _listed([_name(fields[usual[0] if usual else 0]) for _, fields in sheet.rows])
    ours = _listed([*_first_names(called).values()])
    raise BenchmarkError(
        f"No network is named in {sheet.where}: it names {here}, and the networks are {ours}; write the names of the "
        "networks in a column called network."
    )


def _rows_of_networks(
    sheet: _Sheet, names: int, called: Mapping[str, Architecture], problems: list[str], notes: list[str]
) -> list[_Row]:
    """The rows of networks, in the order of the networks."""
    found: dict[Architecture, _Row] = {}
    unknown: list[str] = []
    for line, fields in sheet.rows:
        name = _name(fields[names])
        if not name:
            problems.append(f"{_begin(sheet.at(line))} names no network; write its name or remove the line")
        elif name not in called:
            unknown.append(name)
        elif called[name] in found:
            problems.append(
                f"{_begin(sheet.at(line))} is about {shown(name)}, as {sheet.unit} {found[called[name]].line} is; keep "
                "one of them"
            )
        else:
            found[called[name]] = _Row(called[name], line, fields)
    if unknown:
        notes.append(
            f"{len(unknown)} of {len(sheet.rows)} rows of {sheet.where} are about none of the networks and are left "
            f"out: {_listed(unknown)}."
        )
    return [found[arch] for arch in _first_names(called) if arch in found]


def _note_left_out(
    sheet: _Sheet,
    called: Mapping[str, Architecture],
    rows: Sequence[_Row],
    is_complete: npt.NDArray[np.bool_],
    notes: list[str],
) -> None:
    """Names the networks without accuracies.

    Raises:
        BenchmarkError: if too few are left.
    """
    names = _first_names(called)
    kept = {row.arch for row, complete in zip(rows, is_complete, strict=True) if complete}
    missing = [name for arch, name in names.items() if arch not in kept]
    if len(kept) < MIN_NETWORKS:
        lacking = f" (none for {_listed(missing)})" if missing else ""
        raise BenchmarkError(
            f"{_begin(sheet.where)} has accuracies of {len(kept)} of the {len(names)} networks{lacking}, and at least "
            f"{MIN_NETWORKS} are needed; add rows for more networks."
        )
    if missing:
        notes.append(
            f"{len(missing)} of {len(names)} networks have no accuracy in {sheet.where} and are left out: "
            f"{_listed(missing)}."
        )


# Columns --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What a column holds.

    Attributes:
        name: of the column.
        position: of the column.
        dataset: whose accuracies.
        split: None where the name does not say.
        epochs: likewise.
        is_error: whether the values are error rates.
        is_sure: whether the name says that it holds accuracies; None if it says that it does not.
    """

    name: str
    position: int
    dataset: str
    split: Split | None
    epochs: int | None
    is_error: bool
    is_sure: bool | None

    @property
    def column(self) -> Column:
        """Where the accuracies are filed."""
        return (self.dataset, self.split or Split.TEST, self.epochs)


def _meaning(name: str, position: int, as_name: str) -> _Meaning:
    """What a column is by its name, or by the name that it is to be read as."""
    text = _words(as_name)
    length = _EPOCHS.search(text)
    words = [word for word in _EPOCHS.sub("", text).split("_") if word]
    split = next((_SPLITS[word] for word in words if word in _SPLITS), None)
    is_error = any(word in _ERROR for word in words)
    said = {*_SPLITS, *_ACCURACY, *_ERROR}
    written = "_".join(word for word in words if word not in said)
    dataset = _SPELLINGS.get(written, written)
    is_sure: bool | None = any(word in said for word in words) or dataset in _DATASETS
    if not words or any(word in _NO_ACCURACY for word in words):
        is_sure = None
    return _Meaning(name, position, dataset or UNNAMED, split, int(length[1]) if length else None, is_error, is_sure)


def _accuracy_columns(
    sheet: _Sheet,
    names: int,
    rows: Sequence[_Row],
    columns: Sequence[str] | Mapping[str, str] | None,
    notes: list[str],
) -> list[_Meaning]:
    """The columns that are read, and what each holds."""
    others = [position for position in range(len(sheet.header)) if position != names]
    if columns is None:
        meanings = [_meaning(sheet.header[position], position, sheet.header[position]) for position in others]
        chosen = [m for m in meanings if m.is_sure]
        if not chosen:
            chosen = [m for m in meanings if m.is_sure is False and _may_be_accuracies(m, rows)]
            notes.extend(
                f"Column {shown(m.name)} of {sheet.where} is read as accuracies on the data set {m.dataset}, because "
                "it holds numbers in 0..100 only."
                for m in chosen
            )
        left_out = [m.name for m in meanings if m not in chosen and m.name]
        if not chosen:
            raise BenchmarkError(
                f"No column of {sheet.where} is clearly one of accuracies: beside the names it has "
                f"{_listed(left_out) or 'none'}; call one cifar10_valid, cifar10_test or accuracy, or name those to "
                "read in 'columns'."
            )
        if left_out:
            notes.append(
                f"What does not look like accuracies in {sheet.where} is left out ({_listed(left_out)}); to read such "
                "a column, name it in 'columns'."
            )
    else:
        asked = columns if isinstance(columns, Mapping) else dict.fromkeys(columns)
        chosen = [
            _meaning(sheet.header[position], position, as_name or sheet.header[position])
            for position, as_name in ((_position(sheet, name), as_name) for name, as_name in asked.items())
        ]
        if not chosen:
            raise BenchmarkError("'columns' names no column of accuracies; name at least one, or leave it out.")
    filed: dict[Column, _Meaning] = {}
    for meaning in chosen:
        other = filed.setdefault(meaning.column, meaning)
        if other is not meaning:
            raise BenchmarkError(
                f"Columns {shown(other.name)} and {shown(meaning.name)} of {sheet.where} both are "
                f"{meaning.column[1].value} accuracies on {meaning.dataset}; keep one, or name the one to read in "
                "'columns'."
            )
        if meaning.split is None:
            like = "accuracy" if meaning.dataset == UNNAMED else meaning.dataset
            notes.append(
                f"Column {shown(meaning.name)} of {sheet.where} does not say which images its accuracies were measured "
                "on, so its split counts as not stated; call it "
                f"{like}_valid or {like}_test to say so."
            )
    return chosen


def _position(sheet: _Sheet, name: str) -> int:
    if name in sheet.header:
        return sheet.header.index(name)
    close = nearest(str(name), sheet.header)
    hint = "" if close is None else f" (nearest is {shown(close)})"
    raise BenchmarkError(
        f"'columns' names {shown(name)}, but {sheet.where} has no such column{hint}; it has "
        f"{_listed([each for each in sheet.header if each])}."
    )


def _may_be_accuracies(meaning: _Meaning, rows: Sequence[_Row]) -> bool:
    """Whether a column holds numbers in 0..100, and some at all."""
    values = []
    for row in rows:
        try:
            values.append(_value(row.fields[meaning.position])[0])
        except ValueError:
            return False
    return any(0.0 <= v <= 100.0 for v in values) and all(math.isnan(v) or 0.0 <= v <= 100.0 for v in values)


# Values ---------------------------------------------------------------------------------------------------------------


def _accuracies(
    sheet: _Sheet, meaning: _Meaning, rows: Sequence[_Row], problems: list[str], notes: list[str]
) -> npt.NDArray[np.float64]:
    """(n_rows,) accuracies in percent of one column, NaN where there is none."""
    values = np.full(len(rows), np.nan)
    is_percent = np.zeros(len(rows), dtype=bool)
    column = f"column {shown(meaning.name)}"
    n_before = len(problems)
    for number, row in enumerate(rows):
        try:
            values[number], is_percent[number] = _value(row.fields[meaning.position])
        except ValueError as error:
            problems.append(f"{_begin(sheet.at(row.line))} has in {column} {error}")
            continue
        if not math.isnan(values[number]) and not 0.0 <= values[number] <= 100.0:
            problems.append(
                f"{_begin(sheet.at(row.line))} has {values[number]:g} in {column}, outside of 0..100; write percent"
            )
    if len(problems) > n_before or np.isnan(values).all():
        return values

    is_small = (values > 0.0) & (values <= 1.0) & ~is_percent
    is_large = (values > 1.0) | is_percent
    if is_small.any() and is_large.any():
        # a fraction is told from a poor percentage by where it would lie among the others
        low, high = values[is_large].min(), values[is_large].max()
        is_suspect = (values * 100.0 >= low) & (values * 100.0 <= high) | (is_small.sum() > is_large.sum())
        mixed = np.flatnonzero(is_small & is_suspect)
        if mixed.size:
            one, other = rows[mixed[0]], rows[np.flatnonzero(is_large)[0]]
            problems.append(
                f"{_begin(column)} of {sheet.where} mixes fractions and percent: {values[mixed[0]]:g} in {sheet.unit} "
                f"{one.line} and {values[is_large][0]:g} in {sheet.unit} {other.line}; write all in percent, and "
                "percentages below 1 as in 0.93%"
            )
    elif is_small.any():
        values = values * 100.0
        notes.append(f"{_begin(column)} of {sheet.where} holds fractions, and is read as 100 times as many percent.")
    if meaning.is_error:
        values = 100.0 - values
        notes.append(f"{_begin(column)} of {sheet.where} holds error rates, and is read as accuracies of 100 minus it.")
    return values


def _value(field: Any) -> tuple[float, bool]:
    """The number in a field (NaN for an empty one), and whether it says that it is percent.

    Raises:
        ValueError: if it is not a number; says what it is and what to do.
    """
    if field is None:
        return math.nan, False
    if isinstance(field, str):
        text = field.strip()
        if text.lower() in _MISSING:
            return math.nan, False
        number = text.removesuffix("%").rstrip()
        if _NUMBER.fullmatch(number):
            return float(number), number != text
        if _DECIMAL_COMMA.fullmatch(text):
            raise ValueError(f"{shown(text)}, a decimal comma; write a point")
        raise ValueError(f"{shown(text)}, not a number; correct it, or leave the field empty to drop the network")
    try:
        if isinstance(field, bool | np.bool_) or not (isinstance(field, numbers.Number) or hasattr(field, "item")):
            raise TypeError
        value = float(field)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{shown(field)}, not a number; correct it, or give None to drop the network") from None
    if math.isinf(value):
        raise ValueError("an infinite value; correct it, or give None to drop the network")
    return value, False  # NaN is how data frames mark what is missing


# Words ----------------------------------------------------------------------------------------------------------------


def _words(name: str) -> str:
    """A column's name in lower case, its words joined by underscores."""
    return "_".join(re.findall(r"[^\W_]+", name.lower().replace("@1", "")))


def _name(field: Any) -> str:
    return "" if field is None else str(field).strip()


def _title(sheet: _Sheet, position: int) -> str:
    return shown(sheet.header[position]) if sheet.header[position] else f"{position + 1} (without a name)"


def _begin(text: str) -> str:
    """The beginning of a sentence; a path stays as it is."""
    return text[0].upper() + text[1:] if text.startswith(("line ", "row ", "column ", "the given ")) else text


def _listed(names: Sequence[str]) -> str:
    """Some names, and how many more."""
    first = ", ".join(shown(name) for name in names[:_N_NAMED])
    return first if len(names) <= _N_NAMED else f"{first} and {len(names) - _N_NAMED} more"

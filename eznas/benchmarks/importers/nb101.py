"""NAS-Bench-101: its official TFRecord files, and the JSON and CSV files that people export from them.

A record of ``nasbench_full.tfrecord`` or ``nasbench_only108.tfrecord`` is one training as JSON: hash of the cell,
epochs, adjacency matrix row by row, operations, and metrics as a base64 protocol buffer, whose last of three
evaluations is the final one. Every cell was trained three times for each number of epochs; accuracies are fractions.

An export is JSON, ``{hash: [fixed, computed]}`` as the released code's ``get_metrics_from_hash`` gives them, or a list
of rows, or a CSV table of rows. A row has an adjacency matrix, operations, ``epochs`` and final accuracies
of one training; or, of each number of epochs, ``val_acc_108ep`` and so on.

Source: `Ying 2019 <https://arxiv.org/abs/1902.09635>`_, released code (``model_metrics.proto``).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from eznas.benchmarks.importers.gathering import Gathering, Split_, number_of
from eznas.benchmarks.importers.importer import Draft, Importer, Request, text_of
from eznas.benchmarks.importers.streams import JsonStream, Stream, csv_lines, framed_records, masked_crcs, refuse
from eznas.names import one_line, shown
from eznas.spaces import Architecture, nb101

MAX_BYTES: Final = 4 * 2**30
"""Of one file; the full official one has 2 GB."""
EPOCHS: Final = (4, 12, 36, 108)
N_TRAININGS: Final = 3
_DATASET: Final = "cifar10"
_CHECKED_FIRST, _CHECKED_EVERY = 100, 1000
"""Networks whose parameters and hash are computed: the first, and one of so many."""
_SPELLINGS: Final = {
    "hash": ("hash", "module_hash"),
    "matrix": ("module_adjacency", "raw_adjacency", "adj_rowmajor", "adjacency", "matrix"),
    "operations": ("module_operations", "raw_operations", "ops_interior", "operations", "ops"),
    "params": ("trainable_parameters", "params"),
    "validation": ("final_validation_accuracy", "validation_accuracy"),
    "test": ("final_test_accuracy", "test_accuracy"),
    "seconds": ("final_training_time", "training_time"),
}
_WIDE: Final = re.compile(r"(val|valid|validation|test)_acc(?:uracy)?_(\d{1,3})ep")
_DIGITS: Final = ("conv3x3", "conv1x1", "maxpool3x3")


def _read(files: Sequence[Path], request: Request) -> Draft:
    reading = _Reading()
    for path in files:
        with Stream(path, MAX_BYTES) as stream:
            head = stream.read(12)
        is_framed = len(head) == 12 and masked_crcs([head[:8]]).tobytes() == head[8:]
        with Stream(path, MAX_BYTES) as stream:
            if is_framed:
                for number, record in enumerate(framed_records(stream)):
                    reading.add_record(record, f"{stream.where}, record {number}")
            elif head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
                for where, row in _json_rows(stream):
                    reading.add_row(row, where)
            else:
                for line, row in csv_lines(stream):
                    reading.add_row(row, f"{stream.where}, line {line}")
    what = "maximum" if request.label == "maximum" else "mean"
    one = "as the source records it, which may be one of three trainings, their mean or their maximum"
    return Draft(
        name="nb101-official",
        space=nb101.NAME,
        is_read=True,
        provenance=(
            "CIFAR-10 accuracies of {n} NAS-Bench-101 cells from "
            f"{one_line(', '.join(sorted({path.name for path in files})[:3]))}, "
            f"{one if reading.is_wide else f'each the {what} of its recorded trainings (three in the official file)'}."
        ),
        gathered=reading.gathered,
        max_trainings=N_TRAININGS,
        has_seeds=False,
        label=request.label,
    )


class _Reading:
    """Cells and trainings as they are read."""

    def __init__(self) -> None:
        self.gathered = Gathering()
        self.is_wide = False
        self._known: dict[tuple[str, str], int] = {}
        self._n_trainings: dict[tuple[int, int], int] = {}

    def add_record(self, record: bytes, where: str) -> None:
        """One training of the official file."""
        try:
            code, epochs, matrix, operations, metrics = json.loads(record)
            content = base64.b64decode(metrics, validate=True)
        except (ValueError, TypeError, RecursionError, binascii.Error):
            raise refuse(where, "hash, epochs, matrix, operations and metrics as JSON", "it does not") from None
        params, evaluations = _metrics(content, where)
        final = evaluations[-1] if evaluations else {}
        if len(evaluations) != 3 or not abs(final.get(1, -1.0) - (number_of(epochs) or 0.0)) < 0.5:
            got = f"it holds {len(evaluations)}, the last after {shown(final.get(1))}"
            raise refuse(where, f"three evaluations, the last after {shown(epochs)} epochs", got)
        number = self._cell(code, matrix, operations, params, where)
        self._add(number, epochs, final.get(4), final.get(5), final.get(2), where)

    def add_row(self, row: Mapping[str, Any], where: str) -> None:
        """One row of an export."""
        found = {what: _first(row, names) for what, names in _SPELLINGS.items()}
        number = self._cell(found["hash"], found["matrix"], found["operations"], _integer(found["params"]), where)
        wide = [(match, value) for key, value in row.items() if (match := _WIDE.fullmatch(str(key).lower()))]
        for match, value in wide:
            self.is_wide = True
            split: Split_ = "test" if match[1] == "test" else "validation"
            epochs = int(match[2])
            if value not in (None, ""):
                self.gathered.add(number, (_DATASET, split, epochs), _percent(_number(value), where), where)
                seconds = _number(row.get(f"train_time_{epochs}ep_s"))
                if split == "validation":
                    self.gathered.add_seconds(number, _DATASET, epochs, seconds)
        if found["validation"] is not None or found["test"] is not None:
            validation, test, seconds = (_number(found[what]) for what in ("validation", "test", "seconds"))
            self._add(number, _integer(row.get("epochs", row.get("epoch"))), validation, test, seconds, where)
        elif not wide:
            got = f"it has {', '.join(map(shown, list(row)[:8]))}"
            raise refuse(where, "final accuracies, final_validation_accuracy or val_acc_108ep", got)

    def _cell(self, code: object, matrix: object, operations: object, params: int | None, where: str) -> int:
        text = _text(matrix, operations)
        if text is None or not (code is None or (isinstance(code, str) and re.fullmatch("[0-9a-f]{32}", code))):
            got = f"hash {shown(code)}, matrix {shown(matrix)}, operations {shown(operations)}"
            raise refuse(where, "a NAS-Bench-101 cell: its hash, matrix and operations", got)
        key = (text, code or "")
        if key not in self._known:
            spec = text_of(nb101.NAME, text, where)
            number = self.gathered.network(spec, where, function=code or None, params=params)
            if number < _CHECKED_FIRST or number % _CHECKED_EVERY == 0:
                arch = Architecture(nb101.NAME, spec)
                expected = (nb101.function(arch), nb101.parameter_count(arch))
                if code not in (None, "", expected[0]) or params not in (None, expected[1]):
                    got = f"it says {shown(code)} and {params}"
                    raise refuse(where, f"hash {expected[0]} and {expected[1]} parameters, as the cell has", got)
            self._known[key] = number
        return self._known[key]

    def _add(self, number: int, epochs: object, validation: object, test: object, seconds: object, where: str) -> None:
        if epochs not in EPOCHS or not isinstance(epochs, int):
            raise refuse(where, f"epochs, one of {', '.join(map(str, EPOCHS))}", f"it says {shown(epochs)}")
        repeat = self._n_trainings.get((number, epochs), 0)
        self._n_trainings[number, epochs] = repeat + 1
        splits: tuple[tuple[Split_, object], ...] = (("validation", validation), ("test", test))
        for split, value in splits:
            if value is not None:
                self.gathered.add(number, (_DATASET, split, epochs), _percent(value, where), where, seed=repeat)
        self.gathered.add_seconds(number, _DATASET, epochs, seconds, seed=repeat)


def _json_rows(stream: Stream) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Rows of a JSON export, with where each was."""
    content = JsonStream(stream)
    is_list = content.peek() == "["
    for (key, *_), value in content.items(1):
        where = f"{stream.where}, {'row' if is_list else 'cell'} {shown(key)}"
        parts: list[Any] = [value, {}] if isinstance(value, dict) else value if isinstance(value, list) else []
        if len(parts) != 2 or not all(isinstance(part, dict) for part in parts):
            raise refuse(where, "a cell and its trainings", f"it holds {shown(value)}")
        fixed, trainings = parts
        cell: dict[str, Any] = fixed if is_list else {"hash": key, **fixed}
        if not trainings:
            yield where, cell
        for epochs, repeats in trainings.items():
            if not isinstance(repeats, list) or not all(isinstance(one, dict) for one in repeats):
                raise refuse(where, f"a list of trainings of {shown(epochs)} epochs", f"it holds {shown(repeats)}")
            for one in repeats:
                yield where, {**one, **cell, "epochs": epochs}
    content.end()


def _text(matrix: object, operations: object) -> str | None:
    """A cell in a form that its space reads; None where the parts do not fit."""
    names = operations
    if isinstance(operations, str):
        is_digits = re.fullmatch(r"[0-2]{0,5}", operations) is not None
        names = [_DIGITS[int(d)] for d in operations] if is_digits else re.findall(r"[A-Za-z0-9_-]+", operations)
    if isinstance(matrix, list) and all(isinstance(row, list) for row in matrix):
        matrix = "".join(str(entry) for row in matrix for entry in row)
    bits = "".join(re.findall(r"[01]", matrix)) if isinstance(matrix, str) and len(matrix) < 400 else ""
    n = int(len(bits) ** 0.5)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or n * n != len(bits) or n < 2:
        return None
    inner = names[1:-1] if names[:1] == ["input"] and names[-1:] == ["output"] else names
    if len(inner) != n - 2:
        return None
    return f"{'.'.join(bits[at : at + n] for at in range(0, n * n, n))}:{','.join(inner)}"


def _first(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _number(value: object) -> float | None:
    """A number, also of a text as CSV has them."""
    if isinstance(value, str):
        try:
            value = float(value) if len(value) < 40 else None
        except ValueError:
            return None
    return number_of(value)


def _integer(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number == int(number) else None


def _percent(fraction: object, where: str) -> float:
    value = number_of(fraction)
    if value is None or not 0.0 <= value <= 1.0:
        raise refuse(where, "accuracies as fractions, 0..1, as NAS-Bench-101 has them", f"it holds {shown(fraction)}")
    return value * 100.0


def _metrics(content: bytes, where: str) -> tuple[int | None, list[dict[int, float]]]:
    """Parameters and evaluations of a protocol buffer ``ModelMetrics``; an evaluation is doubles by field."""
    params, evaluations = None, []
    try:
        for field, value in _fields(content):
            if field == 1 and isinstance(value, bytes):
                doubles = {f: struct.unpack("<d", v)[0] for f, v in _fields(value) if isinstance(v, bytes) and f <= 5}
                evaluations.append(doubles)
            elif field == 2 and isinstance(value, int):
                params = value
    except (IndexError, struct.error):
        raise refuse(where, "metrics as a protocol buffer", "they are damaged") from None
    return params, evaluations


def _fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a protocol buffer: an integer, or bytes."""
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        kind = key & 7
        if kind == 0:
            number, at = _varint(content, at)
            yield key >> 3, number
            continue
        size, at = (8 if kind == 1 else 4, at) if kind in (1, 5) else _varint(content, at) if kind == 2 else (-1, at)
        if size < 0 or at + size > len(content):
            raise IndexError
        yield key >> 3, content[at : at + size]
        at += size


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise IndexError


NB101: Final = Importer(
    kind="nb101",
    title="NAS-Bench-101",
    takes="nasbench_full.tfrecord, nasbench_only108.tfrecord, or a JSON or CSV export of it",
    read=_read,
    is_one_table=True,
)

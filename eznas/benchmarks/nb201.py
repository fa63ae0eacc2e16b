"""The NAS-Bench-201 benchmark: official accuracies from the user's data folder, or the embedded re-training."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from eznas.benchmarks.analog import load_analog
from eznas.benchmarks.benchmark import FULL_TRAINING, Benchmark, Column
from eznas.benchmarks.split import Split
from eznas.errors import BenchmarkError
from eznas.location import DATA_VARIABLE, data_folder
from eznas.spaces import nb201

TABLE_FILE: Final = "nb201.csv.gz"
SHORT_TRAINING: Final = 12  # epochs; ranks networks differently from the full training (Spearman about .81)

_SPLITS: Final = {"valid": Split.VALIDATION, "test": Split.TEST}
_COLUMNS: Final[dict[str, Column]] = {
    **{
        f"{prefix}_{split}": (dataset, _SPLITS[split], FULL_TRAINING)
        for prefix, dataset in (("cifar10", "cifar10"), ("cifar100", "cifar100"), ("im16", "imagenet16"))
        for split in _SPLITS
    },
    **{
        f"{prefix}_{split}_12ep": (dataset, _SPLITS[split], SHORT_TRAINING)
        for prefix, dataset in (("c10", "cifar10"), ("c100", "cifar100"), ("im16", "imagenet16"))
        for split in _SPLITS
    },
}
_TIMES: Final[dict[str, tuple[str, int]]] = {
    **{f"{p}_seconds": (d, FULL_TRAINING) for p, d in (("cifar10",) * 2, ("cifar100",) * 2, ("im16", "imagenet16"))},
    **{
        f"{prefix}_seconds_12ep": (dataset, SHORT_TRAINING)
        for prefix, dataset in (("c10", "cifar10"), ("c100", "cifar100"), ("im16", "imagenet16"))
    },
}
"""Columns that may be there."""
_REMEDY: Final = "replace it by an intact copy"


def load_nb201(data_dir: Path | None = None) -> Benchmark:
    """Accuracies of all 15,625 cells in the official order.

    From a data folder: ``nb201.csv.gz`` with CIFAR-10, CIFAR-100 and ImageNet16-120, validation and test, after 200 and
    12 epochs. The CIFAR-10 validation accuracy is of networks trained on half of the training images, as published.
    Without one: CIFAR-10 test only, see `load_analog`.

    Args:
        data_dir: the folder; None means ``EZNAS_DATA`` of the environment, and embedded data if that is not set.

    Raises:
        BenchmarkError: if a folder is named but does not exist or lacks an intact table, or there is no data at all.
    """
    folder = data_folder(data_dir)
    return load_analog() if folder is None else load_table(folder / TABLE_FILE)


def load_table(path: Path) -> Benchmark:
    """The benchmark in one gzip-compressed CSV file.

    Its header must name ``index``, ``arch_str`` and the twelve columns of accuracies in percent, and may name training
    times in seconds (``c10_seconds_12ep`` and so on, ``cifar10_seconds`` and so on after 200 epochs): of all epochs and
    one evaluation of the validation images. Other columns are ignored. Row i describes the cell of official index i.

    Raises:
        BenchmarkError: if the file is missing, damaged or not this table.
    """
    header, rows = _read(path)
    missing = [name for name in ("index", "arch_str", *_COLUMNS) if name not in header]
    if missing:
        raise BenchmarkError(f"The header of {path} lacks {', '.join(missing)}; it has {', '.join(header)}; {_REMEDY}.")
    if len(rows) != nb201.N_CELLS:
        raise BenchmarkError(
            f"{path} must have one row for each of the {nb201.N_CELLS} NAS-Bench-201 cells, but it has {len(rows)}; "
            f"{_REMEDY}."
        )
    index, spec = header.index("index"), header.index("arch_str")
    for position, (row, arch) in enumerate(zip(rows, nb201.all_architectures(), strict=True)):
        if len(row) != len(header):
            raise BenchmarkError(
                f"Row {position} of {path} must have {len(header)} fields, but it has {len(row)}; {_REMEDY}."
            )
        if (row[index], row[spec]) != (str(position), arch.spec):
            raise BenchmarkError(
                f"Row {position} of {path} must describe index {position}, {arch.spec}, but it describes index "
                f"{row[index]}, {row[spec]}; sort the rows in the official order or {_REMEDY}."
            )
    times = {name: column for name, column in _TIMES.items() if name in header}
    return Benchmark(
        name="nb201",
        provenance=(
            f"Accuracies of NATS-Bench TSS read from {path.name}: validation of a single seed, test the mean over the "
            f"available seeds, after {FULL_TRAINING} and {SHORT_TRAINING} epochs."
        ),
        architectures=nb201.all_architectures(),
        tables={column: _values(path, rows, name, header.index(name)) for name, column in _COLUMNS.items()},
        seconds={column: _seconds(path, rows, name, header.index(name)) for name, column in times.items()},
    )


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    if not path.is_file():
        raise BenchmarkError(
            f"The data folder {str(path.parent)!r} lacks {path.name}; put the table there, or name no folder (unset "
            f"{DATA_VARIABLE}) to use the embedded accuracies."
        )
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
            lines = list(csv.reader(stream, strict=True))
        if not lines:
            raise ValueError("it is empty")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise BenchmarkError(f"{path} cannot be read as a gzip-compressed CSV table ({error}); {_REMEDY}.") from error
    return lines[0], lines[1:]


def _values(path: Path, rows: Sequence[Sequence[str]], name: str, field: int) -> npt.NDArray[np.float64]:
    """(15625,) accuracies of one column, each a number in 0..100."""
    values = _numbers(rows, field)
    wrong = np.flatnonzero(~((values >= 0.0) & (values <= 100.0)))
    if wrong.size:
        raise BenchmarkError(
            f"Column {name} of {path} must hold percentages in 0..100, but row {wrong[0]} has "
            f"{rows[wrong[0]][field]!r}; {_REMEDY}."
        )
    return values


def _seconds(path: Path, rows: Sequence[Sequence[str]], name: str, field: int) -> npt.NDArray[np.float64]:
    """(15625,) training times of one column, each a positive number."""
    values = _numbers(rows, field)
    wrong = np.flatnonzero(~((values > 0.0) & np.isfinite(values)))
    if wrong.size:
        raise BenchmarkError(
            f"Column {name} of {path} must hold positive numbers of seconds, but row {wrong[0]} has "
            f"{rows[wrong[0]][field]!r}; {_REMEDY}, or leave the column out."
        )
    return values


def _numbers(rows: Sequence[Sequence[str]], field: int) -> npt.NDArray[np.float64]:
    """(n_rows,) numbers of one column, NaN where there is none."""
    values = np.empty(len(rows))
    for position, row in enumerate(rows):
        try:
            values[position] = float(row[field])
        except ValueError:
            values[position] = np.nan
    return values

"""The NAS-Bench-201 benchmark: official accuracies from the user's data folder, or the embedded re-training."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from eznas.benchmarks.analog import load_analog
from eznas.benchmarks.benchmark import Benchmark, Column
from eznas.benchmarks.csv_table import REMEDY, read_csv_table
from eznas.benchmarks.split import Split
from eznas.errors import BenchmarkError
from eznas.location import DATA_VARIABLE, data_folder
from eznas.names import shown
from eznas.spaces import nb201

TABLE_FILE: Final = "nb201.csv.gz"
FULL_TRAINING: Final = 200  # epochs
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
_TIMES: Final[dict[str, tuple[str, int | None]]] = {
    **{f"{p}_seconds": (d, FULL_TRAINING) for p, d in (("cifar10",) * 2, ("cifar100",) * 2, ("im16", "imagenet16"))},
    **{
        f"{prefix}_seconds_12ep": (dataset, SHORT_TRAINING)
        for prefix, dataset in (("c10", "cifar10"), ("c100", "cifar100"), ("im16", "imagenet16"))
    },
}
"""Columns that may be there."""


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
    absent = f"put the table there, or name no folder (unset {DATA_VARIABLE}) to use the embedded accuracies"
    table = read_csv_table(path, ("index", "arch_str", *_COLUMNS), absent)
    if len(table.rows) != nb201.N_CELLS:
        raise BenchmarkError(
            f"{path} must have one row for each of the {nb201.N_CELLS} NAS-Bench-201 cells, but it has "
            f"{len(table.rows)}; {REMEDY}."
        )
    described = zip(table.texts("index"), table.texts("arch_str"), nb201.all_architectures(), strict=True)
    for position, (index, spec, arch) in enumerate(described):
        if (index, spec) != (str(position), arch.spec):
            raise BenchmarkError(
                f"Row {position} of {path} must describe index {position}, {arch.spec}, but it describes index "
                f"{shown(index)}, {shown(spec)}; sort the rows in the official order or {REMEDY}."
            )
    return Benchmark(
        name="nb201",
        provenance=(
            f"Accuracies of NATS-Bench TSS read from {path.name}: validation of a single seed, test the mean over the "
            f"available seeds, after {FULL_TRAINING} and {SHORT_TRAINING} epochs."
        ),
        architectures=nb201.all_architectures(),
        tables={column: table.accuracies(name) for name, column in _COLUMNS.items()},
        seconds={column: table.seconds(name) for name, column in _TIMES.items() if name in table.header},
    )

"""The NAS-Bench-101 benchmark: validation accuracies of 20,001 cells from the user's data folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from eznas.benchmarks.benchmark import Benchmark
from eznas.benchmarks.csv_table import REMEDY, CsvTable, file_of_folder, read_csv_table
from eznas.benchmarks.split import Split
from eznas.errors import ArchitectureError, BenchmarkError
from eznas.names import shown
from eznas.spaces import Architecture, nb101

TABLE_FILE: Final = "nb101.csv.gz"
DATASET: Final = "cifar10"
EPOCHS: Final = (4, 12, 36, 108)
N_CHECKED: Final = 200
"""Rows, evenly spread, whose parameters and hash are computed when the table is read."""

_ACCURACIES: Final = {epochs: f"val_acc_{epochs}ep" for epochs in EPOCHS}
_SECONDS: Final = {epochs: f"train_time_{epochs}ep_s" for epochs in EPOCHS}
_OPERATIONS: Final = {"0": "conv3x3", "1": "conv1x1", "2": "maxpool3x3"}


def load_nb101(data_dir: Path | None = None) -> Benchmark:
    """CIFAR-10 validation accuracies of the cells in ``nb101.csv.gz``, after 4, 12, 36 and 108 epochs.

    Each is the maximum of three trainings. There are no test accuracies, so a search learns from the validation
    accuracies of its own networks and a report is on the validation accuracies of other networks.

    The header must name ``n_vertices``, ``adj_rowmajor`` (the matrix, row after row), ``ops_interior`` (0 conv3x3,
    1 conv1x1, 2 maxpool3x3), ``params`` and ``val_acc_4ep`` and so on (fractions); ``train_time_108ep_s`` and so on
    and ``hash`` may be there. Of `N_CHECKED` rows the parameters are counted by the closed form, the hash is computed,
    and both must be equal to what is recorded.

    Args:
        data_dir: the folder; None means ``EZNAS_DATA`` of the environment.

    Raises:
        BenchmarkError: if there is no folder, or it lacks an intact table.
    """
    path = file_of_folder(TABLE_FILE, data_dir, "NAS-Bench-101 accuracies")
    needed = ("n_vertices", "adj_rowmajor", "ops_interior", "params", *_ACCURACIES.values())
    table = read_csv_table(path, needed, "put the table there")
    architectures = _architectures(table)
    return Benchmark(
        name="nb101",
        provenance=(
            f"CIFAR-10 validation accuracies of {len(architectures):,} NAS-Bench-101 cells read from {path.name}, each "
            f"the maximum of three trainings of {', '.join(map(str, EPOCHS[:-1]))} and {EPOCHS[-1]} epochs; there are "
            "no test accuracies, so what is reported is on validation accuracies of networks that the search did not "
            "see."
        ),
        architectures=architectures,
        tables={
            (DATASET, Split.VALIDATION, epochs): table.accuracies(name, are_fractions=True)
            for epochs, name in _ACCURACIES.items()
        },
        functions=tuple(table.texts("hash")) if "hash" in table.header else None,
        seconds={(DATASET, epochs): table.seconds(name) for epochs, name in _SECONDS.items() if name in table.header},
    )


def _architectures(table: CsvTable) -> tuple[Architecture, ...]:
    columns = [table.texts(name) for name in ("n_vertices", "adj_rowmajor", "ops_interior")]
    found = []
    for position, (n, bits, codes) in enumerate(zip(*columns, strict=True)):
        spec = _spec(n, bits, codes)
        if spec is None:
            raise BenchmarkError(
                f"Row {position} of {table.path} must describe a NAS-Bench-101 cell of 2 to {nb101.MAX_VERTICES} "
                f"vertices, but it has n_vertices {shown(n)}, adj_rowmajor {shown(bits)} and ops_interior "
                f"{shown(codes)}; {REMEDY}."
            )
        found.append(Architecture(nb101.NAME, spec))
    if not found:
        raise BenchmarkError(f"{table.path} has no rows; {REMEDY}.")
    _check_some(table, found)
    return tuple(found)


def _spec(n_vertices: str, bits: str, codes: str) -> str | None:
    """The text form of a cell; None where the three fields do not fit together.

    Only their form is looked at: parsing every graph would take several times as long as reading the table.
    """
    n = int(n_vertices) if len(n_vertices) == 1 and n_vertices in "234567" else 0
    if not n or len(bits) != n * n or set(bits) - {"0", "1"} or len(codes) != n - 2 or set(codes) - set(_OPERATIONS):
        return None
    rows = ".".join(bits[first : first + n] for first in range(0, n * n, n))
    return f"{rows}:{','.join(_OPERATIONS[code] for code in codes)}"


def _check_some(table: CsvTable, architectures: Sequence[Architecture]) -> None:
    said = {"parameters": table.texts("params"), "hash": table.texts("hash") if "hash" in table.header else None}
    for position in np.unique(np.linspace(0, len(architectures) - 1, N_CHECKED).astype(int)):
        arch = architectures[position]
        try:
            found = {"parameters": str(nb101.parameter_count(arch)), "hash": nb101.function(arch)}
        except ArchitectureError as error:
            raise BenchmarkError(f"Row {position} of {table.path} is not a cell: {error}") from error
        for what, column in said.items():
            if column is not None and column[position] != found[what]:
                raise BenchmarkError(
                    f"Row {position} of {table.path} must describe a cell of the {what} {found[what]}, as its graph "
                    f"has, but it says {shown(column[position])}; {REMEDY}."
                )

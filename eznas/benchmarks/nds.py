"""Networks of NDS trained on ImageNet: DARTS, Amoeba and ENAS cells and ResNeXts, from the user's data folder.

The file holds errors; the labels here are accuracies, 100 minus the error after the last epoch. (Some papers take the
best epoch instead, ``min_test_err``.) Networks of one table differ in width and depth as well as in what they are.

Source: `Radosavovic 2019 <https://arxiv.org/abs/1905.13214>`_ and its released records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from eznas.benchmarks.benchmark import Benchmark
from eznas.benchmarks.csv_table import REMEDY, CsvTable, file_of_folder, read_csv_table
from eznas.benchmarks.split import Split
from eznas.errors import ArchitectureError, BenchmarkError
from eznas.names import shown
from eznas.spaces import Architecture, SearchSpace, space_named

TABLE_FILE: Final = "nds.csv.gz"
DATASET: Final = "imagenet"
IMAGE_SIZE: Final = 224
RERUNS: Final = "ResNet_reruns"
"""What the file calls CIFAR-10 ResNets that were trained many times, each from another seed."""


@dataclass(frozen=True, slots=True)
class Table:
    """Some rows of the file.

    Attributes:
        label: what the column ``file`` calls them.
        space: name of the search space of their networks.
        epochs: of their training.
    """

    label: str
    space: str
    epochs: int = 50


TABLES: Final = MappingProxyType(
    {
        "nds_darts_in": Table("DARTS_in", "nds_darts"),
        "nds_amoeba_in": Table("Amoeba_in", "nds_amoeba"),
        "nds_enas_in": Table("ENAS_in", "nds_enas"),
        "nds_resnext_a_in": Table("ResNeXt-A_in", "nds_resnext_a"),
        "nds_darts_fixed_in": Table("DARTS_fix-w-d_in", "nds_darts", epochs=5),
    }
)
"""By the name of the benchmark. The last has one width and one depth, and a tenth of the training of the others."""


def load_nds(name: str, data_dir: Path | None = None) -> Benchmark:
    """ImageNet accuracies of the networks of one table of ``nds.csv.gz``.

    What NDS calls test are the 50,000 images that ImageNet calls validation; no network was chosen on them, and there
    are no others, so a search learns from its own networks and a report is on other networks.

    The header must name ``file``, ``params``, ``max_epochs``, ``final_test_err`` (percent) and ``net_json``, the
    official record of the network. The parameters of every network are counted by the closed form and must be equal to
    what is recorded, and so must be the epochs.

    Args:
        name: of `TABLES`.
        data_dir: the folder; None means ``EZNAS_DATA`` of the environment.

    Raises:
        BenchmarkError: if there is no folder, or it lacks an intact table.
    """
    path = file_of_folder(TABLE_FILE, data_dir, f"Accuracies of {name}")
    needed = ("file", "params", "max_epochs", "final_test_err", "net_json")
    everything = read_csv_table(path, needed, "put the table there")
    of = TABLES[name]
    rows = _rows(everything, of.label)
    space = space_named(of.space)
    architectures = tuple(_architecture(everything, row, space, space.full, of.epochs) for row in rows)
    return Benchmark(
        name=name,
        provenance=(
            f"Top-1 accuracies of {len(architectures)} networks of NDS ({of.label}) on ImageNet after {of.epochs} "
            f"epochs, read from {path.name}: 100 minus the error after the last epoch, of one training each, on the "
            "50,000 images that NDS calls test and ImageNet validation; there are no others, so what is reported is on "
            "networks that the search did not see."
        ),
        architectures=architectures,
        tables={(DATASET, Split.TEST, of.epochs): 100.0 - everything.accuracies("final_test_err")[rows]},
        notes=_notes(everything, rows),
    )


def _rows(table: CsvTable, label: str) -> list[int]:
    rows = [row for row, text in enumerate(table.texts("file")) if text == label]
    if not rows:
        raise BenchmarkError(f"{table.path} has no rows of the file {label}; {REMEDY}.")
    return rows


def _architecture(table: CsvTable, row: int, space: SearchSpace[Any], full: Any, epochs: int) -> Architecture:
    said = dict(zip(table.header, table.rows[row], strict=True))
    where = f"Row {row} of {table.path}"
    try:
        (arch,) = space.named(said["net_json"])
    except ArchitectureError as error:
        raise BenchmarkError(f"{where}: {str(error).rstrip('.')}, or {REMEDY}.") from error
    assert space.counts is not None  # spaces of NDS have closed forms
    expected = {"params": str(space.counts(arch, full, IMAGE_SIZE).parameters), "max_epochs": str(epochs)}
    for what, value in expected.items():
        if said[what] != value:
            raise BenchmarkError(
                f"{where} must have {what} {value}, as its network and its table have, but it says "
                f"{shown(said[what])}; {REMEDY}."
            )
    return arch


def _notes(table: CsvTable, rows: Sequence[int]) -> tuple[str, ...]:
    """What is known of trainings that failed and of the noise of such labels."""
    errors = table.accuracies("final_test_err")[rows]
    n_failed = int(np.count_nonzero(errors == 100.0))
    noises = " and ".join(f"{noise:.2f}" for noise in rerun_noise(table))
    failed = f"Of the {len(rows)} trainings {n_failed} ended with an error of 100 percent, an accuracy of 0."
    noise = (
        "The noise between trainings of these networks is not known; CIFAR-10 ResNets that NDS trained again from many "
        f"seeds have a standard deviation of {noises} points."
    )
    return ((failed,) if n_failed else ()) + ((noise,) if noises else ())


def rerun_noise(table: CsvTable) -> tuple[float, ...]:
    """Standard deviation of the accuracy, in percent points, of each network that was trained from several seeds."""
    errors = table.accuracies("final_test_err")
    runs: dict[str, list[float]] = {}
    for row, (label, record) in enumerate(zip(table.texts("file"), table.texts("net_json"), strict=True)):
        if label == RERUNS:
            runs.setdefault(record, []).append(float(errors[row]))
    return tuple(float(np.std(values, ddof=1)) for values in runs.values() if len(values) > 1)

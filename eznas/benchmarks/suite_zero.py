"""Small benchmarks beside the published scores of NAS-Bench-Suite-Zero: 250 NAS-Bench-101 graphs, 609 DARTS cells.

Source: `Krishnakumar 2022 <https://arxiv.org/abs/2210.03230>`_; the tables hold the scores of its estimators too, which
are not read here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from eznas.benchmarks.benchmark import Benchmark
from eznas.benchmarks.csv_table import REMEDY, file_of_folder, read_csv_table
from eznas.benchmarks.split import Split
from eznas.benchmarks.subsets import function_of
from eznas.errors import ArchitectureError, BenchmarkError
from eznas.spaces import Architecture, darts, nb101

NB101_FILE: Final = "nb101_reference_scores.csv.gz"
NB301_FILE: Final = "nb301_reference_scores.csv.gz"
DATASET: Final = "cifar10"


def load_nb101_zero(data_dir: Path | None = None) -> Benchmark:
    """CIFAR-10 validation accuracies of 250 NAS-Bench-101 graphs after 108 epochs, each of one training.

    Many graphs are the same network once vertices on no path are left out (157 differ), with the accuracy of another of
    its three trainings: networks that show all three give the label noise.

    Args:
        data_dir: the folder; None means ``EZNAS_DATA`` of the environment.

    Raises:
        BenchmarkError: if there is no folder, or it lacks an intact table.
    """
    return _load(
        "nb101_zero",
        NB101_FILE,
        data_dir,
        nb101.from_code,
        epochs=108,
        n_trainings=3,
        provenance=(
            "CIFAR-10 validation accuracies after 108 epochs, of one of three trainings, of {n} NAS-Bench-101 graphs "
            "read from {file} (NAS-Bench-Suite-Zero), of which many are the same network; there are no test "
            "accuracies, so what is reported is on validation accuracies of networks that the search did not see."
        ),
    )


def load_nb301(data_dir: Path | None = None) -> Benchmark:
    """CIFAR-10 validation accuracies of 609 DARTS cells, **predicted by the surrogate of NAS-Bench-301**, not trained.

    Poolings have no normalisation after them, as in the networks that the surrogate was fitted to.

    Args:
        data_dir: the folder; None means ``EZNAS_DATA`` of the environment.

    Raises:
        BenchmarkError: if there is no folder, or it lacks an intact table.
    """
    return _load(
        "nb301",
        NB301_FILE,
        data_dir,
        darts.from_code,
        epochs=None,
        are_predicted=True,
        provenance=(
            "CIFAR-10 validation accuracies of {n} DARTS cells read from {file} (NAS-Bench-Suite-Zero): predictions of "
            "the surrogate of NAS-Bench-301, not trainings; there are no test accuracies, so what is reported is on "
            "predicted validation accuracies of networks that the search did not see."
        ),
    )


def _load(
    name: str,
    file: str,
    data_dir: Path | None,
    read: Callable[[str], Architecture],
    *,
    epochs: int | None,
    provenance: str,
    n_trainings: int = 1,
    are_predicted: bool = False,
) -> Benchmark:
    path = file_of_folder(file, data_dir, f"Accuracies of {name}")
    table = read_csv_table(path, ("arch", "val_accuracy"), "put the table there")
    architectures = []
    for position, code in enumerate(table.texts("arch")):
        try:
            architectures.append(read(code))
        except ArchitectureError as error:
            raise BenchmarkError(f"Row {position} of {path}: {str(error).rstrip('.')}, or {REMEDY}.") from error
    accuracies = table.accuracies("val_accuracy")
    noise = _label_noise(architectures, accuracies, n_trainings)
    return Benchmark(
        name=name,
        provenance=provenance.format(n=len(architectures), file=path.name),
        architectures=tuple(architectures),
        tables={(DATASET, Split.VALIDATION, epochs): accuracies},
        label_noise={} if noise is None else {DATASET: noise},
        predicted=frozenset([DATASET] if are_predicted else []),
    )


def _label_noise(
    architectures: Sequence[Architecture], accuracies: npt.NDArray[np.float64], n_trainings: int
) -> float | None:
    """Standard deviation between trainings, pooled over the networks of which all `n_trainings` are recorded."""
    labels: dict[tuple[str, str], set[float]] = {}
    for arch, accuracy in zip(architectures, accuracies, strict=True):
        labels.setdefault(function_of(arch), set()).add(float(accuracy))
    variances = [np.var([*values], ddof=1) for values in labels.values() if len(values) == n_trainings > 1]
    return float(np.sqrt(np.mean(variances))) if variances else None

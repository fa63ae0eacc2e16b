"""Data for the tests of benchmarks: the embedded table, the folder of official data, a small benchmark of our own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eznas.benchmarks import Benchmark, Split, load_nb201
from eznas.benchmarks.analog import load_analog
from eznas.spaces import nb201


@pytest.fixture(scope="session")
def official(data_dir: Path) -> Benchmark:
    return load_nb201(data_dir)


@pytest.fixture(scope="session")
def embedded() -> Benchmark:
    return load_analog()


@pytest.fixture(scope="session")
def synthetic() -> Benchmark:
    """All cells with made-up validation accuracies, 0 to 100 in index order."""
    return Benchmark(
        name="synthetic",
        provenance="Made up for tests.",
        architectures=nb201.all_architectures(),
        tables={("cifar10", Split.VALIDATION, 200): np.linspace(0.0, 100.0, nb201.N_CELLS)},
    )

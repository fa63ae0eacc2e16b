"""Tables for the tests of searches: a small one of our own, and NAS-Bench-201 where its accuracies are."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eznas.benchmarks import Benchmark, Split, load_nb201
from eznas.nas import SearchTable, search_table
from eznas.spaces import nb201

N = 625  # cells of the small table: all of four edges, the other two without an operation


@pytest.fixture(scope="session")
def official() -> Benchmark:
    """The official accuracies; skips where there are none."""
    folder = os.environ.get("EZNAS_DATA")
    if not folder:
        pytest.skip("EZNAS_DATA is not set")
    return load_nb201(Path(folder))


@pytest.fixture(scope="session")
def make_small() -> Callable[..., SearchTable]:
    """A table whose accuracy rises with every edge, so that one edit at a time leads to the only best cell.

    The four edges are the digits of the position in base 5; neighbours differ in one digit.
    """
    digits = np.arange(N)[:, None] // 5 ** np.arange(4) % 5
    neighbours = np.stack(
        [
            np.arange(N) + ((digits[:, edge] + step) % 5 - digits[:, edge]) * 5**edge
            for edge in range(4)
            for step in (1, 2, 3, 4)
        ],
        axis=1,
    )
    names = np.array(nb201.OPERATIONS)
    architectures = tuple(nb201.architecture((*names[row], "none", "none")) for row in digits)
    accuracies = digits @ np.array([1.0, 2.0, 3.0, 4.0]) + np.arange(N) / (10 * N)

    def make(**changes: object) -> SearchTable:
        settings = {
            "architectures": architectures, "dataset": "made up", "split": Split.VALIDATION,
            "reported": {("made up", Split.VALIDATION): accuracies, ("made up", Split.TEST): 100.0 - accuracies},
            "neighbours": neighbours, "mutation_probabilities": np.full(16, 1 / 16),
        }  # fmt: skip
        return SearchTable(**(settings | changes))  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def small(make_small: Callable[..., SearchTable]) -> SearchTable:
    return make_small()


@pytest.fixture(scope="session")
def made_up_nb201() -> SearchTable:
    """All cells, with made-up accuracies of two data sets."""
    values = np.linspace(0.0, 100.0, nb201.N_CELLS)
    tables = {
        ("cifar10", Split.VALIDATION, 200): values,
        ("cifar10", Split.VALIDATION, 12): values[::-1],
        ("cifar10", Split.TEST, 200): values / 2,
        ("cifar100", Split.TEST, 200): values / 4,
    }
    return search_table(Benchmark("made up", "Made up for tests.", nb201.all_architectures(), tables))

"""Criteria of size, and of published scores, on NAS-Bench-201 are the figures that others found."""

from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from eznas.assessment import measure
from eznas.benchmarks import Benchmark, Split, load_nb201
from eznas.fitness import OBJECTIVES, Covariates, Labels
from eznas.fitness.labels import FloatArray
from eznas.spaces import Architecture, nb201

DATASETS = ("cifar10", "cifar100", "imagenet16")


@pytest.fixture(scope="module")
def official() -> Benchmark:
    """All cells; skips where there is no folder of official data."""
    folder = os.environ.get("EZNAS_DATA")
    if not folder:
        pytest.skip("EZNAS_DATA is not set")
    return load_nb201(Path(folder))


@pytest.fixture(scope="module")
def macs(official: Benchmark) -> FloatArray:
    """(15625,) multiply-accumulates; they order the cells as parameters do, with 28 values."""
    return np.array([float(nb201.mac_count(arch, nb201.FULL, 32)) for arch in official.architectures])


def is_live(arch: Architecture) -> bool:
    """Whether every operation other than none lies on a path from input to output (9,445 cells)."""
    edges = [edge for edge, name in zip(nb201.EDGES, nb201.operations(arch), strict=True) if name != "none"]
    from_input, to_output = {0}, {3}
    for source, target in sorted(edges):
        if source in from_input:
            from_input.add(target)
    for source, target in sorted(edges, reverse=True):
        if target in to_output:
            to_output.add(source)
    return all(source in from_input and target in to_output for source, target in edges)


@pytest.mark.parametrize(
    ("dataset", "tau", "rho"), [("cifar10", 0.578, 0.753), ("cifar100", 0.553, 0.728), ("imagenet16", 0.520, 0.692)]
)
def test_parameters_order_all_cells_as_recomputed_elsewhere(
    official: Benchmark, dataset: str, tau: float, rho: float
) -> None:
    """Source: Ning et al. 2021, protocol; KD and Spearman's rho of parameters over 15,625 cells, test, 200 epochs."""
    cells = official.architectures
    parameters = np.array([float(nb201.parameter_count(arch, nb201.FULL)) for arch in cells])
    assert np.unique(parameters).size == 28
    labels = Labels(dataset, official.accuracies(cells, dataset, Split.TEST), np.arange(len(cells)))
    found = measure(parameters, labels, direction=1, rng=np.random.default_rng(0), n_resamples=1)
    assert found.tau is not None
    assert found.rho is not None
    assert found.tau.value == pytest.approx(tau, abs=6e-4)
    assert found.rho.value == pytest.approx(rho, abs=6e-4)


def test_ndcg_of_operations_is_the_published_one(official: Benchmark, macs: FloatArray) -> None:
    """Source: Tybl and Neumann 2025 (VKDNW), row FLOPs: .745, .576, .403 over the 9,445 cells without dead ends."""
    live = np.array([is_live(arch) for arch in official.architectures])
    assert live.sum() == 9_445
    cells = [arch for arch, is_kept in zip(official.architectures, live, strict=True) if is_kept]
    found = []
    for dataset in DATASETS:
        labels = Labels(dataset, official.accuracies(cells, dataset, Split.TEST), np.arange(len(cells)))
        values, _ = OBJECTIVES["ndcg"].of(macs[live][None], labels)  # type: ignore[misc]
        found.append(float(values[0]))
    assert found == pytest.approx([0.743, 0.576, 0.403], abs=6e-4)


@pytest.mark.parametrize(("name", "rho"), [("nwot", 0.33), ("flops", 0.30), ("jacov", 0.42), ("synflow", 0.53)])
def test_rho_within_equal_numbers_of_convolutions(official: Benchmark, name: str, rho: float) -> None:
    """On the 693 cells of NAS-Bench-Suite-Zero, levels of 1 to 5 convolutions, scores as published."""
    with gzip.open(Path(os.environ["EZNAS_DATA"]) / "nb201_reference_scores.csv.gz", "rt", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["dataset"] == "cifar10"]
    assert len(rows) == 693
    cells = [nb201.architecture(row["arch_str"]) for row in rows]
    levels = np.array([sum(op.startswith("nor_conv") for op in nb201.operations(cell)) for cell in cells])
    counts = [int((levels == level).sum()) for level in (1, 2, 3, 4, 5)]
    assert counts == [126, 211, 195, 100, 27]
    outside = (levels < 1) | (levels > 5)
    levels[outside] = 10 + np.arange(outside.sum())  # levels of one network count as none
    sizes = np.zeros(len(cells))
    accuracies = official.accuracies(cells, "cifar10", Split.TEST)
    labels = Labels("cifar10", accuracies, np.arange(len(cells)), Covariates(sizes, sizes, levels))
    scores = np.array([float(row[name]) if row[name] else -np.inf for row in rows])
    values, _ = OBJECTIVES["level_rho"].of(scores[None], labels)  # type: ignore[misc]
    assert values[0] == pytest.approx(rho, abs=0.006)

"""The estimators reproduce published and independently computed scores of NAS-Bench-201 networks.

Reference: NAS-Bench-Suite-Zero (PyTorch's default initialisation, batches of 32 CIFAR-10 images). Noise in place of
images and other initial weights move NASWOT and jacob_cov a little, which the tolerances allow for.
"""

from __future__ import annotations

import csv
import gzip
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eznas.architectures import Architecture, Skeleton, build_network, nb201
from eznas.fitness import spearman
from eznas.proxies import PUBLISHED, Estimator, jacob_cov, mac_count, naswot, parameter_count, synflow

# index: parameters (M), ln synflow, NASWOT at batch 32, jacob_cov at batch 32
PUBLISHED_SCORES = {
    13990: (0.802426, 47.36, 372.8, -32.28),
    14997: (0.316346, 51.92, 361.8, None),  # jacob_cov of -117.9: a nearly singular matrix, not reproducible on noise
    7220: (0.101306, 31.62, 372.8, -32.29),
    2581: (1.073466, 113.64, 412.6, -32.31),
    9417: (0.802426, 82.78, 397.7, -32.37),
    6846: (0.073306, 35.57, 327.3, None),
}

# NASWOT and jacob_cov of noise at batch 64; operations in the order of the text form
DEGENERATE = {
    "index 284": (nb201.operations(nb201.from_index(284)), 734.3, -64.96),
    "all skip": (("skip_connect",) * 6, 638.7, None),
    "all avg_pool": (("avg_pool_3x3",) * 6, 626.9, None),
    "zero output": (("nor_conv_3x3",) * 3 + ("none",) * 3, 653.4, math.nan),
    "all none": (("none",) * 6, -math.inf, math.nan),
}


def build(arch: Architecture, **skeleton: int) -> nn.Module:
    return build_network(arch, Skeleton(**skeleton), scheme="default", seed=0)


def images(n: int, size: int = 32) -> Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("index", PUBLISHED_SCORES)
def test_scores_are_those_published(index: int) -> None:
    parameters, flow, kernel, jacobian = PUBLISHED_SCORES[index]
    network, batch = build(nb201.from_index(index)), images(32)
    assert parameter_count(network, batch) == round(parameters * 1e6)
    assert mac_count(network, batch) == nb201.mac_count(nb201.from_index(index), Skeleton(), 32)
    assert synflow(network, batch) == pytest.approx(flow, abs=0.5)
    assert naswot(network, batch) == pytest.approx(kernel, rel=0.03)
    if jacobian is not None:
        assert jacob_cov(network, batch) == pytest.approx(jacobian, abs=0.2)


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_cells_score_as_the_formulas_say(case: str) -> None:
    operations, kernel, jacobian = DEGENERATE[case]
    network, batch = build(nb201.architecture(operations)), images(64)
    assert naswot(network, batch) == pytest.approx(kernel, rel=0.003)
    if jacobian is not None:
        assert jacob_cov(network, batch) == pytest.approx(jacobian, abs=0.2, nan_ok=True)
        assert (synflow(network, batch) == -math.inf) == math.isnan(jacobian)  # both see that no signal passes


def test_pooling_alone_leaves_a_nearly_singular_jacobian() -> None:
    assert jacob_cov(build(nb201.architecture(("avg_pool_3x3",) * 6)), images(64)) < -1e4


@pytest.mark.parametrize("estimator", PUBLISHED, ids=lambda estimator: estimator.name)
def test_reduced_networks_are_scored_too(estimator: Estimator) -> None:
    """The setting of a search: one cell per stage, 16x16 inputs, batches of 8; more convolutions score higher."""
    cells = [("nor_conv_3x3",) * k + ("skip_connect",) * (6 - k) for k in (1, 6)]
    few, many = (estimator(build(nb201.architecture(cell), cells_per_stage=1), images(8, 16)) for cell in cells)
    assert few < many


def test_synflow_orders_networks_as_the_reference_does() -> None:
    """Data-free, so only the initial weights differ: 25 of the reference's cells, every twenty-fifth."""
    folder = os.environ.get("EZNAS_DATA")
    if folder is None:
        pytest.skip("EZNAS_DATA is not set")
    with gzip.open(Path(folder) / "nb201_reference_scores.csv.gz", "rt") as file:
        rows = [row for row in csv.DictReader(file) if row["dataset"] == "cifar10"][::25]
    archs = [nb201.architecture(row["arch_str"]) for row in rows]
    expected = np.array([float(row["synflow"]) for row in rows])
    ours = np.array([synflow(build(arch), images(1)) for arch in archs])
    finite = np.isfinite(ours) & np.isfinite(expected)
    assert finite.sum() > 20
    assert spearman(ours[finite], expected[finite]) > 0.98
    assert np.abs(ours[finite] - expected[finite]).max() < 0.5

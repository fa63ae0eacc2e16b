"""A few small networks with everything they showed, in several portions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from eznas.conditions import Conditions
from eznas.proxies import measured
from eznas.proxies.metrics import with_metrics
from eznas.spaces import nb201
from eznas.statistics import ALL_STATISTICS, NetworkStatistics, StatisticsStore, StoreKey, capture, ensure_store
from primitives import METRICS

NETWORKS = nb201.Settings(channels=4)
INPUTS = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
TARGETS = torch.tensor([4, 1, 4])
CONDITIONS = Conditions(settings=NETWORKS, seed=5).given(INPUTS, TARGETS)
ARCHITECTURES = tuple(nb201.from_index(index) for index in (6111, 0, 1462, 15624, 8000))
"""The best cell, one without convolutions, and others between: from 2 to 20 units."""
METRIC_NAMES = tuple(s.name for s in METRICS.statistics if s.estimator is not None)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def networks() -> tuple[NetworkStatistics, ...]:
    """All statistics of each network, labelled and linearised ones and scores of published estimators too."""
    found = []
    for arch in ARCHITECTURES:
        network = CONDITIONS.network(arch)
        shown = capture(network, INPUTS, seed=CONDITIONS.network_seed, statistics=ALL_STATISTICS, targets=TARGETS)
        found.append(with_metrics(shown, METRIC_NAMES, network, INPUTS, TARGETS))
    return tuple(found)


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[int, StatisticsStore]:
    """The same networks on disk, by networks per shard."""
    return {n: make_store(tmp_path_factory.mktemp("stores"), n) for n in (1, 2, 5)}


def make_store(root: Path, networks_per_shard: int) -> StatisticsStore:
    key = StoreKey(
        conditions=CONDITIONS,
        architectures=ARCHITECTURES,
        statistics=ALL_STATISTICS,
        with_targets=True,
        metrics=METRIC_NAMES,
    )
    store, _ = ensure_store(root, key, networks_per_shard=networks_per_shard, measure=measured)
    return store

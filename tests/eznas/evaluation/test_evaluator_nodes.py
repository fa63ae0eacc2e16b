"""A node of a cluster is lost in the middle of a generation; the rest ends it with the same result."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eznas.evaluation import PopulationEvaluator
from eznas.statistics import StatisticsStore
from eznas.workers import LocalPool, open_pool
from primitives import EXTENDED
from tests.eznas.evaluation.owners import Patient
from tests.strategies import random_programs

POPULATION = random_programs(EXTENDED, 22, 30)
NOTICE_DEATHS_SOON = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Three nodes of one processor each."""
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 80 * 1024**2, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "_system_config": NOTICE_DEATHS_SOON})
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=80 * 1024**2)
    yield cluster
    cluster.shutdown()


def test_the_loss_of_a_node_changes_nothing(
    cluster: Any, stores: dict[int, StatisticsStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two nodes are left for three workers: the replacement shares a processor."""
    monkeypatch.setattr("eznas.workers._ray.PLACEMENT_SECONDS", 5.0)
    pool = open_pool(3, cluster.address)
    try:
        evaluator = PopulationEvaluator(pool, [stores[1]], owner=functools.partial(Patient, tmp_path))
        killer = threading.Thread(target=remove_a_busy_node, args=(cluster, tmp_path))
        killer.start()
        matrix = evaluator.evaluate(POPULATION)
        killer.join()
    finally:
        pool.close()
    expected = PopulationEvaluator(LocalPool(), [stores[1]]).evaluate(POPULATION)
    assert np.array_equal(matrix.scores, expected.scores, equal_nan=True)
    assert matrix.failures == expected.failures
    assert len(marks(tmp_path)) == 4
    assert len({node for node, _ in marks(tmp_path)}) == 3


def marks(folder: Path) -> list[tuple[str, int]]:
    """Node and process of every worker that was given programs."""
    found = (path.name.partition("-") for path in folder.glob("*-*"))
    return [(node, int(pid)) for node, _, pid in found]


def remove_a_busy_node(cluster: Any, folder: Path) -> None:
    """Once all three workers are busy, take one's node away; then let the others go on."""
    while len(marks(folder)) < 3:
        time.sleep(0.05)
    node = next(iter(cluster.worker_nodes))
    (victim,) = (pid for name, pid in marks(folder) if name == node.node_id)
    cluster.remove_node(node, allow_graceful=False)
    deadline = time.monotonic() + 30
    while Path(f"/proc/{victim}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    (folder / "go").touch()

"""A run on a cluster of two nodes that share the cache is the run of one process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.eznas.tiny import evolve, result

SMALL = {"num_cpus": 1, "object_store_memory": 80 * 1024**2}


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Any]:
    """Two nodes of one processor each."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**SMALL, "include_dashboard": False})
    cluster.add_node(**SMALL)
    yield cluster
    cluster.shutdown()


@pytest.mark.usefixtures("embedded_data", "no_report")
def test_two_nodes_give_the_result_of_one_process(
    two_nodes: Any, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statistics are captured anew, by both nodes, into a folder that they share."""
    monkeypatch.setenv("EZNAS_CACHE", str(tmp_path / "shared"))
    assert evolve(tmp_path / "run", "--workers", "2", "--ray-address", two_nodes.address) == 0
    assert result(tmp_path / "run") == result(tiny_run)
    (store,) = (tmp_path / "shared" / "statistics").glob("*/manifest.json")
    assert len(list(store.parent.glob("*.safetensors"))) == 2


@pytest.mark.usefixtures("embedded_data")
def test_more_workers_than_the_cluster_has_processors_are_refused(
    two_nodes: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evolve(tmp_path / "run", "--workers", "3", "--ray-address", two_nodes.address) == 1
    assert "--workers 3 is more than Ray can run at once, it has 2" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()

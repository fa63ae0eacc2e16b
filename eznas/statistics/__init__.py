"""What untrained networks show under probes: captured by tracing, packed by shape, kept on disk.

``capture`` turns a network into `NetworkStatistics` (`counts` counts alone), ``pack`` lays several of them side by side
in a `Shard`, and a `StatisticsStore` keeps shards on disk so that a network is captured once. `ensure_store` opens a
store or captures what it lacks, in this process or, with a `Spread`, on workers.
"""

from __future__ import annotations

from eznas.statistics.cache import StoreOnDisk, in_use, keep_within, prunable, remove_stores, stores_on_disk
from eznas.statistics.capture import ALL_STATISTICS, NetworkStatistics, capture, count_parameters, counts
from eznas.statistics.graph import ModuleGraph, module_graph
from eznas.statistics.shard import ShapeGroup, Shard, pack
from eznas.statistics.shard_file import ShardFile
from eznas.statistics.store import (
    ShardWriter,
    Spread,
    StatisticsStore,
    StoreKey,
    ensure_store,
)
from eznas.statistics.tracing import PROBES, STATISTICS, UNITS, Coverage

__all__ = [
    "ALL_STATISTICS",
    "PROBES",
    "STATISTICS",
    "UNITS",
    "Coverage",
    "ModuleGraph",
    "NetworkStatistics",
    "ShapeGroup",
    "Shard",
    "ShardFile",
    "ShardWriter",
    "Spread",
    "StatisticsStore",
    "StoreKey",
    "StoreOnDisk",
    "capture",
    "count_parameters",
    "counts",
    "ensure_store",
    "module_graph",
    "pack",
    "in_use",
    "keep_within",
    "prunable",
    "remove_stores",
    "stores_on_disk",
]

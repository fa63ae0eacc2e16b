"""What untrained networks show under probes: captured by tracing, packed by shape, kept on disk.

``capture`` turns a network into `NetworkStatistics`, ``pack`` lays several of them side by side in a `Shard`, and a
`StatisticsStore` keeps shards on disk so that a network is captured once. `ensure_store` opens a store or captures what
it lacks, in this process or, with a `Spread`, on workers.
"""

from __future__ import annotations

from eznas.statistics.cache import StoreOnDisk, prunable, remove_stores, stores_on_disk
from eznas.statistics.capture import NetworkStatistics, capture
from eznas.statistics.shard import ShapeGroup, Shard, pack
from eznas.statistics.shard_file import ShardFile
from eznas.statistics.store import (
    ShardWriter,
    Spread,
    StatisticsStore,
    StoreKey,
    ensure_store,
)
from eznas.statistics.tracing import ALL_STATISTICS, PROBES, STATISTICS, UNITS, Coverage

__all__ = [
    "ALL_STATISTICS",
    "PROBES",
    "STATISTICS",
    "UNITS",
    "Coverage",
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
    "ensure_store",
    "pack",
    "prunable",
    "remove_stores",
    "stores_on_disk",
]

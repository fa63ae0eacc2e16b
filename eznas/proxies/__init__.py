"""Proxies: whatever gives an untrained network a number.

* `proxy`: what a proxy is, the protocol; `program`: a formula as one; estimators (`eznas.estimators`) are proxies too.
* `aggregate`: several proxies as one, by ranks in a reference sample.
* `metrics`: published estimators as leaves of programs.
* `known`: published proxies that the language can express, as programs.
* `file`: the one stored form of all; `named`: proxies by what people call them.
"""

from __future__ import annotations

from eznas.proxies.aggregate import RECIPES, RankAggregate, Recipe, Reference, batch_size_for, recipe_for
from eznas.proxies.file import StoredProxy, load_proxy_file, proxy_from_json, proxy_to_json
from eznas.proxies.known import KNOWN_PROGRAMS
from eznas.proxies.metrics import measured
from eznas.proxies.named import (
    aggregate_named,
    gallery_names,
    gallery_proxy,
    gallery_table,
    is_sum,
    proxy_named,
    proxy_of_entry,
    published_proxy,
)
from eznas.proxies.program import ProgramProxy, statistics_for
from eznas.proxies.proxy import Proxy

__all__ = [
    "KNOWN_PROGRAMS", "RECIPES", "ProgramProxy", "Proxy", "RankAggregate", "Recipe", "Reference", "StoredProxy",
    "aggregate_named", "batch_size_for", "gallery_names", "gallery_proxy", "gallery_table", "is_sum", "load_proxy_file",
    "measured", "proxy_from_json", "proxy_named", "proxy_of_entry", "proxy_to_json", "published_proxy", "recipe_for",
    "statistics_for",
]  # fmt: skip

"""Proxies: whatever gives a network a number.

* `known`: published proxies that the language can express, as programs.
* `aggregate`: several proxies as one, by ranks in a reference sample; `aggregate_file`: its stored form.
"""

from __future__ import annotations

from eznas.proxies.aggregate import (
    RECIPES,
    Member,
    RankAggregate,
    Recipe,
    Reference,
    ReferenceConditions,
    member_named,
    recipe_for,
)
from eznas.proxies.aggregate_file import aggregate_from_json, aggregate_to_json, is_aggregate_file, load_aggregate
from eznas.proxies.known import KNOWN_PROGRAMS, KnownProgram

__all__ = [
    "KNOWN_PROGRAMS", "RECIPES", "KnownProgram", "Member", "RankAggregate", "Recipe", "Reference",
    "ReferenceConditions", "aggregate_from_json", "aggregate_to_json", "is_aggregate_file", "load_aggregate",
    "member_named", "recipe_for",
]  # fmt: skip

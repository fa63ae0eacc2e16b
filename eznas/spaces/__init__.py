"""Architectures: descriptions of networks, and the networks they describe.

`Architecture` is the description, `SearchSpace` the family: how its networks are named, drawn, changed, counted and
built, under settings of its own. One module per search space (`nb201`, `nb101`, `sss`, `darts`) ends with its
declaration, and `own` lets users bring theirs; `SPACES` lists them, and `networks_named` finds architectures by a
specification.
"""

from __future__ import annotations

from eznas.spaces import darts, nb101, nb201, own, sss
from eznas.spaces.architecture import Architecture
from eznas.spaces.initialise import SCHEMES, Scheme, initialise_
from eznas.spaces.settings import KEEP, CellSettings, SpaceSettings
from eznas.spaces.space import Counts, SearchSpace
from eznas.spaces.table import (
    SPACES,
    SettingsUnion,
    build_network,
    index_of,
    networks_named,
    space_named,
    space_of,
)

__all__ = [
    "KEEP",
    "SCHEMES",
    "SPACES",
    "Architecture",
    "CellSettings",
    "Counts",
    "Scheme",
    "SearchSpace",
    "SettingsUnion",
    "SpaceSettings",
    "build_network",
    "darts",
    "index_of",
    "initialise_",
    "nb101",
    "nb201",
    "networks_named",
    "own",
    "space_named",
    "space_of",
    "sss",
]

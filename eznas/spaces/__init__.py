"""Architectures: descriptions of networks, and the networks they describe.

`Architecture` is the description, `SearchSpace` the family: how its networks are named, drawn, changed, counted and
built, under settings of its own. A module of a search space (`nb201`, `nb101`, `sss`, `darts`, `families`), or of
several of a kind (`nds_cells`, `nds_resnets`), ends with the declaration, and `own` lets users bring theirs; `SPACES`
lists them, and `networks_named` finds architectures by a specification.
"""

from __future__ import annotations

from eznas.spaces import darts, families, nb101, nb201, nds_cells, nds_resnets, own, sss
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
    "families",
    "index_of",
    "initialise_",
    "nb101",
    "nb201",
    "nds_cells",
    "nds_resnets",
    "networks_named",
    "own",
    "space_named",
    "space_of",
    "sss",
]

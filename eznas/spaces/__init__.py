"""Architectures: descriptions of networks, and the networks they describe.

`Architecture` is the description. One module per search space (`nb201`, `nb101`, `darts`) knows its text form,
closed-form sizes and exact networks, and `own` lets users bring theirs; `SPACES` lists them, `networks_named` finds
architectures by a specification, and `build_network` turns any architecture into a network at a seeded initialisation.
"""

from __future__ import annotations

from eznas.spaces import darts, nb101, nb201, own
from eznas.spaces.architecture import Architecture
from eznas.spaces.initialise import SCHEMES, Scheme, initialise_
from eznas.spaces.networks import SPACES, SearchSpace, build_network, index_of, networks_named
from eznas.spaces.skeleton import Skeleton

__all__ = [
    "SCHEMES",
    "SPACES",
    "Architecture",
    "Scheme",
    "SearchSpace",
    "Skeleton",
    "build_network",
    "darts",
    "index_of",
    "initialise_",
    "nb101",
    "nb201",
    "networks_named",
    "own",
]

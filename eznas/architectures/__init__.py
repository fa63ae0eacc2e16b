"""Architectures: descriptions of networks, and the networks they describe.

`Architecture` is the description. One module per search space (`nb201`) knows its official order, closed-form sizes and
exact networks; `build_network` turns any architecture into a network at a seeded initialisation.
"""

from __future__ import annotations

from eznas.architectures import nb201
from eznas.architectures.architecture import Architecture
from eznas.architectures.initialise import SCHEMES, Scheme, initialise_
from eznas.architectures.nb201 import Skeleton
from eznas.architectures.networks import SPACES, Builder, build_network

__all__ = [
    "SCHEMES",
    "SPACES",
    "Architecture",
    "Builder",
    "Scheme",
    "Skeleton",
    "build_network",
    "initialise_",
    "nb201",
]

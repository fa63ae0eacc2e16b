"""From an architecture to a network whose parameters depend on nothing but the seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from torch import nn

from eznas.architectures import nb201
from eznas.architectures.architecture import Architecture
from eznas.architectures.initialise import Scheme, initialise_
from eznas.errors import ArchitectureError
from eznas.randomness import torch_stream

Builder = Callable[[Architecture, nb201.Skeleton], nn.Module]

SPACES: Final[Mapping[str, Builder]] = MappingProxyType({nb201.SPACE: nb201.allocate})
"""For each search space, what allocates a network whose parameters are still to be drawn."""


def build_network(arch: Architecture, skeleton: nb201.Skeleton, *, scheme: Scheme = "eznas", seed: int) -> nn.Module:
    """A network at initialisation: on the CPU, float32, in train mode.

    Every architecture draws from the same stream of the same seed (common random numbers), which lowers the noise of
    comparing architectures. The global generators of torch, numpy and Python are neither used nor changed.

    Args:
        arch: of one of the search spaces in `SPACES`.
        skeleton: what surrounds the cell.
        scheme: distribution of the parameters, see `initialise_`.
        seed: any integer of at least 0.

    Raises:
        ArchitectureError: if the search space is unknown or the architecture is not in it.
    """
    builder = SPACES.get(arch.space)
    if builder is None:
        raise ArchitectureError(
            f"Architecture {arch.spec!r} is of the unknown search space {arch.space!r}; known spaces are "
            f"{', '.join(SPACES)}."
        )
    network = builder(arch, skeleton)
    initialise_(network, scheme, torch_stream(seed, "initialisation"))
    return network

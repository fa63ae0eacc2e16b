"""The search spaces that a supernet can have: how weights are shared, drawn from and told by, one row each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Protocol

import numpy as np
from torch import nn

from eznas.oneshot import darts as of_darts
from eznas.oneshot import residual as of_residual
from eznas.oneshot.sampling import drawn_cells, group_of
from eznas.oneshot.supernet import Supernet
from eznas.spaces import Architecture, darts, nb201
from eznas.spaces.nds_resnets import RESIDUAL_SPACES, ResidualSpace

Point = Hashable
"""What a supernet knows an architecture by: the operations of a cell of NAS-Bench-201, else the architecture."""


class SharedWeights(Protocol):
    """The part of a supernet, a `torch.nn.Module`, that is not torch's."""

    def network(self, point: Any) -> Any:
        """The network whose weights are the supernet's."""
        ...

    def inherited(self, point: Any) -> Any:
        """A stand-alone network with copies of them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """One search space.

    Attributes:
        title: its networks, for people.
        make: (settings of networks, affine=, seed=) -> the supernet, a module with `SharedWeights`.
        drawn: (method, n, rng) -> the architectures of one step.
        point_of: what the supernet knows a network by that the space has built; None for another module.
        point: the same of an architecture.
        n_fair: architectures of a round of fair sampling, in which each edge has every operation once; None where
            architectures are not operations on edges.
        group_of: the architectures of the same function; None where they are not listed.
    """

    title: str
    make: Callable[..., Any]
    drawn: Callable[[Any, int, np.random.Generator], list[Any]]
    point_of: Callable[[nn.Module], Any | None]
    point: Callable[[Architecture], Any]
    n_fair: int | None = None
    group_of: Callable[[Any], tuple[Any, ...]] | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        """Samplings that the space has."""
        found = {"uniform": True, "fair": self.n_fair is not None, "isomorphic": self.group_of is not None}
        return tuple(name for name, is_known in found.items() if is_known)


def _cell_of(network: nn.Module) -> tuple[str, ...] | None:
    return network.operations if isinstance(network, nb201.Network) else None


def _architecture_of(space: str, network: nn.Module) -> Architecture | None:
    arch = getattr(network, "architecture", None)
    return arch if isinstance(arch, Architecture) and arch.space == space else None


def _same(arch: Architecture) -> Architecture:
    return arch


def _residual(space: ResidualSpace) -> Sharing:
    return Sharing(
        title=f"the {space.title}",
        make=of_residual.ResidualSupernet,
        drawn=lambda method, n, rng: of_residual.drawn(space, n, rng),
        point_of=partial(_architecture_of, space.name),
        point=_same,
    )


SHARINGS: Final[Mapping[str, Sharing]] = MappingProxyType(
    {
        nb201.NAME: Sharing(
            title="the cells of NAS-Bench-201",
            make=Supernet,
            drawn=drawn_cells,
            point_of=_cell_of,
            point=nb201.operations,
            n_fair=len(nb201.OPERATIONS),
            group_of=group_of,
        ),
        darts.NAME: Sharing(
            title="DARTS cells",
            make=of_darts.DartsSupernet,
            drawn=of_darts.drawn,
            point_of=partial(_architecture_of, darts.NAME),
            point=_same,
            n_fair=len(darts.CODES),
        ),
        **{name: _residual(space) for name, space in RESIDUAL_SPACES.items()},
    }
)
"""By the name of the space."""

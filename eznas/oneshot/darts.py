"""The supernet of DARTS cells: every node can read every earlier one through every operation, of which a cell uses two.

It is made of the modules of networks of `eznas.spaces.darts`, as the supernet of NAS-Bench-201 is: what it runs is a
network of that space whose modules are the supernet's. All cells at one place of the network share one weight for an
operation between two nodes, whichever of the two edges of the node it is.

Source: `Liu 2019 <https://arxiv.org/abs/1806.09055>`_, section 2 (the candidate operations of a node);
`Ning et al. 2021 <https://arxiv.org/abs/2008.03064>`_ (NAS-Bench-301, no affine normalisation inside cells).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from torch import nn

from eznas.errors import ArchitectureError
from eznas.randomness import torch_stream
from eznas.spaces import Architecture, darts, initialise_
from eznas.spaces.cells import CellModule, Edge, Network

N_SOURCES: Final = darts.N_NODES + 1
"""Most nodes that a node can read."""


class DartsSupernet(nn.Module):
    """Shared weights of all DARTS cells, drawn from a seed.

    Attributes:
        settings: what surrounds the cells.
        frame: a network whose cells have no operations; the others use its stem, what cells do to their inputs, and
            its classifier.
        cells: for every cell of the network, a module of each operation between two nodes, by `_key`.

    Args:
        settings: of the networks; their scheme draws the parameters.
        affine: whether normalisation scales and shifts; inside operations of this space it never does.
        seed: of the parameters; the stream is ``supernet``.
    """

    def __init__(self, settings: darts.Settings, *, affine: bool, seed: int) -> None:
        super().__init__()
        del affine
        self.settings = settings
        networks = [_allocated(arch, settings) for arch in covering()]
        self.cells = nn.ModuleList(nn.ModuleDict() for _ in networks[0].blocks)
        for network in networks:
            for choices, block in zip(self.cells, network.blocks, strict=True):
                for key, module in _keyed(block):
                    if key not in choices:  # type: ignore[operator]
                        choices[key] = module  # type: ignore[operator]
        self.frame = networks[0]
        for block in self.frame.blocks:
            block.edges = nn.ModuleList()
        initialise_(self, settings.scheme, torch_stream(seed, "supernet"))

    def network(self, arch: Architecture) -> Network:
        """The network of two cells, whose modules are the supernet's: what is trained in one is trained in the other.

        Raises:
            ArchitectureError: if it is not of this space, or has normalised poolings, which the supernet lacks.
        """
        with torch.device("meta"):  # its own parameters are never used
            network = _allocated(arch, self.settings)
        for name in ("stem", "head", "classifier"):
            setattr(network, name, getattr(self.frame, name))
        for block, bare, choices in zip(network.blocks, self.frame.blocks, self.cells, strict=True):
            block.first, block.second = bare.first, bare.second
            block.edges = nn.ModuleList(_chosen(choices, key) for key, _ in _keyed(block))  # type: ignore[arg-type]
        return network

    def inherited(self, arch: Architecture) -> Network:
        """A stand-alone network of two cells with copies of the weights.

        Raises:
            ArchitectureError: as `network`.
        """
        return copy.deepcopy(self.network(arch))


def _allocated(arch: Architecture, settings: darts.Settings) -> Network:
    network = darts.allocate(arch, settings)
    assert isinstance(network, Network)
    return network


def _keyed(block: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Of each edge of a cell the node it leads to, the node it reads and its operation, as one name, and its module."""
    assert isinstance(block, CellModule)
    for place, (operation, source, module) in enumerate(zip(block.operations, block.sources, block.edges, strict=True)):
        yield f"{place // 2 + 2}_{source}_{operation}", module


def _chosen(choices: nn.ModuleDict, key: str) -> nn.Module:
    if key not in choices:
        _, _, operation = key.split("_", 2)
        raise ArchitectureError(
            f"The supernet of DARTS cells has {', '.join(darts.CODES)} on every edge, but not {operation!r}; name the "
            "cells without normalised poolings."
        )
    return choices[key]


def covering() -> tuple[Architecture, ...]:
    """Few architectures that have, together, every operation between every two nodes of both cells."""
    found = []
    for operation in darts.CODES:
        for shift in range(0, N_SOURCES, 2):
            edges: list[Edge] = []
            for n_sources in range(2, N_SOURCES + 1):
                edges += [(operation, place % n_sources) for place in (shift, shift + 1)]
            found.append(darts.architecture(darts.CellPair(tuple(edges), tuple(edges))))
    return tuple(found)


def drawn(method: str, n: int, rng: np.random.Generator) -> list[Architecture]:
    """The architectures of one step.

    Args:
        method: ``uniform``, the distribution of `darts.sample`; ``fair``, in rounds of seven: the nodes read are drawn
            likewise, and every edge of both cells has each operation exactly once.
        n: how many; with ``fair`` a multiple of seven.
        rng: of the draw.
    """
    if method == "uniform":
        return [darts.sample(rng, 1)[0] for _ in range(n)]
    found = []
    n_operations, n_edges = len(darts.CODES), 4 * darts.N_NODES
    for _ in range(n // n_operations):
        codes = rng.permuted(np.arange(n_operations)[:, None].repeat(n_edges, axis=1), axis=0)
        for row in codes.tolist():
            (base,) = darts.sample(rng, 1)
            pair = darts.cell_pair(base)
            sources = [source for _, source in (*pair.normal, *pair.reduce)]
            edges = tuple((darts.CODES[code], source) for code, source in zip(row, sources, strict=True))
            half = len(edges) // 2
            found.append(darts.architecture(darts.CellPair(edges[:half], edges[half:])))
    return found

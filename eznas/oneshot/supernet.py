"""The supernet of NAS-Bench-201: on every edge all five operations, of which a cell uses one.

It is made of the modules of `eznas.spaces.nb201`, and what it runs is a network of that space whose modules are the
supernet's. So the network of a cell computes what a stand-alone one with the same weights computes.

Source: `Guo et al. 2020 <https://arxiv.org/abs/1904.00420>`_ (single paths);
`Ning et al. 2021 <https://arxiv.org/abs/2008.03064>`_ (NAS-Bench-201, no affine normalisation inside cells).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Final

import torch
from torch import nn

from eznas.randomness import torch_stream
from eznas.spaces import initialise_, nb201

_BARE: Final = nb201.architecture(("none",) * len(nb201.EDGES))
"""A cell without a parameter of its own."""


class Supernet(nn.Module):
    """Shared weights of all cells, drawn from a seed.

    Attributes:
        settings: what surrounds a cell.
        frame: a network whose cells are empty; the others use its stem, reductions, head and classifier.
        cells: for every cell of the network, for every edge in the order of `nb201.EDGES`, a module of each operation.

    Args:
        settings: of the networks; their scheme draws the parameters.
        affine: whether normalisation inside cells scales and shifts; without, its weights stay 1 and its biases 0.
        seed: of the parameters; the stream is ``supernet``.
    """

    def __init__(self, settings: nb201.Settings, *, affine: bool, seed: int) -> None:
        super().__init__()
        self.settings = settings
        self.frame = nb201.allocate(_BARE, settings)
        self.cells = nn.ModuleList(
            nn.ModuleList(
                nn.ModuleDict({name: nb201.operation_module(name, channels) for name in nb201.OPERATIONS})
                for _ in nb201.EDGES
            )
            for channels in settings.stage_channels
            for _ in range(settings.cells_per_stage)
        )
        initialise_(self, settings.scheme, torch_stream(seed, "supernet"))
        if not affine:
            for module in self.cells.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.requires_grad_(False)

    def network(self, operations: Sequence[str]) -> nb201.Network:
        """The network of a cell, whose modules are the supernet's: what is trained in one is trained in the other."""
        with torch.device("meta"):  # its own parameters are never used
            network = nb201.allocate(nb201.architecture(operations), self.settings)
        for name in ("stem", "head", "classifier"):
            setattr(network, name, getattr(self.frame, name))
        cells = iter(self.cells)
        for place, block in enumerate(self.frame.blocks):
            if isinstance(block, nb201.Cell):
                edges = zip(next(cells), operations, strict=True)  # type: ignore[call-overload]
                network.blocks[place].edges = nn.ModuleList(choices[name] for choices, name in edges)
            else:
                network.blocks[place] = block
        return network

    def inherited(self, operations: Sequence[str]) -> nb201.Network:
        """A stand-alone network of a cell with copies of the weights."""
        return copy.deepcopy(self.network(operations))

"""The supernets of the residual spaces of NDS: every network is the first channels of the first blocks of the largest.

Weights are shared by order ("ordinal" sharing): a convolution of fewer channels has the first filters of that of the
largest network, each with its first channels; a convolution with groups has the first filters and of each as many
channels as one of its groups has. Blocks are shared by their place in their stage. So what it runs is a network of the
space whose parameters are views of those of the largest one.

Source: `Ning et al. 2021 <https://arxiv.org/abs/2008.03064>`_ (NDS ResNet and ResNeXt-A).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from eznas.errors import ArchitectureError
from eznas.randomness import torch_stream
from eznas.spaces import Architecture, initialise_
from eznas.spaces.nds_resnets import RESIDUAL_SPACES, Network, ResidualSettings, ResidualSpace, Stage


class ResidualSupernet(nn.Module):
    """Shared weights of all networks of a residual space, drawn from a seed.

    A step moves a whole tensor, also the channels that its networks did not use, by momentum and decay.

    Attributes:
        settings: of the networks.
        largest: the network whose weights are shared.

    Args:
        settings: of the networks; their scheme draws the parameters.
        affine: whether normalisation scales and shifts; without, its weights stay 1 and its biases 0.
        seed: of the parameters; the stream is ``supernet``.
    """

    def __init__(self, settings: ResidualSettings, *, affine: bool, seed: int) -> None:
        super().__init__()
        self.settings = settings
        self._space = RESIDUAL_SPACES[settings.space]
        self._stages = largest_stages(self._space)
        self.largest = self._allocated(_named(self._space, self._stages))
        initialise_(self.largest, settings.scheme, torch_stream(seed, "supernet"))  # type: ignore[arg-type]
        if not affine:
            for module in self.largest.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.requires_grad_(False)

    def network(self, arch: Architecture) -> Network:
        """A network whose parameters and statistics are views of the supernet's: training it trains those.

        Raises:
            ArchitectureError: if it is not of this space, or deeper or wider than the largest that is drawn.
        """
        with torch.device("meta"):  # its own parameters are never used
            network = self._allocated(arch)
        for small, large in self._pairs(arch, network):
            theirs = dict(large.named_modules())
            for name, module in small.named_modules():
                _share(module, theirs[name], arch)
        return network

    def inherited(self, arch: Architecture) -> Network:
        """A stand-alone network with copies of the weights.

        Raises:
            ArchitectureError: as `network`.
        """
        network, shared = self._allocated(arch), self.network(arch)
        for parameter, value in zip(network.parameters(), shared.parameters(), strict=True):
            parameter.requires_grad_(value.requires_grad)
        network.to(next(self.parameters()).device)
        network.load_state_dict(shared.state_dict())
        return network.train(shared.training)

    def _allocated(self, arch: Architecture) -> Network:
        network = self._space.allocate(arch, self.settings)
        assert isinstance(network, Network)
        return network

    def _pairs(self, arch: Architecture, network: Network) -> Iterator[tuple[nn.Module, nn.Module]]:
        """Parts of a network, each with the part of the largest network that it shares the weights of."""
        for name in ("stem", "head", "classifier"):
            yield getattr(network, name), getattr(self.largest, name)
        blocks, start = iter(network.blocks), 0
        for mine, largest in zip(self._space.stages(arch), self._stages, strict=True):
            if mine.n_blocks > largest.n_blocks:
                raise ArchitectureError(
                    f"A stage of the supernet of {self._space.title} has {largest.n_blocks} blocks, but one of "
                    f"{arch.spec} has {mine.n_blocks}; use networks of the space that is drawn from."
                )
            for place in range(mine.n_blocks):
                yield next(blocks), self.largest.blocks[start + place]
            start += largest.n_blocks


def _share(module: nn.Module, shared: nn.Module, arch: Architecture) -> None:
    """Make parameters and buffers of a module views of the first entries of those of another."""
    for mine, theirs in ((module._parameters, shared._parameters), (module._buffers, shared._buffers)):
        for name, tensor in mine.items():
            if tensor is not None:
                own: dict[str, Any] = mine  # torch holds parameters to their class; a view is none, and trains its base
                own[name] = _first(theirs[name], tensor, arch)


def _first(whole: Tensor | None, like: Tensor, arch: Architecture) -> Tensor:
    if whole is None or any(n > n_whole for n, n_whole in zip(like.shape, whole.shape, strict=True)):
        raise ArchitectureError(
            f"{arch.spec} is wider than the widest network of its supernet; use networks of the space that is drawn "
            "from."
        )
    return whole[tuple(slice(0, n) for n in like.shape)] if like.dim() else whole


def largest_stages(space: ResidualSpace) -> tuple[Stage, ...]:
    """Of the network that all those drawn from the space are parts of: most and widest blocks, one group."""
    has_inner = bool(space.multipliers)
    stage = Stage(
        max(space.n_blocks), max(space.widths), max(space.multipliers) if has_inner else None, 1 if has_inner else None
    )
    return (stage,) * 3


def _named(space: ResidualSpace, stages: tuple[Stage, ...]) -> Architecture:
    return space.architecture("-".join(stage.spec for stage in stages))


def drawn(space: ResidualSpace, n: int, rng: np.random.Generator) -> list[Architecture]:
    """The architectures of one step, each uniform over the space.

    Args:
        space: drawn from.
        n: how many.
        rng: of the draw.
    """
    return [space.sample(rng, 1)[0] for _ in range(n)]

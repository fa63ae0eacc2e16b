"""Copies of networks that users hold: to draw parameters anew, and to give lazy layers their shape."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, is_lazy

from eznas.errors import ArchitectureError
from eznas.guests import guest
from eznas.names import one_line
from eznas.randomness import derived_seed


def copied(network: nn.Module, what: str) -> nn.Module:
    """A copy of a module that shares nothing with it.

    Args:
        network: any module.
        what: what to call it in messages.

    Raises:
        ArchitectureError: if it cannot be copied.
    """
    copies: dict[int, Any] = {}  # of what torch does not copy itself: tensors that are computed, buffers without shape
    without_shape: Any = UninitializedBuffer
    for module in network.modules():
        for value in (*vars(module).values(), *module._buffers.values()):
            if isinstance(value, without_shape):
                copies[id(value)] = without_shape(device=value.device, dtype=value.dtype)
            elif isinstance(value, Tensor) and not value.is_leaf:
                copies[id(value)] = value.detach().clone()
    try:
        return copy.deepcopy(network, copies)
    except (Exception, SystemExit) as error:  # a foreign module may hold anything
        raise ArchitectureError(
            f"{what} cannot be copied ({type(error).__name__}: {one_line(error)}), which is needed to leave it as it "
            "is; give a function that makes it."
        ) from error


def with_shapes(network: nn.Module, shape: tuple[int, ...], seed: int) -> nn.Module:
    """A module whose lazy layers have their shape: the module itself if it has none, else a copy that was run once.

    Args:
        network: any module.
        shape: (channels, height, width) of an image.
        seed: of what lazy layers draw as they get their shape.

    Raises:
        ArchitectureError: if it cannot be copied, or not be run on such images.
    """
    if not any(map(is_lazy, (*network.parameters(), *network.buffers()))):
        return network
    what = type(network).__name__
    network = copied(network, what)
    modes = [(module, module.training) for module in network.modules()]
    for module, _ in modes:
        module.training = False
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), guest():
            torch.manual_seed(derived_seed(seed, "shapes") % 2**32)
            network(torch.zeros(2, *shape))
    except (Exception, SystemExit) as error:  # a foreign forward pass may raise anything
        raise ArchitectureError(
            f"{what} has lazy layers, which get their shape in a first pass, and that raised {type(error).__name__}: "
            f"{one_line(error)} for images of {' x '.join(map(str, shape))}; give it images that it takes."
        ) from error
    for module, training in modes:
        module.training = training
    return network

"""Torch's layers, allocated but not initialised: their parameters are drawn once, later, from a named stream.

A torch layer draws its parameters from the global generator as it is constructed. Networks here are always re-drawn by
`initialise_`, so that first draw would shift a generator that is not ours and cost half the time of building.
"""

from __future__ import annotations

from torch import nn


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d` whose parameters hold arbitrary memory until `initialise_` draws them."""

    def reset_parameters(self) -> None:
        """Nothing: the constructor calls this to draw from the global generator."""


class BatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d`, running statistics 0 and 1, whose parameters wait for `initialise_`."""

    def reset_parameters(self) -> None:
        """Nothing, as in `Conv2d`."""


class Linear(nn.Linear):
    """`torch.nn.Linear` whose parameters hold arbitrary memory until `initialise_` draws them."""

    def reset_parameters(self) -> None:
        """Nothing, as in `Conv2d`."""

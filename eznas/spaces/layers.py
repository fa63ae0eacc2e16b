"""Torch's layers, allocated but not initialised, and the blocks of them that several search spaces have.

A torch layer draws its parameters from the global generator as it is constructed. Networks here are always re-drawn by
`initialise_` from a named stream, so that first draw would shift a generator that is not ours and cost half the time of
building. No layer works in place: what it reads may be read by others.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


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


# Blocks ---------------------------------------------------------------------------------------------------------------


class Zero(nn.Module):
    """Zero times its input, so that the graph stays connected and its gradient is zero."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> zeros, of every `stride`-th place."""
        return (x if self.stride == 1 else x[:, :, :: self.stride, :: self.stride]) * 0.0


class FactorizedReduce(nn.Module):
    """(batch, before, height, width) -> (batch, channels, height / 2, width / 2) by two shifted 1x1 convolutions."""

    def __init__(self, before: int, channels: int, *, affine: bool = True) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=False)
        self.here = Conv2d(before, channels // 2, 1, stride=2, bias=False)
        self.shifted = Conv2d(before, channels - channels // 2, 1, stride=2, bias=False)
        self.norm = BatchNorm2d(channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Even places by one convolution, odd places by the other."""
        x = self.relu(x)
        output: Tensor = self.norm(torch.cat([self.here(x), self.shifted(x[:, :, 1:, 1:])], dim=1))
        return output


def conv_norm(before: int, after: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution and batch normalisation: (b, before, h, w) -> (b, after, h / stride, w / stride)."""
    return nn.Sequential(
        Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False),
        BatchNorm2d(after),
    )


def conv_norm_relu(before: int, after: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """`conv_norm`, then ReLU."""
    return conv_norm(before, after, kernel, stride=stride, groups=groups).append(nn.ReLU(inplace=False))


def relu_conv_norm(before: int, after: int, kernel: int, *, stride: int = 1, affine: bool = True) -> nn.Sequential:
    """ReLU, convolution and batch normalisation: (b, before, h, w) -> (b, after, h / stride, w / stride)."""
    return nn.Sequential(
        nn.ReLU(inplace=False),
        Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, bias=False),
        BatchNorm2d(after, affine=affine),
    )


def relu_separable_norm(
    channels: int, kernel: int, *, stride: int = 1, dilation: int = 1, affine: bool = True
) -> nn.Sequential:
    """ReLU, depthwise and pointwise convolution, normalisation: (b, c, h, w) -> (b, c, h / stride, w / stride)."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.ReLU(inplace=False),
        Conv2d(
            channels, channels, kernel, stride=stride, padding=padding, dilation=dilation, groups=channels, bias=False
        ),
        Conv2d(channels, channels, 1, bias=False),
        BatchNorm2d(channels, affine=affine),
    )

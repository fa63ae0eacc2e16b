"""Small networks of a user's own, each of a width of its own, for tests that need many and quickly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import nn

MODULE = '''"""A zoo as a user would write it."""

import torch
from torch import nn


def network(width):
    torch.manual_seed(width)
    return nn.Sequential(
        nn.Conv2d(1, width, 3, stride=2, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, width, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10),
    )


def networks():
    return [(f"n{width}", network(width)) for width in range(2, 2 + N)]
'''


def network(width: int, channels: int = 1) -> nn.Module:
    """Two units and a classifier."""
    torch.manual_seed(width)
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, stride=2, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, width, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10),
    )  # fmt: skip


def networks(n: int) -> dict[str, partial[nn.Module]]:
    """Makers of networks by name, in the order of their widths."""
    return {f"n{width}": partial(network, width) for width in range(2, 2 + n)}


def write_zoo(
    folder: Path,
    accuracies: Mapping[str, Iterable[float]],
    *,
    name: str = "zoo",
) -> None:
    """A module ``<name>.py`` with a function ``networks``, and ``<name>.csv`` with a column for each accuracy."""
    columns = {column: [*values] for column, values in accuracies.items()}
    n = len(next(iter(columns.values())))
    (folder / f"{name}.py").write_text(MODULE.replace("2 + N", str(2 + n)))
    lines = [",".join(["name", *columns])]
    lines += [",".join([f"n{2 + row}", *(f"{values[row]:.4f}" for values in columns.values())]) for row in range(n)]
    (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")

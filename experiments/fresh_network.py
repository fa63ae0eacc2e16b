"""Uses an exported proxy the way a stranger would: load one file, score networks of one's own."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """ReLU-conv-norm around an optional shortcut."""

    def __init__(self, channels: int, *, shortcut: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels))
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + x if self.shortcut else self.body(x)


def network(n_blocks: int, channels: int, *, shortcut: bool = True) -> nn.Module:
    """A small classifier that is in no benchmark."""
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
        *(Block(channels, shortcut=shortcut) for _ in range(n_blocks)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, 10),
    )


def load_exported(path: Path) -> ModuleType:
    """The exported file as a module."""
    spec = importlib.util.spec_from_file_location("exported_proxy", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 1:
        raise SystemExit("usage: fresh_network.py PROXY.py")
    proxy = load_exported(Path(arguments[0]))
    images = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    print("Scores of three networks the run has never seen (higher predicts a higher accuracy):")
    for title, fresh in (
        ("4 blocks, 8 channels, no shortcuts", network(4, 8, shortcut=False)),
        ("4 blocks, 16 channels", network(4, 16)),
        ("8 blocks, 32 channels", network(8, 32)),
    ):
        print(f"  {title:36}{proxy.score(proxy.prepare(fresh), images):12.4f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

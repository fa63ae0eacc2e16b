"""Networks of one's own in modules of their own."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eznas.spaces import own

Zoo = Callable[[str], str]
"""Writes a module whose function ``networks`` ends with the text, and gives the specification that names it."""
_NUMBERS = itertools.count()
BASE = """import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4, n_classes=10, channels=3):
        super().__init__()
        torch.manual_seed(width)
        self.first = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.other_norm = nn.BatchNorm2d(width)
        self.classifier = nn.Linear(width, n_classes)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        return self.classifier(torch.relu(self.other_norm(self.second(x))).mean((2, 3)))

class Tuple(Net):
    def forward(self, x):
        return super().forward(x), x

class Raises(Net):
    def forward(self, x):
        raise ZeroDivisionError("no \\x1b[31m way\\nat all")

class Sized(Net):
    size = 20
    def forward(self, x):
        assert x.shape[-1] == self.size, f"expected {self.size} pixels"
        return super().forward(x)

def broken():
    raise OSError("the checkpoint is gone")

"""


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zoo:
    """See `Zoo`; run in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def write(text: str, name: str = "") -> str:
        module = name or f"zoo_{next(_NUMBERS)}"
        sys.modules.pop(module, None)
        own._family.cache_clear()
        (tmp_path / f"{module}.py").write_text(f"{BASE}\ndef networks():\n    return {text}\n")
        return f"python:{module}:networks"

    return write

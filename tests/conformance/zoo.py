"""Networks of one's own with batch normalisation, dropout and stochastic depth; needs nothing but torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

N = 25


class Drawing(nn.Module):
    """Residual blocks that are left out at random, and dropout before the classifier."""

    def __init__(self, width: int, depth: int, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
            for _ in range(depth)
        )
        self.dropout = nn.Dropout2d(rate)
        self.classifier = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x))
        for block in self.blocks:
            kept = (torch.rand(len(x), 1, 1, 1, device=x.device) > self.rate).float() if self.training else 1.0
            x = x + kept * block(x)
        x = F.dropout(self.dropout(F.relu(x)).mean((2, 3)), self.rate, self.training)
        logits: Tensor = self.classifier(x)
        return logits


def networks() -> dict[str, nn.Module]:
    """By name."""
    return {f"n{i}": Drawing(width=4 + i % 5, depth=1 + i % 3, rate=0.1 * (i % 4)) for i in range(N)}

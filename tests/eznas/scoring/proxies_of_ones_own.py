"""Proxies that a user might write; in a module of their own, because workers import them by name."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eznas.errors import ConfigError
from eznas.programs import Invalid


@dataclass(frozen=True)
class Mine:
    """The sum of all parameters; may take its time, or fail."""

    name: str = "mine"
    fails: str = ""
    slow: bool = False
    direction: int = 1
    needs: frozenset[str] = frozenset()
    cost: float = 1.0

    def outcome(self, network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float | Invalid:
        if self.slow:
            time.sleep(float(torch.rand((), generator=torch.Generator().manual_seed(len(str(network))))) / 20)
        if self.fails == "unfit":
            raise ConfigError("this network has no such layer")
        if self.fails:
            raise KeyError(self.fails)
        return float(sum(p.detach().double().sum() for p in network.parameters()))

    def score(self, network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
        outcome = self.outcome(network, inputs, targets)
        assert not isinstance(outcome, Invalid)
        return outcome

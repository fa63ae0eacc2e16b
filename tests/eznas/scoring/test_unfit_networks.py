"""A network that does not suit one program has a reason there, and its scores from all others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eznas.conditions import Conditions
from eznas.estimators import by_name
from eznas.programs import FailureKind, Invalid, parse
from eznas.proxies import ProgramProxy
from eznas.scoring import networks as scoring
from eznas.spaces import Architecture, nb201

IMAGES = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
KERNEL = ProgramProxy(name="kernel", program=parse("(trace (sum_layers (gram_kernel convolution_input.data)))"))
NORM = ProgramProxy(name="norm", program=parse("(sum_layers (frobenius_norm weight_grad.noise))"), direction=-1)
CELL = Architecture(space="nb201", spec=nb201.from_index(11).spec)


class Windows(nn.Module):
    """A linear layer on windows of patches and one on images."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.inside, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        n, x = len(x), self.patches(x)
        x = x.reshape(n, 8, 2, 2, 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(-1, 4, 8)
        out: Tensor = self.head(self.inside(x).relu().reshape(n, -1, 8).mean(1))
        return out


class OfWindows(Conditions):
    """Builds the same network whatever the architecture."""

    def network(self, arch: Architecture, device: str = "cpu") -> nn.Module:
        network = Windows()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
        return network


def conditions() -> Conditions:
    made = OfWindows(settings=nb201.Settings(channels=4), units="all")
    return made.given(IMAGES, torch.arange(4) % 5)


@pytest.mark.parametrize("dies", [False, True], ids=["as it is", "the batched evaluation raises"])
def test_only_the_program_that_cannot_be_computed_fails(monkeypatch: pytest.MonkeyPatch, dies: bool) -> None:
    if dies:

        def run(*_: Any) -> np.ndarray:
            raise RuntimeError("The expanded size of the tensor must match")

        monkeypatch.setattr(scoring.ShardExecutor, "run", run)
    scorer = scoring.NetworkScorer(conditions(), [KERNEL, NORM, by_name("zico")], "cpu")
    ((kernel, norm, zico),) = (row.outcomes for row in scorer.score([CELL]))
    assert isinstance(kernel, Invalid)
    assert kernel.kind is FailureKind.UNFIT
    assert "unit 1 has 16 samples where unit 0 has 4" in kernel.detail
    network = conditions().network(CELL)
    assert norm == pytest.approx(NORM.bound(conditions()).score(network, IMAGES), rel=1e-6)
    assert zico == by_name("zico").score(network, IMAGES, torch.arange(4) % 5)

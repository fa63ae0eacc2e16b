"""A network that draws while it runs has one score, in the run and in the exported file, and nobody's draws change."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eznas.conditions import Conditions
from eznas.estimators import by_name
from eznas.export import export_python
from eznas.programs import parse
from eznas.proxies import ProgramProxy
from eznas.spaces import nb201

IMAGES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))
CLASSES = torch.arange(8) % 5
PROGRAM = ProgramProxy(
    name="noise", program=parse("(sum_layers (frobenius_norm activation_output_grad.noise))"), direction=-1, seed=3
)
PERTURBED = ProgramProxy(
    name="perturbed", program=parse("(sum_layers (mean_abs convolution_input.perturbed))"), units="all", seed=3
)
ESTIMATORS = ("naswot", "snip", "jacob_cov", "zico", "mac_count", "zen", "synflow", "meco", "vkdnw")
RATE = 0.7


class Deep(nn.Module):
    """A residual branch that a function drops or scales, at random."""

    def __init__(self, drop: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.drop = drop
        self.stem, self.norm0 = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv, self.norm1 = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm0(self.stem(x))
        x = x + self.drop(self.norm1(self.conv(x.relu())))
        out: Tensor = self.head(x.relu().mean((2, 3)))
        return out


class Attention(nn.Module):
    """Tokens of 2x2 pixels, a layer of attention with dropout inside."""

    def __init__(self, rate: float, *, functional: bool) -> None:
        super().__init__()
        self.rate, self.functional = rate, functional
        self.patches, self.head = nn.Conv2d(3, 8, 2, 2), nn.Linear(8, 5)
        self.attention = nn.MultiheadAttention(8, 2, dropout=rate, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        if self.functional:
            x = x + F.scaled_dot_product_attention(x, x, x, dropout_p=self.rate)
        else:
            x = x + self.attention(x, x, x, need_weights=False)[0]
        out: Tensor = self.head(x.relu().mean(1))
        return out


class OwnGenerator(nn.Module):
    """Draws from a generator that it holds."""

    def __init__(self, generator: object) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.generator, torch.Generator):
            return x * torch.rand(1, generator=self.generator)
        if isinstance(self.generator, random.Random):
            return x * self.generator.random()
        assert isinstance(self.generator, np.random.Generator | np.random.RandomState)
        return x * float(self.generator.uniform())


def bernoulli(x: Tensor) -> Tensor:
    return x * torch.empty(len(x), 1, 1, 1).bernoulli_(RATE) / RATE


class Shake(torch.autograd.Function):
    """Scales gradients at random on their way back."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:  # type: ignore[override]
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient * torch.rand(len(gradient), 1, 1, 1)


def drop_path(x: Tensor) -> Tensor:
    return x / RATE * torch.floor(RATE + torch.rand((x.shape[0], 1, 1, 1), dtype=x.dtype, device=x.device))


DRAWS: dict[str, Callable[[], nn.Module]] = {
    "stochastic depth": lambda: Deep(bernoulli),
    "drop path": lambda: Deep(drop_path),
    "torch.rand": lambda: Deep(lambda x: x + torch.randn_like(x)),
    "Python": lambda: Deep(lambda x: x * random.random()),
    "NumPy": lambda: Deep(lambda x: x * float(np.random.rand())),  # noqa: NPY002
    "shake": lambda: Deep(Shake.apply),
    "attention": lambda: Attention(0.5, functional=True),
    "module of attention": lambda: Attention(0.5, functional=False),
    "dropout of its own": lambda: Deep(nn.Dropout2d(0.5)),
    "own generator": lambda: Deep(OwnGenerator(torch.Generator().manual_seed(9))),
    "own Python generator": lambda: Deep(OwnGenerator(random.Random(9))),
    "own NumPy generator": lambda: Deep(OwnGenerator(np.random.default_rng(9))),
    "own old NumPy generator": lambda: Deep(OwnGenerator(np.random.RandomState(9))),
}
KINDS = pytest.mark.parametrize("kind", DRAWS)


def drawn(network: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return network


def positions() -> list[object]:
    """Where all generators of the caller are."""
    return [torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())]  # noqa: NPY002


def move_on() -> None:
    torch.rand(3)
    random.random()
    np.random.rand()  # noqa: NPY002


@KINDS
@pytest.mark.parametrize("proxy", [PROGRAM, PERTURBED, *map(by_name, ESTIMATORS)], ids=lambda proxy: proxy.name)
def test_a_score_is_the_same_each_time_and_no_generator_moves(kind: str, proxy: ProgramProxy) -> None:
    network = drawn(DRAWS[kind]())
    before = positions()
    first = proxy.outcome(network, IMAGES, CLASSES)
    assert positions() == before
    move_on()
    assert proxy.outcome(network, IMAGES, CLASSES) == first


def test_generators_are_put_back_after_a_network_that_fails() -> None:
    def fail(x: Tensor) -> Tensor:
        move_on()
        raise RuntimeError("failed here")

    network = drawn(Deep(fail))
    before = positions()
    for proxy in (PROGRAM, by_name("naswot")):
        assert "failed here" in str(proxy.outcome(network, IMAGES, CLASSES))
        assert positions() == before


def test_stochastic_depth_scores_as_its_twin_with_one_mask() -> None:
    """The twin multiplies by a constant: the first draw of a generator with seed 0."""
    mask = torch.empty(8, 1, 1, 1).bernoulli_(RATE, generator=torch.Generator().manual_seed(0)) / RATE
    assert 0 < int(mask.count_nonzero()) < 8
    network, twin = drawn(Deep(bernoulli)), drawn(Deep(lambda x: x * mask))
    for proxy in (PROGRAM, PERTURBED, by_name("naswot"), by_name("jacob_cov")):
        assert proxy.score(network, IMAGES) == pytest.approx(proxy.score(twin, IMAGES), rel=1e-6)


@pytest.mark.parametrize("functional", [True, False])
def test_dropout_inside_attention_is_the_identity(functional: bool) -> None:
    network, twin = (drawn(Attention(rate, functional=functional)) for rate in (0.5, 0.0))
    for proxy in (PROGRAM, by_name("naswot"), by_name("snip"), by_name("grasp")):
        assert proxy.score(network, IMAGES, CLASSES) == pytest.approx(proxy.score(twin, IMAGES, CLASSES), rel=1e-6)


@pytest.mark.parametrize("proxy", [PROGRAM, PERTURBED], ids=lambda proxy: proxy.name)
def test_the_exported_file_gives_the_number_of_the_run(
    proxy: ProgramProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conditions = Conditions(settings=nb201.Settings(channels=4))
    (tmp_path / "exported.py").write_text(export_python(proxy, conditions))
    spec = importlib.util.spec_from_file_location("exported_for_networks_that_draw", tmp_path / "exported.py")
    assert spec is not None
    assert spec.loader is not None
    exported = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, exported)
    spec.loader.exec_module(exported)
    for kind, make in DRAWS.items():
        network, before = drawn(make()), positions()
        assert exported.score(network, IMAGES) == pytest.approx(proxy.score(network, IMAGES), rel=1e-6), kind
        assert positions() == before
        move_on()

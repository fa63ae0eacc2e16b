"""Networks at a seeded initialisation: distributions, common random numbers, and no effect on anyone's generator."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from eznas.errors import ArchitectureError
from eznas.randomness import torch_stream
from eznas.spaces import SCHEMES, Architecture, Scheme, build_network, initialise_, nb201

REDUCED = nb201.Settings()
CELL = nb201.from_index(11)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _torch_layers() -> nn.Sequential:
    """One of each kind of layer, drawn by torch itself from the global generator."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, groups=4, bias=False),
        nn.GroupNorm(2, 8),
        nn.Flatten(),
        nn.Linear(8, 5),
        nn.LayerNorm(5),
        nn.Linear(5, 2, bias=False),
    )


def test_default_scheme_is_torch_own_initialisation() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        reference = _torch_layers()
    ours = copy.deepcopy(reference)
    for parameter in ours.parameters():
        nn.init.constant_(parameter, 9.0)
    initialise_(ours, "default", _generator(7))
    for (name, expected), actual in zip(reference.named_parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(actual, expected, msg=name)


def test_eznas_scheme_is_torch_kaiming_normal() -> None:
    ours = _torch_layers()
    initialise_(ours, "eznas", _generator(7))
    generator = _generator(7)
    for layer in ours:
        if isinstance(layer, nn.Conv2d):
            expected = torch.empty_like(layer.weight)
            nn.init.kaiming_normal_(expected, mode="fan_out", nonlinearity="relu", generator=generator)
            torch.testing.assert_close(layer.weight, expected)
        elif isinstance(layer, nn.Linear):
            expected = torch.empty_like(layer.weight).normal_(0.0, 0.01, generator=generator)
            torch.testing.assert_close(layer.weight, expected)
        biases = (value for name, value in layer.named_parameters() if name == "bias")
        assert not any(bias.any() for bias in biases)
        if isinstance(layer, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm):
            assert layer.weight.eq(1).all()


def test_eznas_scheme_on_a_network() -> None:
    network = build_network(nb201.from_index(1462), nb201.FULL, seed=1)
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 5_000:
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
    assert isinstance(network, nb201.Network)
    assert network.classifier.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert not network.classifier.bias.any()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_same_seed_same_network(scheme: Scheme) -> None:
    first, again, other = (build_network(CELL, nb201.Settings(scheme=scheme), seed=seed) for seed in (4, 4, 5))
    assert first.training
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert any(not torch.equal(value, other.state_dict()[name]) for name, value in first.state_dict().items())


def test_value_of_a_seed_does_not_change() -> None:
    """Golden values: whatever changes them changes every result of this project."""
    network = build_network(CELL, REDUCED, seed=0)
    images = torch.randn(4, 3, 16, 16, generator=_generator())
    assert sum(p.double().abs().sum().item() for p in network.parameters()) == pytest.approx(12232.66659, rel=1e-6)
    assert network(images).abs().sum().item() == pytest.approx(1.047735, rel=1e-4)


def test_architectures_share_one_stream() -> None:
    """Common random numbers: the stems of all architectures of a seed are equal."""
    stems = [next(build_network(nb201.from_index(index), REDUCED, seed=2).parameters()) for index in (0, 11, 1651)]
    assert torch.equal(stems[0], stems[1])
    assert torch.equal(stems[0], stems[2])


def _global_states() -> tuple[object, ...]:
    state = np.random.get_state(legacy=False)  # noqa: NPY002 - the global state is what is being watched
    return torch.get_rng_state().tolist(), repr(state), random.getstate()


def test_global_generators_are_left_alone() -> None:
    before = _global_states()
    build_network(CELL, REDUCED, seed=1)
    assert _global_states() == before


def test_every_parameter_and_buffer_is_defined() -> None:
    """Fill memory with NaN through a used network, draw again: nothing of it may survive."""
    network = build_network(CELL, REDUCED, seed=1)
    expected = {name: value.clone() for name, value in network.state_dict().items()}
    for value in network.state_dict().values():
        value.fill_(7 if value.dtype == torch.int64 else float("nan"))
    initialise_(network, "eznas", torch_stream(1, "initialisation"))
    for name, value in network.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_layers_without_affine_parameters() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.BatchNorm2d(2, affine=False), nn.InstanceNorm2d(2))
    initialise_(network, "eznas", _generator())


def test_unknown_scheme() -> None:
    with pytest.raises(ArchitectureError, match="must be one of default, eznas, but it is 'xavier'"):
        initialise_(nn.Linear(2, 2), "xavier", _generator())  # type: ignore[arg-type]


def test_unknown_space() -> None:
    with pytest.raises(ArchitectureError, match="Unknown search space 'transnas'; known are nb201, nb101"):
        build_network(Architecture("transnas", "x"), REDUCED, seed=0)

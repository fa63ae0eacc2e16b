"""A network becomes plain data, or one readable sentence."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from eznas.errors import CaptureError
from eznas.spaces import build_network, nb201
from eznas.statistics import STATISTICS, capture
from eznas.statistics.tracing import probe_inputs

IMAGES = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Detached(nn.Module):
    """Its logits lead no gradient back."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(768, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            logits: torch.Tensor = self.layers(x)
        return logits


def test_equal_seeds_give_equal_statistics() -> None:
    settings = nb201.Settings()
    first, second, other = (
        capture(build_network(nb201.from_index(11), settings, seed=1), IMAGES, seed=seed) for seed in (1, 1, 2)
    )
    assert first.quantities == second.quantities
    for layer, same, differs in zip(first.layers, second.layers, other.layers, strict=True):
        assert all(torch.equal(layer[name], same[name]) for name in STATISTICS)
        assert torch.equal(layer["activation_input.data"], differs["activation_input.data"])
        assert not torch.equal(layer["activation_input.noise"], differs["activation_input.noise"])


def test_the_number_of_threads_changes_no_value_and_is_left_as_it_was() -> None:
    network = build_network(nb201.from_index(11), nb201.Settings(), seed=1)
    n_threads = torch.get_num_threads()
    captured = []
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            captured.append(capture(network, IMAGES, seed=0))
            assert torch.get_num_threads() == n
    finally:
        torch.set_num_threads(n_threads)
    for one, two in zip(captured[0].layers, captured[1].layers, strict=True):
        assert all(torch.equal(one[name], two[name]) for name in STATISTICS)


def test_values_that_are_not_finite_are_kept() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(768, 4))
    with torch.no_grad():
        network[1].weight.fill_(float("inf"))
    (layer,) = capture(network, IMAGES, seed=0).layers
    assert not layer["activation_output.data"].isfinite().all()


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            nn.Sequential(nn.Flatten(), nn.ReLU()),
            r"Sequential has no unit: expected at least one convolution or linear",
        ),
        (nn.Linear(5, 5), r"Could not capture the statistics of Linear on inputs of shape \(8, 3, 16, 16\): .*shapes"),
        (Detached(), r"Could not capture .* No gradient leads from the logits back to anything: the network computes"),
    ],
)
def test_a_network_that_cannot_be_captured_is_named(network: nn.Module, message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        capture(network, IMAGES, seed=0)


def test_unknown_statistics_and_bad_inputs_are_refused() -> None:
    with pytest.raises(CaptureError, match=r"Unknown statistics \['weight_grad'\]; known are \['weight', "):
        capture(nn.Linear(2, 2), torch.randn(2, 2), seed=0, statistics=["weight_grad"])
    with pytest.raises(CaptureError, match=r"float batch .* got torch.uint8 of shape \(2, 2\)"):
        capture(nn.Linear(2, 2), torch.zeros(2, 2, dtype=torch.uint8), seed=0)
    with pytest.raises(CaptureError, match=r"at least one image, but got torch.float32 of shape \(0, 2\)"):
        capture(nn.Linear(2, 2), torch.zeros(0, 2), seed=0)


@pytest.mark.parametrize("index", [11, 0, 12000])
def test_three_probes_cost_no_more_than_three_passes(index: int) -> None:
    """In floating point operations, each pass forward and backward, to the images too, which some layers read."""
    network = build_network(nb201.from_index(index), nb201.Settings(), seed=1)

    def passes() -> None:
        for batch in probe_inputs(IMAGES, 0).values():
            network.zero_grad()
            network(batch.clone().requires_grad_()).sum().backward()

    assert n_operations(lambda: capture(network, IMAGES, seed=0, with_macs=False)) <= n_operations(passes)


def n_operations(work: Callable[[], object]) -> int:
    """Floating point operations of convolutions and products of matrices."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())

"""Layers that see windows on their first axis: their programs have a value or a reason, in company and alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eznas.evaluation import ShardExecutor, evaluate, make_plan
from eznas.programs import FailureKind, Invalid, parse
from eznas.statistics import ALL_STATISTICS, NetworkStatistics, capture, pack

IMAGES = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
CLASSES = torch.tensor([0, 1, 0, 2])


class Windows(nn.Module):
    """Linear layers on windows of 2x2 patches; the last ones on images, unless all are on windows."""

    def __init__(self, width: int = 8, *, only: bool = False) -> None:
        super().__init__()
        self.only = only
        self.patches, self.inside = nn.Conv2d(3, width, 4, 4), nn.Linear(width, width)
        self.outside, self.head = nn.Linear(width, width), nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unfold(2, 4, 4).unfold(3, 4, 4).mean((4, 5)) if self.only else self.patches(x)
        b, c, h, w = x.shape
        x = x.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(-1, 4, c)
        if self.only:
            return nn.functional.linear(x, self.inside.weight[:, :c]).reshape(b, -1)
        x = self.inside(x).relu().reshape(b, -1, c)
        out: Tensor = self.head(self.outside(x).relu().mean(1))
        return out


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(768, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 5))


def shown(*networks: nn.Module) -> list[NetworkStatistics]:
    found = []
    for network in networks:
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.normal_(0, 0.3, generator=generator)
        found.append(capture(network, IMAGES, seed=2, statistics=ALL_STATISTICS, targets=CLASSES, units="all"))
    return found


OF_EACH_LAYER = (
    "(sum_layers (spectral_score (correlation_kernel activation_input.data)))",
    "(max_layers (off_diagonal_mean_abs (gram_kernel convolution_input.data)))",
    "(mean_layers (trace (add (gram_kernel convolution_input.data) (gram_kernel activation_output.data))))",
    "(sum_layers (frobenius_norm weight_grad.noise))",
    "(mean_layers (multiply (mean weight) (log depth)))",
    "(add (max_layers distance_to_output) longest_path)",
    "mac_count",
)
OF_ALL_LAYERS = (
    "(trace (sum_layers (gram_kernel convolution_input.data)))",
    "(log_abs_determinant (sum_layers (agreement_kernel activation_output.noise)))",
    "(trace (mean_layers (add (gram_kernel convolution_input.data) (gram_kernel activation_output.data))))",
)
PROGRAMS = [parse(text) for text in (*OF_EACH_LAYER, *OF_ALL_LAYERS)]


def defined(networks: list[NetworkStatistics]) -> np.ndarray:
    outcomes = [[evaluate(program, network) for network in networks] for program in PROGRAMS]
    return np.array([[np.nan if isinstance(o, Invalid) else o for o in row] for row in outcomes])


def test_a_kernel_of_all_layers_is_a_reason_that_names_the_layer() -> None:
    (network,) = shown(Windows())
    for program in PROGRAMS[len(OF_EACH_LAYER) :]:
        outcome = evaluate(program, network)
        assert isinstance(outcome, Invalid)
        assert outcome.kind is FailureKind.UNFIT
        assert "unit 1 has 16 samples where unit 0 has 4 (a layer that sees windows" in outcome.detail
        assert outcome.at is not None
        assert program.nodes[outcome.at].name in ("sum_layers", "mean_layers")


def test_where_each_layer_has_a_number_the_network_has_one() -> None:
    (network,) = shown(Windows())
    for program in PROGRAMS[: len(OF_EACH_LAYER)]:
        assert isinstance(evaluate(program, network), float)


@pytest.mark.parametrize(
    "networks",
    [
        [Windows()],
        [Windows(), Windows(6)],
        [perceptron(), Windows(), Windows(6), perceptron()],
        [Windows(only=True), perceptron(), Windows()],
    ],
    ids=["alone", "alike", "in company", "of windows alone"],
)
@pytest.mark.parametrize("tile_bytes", [None, 1, 4096])
def test_the_population_has_the_values_of_the_definition(networks: list[nn.Module], tile_bytes: int | None) -> None:
    statistics = shown(*networks)
    expected = defined(statistics)
    assert np.isnan(expected).any()
    executor = ShardExecutor(pack(statistics), tile_bytes=tile_bytes)
    for _ in range(2):  # the second time from the cache
        found = executor.run(make_plan(PROGRAMS))
        assert np.allclose(np.where(np.isfinite(found), found, np.nan), expected, rtol=1e-4, equal_nan=True)


def test_weights_and_the_graph_of_layers_have_no_samples() -> None:
    names, networks = ("weight", "depth"), (Windows(), perceptron())
    statistics = [capture(network, IMAGES, seed=2, statistics=names, units="all") for network in networks]
    program = parse("(sum_layers (multiply depth (mean weight)))")
    found = ShardExecutor(pack(statistics)).run(make_plan([program]))
    assert found[0].tolist() == pytest.approx([evaluate(program, network) for network in statistics])


def test_networks_of_windows_alone_have_kernels_of_their_own_size() -> None:
    """One layer, 16 windows: by hand the trace of its kernel is the mean square of its inputs, window by window."""
    (network,) = shown(Windows(only=True))
    (layer,) = network.layers
    by_hand = layer["convolution_input.data"].flatten(1).square().mean(dim=1).sum()
    assert len(layer["convolution_input.data"]) == 16
    assert evaluate(PROGRAMS[len(OF_EACH_LAYER)], network) == pytest.approx(float(by_hand), rel=1e-5)


def test_some_networks_of_a_shard_are_a_shard() -> None:
    statistics = shown(perceptron(), Windows(), perceptron(), Windows(6))
    for networks in ([0, 2], [1, 3], [2], [0, 1, 2, 3]):
        found, expected = pack(statistics).of_networks(networks), pack([statistics[n] for n in networks])
        assert found.n_networks == expected.n_networks
        assert torch.equal(found.layer_network, expected.layer_network)
        assert torch.equal(found.layer_depth, expected.layer_depth)
        assert len(found.groups) == len(expected.groups)
        for group, reference in zip(found.groups, expected.groups, strict=True):
            assert torch.equal(group.rows, reference.rows)
            assert all(torch.equal(group.tensors[name], reference.tensors[name]) for name in reference.tensors)
        assert all(torch.equal(found.quantities[name], values) for name, values in expected.quantities.items())

"""NAS-Bench-201 cells: official order, closed forms, isomorphism and networks against published values."""

from __future__ import annotations

import itertools
import random

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from eznas.errors import ArchitectureError
from eznas.spaces import Architecture, CellSettings, build_network, nb201
from tests.eznas.spaces.sizes import check_sizes

FULL = nb201.FULL
REDUCED = nb201.Settings()
SETTINGS = (FULL, REDUCED, nb201.Settings(cells_per_stage=2, channels=6, n_classes=120),
            nb201.Settings(cells_per_stage=5, channels=1, n_classes=1))  # fmt: skip

# The largest, the empty one, the best of each data set, and a spread of ordinary cells.
SAMPLED = (0, 9, 11, 284, 1462, 1651, 3888, 6111, 857, 9930, 13714, 15624)

# index: parameters, MACs at 32x32 with 10 classes (records of the benchmark)
OFFICIAL_SIZES = {
    0: (129_306, 15_647_370),
    11: (802_426, 113_951_370),
    284: (101_306, 11_715_210),
    1462: (1_531_546, 220_119_690),
    6111: (1_073_466, 153_272_970),
    13714: (1_073_466, 153_272_970),
    9930: (1_288_506, 184_730_250),
    857: (858_426, 121_815_690),
    1651: (73_306, 7_783_050),
}


# Order and text form --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "text"),
    [
        (0, "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"),
        (9, "|avg_pool_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"),
        (1462, "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"),
        (1651, "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"),
        (6111, "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"),
        (9930, "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"),
    ],
)
def test_official_index(index: int, text: str) -> None:
    assert nb201.from_index(index) == Architecture("nb201", text)
    assert nb201.index_of(Architecture("nb201", text)) == index


def test_order_is_a_bijection() -> None:
    cells = nb201.all_architectures()
    assert len(cells) == len(set(cells)) == nb201.N_CELLS == 15_625
    assert [nb201.index_of(arch) for arch in cells] == list(range(15_625))


def test_order_leaves_the_global_generator_alone() -> None:
    nb201.all_architectures.cache_clear()
    state = random.getstate()
    nb201.all_architectures()
    assert random.getstate() == state


def test_text_and_operations_are_inverses() -> None:
    for arch in nb201.all_architectures()[::97]:
        assert nb201.architecture(nb201.operations(arch)) == nb201.architecture(arch.spec) == arch


def test_operations_follow_the_edges_of_the_text() -> None:
    arch = nb201.architecture("|none~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_3x3~0|avg_pool_3x3~1|none~2|")
    by_edge = dict(zip(nb201.EDGES, nb201.operations(arch), strict=True))
    assert by_edge == {
        (0, 1): "none",
        (0, 2): "skip_connect",
        (1, 2): "nor_conv_1x1",
        (0, 3): "nor_conv_3x3",
        (1, 3): "avg_pool_3x3",
        (2, 3): "none",
    }


# Isomorphism ----------------------------------------------------------------------------------------------------------


def test_number_of_distinct_functions() -> None:
    cells = nb201.all_architectures()
    official = {arch: nb201.canonical_function(arch) for arch in cells}
    reduced = {arch: nb201.reduced_function(arch) for arch in cells}
    assert len(set(official.values())) == 6_466
    assert len(set(reduced.values())) == 4_930
    # the reduced partition only ever merges official classes
    assert len(set(zip(official.values(), reduced.values(), strict=True))) == 6_466
    assert sum(map(nb201.is_zero, cells)) == 341


def test_cells_of_one_reduced_function_compute_it() -> None:
    """With one convolution, hence equal weights, all these cells must give the same output as the plain one."""
    plain = nb201.architecture("|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|")
    twins = [a for a in nb201.all_architectures() if nb201.reduced_function(a) == nb201.reduced_function(plain)]
    twins = [a for a in twins if sum(operation.startswith("nor_conv") for operation in nb201.operations(a)) == 1]
    assert len(twins) > 20
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    outputs = [build_network(arch, REDUCED, seed=5)(images) for arch in [plain, *twins[::9]]]
    for output in outputs[1:]:
        torch.testing.assert_close(output, outputs[0])


def test_zero_cells_ignore_their_input() -> None:
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for arch in nb201.all_architectures()[:600:5]:
        cell = nb201.Cell(nb201.operations(arch), 2)
        if nb201.is_zero(arch):
            for parameter in cell.parameters():
                nn.init.constant_(parameter, 0.3)
            cell.eval()  # batch statistics of a constant would hide a leak
            for norm in (m for m in cell.modules() if isinstance(m, nn.BatchNorm2d)):
                nn.init.zeros_(norm.bias)
            assert not cell(images[:, :2]).any(), arch


def test_levels_are_numbers_of_convolution_edges() -> None:
    assert [nb201.level(nb201.from_index(index)) for index in (1462, 1651, 0, 6111)] == [6, 0, 2, 5]


# Closed forms ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", OFFICIAL_SIZES)
def test_sizes_of_the_benchmark(index: int) -> None:
    arch = nb201.from_index(index)
    assert (nb201.parameter_count(arch, FULL), nb201.mac_count(arch, FULL, 32)) == OFFICIAL_SIZES[index]


def test_all_sizes_follow_the_published_closed_forms() -> None:
    imagenet = nb201.Settings(cells_per_stage=5, n_classes=120)
    counts = set()
    for arch in nb201.all_architectures():
        chosen = nb201.operations(arch)
        a, b = chosen.count("nor_conv_3x3"), chosen.count("nor_conv_1x1")
        counts.add(nb201.parameter_count(arch, FULL))
        assert nb201.parameter_count(arch, FULL) == 73_306 + 243_040 * a + 28_000 * b
        assert nb201.mac_count(arch, FULL, 32) == 7_783_050 + 35_389_440 * a + 3_932_160 * b
        assert nb201.mac_count(arch, imagenet, 16) == 1_953_400 + 8_847_360 * a + 983_040 * b
    assert len(counts) == 28
    assert (min(counts), max(counts)) == (73_306, 1_531_546)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("index", SAMPLED)
def test_built_networks_have_the_counted_size(index: int, settings: CellSettings) -> None:
    arch = nb201.from_index(index)
    network = nb201.allocate(arch, settings)
    assert sum(p.numel() for p in network.parameters()) == nb201.parameter_count(arch, settings)
    n_convolutions = sum(operation.startswith("nor_conv") for operation in nb201.operations(arch))
    n_relus = sum(isinstance(module, nn.ReLU) for module in network.modules())
    assert n_relus == 3 * settings.cells_per_stage * n_convolutions + 5  # 15 (a + b) + 5 in the benchmark


@pytest.mark.parametrize(("settings", "size"), [(FULL, 8), (REDUCED, 16), (SETTINGS[2], 12)], ids=str)
@pytest.mark.parametrize("index", [0, 11, 1462, 1651])
def test_counted_macs_are_performed(index: int, settings: CellSettings, size: int) -> None:
    check_sizes(nb201, nb201.from_index(index), settings, size)


# Networks -------------------------------------------------------------------------------------------------------------


def test_network_computes_the_published_definition() -> None:
    """The whole forward pass, written out once more with functional calls in evaluation mode."""
    arch = nb201.architecture("|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|")
    network = build_network(arch, REDUCED, seed=3).double().eval()
    weights = [p for p in network.parameters() if p.dim() == 4]
    functional = nn.functional
    scale = 1 / (1 + 1e-5) ** 0.5  # evaluation-mode batch normalisation at initialisation
    remaining = iter(weights)

    def convolution(x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        weight = next(remaining)
        return functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def unit(x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        return convolution(x.relu(), stride).mul(scale)

    images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    x = scale * convolution(images)
    for stage in range(3):
        if stage:
            main = unit(unit(x, stride=2))
            x = main + convolution(functional.avg_pool2d(x, 2))
        one = unit(x)
        two = functional.avg_pool2d(one, 3, stride=1, padding=1, count_include_pad=False)
        x = x + unit(one) + unit(two)
    assert next(remaining, None) is None
    pooled = (scale * x).relu().mean((2, 3))
    weight, bias = list(network.parameters())[-2:]
    torch.testing.assert_close(network(images), functional.linear(pooled, weight, bias))


def test_no_operation_writes_into_its_input() -> None:
    for operation in nb201.OPERATIONS:
        cell = nb201.Cell((operation,) * 6, 4)
        x = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
        before = x.clone()
        cell(x)
        assert torch.equal(x, before), operation


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "six edges of"),
        ("|none~0|", "six edges of"),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|none~1|", "six edges of"),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|", "six edges of"),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|" * 99, "six edges of"),
        ("|none~0|+|none~0|conv~1|+|none~0|none~1|none~2|", r"Edge 1->2 .* must hold one of none, .* holds 'conv'"),
        ("|none~0|+|none~0|~1|+|none~0|none~1|none~2|", "holds ''"),
    ],
)
def test_bad_text(text: str, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        nb201.architecture(text)
    with pytest.raises(ArchitectureError, match=message):
        nb201.index_of(Architecture("nb201", text))


def test_wrong_number_of_operations() -> None:
    with pytest.raises(ArchitectureError, match=r"has 6 operations, one per edge .* but 5 were given"):
        nb201.architecture(["none"] * 5)


def test_architecture_of_another_space() -> None:
    with pytest.raises(ArchitectureError, match=r"Expected an architecture of the search space 'nb201'.*is of 'sss'"):
        nb201.operations(Architecture("sss", "8:8:8:8:8"))


@pytest.mark.parametrize("index", [-1, 15_625])
def test_index_out_of_range(index: int) -> None:
    with pytest.raises(ArchitectureError, match=f"in 0..15624, but {index} was given"):
        nb201.from_index(index)


@pytest.mark.parametrize(
    ("field", "value"), list(itertools.product(("cells_per_stage", "channels", "n_classes"), (0, -1, 1.5, True, "5")))
)
def test_bad_settings(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=f"1 validation error for Settings\n{field}\n"):
        nb201.Settings.model_validate({field: value})


@pytest.mark.parametrize(("size", "message"), [(0, "use 16"), (30, "multiple of 4.*is 30; use 32")])
def test_bad_input_size(size: int, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        nb201.mac_count(nb201.from_index(0), FULL, size)

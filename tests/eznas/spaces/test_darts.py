"""DARTS cells: text forms, the sequence of cells, closed forms and networks against published values."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor, nn

from eznas.errors import ArchitectureError
from eznas.randomness import stream
from eznas.spaces import Architecture, CellSettings, build_network, darts
from eznas.spaces.cells import CellModule
from eznas.spaces.layers import FactorizedReduce
from tests.eznas.spaces.reference import rows
from tests.eznas.spaces.sizes import check_sizes

FULL = darts.FULL
SMALL = darts.Settings(channels=4)
FIRST_CODE = "(((0,0),(1,0),(0,0),(2,4),(1,2),(3,6),(3,1),(4,5)),((1,2),(0,6),(1,1),(2,0),(3,1),(2,5),(1,3),(4,6)))"
FIRST_TEXT = (
    "|max_pool_3x3~0|max_pool_3x3~1|+|max_pool_3x3~0|sep_conv_5x5~2|+|skip_connect~1|dil_conv_5x5~3|+"
    "|avg_pool_3x3~3|dil_conv_3x3~4|/|skip_connect~1|dil_conv_5x5~0|+|avg_pool_3x3~1|max_pool_3x3~2|+"
    "|avg_pool_3x3~3|dil_conv_3x3~2|+|sep_conv_3x3~1|dil_conv_5x5~4|"
)


def genotypes(operations: Sequence[str] = darts.OPERATIONS) -> st.SearchStrategy[darts.CellPair]:
    def edge(position: int) -> st.SearchStrategy[tuple[str, int]]:
        return st.tuples(st.sampled_from(operations), st.integers(0, position // 2 + 1))

    cell = st.tuples(*(edge(position) for position in range(8)))
    return st.builds(darts.CellPair, cell, cell)


def same(operation: str) -> Architecture:
    """The network whose every edge is one operation on an input of the cell."""
    cell = tuple((operation, position % 2) for position in range(8))
    return darts.architecture(darts.CellPair(cell, cell))


# Text forms -----------------------------------------------------------------------------------------------------------


def test_the_code_of_a_table_and_the_text() -> None:
    assert darts.from_code(FIRST_CODE) == darts.architecture(FIRST_TEXT) == Architecture("darts", FIRST_TEXT)


@given(genotypes())
def test_text_and_cells_and_code_are_one(cells: darts.CellPair) -> None:
    arch = darts.architecture(cells)
    assert darts.cell_pair(arch) == cells
    assert darts.architecture(arch.spec) == arch


@given(genotypes(darts.CODES), st.booleans())
def test_the_code_of_any_cells(cells: darts.CellPair, normalised: bool) -> None:
    code, text = [], []
    for cell in (cells.normal, cells.reduce):
        code.append(tuple((source, darts.CODES.index(operation)) for operation, source in cell))
        ends = ["_bn" if normalised and "pool" in operation else "" for operation, _ in cell]
        text.append(tuple((operation + end, source) for (operation, source), end in zip(cell, ends, strict=True)))
    assert darts.from_code(str(tuple(code)), normalised_pooling=normalised) == darts.architecture(darts.CellPair(*text))


# Drawing and changing -------------------------------------------------------------------------------------------------


def edges_of(arch: Architecture) -> list[darts.Edge]:
    cells = darts.cell_pair(arch)
    return [*cells.normal, *cells.reduce]


def test_drawn_cells_are_uniform_over_operations_and_pairs_of_nodes() -> None:
    drawn = [edges_of(arch) for arch in darts.sample(stream(1), 2_000)]
    operations = Counter(operation for edges in drawn for operation, _ in edges)
    assert set(operations) == set(darts.CODES)
    assert max(operations.values()) / min(operations.values()) < 1.1
    for node in range(4):
        for place in (2 * node, 8 + 2 * node):
            pairs = Counter((edges[place][1], edges[place + 1][1]) for edges in drawn)
            assert set(pairs) == set(itertools.combinations(range(node + 2), 2))
            assert max(pairs.values()) / min(pairs.values()) < 1.5


@given(genotypes(), st.integers(0, 99))
def test_an_edit_changes_one_edge_in_one_respect(cells: darts.CellPair, seed: int) -> None:
    arch = darts.architecture(cells)
    before, after = edges_of(arch), edges_of(darts.mutate(arch, stream(seed)))
    changed = [place for place in range(16) if before[place] != after[place]]
    assert len(changed) == 1
    (operation, source), (new_operation, new_source) = before[changed[0]], after[changed[0]]
    assert (operation == new_operation) != (source == new_source)
    if source != new_source:
        assert new_source != after[changed[0] ^ 1][1]


def test_edits_keep_poolings_normalised_and_reach_every_edge() -> None:
    arch, rng = darts.from_code(FIRST_CODE, normalised_pooling=True), stream(4)
    touched = set()
    for _ in range(400):
        after = darts.mutate(arch, rng)
        touched |= {place for place in range(16) if edges_of(arch)[place] != edges_of(after)[place]}
        arch = after
        assert all(operation not in ("max_pool_3x3", "avg_pool_3x3") for operation, _ in edges_of(arch))
    assert touched == set(range(16))


def test_levels_are_numbers_of_convolutions() -> None:
    assert darts.level(darts.architecture(FIRST_TEXT)) == FIRST_TEXT.count("conv_") == 7


# Sizes ----------------------------------------------------------------------------------------------------------------


def test_sizes_of_every_row_of_the_reference_table() -> None:
    table = rows("nb301_reference_scores.csv.gz")
    assert len(table) == 609
    for row in table:
        arch = darts.from_code(row["arch"])
        counted = darts.counts(arch, FULL, 32)
        assert counted.parameters == round(float(row["params"]) * 1e6), row["arch"]
        assert counted.macs + more_flops(arch) == round(float(row["flops"]) * 1e6), row["arch"]


def more_flops(arch: Architecture) -> int:
    """What the tool of NAS-Bench-Suite-Zero counts beside multiply-accumulates.

    For each value one that a ReLU reads, one that is normalised, two if that has parameters, nine that a pooling gives
    (with the normalisation after it ten), 81 that the last pooling gives; the bias of the classifier is left out.
    """
    total, size, width, first, second, follows = 2 * 96 * 32**2 + 81 * 512 - 10, 32, 32, 96, 96, False
    for position in range(8):
        reduces = position in (2, 5)
        edges = darts.cell_pair(arch).reduce if reduces else darts.cell_pair(arch).normal
        before, size, width = size, size // (1 + reduces), width * (1 + reduces)
        total += (first * (4 if follows else 1) + second + 4 * width) * before**2
        for operation, source in edges:
            is_strided = reduces and source < 2
            read, given_ = width * (before if is_strided else size) ** 2, width * size**2
            match operation.split("_")[0]:
                case "max" | "avg":
                    total += 10 * given_
                case "sep":
                    total += read + 3 * given_
                case "dil":
                    total += read + given_
                case _ if is_strided:
                    total += read + given_
        first, second, follows = second, 4 * width, reduces
    return total


def test_parameters_of_one_recorded_network() -> None:
    assert darts.counts(darts.from_code(FIRST_CODE), FULL, 32).parameters == 739_754


@pytest.mark.parametrize("operation", darts.OPERATIONS)
@pytest.mark.parametrize("settings", [FULL, SMALL, darts.Settings(cells_per_stage=3, channels=5, n_classes=7)], ids=str)
def test_built_networks_have_the_counted_sizes(operation: str, settings: CellSettings) -> None:
    check_sizes(darts, same(operation), settings, 8)


@hypothesis_settings(max_examples=25, deadline=None)
@given(genotypes())
def test_any_network_has_the_counted_sizes(cells: darts.CellPair) -> None:
    check_sizes(darts, darts.architecture(cells), SMALL, 12)


# Networks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_reductions_stand_at_a_third_and_two_thirds(n: int) -> None:
    network = darts.allocate(same("skip_connect"), darts.Settings(cells_per_stage=n, channels=4))
    halved = [
        position
        for position, cell in enumerate(module for module in network.modules() if isinstance(module, CellModule))
        if any(isinstance(edge, FactorizedReduce) for edge in cell.edges)
    ]
    n_cells = 3 * n + 2
    assert halved == [n_cells // 3, 2 * n_cells // 3]


def test_affine_normalisation_is_in_stem_and_preprocessing_alone() -> None:
    network = darts.allocate(darts.from_code(FIRST_CODE), FULL)
    affine = {name: m.affine for name, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert all(is_affine == (".edges." not in name) for name, is_affine in affine.items())
    assert sum(affine.values()) == 1 + 2 * 8
    assert not all(affine.values())
    assert not any(module.inplace for module in network.modules() if isinstance(module, nn.ReLU))


def test_normalised_pooling_has_unit_variance_and_no_parameters() -> None:
    arch = darts.from_code(FIRST_CODE, normalised_pooling=True)
    assert darts.counts(arch, FULL, 32) == darts.counts(darts.from_code(FIRST_CODE), FULL, 32)
    poolings = [
        module for module in build_network(arch, SMALL, seed=0).modules()
        if isinstance(module, nn.Sequential) and isinstance(module[0], (nn.MaxPool2d, nn.AvgPool2d))
    ]  # fmt: skip
    n_normal, n_reduce = (cell.count("pool") for cell in FIRST_TEXT.split("/"))
    assert len(poolings) == 3 * n_normal + 2 * n_reduce
    for pooling in poolings:
        images = torch.randn(8, pooling[1].num_features, 8, 8, generator=torch.Generator().manual_seed(1))
        assert pooling(images).std(dim=(0, 2, 3), correction=0).sub(1).abs().max() < 1e-3


@pytest.mark.parametrize("normalised", [False, True])
def test_network_computes_the_published_definition(normalised: bool) -> None:
    """A forward pass written out once more with functional calls, in evaluation mode."""
    arch = darts.from_code(FIRST_CODE, normalised_pooling=normalised)
    network = build_network(arch, SMALL, seed=3).double().eval()
    remaining = iter(parameter for parameter in network.parameters() if parameter.dim() == 4)
    scale = 1 / (1 + 1e-5) ** 0.5  # evaluation-mode batch normalisation at initialisation
    after_pooling = scale if normalised else 1

    def convolution(x: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
        weight = next(remaining)
        padding = dilation * (weight.shape[-1] // 2)
        groups = x.shape[1] // weight.shape[1]
        return F.conv2d(x, weight, stride=stride, padding=padding, dilation=dilation, groups=groups)

    def halve(x: Tensor) -> Tensor:
        x = x.relu()
        return scale * torch.cat([convolution(x, 2), convolution(x[:, :, 1:, 1:], 2)], dim=1)

    def apply(operation: str, x: Tensor, stride: int) -> Tensor:
        match operation.split("_")[0]:
            case "max":
                return after_pooling * F.max_pool2d(x, 3, stride, padding=1)
            case "avg":
                return after_pooling * F.avg_pool2d(x, 3, stride, padding=1, count_include_pad=False)
            case "skip":
                return halve(x) if stride == 2 else x
            case "sep":
                first = scale * convolution(convolution(x.relu(), stride))
                return scale * convolution(convolution(first.relu()))
            case _:
                return scale * convolution(convolution(x.relu(), stride, dilation=2))

    images = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1)).double()
    before = last = scale * convolution(images)
    follows = False
    for position in range(5):
        reduces = position in (1, 3)
        edges = darts.cell_pair(arch).reduce if reduces else darts.cell_pair(arch).normal
        nodes = [halve(before) if follows else scale * convolution(before.relu())]
        nodes.append(scale * convolution(last.relu()))
        for node in range(4):
            addends = [
                apply(operation, nodes[source], 2 if reduces and source < 2 else 1)
                for operation, source in edges[2 * node : 2 * node + 2]
            ]
            nodes.append(addends[0] + addends[1])
        before, last, follows = last, torch.cat(nodes[2:], dim=1), reduces
    assert next(remaining, None) is None
    weight, bias = list(network.parameters())[-2:]
    torch.testing.assert_close(network(images), F.linear(last.mean((2, 3)), weight, bias))


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "normal and the reduction cell"),
        ("__import__('os')", "normal and the reduction cell"),
        (FIRST_TEXT.partition("/")[0], "normal and the reduction cell"),
        (FIRST_TEXT + "/", "normal and the reduction cell"),
        (FIRST_TEXT.replace("|+|skip_connect~1|dil_conv_5x5~3", ""), "two operations for each of 4 nodes"),
        (FIRST_TEXT * 30, "normal and the reduction cell"),
        (FIRST_TEXT.replace("sep_conv_5x5~2", "warp~2"), "Node 3 of the normal cell .* but it has warp~2"),
        (FIRST_TEXT.replace("max_pool_3x3~2", "max_pool_3x3~3"), "Node 3 of the reduction cell .* 0 to 2, but it has"),
        (FIRST_TEXT.replace("sep_conv_5x5~2", "none~2"), "but it has none~2"),
    ],
)  # fmt: skip
def test_bad_text(text: str, message: str) -> None:
    for refuse in (darts.architecture, lambda spec: darts.allocate(Architecture("darts", spec), SMALL)):
        with pytest.raises(ArchitectureError, match=message) as caught:
            refuse(text)
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "code", ["", "((),())", FIRST_CODE[:-1], FIRST_CODE.replace("(3,6)", "(3,7)"), "x" * 5_000,
             FIRST_CODE.replace("(3,6)", "(3,__import__('os'))")],
)  # fmt: skip
def test_bad_code(code: str) -> None:
    with pytest.raises(ArchitectureError, match="Expected a NAS-Bench-301 code"):
        darts.from_code(code)


def test_a_code_that_reads_a_later_node() -> None:
    with pytest.raises(ArchitectureError, match=r"Node 2 of the normal cell .* 0 to 1, but it has max_pool_3x3~5"):
        darts.from_code(FIRST_CODE.replace("(1,0)", "(5,0)", 1))


def test_architecture_of_another_space() -> None:
    with pytest.raises(ArchitectureError, match=r"Expected an architecture of the search space 'darts'.*is of 'nb101'"):
        darts.cell_pair(Architecture("nb101", "x"))


def test_bad_input_size() -> None:
    with pytest.raises(ArchitectureError, match=r"of a DARTS network must be a multiple of 4, .*it is 30; use 32"):
        darts.counts(same("skip_connect"), SMALL, 30)

"""NAS-Bench-101 cells: text forms, pruning, channels, closed forms and networks against published values."""

from __future__ import annotations

import contextlib
import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from eznas.errors import ArchitectureError
from eznas.randomness import stream
from eznas.spaces import Architecture, CellSettings, build_network, nb101
from tests.eznas.spaces.reference import rows
from tests.eznas.spaces.sizes import check_sizes

FULL = nb101.FULL
SMALL = nb101.Settings(channels=8)
SETTINGS = (FULL, SMALL, nb101.Settings(cells_per_stage=2, channels=13, n_classes=7))

DOCUMENTED = "0111010.0000001.0000001.0000100.0000001.0000001.0000000:conv1x1,conv3x3,conv3x3,conv3x3,maxpool3x3"
RECORDED = "0100110.0010000.0001001.0000010.0000010.0000001.0000000:conv3x3,maxpool3x3,conv3x3,conv3x3,conv1x1"
SAMPLED = (
    DOCUMENTED, RECORDED, "01.00:", "011.001.000:maxpool3x3",
    "0110.0011.0001.0000:conv3x3,maxpool3x3",
    "0111110.0000001.0000001.0000001.0000001.0000000.0000000:conv3x3,conv1x1,maxpool3x3,conv3x3,conv1x1",
)  # fmt: skip


@st.composite
def cells(draw: st.DrawFn) -> str:
    """Texts of graphs with a path from input to output, some of their vertices on none."""
    n = draw(st.integers(2, nb101.MAX_VERTICES))
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    inner = draw(st.lists(st.integers(1, max(1, n - 2)), unique=True, max_size=n - 2)) if n > 2 else []
    path = [0, *sorted(inner), n - 1]
    edges = set(itertools.pairwise(path))
    room = nb101.MAX_EDGES - len(edges)
    edges |= set(draw(st.lists(st.sampled_from(pairs), max_size=room)))
    matrix = ".".join("".join(str(int((i, j) in edges)) for j in range(n)) for i in range(n))
    names = draw(st.lists(st.sampled_from(nb101.OPERATIONS), min_size=n - 2, max_size=n - 2))
    return f"{matrix}:{','.join(names)}"


# Text forms -----------------------------------------------------------------------------------------------------------


@given(cells())
def test_text_graph_and_code_are_one(text: str) -> None:
    arch = nb101.architecture(text)
    graph = nb101.graph(arch)
    assert arch == nb101.architecture(graph) == Architecture("nb101", text)
    digits = {"maxpool3x3": 2, "conv1x1": 3, "conv3x3": 4}
    entries = [int(entry) for row in graph.matrix for entry in row]
    code = [*entries, 0, *(digits[name] for name in graph.operations), 1]
    assert nb101.from_code(f"({','.join(map(str, code))})") == nb101.from_code(str(tuple(code))) == arch


@given(cells())
def test_pruning_keeps_what_lies_on_a_path(text: str) -> None:
    pruned = nb101.graph(nb101.architecture(text)).pruned()
    assert pruned.pruned() == pruned
    last = pruned.n_vertices - 1
    for vertex in range(1, last):
        assert any(pruned.matrix[source][vertex] for source in range(vertex))
        assert any(pruned.matrix[vertex][target] for target in range(vertex + 1, last + 1))


def test_dead_vertices_do_not_count() -> None:
    dead = nb101.architecture("0101.0010.0000.0000:conv3x3,conv1x1")
    assert nb101.graph(dead).pruned() == nb101.graph(nb101.architecture("01.00:"))
    assert nb101.parameter_count(dead) == nb101.parameter_count(nb101.architecture("01.00:")) == 882_570


@given(cells(), st.integers(7, 40))
def test_channels_of_vertices(text: str, out: int) -> None:
    graph = nb101.graph(nb101.architecture(text)).pruned()
    *inner, last = graph.channels(out)
    assert last == out
    feeding = [width for vertex, width in enumerate(inner, start=1) if graph.matrix[vertex][-1]]
    assert not feeding or sum(feeding) == out
    assert feeding == sorted(feeding, reverse=True)
    for source, width in enumerate(inner, start=1):
        for target in range(source + 1, len(inner) + 1):
            if graph.matrix[source][target]:
                assert width >= inner[target - 1] or graph.matrix[source][-1]


def test_channels_that_do_not_divide_go_to_the_first() -> None:
    graph = nb101.graph(nb101.architecture("01110.00001.00001.00001.00000:conv1x1,conv1x1,conv1x1"))
    assert graph.channels(128) == (43, 43, 42, 128)


# Drawing and changing -------------------------------------------------------------------------------------------------


def test_matrices_to_draw_from_are_those_of_pruned_cells() -> None:
    """Counted once more, one matrix at a time."""
    for n in range(2, 6):
        pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
        count = 0
        for bits in itertools.product((False, True), repeat=len(pairs)):
            edges = dict(zip(pairs, bits, strict=True))
            matrix = tuple(tuple(edges.get((i, j), False) for j in range(n)) for i in range(n))
            with contextlib.suppress(ArchitectureError):
                cell = nb101.Graph(matrix, ("conv3x3",) * (n - 2))
                count += cell == cell.pruned()
        assert count == len(nb101._pruned_matrices(n))


def test_drawn_cells_are_pruned_and_distinct() -> None:
    drawn = nb101.sample(stream(3), 400)
    assert len({nb101.function(arch) for arch in drawn}) == 400
    assert all(nb101.graph(arch) == nb101.graph(arch).pruned() for arch in drawn)
    sizes = [nb101.graph(arch).n_vertices for arch in drawn]
    n_numbered = {5: 121 * 3**3, 6: 1_545 * 3**4, 7: 4_793 * 3**5}
    assert sizes.count(7) / 400 == pytest.approx(n_numbered[7] / sum(n_numbered.values()), abs=0.05)


@hypothesis_settings(deadline=None)
@given(cells())
def test_neighbours_differ_by_one_edit(text: str) -> None:
    """An operation, an edge, or a vertex; what an edit cuts off is pruned, so edges alone may go by the number."""
    cell = nb101.graph(nb101.architecture(text)).pruned()
    near = nb101.neighbours(nb101.architecture(text))
    functions = {nb101.function(arch) for arch in near}
    assert len(functions) == len(near)
    assert nb101.function(nb101.architecture(text)) not in functions
    n_edges = sum(map(sum, cell.matrix))
    for arch in near:
        other = nb101.graph(arch)
        assert other == other.pruned()
        assert other.n_vertices <= cell.n_vertices + 1
        assert sum(map(sum, other.matrix)) <= n_edges + 1
        if other.matrix == cell.matrix:
            assert sum(a != b for a, b in zip(other.operations, cell.operations, strict=True)) == 1


def test_edits_lead_back_and_anywhere() -> None:
    """From a small cell to each of its neighbours and back; in 200 edits, to cells of many sizes."""
    for text in ("01.00:", "010.001.000:conv3x3"):
        cell = nb101.architecture(text)
        for arch in nb101.neighbours(cell):
            assert nb101.function(cell) in {nb101.function(other) for other in nb101.neighbours(arch)}, arch
    rng, sizes = stream(0), set()
    for _ in range(200):
        cell = nb101.mutate(cell, rng)
        sizes.add(nb101.graph(cell).n_vertices)
    assert sizes >= {4, 5, 6, 7}


def test_levels_are_numbers_of_convolutions() -> None:
    levels = [nb101.level(nb101.architecture(text)) for text in SAMPLED]
    assert levels == [4, 4, 0, 0, 1, 3]  # of the last one more is pruned


# Sizes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "count"), [(DOCUMENTED, 2_694_282), (RECORDED, 8_555_530)])
def test_published_parameter_counts(text: str, count: int) -> None:
    arch = nb101.architecture(text)
    assert nb101.parameter_count(arch) == count
    assert sum(p.numel() for p in nb101.allocate(arch, FULL).parameters()) == count


def test_sizes_of_every_row_of_the_reference_table() -> None:
    table = rows("nb101_reference_scores.csv.gz")
    assert len(table) == 250
    for row in table:
        arch = nb101.from_code(row["arch"])
        counted = nb101.counts(arch, FULL, 32)
        assert counted.parameters == round(float(row["params"]) * 1e6), row["arch"]
        assert counted.macs + more_flops(arch) == round(float(row["flops"]) * 1e6), row["arch"]


def more_flops(arch: Architecture) -> int:
    """What the tool of NAS-Bench-Suite-Zero counts beside multiply-accumulates.

    Three for each value that a convolution gives (normalisation and ReLU), nine for each that a pooling gives, four
    between the stacks; the bias of the classifier is left out.
    """
    cell = nb101.graph(arch).pruned()
    total = 3 * 128 * 32**2 - 10
    for width, size in ((128, 32), (256, 16), (512, 8)):
        channels = cell.channels(width)
        convolved = sum(width_ for vertex, width_ in enumerate(channels, start=1) if cell.matrix[0][vertex])
        of_operation = {True: 0, False: 0}
        for name, width_ in zip(cell.operations, channels, strict=False):
            of_operation[name == "maxpool3x3"] += width_
        total += 3 * size**2 * (3 * (convolved + of_operation[False]) + 9 * of_operation[True])
        total += 4 * (width // 2) * size**2 * (size < 32)
    return total


def test_parameters_of_every_row_of_the_large_table() -> None:
    table = rows("nb101.csv.gz")
    assert len(table) == 20_001
    for row in table:
        arch = nb101.architecture(f"{row['n_vertices']},{row['adj_rowmajor']},{row['ops_interior']}")
        assert nb101.parameter_count(arch) == int(row["params"]), row


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("text", SAMPLED)
def test_built_networks_have_the_counted_sizes(text: str, settings: CellSettings) -> None:
    check_sizes(nb101, nb101.architecture(text), settings, 8)


@hypothesis_settings(max_examples=40, deadline=None)
@given(cells())
def test_any_network_has_the_counted_sizes(text: str) -> None:
    check_sizes(nb101, nb101.architecture(text), SETTINGS[2], 12)


# Networks -------------------------------------------------------------------------------------------------------------


def test_network_computes_the_published_definition() -> None:
    """A forward pass written out once more, with a truncated vertex, a concatenation and an edge input to output."""
    text = "01101.00110.00001.00001.00000:conv3x3,maxpool3x3,conv1x1"  # vertex 1 has 4 channels, 2 and 3 have 4 and 3
    settings = nb101.Settings(channels=7)
    network = build_network(nb101.architecture(text), settings, seed=3).double().eval()
    assert next(module.channels for module in network.modules() if isinstance(module, nb101.Cell)) == (4, 4, 3, 7)
    by_name = dict(network.named_parameters())
    scale = 1 / (1 + 1e-5) ** 0.5  # evaluation-mode batch normalisation at initialisation

    def unit(x: Tensor, name: str) -> Tensor:
        weight = by_name[f"{name}.0.weight"]
        return (scale * F.conv2d(x, weight, padding=weight.shape[-1] // 2)).relu()

    images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    x = unit(images, "stem")
    for position in (0, 2, 4):
        if position:
            x = F.max_pool2d(x, 2)
        cell = f"blocks.{position}"
        one = unit(unit(x, f"{cell}.projections.1"), f"{cell}.operations.0")
        two = F.max_pool2d(one + unit(x, f"{cell}.projections.2"), 3, stride=1, padding=1)
        three = unit(one[:, : (3, 7, 14)[position // 2]], f"{cell}.operations.2")
        x = torch.cat([two, three], dim=1) + unit(x, f"{cell}.projections.4")
    logits = F.linear(x.mean((2, 3)), by_name["classifier.weight"], by_name["classifier.bias"])
    torch.testing.assert_close(network(images), logits)


def test_no_vertex_writes_into_its_input() -> None:
    for text in SAMPLED:
        cell = nb101.Cell(nb101.graph(nb101.architecture(text)).pruned(), 6, 8)
        x = torch.randn(2, 6, 4, 4, generator=torch.Generator().manual_seed(0))
        before = x.clone()
        cell(x)
        assert torch.equal(x, before), text


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "in the form"),
        ("01.00", "in the form"),
        ("__import__('os')", "in the form"),
        ("0110.0010.0001.0000:" + "conv3x3," * 9_999, "in the form"),
        ("010.00.000:conv3x3", r"rows have lengths \[3, 2, 3\]"),
        ("0:", "2 to 7 vertices"),
        (".".join(["0" * 8] * 8) + ":", "2 to 7 vertices"),
        ("010.011.000:conv3x3", "on or below the diagonal"),
        ("010.001.100:conv3x3", "on or below the diagonal"),
        ("010.001.000:conv5x5", "has 1 operations out of maxpool3x3, conv1x1, conv3x3, but it has conv5x5"),
        ("010.001.000:", "but it has none; name one for each inner vertex"),
        ("010.000.000:conv3x3", "must be reached from its input"),
        ("00.00:", "must be reached from its input"),
        ("01111.00111.00011.00001.00000:conv3x3,conv3x3,conv3x3", "at most 9 edges .* has 10"),
    ],
)
def test_bad_text(text: str, message: str) -> None:
    for refuse in (nb101.architecture, lambda spec: nb101.allocate(Architecture("nb101", spec), SMALL)):
        with pytest.raises(ArchitectureError, match=message) as caught:
            refuse(text)
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "code", ["", "()", "(0,1,0,0,0)", "(0,1,0,0,1,0)", "(0,2,0,0,0,1)", "(0,1,0,0,0,1,1)",
             "(0,1,0,0,0,1,0,0,0,0,9,1)", "(0,1,0,0,0,__import__('os'))", "(0,-1,0,0,0,1)"],
)  # fmt: skip
def test_bad_code(code: str) -> None:
    with pytest.raises(ArchitectureError, match="Expected a NAS-Bench-101 code"):
        nb101.from_code(code)


def test_architecture_of_another_space() -> None:
    with pytest.raises(ArchitectureError, match=r"Expected an architecture of the search space 'nb101'.*is of 'darts'"):
        nb101.graph(Architecture("darts", "x"))


def test_settings_that_are_too_narrow() -> None:
    arch = nb101.architecture("0110.0001.0001.0000:conv3x3,conv1x1")
    with pytest.raises(
        ArchitectureError, match=r"^2 vertices of .* share 1 channels, .* set networks.channels to 2 or more"
    ):
        nb101.allocate(arch, nb101.Settings(channels=1))


def test_bad_input_size() -> None:
    with pytest.raises(
        ArchitectureError, match=r"of a NAS-Bench-101 network must be a multiple of 4.*it is 30; use 32"
    ):
        nb101.mac_count(nb101.architecture("01.00:"), SMALL, 30)

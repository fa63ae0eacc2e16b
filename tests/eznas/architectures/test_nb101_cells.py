"""NAS-Bench-101: cells, closed-form sizes and networks against the benchmark's own figures."""

from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from eznas.architectures import Architecture, Skeleton, build_network, nb101, networks_named
from eznas.errors import ArchitectureError

DOCUMENTED = "0111010.0000001.0000001.0000100.0000001.0000001.0000000:conv1x1,conv3x3,conv3x3,conv3x3,maxpool3x3"
"""The cell of the benchmark's documentation."""
RECORDED = "0100110.0010000.0001001.0000010.0000010.0000001.0000000:conv3x3,maxpool3x3,conv3x3,conv3x3,conv1x1"
SMALL = Skeleton(cells_per_stage=1, channels=6, n_classes=4)


@pytest.mark.parametrize(("text", "n_parameters"), [(DOCUMENTED, 2_694_282), (RECORDED, 8_555_530)])
def test_parameters_are_those_of_the_benchmark(text: str, n_parameters: int) -> None:
    arch = nb101.architecture(text)
    assert nb101.parameter_count(arch) == n_parameters
    network = nb101.allocate(arch, nb101.FULL_SKELETON)
    assert sum(parameter.numel() for parameter in network.parameters()) == n_parameters


@pytest.mark.skipif("EZNAS_DATA" not in os.environ, reason="EZNAS_DATA is not set")
def test_parameters_are_exact_on_every_row_of_the_reference() -> None:
    path = Path(os.environ["EZNAS_DATA"]) / "nb101_reference_scores.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 250
    for row in rows:
        arch = nb101.from_code(row["arch"])
        assert nb101.architecture(arch.spec) == arch
        assert nb101.parameter_count(arch) == round(float(row["params"]) * 1e6)


@st.composite
def cells(draw: st.DrawFn) -> Architecture:
    """Any cell of the space."""
    n = draw(st.integers(2, nb101.MAX_VERTICES))
    operations = tuple(draw(st.sampled_from(nb101.OPERATIONS)) for _ in range(n - 2))
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    edges = set(draw(st.lists(st.sampled_from(pairs), max_size=nb101.MAX_EDGES - 1)))
    if not _reaches(n, edges):
        edges = {*list(edges)[: nb101.MAX_EDGES - 1], (0, n - 1)}
    matrix = tuple(tuple((i, j) in edges for j in range(n)) for i in range(n))
    return nb101.architecture(nb101.Graph(matrix, operations))


def _reaches(n: int, edges: set[tuple[int, int]]) -> bool:
    reached = {0}
    for i, j in sorted(edges):
        if i in reached:
            reached.add(j)
    return n - 1 in reached


@settings(max_examples=40, deadline=None)
@given(cells())
def test_every_cell_is_a_network_of_the_size_in_closed_form(arch: Architecture) -> None:
    assert nb101.architecture(arch.spec) == arch
    network = build_network(arch, SMALL, scheme="default", seed=1)
    assert sum(p.numel() for p in network.parameters()) == nb101.parameter_count(arch, SMALL)
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    logits = network(images)
    assert logits.shape == (2, 4)
    assert logits.isfinite().all()
    assert torch.equal(logits, build_network(arch, SMALL, scheme="default", seed=1)(images))


@settings(max_examples=40, deadline=None)
@given(cells())
def test_pruning_changes_nothing_and_channels_fit(arch: Architecture) -> None:
    cell = nb101.graph(arch).pruned()
    assert cell.pruned() == cell
    assert nb101.parameter_count(nb101.architecture(cell), SMALL) == nb101.parameter_count(arch, SMALL)
    channels, last = cell.channels(31), cell.n_vertices - 1
    feeding = [channels[v - 1] for v in range(1, last) if cell.matrix[v][last]]
    assert not feeding or sum(feeding) == 31
    for source in range(1, last):
        for target in range(source + 1, last):
            if cell.matrix[source][target]:
                assert channels[source - 1] - channels[target - 1] >= 0  # never too narrow to be read


def test_a_cell_by_hand() -> None:
    """Input to a pooling and to the output; the pooling to the output: two projections and their sum."""
    torch.manual_seed(0)
    cell = nb101.Cell(nb101.graph(nb101.architecture("011.001.000:maxpool3x3")), 3, 5)
    for parameter in cell.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 3, 6, 6)
    pooled = nn.functional.max_pool2d(cell.projections["1"](x), 3, 1, 1)
    torch.testing.assert_close(cell(x), pooled + cell.projections["2"](x))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", r"Expected a NAS-Bench-101 cell in the form '0110.*', but got 'nonsense'"),
        ("01.0:", r"square matrix of 2 to 7 vertices, but its rows have lengths \[2, 1\]"),
        ("01.10:", r"an entry on or below the diagonal; order the vertices"),
        ("010.000.000:conv1x1", r"must be reached from its input, but no path"),
        ("011.001.000:conv5x5", r"has 1 operations out of maxpool3x3, conv1x1, conv3x3, but it has conv5x5"),
        ("011.001.000:", r"has 1 operations out of .*, but it has none"),
        (
            "01111.00111.00011.00001.00000:conv1x1,conv1x1,conv1x1",
            r"at most 9 edges on paths from its input to its output, but this one has 10",
        ),
        ("0" * 300, r"Expected a NAS-Bench-101 cell"),
    ],
)
def test_what_is_no_cell_is_refused_in_a_sentence(text: str, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        nb101.architecture(text)


@pytest.mark.parametrize("code", ["", "(0,1)", "(0,1,0,0,0,2)", "(0,x,0,0,0,1)", "__import__('os')", "(0,1,0,0,0,1,1)"])
def test_what_is_no_code_is_refused_in_a_sentence(code: str) -> None:
    with pytest.raises(ArchitectureError, match=r"Expected a NAS-Bench-101 code"):
        nb101.from_code(code)


def test_architectures_of_other_spaces_are_refused() -> None:
    with pytest.raises(ArchitectureError, match=r"of the search space 'nb101', but 'x' is of 'nb201'"):
        nb101.graph(Architecture("nb201", "x"))


def test_a_specification_names_several() -> None:
    assert networks_named(f"nb101:{DOCUMENTED};{RECORDED};{DOCUMENTED}") == (
        nb101.architecture(DOCUMENTED), nb101.architecture(RECORDED),
    )  # fmt: skip


def test_more_vertices_than_channels_are_refused_in_a_sentence() -> None:
    cell = nb101.architecture("01110.00001.00001.00001.00000:conv3x3,conv3x3,conv3x3")
    with pytest.raises(ArchitectureError, match=r"3 vertices of this .* cell share 2 channels.* to 3 or more"):
        build_network(cell, Skeleton(channels=2), seed=0)

"""DARTS cells: text, closed-form sizes and networks against the figures of NAS-Bench-301's tables."""

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

from eznas.architectures import Architecture, Skeleton, build_network, darts, networks_named
from eznas.errors import ArchitectureError

CODE = "(((0,0),(1,0),(0,0),(2,4),(1,2),(3,6),(3,1),(4,5)),((1,2),(0,6),(1,1),(2,0),(3,1),(2,5),(1,3),(4,6)))"
SPEC = darts.from_code(CODE).spec
SMALL = Skeleton(cells_per_stage=1, channels=4, n_classes=5)


def test_a_code_and_a_text_are_one_architecture() -> None:
    arch = darts.from_code(CODE)
    assert arch.spec.startswith("|max_pool_3x3~0|max_pool_3x3~1|+|max_pool_3x3~0|sep_conv_5x5~2|+")
    assert "/|skip_connect~1|dil_conv_5x5~0|+" in arch.spec
    assert darts.architecture(arch.spec) == arch
    assert darts.parameter_count(arch) == 739_754  # as recorded
    assert networks_named(f"darts:{arch.spec};{arch.spec}") == (arch,)


@pytest.mark.skipif("EZNAS_DATA" not in os.environ, reason="EZNAS_DATA is not set")
def test_parameters_are_exact_on_every_row_of_the_reference() -> None:
    path = Path(os.environ["EZNAS_DATA"]) / "nb301_reference_scores.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 609
    for row in rows:
        assert darts.parameter_count(darts.from_code(row["arch"])) == round(float(row["params"]) * 1e6)


def edges() -> st.SearchStrategy[tuple[darts.Edge, ...]]:
    """The eight edges of a cell."""
    return st.tuples(
        *(st.tuples(st.sampled_from(darts.OPERATIONS), st.integers(0, n // 2 + 1)) for n in range(2 * darts.N_NODES))
    )


@settings(max_examples=25, deadline=None)
@given(edges(), edges())
def test_every_pair_of_cells_is_a_network_of_the_size_in_closed_form(
    normal: tuple[darts.Edge, ...], reduce: tuple[darts.Edge, ...]
) -> None:
    arch = darts.architecture(darts.CellPair(normal, reduce))
    assert darts.architecture(arch.spec) == arch
    assert darts.cell_pair(arch) == darts.CellPair(normal, reduce)
    network = build_network(arch, SMALL, scheme="default", seed=1)
    assert sum(p.numel() for p in network.parameters()) == darts.parameter_count(arch, SMALL)
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    logits = network(images)
    assert logits.shape == (2, 5)
    assert logits.isfinite().all()


def test_two_of_eight_cells_reduce_after_a_third_and_two_thirds() -> None:
    network = darts.allocate(darts.from_code(CODE), darts.FULL_SKELETON)
    widths = []
    for block in network.get_submodule("blocks"):
        block.register_forward_hook(lambda module, arguments, output: widths.append(tuple(output.shape[1:3])))
    network(torch.zeros(2, 3, 32, 32))
    assert widths == [(128, 32)] * 2 + [(256, 16)] * 3 + [(512, 8)] * 3


def test_only_the_stem_and_the_inputs_of_cells_have_affine_normalisation() -> None:
    network = darts.allocate(darts.from_code(CODE), darts.FULL_SKELETON)
    affine = [name for name, m in network.named_modules() if isinstance(m, nn.BatchNorm2d) and m.affine]
    assert all(name.startswith("stem") or ".first" in name or ".second" in name for name in affine)
    assert len(affine) == 1 + 2 * 8


def test_a_factorised_reduction_reads_even_and_odd_places() -> None:
    torch.manual_seed(0)
    block = darts.FactorizedReduce(2, 4, affine=False).eval()
    for parameter in block.parameters():
        nn.init.ones_(parameter)
    x = torch.rand(1, 2, 4, 4)
    total = x.sum(dim=1)
    expected = torch.stack([total[:, ::2, ::2]] * 2 + [total[:, 1::2, 1::2]] * 2, dim=1)
    torch.testing.assert_close(block(x), expected / (1 + 1e-5) ** 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", r"Expected the normal and the reduction cell of a DARTS network in the form"),
        ("|skip_connect~0|skip_connect~1|/|skip_connect~0|skip_connect~1|", r"two operations for each of 4 nodes"),
        (SPEC.replace("sep_conv_5x5~2", "sep_conv_5x5~3"), r"Node 3 of the normal cell .* 0 to 2"),
        (SPEC.replace("sep_conv_5x5", "conv_5x5"), r"applies one of max_pool_3x3, .*conv_5x5~2"),
    ],
)
def test_what_is_no_pair_of_cells_is_refused_in_a_sentence(text: str, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        darts.architecture(text)


@pytest.mark.parametrize("code", ["", "((", CODE[:-1], CODE.replace("(4,6)", "(4,7)"), "__import__('os').system('x')"])
def test_what_is_no_code_is_refused_in_a_sentence(code: str) -> None:
    with pytest.raises(ArchitectureError, match=r"Expected a NAS-Bench-301 code"):
        darts.from_code(code)


def test_architectures_of_other_spaces_are_refused() -> None:
    with pytest.raises(ArchitectureError, match=r"of the search space 'darts', but 'x' is of 'nb201'"):
        darts.cell_pair(Architecture("nb201", "x"))

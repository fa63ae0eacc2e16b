"""The size space of NATS-Bench: official order, recorded sizes, forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eznas.errors import ArchitectureError
from eznas.spaces import Architecture, build_network, networks_named, sss


@pytest.mark.parametrize(
    ("index", "spec", "parameters", "macs"),
    [
        (0, "8:8:8:8:8", 11_714, 4_481_114),
        (11, "8:8:8:16:32", 49_202, 6_840_650),
        (284, "8:8:40:32:40", 144_834, 21_827_994),
    ],
)
def test_the_benchmarks_records(index: int, spec: str, parameters: int, macs: int) -> None:
    (arch,) = networks_named(f"sss:{index}")
    assert (arch.spec, sss.index_of(arch)) == (spec, index)
    counts = sss.counts(arch, sss.FULL, 32)
    assert (counts.parameters, counts.macs) == (parameters, macs)


def test_indices_and_texts_name_each_network_once() -> None:
    archs = networks_named("sss:all")
    assert len(set(archs)) == len(archs) == sss.N_NETWORKS == 32_768
    assert [sss.index_of(arch) for arch in archs[::1_111]] == [*range(0, 32_768, 1_111)]
    assert networks_named("sss: 8:16: 24:32:64 ;8:16:24:32:64; 0-1") == (
        Architecture("sss", "8:16:24:32:64"),
        *archs[:2],
    )


def test_a_mutation_changes_one_width() -> None:
    rng = np.random.default_rng(0)
    arch = sss.architecture("8:16:24:32:64")
    found = [sss.widths(sss.mutate(arch, rng)) for _ in range(400)]
    changes = [[place for place in range(5) if new[place] != sss.widths(arch)[place]] for new in found]
    assert all(len(places) == 1 for places in changes)
    assert len(set(found)) == 35  # five layers, seven other widths


def test_equal_widths_need_no_convolution_on_the_shortcut() -> None:
    network = build_network(sss.architecture("8:8:8:16:32"), sss.FULL, seed=0)
    shortcuts = [type(cell.input_3) for cell in network.modules() if isinstance(cell, sss.Cell)]
    assert [kind is torch.nn.Identity for kind in shortcuts] == [True, True, False]


@pytest.mark.parametrize("spec", ["sss:8:16:24:32", "sss:32768", "sss:3-2", "sss:8:16:24:32:72", "sss:a", "sss:"])
def test_what_is_no_network_of_it_is_refused(spec: str) -> None:
    with pytest.raises(ArchitectureError):
        networks_named(spec)

"""The supernet: a cell with its weights is the stand-alone network, and a step trains the cells that are drawn."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eznas.oneshot import Supernet, drawn_cells, group_of, groups, recalibrate, representatives
from eznas.randomness import stream
from eznas.spaces import nb201

SETTINGS = nb201.Settings(channels=4, cells_per_stage=2)
MIXED = ("nor_conv_3x3", "skip_connect", "avg_pool_3x3", "nor_conv_1x1", "none", "nor_conv_3x3")
CELLS = [(operation,) * 6 for operation in nb201.OPERATIONS] + [MIXED]


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.from_numpy(stream(0, "images").normal(size=(6, 3, 8, 8)).astype(np.float32))


def trained(affine: bool = True) -> Supernet:
    """A supernet in which no two weights are alike."""
    supernet = Supernet(SETTINGS, affine=affine, seed=0)
    rng = stream(1, "weights")
    with torch.no_grad():
        for parameter in supernet.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.from_numpy(rng.normal(size=tuple(parameter.shape)) * 0.1))
        for module in supernet.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.add_(torch.from_numpy(rng.normal(size=module.num_features) * 0.1))
    return supernet


@pytest.mark.parametrize("is_affine", [True, False])
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: "-".join(sorted(set(cell))))
def test_a_cell_with_inherited_weights_is_the_stand_alone_network(
    cell: tuple[str, ...], is_affine: bool, images: Tensor
) -> None:
    shared = trained(is_affine).network(cell)
    alone = nb201.SPACE.build(nb201.architecture(cell), SETTINGS, seed=5)
    before = alone(images)
    alone.load_state_dict(shared.state_dict(), strict=True)
    assert [name for name, _ in shared.named_modules()] == [name for name, _ in alone.named_modules()]
    for is_training in (True, False):
        logits = alone.train(is_training)(images)
        assert torch.equal(shared.train(is_training)(images), logits)
    assert not torch.allclose(before, logits)
    gradients = [
        torch.autograd.grad(network(images).square().sum(), [*network.stem.parameters(), network.classifier.weight])
        for network in (shared, alone)
    ]
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_what_one_cell_is_trained_to_others_inherit_and_copies_do_not(images: Tensor) -> None:
    supernet = Supernet(SETTINGS, affine=True, seed=0)
    copy, other = supernet.inherited(MIXED), ("nor_conv_3x3", *("none",) * 5)
    inherited = supernet.inherited(other).eval()(images)
    optimiser = torch.optim.SGD(supernet.network(MIXED).parameters(), lr=0.1)
    supernet.network(MIXED)(images).square().sum().backward()
    used = {name for name, parameter in supernet.named_parameters() if parameter.grad is not None}
    assert used == {name for name, _ in supernet.named_parameters() if _is_used(name)}
    optimiser.step()
    assert not torch.allclose(supernet.network(other).eval()(images), inherited)
    assert torch.equal(copy.stem[0].weight, Supernet(SETTINGS, affine=True, seed=0).frame.stem[0].weight)


def _is_used(name: str) -> bool:
    if not name.startswith("cells."):
        return True
    _, _, edge, operation, *_ = name.split(".")
    return MIXED[int(edge)] == operation


def test_normalisation_inside_cells_may_stay_at_one_and_zero() -> None:
    supernet = Supernet(SETTINGS, affine=False, seed=0)
    frozen = {name for name, parameter in supernet.named_parameters() if not parameter.requires_grad}
    norms = [m for m in supernet.cells.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(frozen) == 2 * len(norms) == 2 * 2 * 6 * 3 * 2
    assert all(name.startswith("cells.") for name in frozen)
    assert all(norm.weight.eq(1).all() and norm.bias.eq(0).all() for norm in norms)


def test_recalibrated_statistics_are_those_of_the_images(images: Tensor) -> None:
    network = trained().inherited(MIXED)
    recalibrate(network, images)
    norm, features = network.head[0], network.blocks(network.stem(images))
    assert not torch.allclose(trained().frame.head[0].running_mean, norm.running_mean, atol=0.01)
    assert torch.allclose(norm.running_mean, features.mean(dim=(0, 2, 3)), atol=1e-5)
    assert torch.allclose(norm.running_var, features.var(dim=(0, 2, 3)), atol=1e-5)


# Sampling -------------------------------------------------------------------------------------------------------------


def test_uniform_sampling_draws_every_operation_alike() -> None:
    cells = drawn_cells("uniform", 4_000, stream(0, "cells"))
    for edge in range(6):
        counts = Counter(cell[edge] for cell in cells)
        assert set(counts) == set(nb201.OPERATIONS)
        assert all(700 < n < 900 for n in counts.values())
    assert len(set(cells)) > 3_000


def test_fair_sampling_has_every_operation_once_on_every_edge() -> None:
    rng = stream(0, "cells")
    for _ in range(20):
        cells = drawn_cells("fair", 10, rng)
        for first in (0, 5):
            assert all(set(edge) == set(nb201.OPERATIONS) for edge in zip(*cells[first : first + 5], strict=True))
    assert len({tuple(drawn_cells("fair", 5, rng)) for _ in range(20)}) == 20


def test_isomorphic_sampling_draws_functions_alike() -> None:
    assert len(groups()) == 6_466
    assert sum(map(len, groups().values())) == 15_625
    cells = drawn_cells("isomorphic", 200, stream(0, "cells"))
    assert set(cells) <= set(representatives())
    zero = group_of(("none",) * 6)
    assert len(zero) > 100, "the largest classes would be drawn far more often one cell at a time"
    assert all(nb201.canonical_function(nb201.architecture(cell)) == "#+#+#" for cell in zero[:5])
    assert len(set(cells)) > 190

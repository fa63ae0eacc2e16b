"""Packing moves layers next to each other and changes nothing else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eznas.errors import CaptureError
from eznas.statistics import NetworkStatistics, Shard, pack


def network(shapes: list[int], offset: float = 0.0, names: tuple[str, ...] = ("a", "b")) -> NetworkStatistics:
    """One layer per entry of `shapes`; every value of every layer is different."""
    layers = tuple(
        {name: torch.arange(n * 3.0).reshape(n, 3) + offset + 100 * depth + 0.5 * k for k, name in enumerate(names)}
        for depth, n in enumerate(shapes)
    )
    return NetworkStatistics(layers, {"parameter_count": offset, "mac_count": 2 * offset})


def unpacked(shard: Shard) -> dict[tuple[int, int], dict[str, torch.Tensor]]:
    return {
        (int(shard.layer_network[row]), int(shard.layer_depth[row])): {n: t[i] for n, t in group.tensors.items()}
        for group in shard.groups
        for i, row in enumerate(group.rows.tolist())
    }


@given(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=5), min_size=1, max_size=5))
def test_every_layer_comes_back(shapes: list[list[int]]) -> None:
    networks = [network(sizes, offset=1000.0 * index) for index, sizes in enumerate(shapes)]
    shard = pack(networks)
    layers = unpacked(shard)
    assert shard.n_networks == len(networks)
    assert shard.n_layers == sum(group.n_layers for group in shard.groups) == len(layers) == sum(map(len, shapes))
    assert shard.layer_network.tolist() == [i for i, sizes in enumerate(shapes) for _ in sizes]
    for index, item in enumerate(networks):
        for depth, layer in enumerate(item.layers):
            assert all(torch.equal(layers[index, depth][name], tensor) for name, tensor in layer.items())
    assert shard.quantities["mac_count"].tolist() == [2000.0 * index for index in range(len(networks))]
    assert len({tuple(g.tensors["a"].shape[1:]) for g in shard.groups}) == len(shard.groups)
    assert all(tensor.is_contiguous() for group in shard.groups for tensor in group.tensors.values())
    assert all(group.rows.tolist() == sorted(group.rows.tolist()) for group in shard.groups)


def test_the_order_of_groups_depends_only_on_the_shapes() -> None:
    one, other = pack([network([3, 1]), network([2])]), pack([network([2, 1]), network([3, 3])])
    shapes = [[tuple(group.tensors["a"].shape[1:]) for group in shard.groups] for shard in (one, other)]
    assert shapes[0] == shapes[1] == [(1, 3), (2, 3), (3, 3)]


def test_types_are_those_of_the_contract() -> None:
    shard = pack([network([1, 2]), network([2])])
    assert shard.layer_network.dtype == shard.layer_depth.dtype == shard.groups[0].rows.dtype == torch.int64
    assert shard.quantities["parameter_count"].dtype == torch.float64
    assert shard.statistics == ("a", "b")
    assert shard.nbytes == 4 * 3 * 2 * (1 + 2 + 2)
    moved = shard.to("meta")
    assert {t.device.type for group in moved.groups for t in (group.rows, *group.tensors.values())} == {"meta"}


def test_packed_values_do_not_follow_their_source() -> None:
    source = network([2])
    shard = pack([source])
    source.layers[0]["a"].zero_()
    assert shard.groups[0].tensors["a"].any()


def test_networks_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(CaptureError, match="Cannot pack a shard of 0 networks"):
        pack([])
    with pytest.raises(CaptureError, match=r"different statistics: one has \['a'\], another \['a', 'b'\]"):
        pack([network([1]), network([1], names=("a",))])

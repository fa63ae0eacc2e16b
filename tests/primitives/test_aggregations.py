"""Aggregations against a loop over networks."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from primitives import LAYER_KERNEL, PRIMITIVES, Layers, Primitive
from primitives.aggregations import AGGREGATIONS
from primitives.profiles import PROFILES

NETWORK = torch.tensor([0, 0, 0, 1, 3, 3, 3, 3])  # network 2 has no layers
DEPTH = torch.tensor([0, 1, 2, 0, 2, 0, 3, 1])  # the layers of network 3 are not stored in order of execution
N_NETWORKS = 4

PLAIN: dict[str, Callable[..., Tensor]] = {  # of the (n_layers, ...) values of one network in order of execution
    "sum_layers": lambda v: v.sum(0),
    "mean_layers": lambda v: v.mean(0),
    "min_layers": lambda v: v.amin(0),
    "max_layers": lambda v: v.amax(0),
    "first_layer": lambda v: v[0],
    "last_layer": lambda v: v[-1],
    "depth_weighted_mean_layers": lambda v: sum((i + 1) * x for i, x in enumerate(v)) / (len(v) * (len(v) + 1) / 2),
    "log_sum_layers": lambda v: (v.abs() + 1e-12).log().sum(0),
    "spread_layers": lambda v: v.std(0, correction=0),
    "median_layers": lambda v: v.quantile(0.5),
    "low_quartile_layers": lambda v: v.quantile(0.25),
    "high_quartile_layers": lambda v: v.quantile(0.75),
    "early_mean_layers": lambda v: v[: (len(v) + 1) // 2].mean(0),
    "late_mean_layers": lambda v: v[len(v) // 2 :].mean(0),
    "slope_layers": lambda v: slope(v),
    "participation_layers": lambda v: v.sum() ** 2 / (len(v) * (v**2).sum()),
    "weighted_mean_layers": lambda v, w: (v * w.abs()).sum() / w.abs().sum(),
}


def slope(v: Tensor) -> Tensor:
    """Of the regression line over relative depth; 0 of one layer."""
    if len(v) == 1:
        return v.new_zeros(())
    depth = torch.linspace(0, 1, len(v), dtype=v.dtype)
    design = torch.stack([depth, torch.ones_like(depth)], dim=1)
    return torch.linalg.lstsq(design, v[:, None]).solution[0, 0]


WITHOUT_LAYERS = {name: 0.0 if name in ("sum_layers", "log_sum_layers") else math.nan for name in PLAIN}
every_aggregation = pytest.mark.parametrize("operator", [*AGGREGATIONS, *PROFILES], ids=lambda p: p.name)


def values(operator: Primitive) -> list[tuple[Tensor, ...]]:
    """Arguments of every shape it takes."""
    generator = torch.Generator().manual_seed(3)
    shapes: list[tuple[int, ...]] = [()]
    if any(inputs == (LAYER_KERNEL,) for inputs, _ in operator.signature.instances()):
        shapes.append((3, 3))
    return [
        tuple(torch.randn((len(NETWORK), *s), generator=generator, dtype=torch.float64) for _ in range(operator.arity))
        for s in shapes
    ]


@every_aggregation
def test_equals_a_loop_over_networks(operator: Primitive) -> None:
    for x in values(operator):
        found = operator(*x, Layers(NETWORK, DEPTH, N_NETWORKS))
        assert found.shape == (N_NETWORKS, *x[0].shape[1:])
        for network in (0, 1, 3):
            mine = network == NETWORK
            in_order = [one[mine][DEPTH[mine].argsort()] for one in x]
            torch.testing.assert_close(found[network], PLAIN[operator.name](*in_order), rtol=1e-12, atol=1e-12)


@every_aggregation
def test_of_a_network_without_layers(operator: Primitive) -> None:
    for x in values(operator):
        found = operator(*x, Layers(NETWORK, DEPTH, N_NETWORKS))[2]
        expected = torch.full_like(found, WITHOUT_LAYERS[operator.name])
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


@every_aggregation
@pytest.mark.parametrize("hole", [math.nan, math.inf], ids=str)
def test_a_layer_that_is_not_finite_harms_no_other_network(operator: Primitive, hole: float) -> None:
    for x in values(operator):
        expected = operator(*x, Layers(NETWORK, DEPTH, N_NETWORKS))
        spoilt = [one.clone() for one in x]
        for one in spoilt:
            one[1] = hole
        found = operator(*spoilt, Layers(NETWORK, DEPTH, N_NETWORKS))
        assert torch.equal(found[[1, 3]], expected[[1, 3]])


OF_SOME_LAYERS = {"first_layer", "last_layer", "early_mean_layers", "late_mean_layers"}


@pytest.mark.parametrize("name", sorted(set(PLAIN) - OF_SOME_LAYERS))
def test_a_layer_without_a_value_leaves_its_network_without_one(name: str) -> None:
    operator = PRIMITIVES[name]
    found = operator(*[torch.tensor([1.0, math.nan, 3.0])] * operator.arity, Layers.of_one_network(3))
    assert found.isnan().item()


def test_one_network_at_a_time_equals_all_together() -> None:
    for operator in (*AGGREGATIONS, *PROFILES):
        for x in values(operator):
            together = operator(*x, Layers(NETWORK, DEPTH, N_NETWORKS))
            mine = NETWORK == 0
            alone = operator(*(one[mine] for one in x), Layers.of_one_network(int(mine.sum())))
            torch.testing.assert_close(together[:1], alone, rtol=0, atol=0)


def test_every_aggregation_is_tested() -> None:
    assert {p.name for p in PRIMITIVES.values() if p.is_aggregation} == set(PLAIN)

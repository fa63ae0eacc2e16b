"""The evaluation that runs gives the numbers of the one that defines, however the work is cut."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from eznas.evaluation import PopulationEvaluator, ShardExecutor, evaluate, make_plan, network_of
from eznas.programs import FailureKind, Invalid, Program, parse
from eznas.proxies import KNOWN_PROGRAMS
from eznas.statistics import NetworkStatistics, StatisticsStore, pack
from eznas.workers import LocalPool
from primitives import EXTENDED, GENERAL, GRAPH, LABELLED, METRICS, PAPER, ROLES
from tests.eznas.evaluation.conftest import METRIC_NAMES
from tests.strategies import random_programs

POPULATION = [
    *random_programs(EXTENDED, 11, 150), *random_programs(PAPER, 12, 100), *random_programs(LABELLED, 13, 100),
    *random_programs(ROLES, 14, 40), *random_programs(GRAPH, 15, 30), *random_programs(GENERAL, 16, 60),
    *random_programs(METRICS, 17, 60),
    *(known.program for known in KNOWN_PROGRAMS.values()),
]  # fmt: skip


def defined(programs: Sequence[Program], networks: Sequence[NetworkStatistics]) -> np.ndarray:
    """(n_programs, n_networks) scores by the interpreter; NaN where it says `Invalid`."""
    outcomes = [[evaluate(program, network) for network in networks] for program in programs]
    return np.array([[math.nan if isinstance(o, Invalid) else o for o in row] for row in outcomes])


@pytest.fixture(scope="module")
def expected(networks: tuple[NetworkStatistics, ...]) -> np.ndarray:
    return defined(POPULATION, networks)


def finite(scores: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(scores), scores, np.nan)


def test_a_population_scores_as_the_interpreter_says(
    networks: tuple[NetworkStatistics, ...], expected: np.ndarray
) -> None:
    found = finite(ShardExecutor(pack(networks)).run(make_plan(POPULATION)))
    assert np.isfinite(expected).mean() > 0.3  # else the comparison says little
    assert np.isnan(expected).any()
    wrong = ~np.isclose(found, expected, rtol=1e-5, atol=1e-12, equal_nan=True)
    assert not wrong.any(), [(POPULATION[p].text, n, found[p, n], expected[p, n]) for p, n in np.argwhere(wrong)[:5]]


def test_every_portion_gives_the_same_bits(networks: tuple[NetworkStatistics, ...]) -> None:
    """Tile size, cache and the company a program is in change nothing at all."""
    shard, plan = pack(networks), make_plan(POPULATION)
    reference = ShardExecutor(shard).run(plan)
    for tile_bytes in (None, 1, 40_000):
        assert np.array_equal(ShardExecutor(shard, tile_bytes=tile_bytes).run(plan), reference, equal_nan=True)
    assert np.array_equal(ShardExecutor(shard, cache_bytes=0).run(plan), reference, equal_nan=True)
    tiny = ShardExecutor(shard, cache_bytes=2_000)
    for _ in range(2):
        assert np.array_equal(tiny.run(plan), reference, equal_nan=True)
    backwards = ShardExecutor(shard).run(make_plan(POPULATION[::-1]))
    assert np.array_equal(backwards[::-1], reference, equal_nan=True)
    alone = np.concatenate([ShardExecutor(shard).run(make_plan([program])) for program in POPULATION[:40]])
    assert np.array_equal(alone, reference[:40], equal_nan=True)


def test_a_cache_warmed_by_another_population_changes_nothing(networks: tuple[NetworkStatistics, ...]) -> None:
    shard, later = pack(networks), POPULATION[100:]
    warm = ShardExecutor(shard)
    warm.run(make_plan(POPULATION[:180]))
    assert np.array_equal(
        warm.run(make_plan(later)), ShardExecutor(shard, cache_bytes=0).run(make_plan(later)), equal_nan=True
    )


def test_shards_of_any_size_give_the_same_bits(stores: dict[int, StatisticsStore]) -> None:
    matrices = [PopulationEvaluator(LocalPool(), [store]).evaluate(POPULATION) for store in stores.values()]
    for other in matrices[1:]:
        assert np.array_equal(finite(other.scores), finite(matrices[0].scores), equal_nan=True)
        assert other.failures == matrices[0].failures


def test_stores_lie_side_by_side_in_the_matrix(stores: dict[int, StatisticsStore]) -> None:
    both = PopulationEvaluator(LocalPool(), [stores[2], stores[5]])
    assert both.n_networks == 10
    scores = finite(both.evaluate(POPULATION[:20]).scores)
    assert np.array_equal(scores[:, :5], scores[:, 5:], equal_nan=True)


def test_statistics_of_a_shorter_type_are_computed_with_in_single_precision(
    networks: tuple[NetworkStatistics, ...],
) -> None:
    """As if they had been rounded and written in single precision."""

    def kept_as(dtype: torch.dtype, network: NetworkStatistics) -> NetworkStatistics:
        layers = tuple({name: tensor.to(dtype) for name, tensor in layer.items()} for layer in network.layers)
        return NetworkStatistics(layers, network.quantities)

    short = [kept_as(torch.bfloat16, network) for network in networks]
    plan = make_plan(POPULATION)
    found = ShardExecutor(pack(short), tile_bytes=40_000).run(plan)
    rounded = ShardExecutor(pack([kept_as(torch.float32, network) for network in short])).run(plan)
    assert np.array_equal(found, rounded, equal_nan=True)
    assert not np.array_equal(found, ShardExecutor(pack(networks)).run(plan), equal_nan=True)


def test_statistics_are_only_read(networks: tuple[NetworkStatistics, ...]) -> None:
    shard = pack(networks)
    before = {name: tensor.clone() for group in shard.groups[:1] for name, tensor in group.tensors.items()}
    ShardExecutor(shard).run(make_plan(POPULATION))
    assert all(torch.equal(shard.groups[0].tensors[name], tensor) for name, tensor in before.items())


def test_a_network_is_read_back_from_its_shard(networks: tuple[NetworkStatistics, ...]) -> None:
    shard = pack(networks)
    for index, network in enumerate(networks):
        found = network_of(shard, index)
        assert found.quantities.keys() == network.quantities.keys()
        for name, value in network.quantities.items():
            assert torch.equal(torch.as_tensor(found.quantities[name]), torch.as_tensor(value))
        assert len(found.layers) == len(network.layers)
        for ours, theirs in zip(found.layers, network.layers, strict=True):
            assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


BARE = NetworkStatistics(
    (),
    {
        "parameter_count": 7.0, "mac_count": 9.0, "same_class": torch.eye(3).double(),
        "log_path_count": 0.0, "longest_path": 0.0, "shortest_path": 0.0, "bypassed_share": 0.0,
        "layer_count": 0.0, **dict.fromkeys(METRIC_NAMES, 1.0),
    },
)  # fmt: skip
OF_LAYERS = [
    "(sum_layers (mean weight))",
    "(sum_layers (add depth path_share))",
    "(add 1.0 (multiply 0.0 (log_sum_layers (mean weight))))",
    "(sign (mean_layers (mean weight)))",
    "(trace (sum_layers (gram_kernel activation_input.data)))",
    "(log_abs_determinant (first_layer (agreement_kernel activation_input.data)))",
]
OF_THE_NETWORK = {"unit_count": 0.0, "(subtract mac_count parameter_count)": 2.0}


@pytest.mark.parametrize("company", ["alone", "among others"])
def test_a_network_without_units_has_no_score_from_its_layers(
    networks: tuple[NetworkStatistics, ...], company: str
) -> None:
    packed = [BARE] if company == "alone" else [networks[0], BARE, networks[1]]
    programs = [parse(text) for text in (*OF_LAYERS, *OF_THE_NETWORK)]
    executor = ShardExecutor(pack(packed))
    for _ in range(2):  # the second time from the cache
        found = finite(executor.run(make_plan(programs)))
        assert np.allclose(found, defined(programs, packed), rtol=1e-5, equal_nan=True)
        of_bare = found[:, packed.index(BARE)]
        assert np.isnan(of_bare[: len(OF_LAYERS)]).all()
        assert of_bare[len(OF_LAYERS) :].tolist() == list(OF_THE_NETWORK.values())
    assert evaluate(programs[0], BARE) == Invalid(FailureKind.UNDEFINED, "no layers to aggregate in 'sum_layers'", 0)


def test_what_raised_on_one_layer_cannot_be_passed_over(networks: tuple[NetworkStatistics, ...]) -> None:
    """Multiplying a wide by a narrow layer raises on the widening units only, none of which comes first."""
    product = "(element_mean (broadcast_multiply activation_input.data activation_output.data))"
    programs = [
        parse(text)
        for text in (
            f"(first_layer {product})",
            f"(sign (last_layer {product}))",
            f"(max_layers (ones_like {product}))",
        )
    ]
    executor = ShardExecutor(pack(networks))
    for _ in range(2):
        found = finite(executor.run(make_plan(programs)))
        assert np.allclose(found, defined(programs, networks), rtol=1e-5, equal_nan=True)
    assert np.isnan(found).any()

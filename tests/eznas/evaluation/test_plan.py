"""A population is one graph, and what is kept between calls is bounded."""

from __future__ import annotations

import pytest
import torch

from eznas.evaluation import ShardExecutor, make_plan
from eznas.evaluation.execute import ENTRY_BYTES, ResultCache
from eznas.programs import parse
from eznas.statistics import NetworkStatistics, pack
from primitives import EXTENDED, Primitive
from tests.strategies import random_programs


def test_shared_expressions_are_one_step() -> None:
    shared = "(mean_layers (frobenius_norm weight_grad.noise))"
    plan = make_plan([parse(shared), parse(f"(log {shared})"), parse(f"(add {shared} (log {shared}))")])
    assert [step.node.name for step in plan.steps] == [
        "weight_grad.noise",
        "frobenius_norm",
        "mean_layers",
        "log",
        "add",
    ]
    assert plan.roots == (2, 3, 4)
    assert plan.statistics == ("weight_grad.noise",)


def test_the_order_of_commuting_arguments_makes_no_new_step() -> None:
    plan = make_plan([parse("(add mac_count unit_count)"), parse("(add unit_count mac_count)")])
    assert plan.roots == (2, 2)
    other = make_plan([parse("(subtract mac_count unit_count)"), parse("(subtract unit_count mac_count)")])
    assert len(set(other.roots)) == 2


def test_what_cannot_change_a_result_makes_no_new_step() -> None:
    plain, *others = (
        "(mean_layers (mean_abs weight))", "(mean_layers (mean_abs (negate (abs (negate weight)))))",
        "(negate (negate (mean_layers (mean_abs weight))))", "(mean_layers (mean_abs (maximum weight weight)))",
    )  # fmt: skip
    plan = make_plan([parse(plain), *map(parse, others)])
    assert set(plan.roots) == {2}
    assert len(make_plan([parse("(mean_layers (mean (abs (negate weight))))")]).steps) == 4
    assert len(make_plan([parse("(mean_layers (mean (negate (abs weight))))")]).steps) == 5


def test_what_may_change_the_last_bit_or_what_is_not_finite_stays_a_step() -> None:
    for text in ("(row_share_dead (sign weight))", "(standard_deviation (negate weight))"):
        assert len(make_plan([parse(f"(mean_layers {text})")]).steps) == 4


def test_constants_of_different_levels_or_values_are_different_steps() -> None:
    plan = make_plan([parse(text) for text in ("(sum_layers 0.5@layer)", "0.5", "-0.5", "0.5")])
    assert [step.node.name for step in plan.steps] == ["0.5@layer", "sum_layers", "0.5", "-0.5"]
    assert plan.statistics == (), "a constant per layer is nothing to capture"


def test_arguments_come_first_and_keys_do_not_depend_on_the_plan() -> None:
    programs = random_programs(EXTENDED, 3, 50)
    plan = make_plan(programs)
    assert all(argument < index for index, step in enumerate(plan.steps) for argument in step.arguments)
    assert len({step.key for step in plan.steps}) == len(plan.steps)
    reversed_plan = make_plan(programs[::-1])
    assert {step.key for step in reversed_plan.steps} == {step.key for step in plan.steps}
    for root, other in zip(plan.roots, reversed_plan.roots[::-1], strict=True):
        assert plan.steps[root].key == reversed_plan.steps[other].key


def test_each_distinct_expression_runs_once_per_tile(
    networks: tuple[NetworkStatistics, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    call = Primitive.__call__
    monkeypatch.setattr(Primitive, "__call__", lambda op, *args: (calls.append(op.name), call(op, *args))[1])
    programs = [parse(f"(add {c}.0 (sum_layers (frobenius_norm (tanh weight))))") for c in range(1, 30)]
    shard = pack(networks)
    executor = ShardExecutor(shard, tile_bytes=None)
    executor.run(make_plan(programs))
    assert calls.count("tanh") == calls.count("frobenius_norm") == len(shard.groups)
    assert calls.count("sum_layers") == 1
    assert calls.count("add") == len(programs)
    calls.clear()
    executor.run(make_plan([*programs, parse("(log (sum_layers (frobenius_norm (tanh weight))))")]))
    assert calls == ["log"]  # the rest is held from the first call


def test_the_cache_lets_go_of_the_least_recently_used() -> None:
    cache = ResultCache(capacity=3 * (80 + ENTRY_BYTES))
    values = {key: torch.full((10,), float(i), dtype=torch.float64) for i, key in enumerate((b"a", b"b", b"c", b"d"))}
    for key in (b"a", b"b", b"c"):
        cache.put(key, values[key])
    assert cache.get(b"a") is values[b"a"]
    cache.put(b"d", values[b"d"])
    assert cache.get(b"b") is None
    assert [cache.get(key) is values[key] for key in (b"a", b"c", b"d")] == [True] * 3
    cache.put(b"large", torch.zeros(300, dtype=torch.float64))
    assert cache.get(b"large") is None
    assert cache.nbytes == 3 * (80 + ENTRY_BYTES)


@pytest.mark.parametrize("capacity", [0, 1_000, 20_000])
def test_the_cache_stays_within_its_bound(networks: tuple[NetworkStatistics, ...], capacity: int) -> None:
    executor = ShardExecutor(pack(networks), cache_bytes=capacity)
    for seed in range(3):
        executor.run(make_plan(random_programs(EXTENDED, seed, 30)))
        held = executor._cache
        assert held.nbytes <= capacity
        assert held.nbytes == sum(value.nbytes + ENTRY_BYTES for value in held._held.values())

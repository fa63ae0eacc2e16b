"""Signs of formulas: written without cancelling minus signs, and equal to what is scored."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from eznas.programs import Constant, Program, fold, parse, to_infix, with_signs_settled
from eznas.testing.values import random_value
from primitives import EXTENDED, GENERAL, STATISTICS, Layers, Statistic
from tests.strategies import programs

N_LAYERS = 4


def value(program: Program, seed: int) -> float:
    """Of one network with random statistics, in float64."""
    generator = torch.Generator().manual_seed(seed)
    statistics = {
        s.name: random_value(s.type, N_LAYERS if s.type.level.value == "layer" else 1, generator, torch.float64)
        for s in STATISTICS.values()
    }
    layers = Layers.of_one_network(N_LAYERS)

    def leaf(node: Statistic | Constant) -> Tensor:
        if isinstance(node, Constant):
            return torch.full((N_LAYERS if node.level.value == "layer" else 1,), node.value, dtype=torch.float64)
        return statistics[node.name]

    found = fold(program, leaf=leaf, branch=lambda op, args: op(*args, layers) if op.is_aggregation else op(*args))
    return float(found.squeeze())


@settings(deadline=None, max_examples=150)
@given(programs(EXTENDED) | programs(GENERAL), st.sampled_from([1, -1]), st.integers(0, 5))
def test_a_formula_as_written_has_the_value_of_the_program(program: Program, direction: int, seed: int) -> None:
    settled = with_signs_settled(program, direction)
    expected, found = direction * value(program, seed), value(settled, seed)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9, nan_ok=True)
    assert set(settled.statistics) == set(program.statistics)


@pytest.mark.parametrize(
    ("text", "direction", "written"),
    [
        ("(subtract mac_count parameter_count)", -1, "parameter_count - mac_count"),
        ("(negate (subtract mac_count parameter_count))", 1, "parameter_count - mac_count"),
        ("(negate (negate mac_count))", 1, "mac_count"),
        ("(add (negate mac_count) parameter_count)", 1, "parameter_count - mac_count"),
        ("(add (negate mac_count) (negate parameter_count))", -1, "mac_count + parameter_count"),
        ("(subtract mac_count (multiply -2.0 parameter_count))", 1, "mac_count + 2 * parameter_count"),
        ("(add mac_count (multiply parameter_count -2.0))", 1, "mac_count - 2 * parameter_count"),
        ("(multiply parameter_count -2.0)", -1, "2 * parameter_count"),
        ("(multiply parameter_count 2.0)", -1, "-2 * parameter_count"),
        ("(divide (negate mac_count) (negate parameter_count))", 1, "mac_count / parameter_count"),
        ("(log (subtract mac_count parameter_count))", -1, "-log(mac_count - parameter_count)"),
        ("(square (negate mac_count))", 1, "square(mac_count)"),
        ("(relu (negate mac_count))", 1, "relu(-mac_count)"),
        ("(negate (mean_layers (negate (mean weight))))", 1, "mean_layers(mean(weight))"),
        (
            "(multiply (subtract mac_count unit_count) parameter_count)",
            -1,
            "-(mac_count - unit_count) * parameter_count",
        ),
        ("mac_count", -1, "-mac_count"),
        ("-2.0", -1, "2"),
    ],
)
def test_minus_signs_do_not_cancel(text: str, direction: int, written: str) -> None:
    assert to_infix(with_signs_settled(parse(text), direction)) == written

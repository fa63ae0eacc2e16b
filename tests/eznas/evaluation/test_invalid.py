"""Failure is a value that names the reason and the node; asking for what was not captured is an error."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from eznas.errors import ProgramError
from eznas.evaluation import PopulationEvaluator, ShardExecutor, evaluate, make_plan
from eznas.programs import FailureKind, Invalid, Program, parse
from eznas.statistics import NetworkStatistics, StatisticsStore, pack
from eznas.workers import LocalPool
from tests.eznas.evaluation.conftest import ARCHITECTURES


def node_at(program: Program, outcome: float | Invalid) -> str:
    assert isinstance(outcome, Invalid)
    return program.subprogram(outcome.at).text


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        (
            "(add parameter_count (mean_layers (element_mean (invert (zeros_like weight)))))",
            "(invert (zeros_like weight))",
        ),
        (
            "(add (tanh (mean_layers (element_mean (invert (zeros_like weight))))) "
            "(log_abs_determinant (sum_layers (gram_kernel (zeros_like activation_input.data)))))",
            "(log_abs_determinant (sum_layers (gram_kernel (zeros_like activation_input.data))))",
        ),
        ("(mean_layers (element_mean (matmul weight activation_input.data)))", "(matmul weight activation_input.data)"),
    ],
)
def test_the_node_at_fault_is_named(networks: tuple[NetworkStatistics, ...], text: str, culprit: str) -> None:
    program = parse(text)
    outcome = evaluate(program, networks[0])
    assert node_at(program, outcome) == culprit
    assert isinstance(outcome, Invalid)
    assert program.nodes[outcome.at].name in outcome.detail
    assert f"node {outcome.at} (" in outcome.describe(program)
    assert outcome.describe(program).endswith(program.text)


def test_a_harmless_infinity_is_not_blamed(networks: tuple[NetworkStatistics, ...]) -> None:
    """The first term is infinite on the way and finite in the end: tanh brings it back."""
    harmless = "(tanh (mean_layers (element_mean (invert (zeros_like weight)))))"
    assert evaluate(parse(harmless), networks[0]) == 1.0


def test_the_evaluator_explains_the_first_failure_of_each_program(stores: dict[int, StatisticsStore]) -> None:
    """Node and reason refer to the program as it was given, not to its canonical form."""
    sound = parse("parameter_count")
    program = parse("(add parameter_count (mean_layers (element_mean (invert (zeros_like weight)))))")
    assert program != program.canonical
    matrix = PopulationEvaluator(LocalPool(), [stores[2]]).evaluate([sound, program])
    assert matrix.failures == {1: (0, Invalid(FailureKind.NON_FINITE, "non-finite after 'invert'", 4))}
    assert program.nodes[4].name == "invert"
    assert matrix.n_failed.tolist() == [0, len(ARCHITECTURES)]


def test_a_failure_on_a_later_network_names_that_network(
    networks: tuple[NetworkStatistics, ...], stores: dict[int, StatisticsStore]
) -> None:
    """1 / (units - k) is infinite on the network with k units alone."""
    n_units = len(networks[3].layers)
    failing = [i for i, network in enumerate(networks) if len(network.layers) == n_units]
    program = parse(f"(invert (subtract unit_count {float(n_units)}))")
    for store in stores.values():
        matrix = PopulationEvaluator(LocalPool(), [store]).evaluate([program])
        assert np.flatnonzero(~np.isfinite(matrix.scores[0])).tolist() == failing
        assert matrix.failures == {0: (failing[0], Invalid(FailureKind.NON_FINITE, "non-finite after 'invert'", 0))}


def test_an_empty_population_has_an_empty_matrix(stores: dict[int, StatisticsStore]) -> None:
    assert PopulationEvaluator(LocalPool(), [stores[2]]).evaluate([]).scores.shape == (0, len(ARCHITECTURES))


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [("(sum_layers (mean weight_grad.data))", "Statistic", "weight_grad.data"), ("mac_count", "Quantity", "mac_count")],
)
def test_what_was_not_captured_is_named(
    networks: tuple[NetworkStatistics, ...], text: str, kind: str, name: str
) -> None:
    lacking = [
        dataclasses.replace(
            network,
            layers=tuple({k: v for k, v in layer.items() if k != name} for layer in network.layers),
            quantities={k: v for k, v in network.quantities.items() if k != name},
        )
        for network in networks[:2]
    ]
    expected = f"{kind} '{name}' was not captured; capture it, or use another program"
    with pytest.raises(ProgramError, match=expected):
        evaluate(parse(text), lacking[0])
    with pytest.raises(ProgramError, match=expected):
        ShardExecutor(pack(lacking)).run(make_plan([parse(text)]))


def test_an_incomplete_program_is_refused(networks: tuple[NetworkStatistics, ...]) -> None:
    incomplete = parse("(mean weight)")
    for refuse in (lambda: evaluate(incomplete, networks[0]), lambda: make_plan([incomplete])):
        with pytest.raises(ProgramError, match=r"one number per network, got .* from \(mean weight\)"):
            refuse()


def test_values_that_were_captured_non_finite_are_blamed_on_the_leaf(networks: tuple[NetworkStatistics, ...]) -> None:
    broken = [{**layer, "weight": torch.full_like(layer["weight"], torch.inf)} for layer in networks[0].layers]
    program = parse("(sum_layers (mean (square weight)))")
    outcome = evaluate(program, dataclasses.replace(networks[0], layers=tuple(broken)))
    assert outcome == Invalid(FailureKind.NON_FINITE, "non-finite after 'weight'", 3)

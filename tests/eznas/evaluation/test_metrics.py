"""Programs that read the score of a published estimator fail where it has none, whatever they make of it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from eznas.errors import ProgramError
from eznas.evaluation import ShardExecutor, evaluate, make_plan
from eznas.programs import FailureKind, Invalid, parse
from eznas.statistics import NetworkStatistics, pack
from primitives import METRICS
from tests.strategies import random_programs

TEXTS = (
    "metric.naswot",
    "(sign metric.naswot)",
    "(add metric.zen (multiply 0.0 metric.naswot))",
    "(maximum (sigmoid metric.naswot) parameter_count)",
    "(multiply metric.naswot (sign metric.naswot))",
)
"""Of these a naive evaluation makes numbers out of minus infinity."""


@pytest.fixture
def shown(networks: tuple[NetworkStatistics, ...]) -> tuple[NetworkStatistics, ...]:
    """Networks of which the first three have no score of naswot, in each way in which there can be none."""
    lost = (math.nan, -math.inf, math.inf)
    without = (
        replace(network, quantities={**network.quantities, "metric.naswot": value})
        for network, value in zip(networks, lost, strict=False)
    )
    return (*without, *networks[len(lost) :])


@pytest.mark.parametrize("text", TEXTS)
def test_a_score_that_is_no_number_fails_the_program(shown: tuple[NetworkStatistics, ...], text: str) -> None:
    program = parse(text)
    at = max(index for index, node in enumerate(program.nodes) if node.name == "metric.naswot")
    expected = Invalid(FailureKind.NON_FINITE, "naswot has no finite score", at)
    assert [evaluate(program, network) for network in shown[:3]] == [expected] * 3
    executor = ShardExecutor(pack(shown))
    for _ in range(2):  # the second time from the cache
        (scores,) = executor.run(make_plan([program]))
        assert np.isnan(scores[:3]).all()
        assert np.isfinite(scores[3:]).all()
        assert scores[3:].tolist() == [evaluate(program, network) for network in shown[3:]]


def test_it_fails_with_the_reason_of_the_estimator(shown: tuple[NetworkStatistics, ...]) -> None:
    said = replace(shown[0], failures={"metric.naswot": (FailureKind.UNFIT.value, "naswot: no ReLU")})
    program = parse("(add 1.0 metric.naswot)")
    outcome = evaluate(program, said)
    assert outcome == Invalid(FailureKind.UNFIT, "naswot: no ReLU", 2)
    assert isinstance(outcome, Invalid)
    assert outcome.describe(program) == "naswot: no ReLU at node 2 (metric.naswot) of (add 1.0 metric.naswot)"


def test_programs_that_do_not_read_it_are_as_before(
    networks: tuple[NetworkStatistics, ...], shown: tuple[NetworkStatistics, ...]
) -> None:
    programs = random_programs(METRICS, 3, 80)
    reads = np.array(["metric.naswot" in program.statistics for program in programs])
    assert 5 < reads.sum() < 75
    found, before = (ShardExecutor(pack(each)).run(make_plan(programs)) for each in (shown, networks))
    assert np.array_equal(found[~reads], before[~reads], equal_nan=True)
    assert np.array_equal(found[:, 3:], before[:, 3:], equal_nan=True)
    assert np.isnan(found[reads, :3]).all()


def test_a_metric_that_was_not_computed_is_asked_for(networks: tuple[NetworkStatistics, ...]) -> None:
    program = parse("metric.swap")
    message = "Quantity 'metric.swap' was not captured; capture it, or use another program"
    with pytest.raises(ProgramError, match=message):
        evaluate(program, networks[0])
    with pytest.raises(ProgramError, match=message):
        ShardExecutor(pack(networks)).run(make_plan([program]))

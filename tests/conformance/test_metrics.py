"""What a leaf that is the score of a published estimator says of itself is what the estimator says and does."""

from __future__ import annotations

import math

import pytest
from torch import nn

from eznas.estimators import PUBLISHED, by_name
from eznas.fitness.objectives import kinds_needed
from eznas.programs import cost, parse, to_latex, to_sympy
from eznas.proxies.metrics import metric_outcomes
from primitives import METRIC_PREFIX, METRIC_STATISTICS, METRICS, NETWORK_SCALAR, STATISTICS, Statistic
from tests.eznas.estimators.small_networks import convolutional, labels, noise

EACH = pytest.mark.parametrize("statistic", METRIC_STATISTICS, ids=lambda s: s.name)
COUNTED = {"parameter_count", "mac_count"}
"""Estimators that are counts of the language already."""


def test_every_published_estimator_is_a_leaf() -> None:
    names = [s.name.removeprefix(METRIC_PREFIX) for s in METRIC_STATISTICS]
    assert names == [estimator.name for estimator in PUBLISHED if estimator.name not in COUNTED]
    assert set(STATISTICS) >= COUNTED


@EACH
def test_it_says_what_the_estimator_says(statistic: Statistic) -> None:
    facts = statistic.estimator
    assert facts is not None
    assert statistic.name == METRIC_PREFIX + facts.name
    estimator = by_name(facts.name)
    assert facts.needs == estimator.needs
    assert facts.passes == estimator.cost
    program = parse(statistic.name)
    assert cost(program) == estimator.cost
    assert frozenset(kinds_needed(program)) == estimator.needs
    assert program.needs_classes is estimator.needs_targets
    assert program.reads_images is (estimator.cost > 0)
    assert program.metrics == program.statistics == (statistic.name,)
    assert program.captured_statistics == ()
    assert statistic.type is NETWORK_SCALAR
    assert not statistic.is_on_request


@EACH
def test_its_value_is_the_raw_score(statistic: Statistic, device: str) -> None:
    name = statistic.name.removeprefix(METRIC_PREFIX)
    network, images, classes = convolutional().to(device), noise(6, 3, 6, 6).to(device), labels(6).to(device)
    (found,) = metric_outcomes([statistic.name], network, images, classes).values()
    assert found == by_name(name)(network, images, classes)
    assert isinstance(found, float)
    assert math.isfinite(found)


@pytest.mark.parametrize(
    "statistic", [s for s in METRIC_STATISTICS if s.non_negative], ids=lambda statistic: statistic.name
)
@pytest.mark.parametrize("network", [convolutional(), convolutional(normalised=False)], ids=("normalised", "plain"))
def test_it_is_non_negative_if_it_says_so(statistic: Statistic, network: nn.Module) -> None:
    for seed in range(3):
        (found,) = metric_outcomes([statistic.name], network, noise(8, 3, 6, 6, seed=seed), labels(8)).values()
        assert isinstance(found, float)
        assert found >= 0


@EACH
def test_it_has_every_written_form(statistic: Statistic) -> None:
    program = parse(f"(add (log {statistic.name}) 2.0)")
    assert parse(program.text) == program
    assert {str(one) for one in to_sympy(program).free_symbols} >= {statistic.name}
    assert statistic.latex in to_latex(program)


def test_the_set_is_arithmetic_on_networks_and_takes_no_pass_for_every_image() -> None:
    left_out = {s.name for s in METRIC_STATISTICS} - {s.name for s in METRICS.statistics}
    every = {s.name for s in METRIC_STATISTICS if "per " in by_name(s.name.removeprefix(METRIC_PREFIX)).passes}
    repeated = {s.name for s in METRIC_STATISTICS if s.passes > 10}
    assert left_out == {"metric.epe_nas_as_released", *every, *repeated}
    assert {s.name for s in METRICS.statistics if s.estimator is None} == {*COUNTED, "unit_count"}
    assert all(s.type is NETWORK_SCALAR for s in METRICS.statistics)
    assert not any(operator.is_aggregation for operator in METRICS.primitives)

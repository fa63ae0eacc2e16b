"""Published estimators as leaves of programs: the values of ``metric.NAME`` on a network.

A leaf has the raw score, as the formula of the estimator gives it; the direction of the estimator is not in it. An
estimator that gives a network no finite score leaves NaN, and every program that reads it fails there with its reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor, nn

from eznas.conditions import Conditions
from eznas.errors import ConfigError
from eznas.estimators import by_name
from eznas.programs import FailureKind, Invalid
from eznas.statistics import NetworkStatistics
from primitives import METRIC_PREFIX


def metric_outcomes(
    names: Sequence[str], network: nn.Module, inputs: Tensor, targets: Tensor | None
) -> dict[str, float | Invalid]:
    """The raw score that each estimator gives a network, or why it gives none.

    Args:
        names: of statistics, such as ``"metric.naswot"``.
        network: maps `inputs` to one tensor of logits; left as found.
        inputs: (batch, channels, height, width) float32, on the device of the network.
        targets: (batch,) class of each image; estimators that look at classes fail without.
    """
    found: dict[str, float | Invalid] = {}
    for name in names:
        estimator = by_name(name.removeprefix(METRIC_PREFIX))
        try:
            outcome = estimator.outcome(network, inputs, targets)
        except ConfigError as error:  # what this network cannot be given
            outcome = Invalid(FailureKind.UNFIT, f"{estimator.name}: {error}")
        found[name] = outcome if isinstance(outcome, Invalid) else estimator.direction * outcome
    return found


def with_metrics(
    shown: NetworkStatistics, names: Sequence[str], network: nn.Module, inputs: Tensor, targets: Tensor | None
) -> NetworkStatistics:
    """What a network showed, with the scores of estimators among its quantities; arguments as `metric_outcomes`."""
    outcomes = metric_outcomes(names, network, inputs, targets)
    failures = {name: (one.kind.value, one.detail) for name, one in outcomes.items() if isinstance(one, Invalid)}
    return replace(
        shown,
        quantities={**shown.quantities, **_values(outcomes)},
        failures={**shown.failures, **failures},
    )


def measured(names: Sequence[str], network: nn.Module, conditions: Conditions, device: str = "cpu") -> dict[str, float]:
    """The raw scores of estimators on a network of some conditions, NaN where there is none: what a store keeps.

    They see the images that conditions have for estimators, on the device of the network.
    """
    inputs, targets = conditions.batch(conditions.estimator_batch_size, device)
    return _values(metric_outcomes(names, network, inputs, targets))


def _values(outcomes: Mapping[str, float | Invalid]) -> dict[str, float]:
    return {name: math.nan if isinstance(one, Invalid) else float(one) for name, one in outcomes.items()}

"""Estimators that are asked for together: those of one family share their passes, and each has the score it has alone.

Families, by what they read (`Reading.show`):

* gradients of the loss and of the logits from one forward pass of the whole batch: `grad_norm`, `plain`, `snip`,
  `fisher`; `jacob_cov`, `epe_nas`, `epe_nas_as_released`;
* patterns of activations from one pass without gradients: `naswot`, `linear_regions`;
* the synaptic flow without normalisation: `synflow`, `logsynflow`;
* patterns under drawn weights: `swap`, `swap_regularised`;
* features of drawn weights: the terms of AZ-NAS.

The others have passes that nobody else has: halves of the batch (`zico`) or single images (`gradsign`), whose batch
statistics are their own; normalisation kept for an image of ones (`synflow_bn`); kernels of attention that can be
differentiated twice (`grasp`); a backward pass per image or class (`ntk`, `vkdnw`); other weights, images or modes
(`zen`, `meco`, `vkdnw`, `mac_count`); two images (`relu_count`); or none. Patterns are not read off the pass with
gradients, because torch multiplies some matrices in another order, with other last bits, where they are asked for.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from torch import nn

from eznas.conditions import as_inputs, as_targets
from eznas.errors import ConfigError, UnfitError
from eznas.estimators.estimator import Estimator, check_inputs
from eznas.estimators.parametrised import with_plain_weights
from eznas.programs import FailureKind, Invalid
from eznas.statistics.running import own_draws, refuse_hidden

Outcome = float | Invalid


def outcomes(estimators: Sequence[Estimator], network: nn.Module, inputs: Any, targets: Any = None) -> list[Outcome]:
    """What each of some estimators says of one network, equal to ``estimator.outcome(network, inputs, targets)``.

    Equal bit by bit, if the device computes the same twice, as processors do. Whoever fails in a shared pass is asked
    alone, so that it costs nobody else the score and has its own reason. The graph of a shared pass is held until its
    whole family has read it, which takes more memory than one member does.

    Args:
        estimators: any; the same one may appear twice.
        network: maps `inputs` to one tensor of logits; left exactly as it was found.
        inputs: (batch, channels, height, width) on the device of the network.
        targets: (batch,) class of each image, for estimators that need them.

    Returns:
        One for each estimator, in order: the score in the direction in which a higher one predicts a higher accuracy,
        or why there is none. Where ``estimator.outcome`` raises `ConfigError`, an `Invalid` with what it says.
    """
    found: dict[int, Outcome] = {}
    for places in families(estimators):
        if len(places) > 1:
            shared = _shared([estimators[place] for place in places], network, inputs, targets)
            found |= {place: outcome for place, outcome in zip(places, shared, strict=True) if outcome is not None}
        found |= {place: _alone(estimators[place], network, inputs, targets) for place in places if place not in found}
    return [found[place] for place in range(len(estimators))]


def family_of(estimator: Estimator) -> Hashable:
    """What estimators that share their passes have in common; None for one that has passes of its own."""
    return None if estimator.reading is None else estimator.reading.show


def families(estimators: Sequence[Estimator]) -> list[list[int]]:
    """The places of estimators that share their passes, in the order of the first; whoever shares none is alone."""
    found: dict[Hashable, list[int]] = {}
    for place, estimator in enumerate(estimators):
        family = family_of(estimator)
        found.setdefault(place if family is None else family, []).append(place)
    return list(found.values())


def _shared(estimators: Sequence[Estimator], network: nn.Module, inputs: Any, targets: Any) -> list[Outcome | None]:
    """The outcomes of a family from one call of what it reads; None for those that have to be asked alone."""
    readings = [estimator.reading for estimator in estimators if estimator.reading is not None]
    parts = tuple(dict.fromkeys(reading.part for reading in readings))
    try:
        inputs, targets = as_inputs(inputs), as_targets(targets)
        check_inputs(network, inputs)
        refuse_hidden(network)
        with own_draws(network, inputs.device):
            shown = readings[0].show(with_plain_weights(network), inputs, targets, parts)
            return [_read(estimator, shown, targets) for estimator in estimators]
    except Exception:  # whatever it is, each meets it again and says so
        return [None] * len(estimators)


def _read(estimator: Estimator, shown: Any, targets: Any) -> Outcome | None:
    """The outcome of one of a family from what is shown to all; None if it has to be asked alone."""
    if estimator.reading is None or (estimator.needs_targets and targets is None):
        return None
    try:
        value = estimator.reading.score(shown)
    except UnfitError as error:  # what the network lacks does not depend on who looks
        return estimator.failed(error)
    except Exception:  # a pass that failed here may succeed alone, as with less memory
        return None
    return estimator.judged(value)


def _alone(estimator: Estimator, network: nn.Module, inputs: Any, targets: Any) -> Outcome:
    try:
        return estimator.outcome(network, inputs, targets)
    except ConfigError as error:
        return Invalid(FailureKind.UNFIT, f"{estimator.name}: {error}")

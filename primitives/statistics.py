"""The nouns of the language: what a program may read of a network.

The paper's 22 statistics are {weight, activation_input, convolution_input, activation_output} x {value, gradient} x
{data, noise, perturbed}, less two because the weight itself does not depend on the probe. Network-level quantities are
read off the architecture alone.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from primitives.types import INPUT_ACTIVATION, NETWORK_SCALAR, OUTPUT_ACTIVATION, WEIGHT, Type


class Probe(enum.Enum):
    """The input batch that excites a network.

    DATA: a batch of images. NOISE: standard normal, of the same shape. PERTURBED: the data plus normal noise of
    variance 0.01; every perturbed statistic is kept as its difference from the data statistic.

    Source: EZNAS (Akhauri et al. 2022), section on network statistics, and its released code.
    """

    DATA = "data"
    NOISE = "noise"
    PERTURBED = "perturbed"


@dataclass(frozen=True, slots=True)
class Statistic:
    """One leaf of the language.

    Attributes:
        name: as programs and stores spell it, for example ``weight_grad.noise``.
        type: its type.
        latex: its symbol; the superscript names the probe, a prefix of nabla the gradient.
        probe: the probe that must be run for it; None if none is needed.
        is_gradient: whether it takes a backward pass (of the sum of the logits).
    """

    name: str
    type: Type
    latex: str
    probe: Probe | None
    is_gradient: bool


_QUANTITIES = (
    ("activation_input", INPUT_ACTIVATION, "a"),
    ("convolution_input", INPUT_ACTIVATION, "x"),
    ("activation_output", OUTPUT_ACTIVATION, "y"),
)
_SUPERSCRIPT = {Probe.DATA: "D", Probe.NOISE: "N", Probe.PERTURBED: "P"}


def _probed() -> tuple[Statistic, ...]:
    found = []
    for name, type_, symbol in _QUANTITIES:
        for probe in Probe:
            mark = f"^{{{_SUPERSCRIPT[probe]}}}"
            found.append(Statistic(f"{name}.{probe.value}", type_, f"{symbol}{mark}", probe, False))
        for probe in Probe:
            mark = f"^{{{_SUPERSCRIPT[probe]}}}"
            found.append(Statistic(f"{name}_grad.{probe.value}", type_, rf"\nabla {symbol}{mark}", probe, True))
    return tuple(found)


WEIGHT_STATISTICS = (
    Statistic("weight", WEIGHT, "W", None, False),
    *(
        Statistic(f"weight_grad.{probe.value}", WEIGHT, rf"\nabla W^{{{_SUPERSCRIPT[probe]}}}", probe, True)
        for probe in Probe
    ),
)
LAYER_STATISTICS = (*WEIGHT_STATISTICS, *_probed())
"""The paper's 22 statistics."""

NETWORK_QUANTITIES = (
    Statistic("parameter_count", NETWORK_SCALAR, "N_{par}", None, False),
    Statistic("mac_count", NETWORK_SCALAR, "N_{mac}", None, False),
    Statistic("unit_count", NETWORK_SCALAR, "N_{unit}", None, False),
)
"""Trainable parameters; multiply-accumulates of one image (convolutions and linear layers); number of units."""

STATISTICS: Mapping[str, Statistic] = {s.name: s for s in (*LAYER_STATISTICS, *NETWORK_QUANTITIES)}

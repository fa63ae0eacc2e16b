"""The nouns of the language: what a program may read of a network.

The paper's 22 statistics are {weight, activation_input, convolution_input, activation_output} x {value, gradient} x
{data, noise, perturbed}, less two because the weight itself does not depend on the probe. Network-level quantities are
read off the architecture alone. `LABELLED_STATISTICS` are what the published estimators read beside: gradients of the
loss for the classes of the images, gradients of the linearised network, and which images share a class.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from primitives.types import INPUT_ACTIVATION, NETWORK_KERNEL, NETWORK_SCALAR, OUTPUT_ACTIVATION, WEIGHT, Type


class Probe(enum.Enum):
    """The input batch that excites a network.

    DATA: a batch of images. NOISE: standard normal, of the same shape. PERTURBED: the data plus normal noise of
    variance 0.01; every perturbed statistic is kept as its difference from the data statistic. LABELLED: the images of
    DATA with their classes; gradients are those of the mean cross-entropy. LINEARISED: one image of ones through the
    network with the magnitudes of its parameters and without batch normalisation, in double precision.

    Source: EZNAS (Akhauri et al. 2022), section on network statistics, and its released code; LABELLED: Lee et al. 2019
    (SNIP) and Abdelfattah et al. 2021; LINEARISED: Tanaka et al. 2020 (synflow).
    """

    DATA = "data"
    NOISE = "noise"
    PERTURBED = "perturbed"
    LABELLED = "labelled"
    LINEARISED = "linearised"


PAPER_PROBES = (Probe.DATA, Probe.NOISE, Probe.PERTURBED)
"""The probes of the EZNAS paper."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """One leaf of the language.

    Attributes:
        name: as programs and stores spell it, for example ``weight_grad.noise``.
        type: its type.
        latex: its symbol; the superscript names the probe, a prefix of nabla the gradient.
        probe: the probe that must be run for it; None if none is needed.
        is_gradient: whether it takes a backward pass: of the sum of the logits, or of the loss if labelled.
    """

    name: str
    type: Type
    latex: str
    probe: Probe | None
    is_gradient: bool

    @property
    def needs_classes(self) -> bool:
        """Whether the class of each image must be known."""
        return self.probe is Probe.LABELLED or self.type is NETWORK_KERNEL


_QUANTITIES = (
    ("activation_input", INPUT_ACTIVATION, "a"),
    ("convolution_input", INPUT_ACTIVATION, "x"),
    ("activation_output", OUTPUT_ACTIVATION, "y"),
)
_SUPERSCRIPT = {
    Probe.DATA: "D", Probe.NOISE: "N", Probe.PERTURBED: "P", Probe.LABELLED: "L", Probe.LINEARISED: "1",
}  # fmt: skip


def _probed() -> tuple[Statistic, ...]:
    found = []
    for name, type_, symbol in _QUANTITIES:
        for probe in PAPER_PROBES:
            mark = f"^{{{_SUPERSCRIPT[probe]}}}"
            found.append(Statistic(f"{name}.{probe.value}", type_, f"{symbol}{mark}", probe, False))
        for probe in PAPER_PROBES:
            mark = f"^{{{_SUPERSCRIPT[probe]}}}"
            found.append(Statistic(f"{name}_grad.{probe.value}", type_, rf"\nabla {symbol}{mark}", probe, True))
    return tuple(found)


WEIGHT_STATISTICS = (
    Statistic("weight", WEIGHT, "W", None, False),
    *(
        Statistic(f"weight_grad.{probe.value}", WEIGHT, rf"\nabla W^{{{_SUPERSCRIPT[probe]}}}", probe, True)
        for probe in PAPER_PROBES
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


def _labelled() -> tuple[Statistic, ...]:
    gradients = (("weight", WEIGHT, "W"), *_QUANTITIES, ("convolution_output", OUTPUT_ACTIVATION, "z"))
    return (
        *(
            Statistic(f"{name}_grad.labelled", type_, rf"\nabla {symbol}^{{L}}", Probe.LABELLED, True)
            for name, type_, symbol in gradients
        ),
        Statistic("convolution_output.labelled", OUTPUT_ACTIVATION, "z^{L}", Probe.LABELLED, False),
        Statistic("weight_grad.linearised", WEIGHT, r"\nabla W^{1}", Probe.LINEARISED, True),
        Statistic("same_class", NETWORK_KERNEL, "S", None, False),
    )


LABELLED_STATISTICS = _labelled()
"""What published estimators read beside the paper's statistics. ``convolution_output`` is what a convolution returns,
before normalisation; ``weight_grad.linearised`` is in double precision, because it spans 1e60; ``same_class`` is
(batch, batch), 1 where two images share a class and 0 elsewhere, the same for every network."""

STATISTICS: Mapping[str, Statistic] = {
    s.name: s for s in (*LAYER_STATISTICS, *NETWORK_QUANTITIES, *LABELLED_STATISTICS)
}

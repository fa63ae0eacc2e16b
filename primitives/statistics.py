"""The nouns of the language: what a program may read of a network.

The paper's 22 statistics are {weight, activation_input, convolution_input, activation_output} x {value, gradient} x
{data, noise, perturbed}, less two because the weight itself does not depend on the probe. Network-level quantities are
read off the architecture alone. `LABELLED_STATISTICS` are what the published estimators read beside: gradients of the
loss for the classes of the images, gradients of the linearised network, and which images share a class.
`GRAPH_STATISTICS` are read off the graph of layers, of each layer or of the network. `METRIC_STATISTICS` are the scores
of published estimators, which are declared here and computed by whoever has the network.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from primitives.types import (
    INPUT_ACTIVATION,
    LAYER_SCALAR,
    NETWORK_KERNEL,
    NETWORK_SCALAR,
    OUTPUT_ACTIVATION,
    WEIGHT,
    Level,
    Type,
)

BACKWARD_PASSES = 2.0
"""A backward pass costs about two forward passes."""


@dataclass(frozen=True, slots=True)
class ProbeFacts:
    """What is known of a probe.

    Attributes:
        name: as statistics spell it.
        mark: the superscript of its statistics in formulas.
        meaning: in words, after what is recorded.
        total: what gradients are of, in words.
        needs_classes: whether the class of each image must be known.
        compared_with: name of the probe that is run as well, and whose statistics are subtracted; empty if none is.
    """

    name: str
    mark: str
    meaning: str
    total: str = "sum of logits"
    needs_classes: bool = False
    compared_with: str = ""


class Probe(enum.Enum):
    """The input batch that excites a network.

    DATA: a batch of images. NOISE: standard normal, of the same shape. PERTURBED: the data plus normal noise of
    variance 0.01; every perturbed statistic is kept as its difference from the data statistic. LABELLED: the images of
    DATA with their classes; gradients are those of the mean cross-entropy. LINEARISED: one image of ones through the
    network with the magnitudes of its parameters and without batch normalisation, in double precision.

    Source: EZNAS (Akhauri et al. 2022), section on network statistics, and its released code; LABELLED: Lee et al. 2019
    (SNIP) and Abdelfattah et al. 2021; LINEARISED: Tanaka et al. 2020 (synflow).
    """

    facts: ProbeFacts

    DATA = ProbeFacts("data", "D", "on images")
    NOISE = ProbeFacts("noise", "N", "on Gaussian noise")
    PERTURBED = ProbeFacts("perturbed", "P", "change when the images get a little noise", compared_with="data")
    LABELLED = ProbeFacts("labelled", "L", "on images with their classes", total="loss", needs_classes=True)
    LINEARISED = ProbeFacts(
        "linearised", "1", "on an image of ones, with the magnitudes of all parameters and without normalisation"
    )

    def __new__(cls, facts: ProbeFacts) -> Probe:
        member = object.__new__(cls)
        member._value_ = facts.name
        member.facts = facts
        return member

    @property
    def runs(self) -> tuple[Probe, ...]:
        """The probes that must be run for its statistics."""
        return (*(probe for probe in Probe if probe.value == self.facts.compared_with), self)


PAPER_PROBES = (Probe.DATA, Probe.NOISE, Probe.PERTURBED)
"""The probes of the EZNAS paper."""


@dataclass(frozen=True, slots=True)
class EstimatorFacts:
    """What is known of a published estimator whose score is a statistic.

    Attributes:
        name: as users call it.
        needs: what it must be given or may take of a network: of ``"images"``, ``"labels"`` and ``"gradients"``.
        passes: what it costs, in forward passes of the network.
    """

    name: str
    needs: frozenset[str]
    passes: float


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a statistic is of.

    Attributes:
        name: as statistics spell it.
        type: its type, and that of its gradient.
        latex: its symbol.
        meaning: in words, with the article if it takes one.
        non_negative: whether its values are never below zero.
        needs_classes: whether the class of each image must be known.
        of_graph: whether it is read off the graph of layers.
        estimator: the published estimator whose score it is, as its formula gives it; None if it is none.
    """

    name: str
    type: Type
    latex: str
    meaning: str
    non_negative: bool = False
    needs_classes: bool = False
    of_graph: bool = False
    estimator: EstimatorFacts | None = None


_WEIGHT = Quantity("weight", WEIGHT, "W", "the weight of the convolution")
_ACTIVATION_INPUT = Quantity("activation_input", INPUT_ACTIVATION, "a", "what enters the activation")
_CONVOLUTION_INPUT = Quantity("convolution_input", INPUT_ACTIVATION, "x", "what enters the convolution")
_ACTIVATION_OUTPUT = Quantity("activation_output", OUTPUT_ACTIVATION, "y", "what leaves the normalisation")
_CONVOLUTION_OUTPUT = Quantity("convolution_output", OUTPUT_ACTIVATION, "z", "what leaves the convolution")
_ACTIVATIONS = (_ACTIVATION_INPUT, _CONVOLUTION_INPUT, _ACTIVATION_OUTPUT)


@dataclass(frozen=True, slots=True, eq=False)
class Statistic:
    """One leaf of the language; those of one name are equal.

    Attributes:
        quantity: what it is of.
        probe: the probe that must be run for it; None if none is needed.
        is_gradient: whether it takes a backward pass: of the sum of the logits, or of the loss if labelled.
        name: as programs and stores spell it, for example ``weight_grad.noise``.
        latex: its symbol; the superscript names the probe, a prefix of nabla the gradient.
        meaning: what it is, in words.

    Raises:
        ValueError: for a gradient without a probe.
    """

    quantity: Quantity
    probe: Probe | None = None
    is_gradient: bool = False
    name: str = field(init=False)
    latex: str = field(init=False)
    meaning: str = field(init=False)

    def __post_init__(self) -> None:
        name, latex, meaning = self.quantity.name, self.quantity.latex, self.quantity.meaning.removeprefix("the ")
        if self.is_gradient:
            if self.probe is None:
                raise ValueError(f"The gradient of {name!r} takes a backward pass; say after which probe")
            name, latex = f"{name}_grad", rf"\nabla {latex}"
            meaning = f"gradient of the {self.probe.facts.total} with respect to {self.quantity.meaning}"
        if self.probe is not None:
            name, latex = f"{name}.{self.probe.value}", f"{latex}^{{{self.probe.facts.mark}}}"
            meaning = f"{meaning}, {self.probe.facts.meaning}"
        for attribute, value in (("name", name), ("latex", latex), ("meaning", meaning)):
            object.__setattr__(self, attribute, value)

    @property
    def type(self) -> Type:
        """Its type."""
        return self.quantity.type

    @property
    def non_negative(self) -> bool:
        """Whether its values are never below zero."""
        return self.quantity.non_negative and not self.is_gradient

    @property
    def needs_classes(self) -> bool:
        """Whether the class of each image must be known."""
        return self.quantity.needs_classes or (self.probe is not None and self.probe.facts.needs_classes)

    @property
    def of_graph(self) -> bool:
        """Whether it is read off the graph of layers, of which any pass shows all."""
        return self.quantity.of_graph

    @property
    def estimator(self) -> EstimatorFacts | None:
        """The published estimator whose score it is, which no capture records; None if it is none."""
        return self.quantity.estimator

    @property
    def is_on_request(self) -> bool:
        """Whether a capture records it only if it is asked to; counts and shared classes it records by itself."""
        return self.of_graph or self.type.level is Level.LAYER

    @property
    def passes(self) -> float:
        """What it costs on each of its probes, in forward passes, or its estimator; 0 without either."""
        if self.estimator is not None:
            return self.estimator.passes
        return 0.0 if self.probe is None else 1.0 + BACKWARD_PASSES * self.is_gradient

    def __repr__(self) -> str:
        return f"Statistic({self.name!r})"

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Statistic) and self.name == other.name


WEIGHT_STATISTICS = (
    Statistic(_WEIGHT),
    *(Statistic(_WEIGHT, probe, is_gradient=True) for probe in PAPER_PROBES),
)
LAYER_STATISTICS = (
    *WEIGHT_STATISTICS,
    *(
        Statistic(quantity, probe, is_gradient)
        for quantity in _ACTIVATIONS
        for is_gradient in (False, True)
        for probe in PAPER_PROBES
    ),
)
"""The paper's 22 statistics."""

NETWORK_QUANTITIES = tuple(
    Statistic(Quantity(name, NETWORK_SCALAR, latex, meaning, non_negative=True))
    for name, latex, meaning in (
        ("parameter_count", "N_{par}", "number of trainable parameters"),
        ("mac_count", "N_{mac}", "multiply-accumulates of one image"),
        ("unit_count", "N_{unit}", "number of units"),
    )
)
"""Trainable parameters; multiply-accumulates of one image (layers and products of matrices); number of units."""

LABELLED_STATISTICS = (
    *(
        Statistic(quantity, Probe.LABELLED, is_gradient=True)
        for quantity in (_WEIGHT, *_ACTIVATIONS, _CONVOLUTION_OUTPUT)
    ),
    Statistic(_CONVOLUTION_OUTPUT, Probe.LABELLED),
    Statistic(_WEIGHT, Probe.LINEARISED, is_gradient=True),
    Statistic(Quantity("same_class", NETWORK_KERNEL, "S", "which images share a class", needs_classes=True)),
)
"""What published estimators read beside the paper's statistics. ``convolution_output`` is what a convolution returns,
before normalisation; ``weight_grad.linearised`` is in double precision, because it spans 1e60; ``same_class`` is
(batch, batch), 1 where two images share a class and 0 elsewhere, the same for every network."""

GRAPH_STATISTICS = tuple(
    Statistic(Quantity(name, type_, latex, meaning, non_negative=name != "stage", of_graph=True))
    for type_, rows in (
        (LAYER_SCALAR, (
            ("depth", r"\delta_{in}", "layers on the longest path from the input to the layer, itself among them"),
            ("distance_to_output", r"\delta_{out}", "layers after the layer on the longest path to the logits"),
            ("log_paths", r"\pi", "log of one more than the number of paths through the layer"),
            ("path_share", r"\varphi", "share of all paths that go through the layer"),
            ("is_bypassed", r"\beta", "whether data can flow round the layer without another, 1 or 0"),
            ("fan_in", "n_{in}", "number of layers that the layer reads, the input among them"),
            ("fan_out", "n_{out}", "number of layers that read the layer, the logits among them"),
            ("stage", "s", "how often the resolution was halved before the output of the layer"),
            ("is_on_longest_path", r"\lambda", "whether the layer is on a longest path, 1 or 0"),
        )),
        (NETWORK_SCALAR, (
            ("log_path_count", r"\Pi", "log of one more than the number of paths from the input to the logits"),
            ("longest_path", r"\Delta_{max}", "most layers on a path from the input to the logits"),
            ("shortest_path", r"\Delta_{min}", "fewest layers on a path from the input to the logits"),
            ("bypassed_share", r"\overline{\beta}", "share of all layers that data can flow round without another"),
            ("layer_count", "N_{lay}", "number of layers on a path from the input to the logits"),
        )),
    )
    for name, latex, meaning in rows
)  # fmt: skip
"""What the graph of layers says of each layer, and of the network. A path is a sequence of layers, each of which reads
the one before it; logarithms are natural. All layers are in the graph, also where programs read units alone.
`eznas.statistics.graph` defines each."""

ROLE_STATISTICS = tuple(
    Statistic(Quantity(f"is_{role}", LAYER_SCALAR, rf"\mathbf{{1}}_{{{role}}}", f"1 if {meaning}, else 0", True))
    for role, meaning in (
        ("stem", "the images enter the layer through no other"),
        ("shortcut", "the layer is a projection on a skip path"),
        ("depthwise", "the layer is a depthwise convolution"),
        ("pointwise", "the layer sees one position at a time"),
        ("head", "the layer gives the logits"),
        ("plain", "the layer has no other role"),
    )
)
"""The role of a layer, exactly one of these being 1; the source of `eznas.statistics.wiring` says which."""

METRIC_PREFIX = "metric."
"""What the name of a statistic begins with that is the score of a published estimator."""


def _metric(
    name: str, symbol: str, meaning: str, needs: str = "", passes: float = 1.0, *, non_negative: bool = False
) -> Statistic:
    """The score of an estimator; `needs` are the first letters of what it needs."""
    kinds = frozenset(kind for kind in ("images", "labels", "gradients") if kind[0] in needs)
    return Statistic(
        Quantity(
            METRIC_PREFIX + name,
            NETWORK_SCALAR,
            rf"\mathrm{{{symbol}}}",
            meaning,
            non_negative,
            needs_classes="labels" in kinds,
            estimator=EstimatorFacts(name, kinds, passes),
        )
    )


METRIC_STATISTICS = (
    _metric("trainable_layers", r"n_{tensors}", "number of parameter tensors", passes=0.0, non_negative=True),
    _metric("relu_count", r"n_{ReLU}", "number of ReLUs in a forward pass", non_negative=True),
    _metric("l2_norm", "l2", "l2 norm: norms of the weights, summed over layers", passes=0.0, non_negative=True),
    _metric("grad_norm", r"grad\ norm", "norms of the loss gradient of the weights, summed over layers", "ilg", 3.0,
            non_negative=True),
    _metric("plain", "plain", "sum of weight times loss gradient", "ilg", 3.0),
    _metric("snip", "SNIP", "sum of the magnitudes of weight times loss gradient", "ilg", 3.0, non_negative=True),
    _metric("grasp", "GraSP", "minus the sum of weight times the loss's curvature along the gradient", "ilg", 7.0),
    _metric("fisher", "Fisher", "expected change of the loss when channels are left out", "ilg", 3.0,
            non_negative=True),
    _metric("synflow", "synflow", "log of the sum of the magnitudes of weight times gradient of the linearised network",
            "g", 3.0),
    _metric("synflow_bn", r"synflow_{BN}", "log synflow with batch normalisation kept", "g", 3.0),
    _metric("logsynflow", "logsynflow", "synflow with the logarithms of the gradients", "g", 3.0),
    _metric("jacob_cov", "jacov", "minus how far the Jacobians of the images are correlated", "ig", 3.0),
    _metric("epe_nas", "EPE", "how uncorrelated Jacobians are at images of one class", "ilg", 3.0, non_negative=True),
    _metric("epe_nas_as_released", r"EPE_{released}", "EPE-NAS in its first form for any number of classes", "ilg", 3.0,
            non_negative=True),
    _metric("naswot", "NASWOT", "log determinant of the agreement of the images' activation patterns", "i"),
    _metric("linear_regions", r"n_{regions}", "number of linear regions that the images fall into", "i",
            non_negative=True),
    _metric("swap", "SWAP", "number of distinct patterns that units show over the images", "i", 32.0,
            non_negative=True),
    _metric("swap_regularised", r"SWAP_{reg}", "SWAP times a preference for networks of a certain size", "i", 32.0,
            non_negative=True),
    _metric("meco", "MeCo", "smallest eigenvalues of the correlation of channels, summed over modules"),
    _metric("zen", "zen", "log sensitivity of the last features to noise, rescaled", passes=2.0),
    _metric("az_expressivity", r"AZ_{expressivity}", "entropy of principal components, summed over blocks"),
    _metric("az_progressivity", r"AZ_{progressivity}", "smallest growth of that entropy from block to block"),
    _metric("az_trainability", r"AZ_{trainability}", "how near blocks are to keeping the length of a gradient", "g",
            3.0),
    _metric("zico", "ZiCo", "log mean over deviation of the loss gradient over two batches, summed over layers", "ilg",
            3.0),
    _metric("gradsign", "GradSign", "how often the loss gradients of single images agree in sign", "ilg", 3.0,
            non_negative=True),
    _metric("ntk", r"\kappa_{NTK}", "condition number of the neural tangent kernel", "ig", 3.0),
    _metric("vkdnw", "VKDNW", "number of parameter tensors plus the entropy of the Fisher information", "g", 3.0),
)  # fmt: skip
"""The raw scores of published estimators, as their formulas give them and not turned by their direction; all but those
that are counts of the language already. `eznas.estimators` defines each."""

STATISTICS: Mapping[str, Statistic] = {
    s.name: s
    for s in (
        *LAYER_STATISTICS,
        *NETWORK_QUANTITIES,
        *LABELLED_STATISTICS,
        *ROLE_STATISTICS,
        *GRAPH_STATISTICS,
        *METRIC_STATISTICS,
    )
}

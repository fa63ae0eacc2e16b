"""Aggregates: proxies that rank a network by its places among the networks of a reference sample.

A rank needs others to rank among. Published aggregates rank the candidates of a search among themselves, so that one
network alone has no score; here the reference is part of the proxy, which makes it a function of one network.
The arithmetic is in `eznas.fitness.aggregation`, the stored form in `aggregate_file`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from eznas.errors import ConfigError
from eznas.estimators.published import by_name
from eznas.evaluation import evaluate
from eznas.fitness.aggregation import MAX_TERMS, MODES, Floats, Mode, aggregate_scores, parse_sum, sorted_reference
from eznas.programs import Invalid, Program
from eznas.proxies.known import KNOWN_PROGRAMS
from eznas.statistics import capture


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A proxy of one network's own: a published estimator, or a program.

    Attributes:
        name: of the estimator; what the user called the program.
        direction: +1 if a higher score predicts a higher accuracy, else -1.
        program: None for an estimator.
        units: the layers that a program reads, one of `eznas.statistics.UNITS`.
    """

    name: str
    direction: int
    program: Program | None = None
    units: str = "convolutional"

    @property
    def reads_images(self) -> bool:
        """Whether its score depends on the batch; what a program counts does not."""
        return self.program is None or bool(self.program.layer_statistics) or self.program.needs_classes

    @property
    def counts_parameters(self) -> bool:
        """Whether its score is the same on any images of any size."""
        counted = set(() if self.program is None else self.program.statistics)
        return not self.reads_images and counted <= {"parameter_count", "unit_count"}

    def score(self, network: nn.Module, inputs: Tensor, targets: Tensor | None = None, *, seed: int = 0) -> float:
        """Score of a network as it is, in the direction of the proxy: higher predicts a higher accuracy.

        Args:
            network: maps `inputs` to one tensor of logits; left as found.
            inputs: (batch, channels, height, width) float32.
            targets: (batch,) class of each image, if the proxy looks at them.
            seed: of the noise of a program's probes.

        Returns:
            The score; NaN where it has no finite value.

        Raises:
            ConfigError: if targets are needed and absent.
            CaptureError: if the network cannot be run on `inputs`.
        """
        program = self.program
        if program is None:
            value = by_name(self.name)(network, inputs, targets)
        else:
            if program.needs_classes and targets is None:
                raise ConfigError(f"The program {self.name!r} looks at classes; pass targets of shape (n,).")
            names = program.layer_statistics
            shown = capture(network, inputs, seed=seed, statistics=names, targets=targets, units=self.units)
            outcome = evaluate(program, shown)
            value = math.nan if isinstance(outcome, Invalid) else outcome
        return self.direction * value if math.isfinite(value) else math.nan


def member_named(name: str) -> Member:
    """The published proxy of a name, a program if the language can express it, else an estimator.

    Raises:
        ConfigError: if there is none.
    """
    if name in KNOWN_PROGRAMS:
        known = KNOWN_PROGRAMS[name]
        return Member(name=name, direction=known.direction, program=known.program, units=known.units)
    return Member(name=name, direction=by_name(name).direction)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceConditions:
    """How the networks of a reference were built and excited, as plain data; equal ones give comparable scores.

    Attributes:
        networks: the settings of the networks by name: skeleton and initialisation.
        seed: of the settings.
        probe_seed: of initialisation and probes, which follows from it.
        images: source of the batches.
        input_size: height and width of an image.
        batch_size: images for programs.
        images_digest: of those images.
        estimator_batch_size: images for published estimators.
        estimator_images_digest: of those images.
    """

    networks: Mapping[str, int | str]
    seed: int
    probe_seed: int
    images: str
    input_size: int
    batch_size: int
    images_digest: str
    estimator_batch_size: int
    estimator_images_digest: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Reference:
    """The networks that others are ranked among.

    Attributes:
        networks: what the user called them, such as ``nb201:random:500:1``.
        space: search space of all of them.
        digest: hash of their descriptions, in order.
        conditions: what they were scored under.
        scores: (n_members, n) scores in the direction of each member, as `sorted_reference` returns them.

    Raises:
        ConfigError: if they are not of two networks or more, do not ascend, or are NaN or positively infinite.
    """

    networks: str
    space: str
    digest: str
    conditions: ReferenceConditions
    scores: Floats

    def __post_init__(self) -> None:
        scores = self.scores
        if scores.ndim != 2 or scores.shape[1] < 2 or not np.array_equal(scores, sorted_reference(scores)):
            raise ConfigError(
                "The scores of a reference are one ascending row per member over two networks or more, -inf for "
                f"failures, got shape {scores.shape} or others; use sorted_reference"
            )

    @property
    def n(self) -> int:
        """Number of networks."""
        return int(self.scores.shape[1])

    @property
    def n_failed(self) -> tuple[int, ...]:
        """On how many of them each member failed."""
        return tuple(int(n) for n in np.isinf(self.scores).sum(axis=1))


@dataclass(frozen=True, eq=False, kw_only=True)
class RankAggregate:
    """Several proxies as one, by the places they give a network in a reference sample.

    Attributes:
        name: for people.
        members: the proxies.
        weights: one each, positive.
        mode: ``"log_rank"`` sums logarithms, as AZ-NAS does, ``"rank_sum"`` places, as TE-NAS does.
        reference: who is ranked among.

    Raises:
        ConfigError: if these do not belong together.
    """

    name: str
    members: tuple[Member, ...]
    weights: tuple[float, ...]
    mode: Mode
    reference: Reference

    def __post_init__(self) -> None:
        if not 1 <= len(self.members) <= MAX_TERMS or len(self.reference.scores) != len(self.members):
            raise ConfigError(
                f"An aggregate has 1 to {MAX_TERMS} members, each with its scores on the reference, got "
                f"{len(self.members)} members and scores of {len(self.reference.scores)}"
            )
        if len({member.name for member in self.members}) < len(self.members):
            raise ConfigError("A member of an aggregate occurs twice; give it a weight instead")
        if len(self.weights) != len(self.members) or not all(0 < w < math.inf for w in self.weights):
            raise ConfigError(
                f"An aggregate has one positive weight for each of {len(self.members)} members, got {self.weights}"
            )
        if self.mode not in MODES:
            raise ConfigError(f"The mode of an aggregate is one of {', '.join(MODES)}, got {self.mode!r}")

    def scores(self, member_scores: npt.ArrayLike) -> Floats:
        """(n,) scores from the (n_members, n) scores of the members, each in the direction of its member."""
        return aggregate_scores(member_scores, self.reference.scores, weights=self.weights, mode=self.mode)

    def score(self, network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
        """Score of a network as it is; higher predicts a higher accuracy.

        The network must be built and initialised as those of the reference were, see `ReferenceConditions`, and the
        images be the same or alike: only then are its scores comparable with theirs.

        Args:
            network: maps `inputs` to one tensor of logits; left as found.
            inputs: (batch, channels, height, width) float32, as many images of the same size as the reference saw.
            targets: (batch,) class of each image, if a member needs them.

        Returns:
            The score; NaN if every member failed. A member that failed has its lowest place.

        Raises:
            ConfigError: if the batch is of another size than the reference's, or targets are needed and absent.
            CaptureError: if the network cannot be run on `inputs`.
        """
        seen = self.reference.conditions
        for member in self.members:
            size = seen.estimator_batch_size if member.program is None else seen.batch_size
            is_fit = tuple(inputs.shape[2:]) == (seen.input_size, seen.input_size)
            if member.reads_images:  # multiply-accumulates depend on the size of an image, not on their number
                is_fit = is_fit and len(inputs) == size
            if not is_fit and not member.counts_parameters:
                raise ConfigError(
                    f"{member.name!r} of {self.name!r} ranks among scores on {size} images of {seen.input_size} x "
                    f"{seen.input_size}, got inputs of shape {tuple(inputs.shape)}; give such a batch, or make a "
                    "reference with yours (eznas aggregate --set probe.batch_size=... --set "
                    "report.baseline_batch_size=...)"
                )
        values = [member.score(network, inputs, targets, seed=seen.probe_seed) for member in self.members]
        return float(self.scores(np.array(values)[:, None])[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """An aggregate without its reference.

    Attributes:
        name: how users and tables call it.
        terms: names of proxies and their weights.
        mode: how they are combined.
        source: paper and reading.
    """

    name: str
    terms: tuple[tuple[str, float], ...]
    mode: Mode = "log_rank"
    source: str = ""


RECIPES: Final[Mapping[str, Recipe]] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            Recipe(
                name="az_nas",
                terms=parse_sum("az_expressivity+az_progressivity+az_trainability+mac_count"),
                source="Lee & Ham 2024, https://arxiv.org/abs/2403.19232",
            ),
            Recipe(
                name="vkdnw_agg",
                terms=parse_sum("vkdnw+jacob_cov+az_expressivity+az_trainability+mac_count"),
                source="Tybl & Neumann 2025, https://arxiv.org/abs/2502.04975; these members on NAS-Bench-201 are a "
                "reading that the released code does not confirm",
            ),
            Recipe(
                name="te_nas",
                terms=parse_sum("ntk+linear_regions"),
                mode="rank_sum",
                source="Chen et al. 2021, https://arxiv.org/abs/2102.11535",
            ),
        )
    }
)
"""Published aggregates by name; their members are looked up when they are used."""


def recipe_for(text: str, mode: Mode | None = None) -> Recipe:
    """The aggregate that a published name or a sum of names describes.

    Args:
        text: a name in `RECIPES`, or ``jacob_cov+parameter_count``, whose terms may have weights (``2*naswot+zen``);
            a published aggregate among them stands for its members.
        mode: None is that of the published aggregate, and ``"log_rank"`` for a sum.

    Raises:
        ConfigError: if the sum cannot be read, a member occurs twice, or an aggregate in it is of another mode.
    """
    if text in RECIPES:
        recipe = RECIPES[text]
        return Recipe(name=text, terms=recipe.terms, mode=mode or recipe.mode, source=recipe.source)
    mode = mode or "log_rank"
    terms: dict[str, float] = {}
    for name, weight in parse_sum(text):
        inner = RECIPES.get(name)
        if inner is not None and inner.mode != mode:
            raise ConfigError(f"{name!r} sums otherwise ({inner.mode}) than {text!r} ({mode}); write its members out")
        for member, share in inner.terms if inner else ((name, 1.0),):
            if member in terms:
                raise ConfigError(f"{member!r} occurs twice in {text!r}; write its members out, with weights")
            terms[member] = weight * share
    return Recipe(name=text, terms=tuple(terms.items()), mode=mode)


__all__ = [
    "RECIPES", "Member", "RankAggregate", "Recipe", "Reference", "ReferenceConditions", "member_named", "recipe_for",
    "sorted_reference",
]  # fmt: skip

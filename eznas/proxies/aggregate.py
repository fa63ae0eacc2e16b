"""Aggregates: proxies that rank a network by its places among the networks of a reference sample.

A rank needs others to rank among. Published aggregates rank the candidates of a search among themselves, so that one
network alone has no score; here the reference is part of the proxy, which makes it a function of one network.
The arithmetic is in `eznas.fitness.aggregation`, the stored form in `file`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from eznas.conditions import Conditions, as_inputs, as_targets
from eznas.errors import ConfigError, ScoreError
from eznas.fitness.aggregation import MAX_TERMS, MODES, Floats, Mode, aggregate_scores, parse_sum, sorted_reference
from eznas.programs import FailureKind, Invalid, Program
from eznas.proxies.program import ProgramProxy
from eznas.proxies.proxy import Proxy
from primitives import STATISTICS


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
    conditions: Conditions
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
        members: the proxies, none of them an aggregate.
        weights: one each, positive.
        mode: ``"log_rank"`` sums logarithms, as AZ-NAS does, ``"rank_sum"`` places, as TE-NAS does.
        reference: who is ranked among.

    Raises:
        ConfigError: if these do not belong together.
    """

    name: str
    members: tuple[Proxy, ...]
    weights: tuple[float, ...]
    mode: Mode
    reference: Reference

    direction: ClassVar[int] = 1

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

    @property
    def needs(self) -> frozenset[str]:
        """All that its members need."""
        return frozenset().union(*(member.needs for member in self.members))

    @property
    def cost(self) -> float:
        """In forward passes, an estimate: the sum of its members'."""
        return sum(member.cost for member in self.members)

    @property
    def conditions(self) -> Conditions:
        """Of the reference; only networks built and excited so have comparable scores."""
        return self.reference.conditions

    def scores(self, member_scores: npt.ArrayLike) -> Floats:
        """(n,) scores from the (n_members, n) scores of the members, each in the direction of its member."""
        return aggregate_scores(member_scores, self.reference.scores, weights=self.weights, mode=self.mode)

    def of(self, outcomes: Sequence[float | Invalid]) -> float | Invalid:
        """The score of a network from the outcomes of the members; one that failed has its lowest place."""
        values = np.array([math.nan if isinstance(outcome, Invalid) else outcome for outcome in outcomes])
        failures = [outcome for outcome in outcomes if isinstance(outcome, Invalid)]
        if len(failures) == len(outcomes):
            return Invalid(FailureKind.MEMBERS, f"{self.name}: every member failed, the first: {failures[0].detail}")
        return float(self.scores(values[:, None])[0])

    def outcome(self, network: nn.Module, inputs: Any, targets: Any = None) -> float | Invalid:
        """See `Proxy.outcome`.

        The network must be built and initialised as those of the reference were, see `conditions`, and the images be
        the same or alike, as many of the same size: only then are its scores comparable with theirs.

        Raises:
            ConfigError: if the batch is of another size than the reference's, or classes are needed and absent.
        """
        inputs, targets = as_inputs(inputs), as_targets(targets)
        for member in self.members:
            self._check_batch(member, inputs)
        members = [m.bound(self.conditions) if isinstance(m, ProgramProxy) else m for m in self.members]
        return self.of([member.outcome(network, inputs, targets) for member in members])

    def score(self, network: nn.Module, inputs: Any, targets: Any = None) -> float:
        """As `outcome`, for those who want a number.

        Raises:
            ConfigError: as `outcome`.
            ScoreError: if every member failed.
        """
        outcome = self.outcome(network, inputs, targets)
        if isinstance(outcome, Invalid):
            raise ScoreError(f"Aggregate {self.name!r} has no score for {type(network).__name__}: {outcome.detail}")
        return outcome

    def _check_batch(self, member: Proxy, inputs: Tensor) -> None:
        """Refuse a batch that a member's scores on the reference cannot be compared with."""
        seen = self.conditions
        if is_count(member):
            return
        n_images = batch_size_for(member, seen)
        if _reads_both(member) and seen.batch_size != seen.estimator_batch_size:
            raise ConfigError(
                f"{member.name!r} of {self.name!r} reads layers on {seen.batch_size} images and published estimators "
                f"on {seen.estimator_batch_size}, so that no batch will do for both; make a reference with equal "
                "numbers (eznas aggregate --set probe.batch_size=... --set report.baseline_batch_size=...)"
            )
        reads_values = not isinstance(member, ProgramProxy) or member.reads_images
        is_fit = tuple(inputs.shape[2:]) == (seen.input_size, seen.input_size)
        if reads_values:  # multiply-accumulates depend on the size of an image, not on their number
            is_fit = is_fit and len(inputs) == n_images
        if not is_fit:
            raise ConfigError(
                f"{member.name!r} of {self.name!r} ranks among scores on {n_images} images of {seen.input_size} x "
                f"{seen.input_size}, got inputs of shape {tuple(inputs.shape)}; give such a batch, or make a "
                "reference with yours (eznas aggregate --set probe.batch_size=... --set "
                "report.baseline_batch_size=...)"
            )


def batch_size_for(proxy: Proxy, conditions: Conditions) -> int:
    """Images that a proxy sees under some conditions: programs need fewer than estimators were designed for.

    A program over scores of estimators alone is as these; one that reads layers as well sees both batches, and this is
    the number of images for its layers.
    """
    if isinstance(proxy, ProgramProxy) and (proxy.program.captured_statistics or not proxy.program.metrics):
        return conditions.batch_size
    return conditions.estimator_batch_size


def _reads_both(proxy: Proxy) -> bool:
    """Whether a proxy is a program over layers and over scores of published estimators."""
    return isinstance(proxy, ProgramProxy) and bool(proxy.program.captured_statistics and proxy.program.metrics)


def is_count(proxy: Proxy) -> bool:
    """Whether a proxy is the same on any images of any size."""
    if isinstance(proxy, ProgramProxy):
        counted = {"parameter_count", "unit_count", *_countable(proxy.program)}
        return not proxy.reads_images and set(proxy.program.statistics) <= counted
    return proxy.cost == 0


def needs_no_pass(proxy: Proxy) -> bool:
    """Whether a proxy looks at the parameters alone, so that the network need not run on any images."""
    if isinstance(proxy, RankAggregate):
        return all(needs_no_pass(member) for member in proxy.members)
    if isinstance(proxy, ProgramProxy):
        return set(proxy.program.statistics) <= {"parameter_count", *_countable(proxy.program)}
    return proxy.cost == 0


def _countable(program: Program) -> tuple[str, ...]:
    """Names of the published estimators a program reads that look at the parameters alone."""
    return tuple(name for name in program.metrics if STATISTICS[name].passes == 0)


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

"""Model cards: what is known of a proxy of the gallery, kept beside its formula as data.

A card belongs to one formula, by the digest of its file. It holds what was measured: cost, badges, what each part
contributes, figures on every sample with their intervals, and the networks it ranks worst. Accuracies of networks are
not in it, only their ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
import scipy
from pydantic import Field

from eznas.assessment.ablation import Ablation
from eznas.assessment.badges import EXACT, Reading
from eznas.errors import ConfigError, ProgramError
from eznas.fitness import Labels, Measurement
from eznas.fitness.labels import FloatArray
from eznas.fitness.measurement import Criterion
from eznas.forms import Form, read_form
from eznas.proxies.named import GALLERY, gallery_proxy
from eznas.spaces import Architecture

FOLDER: Final = "cards"
"""In the gallery's folder."""
N_WORST: Final = 10
_REMEDY: Final = "put it back, or compute it anew (make cards)"
_Text = Annotated[str, Field(max_length=100_000)]
_Share = Annotated[float, Field(ge=0, le=1)]


class PartLine(Form):
    """A sub-expression that is a number of the network, and what the formula is without it, see `Part`."""

    program: _Text
    size: Annotated[int, Field(ge=1)]
    depth: Annotated[int, Field(ge=0)]
    """Operators above it."""
    loss: float
    bypass: float | None = None
    is_idle: bool = False
    is_constant: bool = False


class BadgeLine(Form):
    """What became of the scores when one thing was changed, see `Reading`."""

    badge: _Text
    n: Annotated[int, Field(ge=0)]
    tau: float | None
    change: float | None
    largest: float | None
    is_won: bool

    @property
    def is_exact(self) -> bool:
        """Whether the scores are the same."""
        return self.largest is not None and self.largest <= EXACT


class SampleFigure(Form):
    """How the formula ranks networks of one benchmark that it was not evolved on, beside what is free."""

    sample: _Text
    space: _Text
    dataset: _Text
    split: _Text
    epochs: int | None
    is_seen: bool
    """Whether other networks of this space were evolved on."""
    measured: Measurement
    partial_tau: float | None
    """Kendall tau-b given the logarithms of parameters and multiply-accumulates."""
    baselines: dict[str, Criterion | None]
    """tau-b of other proxies on the same networks."""
    over_macs: Criterion | None
    """tau-b less that of multiply-accumulates, on the same resamples."""


class Miss(Form):
    """A network that the formula ranks far from where its accuracy does; ranks count from 1, the best first."""

    sample: _Text
    network: _Text
    n: int
    by_score: int
    by_accuracy: int


class Cost(Form):
    """What a score takes, on one core."""

    network: _Text
    milliseconds: Annotated[float, Field(ge=0)]
    forward_milliseconds: Annotated[float, Field(gt=0)]
    """Of a plain forward pass of the network over the same batch."""
    estimate: Annotated[float, Field(ge=0)]
    """In forward passes, by the language's own table."""

    @property
    def passes(self) -> float:
        """Forward passes that a score takes, measured."""
        return self.milliseconds / self.forward_milliseconds


class Card(Form):
    """What is known of a proxy of the gallery."""

    format: Literal["eznas-card"] = "eznas-card"
    version: Literal[1] = 1
    name: _Text
    proxy: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Digest of the file of the formula."""
    cost: Cost
    badges_on: _Text
    """The networks that badges were measured on."""
    badges: Annotated[tuple[BadgeLine, ...], Field(max_length=100)]
    ablated_on: _Text
    tau: float
    """Mean tau-b over the samples of the ablation."""
    share_idle: _Share
    parts: Annotated[tuple[PartLine, ...], Field(max_length=1_000)]
    figures: Annotated[tuple[SampleFigure, ...], Field(max_length=200)]
    worst: Annotated[tuple[Miss, ...], Field(max_length=100)]

    @property
    def mean_tau(self) -> float:
        """Of its figures, each sample once; failures count as 0."""
        return _mean([figure.measured.tau for figure in self.figures])

    @property
    def own_tau(self) -> float | None:
        """Mean over samples of spaces that it was evolved on; None without any."""
        own = [figure.measured.tau for figure in self.figures if figure.is_seen]
        return _mean(own) if own else None

    @property
    def mean_macs(self) -> float:
        """The same of multiply-accumulates."""
        return _mean([figure.baselines.get("mac_count") for figure in self.figures])

    @property
    def worse_than_macs(self) -> tuple[str, ...]:
        """Samples on which multiply-accumulates rank better."""
        return tuple(
            figure.sample for figure in self.figures if figure.over_macs is not None and figure.over_macs.value < 0
        )


def _mean(criteria: Sequence[Criterion | None]) -> float:
    return float(np.mean([0.0 if one is None else one.value for one in criteria])) if criteria else 0.0


def card_of(name: str) -> Card | None:
    """The card of a proxy of the gallery; None if there is none yet.

    Raises:
        ConfigError: if there is no such proxy, or the card is of another formula.
        ProgramError: if the card cannot be read.
    """
    stored = gallery_proxy(name)
    path = Path(str(files("eznas") / GALLERY / FOLDER / f"{name}.json"))
    if not path.is_file():
        return None
    card = read_form(Card, path, error=ProgramError, remedy=_REMEDY)
    if card.proxy != stored.digest:
        raise ConfigError(f"The card {path} is of another formula than {name!r} of the gallery is now; {_REMEDY}")
    return card


def part_lines(ablation: Ablation) -> tuple[PartLine, ...]:
    """The parts of a formula for a card."""
    spans = ablation.program.spans
    return tuple(
        PartLine(
            program=part.program.text,
            size=part.program.size,
            depth=sum(index < part.index < spans[index] for index in range(part.index)),
            loss=round(part.loss, 4),
            bypass=None if part.bypass is None else round(part.bypass, 4),
            is_idle=part.is_idle,
            is_constant=part.is_constant,
        )
        for part in ablation.parts
    )


def badge_line(reading: Reading) -> BadgeLine:
    """A badge for a card."""
    tau, change, largest = (
        None if value is None else round(value, 6) for value in (reading.tau, reading.change, reading.largest)
    )
    return BadgeLine(badge=reading.badge, n=reading.n, tau=tau, change=change, largest=largest, is_won=reading.is_won)


def worst_ranked(
    scores: FloatArray, labels: Labels, networks: Sequence[Architecture], n: int = N_WORST
) -> tuple[Miss, ...]:
    """The networks of a sample that a proxy ranks farthest from where their accuracies do, the farthest first.

    Args:
        scores: (n_networks,) in which higher is better; not finite where the proxy failed, which ranks last.
        labels: the sample.
        networks: (n_networks,) whose columns these are.
        n: how many.
    """
    x = scores[labels.networks]
    by_score = scipy.stats.rankdata(-np.where(np.isfinite(x), x, -np.inf), method="min").astype(int)
    by_accuracy = scipy.stats.rankdata(-labels.accuracies, method="min").astype(int)
    order = np.argsort(-np.abs(by_score - by_accuracy), kind="stable")[:n]
    return tuple(
        Miss(
            sample=labels.task,
            network=f"{networks[labels.networks[i]].space}:{networks[labels.networks[i]].spec}",
            n=x.size,
            by_score=int(by_score[i]),
            by_accuracy=int(by_accuracy[i]),
        )
        for i in order.tolist()
    )

"""Badges: what a proxy does not mind. Networks are scored twice, the second time with one thing changed.

What is measured is by how much the scores move and whether the networks are still ranked alike; a badge is won at a
stated threshold. A new badge is one row of `BADGES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from eznas.conditions import GIVEN, Conditions
from eznas.errors import CaptureError, EznasError, UnfitError
from eznas.fitness import MIN_NETWORKS, kendall_tau_b
from eznas.fitness.labels import FloatArray
from eznas.fitness.ranks import kendall_resampled
from eznas.programs import FailureKind, Invalid
from eznas.proxies import ProgramProxy, Proxy, batch_size_for, statistics_for
from eznas.randomness import stream
from eznas.spaces import KEEP, Architecture

KEPT: Final = 0.9
"""Kendall tau-b between the scores before and after from which a ranking counts as kept."""
EXACT: Final = 1e-4
"""Largest change of a score, as a share of the scores' spread, up to which scores count as the same."""
N_RESAMPLES: Final = 1_000
"""Of the interval of tau."""
FACTOR: Final = 2
"""By which sizes and scales are multiplied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """One thing that is changed.

    Attributes:
        name: of the badge.
        title: what is changed, for people.
        built: the conditions that the networks are then built under; None if these networks cannot be changed so.
        excited: the conditions that the images are then drawn under; None if they cannot.
        network: changes a network in place.
        inputs: changes (batch, channels, height, width) images.
        is_noise_kept: whether the noise of probes stays what it was.
    """

    name: str
    title: str
    built: Callable[[Conditions], Conditions | None] = lambda conditions: conditions
    excited: Callable[[Conditions], Conditions | None] = lambda conditions: conditions
    network: Callable[[nn.Module], None] | None = None
    inputs: Callable[[Tensor], Tensor] | None = None
    is_noise_kept: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What became of the scores of a proxy when one thing was changed.

    Attributes:
        badge: name of it.
        n: networks with a score before and after.
        tau: Kendall tau-b between the scores before and after; None if it has no value.
        low, high: its 95 % percentile interval over the choice of networks; None without a value.
        change: median over the networks of the change of a score, as a share of the spread of the scores before, the
            difference of their quartiles, or of their magnitude if there is none; None without any.
        largest: the largest of these.
    """

    badge: str
    n: int
    tau: float | None
    change: float | None
    largest: float | None
    low: float | None = None
    high: float | None = None

    @property
    def is_exact(self) -> bool:
        """Whether the scores are the same."""
        return self.largest is not None and self.largest <= EXACT

    @property
    def is_won(self) -> bool:
        """Whether the networks are ranked alike."""
        return self.is_exact or (self.tau is not None and self.tau >= KEPT)


# --- what is changed ----------------------------------------------------------------------------------------------


def _but(conditions: Conditions, **changes: Any) -> Conditions:
    """These conditions with other values; images are drawn anew."""
    data = {name: getattr(conditions, name) for name in Conditions.model_fields}
    made = Conditions(**{**data, "digests": {}, **changes})
    family = conditions._family
    return made if family is None else made.of_family(family)


def _drawn_anew(**of: Callable[[Conditions], Any]) -> Callable[[Conditions], Conditions | None]:
    def changed(conditions: Conditions) -> Conditions | None:
        if conditions.images == GIVEN:
            return None
        return _but(conditions, **{name: value(conditions) for name, value in of.items()})

    return changed


def _setting(name: str, factor: int = FACTOR) -> Callable[[Conditions], Conditions | None]:
    """Networks whose space has a setting of this name are built with a multiple of it."""

    def changed(conditions: Conditions) -> Conditions | None:
        value = getattr(conditions.settings, name, None)
        if value is None:
            return None
        return _but(conditions, settings=conditions.settings.model_copy(update={name: factor * value}))

    return changed


def _initialised_anew(conditions: Conditions) -> Conditions | None:
    if getattr(conditions.settings, "scheme", KEEP) == KEEP:
        return None
    return _but(conditions, seed=conditions.seed + 1)


@torch.no_grad()
def _scale_weights(network: nn.Module) -> None:
    """Weights of convolutions and linear layers; not those of normalisations, nor biases."""
    for parameter in network.parameters():
        if parameter.dim() > 1:
            parameter.mul_(FACTOR)


_other_seed = _drawn_anew(seed=lambda c: c.seed + 1)
_larger_images = _drawn_anew(input_size=lambda c: FACTOR * c.input_size)

BADGES: Final[Mapping[str, Badge]] = MappingProxyType(
    {
        badge.name: badge
        for badge in (
            Badge(
                name="batch_size",
                title="twice as many images",
                excited=_drawn_anew(
                    batch_size=lambda c: FACTOR * c.batch_size,
                    estimator_batch_size=lambda c: FACTOR * c.estimator_batch_size,
                ),
            ),
            Badge(name="input_scale", title="images times two", inputs=lambda inputs: FACTOR * inputs),
            Badge(name="weight_scale", title="weights times two", network=_scale_weights),
            Badge(
                name="input_size",
                title="images twice as large",
                built=_larger_images,
                excited=_larger_images,
            ),
            Badge(name="width", title="twice the channels", built=_setting("channels")),
            Badge(name="depth", title="twice the cells a stage", built=_setting("cells_per_stage")),
            Badge(name="classes", title="ten times the classes", built=_setting("n_classes", 10)),
            Badge(name="initialisation", title="another initialisation", built=_initialised_anew),
            Badge(name="images", title="other images", excited=_other_seed),
            Badge(
                name="retest",
                title="another seed of everything",
                built=_initialised_anew,
                excited=_other_seed,
                is_noise_kept=False,
            ),
        )
    }
)
"""By name, in the order of tables."""


# --- the measurement ----------------------------------------------------------------------------------------------


def read_badges(
    proxies: Sequence[Proxy],
    architectures: Sequence[Architecture],
    conditions: Conditions,
    *,
    badges: Sequence[Badge] = tuple(BADGES.values()),
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, Reading], ...]:
    """The badges of proxies, measured on some networks; programs of the same layers and noise share their passes.

    Args:
        proxies: programs, estimators and whatever else meets `Proxy`.
        architectures: the networks, five at least.
        conditions: what they are scored under before anything is changed.
        badges: what is changed.
        device: of the networks.
        progress: told the networks scored and all of them.

    Returns:
        Of each proxy the readings by badge; without those that these networks cannot be changed for.

    Raises:
        ValueError: if there are fewer networks than a rank correlation needs.
        EznasError: if the images are not at hand.
    """
    if len(architectures) < MIN_NETWORKS:
        raise ValueError(f"Badges need at least {MIN_NETWORKS} networks, got {len(architectures)}")
    cases = [(badge, badge.built(conditions), badge.excited(conditions)) for badge in badges]
    known = [(badge, built, excited) for badge, built, excited in cases if built is not None and excited is not None]
    n_all, n_done = len(architectures) * (1 + len(known)), 0

    def tell() -> None:
        nonlocal n_done
        n_done += 1
        if progress is not None:
            progress(n_done, n_all)

    before = _scores(Badge(name="", title=""), proxies, architectures, conditions, conditions, conditions, device, tell)
    found: list[dict[str, Reading]] = [{} for _ in proxies]
    for badge, built, excited in known:
        noise = conditions if badge.is_noise_kept else built
        after = _scores(badge, proxies, architectures, built, excited, noise, device, tell)
        for row, readings in enumerate(found):
            readings[badge.name] = reading(badge.name, before[row], after[row])
    return tuple(found)


def reading(badge: str, before: FloatArray, after: FloatArray) -> Reading:
    """What two lists of (n,) scores of the same networks say of a badge; not finite where a proxy failed."""
    known = np.isfinite(before) & np.isfinite(after)
    one, other = before[known], after[known]
    if not one.size:
        return Reading(badge=badge, n=0, tau=None, change=None, largest=None)
    lower, upper = np.quantile(one, [0.25, 0.75])
    changes = np.abs(one - other) / ((upper - lower) or np.abs(one).max() or 1.0)
    tau, low, high = _tau(badge, one, other)
    return Reading(
        badge=badge,
        n=int(one.size),
        tau=tau,
        low=low,
        high=high,
        change=float(np.median(changes)),
        largest=float(changes.max()),
    )


def _tau(badge: str, one: FloatArray, other: FloatArray) -> tuple[float | None, float | None, float | None]:
    """tau-b of two lists of scores with the ends of its interval."""
    tau = kendall_tau_b(one, other) if one.size >= MIN_NETWORKS else float("nan")
    if not np.isfinite(tau):
        return None, None, None
    draws = stream(0, "badges", badge).multinomial(one.size, np.full(one.size, 1 / one.size), size=N_RESAMPLES)
    spread = kendall_resampled(one, other, draws.astype(np.float64))
    low, high = np.percentile(spread[np.isfinite(spread)], (2.5, 97.5))
    return float(tau), float(low), float(high)


def _scores(
    badge: Badge,
    proxies: Sequence[Proxy],
    architectures: Sequence[Architecture],
    built: Conditions,
    excited: Conditions,
    noise: Conditions,
    device: str,
    tell: Callable[[], None],
) -> FloatArray:
    """(n_proxies, n_networks) scores, NaN for failures."""
    bound = [proxy.bound(noise) if isinstance(proxy, ProgramProxy) else proxy for proxy in proxies]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for row, proxy in enumerate(bound):
        key = (proxy.units, proxy.seed) if isinstance(proxy, ProgramProxy) and not proxy.program.metrics else (row,)
        groups.setdefault(key, []).append(row)
    scores = np.full((len(proxies), len(architectures)), np.nan)
    for column, arch in enumerate(architectures):
        try:
            network = built.network(arch, device)
        except EznasError:
            tell()
            continue
        if badge.network is not None:
            badge.network(network)
        for rows in groups.values():
            together = [bound[row] for row in rows]
            for row, outcome in zip(rows, _outcomes(together, network, excited, badge, device), strict=True):
                if not isinstance(outcome, Invalid):
                    scores[row, column] = outcome
        tell()
    return scores


def _outcomes(
    proxies: Sequence[Proxy], network: nn.Module, excited: Conditions, badge: Badge, device: str
) -> list[float | Invalid]:
    """Of proxies that share a batch: programs that read the same layers, or one proxy alone."""
    n = batch_size_for(proxies[0], excited)
    inputs, targets = excited.batch(n, device)
    if badge.inputs is not None:
        inputs = badge.inputs(inputs)
    programs = [proxy for proxy in proxies if isinstance(proxy, ProgramProxy) and not proxy.program.metrics]
    if len(programs) < len(proxies):
        return [proxy.outcome(network, inputs, targets) for proxy in proxies]
    try:
        shown = statistics_for(programs, network, inputs, targets)
    except UnfitError:
        return [program.outcome(network, inputs, targets) for program in programs]
    except CaptureError as error:
        return [Invalid(FailureKind.NETWORK, str(error))] * len(programs)
    return [program.of(shown) for program in programs]

"""Proxies on networks: build, excite, score, forget; one network at a time, on the workers of a pool."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from eznas.conditions import Batch, Conditions
from eznas.errors import CaptureError, ConfigError, EznasError, UnfitError
from eznas.estimators import Estimator, family_of, outcomes
from eznas.evaluation import FAILURES, Plan, ShardExecutor, make_plan
from eznas.names import one_line
from eznas.programs import FailureKind, Invalid
from eznas.proxies import ProgramProxy, Proxy, RankAggregate, batch_size_for, statistics_for
from eznas.spaces import Architecture
from eznas.statistics import Coverage, NetworkStatistics, pack
from eznas.workers import Pool

CHUNK = 8
"""Most networks given to a worker at once."""
Outcome = float | Invalid


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of proxies on networks, each in the direction in which a higher one predicts a higher accuracy.

    Attributes:
        scores: (n_proxies, n_networks) float64; NaN where a proxy failed.
        failures: why, by (proxy, network).
        seconds: (n_proxies,) mean time per network of each. Programs that read the same layers, and estimators that
            share their passes (`eznas.estimators.together`), share their time: each has the whole of it, which is
            somewhat more than it takes alone, and together they add up to more than was `spent`.
        member_failures: of aggregates, by (proxy, member, network); such a member has its lowest place.
        coverage: how much of a network a program reads that reads layers, by (proxy, network); of an aggregate that of
            the member that reads least.
        spent: mean time per network of all proxies, in seconds; shared time is counted once.
    """

    scores: npt.NDArray[np.float64]
    failures: dict[tuple[int, int], Invalid]
    seconds: npt.NDArray[np.float64]
    member_failures: dict[tuple[int, str, int], Invalid] = field(default_factory=dict)
    coverage: dict[tuple[int, int], Coverage] = field(default_factory=dict)
    spent: float = 0.0

    def kinds(self, proxy: int) -> list[str | None]:
        """(n_networks,) kind of failure of one proxy on each network, None where it has a score."""
        found: list[str | None] = [None] * self.scores.shape[1]
        for (row, network), failure in self.failures.items():
            if row == proxy:
                found[network] = failure.kind.value
        return found


@dataclass(frozen=True, eq=False, slots=True)
class Row:
    """What several proxies say of one network.

    Attributes:
        outcomes: of each.
        seconds: that its group took, and
        groups: which group that is, by number: proxies that share their work.
        coverage: how much of the network each reads; None if it reads no layers.
    """

    outcomes: list[Outcome]
    seconds: list[float]
    groups: list[int]
    coverage: list[Coverage | None]

    def taken(self, places: Iterable[int]) -> float:
        """Seconds that the proxies at these places took together, each group once."""
        return sum({self.groups[place]: self.seconds[place] for place in places}.values())


class NetworkScorer:
    """State of one worker: the conditions, and the proxies in the groups that share their work.

    Args:
        conditions: how networks are built and excited.
        proxies: none of them an aggregate.
        device: of the networks, ``"cpu"`` or ``"cuda"``.
    """

    def __init__(self, conditions: Conditions, proxies: Sequence[Proxy], device: str) -> None:
        self._conditions = conditions
        self._device = device
        bound = [p.bound(conditions) if isinstance(p, ProgramProxy) else p for p in proxies]
        groups: dict[tuple[Any, ...], list[int]] = {}
        for row, proxy in enumerate(bound):
            groups.setdefault(self._work(row, proxy), []).append(row)
        self._proxies = bound
        self._groups = tuple(groups.values())
        self._plans: dict[tuple[int, ...], Plan] = {}  # by the programs of a group

    def _work(self, row: int, proxy: Proxy) -> tuple[Any, ...]:
        """What proxies that share their work have in common."""
        if isinstance(proxy, ProgramProxy):
            return proxy.units, proxy.seed
        family = family_of(proxy) if isinstance(proxy, Estimator) else None
        return (row,) if family is None else (family, batch_size_for(proxy, self._conditions))

    def score(self, architectures: Sequence[Architecture]) -> list[Row]:
        """What every proxy says of each of some networks."""
        return [self._one(arch) for arch in architectures]

    def _one(self, arch: Architecture) -> Row:
        n = len(self._proxies)
        made = Row([Invalid(FailureKind.NETWORK, "not scored")] * n, [0.0] * n, [0] * n, [None] * n)
        try:
            network = self._conditions.network(arch, self._device)
        except EznasError as error:
            made.outcomes[:] = [Invalid(FailureKind.NETWORK, str(error))] * n
            return made
        for group, rows in enumerate(self._groups):
            start = time.perf_counter()
            first = self._proxies[rows[0]]
            if isinstance(first, ProgramProxy):
                self._of_programs(network, rows, made)
            elif isinstance(first, Estimator):
                self._of_estimators(network, rows, made)
            else:
                made.outcomes[rows[0]] = self._of(network, first)
            taken = time.perf_counter() - start
            for row in rows:
                made.seconds[row], made.groups[row] = taken, group
        return made

    def _of(self, network: Any, proxy: Proxy) -> Outcome:
        try:
            inputs, targets = self._conditions.batch(batch_size_for(proxy, self._conditions), self._device)
            return proxy.outcome(network, inputs, targets)
        except ConfigError as error:  # what this network cannot be given
            return Invalid(FailureKind.UNFIT, f"{proxy.name}: {error}")
        except Exception as error:  # a user's own proxy may raise anything
            return Invalid(FailureKind.NETWORK, f"{proxy.name} raised {type(error).__name__}: {one_line(error)}")

    def _of_estimators(self, network: Any, rows: Sequence[int], made: Row) -> None:
        """Estimators of one family share their passes; one that shares none is alone among `rows`."""
        estimators = [proxy for row in rows if isinstance(proxy := self._proxies[row], Estimator)]
        try:
            inputs, targets = self._conditions.batch(batch_size_for(estimators[0], self._conditions), self._device)
        except ConfigError as error:  # what this network cannot be given
            found: list[Outcome] = [Invalid(FailureKind.UNFIT, f"{one.name}: {error}") for one in estimators]
        else:
            found = outcomes(estimators, network, inputs, targets)
        for row, outcome in zip(rows, found, strict=True):
            made.outcomes[row] = outcome

    @staticmethod
    def _alone(proxy: ProgramProxy, shown: NetworkStatistics) -> Outcome:
        try:
            return proxy.of(shown)
        except FAILURES as error:
            return Invalid(FailureKind.UNFIT, f"{proxy.name} cannot be computed from what the network shows: {error}")

    def _of_programs(self, network: Any, rows: Sequence[int], made: Row) -> None:
        """Programs of the same layers and seed share what the network shows, and each sub-expression."""
        proxies = [proxy for row in rows if isinstance(proxy := self._proxies[row], ProgramProxy)]
        inputs, targets = self._conditions.batch(self._conditions.batch_size, self._device)
        try:
            shown = statistics_for(proxies, network, inputs, targets, batch=self._batch_of_metrics(proxies))
        except CaptureError as error:
            if len(rows) > 1:  # what one of them reads may be what the network does not show
                for row in rows:
                    self._of_programs(network, [row], made)
                return
            kind = FailureKind.UNFIT if isinstance(error, UnfitError) else FailureKind.NETWORK
            made.outcomes[rows[0]] = Invalid(kind, str(error))
            return
        for row, proxy, outcome in zip(rows, proxies, self._outcomes(proxies, shown, tuple(rows)), strict=True):
            made.outcomes[row] = outcome
            made.coverage[row] = shown.coverage if proxy.program.captured_statistics else None

    def _batch_of_metrics(self, proxies: Sequence[ProgramProxy]) -> Batch | None:
        """What the published estimators see that programs read, as estimators do; None if no program reads any."""
        if not any(proxy.program.metrics for proxy in proxies):
            return None
        return self._conditions.batch(self._conditions.estimator_batch_size, self._device)

    def _outcomes(
        self, proxies: Sequence[ProgramProxy], shown: NetworkStatistics, rows: tuple[int, ...]
    ) -> list[Outcome]:
        if not shown.layers:
            return [proxy.of(shown) for proxy in proxies]
        plan = self._plans.get(rows) or make_plan([proxy.program for proxy in proxies])
        self._plans[rows] = plan
        try:
            values = ShardExecutor(pack([shown]), cache_bytes=0).run(plan)[:, 0]
        except FAILURES:  # what one program cannot be computed from must not cost the others their scores
            return [self._alone(proxy, shown) for proxy in proxies]
        return [
            float(proxy.direction * value) if np.isfinite(value) else proxy.of(shown)
            for proxy, value in zip(proxies, values, strict=True)
        ]


def score_networks(
    proxies: Sequence[Proxy],
    architectures: Sequence[Architecture],
    conditions: Conditions,
    pool: Pool,
    *,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
    each: Callable[[int, Scores], None] | None = None,
) -> Scores:
    """Scores of proxies on networks; whoever fails on a network fails there alone.

    Args:
        proxies: programs, estimators, aggregates with their reference, and whatever else meets `Proxy`.
        architectures: the networks.
        conditions: how they are built and excited.
        pool: where to work.
        device: of the networks.
        progress: told the networks done and all networks.
        each: given the position of each network and its scores as soon as it has them, in the order of the networks.
    """
    members, places = _members(proxies)
    drawn = conditions.drawn() if architectures else conditions
    pool.deploy(NetworkScorer, [(drawn, members, device)] * pool.n_workers)
    n_all = len(architectures)
    size = 1 if each is not None else max(1, min(CHUNK, n_all // (4 * pool.n_workers)))
    items = [(architectures[start : start + size],) for start in range(0, n_all, size)]
    waiting: dict[int, Any] = {}
    n_given = 0

    def finished(n_done: int, item: int, result: Any) -> None:
        nonlocal n_given
        if each is not None:
            waiting[item] = result
            while n_given in waiting:
                each(n_given, _combined(proxies, places, waiting.pop(n_given)))
                n_given += 1
        if progress is not None:
            progress(min(n_done * size, n_all), n_all)

    parts = pool.map("score", items, finished)
    return _combined(proxies, places, [row for part in parts for row in part])


def _members(proxies: Sequence[Proxy]) -> tuple[list[Proxy], list[list[int]]]:
    """Whoever scores a network by itself, each once, and for each proxy the places of its members among them."""
    members: list[Proxy] = []
    places = []
    for proxy in proxies:
        mine = []
        for member in proxy.members if isinstance(proxy, RankAggregate) else (proxy,):
            if member not in members:
                members.append(member)
            mine.append(members.index(member))
        places.append(mine)
    return members, places


def _combined(proxies: Sequence[Proxy], places: Sequence[Sequence[int]], rows: Sequence[Row]) -> Scores:
    scores = np.full((len(proxies), len(rows)), np.nan)
    seconds = np.zeros(len(proxies))
    failures: dict[tuple[int, int], Invalid] = {}
    of_members: dict[tuple[int, str, int], Invalid] = {}
    coverage: dict[tuple[int, int], Coverage] = {}
    for network, made in enumerate(rows):
        for row, (proxy, mine) in enumerate(zip(proxies, places, strict=True)):
            outcome = made.outcomes[mine[0]]
            if isinstance(proxy, RankAggregate):
                theirs = [made.outcomes[place] for place in mine]
                outcome = proxy.of(theirs)
                for member, one in zip(proxy.members, theirs, strict=True):
                    if isinstance(one, Invalid):
                        of_members[row, member.name, network] = one
            if isinstance(outcome, Invalid):
                failures[row, network] = outcome
            else:
                scores[row, network] = outcome
            seconds[row] += made.taken(mine)
            read = [share for place in mine if (share := made.coverage[place]) is not None]
            if read:
                coverage[row, network] = min(read, key=lambda one: one.layers)
    n = max(len(rows), 1)
    spent = sum(made.taken(range(len(made.seconds))) for made in rows) / n
    return Scores(scores, failures, seconds / n, of_members, coverage, spent)

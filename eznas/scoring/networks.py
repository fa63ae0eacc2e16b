"""Proxies on networks: build, excite, score, forget; one network at a time, on the workers of a pool."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from eznas.conditions import Batch, Conditions
from eznas.errors import CaptureError, ConfigError, EznasError, UnfitError
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
        seconds: (n_proxies,) mean time per network of each; programs that read the same layers share theirs.
        member_failures: of aggregates, by (proxy, member, network); such a member has its lowest place.
        coverage: how much of a network a program reads that reads layers, by (proxy, network); of an aggregate that of
            the member that reads least.
    """

    scores: npt.NDArray[np.float64]
    failures: dict[tuple[int, int], Invalid]
    seconds: npt.NDArray[np.float64]
    member_failures: dict[tuple[int, str, int], Invalid] = field(default_factory=dict)
    coverage: dict[tuple[int, int], Coverage] = field(default_factory=dict)

    def kinds(self, proxy: int) -> list[str | None]:
        """(n_networks,) kind of failure of one proxy on each network, None where it has a score."""
        found: list[str | None] = [None] * self.scores.shape[1]
        for (row, network), failure in self.failures.items():
            if row == proxy:
                found[network] = failure.kind.value
        return found


@dataclass(frozen=True, eq=False, slots=True)
class Row:
    """What several proxies say of one network: outcomes, seconds, and how much of it each reads; None if none."""

    outcomes: list[Outcome]
    seconds: list[float]
    coverage: list[Coverage | None]


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
            key = (proxy.units, proxy.seed) if isinstance(proxy, ProgramProxy) else (row,)
            groups.setdefault(key, []).append(row)
        self._proxies = bound
        self._groups = tuple(groups.values())
        self._plans: dict[tuple[int, ...], Plan] = {}  # by the programs of a group

    def score(self, architectures: Sequence[Architecture]) -> list[Row]:
        """What every proxy says of each of some networks."""
        return [self._one(arch) for arch in architectures]

    def _one(self, arch: Architecture) -> Row:
        n = len(self._proxies)
        made = Row([Invalid(FailureKind.NETWORK, "not scored")] * n, [0.0] * n, [None] * n)
        try:
            network = self._conditions.network(arch, self._device)
        except EznasError as error:
            made.outcomes[:] = [Invalid(FailureKind.NETWORK, str(error))] * n
            return made
        for rows in self._groups:
            start = time.perf_counter()
            first = self._proxies[rows[0]]
            if isinstance(first, ProgramProxy):
                self._of_programs(network, rows, made)
            else:
                made.outcomes[rows[0]] = self._of(network, first)
            taken = time.perf_counter() - start
            for row in rows:
                made.seconds[row] = taken
        return made

    def _of(self, network: Any, proxy: Proxy) -> Outcome:
        try:
            inputs, targets = self._conditions.batch(batch_size_for(proxy, self._conditions), self._device)
            return proxy.outcome(network, inputs, targets)
        except ConfigError as error:  # what this network cannot be given
            return Invalid(FailureKind.UNFIT, f"{proxy.name}: {error}")
        except Exception as error:  # a user's own proxy may raise anything
            return Invalid(FailureKind.NETWORK, f"{proxy.name} raised {type(error).__name__}: {one_line(error)}")

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
            seconds[row] += sum(made.seconds[place] for place in mine)
            read = [share for place in mine if (share := made.coverage[place]) is not None]
            if read:
                coverage[row, network] = min(read, key=lambda one: one.layers)
    return Scores(scores, failures, seconds / max(len(rows), 1), of_members, coverage)

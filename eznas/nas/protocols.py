"""Searches by name, with their published settings, and the table that compares proxies in one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from eznas.errors import ConfigError
from eznas.fitness.aggregation import aggregate_scores, parse_sum, sorted_reference
from eznas.names import unknown
from eznas.nas import searches
from eznas.nas.repeats import Repeats, Search, repeat
from eznas.nas.scores import convolution_counts, parameter_counts, read_scores, read_scoring_seconds
from eznas.nas.searches import AGING_BUDGET, EVOLUTION_BUDGET, Budget
from eznas.nas.table import Floats, Indices, SearchTable, Training
from eznas.scoring import names_file

CLOSED_FORM: Final = MappingProxyType({"params": parameter_counts, "convolutions": convolution_counts})
"""Proxies that need no network: their scores are computed from the cell."""

MAX_REPEATS: Final = 100_000
"""Of a search: hours."""


@dataclass(frozen=True, slots=True, eq=False)
class Guide:
    """What a proxy tells a search.

    Attributes:
        scores: (n,) scores of all architectures, not finite where it failed or was not asked.
        seconds: that scoring one architecture takes; 0 for a closed form, or if it is not known.
        source: the file that the scores are from; those of one file were scored together, in these seconds.
        scored: positions of the architectures that were scored; None for all.
        draws: (n_draws, n) scores with several initialisations and images, whose mean `scores` are; None for one.
    """

    scores: Floats
    seconds: float = 0.0
    source: str = ""
    scored: Indices | None = None
    draws: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """A search with its published settings.

    Attributes:
        run: the function of `eznas.nas.searches`.
        uses_scores: whether a proxy guides it.
        counts: keyword of the number of architectures that are scored, and its published value; None if not fixed.
        budget: of trainings; None for a search that trains nothing.
        training: accuracies that drive it; None for a search that a score alone drives.
        moves: whether it changes architectures, which takes their neighbours.
    """

    run: Callable[..., Any]
    uses_scores: bool
    counts: tuple[str, int] | None = None
    budget: Budget | None = None
    training: Training | None = None
    moves: bool = False

    def bind(
        self, table: SearchTable, guide: Guide | None, *, n: int | None = None, budget: Budget | None = None
    ) -> Search:
        """The search with everything but its randomness.

        Args:
            table: what to search.
            guide: the proxy, for a search that uses one.
            n: architectures to score; None is the published number.
            budget: of trainings; None is that of the protocol.
        """
        settings: dict[str, Any] = {}
        if self.counts is not None:
            limit = table.n_scored if self.uses_scores else table.n
            settings[self.counts[0]] = min(self.counts[1], limit) if n is None else n
        if guide is not None and guide.draws is not None:
            settings["draws"] = guide.draws
        if self.budget is not None:
            settings["budget"] = self.budget if budget is None else budget
            if guide is not None:
                settings["scoring_seconds"] = guide.seconds
        return partial(self.run, table, *(() if guide is None else (guide.scores,)), **settings)


PROTOCOLS: Final[Mapping[str, Protocol]] = MappingProxyType(
    {
        "score": Protocol(run=searches.score_search, uses_scores=True, counts=("n", 100)),
        "score-evolution": Protocol(run=searches.score_evolution, uses_scores=True, counts=("n", 1000), moves=True),
        "optimum": Protocol(run=searches.optimum_search, uses_scores=False, counts=("n", 100), training="full"),
        "random": Protocol(
            run=searches.random_search, uses_scores=False, budget=EVOLUTION_BUDGET, training="short"
        ),
        "evolution": Protocol(
            run=searches.regularised_evolution, uses_scores=False, budget=EVOLUTION_BUDGET, training="short", moves=True
        ),
        "area": Protocol(
            run=searches.area, uses_scores=True, counts=("n_scored", 20), budget=EVOLUTION_BUDGET, training="short",
            moves=True,
        ),
        "aging-evolution": Protocol(
            run=searches.aging_evolution, uses_scores=False, budget=AGING_BUDGET, training="full", moves=True
        ),
        "warm-up": Protocol(
            run=searches.warm_up_evolution, uses_scores=True, counts=("n_scored", 3000), budget=AGING_BUDGET,
            training="full", moves=True,
        ),
        "warm-up-random": Protocol(
            run=searches.warm_up_random, uses_scores=True, counts=("n_scored", 3000), budget=AGING_BUDGET,
            training="full",
        ),
        "move-proposal": Protocol(
            run=searches.move_proposal, uses_scores=True, budget=AGING_BUDGET, training="full", moves=True
        ),
    }
)  # fmt: skip


def protocol_named(name: str) -> Protocol:
    """The search of a name.

    Raises:
        ConfigError: if there is none.
    """
    if name not in PROTOCOLS:
        raise ConfigError(unknown("search", name, PROTOCOLS))
    return PROTOCOLS[name]


def guides_named(names: Sequence[str], table: SearchTable) -> Mapping[str, Guide]:
    """Scores of architectures that no network is needed for, and what one takes, by proxy.

    Args:
        names: ``params``, ``convolutions``, or files as `eznas.nas.scores.read_scores` takes them; a file may hold
            several proxies, and the scores of some architectures only.
        table: the architectures.

    Raises:
        ConfigError: if a name is neither, a file cannot be used, or two score with the same proxy.
        BenchmarkError: if the times of a file cannot be read.
    """
    found: dict[str, Guide] = {}
    for name in dict.fromkeys(names):
        if name in CLOSED_FORM:
            own = {name: Guide(CLOSED_FORM[name](table.architectures))}
        elif names_file(name):
            path = name.partition(".csv:")[0].removesuffix(".csv") + ".csv"
            read = read_scores(name, table.architectures)
            seconds = read_scoring_seconds(Path(path))
            own = {
                proxy: Guide(scores, seconds, path, None if len(scored) == table.n else scored)
                for proxy, (scores, scored) in read.items()
            }
        else:
            raise ConfigError(f"{', '.join(CLOSED_FORM)} and files FILE.csv need no network, got {name!r}")
        for proxy in own:
            if proxy in found:
                raise ConfigError(f"--proxy {name} scores with {proxy!r}, as another --proxy does; rename its column")
        found |= own
    return found


def log_rank_sum(text: str, guides: Mapping[str, Guide]) -> Guide:
    """Scores of all architectures by a sum such as ``jacob_cov+params``, whose logarithmic ranks are added.

    Args:
        text: see `eznas.fitness.aggregation.parse_sum`.
        guides: scores of all architectures by proxy; they are ranked among all.

    Raises:
        ConfigError: if the sum cannot be read, or names a proxy that is not there.
    """
    terms = parse_sum(text)
    for name, _ in terms:
        if name not in guides:
            raise ConfigError(f"--aggregate {text}: {unknown('--proxy', name, guides)}")
    scored = _common([guides[name] for name, _ in terms])
    places = np.arange(len(guides[terms[0][0]].scores)) if scored is None else scored
    values = np.stack([guides[name].scores[places] for name, _ in terms])
    scores = np.full(len(guides[terms[0][0]].scores), np.nan)
    scores[places] = aggregate_scores(values, sorted_reference(values), weights=[weight for _, weight in terms])
    seconds = {guides[name].source or name: guides[name].seconds for name, _ in terms}
    return Guide(scores, sum(seconds.values()), scored=scored)


def _common(guides: Sequence[Guide]) -> Indices | None:
    """Positions that all of some proxies score; None for all."""
    some = [one.scored for one in guides if one.scored is not None]
    return reduce(np.intersect1d, some) if some else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is asked of a search beside the proxies.

    Attributes:
        n: architectures to score; None is the published number, or all that have scores if those are fewer.
        evaluations: trainings to pay for, also where training times are recorded; not with `seconds`.
        seconds: simulated seconds to pay with, those of scoring among them; not with `evaluations`. With neither the
            default of the search holds.
        repeats: independent repeats.
        seed: of all of them.
    """

    n: int | None = None
    evaluations: int | None = None
    seconds: float | None = None
    repeats: int = 500
    seed: int = 0


def check_options(search: str, settings: Settings, *, with_proxies: bool = False, with_sums: bool = False) -> Protocol:
    """The search of a name, if these settings are its own.

    Raises:
        ConfigError: if the name is unknown, a setting does not belong to this search, or there are too many repeats.
    """
    protocol = protocol_named(search)
    for is_given, belongs, flag in (
        (settings.n is not None, protocol.counts is not None, "--n"),
        (settings.evaluations is not None, protocol.budget is not None, "--evaluations"),
        (settings.seconds is not None, protocol.budget is not None, "--seconds"),
        (with_proxies, protocol.uses_scores, "--proxy"),
        (with_sums, protocol.uses_scores, "--aggregate"),
    ):
        if is_given and not belongs:
            raise ConfigError(f"The search {search!r} does not take {flag}; leave it out")
    if settings.evaluations is not None and settings.seconds is not None:
        raise ConfigError("--evaluations counts trainings and --seconds the time of trainings; give one of them")
    if settings.repeats > MAX_REPEATS:
        raise ConfigError(f"--repeats must be at most {MAX_REPEATS:,}, got {settings.repeats:,}")
    return protocol


def budget_of(table: SearchTable, protocol: Protocol, settings: Settings) -> Budget | None:
    """What a search may spend: no more than training every architecture of the table once.

    Raises:
        ConfigError: if more is asked, or seconds where no training times are recorded.
    """
    if protocol.budget is None or protocol.training is None:
        return None
    budget = protocol.budget
    if settings.evaluations is not None or settings.seconds is not None:
        budget = Budget(evaluations=settings.evaluations, seconds=settings.seconds)
        if (settings.evaluations or 0) > table.n:
            raise ConfigError(
                f"--evaluations must be at most {table.n:,}, as many as the benchmark has networks, got "
                f"{settings.evaluations:,}"
            )
    elif budget.evaluations is not None:
        budget = replace(budget, evaluations=min(budget.evaluations, table.n))
    times = table.training_seconds(protocol.training)
    if budget.is_timed(table, protocol.training) and times is not None and budget.seconds is not None:
        if settings.seconds is not None and settings.seconds > times.sum():
            raise ConfigError(
                f"--seconds must be at most {times.sum():,.0f}, which train all {table.n:,} networks of the benchmark, "
                f"got {settings.seconds:,.0f}"
            )
        budget = replace(budget, seconds=min(budget.seconds, float(times.sum())))
    return budget


def compare(
    table: SearchTable,
    search: str,
    guides: Mapping[str, Guide],
    settings: Settings = Settings(),
    *,
    aggregates: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """One search with several proxies. All draw from the architectures that every one of them scores.

    Every such architecture is a candidate, also those that an evolved proxy was evolved on.

    Args:
        table: what to search.
        search: a name in `PROTOCOLS`.
        guides: the proxies by name; none for a search that uses no score.
        settings: of the search.
        aggregates: sums of these proxies, see `log_rank_sum`; each is one more.

    Returns:
        For each proxy one row per data set and split that the table reports.

    Raises:
        ConfigError: if a name is unknown, a setting does not belong to this search or is out of range, or seconds are
            asked where no training times are recorded.
    """
    protocol = check_options(search, settings, with_proxies=bool(guides), with_sums=bool(aggregates))
    budget = budget_of(table, protocol, settings)
    shown: Mapping[str, Guide | None] = {"-": None}
    if protocol.uses_scores:
        shown = {**guides, **{text: log_rank_sum(text, guides) for text in aggregates if text not in guides}}
        pool = _common([*guides.values()])
        if pool is not None and not pool.size:
            raise ConfigError("No network has a score of every --proxy; search with one of them at a time")
        table = replace(table, pool=pool)
    limit = table.n_scored if protocol.uses_scores else table.n
    if settings.n is not None and settings.n > limit:
        raise ConfigError(
            f"--n must be 1 to {limit} architectures, as many as there are to draw from, got {settings.n:,}"
        )
    rows = []
    for proxy, guide in shown.items():
        found = repeat(protocol.bind(table, guide, n=settings.n, budget=budget), settings.repeats, settings.seed)
        rows += _rows(table, protocol, search, proxy, found, clock_of(table, protocol, budget))
    return rows


def clock_of(table: SearchTable, protocol: Protocol, budget: Budget | None = None) -> str:
    """What a search pays with, in words: ``"12000 s, recorded times"`` or ``"100 trainings"``; ``"-"`` if nothing."""
    budget = budget or protocol.budget
    if budget is None or protocol.training is None:
        return "-"
    is_timed = budget.is_timed(table, protocol.training)
    return f"{budget.seconds:g} s, recorded times" if is_timed else f"{budget.evaluations} trainings"


def _rows(
    table: SearchTable, protocol: Protocol, search: str, proxy: str, found: Repeats, clock: str
) -> list[dict[str, Any]]:
    spent = [float(outcome.spent[-1]) for outcome in found.outcomes if len(outcome.spent)]
    return [
        {
            "search": search, "proxy": proxy,
            "driven by": "score" if protocol.training is None else table.describe_fitness(protocol.training),
            "of": table.n_scored,
            "scored": max(outcome.n_scored for outcome in found.outcomes),
            "trained": max(len(outcome.trained) for outcome in found.outcomes),
            "budget": clock, "spent": sum(spent) / len(spent) if spent else None,
            "dataset": s.dataset, "split": s.split.value, "mean": s.mean, "std": s.std, "low": s.low, "high": s.high,
            "repeats": s.n, "rank": s.rank, "regret": s.regret,
        }
        for s in found.summaries(table)
    ]  # fmt: skip

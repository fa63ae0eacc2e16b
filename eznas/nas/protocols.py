"""Searches by name, with their published settings, and the table that compares proxies in one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from eznas.aggregation import aggregate_scores, parse_sum, sorted_reference
from eznas.errors import ConfigError
from eznas.names import nearest
from eznas.nas import searches
from eznas.nas.repeats import Repeats, Search, repeat
from eznas.nas.scores import convolution_counts, parameter_counts, read_scores, read_scoring_seconds
from eznas.nas.searches import AGING_BUDGET, EVOLUTION_BUDGET, Budget
from eznas.nas.table import Floats, SearchTable, Training

CLOSED_FORM: Final = MappingProxyType({"params": parameter_counts, "convolutions": convolution_counts})
"""Proxies that need no network: their scores are computed from the cell."""


@dataclass(frozen=True, slots=True, eq=False)
class Guide:
    """What a proxy tells a search.

    Attributes:
        scores: (n,) scores of all architectures, not finite where it failed.
        seconds: that scoring one architecture takes; 0 for a closed form, or if it is not known.
        source: the file that the scores are from; those of one file were scored together, in these seconds.
    """

    scores: Floats
    seconds: float = 0.0
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """A search with its published settings.

    Attributes:
        run: the function of `eznas.nas.searches`.
        uses_scores: whether a proxy guides it.
        counts: keyword of the number of architectures that are scored, and its published value; None if not fixed.
        budget: of trainings; None for a search that trains nothing.
        training: accuracies that drive it; None for a search that a score alone drives.
    """

    run: Callable[..., Any]
    uses_scores: bool
    counts: tuple[str, int] | None = None
    budget: Budget | None = None
    training: Training | None = None

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
            settings[self.counts[0]] = self.counts[1] if n is None else n
        if self.budget is not None:
            settings["budget"] = self.budget if budget is None else budget
            if guide is not None:
                settings["scoring_seconds"] = guide.seconds
        return partial(self.run, table, *(() if guide is None else (guide.scores,)), **settings)


PROTOCOLS: Final[Mapping[str, Protocol]] = MappingProxyType(
    {
        "score": Protocol(run=searches.score_search, uses_scores=True, counts=("n", 100)),
        "optimum": Protocol(run=searches.optimum_search, uses_scores=False, counts=("n", 100), training="full"),
        "random": Protocol(
            run=searches.random_search, uses_scores=False, budget=EVOLUTION_BUDGET, training="short"
        ),
        "evolution": Protocol(
            run=searches.regularised_evolution, uses_scores=False, budget=EVOLUTION_BUDGET, training="short"
        ),
        "area": Protocol(
            run=searches.area, uses_scores=True, counts=("n_scored", 20), budget=EVOLUTION_BUDGET, training="short"
        ),
        "aging-evolution": Protocol(
            run=searches.aging_evolution, uses_scores=False, budget=AGING_BUDGET, training="full"
        ),
        "warm-up": Protocol(
            run=searches.warm_up_evolution, uses_scores=True, counts=("n_scored", 3000), budget=AGING_BUDGET,
            training="full",
        ),
        "warm-up-random": Protocol(
            run=searches.warm_up_random, uses_scores=True, counts=("n_scored", 3000), budget=AGING_BUDGET,
            training="full",
        ),
        "move-proposal": Protocol(
            run=searches.move_proposal, uses_scores=True, budget=AGING_BUDGET, training="full"
        ),
    }
)  # fmt: skip


def protocol_named(name: str) -> Protocol:
    """The search of a name.

    Raises:
        ConfigError: if there is none.
    """
    if name not in PROTOCOLS:
        meant = nearest(name, PROTOCOLS)
        hint = f"; did you mean {meant!r}?" if meant else ""
        raise ConfigError(f"Unknown search {name!r}, expected one of {', '.join(PROTOCOLS)}{hint}")
    return PROTOCOLS[name]


def guides_named(names: Sequence[str], table: SearchTable) -> Mapping[str, Guide]:
    """Scores of all architectures, and what one takes, by proxy.

    Args:
        names: ``params``, ``convolutions``, or paths of files ``*.csv`` that ``eznas score`` wrote; a file may hold
            several proxies.
        table: the architectures.

    Raises:
        ConfigError: if a name is neither, or two files score with the same proxy.
        BenchmarkError: if a file cannot be read or does not score every architecture.
    """
    found: dict[str, Guide] = {}
    for name in dict.fromkeys(names):
        if name in CLOSED_FORM:
            scores: Mapping[str, Floats] = {name: CLOSED_FORM[name](table.architectures)}
            seconds, source = 0.0, ""
        elif name.endswith(".csv"):
            scores = read_scores(Path(name), table.architectures)
            seconds, source = read_scoring_seconds(Path(name)), name
        else:
            raise ConfigError(
                f"--proxy takes {', '.join(CLOSED_FORM)} or a .csv file with scores of all cells, got {name!r}; write "
                "such a file with 'eznas score PROXY --networks nb201:all --output FILE.csv'"
            )
        for proxy, values in scores.items():
            if proxy in found:
                raise ConfigError(f"--proxy {name} scores with {proxy!r}, as another --proxy does; rename its column")
            found[proxy] = Guide(values, seconds, source)
    return found


def log_rank_sum(text: str, guides: Mapping[str, Guide]) -> Guide:
    """Scores of all architectures by a sum such as ``jacob_cov+params``, whose logarithmic ranks are added.

    Args:
        text: see `eznas.aggregation.parse_sum`.
        guides: scores of all architectures by proxy; they are ranked among all.

    Raises:
        ConfigError: if the sum cannot be read, or names a proxy that is not there.
    """
    terms = parse_sum(text)
    for name, _ in terms:
        if name not in guides:
            meant = nearest(name, guides)
            hint = f"; did you mean {meant!r}?" if meant else ""
            raise ConfigError(
                f"--aggregate {text}: no --proxy scores with {name!r}, only with {', '.join(guides)}{hint}"
            )
    values = np.stack([guides[name].scores for name, _ in terms])
    scores = aggregate_scores(values, sorted_reference(values), weights=[weight for _, weight in terms])
    seconds = {guides[name].source or name: guides[name].seconds for name, _ in terms}
    return Guide(scores, sum(seconds.values()))


def compare(
    table: SearchTable,
    search: str,
    proxies: Sequence[str],
    *,
    aggregates: Sequence[str] = (),
    n: int | None = None,
    evaluations: int | None = None,
    seconds: float | None = None,
    repeats: int = 500,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """One search with several proxies; the number of parameters is always among them.

    Every architecture is a candidate, also those that an evolved proxy was evolved on.

    Args:
        table: what to search.
        search: a name in `PROTOCOLS`.
        proxies: see `guides_named`; none for a search that uses no score.
        aggregates: sums of these proxies, see `log_rank_sum`; each is one more.
        n: architectures to score; None is the published number.
        evaluations: trainings to pay for, also where training times are recorded; not with `seconds`.
        seconds: simulated seconds to pay with, those of scoring among them; not with `evaluations`. With neither the
            default of the search holds.
        repeats: independent repeats.
        seed: of all of them.

    Returns:
        For each proxy one row per data set and split that the table reports.

    Raises:
        ConfigError: if a name is unknown, a setting does not belong to this search or is out of range, or seconds are
            asked where no training times are recorded.
        BenchmarkError: if a file of scores cannot be used.
    """
    protocol = protocol_named(search)
    for is_given, belongs, flag in (
        (n is not None, protocol.counts is not None, "--n"),
        (evaluations is not None, protocol.budget is not None, "--evaluations"),
        (seconds is not None, protocol.budget is not None, "--seconds"),
        (bool(proxies), protocol.uses_scores, "--proxy"),
        (bool(aggregates), protocol.uses_scores, "--aggregate"),
    ):
        if is_given and not belongs:
            raise ConfigError(f"The search {search!r} does not take {flag}; leave it out")
    if evaluations is not None and seconds is not None:
        raise ConfigError("--evaluations counts trainings and --seconds the time of trainings; give one of them")
    budget = protocol.budget
    if evaluations is not None or seconds is not None:
        budget = Budget(evaluations=evaluations, seconds=seconds)
    if budget is not None and protocol.training is not None:
        budget.is_timed(table, protocol.training)  # refuses before files are read
    guides: Mapping[str, Guide | None] = {"-": None}
    if protocol.uses_scores:
        single = guides_named([*proxies, *(() if "params" in proxies else ("params",))], table)
        guides = {**single, **{text: log_rank_sum(text, single) for text in aggregates if text not in single}}
    rows = []
    for proxy, guide in guides.items():
        found = repeat(protocol.bind(table, guide, n=n, budget=budget), repeats, seed)
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
            "scored": max(outcome.n_scored for outcome in found.outcomes),
            "trained": max(len(outcome.trained) for outcome in found.outcomes),
            "budget": clock, "spent": sum(spent) / len(spent) if spent else None,
            "dataset": s.dataset, "split": s.split.value, "mean": s.mean, "std": s.std, "low": s.low, "high": s.high,
            "repeats": s.n, "rank": s.rank, "regret": s.regret,
        }
        for s in found.summaries(table)
    ]  # fmt: skip

"""Searches by name, with their published settings, and the table that compares proxies in one of them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from eznas.aggregation import aggregate_scores, parse_sum, sorted_reference
from eznas.errors import ConfigError
from eznas.nas import searches
from eznas.nas.repeats import Repeats, Search, repeat
from eznas.nas.scores import convolution_counts, parameter_counts, read_scores
from eznas.nas.searches import AGING_BUDGET, EVOLUTION_BUDGET, Budget
from eznas.nas.table import Floats, SearchTable, Training

CLOSED_FORM: Final = MappingProxyType({"params": parameter_counts, "convolutions": convolution_counts})
"""Proxies that need no network: their scores are computed from the cell."""


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
        self, table: SearchTable, scores: Floats | None, *, n: int | None = None, evaluations: int | None = None
    ) -> Search:
        """The search with everything but its randomness."""
        settings: dict[str, Any] = {}
        if self.counts is not None:
            settings[self.counts[0]] = self.counts[1] if n is None else n
        if self.budget is not None:
            settings["budget"] = self.budget if evaluations is None else Budget(evaluations=evaluations)
        return partial(self.run, table, *(() if scores is None else (scores,)), **settings)


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
        near = difflib.get_close_matches(name, PROTOCOLS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"Unknown search {name!r}, expected one of {', '.join(PROTOCOLS)}{hint}")
    return PROTOCOLS[name]


def scores_named(names: Sequence[str], table: SearchTable) -> Mapping[str, Floats]:
    """Scores of all architectures by proxy.

    Args:
        names: ``params``, ``convolutions``, or paths of files ``*.csv`` that ``eznas score`` wrote; a file may hold
            several proxies.
        table: the architectures.

    Raises:
        ConfigError: if a name is neither, or two files score with the same proxy.
        BenchmarkError: if a file cannot be read or does not score every architecture.
    """
    found: dict[str, Floats] = {}
    for name in dict.fromkeys(names):
        if name in CLOSED_FORM:
            scores: Mapping[str, Floats] = {name: CLOSED_FORM[name](table.architectures)}
        elif name.endswith(".csv"):
            scores = read_scores(Path(name), table.architectures)
        else:
            raise ConfigError(
                f"--proxy takes {', '.join(CLOSED_FORM)} or a .csv file with scores of all cells, got {name!r}; write "
                "such a file with 'eznas score PROXY --networks nb201:all --output FILE.csv'"
            )
        for proxy, values in scores.items():
            if proxy in found:
                raise ConfigError(f"--proxy {name} scores with {proxy!r}, as another --proxy does; rename its column")
            found[proxy] = values
    return found


def log_rank_sum(text: str, scores: Mapping[str, Floats]) -> Floats:
    """Scores of all architectures by a sum such as ``jacob_cov+params``, whose logarithmic ranks are added.

    Args:
        text: see `eznas.aggregation.parse_sum`.
        scores: (n,) scores of all architectures by proxy; they are ranked among all.

    Raises:
        ConfigError: if the sum cannot be read, or names a proxy that is not there.
    """
    terms = parse_sum(text)
    for name, _ in terms:
        if name not in scores:
            near = difflib.get_close_matches(name, scores, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(
                f"--aggregate {text}: no --proxy scores with {name!r}, only with {', '.join(scores)}{hint}"
            )
    values = np.stack([scores[name] for name, _ in terms])
    return aggregate_scores(values, sorted_reference(values), weights=[weight for _, weight in terms])


def compare(
    table: SearchTable,
    search: str,
    proxies: Sequence[str],
    *,
    aggregates: Sequence[str] = (),
    n: int | None = None,
    evaluations: int | None = None,
    repeats: int = 500,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """One search with several proxies; the number of parameters is always among them.

    Every architecture is a candidate, also those that an evolved proxy was evolved on.

    Args:
        table: what to search.
        search: a name in `PROTOCOLS`.
        proxies: see `scores_named`; none for a search that uses no score.
        aggregates: sums of these proxies, see `log_rank_sum`; each is one more.
        n: architectures to score; None is the published number.
        evaluations: trainings to pay for; None is the default of the search.
        repeats: independent repeats.
        seed: of all of them.

    Returns:
        For each proxy one row per data set and split that the table reports.

    Raises:
        ConfigError: if a name is unknown, or a setting does not belong to this search or is out of range.
        BenchmarkError: if a file of scores cannot be used.
    """
    protocol = protocol_named(search)
    for is_given, belongs, flag in (
        (n is not None, protocol.counts is not None, "--n"),
        (evaluations is not None, protocol.budget is not None, "--evaluations"),
        (bool(proxies), protocol.uses_scores, "--proxy"),
        (bool(aggregates), protocol.uses_scores, "--aggregate"),
    ):
        if is_given and not belongs:
            raise ConfigError(f"The search {search!r} does not take {flag}; leave it out")
    scores: Mapping[str, Floats | None] = {"-": None}
    if protocol.uses_scores:
        single = scores_named([*proxies, *(() if "params" in proxies else ("params",))], table)
        scores = {**single, **{text: log_rank_sum(text, single) for text in aggregates if text not in single}}
    rows = []
    for proxy, values in scores.items():
        found = repeat(protocol.bind(table, values, n=n, evaluations=evaluations), repeats, seed)
        rows += _rows(table, protocol, search, proxy, found)
    return rows


def _rows(table: SearchTable, protocol: Protocol, search: str, proxy: str, found: Repeats) -> list[dict[str, Any]]:
    return [
        {
            "search": search, "proxy": proxy,
            "driven by": "score" if protocol.training is None else table.describe_fitness(protocol.training),
            "scored": max(outcome.n_scored for outcome in found.outcomes),
            "trained": max(len(outcome.trained) for outcome in found.outcomes),
            "dataset": s.dataset, "split": s.split.value, "mean": s.mean, "std": s.std, "low": s.low, "high": s.high,
            "repeats": s.n, "rank": s.rank, "regret": s.regret,
        }
        for s in found.summaries(table)
    ]  # fmt: skip

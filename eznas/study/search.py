"""Searches with proxies on the recorded accuracies of a benchmark: what `eznas nas` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from eznas.benchmarks import Benchmark, load_benchmark
from eznas.errors import BenchmarkError, ConfigError
from eznas.names import unknown
from eznas.nas import (
    CLOSED_FORM,
    MIN_DRAWS,
    Guide,
    Settings,
    budget_of,
    check_options,
    compare,
    guides_named,
    search_table,
)
from eznas.randomness import stream
from eznas.scoring import Scores, counted, names_file, request_for, score_networks
from eznas.spaces import space_of
from eznas.study.machine import Machine, check_machine, open_workers, single_threaded
from eznas.study.observer import Observer
from eznas.study.score import why_failed

N_SCORED: Final = 200
"""Networks that proxies score here, drawn uniformly, where nobody says how many: well within a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """What to search.

    Attributes:
        benchmark: name of one.
        dataset: that is searched on; None is the benchmark's first.
        n_networks: networks that proxies score here, drawn uniformly; None is `N_SCORED`, or all if those are fewer.
        n_draws: scores of each, with an initialisation and images of its own; more than one are compared by a test.
        aggregates: sums of the proxies, each one more row.
        settings: of the search.
        overrides: settings of scoring; see `eznas.scoring.request_for`.
    """

    benchmark: str = "nb201"
    dataset: str | None = None
    n_networks: int | None = None
    n_draws: int = 1
    aggregates: tuple[str, ...] = ()
    settings: Settings = field(default_factory=Settings)
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class SearchFound:
    """The picks of a search.

    Attributes:
        rows: one for each proxy, data set and split.
        notes: what a reader must know, a sentence each.
    """

    rows: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]


def search(
    name: str, proxies: Sequence[str], options: SearchOptions, *, machine: Machine, observer: Observer
) -> SearchFound:
    """Simulate a search with each proxy; the number of parameters is always among them.

    Args:
        name: of the search, see `eznas.nas.PROTOCOLS`.
        proxies: as `eznas.scoring.request_for` takes them, ``params`` and ``convolutions``, which need no network, or
            ``FILE.csv`` and ``FILE.csv:COLUMN`` of scores made elsewhere; none for a search that uses no score.
        options: what to search.
        machine: workers and device.
        observer: told how it goes on.

    Raises:
        ConfigError: if a name is unknown, or a setting out of range or not of this search.
        BenchmarkError: if there is no such benchmark or data set.
        EznasError: as `request_for`.
    """
    check_machine(machine)
    settings = options.settings
    protocol = check_options(name, settings, with_proxies=bool(proxies), with_sums=bool(options.aggregates))
    asked = [text for text in proxies if text not in CLOSED_FORM and not names_file(text)]
    _check_scoring(name, options, asked)
    observer.stage("Reading the benchmark")
    benchmark = load_benchmark(options.benchmark)
    dataset = options.dataset or benchmark.datasets[0]
    if dataset not in benchmark.datasets:
        raise BenchmarkError(f"{unknown('data set', dataset, benchmark.datasets)} of benchmark {benchmark.name!r}")
    notes: list[str] = []
    table = search_table(benchmark, dataset, with_neighbours=False)
    budget_of(table, protocol, settings)  # refuses before anything is scored
    if protocol.moves:
        if not table.is_whole:
            observer.stage(f"Finding neighbours of {table.n:,} networks")
        table = search_table(benchmark, dataset)
        if not table.is_whole:
            notes.append(
                f"{benchmark.name} lists a part of its space, so a change leads to one of the "
                f"{table.moves[0].shape[1]} listed networks that differ least."
            )
    guides: dict[str, Guide] = {}
    if protocol.uses_scores:
        ready = [text for text in proxies if text in CLOSED_FORM or names_file(text)]
        is_counted = space_of(benchmark.architectures[0]).counts is None
        beside = () if "params" in ready or is_counted else ("params",)
        given = guides_named([*ready, *beside], table)
        if asked:
            guides |= _scored(asked, benchmark, given, options, machine, observer, notes)
        repeated = next((text for text in guides if text in given), None)
        if repeated is not None:
            raise ConfigError(f"Two of the proxies are called {repeated!r}; search with one of them apart")
        guides |= given
        if is_counted and "params" not in guides:
            guides["params"] = _counted(benchmark, guides)
    observer.stage(f"Searching, {settings.repeats:,} times over")
    rows = compare(table, name, guides, settings, aggregates=options.aggregates)
    return SearchFound(tuple(rows), tuple(notes))


def _check_scoring(name: str, options: SearchOptions, asked: Sequence[str]) -> None:
    """Refuse settings of scoring that make no sense, or where nothing is scored."""
    if not asked:
        for is_given, flag in ((options.n_networks is not None, "--networks"), (options.n_draws != 1, "--draws")):
            if is_given:
                raise ConfigError(f"{flag} is of proxies that are scored here, and none is; leave it out")
    if options.n_draws != 1 and name != "score":
        raise ConfigError(f"--draws is of the search 'score', whose picks a test can tell apart, and not of {name!r}")
    if options.n_draws != 1 and not MIN_DRAWS <= options.n_draws <= 100:
        raise ConfigError(
            f"--draws must be {MIN_DRAWS} to 100, fewer leave a test nothing to say, got {options.n_draws}"
        )


def _scored(
    asked: Sequence[str],
    benchmark: Benchmark,
    given: Mapping[str, Guide],
    options: SearchOptions,
    machine: Machine,
    observer: Observer,
    notes: list[str],
) -> dict[str, Guide]:
    """Proxies that are scored here, on networks drawn among those that all files score."""
    known = np.arange(len(benchmark.architectures))
    for one in given.values():
        known = known if one.scored is None else np.intersect1d(known, one.scored)
    n = min(N_SCORED, len(known)) if options.n_networks is None else options.n_networks
    if not 1 <= n <= len(known):
        raise ConfigError(
            f"--networks must be 1 to {len(known):,}, as many as benchmark {benchmark.name!r} has to score, got {n:,}"
        )
    places = np.sort(stream(options.settings.seed, "nas", "networks").permutation(known)[:n])
    architectures = tuple(benchmark.architectures[place] for place in places)
    request = request_for(asked, architectures, options.overrides)
    draws: list[Scores] = []
    for draw in range(options.n_draws):
        again = request
        if draw:
            seed = request.conditions.seed + draw
            again = request_for(asked, architectures, (*options.overrides, f"seed={seed}"))
        with single_threaded(), open_workers(machine, observer) as pool:
            observer.stage(f"Scoring {n:,} networks of {benchmark.name}" + (f", draw {draw + 1}" if draw else ""))
            found = score_networks(
                again.proxies, architectures, again.conditions, pool, device=machine.device, progress=observer.advance
            )
        draws.append(again.rows(found)[0])
    notes.extend(request.notes)
    notes.append(
        f"Proxies scored {n:,} of the {len(benchmark.architectures):,} networks, and searches draw from these."
    )
    if options.n_draws > 1:
        notes.append(
            f"Each network has {options.n_draws} scores; one replaces the best so far where a Mann-Whitney test says "
            "so. Parameters, which do not vary, are compared as they are."
        )
    n_all = len(benchmark.architectures)
    guides = {}
    names = [column.name for column in request.columns]
    for row, column in enumerate(request.columns):
        values = np.full((len(draws), n_all), np.nan)
        values[:, places] = [one.scores[row] for one in draws]
        finite = np.where(np.isfinite(values), values, np.nan)
        mean = np.full(n_all, np.nan)
        is_known = np.isfinite(finite).any(axis=0)
        mean[is_known] = np.nanmean(finite[:, is_known], axis=0)
        guides[column.name] = Guide(
            mean,
            seconds=float(sum(one.seconds[row] for one in draws)) / n,
            scored=None if n == n_all else places,
            draws=values if len(draws) > 1 else None,
        )
        failed = int(np.sum(~np.isfinite(mean[places])))
        if failed == n:
            said = why_failed(names, architectures, draws[0])
            reason = next((text for text in said if text.startswith(f"{column.name} has")), "no reason is known")
            raise BenchmarkError(
                f"{column.name} failed on all {n:,} networks of {benchmark.name}, so it cannot search them: {reason}"
            )
        if failed:
            notes.append(f"{column.name} failed on {failed:,} of {n:,} networks, which rank last.")
    return guides


def _counted(benchmark: Benchmark, guides: dict[str, Guide]) -> Guide:
    """Parameters of networks that must be built to be counted: of those that are scored."""
    scored = next((one.scored for one in guides.values() if one.scored is not None), None)
    places = np.arange(len(benchmark.architectures)) if scored is None else scored
    architectures = [benchmark.architectures[place] for place in places]
    conditions = request_for(["parameter_count"], architectures).conditions
    scores = np.full(len(benchmark.architectures), np.nan)
    scores[places] = [counted(arch, conditions)[0] for arch in architectures]
    return Guide(scores, scored=scored)

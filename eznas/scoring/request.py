"""What a user asks scores of: proxies by name and networks by name, under conditions that all of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from eznas.benchmarks import BENCHMARKS
from eznas.conditions import Conditions
from eznas.errors import ConfigError
from eznas.estimators import Estimator
from eznas.estimators.activations import PATTERNS
from eznas.files import is_file
from eznas.fitness.aggregation import Mode, aggregate_scores, sorted_reference
from eznas.names import shown
from eznas.programs import FailureKind, Invalid
from eznas.proxies import Proxy, RankAggregate, Recipe, StoredProxy, aggregate_named, is_sum, proxy_named
from eznas.proxies.aggregate import needs_no_pass
from eznas.runs.config import OWN, config_with
from eznas.scoring.networks import Scores
from eznas.scoring.resolve import resolved_conditions
from eznas.spaces import KEEP, SCHEMES, Architecture
from eznas.statistics import Coverage


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One column of scores: a proxy, or a sum of proxies that ranks the networks among each other.

    Attributes:
        name: of the column.
        proxies: places of the proxy, or of the members of the sum, among the proxies of the request.
        recipe: of the sum.
    """

    name: str
    proxies: tuple[int, ...]
    recipe: Recipe | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Proxies and conditions.

    Attributes:
        columns: in the order asked.
        proxies: whoever must score the networks, each once.
        conditions: of the networks.
        notes: what was assumed, a sentence each.
    """

    columns: tuple[Column, ...]
    proxies: tuple[Proxy, ...]
    conditions: Conditions
    notes: tuple[str, ...]

    @property
    def without_reference(self) -> tuple[str, ...]:
        """Columns that rank the scored networks among each other."""
        return tuple(column.name for column in self.columns if column.recipe is not None)

    def rows(self, scores: Scores) -> tuple[Scores, tuple[str, ...]]:
        """Scores of the columns from those of the proxies, and notes on members that failed."""
        n_networks = scores.scores.shape[1]
        found = np.full((len(self.columns), n_networks), np.nan)
        seconds = np.zeros(len(self.columns))
        failures: dict[tuple[int, int], Invalid] = {}
        members: dict[tuple[int, str, int], Invalid] = {}
        coverage: dict[tuple[int, int], Coverage] = {}
        notes: list[str] = []
        for row, column in enumerate(self.columns):
            of_column = scores.scores[list(column.proxies)]
            seconds[row] = scores.seconds[list(column.proxies)].sum()
            for (place, network), read in scores.coverage.items():
                if place in column.proxies:
                    least = coverage.get((row, network), read)
                    coverage[row, network] = min(least, read, key=lambda one: one.layers)
            if column.recipe is None:
                found[row] = of_column[0]
                (place,) = column.proxies
                failures |= {(row, n): f for (p, n), f in scores.failures.items() if p == place}
                members |= {(row, name, n): f for (p, name, n), f in scores.member_failures.items() if p == place}
            else:
                weights = [weight for _, weight in column.recipe.terms]
                reference = sorted_reference(of_column)
                found[row] = aggregate_scores(of_column, reference, weights=weights, mode=column.recipe.mode)
                notes.append(f"{column.name} ranks these {n_networks:,} networks among each other.")
                for place in column.proxies:
                    name = self.proxies[place].name
                    members |= {(row, name, n): f for (p, n), f in scores.failures.items() if p == place}
                failures |= {
                    (row, n): Invalid(FailureKind.MEMBERS, f"{column.name}: every member failed")
                    for n in np.flatnonzero(~np.isfinite(found[row])).tolist()
                }
            for name in dict.fromkeys(name for r, name, _ in members if r == row):
                n_failed = sum(1 for r, member, _ in members if (r, member) == (row, name))
                notes.append(
                    f"{name} of {column.name} failed on {n_failed:,} of {n_networks:,} networks, which rank last."
                )
        return Scores(found, failures, seconds, members, coverage, scores.spent), tuple(notes)


def request_for(texts: Sequence[str], architectures: Sequence[Architecture], overrides: Sequence[str] = ()) -> Request:
    """Proxies by what a user calls them, and the conditions under which they score these networks.

    Conditions are those that a proxy brings along (a run's, a file's), changed by the overrides; without any the
    defaults. Proxies that bring different ones cannot be scored together. If the networks are of another space than a
    proxy was found on, its images, batch and seed are kept, and the networks are built as their own space has it.

    Args:
        texts: as `eznas.proxies.proxy_named`, or sums.
        architectures: the networks, of one space.
        overrides: settings of networks, probe, seed and report.baseline_batch_size as ``section.key=value``.

    Raises:
        ConfigError: unknown proxy, proxies with different conditions, settings other than those of the reference of an
            aggregate, networks of several spaces, or no other network to rank among.
        EznasError: as `proxy_named`.
    """
    space = one_space(architectures)
    columns: list[Column] = []
    proxies: list[Proxy] = []
    brought: list[tuple[str, Conditions]] = []

    def place_of(text: str, stored: StoredProxy) -> int:
        fitting = [c for c in stored.conditions if c.space == space] or list(stored.conditions)
        brought.extend((text, conditions) for conditions in fitting[:1])
        if stored.proxy not in proxies:
            proxies.append(stored.proxy)
        return proxies.index(stored.proxy)

    for text in texts:
        if is_sum(text):
            recipe, members = aggregate_named(text)
            places = tuple(place_of(name, member) for (name, _), member in zip(recipe.terms, members, strict=True))
            columns.append(Column(recipe.name, places, recipe))
        else:
            stored = proxy_named(text)
            columns.append(Column(stored.proxy.name, (place_of(text, stored),)))
    names = [column.name for column in columns]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise ConfigError(f"Two of the proxies are called {shown(repeated)}; score one of them apart")
    is_run = not all(needs_no_pass(proxy) for proxy in proxies)
    conditions, notes = _conditions(brought, space, architectures, overrides, is_run=is_run)
    patterns = [proxy.name for proxy in proxies if isinstance(proxy, Estimator) and proxy.function in PATTERNS]
    if patterns and space == OWN:
        notes += (
            f"Patterns of {', '.join(patterns)} are those of ReLUs and, by the sign of what enters them, of SiLU, GELU "
            "and the like.",
        )
    for column in columns:
        proxy = proxies[column.proxies[0]]
        if isinstance(proxy, RankAggregate):
            _check_reference(column.name, proxy, conditions, space)
    without = [column.name for column in columns if column.recipe is not None]
    if without and len(architectures) < 2:
        raise ConfigError(
            f"{without[0]} ranks networks among each other, but --networks names one; name more, or "
            f"{reference_remedy(without[0])}"
        )
    return Request(tuple(columns), tuple(proxies), conditions, notes)


def one_space(architectures: Sequence[Architecture]) -> str:
    """The search space of some networks.

    Raises:
        ConfigError: if they are of several.
    """
    spaces = list(dict.fromkeys(arch.space for arch in architectures))
    if len(spaces) != 1:
        raise ConfigError(
            f"Networks that are scored together are of one search space, got {', '.join(spaces) or 'none'}; score each "
            "apart"
        )
    return spaces[0]


def reference_remedy(name: str) -> str:
    """How to give a sum the networks it needs to rank among."""
    return f"give it a reference (eznas aggregate {name} --reference nb201:random:500 -o FILE.json) and score FILE.json"


def _conditions(
    brought: Sequence[tuple[str, Conditions]],
    space: str,
    architectures: Sequence[Architecture],
    overrides: Sequence[str],
    *,
    is_run: bool,
) -> tuple[Conditions, tuple[str, ...]]:
    table: dict[str, Any] = {"benchmark": {"name": _benchmark_of(space)}, "networks": {"space": space}}
    notes: list[str] = []
    if brought:
        first_name, first = brought[0]
        for name, other in brought[1:]:
            different = first.difference(other)
            if different:
                what, ours, theirs = different[0]
                raise ConfigError(
                    f"{name} was found under other conditions than {first_name} ({what} {shown(theirs)} and "
                    f"{shown(ours)}); score them apart"
                )
        if first.space == space and not overrides:
            return first.drawn(), ()
        if not any(override.partition("=")[0].strip() == "probe.images" for override in overrides):
            first.check_source(first.batch_size)
        table |= {
            "seed": first.seed,
            "probe": {
                "images": first.images, "batch_size": first.batch_size, "units": first.units,
                **({} if space != first.space else {"input_size": first.input_size, "channels": first.channels}),
            },
            "report": {"baseline_batch_size": first.estimator_batch_size},
        }  # fmt: skip
        if first.space == space:
            table["networks"] = first.settings.model_dump(mode="json")
        else:
            notes.append(
                f"{first_name} was found on {first.space} networks; these are of {space}, built as that space has it."
            )
    config = config_with(table, overrides)
    (sample,) = config.all_samples
    conditions, more = resolved_conditions(config, sample, architectures, is_run=is_run)
    is_said = any(override.partition("=")[0].strip() == "networks.scheme" for override in overrides)
    notes += _of_initialisation(conditions, brought[:1], is_said=is_said) if is_run else []
    return conditions, (*notes, *more)


_INITIALISED: Final[Mapping[str, str]] = {
    KEEP: "those that networks come with",
    **{scheme: f"drawn by scheme {scheme}" for scheme in SCHEMES},
}


def _of_initialisation(
    conditions: Conditions, brought: Sequence[tuple[str, Conditions]], *, is_said: bool
) -> list[str]:
    """What a reader must know of how parameters are drawn: that a proxy knew others, or what was not asked for."""
    scheme = conditions.settings.scheme
    for name, theirs in brought:
        other = theirs.settings.scheme
        if other != scheme:
            return [
                f"{name} was found with parameters {_INITIALISED[other]}, and here they are {_INITIALISED[scheme]}, "
                f"which changes its scores; --initialise {other} scores as there."
            ]
    if is_said:
        return []
    others = " or ".join(other for other in SCHEMES if other != scheme)
    return [f"Parameters are {_INITIALISED[scheme]}, the default; --initialise {others} draws them otherwise."]


def _benchmark_of(space: str) -> str:
    return next((name for name, source in BENCHMARKS.items() if source.space == space), space)


def _check_reference(name: str, aggregate: RankAggregate, conditions: Conditions, space: str) -> None:
    """Refuse to rank scores among those of a reference that was made under other conditions, or of another space."""
    reference = aggregate.reference
    if reference.space != space:
        raise ConfigError(
            f"{name} ranks among networks of {reference.space}, but --networks names some of {space}; make a reference "
            "of those with eznas aggregate"
        )
    different = reference.conditions.difference(conditions)
    if different:
        what = ", ".join(f"{key} {shown(theirs)}, here {shown(here)}" for key, theirs, here in different[:3])
        raise ConfigError(
            f"{name} ranks among {reference.n} networks scored under other conditions ({what}); leave out --set or the "
            "proxies of other runs, or make a reference under these with eznas aggregate"
        )


def split_names(arguments: Sequence[str]) -> list[str]:
    """Proxies named in arguments, each of which may hold several between commas; each once.

    A file, and a formula in parentheses, is one name whatever it holds.

    Raises:
        ConfigError: if there is nothing between two commas.
    """
    names: dict[str, None] = {}
    for argument in arguments:
        parts = [argument] if is_file(argument) else _split(argument)
        if not all(parts):
            raise ConfigError(f"Proxies are named as NAME,NAME without gaps, got {shown(argument)}")
        names.update(dict.fromkeys(parts))
    return list(names)


def _split(text: str) -> list[str]:
    """At the commas outside parentheses."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


__all__ = ["Column", "Mode", "Request", "one_space", "reference_remedy", "request_for", "split_names"]

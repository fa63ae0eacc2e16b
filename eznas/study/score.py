"""Scores of any proxies on any networks, from the command line: as a table, into a file, or as a reference."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from eznas.benchmarks import networks_of
from eznas.errors import ArchitectureError, ConfigError
from eznas.fitness.aggregation import Mode, sorted_reference
from eznas.names import one_line
from eznas.proxies import ProgramProxy, RankAggregate, Reference, aggregate_named
from eznas.proxies.file import MAX_NETWORKS
from eznas.runs import Choice
from eznas.scoring import Request, ScoreFile, Scores, reference_remedy, request_for, rows_of, score_networks
from eznas.scoring.resolve import own_hint
from eznas.spaces import Architecture, SearchSpace, space_of
from eznas.statistics import Coverage
from eznas.study.chosen import chosen_id
from eznas.study.machine import Machine, check_machine, open_workers, single_threaded
from eznas.study.observer import Observer
from eznas.tables import render_table

READING: Final = "Reading the networks and what scores them"
LITTLE: Final = 0.6
"""Share of a network's layers or multiply-accumulates; a program that reads less is said to read little of it."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoredNetworks:
    """Scores in the direction of each proxy.

    Attributes:
        architectures: the networks.
        columns: what the proxies are called.
        scores: of the columns.
        notes: what a reader of the scores must know, a sentence each.
    """

    architectures: tuple[Architecture, ...]
    columns: tuple[str, ...]
    scores: Scores
    notes: tuple[str, ...]


def chosen_names(proxies: Sequence[str], choice: Choice) -> list[str]:
    """Names of proxies in which every ``RUN:best`` is the one that a choice takes.

    Raises:
        ConfigError: if there is a choice, and none of them is ``RUN:best``.
        RunError: if a run is not finished, or nothing of it is left.
    """
    if choice.is_open:
        return list(proxies)
    found = []
    for name in proxies:
        folder, colon, proxy_id = name.strip().rpartition(":")
        is_best = bool(colon and folder) and proxy_id == "best" and not name.startswith("(")
        found.append(f"{folder}:{chosen_id(Path(folder), choice)}" if is_best else name)
    if found == list(proxies):
        raise ConfigError(
            f"{choice} is of the front of a run, and none of the proxies is RUN:best, got "
            f"{one_line(', '.join(proxies))}"
        )
    return found


def score(
    proxies: Sequence[str],
    networks: str,
    *,
    overrides: Sequence[str] = (),
    machine: Machine,
    observer: Observer,
) -> ScoredNetworks:
    """Scores of proxies on networks; a network that a proxy cannot score is a failure of that one place.

    Args:
        proxies: see `eznas.proxies.proxy_named`, or sums of these such as ``jacob_cov+parameter_count``, which rank the
            networks among each other.
        networks: see `eznas.benchmarks.networks_of`.
        overrides: settings; see `request_for`.
        machine: workers and device.
        observer: told how it goes on.

    Raises:
        EznasError: as `request_for`.
    """
    check_machine(machine)
    observer.stage(READING)
    architectures = networks_of(networks)
    request = request_for(proxies, architectures, overrides)
    scores = _scores(request, architectures, machine, observer, f"Scoring {len(architectures):,} networks")
    of_columns, notes = request.rows(scores)
    columns = tuple(column.name for column in request.columns)
    why = why_failed(columns, architectures, of_columns)
    little = _LittleRead()
    for network, arch in enumerate(architectures):
        little.see(columns, arch, network, of_columns)
    return ScoredNetworks(architectures, columns, of_columns, (*request.notes, *notes, *why, *little.notes))


def score_into_file(
    path: Path,
    proxies: Sequence[str],
    networks: str,
    *,
    overrides: Sequence[str] = (),
    machine: Machine,
    observer: Observer,
) -> int:
    """Write scores into a CSV file, network by network, or go on with one that was begun with the same settings.

    Columns: ``index``, ``network``, ``content`` (digest of the network), one for each proxy (empty where it failed),
    ``failed`` (names and kinds of failures, separated by semicolons; ``PROXY[MEMBER]`` of an aggregate's member) and
    ``seconds`` (of the network once built, on one worker). What the scores were made with lies beside, in
    ``<path>.settings.json``. Memory does not grow with the number of networks.

    Returns:
        networks scored now; those that the file had already are not scored again.

    Raises:
        ConfigError: if the file was begun with other proxies or settings, or is not such a file.
        OutputError: if it cannot be written, or another process writes it.
        EznasError: as `score`.
    """
    check_machine(machine)
    observer.stage(READING)
    architectures = networks_of(networks)
    request = request_for(proxies, architectures, overrides)
    return write_scores(path, request, architectures, machine=machine, observer=observer)


def write_scores(
    path: Path, request: Request, architectures: Sequence[Architecture], *, machine: Machine, observer: Observer
) -> int:
    """As `score_into_file`, of a request that has its proxies and conditions already.

    Raises:
        ConfigError, OutputError: as `score_into_file`.
    """
    if request.without_reference:
        raise ConfigError(
            f"--output writes scores as they come, and {request.without_reference[0]} ranks among all networks; "
            f"{reference_remedy(request.without_reference[0])}"
        )
    for note in request.notes:
        observer.note(note)
    space = space_of(architectures[0])
    contents = {arch.spec: _content(space, arch) for arch in architectures}
    with ScoreFile.writing(path, request, contents, machine.device) as file:
        if file.n_changed:
            observer.note(f"{file.n_changed} network(s) of {path} have changed since and are scored again.")
        missing = [arch for arch in architectures if arch.spec not in file.done]
        stage = f"Scoring {len(missing):,} networks into {path}"
        if not missing:
            observer.stage(stage)
            return 0

        little = _LittleRead()

        def write(position: int, scores: Scores) -> None:
            of_columns, _ = request.rows(scores)
            little.see(file.columns, missing[position], 0, of_columns)
            file.append(rows_of(file.columns, [missing[position]], contents, of_columns), last=False)

        try:
            _scores(request, missing, machine, observer, stage, each=write)
        finally:
            file.append([])
        for note in little.notes:
            observer.note(note)
    return len(missing)


def make_aggregate(
    text: str,
    networks: str,
    *,
    mode: Mode | None = None,
    overrides: Sequence[str] = (),
    machine: Machine,
    observer: Observer,
) -> RankAggregate:
    """Score a reference sample with several proxies, and make them one proxy that ranks among it.

    Args:
        text: a published aggregate, or a sum of proxies; see `eznas.proxies.recipe_for`.
        networks: the reference; see `eznas.benchmarks.networks_of`.
        mode: None is that of the published aggregate, and ``"log_rank"`` for a sum.
        overrides, machine, observer: as `score`.

    Raises:
        EznasError: as `score`; also if the networks cannot be a reference.
    """
    check_machine(machine)
    observer.stage(READING)
    recipe, _ = aggregate_named(text, mode)
    architectures = networks_of(networks)
    request = request_for([name for name, _ in recipe.terms], architectures, overrides)
    if not 2 <= len(architectures) <= MAX_NETWORKS:
        raise ConfigError(
            f"A reference is 2 to {MAX_NETWORKS} networks of one search space, got {len(architectures)}; name others"
        )
    stage = f"Scoring {len(architectures):,} networks of the reference"
    scores = _scores(request, architectures, machine, observer, stage)
    for member, row in zip(request.proxies, scores.scores, strict=True):
        if not np.isfinite(row).any():
            raise ConfigError(
                f"{member.name!r} failed on every network of the reference {networks[:200]}; leave it out, or choose "
                "other networks"
            )
    digest = hashlib.sha256("\n".join(arch.spec for arch in architectures).encode()).hexdigest()
    return RankAggregate(
        name=recipe.name,
        members=tuple(p.bound(request.conditions) if isinstance(p, ProgramProxy) else p for p in request.proxies),
        weights=tuple(weight for _, weight in recipe.terms),
        mode=recipe.mode,
        reference=Reference(
            networks=networks if len(networks) <= 4_000 and networks.isprintable() else f"{len(architectures)} of them",
            space=architectures[0].space,
            digest=digest,
            conditions=request.conditions,
            scores=sorted_reference(scores.scores),
        ),
    )


def scores_text(scored: ScoredNetworks, form: str) -> str:
    """The scores as a table, JSON or CSV: one row per network.

    Where a proxy failed the table has the kind of failure, CSV is empty, and JSON has the reasons (``failed``). JSON
    also says under ``coverage`` how much of the network each program reads.
    """
    rows = rows_of(scored.columns, scored.architectures, {}, scored.scores)
    has_index = any(row["index"] is not None for row in rows)
    names = (*(("index",) if has_index or form != "table" else ()), "network", *scored.columns)
    shown: list[dict[str, Any]] = [{name: row[name] for name in names} for row in rows]
    for (row, network), failure in scored.scores.failures.items():
        if form == "table":
            shown[network][scored.columns[row]] = failure.kind.value
        elif form == "json":
            reasons = shown[network].setdefault("failed", {})
            reasons[scored.columns[row]] = {"kind": failure.kind.value, "detail": failure.detail}
    if form == "json":
        read: list[dict[str, Any]] = [{} for _ in shown]
        for (row, network), coverage in scored.scores.coverage.items():
            read[network][scored.columns[row]] = {name: round(share, 4) for name, share in asdict(coverage).items()}
        complete = [
            {**row, "failed": row.get("failed", {}), "coverage": one} for row, one in zip(shown, read, strict=True)
        ]
        return json.dumps(complete, indent=1) + "\n"
    return render_table(shown, form, width=400)


def _scores(
    request: Request,
    architectures: Sequence[Architecture],
    machine: Machine,
    observer: Observer,
    stage: str,
    each: Any = None,
) -> Scores:
    with single_threaded(), open_workers(machine, observer) as pool:
        observer.stage(stage)
        return score_networks(
            request.proxies,
            architectures,
            request.conditions,
            pool,
            device=machine.device,
            progress=observer.advance,
            each=each,
        )


class _LittleRead:
    """Which networks programs read less than `LITTLE` of: the first of each program, and how many."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, Coverage, int]] = {}

    def see(self, columns: Sequence[str], arch: Architecture, network: int, scores: Scores) -> None:
        """Look at a network, which has that place in the scores."""
        for row, name in enumerate(columns):
            read = scores.coverage.get((row, network))
            if read is not None and min(read.layers, read.macs) < LITTLE:
                spec, first, n = self._found.get(name, (arch.spec, read, 0))
                self._found[name] = spec, first, n + 1

    @property
    def notes(self) -> list[str]:
        """A sentence for each program."""
        return [
            f"{name} reads {read.layers:.0%} of the layers and {read.macs:.0%} of the multiply-accumulates of "
            f"{one_line(spec)}{f' (and little of {n - 1:,} more)' if n > 1 else ''}; one that is evolved with "
            "probe.units = 'layers' reads all of a network."
            for name, (spec, read, n) in self._found.items()
        ]


def _content(space: SearchSpace[Any], arch: Architecture) -> str:
    """Digest of a network; empty for one that cannot be built, whose failure is its row."""
    try:
        return space.digest(arch)
    except ArchitectureError:
        return ""


def why_failed(columns: Sequence[str], architectures: Sequence[Architecture], scores: Scores) -> list[str]:
    """The first failure of each proxy in words, and how many more there are."""
    notes = []
    for row, name in enumerate(columns):
        failed = {network: failure for (r, network), failure in scores.failures.items() if r == row}
        if failed:
            network, failure = next(iter(sorted(failed.items())))
            more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            arch = architectures[network]
            notes.append(f"{name} has no score for {arch.spec}: {failure.detail}{own_hint(arch, failure)}{more}")
    return notes

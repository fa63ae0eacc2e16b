"""Scores of any proxies on any networks of a search space, from the command line."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path

import filelock
import numpy as np

from eznas.aggregation import Mode, aggregate_scores, sorted_reference
from eznas.architectures import Architecture, index_of, networks_named
from eznas.config import RunConfig, changed_config, load_config
from eznas.digests import content_digest, difference
from eznas.errors import ConfigError, OutputError
from eznas.evolution import RunFolder
from eznas.files import is_replaceable, replace_file, why_not_written
from eznas.programs import Program, load_directed
from eznas.proxies import (
    RECIPES,
    Conditions,
    Member,
    RankAggregate,
    Recipe,
    aggregate_to_json,
    is_aggregate_file,
    load_aggregate,
    member_named,
    recipe_for,
    score_architectures,
)
from eznas.statistics import tensor_digest
from eznas.study.aggregates import check_conditions, check_space, config_of, reference_conditions, with_reference
from eznas.study.machine import Machine, check_machine, single_threaded
from eznas.study.observer import Observer
from eznas.study.problem import conditions_of
from eznas.study.results import Study
from eznas.tables import render_table
from eznas.workers import Pool, open_pool

SPAN = 256
"""Networks whose scores are written together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredNetworks:
    """Scores in the direction of each proxy.

    Attributes:
        architectures: the networks.
        proxies: what the user called them.
        scores: (n_proxies, n_networks); higher predicts a higher accuracy; NaN where a proxy failed.
        seconds: mean time of one network once it is built, all proxies together.
        member_failures: for each ``PROXY[MEMBER]`` of an aggregate the (n_networks,) Booleans whether it failed, and so
            has the lowest place of that member.
        notes: what a reader of the scores must know, a sentence each.
    """

    architectures: tuple[Architecture, ...]
    proxies: tuple[str, ...]
    scores: np.ndarray
    seconds: float
    member_failures: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def score_networks(
    proxies: Sequence[str],
    networks: str,
    *,
    overrides: Sequence[str] = (),
    machine: Machine,
    observer: Observer,
) -> ScoredNetworks:
    """Scores of proxies on networks.

    Args:
        proxies: published names, paths of program or aggregate files, ``RUN:ID``, or sums of these such as
            ``jacob_cov+parameter_count``. A sum, or a published aggregate by name, ranks among `networks` themselves.
        networks: see `networks_named`.
        overrides: settings; those of a ``RUN:ID`` are changed if there is one, else those that the reference of an
            aggregate file was scored under, else the defaults.
        machine: workers.
        observer: told how it goes on.

    Raises:
        ConfigError: unknown proxy, proxies of runs with different settings, settings other than those of the reference
            of an aggregate, or no other network to rank among.
        ProgramError: a program or aggregate file is not one.
        RunError: a run is not finished, or has no such proxy.
        ArchitectureError: no such network.
    """
    check_machine(machine)
    architectures = networks_named(networks)
    asked = _asked(proxies, overrides)
    asked.check_networks(architectures)
    if asked.without_reference and len(architectures) < 2:
        raise ConfigError(
            f"{asked.without_reference[0]} ranks networks among each other, but --networks names one; name more, or "
            f"{_reference_remedy(asked.without_reference[0])}"
        )
    observer.stage(f"Scoring {len(architectures):,} networks")
    with _pool(machine) as pool:
        return asked.score(architectures, pool, observer.advance)


def score_into_file(
    path: Path,
    proxies: Sequence[str],
    networks: str,
    *,
    overrides: Sequence[str] = (),
    machine: Machine,
    observer: Observer,
) -> int:
    """Write scores into a CSV file, some networks at a time, or go on with one that was begun with the same settings.

    Columns: ``index``, ``network``, one for each proxy (empty where it failed), ``failed`` (their names, separated by
    semicolons; ``PROXY[MEMBER]`` for a member of an aggregate) and ``seconds`` (of the network once built, on one
    worker). What the scores were made with lies beside, in ``<path>.settings.json``. Memory does not grow with the
    number of networks.

    Args:
        path: of the file; made with its folder.
        proxies: as `score_networks`; the same for `networks`, `overrides`, `machine` and `observer`.

    Returns:
        networks scored now; those that the file had already are not scored again.

    Raises:
        ConfigError: if the file was begun with other proxies or settings, or is not such a file.
        OutputError: if it cannot be written, is no regular file, or is being written by another process.
        EznasError: as `score_networks`.
    """
    check_machine(machine)
    architectures = networks_named(networks)
    asked = _asked(proxies, overrides)
    asked.check_networks(architectures)
    if asked.without_reference:
        raise ConfigError(
            f"--output writes scores as they come, and {asked.without_reference[0]} needs all networks to rank among; "
            f"{_reference_remedy(asked.without_reference[0])}"
        )
    header = ["index", "network", *proxies, "failed", "seconds"]
    with _locked(path):
        with _writing(path) as file:
            done = _begin(file, header, asked.settings())
        missing = [arch for arch in architectures if arch.spec not in done]
        observer.stage(f"Scoring {len(missing):,} networks into {path}")
        if not missing:
            return 0
        with _pool(machine) as pool:
            for start in range(0, len(missing), SPAN):
                part = missing[start : start + SPAN]
                scored = asked.score(part, pool, partial(_advance, observer, start, len(missing)))
                with _writing(path) as file:
                    _append(file, header, _rows(scored))
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
        text: a published aggregate, or a sum of published names, program files and ``RUN:ID``; see `recipe_for`.
        networks: the reference; see `networks_named`.
        mode: None is that of the published aggregate, and ``"log_rank"`` for a sum.
        overrides: as `score_networks`; the same for `machine` and `observer`.

    Raises:
        EznasError: as `score_networks`; also if the networks cannot be a reference.
    """
    check_machine(machine)
    recipe = recipe_for(text, mode)
    architectures = networks_named(networks)
    names = [name for name, _ in recipe.terms]
    asked = _asked(names, overrides)
    if asked.aggregates:
        raise ConfigError(f"{next(iter(asked.aggregates))} is an aggregate itself; write its members instead")
    observer.stage(f"Scoring {len(architectures):,} networks of the reference")
    with _pool(machine) as pool:
        scored = asked.score(architectures, pool, observer.advance)
    here = reference_conditions(asked.config, asked.conditions, asked.images)
    return with_reference(recipe, [asked.member(name) for name in names], architectures, scored.scores, here, networks)


def split_names(arguments: Sequence[str]) -> list[str]:
    """Proxies named in arguments, each of which may hold several between commas; each once.

    Raises:
        ConfigError: if there is nothing between two commas.
    """
    names: dict[str, None] = {}
    for argument in arguments:
        parts = [argument] if _is_on_disk(argument) else [part.strip() for part in argument.split(",")]
        if not all(parts):
            raise ConfigError(f"Proxies are named as NAME,NAME without gaps, got {argument!r}")
        names.update(dict.fromkeys(parts))
    return list(names)


def _is_on_disk(name: str) -> bool:
    return os.path.exists(name) or (":" in name and os.path.exists(name.rpartition(":")[0]))


def _reference_remedy(name: str) -> str:
    return f"give it a reference (eznas aggregate {name} --reference nb201:random:500 -o FILE.json) and score FILE.json"


@dataclass(frozen=True, slots=True)
class _Aggregate:
    """An aggregate that was asked for: who its members are among all that is scored, and its reference if it has one.

    Each member is known by its name, whether it is a program, and its key among programs or estimators.
    """

    recipe: Recipe
    members: tuple[tuple[str, bool, str], ...]
    loaded: RankAggregate | None

    def scores(self, member_scores: np.ndarray) -> np.ndarray:
        """Scores of networks, ranked among the reference, or else among each other."""
        if self.loaded is not None:
            return self.loaded.scores(member_scores)
        weights = [weight for _, weight in self.recipe.terms]
        return aggregate_scores(member_scores, sorted_reference(member_scores), weights=weights, mode=self.recipe.mode)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What scores: proxies with their directions, and how networks are built and excited."""

    names: tuple[str, ...]
    programs: dict[str, tuple[Program, int]]
    estimators: dict[str, int]
    aggregates: dict[str, _Aggregate]
    config: RunConfig
    conditions: Conditions
    images: str
    units: dict[str, str]

    @property
    def without_reference(self) -> list[str]:
        """Aggregates that rank the scored networks among each other."""
        return [name for name, aggregate in self.aggregates.items() if aggregate.loaded is None]

    def check_networks(self, architectures: Sequence[Architecture]) -> None:
        """Whether the references are of these networks' space."""
        for name, aggregate in self.aggregates.items():
            if aggregate.loaded is not None:
                check_space(name, aggregate.loaded, architectures)

    def member(self, name: str) -> Member:
        """A proxy of a network's own that was asked for, by the name it was asked for with."""
        if name in self.programs:
            program, direction = self.programs[name]
            units = self.units.get(name, self.conditions.units)
            return Member(name=name, direction=direction, program=program, units=units)
        return Member(name=name, direction=self.estimators[name])

    def score(
        self, architectures: Sequence[Architecture], pool: Pool, progress: Callable[[int, int], None]
    ) -> ScoredNetworks:
        """Scores of some networks."""
        with single_threaded():
            scored = score_architectures(
                architectures,
                self.conditions,
                programs=[program for program, _ in self.programs.values()],
                estimators=list(self.estimators),
                pool=pool,
                progress=progress,
                units=[self.units.get(name, self.conditions.units) for name in self.programs],
            )
        signs = np.array([*(sign for _, sign in self.programs.values()), *self.estimators.values()], dtype=float)
        scores = np.where(np.isfinite(scored.scores), scored.scores * signs[:, None], np.nan)
        n_programs = len(self.programs)
        row_of = {(True, key): row for row, key in enumerate(self.programs)}
        row_of |= {(False, key): row for row, key in enumerate(self.estimators, start=n_programs)}
        asked, member_failures, notes = [], {}, []
        for name in self.names:
            if name not in self.aggregates:
                asked.append(scores[row_of[name in self.programs, name]])
                continue
            aggregate = self.aggregates[name]
            of_members = scores[[row_of[is_program, key] for _, is_program, key in aggregate.members]]
            asked.append(aggregate.scores(of_members))
            if aggregate.loaded is None:
                notes.append(f"{name} ranks these {len(architectures):,} networks among each other.")
            for (member, _, _), row in zip(aggregate.members, of_members, strict=True):
                has_failed = ~np.isfinite(row)
                member_failures[f"{name}[{member}]"] = has_failed
                if has_failed.any():
                    notes.append(
                        f"{member} of {name} failed on {has_failed.sum():,} of {len(row):,} networks, which rank last."
                    )
        return ScoredNetworks(
            architectures=tuple(architectures),
            proxies=self.names,
            scores=np.stack(asked),
            seconds=float(scored.seconds[:1][: bool(n_programs)].sum() + scored.seconds[n_programs:].sum()),
            member_failures=member_failures,
            notes=tuple(notes),
        )

    def settings(self) -> dict[str, object]:
        """All that determines the scores, as plain data."""
        config = self.config
        return {
            "format": "eznas-scores",
            "version": 2,
            "proxies": {name: self._settings_of(name) for name in self.names},
            "networks": config.networks.model_dump(mode="json"),
            "probe": config.probe.model_dump(mode="json"),
            "baseline_batch_size": config.report.baseline_batch_size,
            "seed": config.seed,
            "images": self.images,
            "images_digest": tensor_digest(self.conditions.inputs),
            "estimator_images_digest": tensor_digest(self.conditions.estimator_inputs),
            "versions": {"eznas": version("eznas"), "torch": version("torch").partition("+")[0]},
        }

    def _settings_of(self, name: str) -> dict[str, object]:
        if name in self.aggregates:
            loaded = self.aggregates[name].loaded
            text = "" if loaded is None else aggregate_to_json(loaded)
            return {"aggregate": hashlib.sha256(text.encode()).hexdigest()}
        member = self.member(name)
        if member.program is None:
            return {"estimator": name, "direction": member.direction}
        return {"program": member.program.text, "direction": member.direction}


def _asked(proxies: Sequence[str], overrides: Sequence[str]) -> _Asked:
    resolver = _Resolver(overrides)
    aggregates: dict[str, _Aggregate] = {}
    for name in proxies:
        if name in RECIPES or ("+" in name and not _is_on_disk(name)):
            recipe = recipe_for(name)
            members = tuple((term, resolver.single(term), term) for term, _ in recipe.terms)
            aggregates[name] = _Aggregate(recipe, members, None)
        elif name.endswith(".json") and is_aggregate_file(Path(name)):
            loaded = load_aggregate(Path(name))
            terms = tuple(zip((member.name for member in loaded.members), loaded.weights, strict=True))
            members = tuple((member.name, *resolver.stored(name, member)) for member in loaded.members)
            aggregates[name] = _Aggregate(Recipe(name=name, terms=terms, mode=loaded.mode), members, loaded)
        else:
            resolver.single(name)
    with_own = {name: aggregate.loaded for name, aggregate in aggregates.items() if aggregate.loaded is not None}
    config = resolver.config
    if config is None and with_own:
        config = changed_config(config_of(next(iter(with_own.values())).reference.conditions), overrides)
    config = config or load_config(None, overrides)
    conditions, images = conditions_of(config)
    here = reference_conditions(config, conditions, images)
    for name, loaded in with_own.items():
        check_conditions(name, loaded, here)
    return _Asked(
        tuple(proxies), resolver.programs, resolver.estimators, aggregates, config, conditions, images, resolver.units
    )


class _Resolver:
    """Gathers what scores a network by itself, and the settings of the run that a proxy comes from."""

    def __init__(self, overrides: Sequence[str]) -> None:
        self.programs: dict[str, tuple[Program, int]] = {}
        self.estimators: dict[str, int] = {}
        self.units: dict[str, str] = {}  # layers that a program reads, where it is not for the settings to say
        self.config: RunConfig | None = None
        self._overrides = overrides

    def single(self, name: str) -> bool:
        """Add the proxy that a user named; whether it is a program."""
        if name.endswith(".json"):
            if is_aggregate_file(Path(name)):
                raise ConfigError(f"{name} is an aggregate and no member of another; write its members instead")
            self.programs[name] = load_directed(Path(name))
        elif ":" in name:
            run, _, proxy_id = name.rpartition(":")
            folder = RunFolder.open(Path(run))
            self.programs[name] = _of_run(folder, proxy_id)
            found = folder.settings(self._overrides)
            config = self.config
            if config is not None and (config.networks, config.probe, config.seed) != (
                found.networks, found.probe, found.seed,
            ):  # fmt: skip
                raise ConfigError(f"{name} comes from a run with other networks, probe or seed; score its run apart")
            self.config = found
        else:
            self._add(name, member_named(name))
        return name in self.programs

    def stored(self, aggregate: str, member: Member) -> tuple[bool, str]:
        """Add a member of an aggregate file; whether it is a program, and the key to find its scores by."""
        key = member.name if member.program is None else f"{aggregate}[{member.name}]"
        self._add(key, member)
        return member.program is not None, key

    def _add(self, key: str, member: Member) -> None:
        if member.program is None:
            self.estimators[key] = member.direction
        else:
            self.programs[key] = (member.program, member.direction)
            self.units[key] = member.units


@contextmanager
def _pool(machine: Machine) -> Iterator[Pool]:
    pool = open_pool(machine.workers, machine.ray_address, on_gpu=machine.device == "cuda")
    try:
        yield pool
    finally:
        pool.close()


def _advance(observer: Observer, n_before: int, n_all: int, n_done: int, n_part: int) -> None:
    del n_part
    observer.advance(n_before + n_done, n_all)


@contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """The file that a name leads to, to be begun or added to.

    Raises:
        OutputError: if it cannot be written, or is not one that can be gone on with.
    """
    try:
        if not is_replaceable(path):
            raise OutputError(
                f"{path} is not a regular file, and --output of eznas score must be one, because the same command goes "
                f"on with it; leave --output out to print the scores"
            )
        yield Path(os.path.realpath(path))
    except OSError as error:
        again = "free space and give the same command again: it goes on"
        raise OutputError(why_not_written(path, error, when_full=again)) from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep a second writer out of a file of scores.

    Raises:
        OutputError: if there is one, or nothing can be written there.
    """
    with _writing(path) as file:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(file.with_name(f".{file.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise OutputError(
                f"{path} is being written by another process; wait for it to end, or choose another --output"
            ) from None
    try:
        yield
    finally:
        lock.release()


def _begin(path: Path, header: Sequence[str], settings: Mapping[str, object]) -> set[str]:
    """The networks a file of scores has already; begins it if there is none, and cuts off a torn last line."""
    beside = path.with_name(f"{path.name}.settings.json")
    if not path.exists():
        replace_file(beside, json.dumps({**settings, "digest": content_digest(settings)}, indent=1) + "\n")
        replace_file(path, _csv_text([header]))
        return set()
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
        digest = found.pop("digest", None)
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        lines = list(csv.reader(io.StringIO(whole.decode())))
    except (OSError, ValueError, AttributeError, TypeError, RecursionError, csv.Error):
        raise ConfigError(
            f"{path} is not a file of scores with {beside.name} beside it; choose another --output"
        ) from None
    if found.get("version") == settings["version"] and digest != content_digest(found):
        raise ConfigError(f"{beside} was changed: it does not have the digest in it; choose another --output")
    changed = difference(found, settings)
    if changed:
        raise ConfigError(
            f"{path} was begun with other proxies, settings or versions: {changed}; choose another --output"
        )
    if not lines or lines[0] != list(header) or any(len(line) != len(header) for line in lines):
        raise ConfigError(f"{path} was begun with other columns, or is damaged; choose another --output")
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    return {line[1] for line in lines[1:]}


def _append(path: Path, header: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Add rows and make them last."""
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write(_csv_text([["" if row[name] is None else row[name] for name in header] for row in rows]))
        file.flush()
        os.fsync(file.fileno())


def _csv_text(rows: Sequence[Sequence[object]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def scores_text(scored: ScoredNetworks, form: str) -> str:
    """The scores as a table, JSON or CSV: one row per network, empty where a proxy failed."""
    names = ("index", "network", *scored.proxies)
    return render_table([{name: row[name] for name in names} for row in _rows(scored)], form, width=400)


def _rows(scored: ScoredNetworks) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for column, arch in enumerate(scored.architectures):
        values = [float(value) if np.isfinite(value) else None for value in scored.scores[:, column]]
        of_proxy = dict(zip(scored.proxies, values, strict=True))
        rows.append({
            "index": index_of(arch),
            "network": arch.spec,
            **of_proxy,
            "failed": ";".join([
                *(name for name, value in of_proxy.items() if value is None),
                *(name for name, has_failed in scored.member_failures.items() if has_failed[column]),
            ]),
            "seconds": round(scored.seconds, 6),
        })  # fmt: skip
    return rows


def _of_run(folder: RunFolder, proxy_id: str) -> tuple[Program, int]:
    study = Study(folder.path)
    proxy = study.best if proxy_id == "best" else study.proxy(proxy_id)
    return proxy.program, proxy.entry.direction

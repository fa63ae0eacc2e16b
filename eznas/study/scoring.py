"""Scores of any proxies on any networks of a search space, from the command line."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

from eznas.architectures import Architecture, index_of, networks_named
from eznas.config import RunConfig, load_config
from eznas.errors import ConfigError
from eznas.evolution import RunFolder
from eznas.files import replace_file
from eznas.programs import Program, load_directed
from eznas.proxies import KNOWN_PROGRAMS, Conditions, by_name, score_architectures
from eznas.statistics import tensor_digest
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
        seconds: mean time of one network, all proxies together.
    """

    architectures: tuple[Architecture, ...]
    proxies: tuple[str, ...]
    scores: np.ndarray
    seconds: float


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
        proxies: published names, paths of program files, or ``RUN:ID``.
        networks: see `networks_named`.
        overrides: settings; without a ``RUN:ID`` those of the defaults are changed, else those of its run.
        machine: workers.
        observer: told how it goes on.

    Raises:
        ConfigError: unknown proxy, or proxies of runs with different settings.
        ProgramError: a program file is not one.
        RunError: a run is not finished, or has no such proxy.
        ArchitectureError: no such network.
    """
    check_machine(machine)
    architectures = networks_named(networks)
    asked = _asked(proxies, overrides)
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
    semicolons) and ``seconds`` (of the network, on one worker). What the scores were made with lies beside, in
    ``<path>.settings.json``. Memory does not grow with the number of networks.

    Args:
        path: of the file; made with its folder.
        proxies: as `score_networks`; the same for `networks`, `overrides`, `machine` and `observer`.

    Returns:
        networks scored now; those that the file had already are not scored again.

    Raises:
        ConfigError: if the file was begun with other proxies or settings, or is not such a file.
        OSError: if it cannot be written.
        EznasError: as `score_networks`.
    """
    check_machine(machine)
    architectures = networks_named(networks)
    asked = _asked(proxies, overrides)
    header = ["index", "network", *proxies, "failed", "seconds"]
    done = _begin(path, header, asked.settings())
    missing = [arch for arch in architectures if arch.spec not in done]
    observer.stage(f"Scoring {len(missing):,} networks into {path}")
    if not missing:
        return 0
    with _pool(machine) as pool:
        for start in range(0, len(missing), SPAN):
            part = missing[start : start + SPAN]
            scored = asked.score(part, pool, partial(_advance, observer, start, len(missing)))
            _append(path, header, _rows(scored))
    return len(missing)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What scores: proxies with their directions, and how networks are built and excited."""

    names: tuple[str, ...]
    programs: dict[str, tuple[Program, int]]
    estimators: dict[str, int]
    config: RunConfig
    conditions: Conditions
    images: str
    units: dict[str, str]

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
        row_of = {name: row for row, name in enumerate([*self.programs, *self.estimators])}
        n_programs = len(self.programs)
        return ScoredNetworks(
            architectures=tuple(architectures),
            proxies=self.names,
            scores=scores[[row_of[name] for name in self.names]],
            seconds=float(scored.seconds[:1][: bool(n_programs)].sum() + scored.seconds[n_programs:].sum()),
        )

    def settings(self) -> dict[str, object]:
        """All that determines the scores, as plain data."""
        config = self.config
        return {
            "format": "eznas-scores",
            "version": 1,
            "proxies": {
                name: {"program": self.programs[name][0].text, "direction": self.programs[name][1]}
                if name in self.programs
                else {"estimator": name, "direction": self.estimators[name]}
                for name in self.names
            },
            "networks": config.networks.model_dump(mode="json"),
            "probe": config.probe.model_dump(mode="json"),
            "baseline_batch_size": config.report.baseline_batch_size,
            "seed": config.seed,
            "images": self.images,
            "images_digest": tensor_digest(self.conditions.inputs),
            "estimator_images_digest": tensor_digest(self.conditions.estimator_inputs),
            "versions": {"eznas": version("eznas"), "torch": version("torch").partition("+")[0]},
        }


def _asked(proxies: Sequence[str], overrides: Sequence[str]) -> _Asked:
    programs: dict[str, tuple[Program, int]] = {}
    estimators: dict[str, int] = {}
    units: dict[str, str] = {}
    config: RunConfig | None = None
    for name in proxies:
        if name in KNOWN_PROGRAMS:
            programs[name] = (KNOWN_PROGRAMS[name].program, KNOWN_PROGRAMS[name].direction)
            units[name] = KNOWN_PROGRAMS[name].units
        elif name.endswith(".json"):
            programs[name] = load_directed(Path(name))
        elif ":" in name:
            run, _, proxy_id = name.rpartition(":")
            folder = RunFolder.open(Path(run))
            programs[name] = _of_run(folder, proxy_id)
            found = load_config(folder.path / "config.toml", overrides)
            if config is not None and (config.networks, config.probe, config.seed) != (
                found.networks, found.probe, found.seed,
            ):  # fmt: skip
                raise ConfigError(f"{name} comes from a run with other networks, probe or seed; score its run apart")
            config = found
        else:
            estimators[name] = by_name(name).direction
    config = config or load_config(None, overrides)
    conditions, images = conditions_of(config)
    return _Asked(tuple(proxies), programs, estimators, config, conditions, images, units)


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


def _begin(path: Path, header: Sequence[str], settings: Mapping[str, object]) -> set[str]:
    """The networks a file of scores has already; begins it if there is none, and cuts off a torn last line."""
    beside = path.with_name(f"{path.name}.settings.json")
    if not path.exists():
        replace_file(beside, json.dumps(settings, indent=1) + "\n")
        replace_file(path, _csv_text([header]))
        return set()
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        lines = list(csv.reader(io.StringIO(whole.decode())))
    except (OSError, ValueError, csv.Error):
        raise ConfigError(
            f"{path} is not a file of scores with {beside.name} beside it; choose another --output"
        ) from None
    if found != settings or not lines or lines[0] != list(header) or any(len(line) != len(header) for line in lines):
        raise ConfigError(
            f"{path} was begun with other proxies, settings or versions (see {beside.name}), or is damaged; choose "
            f"another --output"
        )
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
            "failed": ";".join(name for name, value in of_proxy.items() if value is None),
            "seconds": round(scored.seconds, 6),
        })  # fmt: skip
    return rows


def _of_run(folder: RunFolder, proxy_id: str) -> tuple[Program, int]:
    study = Study(folder.path)
    proxy = study.best if proxy_id == "best" else study.proxy(proxy_id)
    return proxy.program, proxy.entry.direction

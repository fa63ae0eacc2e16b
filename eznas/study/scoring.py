"""Scores of any proxies on any networks of a search space, from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eznas.architectures import Architecture, nb201
from eznas.config import RunConfig, load_config
from eznas.errors import ArchitectureError, ConfigError
from eznas.evolution import RunFolder
from eznas.programs import Program, load_directed
from eznas.proxies import KNOWN_PROGRAMS, by_name, score_architectures
from eznas.randomness import stream
from eznas.study.machine import Machine, check_machine, single_threaded
from eznas.study.observer import Observer
from eznas.study.problem import conditions_of
from eznas.study.results import Study
from eznas.tables import render_table
from eznas.workers import open_pool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredNetworks:
    """Scores in the direction of each proxy.

    Attributes:
        architectures: the networks.
        proxies: what the user called them.
        scores: (n_proxies, n_networks); higher predicts a higher accuracy; NaN where a proxy failed.
    """

    architectures: tuple[Architecture, ...]
    proxies: tuple[str, ...]
    scores: np.ndarray


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
    programs: dict[str, tuple[Program, int]] = {}
    estimators: dict[str, int] = {}
    config: RunConfig | None = None
    for name in proxies:
        if name in KNOWN_PROGRAMS:
            programs[name] = (KNOWN_PROGRAMS[name].program, KNOWN_PROGRAMS[name].direction)
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
    conditions, _ = conditions_of(config or load_config(None, overrides))
    observer.stage(f"Scoring {len(architectures):,} networks")
    pool = open_pool(machine.workers, machine.ray_address, on_gpu=machine.device == "cuda")
    try:
        with single_threaded():
            scored = score_architectures(
                architectures,
                conditions,
                programs=[program for program, _ in programs.values()],
                estimators=list(estimators),
                pool=pool,
                progress=observer.advance,
            )
    finally:
        pool.close()
    signs = np.array([*(sign for _, sign in programs.values()), *estimators.values()], dtype=float)
    scores = np.where(np.isfinite(scored.scores), scored.scores * signs[:, None], np.nan)
    row_of = {name: row for row, name in enumerate([*programs, *estimators])}
    return ScoredNetworks(
        architectures=architectures, proxies=tuple(proxies), scores=scores[[row_of[name] for name in proxies]]
    )


def networks_named(spec: str) -> tuple[Architecture, ...]:
    """The architectures a specification names.

    Args:
        spec: ``nb201:all``; ``nb201:random:N`` or ``nb201:random:N:SEED`` (uniform, without replacement);
            ``nb201:3,10-12`` (official indices); or one architecture string.

    Raises:
        ArchitectureError: if it names none.
    """
    if spec.startswith("|"):
        return (nb201.architecture(spec),)
    space, _, rest = spec.partition(":")
    if space != nb201.SPACE or not rest:
        raise ArchitectureError(
            f"--networks takes nb201:all, nb201:random:N[:SEED], nb201:INDEX,FROM-TO or an arch string, got {spec!r}"
        )
    if rest == "all":
        return nb201.all_architectures()
    words = rest.split(":")
    if words[0] == "random":
        n, seed = _integer(words[1] if len(words) > 1 else "", spec), _integer((*words, "0", "0")[2], spec)
        if len(words) > 3 or not 1 <= n <= nb201.N_CELLS:
            raise ArchitectureError(
                f"--networks {spec}: expected nb201:random:N[:SEED] with N from 1 to {nb201.N_CELLS}"
            )
        chosen = stream(seed, "networks", "random").choice(nb201.N_CELLS, size=n, replace=False)
        return tuple(nb201.from_index(int(index)) for index in chosen)
    indices: list[int] = []
    for part in rest.split(","):
        first, _, last = part.partition("-")
        low = _integer(first, spec)
        high = _integer(last, spec) if last else low
        if not 0 <= low <= high < nb201.N_CELLS:
            raise ArchitectureError(f"--networks {spec}: indices go from 0 to {nb201.N_CELLS - 1}, got {part!r}")
        indices.extend(range(low, high + 1))
    return tuple(nb201.from_index(index) for index in dict.fromkeys(indices))


def scores_text(scored: ScoredNetworks, form: str) -> str:
    """The scores as a table, JSON or CSV: one row per network, empty where a proxy failed."""
    rows = [
        {
            "index": nb201.index_of(arch),
            "network": arch.spec,
            **{
                name: float(value) if np.isfinite(value) else None
                for name, value in zip(scored.proxies, scored.scores[:, column], strict=True)
            },
        }
        for column, arch in enumerate(scored.architectures)
    ]
    return render_table(rows, form, width=400)


def _of_run(folder: RunFolder, proxy_id: str) -> tuple[Program, int]:
    study = Study(folder.path)
    proxy = study.best if proxy_id == "best" else study.proxy(proxy_id)
    return proxy.program, proxy.entry.direction


def _integer(text: str, spec: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ArchitectureError(f"--networks {spec}: expected a whole number, got {text!r}")
    return int(text)

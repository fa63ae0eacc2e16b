"""The same run with several seeds, one after another, each in a folder of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from eznas.errors import ConfigError, RunError
from eznas.runs.config import RunConfig, changed_config
from eznas.runs.manifest import MANIFEST, Manifest
from eznas.study.machine import Machine
from eznas.study.observer import Observer, Silent
from eznas.study.results import Study
from eznas.study.run import ShouldStop, evolve, new_run_path, resume

MOST_SEEDS: Final = 1_000


def evolve_seeds(
    config: RunConfig,
    n_seeds: int,
    *,
    run_dir: Path | str | None = None,
    machine: Machine | None = None,
    observer: Observer | None = None,
    should_stop: ShouldStop = lambda: False,
) -> tuple[Path, tuple[Study, ...]]:
    """Runs that differ in their seed alone, in ``RUN/seed-N``; those that are there already are gone on with.

    The seed also draws the networks to evolve on, to select by and to report, so that the spread over seeds is that of
    the whole procedure.

    Args:
        config: settings; the seeds are its own and those that follow.
        n_seeds: how many.
        run_dir: a new or empty folder, or one that this function began with the same settings; None makes one.
        machine: workers, device, cache.
        observer: told how it goes on.
        should_stop: asked after every generation.

    Returns:
        The folder, and the runs in the order of their seeds; the last one is unfinished if it was stopped.

    Raises:
        ConfigError: if there are no seeds, or too many.
        RunError: if a folder is there that was begun with other settings, or holds something else.
        EznasError: as `evolve`.
    """
    if not 1 <= n_seeds <= MOST_SEEDS:
        raise ConfigError(f"--seeds must be 1 to {MOST_SEEDS}, got {n_seeds}")
    folder = Path(run_dir) if run_dir is not None else new_run_path(config)
    if (folder / MANIFEST).exists():
        raise RunError(f"{folder} is a run itself; give another --run-dir for runs of several seeds")
    seeds = range(config.seed, config.seed + n_seeds)
    every = {seed: changed_config(config, [f"seed={seed}"]) for seed in seeds}
    for seed, settings in every.items():  # before hours are spent on the first ones
        place = folder / f"seed-{seed}"
        if (place / MANIFEST).is_file():
            _check_same(place, settings)
    how: dict[str, Any] = {"machine": machine, "observer": observer, "should_stop": should_stop}
    studies: list[Study] = []
    for number, (seed, settings) in enumerate(every.items(), start=1):
        place = folder / f"seed-{seed}"
        (observer or Silent()).stage(f"Seed {seed}, run {number} of {n_seeds}, in {place}")
        is_begun = (place / MANIFEST).is_file()
        studies.append(resume(place, **how) if is_begun else evolve(settings, run_dir=place, **how))
        if not studies[-1].is_finished:
            break
    return folder, tuple(studies)


def _check_same(place: Path, settings: RunConfig) -> None:
    try:
        Manifest.read(place).check_settings(settings, place)
    except RunError as error:
        raise RunError(f"{place} was begun with other settings than are asked for now: {error}") from None

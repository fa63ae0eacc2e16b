"""The same search from several seeds, one after the other, each a run of its own that can be gone on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from eznas.errors import ConfigError, RunError
from eznas.runs import Front, load_front
from eznas.runs.config import RunConfig, load_config
from eznas.runs.manifest import MANIFEST
from eznas.study.machine import Machine
from eznas.study.observer import Observer, Silent
from eznas.study.results import Study
from eznas.study.run import ShouldStop, evolve, new_run_path, resume

PAGE: Final = "report.html"
TABLE: Final = "seeds.csv"
MAX_SEEDS: Final = 1_000


def evolve_seeds(
    settings: RunConfig,
    n_seeds: int,
    *,
    run_dir: Path | str | None = None,
    machine: Machine | None = None,
    observer: Observer | None = None,
    should_stop: ShouldStop = lambda: False,
    **given: Any,
) -> tuple[Study, ...]:
    """Runs from as many seeds, that of the settings first and those that follow it, in ``RUN/seed-N``.

    Called again with the same folder it goes on: finished seeds are left as they are, an interrupted one is resumed.
    The spread over the seeds is written to ``RUN/seeds.csv`` and ``RUN/report.html`` once all are finished.

    Args:
        settings: of each run but for its seed.
        n_seeds: at least 1.
        run_dir: a new folder, or one of these seeds; None makes one under ``runs/``.
        machine, observer, should_stop: as `eznas.study.evolve`.
        given: networks, accuracies and images, as `eznas.study.evolve` takes them.

    Returns:
        The runs; the last one is not finished if it was asked to stop.

    Raises:
        ConfigError: if the number of seeds is out of bounds.
        RunError: if the folder is a run itself, or holds a seed of other settings.
    """
    if not 1 <= n_seeds <= MAX_SEEDS:
        raise ConfigError(f"The number of seeds must be from 1 to {MAX_SEEDS:,}, got {n_seeds}")
    folder = Path(run_dir) if run_dir is not None else new_run_path(settings)
    if (folder / MANIFEST).is_file():
        raise RunError(f"{folder} is a run of one seed; give --seeds another --run-dir")
    observer = observer or Silent()
    studies: list[Study] = []
    for number in range(n_seeds):
        seed = settings.seed + number
        one = settings.model_copy(update={"seed": seed})
        place = folder / f"seed-{seed}"
        how: dict[str, Any] = {"machine": machine, "observer": observer, "should_stop": should_stop, **given}
        observer.stage(f"Seed {seed}, {number + 1} of {n_seeds}")
        if (place / MANIFEST).is_file():
            _check_settings(place, one)
            studies.append(resume(place, **how))
        else:
            studies.append(evolve(one, run_dir=place, **how))
        if not studies[-1].is_finished:
            return tuple(studies)
    write_seeds(folder)
    return tuple(studies)


def seed_fronts(folder: Path) -> tuple[Front, ...]:
    """The fronts of the finished seeds in a folder, by seed; empty if there is none."""
    places = [place for place in Path(folder).glob("seed-*") if Study(place).is_finished]
    return tuple(sorted((load_front(place) for place in places), key=lambda front: front.run.seed))


def write_seeds(folder: Path) -> None:
    """Writes the table and the page of the seeds in a folder.

    Raises:
        RunError: if none is finished.
        OutputError: if they cannot be written.
    """
    from eznas.files import write_output
    from eznas.reporting import seeds_text, write_seeds_page

    fronts = seed_fronts(folder)
    if not fronts:
        raise RunError(f"{folder} holds no finished seed; eznas evolve --seeds goes on with it")
    write_output(Path(folder) / TABLE, seeds_text(fronts, "csv"))
    write_seeds_page(fronts, Path(folder) / PAGE)


def _check_settings(place: Path, settings: RunConfig) -> None:
    """Raises `RunError` where a seed was begun with other settings."""
    found = load_config(place / "config.toml")
    if found != settings:
        changed = [key for key in type(settings).model_fields if getattr(found, key) != getattr(settings, key)]
        raise RunError(
            f"{place} was begun with other settings ({', '.join(changed)}); give --seeds another --run-dir, or "
            "the same settings"
        )

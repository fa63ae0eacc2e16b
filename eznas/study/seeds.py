"""The same search from several seeds, one after the other, each a run of its own that can be gone on with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from eznas.errors import ConfigError, RunError
from eznas.files import is_file, write_output
from eznas.forms import Form, read_form
from eznas.names import shown
from eznas.runs import Front, load_front
from eznas.runs.config import RunConfig, config_from, load_config
from eznas.runs.manifest import MANIFEST
from eznas.study.machine import Machine
from eznas.study.observer import Observer, Silent
from eznas.study.results import Study
from eznas.study.run import ShouldStop, evolve, new_run_path, resume

PAGE: Final = "report.html"
TABLE: Final = "seeds.csv"
PLAN: Final = "seeds.json"
MAX_SEEDS: Final = 1_000


class SeedsPlan(Form):
    """What a folder is to hold: runs of so many seeds, that of the settings first."""

    format: Literal["eznas-seeds"] = "eznas-seeds"
    version: Literal[1] = 1
    n_seeds: Annotated[int, Field(ge=1, le=MAX_SEEDS)]
    settings: dict[str, Any]


def evolve_seeds(
    settings: RunConfig,
    n_seeds: int,
    *,
    run_dir: Path | str | None = None,
    machine: Machine | None = None,
    observer: Observer | None = None,
    should_stop: ShouldStop = lambda: False,
    any_version: bool = False,
    **given: Any,
) -> tuple[Study, ...]:
    """Runs from as many seeds, that of the settings first and those that follow it, in ``RUN/seed-N``.

    Called again with the same folder it goes on, as `resume_seeds` does: finished seeds are left as they are, an
    interrupted one is resumed.
    The spread over the seeds is written to ``RUN/seeds.csv`` and ``RUN/report.html`` once all are finished.

    Args:
        settings: of each run but for its seed.
        n_seeds: at least 1.
        run_dir: a new folder, or one of these seeds; None makes one under ``runs/``.
        machine, observer, should_stop: as `eznas.study.evolve`.
        any_version: of seeds that are resumed, as `eznas.study.resume`.
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
    ones = [settings.model_copy(update={"seed": settings.seed + number}) for number in range(n_seeds)]
    places = [folder / f"seed-{one.seed}" for one in ones]
    for one, place in zip(ones, places, strict=True):
        if (place / MANIFEST).is_file():
            _check_settings(place, one)
    how: dict[str, Any] = {"machine": machine, "observer": observer, "should_stop": should_stop, **given}
    studies: list[Study] = []
    with _planned(folder, settings, n_seeds):
        for number, (one, place) in enumerate(zip(ones, places, strict=True), start=1):
            observer.stage(f"Seed {one.seed}, {number} of {n_seeds}")
            if (place / MANIFEST).is_file():
                studies.append(resume(place, any_version=any_version, **how))
            else:
                studies.append(evolve(one, run_dir=place, **how))
            if not studies[-1].is_finished:
                return tuple(studies)
    write_seeds(folder)
    return tuple(studies)


def resume_seeds(folder: Path | str, **how: Any) -> tuple[Study, ...]:
    """Goes on with the seeds of a folder that are not finished, and begins those that were not begun.

    Args:
        folder: that `evolve_seeds` was given or made.
        how: machine, observer, should_stop, any_version, and networks, accuracies and images, as `evolve_seeds`.

    Raises:
        RunError: as `evolve_seeds`, or if the folder does not hold runs of several seeds.
    """
    folder = Path(folder)
    if not holds_seeds(folder):
        raise RunError(f"{shown(folder, 400)[1:-1]} holds no runs of several seeds; eznas evolve --seeds makes some")
    settings, n_seeds = read_plan(folder)
    return evolve_seeds(settings, n_seeds, run_dir=folder, **how)


def read_plan(folder: Path) -> tuple[RunConfig, int]:
    """The settings of the seeds of a folder, with the first of them, and how many there are to be.

    Raises:
        RunError: if they cannot be read.
        ConfigError: if a setting is wrong.
    """
    plan = read_form(SeedsPlan, folder / PLAN, error=RunError, remedy="give the command that began them again")
    return config_from(plan.settings, where=str(folder / PLAN)), plan.n_seeds


def holds_seeds(folder: Path) -> bool:
    """Whether a folder was made for runs of several seeds."""
    return is_file(folder / PLAN) and not is_file(folder / MANIFEST)


@contextmanager
def _planned(folder: Path, settings: RunConfig, n_seeds: int) -> Iterator[None]:
    """Has the folder say what it is to hold; nothing of it stays if no seed was begun."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"Cannot create run folder {folder}: {error.strerror or error}") from None
    plan = SeedsPlan(n_seeds=n_seeds, settings=settings.model_dump(mode="json", exclude_none=True))
    write_output(folder / PLAN, plan.model_dump_json(indent=1) + "\n")
    try:
        yield
    finally:
        if not any(folder.glob("seed-*")):
            (folder / PLAN).unlink(missing_ok=True)
            with suppress(OSError):  # one holds something else meanwhile
                for path in made:
                    path.rmdir()


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

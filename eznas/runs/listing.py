"""The runs below a folder: how far each is, what it found, what it takes on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from eznas.errors import ConfigError, EznasError
from eznas.fitness import Criterion
from eznas.names import one_line, shown
from eznas.runs.config import load_config
from eznas.runs.front import FILE, Front, load_front
from eznas.runs.history import read_history
from eznas.runs.manifest import MANIFEST, Manifest

DEPTH: Final = 4
"""Folders below folders in which runs are looked for."""
_REPORT: Final = "report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRun:
    """One run.

    Attributes:
        path: its folder.
        state: ``"finished"``, how far it is, or what is wrong with it.
        is_finished: whether it has a front and a report.
        n_programs: ranked or tried; None if that cannot be read.
        tau: of the pick on held-out networks; None without a front. Of several samples without an interval, as they
            count together.
        measured_on: networks, split and training of that, in words.
        n_bytes: of its files.
        modified: when the newest of its files was written, in seconds since 1970.
    """

    path: Path
    state: str
    is_finished: bool = False
    n_programs: int | None = None
    tau: Criterion | None = None
    measured_on: str = ""
    n_bytes: int = 0
    modified: float = 0.0


def runs_below(folder: Path) -> tuple[ListedRun, ...]:
    """The runs in a folder and in the folders below it, by path; the folder itself may be one.

    Raises:
        ConfigError: if there is no such folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"There is no folder {shown(folder, 400)}; name one with runs, which eznas evolve makes")
    return tuple(sorted(map(_listed, _run_folders(folder, DEPTH)), key=lambda run: str(run.path)))


def _run_folders(folder: Path, depth: int) -> Iterator[Path]:
    """Folders with a manifest; what is inside them is theirs. Links are not followed, what may not be read is left."""
    if (folder / MANIFEST).is_file() and (folder / "config.toml").is_file():
        yield folder
        return
    if depth == 0:
        return
    try:
        inner = [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for one in inner:
        yield from _run_folders(one, depth - 1)


def _listed(path: Path) -> ListedRun:
    n_bytes, modified = _extent(path)
    try:
        Manifest.read(path)
        if (path / FILE).is_file():
            front = load_front(path)
            tau, measured_on = _figure(front)
            is_finished = (path / _REPORT).is_file()
            return ListedRun(
                path=path, state="finished" if is_finished else "measured, without a report", is_finished=is_finished,
                n_programs=front.run.n_programs, tau=tau, measured_on=measured_on, n_bytes=n_bytes, modified=modified,
            )  # fmt: skip
        history = read_history(path)
        wanted = load_config(path / "config.toml").evolution.n_generations
    except EznasError as error:
        return ListedRun(path=path, state=f"damaged: {one_line(error, 200)}", n_bytes=n_bytes, modified=modified)
    reached = int(history.generation[-1]) if len(history) else None
    state = "begun" if reached is None else f"generation {reached} of {wanted}"
    return ListedRun(
        path=path, state=state, n_programs=int(history.n_evaluated.sum()), n_bytes=n_bytes, modified=modified
    )


def _figure(front: Front) -> tuple[Criterion | None, str]:
    """Tau of the pick, and on what."""
    if front.pick is None:
        return None, ""
    if len(front.learnt) == 1:
        (sample,) = front.learnt
        measured = front.pick.report.get(sample.name)
        return (None if measured is None else measured.tau), f"{sample.name}: {sample.report}"
    value = front.tau(front.pick, "report")
    how = "the worst" if front.run.aggregate == "worst" else "the mean"
    n = sum(sample.report.n for sample in front.learnt)
    said = f"{how} of {len(front.learnt)} samples, {n:,} networks"
    return (None if value is None else Criterion(value=value)), said


def _extent(path: Path) -> tuple[int, float]:
    """Bytes of the files of a folder, and when the newest was written; files that go meanwhile are left out."""
    n_bytes, modified = 0, 0.0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                found = os.lstat(os.path.join(folder, name))
            except OSError:
                continue
            n_bytes += found.st_size
            modified = max(modified, found.st_mtime)
    return n_bytes, modified

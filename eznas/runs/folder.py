"""A run on disk: everything a run was, is and found, in one folder that survives being killed.

    config.toml          resolved settings
    manifest.json        format, settings, versions, seeds, data, architectures, command
    programs.jsonl       every ranked program, in order, one per line
    failures.jsonl       every program that cannot be ranked, and why
    events.jsonl         what happened when, append-only
    checkpoints/         the last few generations, with digests of the manifest and of the files that grow
    hall_of_fame.csv     the best programs so far, rewritten after every generation
    front.json, report_scores.csv, report.html, figures/   the result

Files that grow are appended to and flushed; a torn last line is cut off when the run is resumed. Files that are
rewritten are replaced as a whole. Digests tell what was changed by hand. A lock keeps a second writer out; readers may
come at any time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import filelock

from eznas.errors import RunError
from eznas.files import TEMPORARY, is_file, replace_file, why_not_written
from eznas.forms import F, Form, read_form_lines
from eznas.names import shown
from eznas.runs.checkpoint import Checkpoint
from eznas.runs.config import RunConfig, changed_config, load_config
from eznas.runs.manifest import MANIFEST, Binding, Manifest

REMEDY: Final = "restore the file, or evolve anew"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths and safe writing; see the module text."""

    path: Path

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """A new run folder, or that of a run which was killed before it wrote its manifest: nothing of it is lost.

        Raises:
            RunError: if the folder exists and is not empty, or cannot be made.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            left = list(path.iterdir())
            if left and not _is_abandoned(path, left):
                raise RunError(f"Run folder {path} is not empty; give another --run-dir, or use eznas resume")
            for name in left:
                if TEMPORARY.fullmatch(name.name):
                    name.unlink(missing_ok=True)
            (path / "checkpoints").mkdir(exist_ok=True)
        except OSError as error:
            raise RunError(f"Cannot create run folder {path}: {error.strerror or error}") from None
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run folder.

        Raises:
            RunError: if it is not one, or of another version.
        """
        if not is_file(path / MANIFEST):
            where = shown(path, 400)[1:-1]
            raise RunError(f"{where} is not a run folder: it has no manifest.json; eznas evolve makes one")
        Manifest.read(path)
        return cls(path)

    def manifest(self) -> Manifest:
        """The manifest, known to be the one that the run went on with.

        Raises:
            RunError: if it is missing or damaged, or was changed since the last checkpoint.
        """
        manifest = Manifest.read(self.path)
        self.check_manifest(manifest)
        return manifest

    def check_manifest(self, manifest: Manifest | None) -> None:
        """Whether a manifest is the one of which the newest sound checkpoint, if there is any, holds the digest.

        Raises:
            RunError: if it is not.
        """
        recorded = self._recorded_manifest()
        if recorded is not None and (manifest is None or manifest.binding(recorded.n_history) != recorded):
            raise RunError(
                f"{self.path / MANIFEST} was changed after the run was started: it does not have the digest in "
                f"its checkpoints; restore it, or evolve anew"
            )

    def _recorded_manifest(self) -> Binding | None:
        """What the newest sound checkpoint says of the manifest."""
        for name in self.checkpoints():
            with contextlib.suppress(RunError):
                return Checkpoint.read(self.path / name).manifest
        return None

    def settings(self, overrides: Sequence[str] = ()) -> RunConfig:
        """The settings that the run was started with, changed by overrides of the form ``section.key=value``.

        Raises:
            RunError: if ``config.toml`` says something else now, which it names, or the manifest was changed.
            ConfigError: if ``config.toml`` or an override cannot be read.
        """
        config = load_config(self.path / "config.toml")
        Manifest.read(self.path).check_settings(config, self.path)
        self.manifest()
        return changed_config(config, overrides)

    def checkpoints(self) -> list[str]:
        """Names of the checkpoints, the newest first."""
        paths = (self.path / "checkpoints").glob("[0-9]*.json")
        return [f"checkpoints/{path.name}" for path in sorted(paths, reverse=True)]

    def discard_unless_begun(self) -> None:
        """Remove a run that failed before its first generation was finished: there is nothing to go on with."""
        if not self._has_begun:
            shutil.rmtree(self.path, ignore_errors=True)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the run for writing.

        Raises:
            RunError: if another process does.
        """
        lock = filelock.FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise RunError(f"Run folder {self.path} is being written by another process; wait for it to end") from None
        try:
            yield
        finally:
            lock.release()

    def replace(self, name: str, text: str) -> Path:
        """Write a file as a whole: it is the old or the new one at any moment, never half of either.

        Raises:
            RunError: if the disk is full or the folder cannot be written.
        """
        target = self.path / name
        try:
            replace_file(target, text)
        except OSError as error:
            raise self._not_written(target, error) from None
        return target

    def append(self, name: str, records: Sequence[Form]) -> int:
        """Append one line per record and return the size of the file in bytes.

        Raises:
            RunError: if the disk is full or the folder cannot be written; nothing is left half-written.
        """
        path = self.path / name
        text = "".join(record.model_dump_json() + "\n" for record in records)
        size = path.stat().st_size if path.exists() else 0
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                os.truncate(path, size)
            raise self._not_written(path, error) from None
        return size + len(text.encode())

    def read_lines(self, form: type[F], name: str, n_bytes: int | None = None) -> list[F]:
        """The records of a growing file, up to a size; a torn last line is left out.

        Raises:
            RunError: if the file is shorter than that, or a line is damaged.
        """
        return read_form_lines(form, self.path / name, error=RunError, remedy=REMEDY, n_bytes=n_bytes)

    @property
    def _has_begun(self) -> bool:
        """Whether there is a finished generation to go on from."""
        return bool(self.checkpoints())

    def _not_written(self, path: Path, error: OSError) -> RunError:
        how = "resume the run" if self._has_begun else "begin the run again"
        return RunError(why_not_written(path, error, when_full=f"free space and {how}"))

    def truncate(self, name: str, n_bytes: int) -> None:
        """Cut off what was written after a checkpoint."""
        path = self.path / name
        if path.exists() and path.stat().st_size > n_bytes:
            os.truncate(path, n_bytes)


def _is_abandoned(path: Path, left: Sequence[Path]) -> bool:
    """Whether a folder holds what a run makes before its manifest, which begins with the folder of checkpoints."""
    begins = {"checkpoints", "config.toml", ".lock"}
    return (
        all(entry.name in begins or TEMPORARY.fullmatch(entry.name) for entry in left)
        and (path / "checkpoints").is_dir()
        and not any((path / "checkpoints").iterdir())
    )

"""A file of scores: a CSV that grows network by network, with what the scores were made with beside it.

Rows are written as they come and the same command goes on where a file stops. A network is known by its content: a row
of one that has changed since is scored again. A lock keeps a second writer out.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import filelock
import numpy as np
from pydantic import Field

from eznas.conditions import Conditions
from eznas.errors import ConfigError, OutputError
from eznas.files import is_replaceable, replace_file, why_not_written
from eznas.forms import Form, read_form
from eznas.proxies import proxy_to_json
from eznas.scoring.networks import Scores
from eznas.scoring.request import Request
from eznas.spaces import Architecture, index_of
from eznas.tables import csv_rows, csv_text

_AGAIN = "free space and run the same command again: it goes on"


class ScoresSettings(Form):
    """What determines the scores of a file."""

    format: Literal["eznas-scores"] = "eznas-scores"
    version: Literal[2] = 2
    proxies: Annotated[dict[str, str], Field(max_length=1000)]
    """Digest of the definition of each column."""
    conditions: Conditions
    device: str
    versions: Annotated[dict[str, str], Field(max_length=20)]


def settings_of(request: Request, device: str) -> ScoresSettings:
    """What determines the scores that a request asks for."""
    definitions = {}
    for column in request.columns:
        parts = [_definition(request, place) for place in column.proxies]
        definitions[column.name] = hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()
    versions = {name: version(name).partition("+")[0] for name in ("eznas", "torch")}
    return ScoresSettings(proxies=definitions, conditions=request.conditions, device=device, versions=versions)


def _definition(request: Request, place: int) -> str:
    """A proxy as text; one whose definition is code by its name."""
    try:
        return proxy_to_json(request.proxies[place])
    except ConfigError:
        proxy = request.proxies[place]
        return f"{type(proxy).__name__} {proxy.name} {getattr(proxy, 'digest', '')}".rstrip()


@dataclass(frozen=True, slots=True)
class ScoreFile:
    """A file of scores, held for writing.

    Attributes:
        path: of the CSV.
        columns: names of the proxies.
        done: content digests of the networks that are in it, by name.
        n_changed: rows dropped because their networks have changed.
    """

    path: Path
    columns: tuple[str, ...]
    done: Mapping[str, str]
    n_changed: int = 0

    @property
    def header(self) -> list[str]:
        """Of the CSV."""
        return ["index", "network", "content", *self.columns, "failed", "seconds"]

    @classmethod
    @contextlib.contextmanager
    def writing(cls, path: Path, request: Request, contents: Mapping[str, str], device: str) -> Iterator[ScoreFile]:
        """Begin a file, or go on with one that was begun with the same settings.

        Args:
            path: of the CSV; made with its folder.
            request: proxies and conditions.
            contents: content digest of each network that is asked for, by name.
            device: of the networks.

        Raises:
            ConfigError: if the file was begun with other proxies, settings or versions, or is not such a file.
            OutputError: if it cannot be written, is no regular file, or another process writes it.
        """
        try:
            if not is_replaceable(path):
                raise OutputError(
                    f"--output {path} is no regular file, and scores are written so that a later command can go on; "
                    "give the name of a file, or leave out --output and redirect the output"
                )
            path = path.resolve() if path.is_symlink() else path  # what lies beside lies beside the file itself
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
            with lock.acquire(timeout=0):
                yield cls._begun(path, request, contents, settings_of(request, device))
        except filelock.Timeout:
            raise OutputError(
                f"{path} is being written by another process; wait for it to end, or choose another --output"
            ) from None
        except OSError as error:
            raise OutputError(why_not_written(path, error, when_full=_AGAIN)) from None

    @classmethod
    def _begun(cls, path: Path, request: Request, contents: Mapping[str, str], settings: ScoresSettings) -> ScoreFile:
        columns = tuple(column.name for column in request.columns)
        beside = path.with_name(f"{path.name}.settings.json")
        empty = cls(path, columns, {})
        if not path.exists():
            replace_file(beside, settings.model_dump_json(indent=1) + "\n")
            replace_file(path, csv_text([empty.header]))
            return empty
        remedy = "choose another --output"
        found = read_form(ScoresSettings, beside, error=ConfigError, remedy=remedy)
        if found != settings:
            what = _what_differs(found, settings)
            raise ConfigError(f"{path} was begun with other {what} (see {beside.name}); {remedy}")
        try:
            content = path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            header, *lines = csv_rows(whole.decode()) or [[]]
        except (ValueError, csv.Error):
            raise ConfigError(f"{path} is not a file of scores; {remedy}") from None
        if header != empty.header or any(len(line) != len(header) for line in lines):
            expected = ", ".join(empty.header)
            raise ConfigError(f"{path} is damaged: its rows do not have the columns {expected}; {remedy}")
        kept = [line for line in lines if contents.get(line[1], line[2]) == line[2]]
        if len(kept) < len(lines):
            replace_file(path, csv_text([header, *kept]))
        elif len(whole) < len(content):
            os.truncate(path, len(whole))
        return cls(path, columns, {line[1]: line[2] for line in kept}, len(lines) - len(kept))

    def append(self, rows: Sequence[Mapping[str, Any]], *, last: bool = True) -> None:
        """Add rows; and make them last on the disk.

        Raises:
            OSError: if the disk is full.
        """
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(csv_text([row[name] for name in self.header] for row in rows))
            file.flush()
            if last:
                os.fsync(file.fileno())


def rows_of(
    columns: Sequence[str], architectures: Sequence[Architecture], contents: Mapping[str, str], scores: Scores
) -> list[dict[str, Any]]:
    """One row per network: its scores, None where a proxy failed, and who failed with the kind of failure."""
    rows: list[dict[str, Any]] = []
    for network, arch in enumerate(architectures):
        values = [float(value) if np.isfinite(value) else None for value in scores.scores[:, network]]
        failed = {
            name: scores.failures[row, network].kind.value
            for row, name in enumerate(columns)
            if (row, network) in scores.failures
        }
        failed |= {
            f"{columns[row]}[{member}]": failure.kind.value
            for (row, member, place), failure in scores.member_failures.items()
            if place == network
        }
        rows.append({
            "index": index_of(arch) if arch.space != "python" else None,
            "network": arch.spec,
            "content": contents.get(arch.spec, ""),
            **dict(zip(columns, values, strict=True)),
            "failed": ";".join(f"{name}: {kind}" for name, kind in failed.items()),
            "seconds": round(scores.spent, 6),
        })  # fmt: skip
    return rows


def _what_differs(found: ScoresSettings, wanted: ScoresSettings) -> str:
    if found.proxies != wanted.proxies:
        return "proxies"
    if found.versions != wanted.versions:
        return "versions"
    return "settings"

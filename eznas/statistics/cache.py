"""The folder of stores as a whole: what it holds, and removing what was not used for longest."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import filelock

from eznas.errors import StoreError


@dataclass(frozen=True, slots=True)
class StoreOnDisk:
    """One store of the cache, finished or not.

    Attributes:
        folder: of the store.
        n_bytes: on the disk.
        last_used: seconds since the epoch; a store is used when it is opened or written.
    """

    folder: Path
    n_bytes: int
    last_used: float


def stores_on_disk(root: Path) -> tuple[StoreOnDisk, ...]:
    """The stores under the folder of all stores, the one used last first; none if there is no such folder."""
    found = []
    for folder in root.iterdir() if root.is_dir() else ():
        if folder.is_dir():
            stats = [path.stat() for path in folder.iterdir() if path.is_file()]
            last = max([folder.stat().st_mtime, *(s.st_mtime for s in stats)])
            found.append(StoreOnDisk(folder, sum(s.st_size for s in stats), last))
    return tuple(sorted(found, key=lambda store: (-store.last_used, store.folder)))


def mark_used(folder: Path) -> None:
    """Note that a store is used now; a cache that cannot be written is read all the same."""
    with suppress(OSError):
        os.utime(folder)


def prune(root: Path, keep_bytes: int = 0) -> tuple[StoreOnDisk, ...]:
    """Keep the stores used last, as long as they hold at most so many bytes together; remove and name all others.

    Statistics can always be captured again. A store that a process is capturing now is left alone; one that a run has
    open is not known to be so, so prune when no run is under way.

    Raises:
        StoreError: if a store cannot be removed.
    """
    kept, removed = 0, []
    for store in stores_on_disk(root):
        kept += store.n_bytes
        if kept <= keep_bytes:
            continue
        lock = filelock.FileLock(f"{store.folder}.lock")
        try:
            with lock.acquire(timeout=0):
                shutil.rmtree(store.folder)
        except filelock.Timeout:
            continue
        except OSError as error:
            raise StoreError(f"Could not remove the statistics store {store.folder}: {error}") from error
        removed.append(store)
    return tuple(removed)

"""The folder of stores as a whole: what it holds, and removing what was not used for longest."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import filelock

from eznas.errors import StoreError
from eznas.forms import json_of
from eznas.statistics.shard_file import SHARD_NAME, TEMPORARY_NAME

MANIFEST = "manifest.json"
RECENT_SECONDS = 3600.0
"""A store that was used since stays although the cache is larger than its bound: a run elsewhere may read it."""
_STORE_NAME = re.compile(r"[0-9a-f]{32}")
_MANIFEST_FIELDS = {"checksum", "format", "settings", "statistics", "networks", "shards"}


@dataclass(frozen=True, slots=True)
class StoreOnDisk:
    """One store of the cache, finished or not.

    Attributes:
        folder: of the store.
        n_bytes: of its files on the disk.
        last_used: seconds since the epoch; a store is used when it is opened or written.
    """

    folder: Path
    n_bytes: int
    last_used: float


def stores_on_disk(root: Path) -> tuple[StoreOnDisk, ...]:
    """The stores under the folder of all stores, the one used last first; none if there is no such folder.

    A store is a folder that is named as one and holds a manifest of one, or shards and nothing else: a capture that
    did not finish. Whatever else lies there is somebody else's, and so is what a symbolic link leads to.

    Raises:
        StoreError: if the folder of all stores cannot be read.
    """
    try:
        folders = list(root.iterdir()) if root.is_dir() else []
    except OSError as error:
        raise StoreError(f"Cannot read the folder of statistics stores {root}: {error.strerror or error}") from None
    found = map(_store, folders)
    return tuple(sorted(filter(None, found), key=lambda store: (-store.last_used, store.folder)))


def mark_used(folder: Path) -> None:
    """Note that a store is used now; a cache that cannot be written is read all the same."""
    with suppress(OSError):
        os.utime(folder)


def prunable(root: Path, keep_bytes: int = 0) -> tuple[StoreOnDisk, ...]:
    """The stores that go if those used last are kept, as long as they hold at most so many bytes together.

    Raises:
        StoreError: as `stores_on_disk`.
    """
    kept, going = 0, []
    for store in stores_on_disk(root):
        kept += store.n_bytes
        if kept > keep_bytes:
            going.append(store)
    return tuple(going)


@contextmanager
def in_use(folders: Iterable[Path]) -> Iterator[None]:
    """Mark stores as used by this process, which keeps them from being removed until it is done, or dies."""
    with ExitStack() as held:
        for folder in folders:
            with suppress(OSError):  # a cache that cannot be written is read all the same
                file = held.enter_context(open(f"{folder}.used.lock", "ab"))
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield


def keep_within(root: Path, n_bytes: int, spared: Collection[Path] = ()) -> tuple[StoreOnDisk, ...]:
    """Remove the stores used least recently until all together take at most so many bytes, and name those that went.

    Args:
        root: folder of all stores.
        n_bytes: that they may take.
        spared: stores that stay, as do those that a run uses or that were used a moment ago.

    Raises:
        StoreError: as `remove_stores`.
    """
    now = time.time()
    old = (store for store in prunable(root, n_bytes) if now - store.last_used > RECENT_SECONDS)
    return remove_stores([store for store in old if store.folder not in spared])


def remove_stores(stores: Iterable[StoreOnDisk]) -> tuple[StoreOnDisk, ...]:
    """Remove stores, and name those that are gone: a store that a process captures or a run uses now is left alone.

    Statistics can always be captured again. Only files of the store go; a folder with others in it stays with those.

    Raises:
        StoreError: if a store cannot be removed.
    """
    removed = []
    for store in stores:
        try:
            with filelock.FileLock(f"{store.folder}.lock").acquire(timeout=0), _unused(store.folder):
                if _store(store.folder) is None:  # changed since it was listed
                    continue
                _remove(store.folder)
        except (filelock.Timeout, BlockingIOError):
            continue
        except OSError as error:
            raise StoreError(
                f"Could not remove the statistics store {store.folder}: {error.strerror or error}; make it writable "
                f"and prune again"
            ) from None
        removed.append(store)
    return tuple(removed)


@contextmanager
def _unused(folder: Path) -> Iterator[None]:
    """Hold a store that no run uses; raises BlockingIOError if one does."""
    with open(f"{folder}.used.lock", "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _store(folder: Path) -> StoreOnDisk | None:
    """The store in a folder; nothing if it holds none, or cannot be read."""
    if not _STORE_NAME.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
        return None
    try:
        entries = list(os.scandir(folder))
        own = [entry for entry in entries if _is_own(entry)]
        is_store = any(entry.name == MANIFEST and _is_manifest(Path(entry)) for entry in own)
        if not is_store and (not own or len(own) < len(entries) or any(entry.name == MANIFEST for entry in own)):
            return None
        stats = [entry.stat(follow_symlinks=False) for entry in own]
        last_used = max([folder.stat().st_mtime, *(s.st_mtime for s in stats)])
    except OSError:
        return None
    return StoreOnDisk(folder, sum(s.st_size for s in stats), last_used)


def _is_own(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file that a store makes."""
    has_name = entry.name == MANIFEST or SHARD_NAME.fullmatch(entry.name) or TEMPORARY_NAME.fullmatch(entry.name)
    return bool(has_name) and entry.is_file(follow_symlinks=False)


def _is_manifest(path: Path) -> bool:
    """Whether it is the manifest of a store, of whatever version."""
    try:
        document = json_of(path.read_bytes())
    except ValueError:
        return False
    return isinstance(document, dict) and document.keys() >= _MANIFEST_FIELDS


def _remove(folder: Path) -> None:
    """Remove the files of a store, the manifest first: what is left when that fails is an unfinished capture."""
    own = [entry.name for entry in os.scandir(folder) if _is_own(entry)]
    for name in sorted(own, key=lambda name: name != MANIFEST):
        (folder / name).unlink()
    if not any(os.scandir(folder)):
        folder.rmdir()

"""Where a run works: workers, device, cache. Nothing here changes a result, but for the device its last bits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from eznas.errors import ConfigError
from eznas.names import shown
from eznas.workers import Pool, open_pool

if TYPE_CHECKING:
    from eznas.study.observer import Observer

CACHE_VARIABLE = "EZNAS_CACHE"
BOUND_VARIABLE = "EZNAS_CACHE_GIB"
DEFAULT_BOUND_GIB = 20.0
"""Of captured statistics; banks and trainings, which take long to make again and little room, are not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where a run works; nothing here changes its result, but for the device its last bits.

    Attributes:
        workers: 0 for this process, else Ray actors.
        ray_address: of a cluster; None starts Ray on this machine.
        device: of networks and their statistics, ``"cpu"`` or ``"cuda"``.
        cache: folder of statistics stores; None for ``EZNAS_CACHE`` or the user's cache folder.
    """

    workers: int = 0
    ray_address: str | None = None
    device: str = "cpu"
    cache: Path | None = None

    @property
    def stores(self) -> Path:
        """Folder of statistics stores."""
        return self.cache or cache_folder()

    @property
    def banks(self) -> Path:
        """Folder of banks, beside that of the stores."""
        return self.stores.parent / "banks"


def cache_folder() -> Path:
    """Folder of statistics stores: ``EZNAS_CACHE``, or the user's cache folder."""
    import platformdirs

    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("eznas")) / "statistics"


def cache_bound() -> int:
    """Bytes that captured statistics may take on the disk before those used least recently go: ``EZNAS_CACHE_GIB``.

    Raises:
        ConfigError: if that is no number of GiB.
    """
    text = os.environ.get(BOUND_VARIABLE) or str(DEFAULT_BOUND_GIB)
    try:
        gib = float(text)
    except ValueError:
        gib = -1.0
    if not 0 <= gib <= 2**30:
        raise ConfigError(f"{BOUND_VARIABLE} must be a number of GiB from 0, got {shown(text)}; correct it or unset it")
    return int(gib * 2**30)


def check_machine(machine: Machine) -> None:
    """Refuse a machine that cannot work before anything is written.

    Raises:
        ConfigError: unknown or absent device, impossible number of workers or bound of the cache.
    """
    cache_bound()
    if machine.workers < 0:
        raise ConfigError(f"--workers must be 0 (this process) or more, got {machine.workers}; leave it out to use 0")
    if machine.ray_address is not None and machine.workers == 0:
        raise ConfigError("--ray-address needs --workers 1 or more, got 0; say how many workers the cluster may run")
    if machine.device not in ("cpu", "cuda"):
        raise ConfigError(f"--device must be cpu or cuda, got {machine.device!r}")
    if machine.device == "cuda" and machine.ray_address is None and not torch.cuda.is_available():
        raise ConfigError("--device cuda was asked, but PyTorch finds no CUDA device; use --device cpu")


@contextmanager
def open_workers(machine: Machine, observer: Observer | None = None) -> Iterator[Pool]:
    """The workers of a machine, gone afterwards; an observer is told that they start, which takes seconds."""
    if machine.workers and observer is not None:
        observer.stage(f"Starting {machine.workers} Ray worker(s)")
    pool = open_pool(machine.workers, machine.ray_address, on_gpu=machine.device == "cuda")
    try:
        yield pool
    finally:
        pool.close()


@contextmanager
def single_threaded() -> Iterator[None]:
    """One intra-op thread: on the small tensors of this work more threads are slower, many times on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

"""Checks of the machine: is everything here that a run will ask for?"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eznas.errors import EznasError

NEEDED_BYTES = 4 * 1024**3
"""Free disk space below which a capture of the default size may fail."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check."""

    check: str
    is_well: bool
    detail: str

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {"is_well": "ok" if self.is_well else "PROBLEM"}


def examine() -> list[Finding]:
    """Every check, in order; a failed one says what to do."""
    return [
        _checked(name, check)
        for name, check in (
            ("python", _python),
            ("torch", _torch),
            ("packages", _packages),
            ("accuracies", _accuracies),
            ("images", _images),
            ("cache", _cache),
            ("capture and evaluate", _capture),
        )
    ]


def _checked(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except (EznasError, OSError, ImportError, RuntimeError) as error:
        return Finding(name, False, str(error).splitlines()[0])


def _python() -> str:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def _torch() -> str:
    import torch

    cuda = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no CUDA device"
    return f"{torch.__version__}, {cuda}"


def _packages() -> str:
    from importlib.metadata import version

    return ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "deap", "ray", "sympy"))


def _accuracies() -> str:
    from eznas.benchmarks import load_nb201

    benchmark = load_nb201()
    return f"{len(benchmark.architectures):,} architectures, {', '.join(benchmark.datasets)}"


def _images() -> str:
    from eznas.conditions import default_image_source, image_batch
    from eznas.randomness import stream

    source = default_image_source("cifar10")
    batch, _ = image_batch(source, batch_size=2, input_size=16, rng=stream(0, "doctor"))
    return f"{source}, {tuple(batch.shape[1:])} after resizing"


def _cache() -> str:
    from eznas.files import size_text
    from eznas.statistics import stores_on_disk
    from eznas.study import cache_folder
    from eznas.study.machine import cache_bound

    folder = cache_folder()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    with tempfile.TemporaryFile(dir=existing):
        pass
    free, bound = shutil.disk_usage(existing).free, cache_bound()
    stores = stores_on_disk(folder)
    n_bytes = sum(store.n_bytes for store in stores)
    held = f"{len(stores)} store(s) of statistics, {size_text(n_bytes)} of {size_text(bound)}"
    frees = " or free some with eznas data prune" if stores else ""
    if free < NEEDED_BYTES:
        raise OSError(
            f"{_shown(folder)} has {size_text(free)} free, a run may need {size_text(NEEDED_BYTES)}; set EZNAS_CACHE "
            f"to another folder{frees} ({held})"
        )
    if n_bytes > bound:
        raise OSError(
            f"{_shown(folder)} holds {held}; free some with eznas data prune --keep-gib {bound / 2**30:g}, or allow "
            "more with EZNAS_CACHE_GIB"
        )
    return f"{_shown(folder)}, {size_text(free)} free; {held} (EZNAS_CACHE_GIB)"


def _shown(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _capture() -> str:
    import time

    import torch

    from eznas.evaluation import evaluate
    from eznas.programs import Invalid, parse
    from eznas.spaces import build_network, nb201
    from eznas.statistics import capture
    from eznas.study import single_threaded

    network = build_network(nb201.from_index(6111), nb201.Settings(), seed=0)
    program = parse("(log_abs_determinant (sum_layers (agreement_kernel activation_input.noise)))")
    with single_threaded():
        start = time.perf_counter()
        value = evaluate(program, capture(network, torch.ones(4, 3, 16, 16), seed=0))
        seconds = time.perf_counter() - start
    if isinstance(value, Invalid):
        raise RuntimeError(f"a known program gave no score: {value.describe(program)}; reinstall the pinned versions")
    return f"one network in {seconds:.2f} s"

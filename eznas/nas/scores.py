"""Scores of architectures: from a file or in closed form, how they rank, and how repeated ones do by a test."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from eznas.errors import BenchmarkError, ConfigError
from eznas.nas.table import Floats, Indices
from eznas.scoring import read_given
from eznas.spaces import Architecture, space_of

TRAINED_SIZE: Final = 32
"""Height and width of the images for which networks as trained are counted."""
LEVEL: Final = 0.05
"""Of the one-sided test that one network scores higher than another."""
MIN_DRAWS: Final = 3
"""Scores of a network with which such a test can say so at all."""


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


def best_by_test(draws: Floats) -> int:
    """Position of the best of some networks whose scores are random: the incumbent falls only to a test.

    The networks are visited in their order. One takes the place of the best so far if a Mann-Whitney test (one-sided,
    exact, level `LEVEL`) says that its scores are higher; equal scores count half.

    Args:
        draws: (n_draws, n) scores, each row with an initialisation and images of its own; failures are lowest.

    Raises:
        ConfigError: if there are fewer than `MIN_DRAWS` draws, with which no test says anything.

    Source: `Rumiantsev and Coates 2025 <https://arxiv.org/abs/2502.19657>`_ for an order by tests; the order of visits
    is that in which a search draws.
    """
    n_draws = len(draws)
    if n_draws < MIN_DRAWS:
        raise ConfigError(f"A test between networks needs {MIN_DRAWS} draws of their scores or more, got {n_draws}")
    least, ranked = _least_u(n_draws), _ranked(draws)
    found = 0
    for place in range(1, draws.shape[1]):
        ours, theirs = ranked[:, place, None], ranked[None, :, found]
        if float(np.sum(ours > theirs) + 0.5 * np.sum(ours == theirs)) >= least:
            found = place
    return found


@cache
def _least_u(n: int) -> float:
    """The least U of two samples of n with a one-sided exact p of at most `LEVEL`."""
    # by U, the ways to order samples of sizes (i, j), from those of (i - 1, j) and (i, j - 1)
    table: dict[tuple[int, int], Floats] = {(i, 0): np.ones(1) for i in range(n + 1)}
    table |= {(0, j): np.ones(1) for j in range(n + 1)}
    for i in range(1, n + 1):
        for j in range(1, n + 1):
            counts = np.zeros(i * j + 1)
            counts[j : j + len(table[i - 1, j])] += table[i - 1, j]
            counts[: len(table[i, j - 1])] += table[i, j - 1]
            table[i, j] = counts
    tail = np.cumsum(table[n, n][::-1])[::-1] / table[n, n].sum()
    return float(np.flatnonzero(tail <= LEVEL + 1e-12)[0])


def parameter_counts(architectures: Sequence[Architecture]) -> Floats:
    """(n,) trainable parameters of the networks as they were trained, in closed form.

    Raises:
        ConfigError: if the space has none.
    """
    space = space_of(architectures[0])
    if space.counts is None or space.full is None:
        raise ConfigError(
            f"Networks of {space.name} have no parameter count in closed form; --proxy parameter_count builds them"
        )
    return np.array([space.counts(arch, space.full, TRAINED_SIZE).parameters for arch in architectures], dtype=float)


def convolution_counts(architectures: Sequence[Architecture]) -> Floats:
    """(n,) the space's own level of complexity of each network: of cells, their convolutions.

    Raises:
        ConfigError: if the space has none.
    """
    space = space_of(architectures[0])
    levels = [space.level(arch) for arch in architectures]
    if None in levels:
        raise ConfigError(f"Networks of {space.name} have no convolutions to count; leave out --proxy convolutions")
    return np.array(levels, dtype=np.float64)


def read_scores(path: str, architectures: Sequence[Architecture]) -> Mapping[str, tuple[Floats, Indices]]:
    """Scores of architectures from a file that ``eznas score ... --output`` wrote, see `eznas.scoring.read_given`.

    Args:
        path: ``FILE.csv`` for all columns of scores, or ``FILE.csv:COLUMN``.
        architectures: the benchmark's.

    Returns:
        For each proxy (n,) scores in the order of `architectures`, NaN where it failed, and the positions that the file
        scores.

    Raises:
        ConfigError: if the file cannot be used.
    """
    found = {}
    for one in read_given(path, architectures):
        scores = np.array([one.scores.get(arch, np.nan) for arch in architectures])
        found[one.name] = (scores, np.array([arch in one.scores for arch in architectures]).nonzero()[0])
    return found


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
        raise BenchmarkError(
            f"{path} cannot be read as a table with times ({error}); write it anew with eznas score --output."
        ) from error
    if not np.all((seconds >= 0) & np.isfinite(seconds)):
        raise BenchmarkError(f"The column seconds of {path} must hold times of 0 seconds or more; correct it.")
    return float(seconds.mean()) if seconds.size else 0.0

"""Statistics stored in half precision and computed with in single precision: what rounding them does to scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmark.ways import Population
from eznas.evaluation import ShardExecutor, make_plan
from eznas.fitness import kendall_tau_b_batch, scores_with_failures_last
from eznas.fitness.ranks import spearman
from eznas.programs import parse
from eznas.statistics import Shard

MOVED = 0.01
"""Change of tau from which a program counts as moved."""


@dataclass(frozen=True, slots=True)
class HalfEffect:
    """What half precision does to scores.

    Attributes:
        change: (n_programs,) largest change of a score, relative to the largest magnitude the program reaches on any
            network; NaN for a program without scores.
        rho: (n_programs,) Spearman's rho between the two scores of each program that ranks in both.
        moved: share of programs whose tau changes by more than `MOVED`.
        newly_failed: programs that fail on some network only in half precision.
    """

    change: np.ndarray
    rho: np.ndarray
    moved: float
    newly_failed: int


def halved(shard: Shard, dtype: torch.dtype) -> Shard:
    """The same shard with its layer statistics in a shorter type."""
    groups = tuple(
        replace(group, tensors={name: tensor.to(dtype) for name, tensor in group.tensors.items()})
        for group in shard.groups
    )
    return replace(shard, groups=groups)


def scores_over(shards: Sequence[Shard], population: Population, tile_bytes: int | None) -> np.ndarray:
    """(n_programs, n_networks) scores with nothing kept; NaN where a program failed."""
    plan = make_plan([parse(text) for text in population])
    blocks = [ShardExecutor(shard, tile_bytes=tile_bytes, cache_bytes=0).run(plan) for shard in shards]
    scores = np.concatenate(blocks, axis=1)
    return np.where(np.isfinite(scores), scores, np.nan)


def compare(full: np.ndarray, half: np.ndarray, accuracies: np.ndarray) -> HalfEffect:
    """The effect of half precision on (n_programs, n_networks) scores."""
    scale = np.nanmax(np.abs(full), axis=1, keepdims=True, initial=0.0, where=np.isfinite(full))
    with np.errstate(divide="ignore", invalid="ignore"):
        changes = np.abs(half - full) / scale
    known = np.isfinite(changes)
    change = np.where(known.any(axis=1), np.max(changes, axis=1, initial=0.0, where=known), np.nan)
    ranked = [one for one in range(len(full)) if _ranks(full[one]) and _ranks(half[one])]
    rho = [spearman(_last(full[one]), _last(half[one])) for one in ranked]
    taus = [kendall_tau_b_batch(_last(scores[ranked]), accuracies) for scores in (full, half)]
    return HalfEffect(
        change=change,
        rho=np.array(rho),
        moved=float((np.abs(taus[0] - taus[1]) > MOVED).mean()),
        newly_failed=int((np.isnan(half) & ~np.isnan(full)).any(axis=1).sum()),
    )


def _last(scores: np.ndarray) -> np.ndarray:
    return scores_with_failures_last(scores, np.isnan(scores), 1)


def _ranks(scores: np.ndarray) -> bool:
    finite = scores[np.isfinite(scores)]
    return bool(finite.size >= 2 and np.ptp(finite) > 0)


def half_effect(
    shards: Sequence[Shard], population: Population, accuracies: np.ndarray, dtype: torch.dtype
) -> HalfEffect:
    """The effect of storage in a shorter type, computed on a CPU."""
    full = scores_over(shards, population, None)
    half = scores_over([halved(shard, dtype) for shard in shards], population, None)
    return compare(full, half, accuracies)

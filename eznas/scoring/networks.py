"""Proxies on networks never seen before: build, capture what is needed, evaluate, forget."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from eznas.errors import CaptureError
from eznas.estimators.published import by_name
from eznas.evaluation import Plan, ShardExecutor, make_plan
from eznas.programs import Program, parse
from eznas.spaces import Architecture, SpaceSettings, build_network
from eznas.statistics import capture, pack
from eznas.workers import Pool

CHUNK = 8
"""Networks built, scored and forgotten together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How networks are built and excited; equal conditions give equal scores.

    Attributes:
        settings: of the networks.
        seed: of initialisation and of the probes.
        inputs: (batch, channels, height, width) images for programs.
        estimator_inputs: (batch, channels, height, width) images for published estimators.
        estimator_targets: (batch,) their classes.
        targets: (batch,) classes of `inputs`; None if no program looks at them.
        units: the layers that programs read, ``"convolutional"`` units or ``"all"``.
    """

    settings: SpaceSettings
    seed: int
    inputs: Tensor
    estimator_inputs: Tensor
    estimator_targets: Tensor
    targets: Tensor | None = None
    units: str = "convolutional"

    def network(self, arch: Architecture) -> nn.Module:
        """The network of an architecture under these conditions."""
        return build_network(arch, self.settings, seed=self.seed)


@dataclass(frozen=True, eq=False)
class ProxyScores:
    """Scores of proxies on networks.

    Attributes:
        scores: (n_proxies, n_networks) float64, programs first, then estimators; non-finite where a proxy failed.
        seconds: (n_proxies,) mean time per network of each estimator; of programs, which share their work, that of all
            programs together.
    """

    scores: np.ndarray
    seconds: np.ndarray


class NetworkScorer:
    """State of one worker: the conditions, the programs and the estimators."""

    def __init__(
        self, conditions: dict[str, object], programs: Sequence[tuple[str, str]], estimators: Sequence[str]
    ) -> None:
        self._conditions = _unpacked(conditions)
        self._n_programs = len(programs)
        self._plans: list[tuple[list[int], str, Plan]] = []  # positions of programs, the layers they read, their plan
        for units in dict.fromkeys(units for _, units in programs):
            rows = [row for row, (_, theirs) in enumerate(programs) if theirs == units]
            self._plans.append((rows, units, make_plan([parse(programs[row][0]) for row in rows])))
        self._estimators = [by_name(name) for name in estimators]

    def score(self, architectures: Sequence[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
        """Scores and seconds of one chunk of networks."""
        n_networks = len(architectures)
        scores = np.full((self._n_programs + len(self._estimators), n_networks), np.nan)
        seconds = np.zeros(len(scores))
        conditions = self._conditions
        networks = [conditions.network(Architecture(*description)) for description in architectures]
        start = time.perf_counter()
        for rows, units, plan in self._plans:
            for column, network in enumerate(networks):
                with _naming(architectures[column]):
                    shown = capture(
                        network,
                        conditions.inputs,
                        seed=conditions.seed,
                        statistics=plan.statistics,
                        targets=conditions.targets,
                        units=units,
                    )
                scores[rows, column] = ShardExecutor(pack([shown]), cache_bytes=0).run(plan)[:, 0]
        seconds[: self._n_programs] = time.perf_counter() - start
        for row, estimator in enumerate(self._estimators, start=self._n_programs):
            start = time.perf_counter()
            for column, network in enumerate(networks):
                with _naming(architectures[column]):
                    value = estimator(network, conditions.estimator_inputs, conditions.estimator_targets)
                scores[row, column] = value if math.isfinite(value) else math.nan
            seconds[row] = time.perf_counter() - start
        return scores, seconds


@contextmanager
def _naming(architecture: tuple[str, str]) -> Iterator[None]:
    """Says of which network it is that something cannot be scored."""
    try:
        yield
    except CaptureError as error:
        raise CaptureError(f"Network {architecture[1]} of {architecture[0]}: {error}") from error


def score_architectures(
    architectures: Sequence[Architecture],
    conditions: Conditions,
    *,
    programs: Sequence[Program],
    estimators: Sequence[str],
    pool: Pool,
    progress: Callable[[int, int], None] | None = None,
    units: Sequence[str] | None = None,
) -> ProxyScores:
    """Scores of programs and published estimators on architectures, with the workers of a pool.

    Args:
        architectures: the networks.
        conditions: how they are built and excited.
        programs: complete ones.
        estimators: names of published ones.
        pool: where to work.
        progress: told the networks done and all networks.
        units: for each program the layers it reads; those of the conditions by default.

    Raises:
        ConfigError: if an estimator is unknown.
        CaptureError: if a network cannot be captured.
    """
    for name in estimators:
        by_name(name)
    layers = [conditions.units] * len(programs) if units is None else units
    texts = [(program.canonical.text, read) for program, read in zip(programs, layers, strict=True)]
    pool.deploy(NetworkScorer, [(_packed(conditions), texts, tuple(estimators))] * pool.n_workers)
    n_all = len(architectures)
    size = max(1, min(CHUNK, n_all // (4 * pool.n_workers)))  # small enough that no worker is left with the last ones
    items = [([(a.space, a.spec) for a in architectures[start : start + size]],) for start in range(0, n_all, size)]
    done = (lambda n: progress(min(n * size, n_all), n_all)) if progress else None
    parts = pool.map("score", items, done)
    if not parts:
        return ProxyScores(np.empty((len(programs) + len(estimators), 0)), np.zeros(len(programs) + len(estimators)))
    return ProxyScores(
        np.concatenate([scores for scores, _ in parts], axis=1), sum(seconds for _, seconds in parts) / n_all
    )


_BATCHES = ("inputs", "targets", "estimator_inputs", "estimator_targets")


def _packed(conditions: Conditions) -> dict[str, object]:
    """Plain data that travels to a worker."""
    return {
        "settings": conditions.settings,
        "seed": conditions.seed,
        "units": conditions.units,
        **{name: tensor.numpy() for name in _BATCHES if (tensor := getattr(conditions, name)) is not None},
    }


def _unpacked(data: dict[str, object]) -> Conditions:
    tensors = {name: torch.from_numpy(np.array(data[name])) for name in _BATCHES if name in data}
    return Conditions(
        settings=data["settings"],  # type: ignore[arg-type]
        seed=int(data["seed"]),  # type: ignore[call-overload]
        units=str(data["units"]),
        **tensors,
    )

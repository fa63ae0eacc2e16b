"""Populations over stores: shards stay with the workers that own them, programs travel as text.

A worker that dies is replaced and asked again, because a machine that goes away is no program's fault. If it dies again
over the same programs, they are divided until the one that kills it is found; that one is given up for good.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from eznas.errors import WorkerError
from eznas.evaluation.execute import TILE_BYTES, ResultCache, ShardExecutor
from eznas.evaluation.interpreter import evaluate
from eznas.evaluation.plan import Plan, make_plan
from eznas.evaluation.scores import ScoreMatrix
from eznas.programs import FailureKind, Invalid, Program, parse
from eznas.statistics import NetworkStatistics, Shard, StatisticsStore
from eznas.workers import Arguments, Died, Pool

ShardAddress = tuple[str, int]
"""Folder of a store, and the number of a shard in it."""
MEMORY_BYTES = 2**30
"""Default budget of a worker."""
SHARDS_BETWEEN = 4
"""Shards after which a worker gives freed memory back: seldom enough to cost nothing, often enough not to grow."""
Explanation = tuple[str, str, int | None]
"""Kind and detail of a failure, and index of the node at fault."""


class ShardOwner:
    """State of one worker: its shards, memory-mapped, with the results it keeps.

    The pages of a shard that stays open stay in memory once they were read. So only as many shards stay open as fit
    into their share of the memory budget beside any one of the others, which are opened anew for every population and
    let go of right after.

    Args:
        shards: of this worker.
        device: ``"cpu"`` or ``"cuda"``.
        tile_bytes: see `ShardExecutor`.
        memory_bytes: budget: .4 of it for statistics, .3 for results, the rest for the work itself.
    """

    def __init__(self, shards: Sequence[ShardAddress], device: str, tile_bytes: int | None, memory_bytes: int) -> None:
        folders = dict.fromkeys(folder for folder, _ in shards)
        stores = {folder: StatisticsStore.open(Path(folder), verify=False) for folder in folders}
        self._tile_bytes = tile_bytes
        self._open = [partial(stores[folder].shard, index, device=device) for folder, index in shards]
        self._sizes = [len(stores[folder].shard_networks(index)) for folder, index in shards]
        self._caches = [ResultCache(memory_bytes * 3 // 10 // max(1, len(shards))) for _ in shards]
        n_bytes = [stores[folder].shard_bytes(index) for folder, index in shards]
        n_kept = _how_many_stay(n_bytes, memory_bytes * 2 // 5)
        self._kept = {position: self._open[position]() for position in range(n_kept)}

    def evaluate(self, programs: Sequence[str]) -> np.ndarray:
        """(n_programs, n_networks) scores on this worker's networks."""
        plan = make_plan([parse(text) for text in programs])
        n_shards = len(self._sizes)
        blocks = []
        for position in range(n_shards):
            blocks.append(self._run(position, plan))
            if (position + 1) % SHARDS_BETWEEN == 0 or position + 1 == n_shards:
                _give_memory_back()
        return np.concatenate(blocks, axis=1) if blocks else np.empty((len(programs), 0))

    def _run(self, position: int, plan: Plan) -> np.ndarray:
        shard = self._shard(position)
        return ShardExecutor(shard, tile_bytes=self._tile_bytes, cache=self._caches[position]).run(plan)

    def _shard(self, position: int) -> Shard:
        return self._kept[position] if position in self._kept else self._open[position]()

    def explain(self, failures: Sequence[tuple[str, int]]) -> list[Explanation]:
        """Reason and node of each failure: of a program on one of this worker's networks."""
        return [self._explain(program, network) for program, network in failures]

    def _explain(self, program: str, network: int) -> Explanation:
        position = 0
        while network >= self._sizes[position]:
            network -= self._sizes[position]
            position += 1
        outcome = evaluate(parse(program), network_of(self._shard(position), network))
        if isinstance(outcome, Invalid):
            return outcome.kind.value, outcome.detail, outcome.at
        return FailureKind.NON_FINITE.value, "non-finite in the batched evaluation only", 0


def _give_memory_back() -> None:
    """Have the C library return what it keeps of freed memory, where it can: small results between large tensors that
    are gone would otherwise make a process grow from population to population."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _how_many_stay(n_bytes: Sequence[int], room: int) -> int:
    """Shards of these sizes, in order, that stay open so that there is room for any one of the others as well."""
    taken = 0
    for n_kept, size in enumerate(n_bytes):
        taken += size
        if taken + max(n_bytes[n_kept + 1 :], default=0) > room:
            return n_kept
    return len(n_bytes)


def network_of(shard: Shard, network: int) -> NetworkStatistics:
    """The statistics of one network of a shard, as the interpreter reads them."""
    layers: dict[int, dict[str, object]] = {}
    for group in shard.groups:
        for position, row in enumerate(group.rows.tolist()):
            if int(shard.layer_network[row]) == network:
                layers[row] = {name: group.values(name, position) for name in group.tensors}
    return NetworkStatistics(
        layers=tuple(layers[row] for row in sorted(layers)),  # type: ignore[misc]
        quantities={
            name: values[network] if values.ndim > 1 else float(values[network])
            for name, values in shard.quantities.items()
        },
    )


class PopulationEvaluator:
    """Scores populations on all networks of some stores, with the workers of a pool.

    Args:
        pool: where to work.
        stores: their networks, one store after the other, are the columns of the score matrix.
        device: of the evaluation, ``"cpu"`` or ``"cuda"``.
        tile_bytes: see `ShardExecutor`.
        memory_bytes: budget of each worker for statistics and for results kept across generations. Changes no score.
        timeout: seconds a worker may take over one call before it is killed; None waits. It bounds each call, whether
            of a whole population or, after a death, of a part of it. Workers in process are not held to it.
        owner: makes a worker's state from its shards, the device and the two sizes.
    """

    def __init__(
        self,
        pool: Pool,
        stores: Sequence[StatisticsStore],
        *,
        device: str = "cpu",
        tile_bytes: int | None = TILE_BYTES,
        memory_bytes: int = MEMORY_BYTES,
        timeout: float | None = None,
        owner: Callable[..., Any] = ShardOwner,
    ) -> None:
        self._pool = pool
        self._timeout = timeout
        self._given_up: dict[str, str] = {}
        shards = [(str(store.folder), index) for store in stores for index in range(store.n_shards)]
        sizes = [len(store.shard_networks(index)) for store in stores for index in range(store.n_shards)]
        self._n_of_worker, parts = _split(shards, sizes, pool.n_workers)
        tile_bytes = None if device.startswith("cuda") else tile_bytes
        pool.deploy(owner, [(part, device, tile_bytes, memory_bytes) for part in parts])

    @property
    def n_networks(self) -> int:
        """Columns of the score matrix."""
        return sum(self._n_of_worker)

    def evaluate(self, programs: Sequence[Program]) -> ScoreMatrix:
        """Scores of complete programs, and a reason for the first failure of each program that failed.

        A program that killed a worker twice has no score on any network, then and in later calls.

        Raises:
            ProgramError: if a program is not complete or reads what was not captured.
            WorkerError: if workers die whatever they are given.
        """
        texts = [program.canonical.text for program in programs]
        scores = self._scores(texts)
        scores[[text in self._given_up for text in texts]] = np.nan
        failed = ~np.isfinite(scores)
        first = {int(p): int(failed[p].argmax()) for p in np.flatnonzero(failed.any(axis=1))}
        lost = {p: self._given_up[texts[p]] for p in first if texts[p] in self._given_up}
        given_up = {p: Invalid(FailureKind.WORKER, detail) for p, detail in lost.items()}
        explained = self._explain({p: (programs[p].text, first[p]) for p in first if p not in given_up})
        return ScoreMatrix(scores, {p: (first[p], (given_up | explained)[p]) for p in first})

    def _scores(self, texts: Sequence[str]) -> np.ndarray:
        """(n_programs, n_networks) scores; where a program was given up, anything."""
        blocks = self._evaluate(texts, range(self._pool.n_workers), times=2)
        while dead := {worker: block for worker, block in blocks.items() if isinstance(block, Died)}:
            suspect, *others = sorted(dead)
            blocks[suspect] = self._divide(texts, suspect, dead[suspect])
            if others:  # probably the same program was to blame
                blocks |= self._evaluate(texts, others, times=2)
        return np.concatenate([blocks[worker] for worker in sorted(blocks)], axis=1)

    def _divide(self, texts: Sequence[str], worker: int, death: Died) -> np.ndarray:
        """(n_programs, n_networks of the worker) scores of a list that killed the worker, half by half."""
        if len(self._unsuspected(texts)) <= 1:
            self._give_up(self._unsuspected(texts), worker, death)
            return np.full((len(texts), self._n_of_worker[worker]), np.nan)
        middle = len(texts) // 2
        blocks = []
        for half in (texts[:middle], texts[middle:]):
            block = self._evaluate(half, [worker], times=2 if len(self._unsuspected(half)) == 1 else 1)[worker]
            blocks.append(self._divide(half, worker, block) if isinstance(block, Died) else block)
        return np.concatenate(blocks)

    def _unsuspected(self, texts: Sequence[str]) -> list[str]:
        return [text for text in texts if text not in self._given_up]

    def _evaluate(self, texts: Sequence[str], workers: Sequence[int], times: int) -> dict[int, np.ndarray | Died]:
        """(n_programs, n_networks of the worker) scores by worker, or its last death.

        NaN for programs given up.
        """
        sent = self._unsuspected(texts)
        found = self._attempt("evaluate", dict.fromkeys(workers, (sent,)), times)
        if len(sent) == len(texts):
            return found
        is_sent = [text not in self._given_up for text in texts]
        for worker, block in found.items():
            if not isinstance(block, Died):
                wide = np.full((len(texts), block.shape[1]), np.nan)
                wide[is_sent] = block
                found[worker] = wide
        return found

    def _give_up(self, texts: Sequence[str], worker: int, death: Died) -> None:
        """Never send the one program again, provided that the worker it killed lives when it is given nothing.

        Raises:
            WorkerError: if it does not.
        """
        idle = self._attempt("evaluate", {worker: ([],)}, times=2)[worker] if texts else death
        if isinstance(idle, Died):
            raise WorkerError(
                f"Worker {worker} dies even when it is given no program to evaluate: {idle.reason}; check the memory "
                f"of its machine and the time limit, or use --workers 0"
            )
        self._given_up |= dict.fromkeys(texts, f"it was given up: it killed its worker twice ({death.reason})")

    def _attempt(self, method: str, arguments: Mapping[int, Arguments], times: int) -> dict[int, Any | Died]:
        """Results by worker; whoever dies is asked again, up to so many times in all."""
        found = self._pool.attempt(method, arguments, self._timeout)
        for _ in range(times - 1):
            dead = {worker: arguments[worker] for worker, result in found.items() if isinstance(result, Died)}
            if dead:
                found |= self._pool.attempt(method, dead, self._timeout)
        return found

    def _explain(self, failures: Mapping[int, tuple[str, int]]) -> dict[int, Invalid]:
        """Why each program, by its position, failed on that network; every worker is asked once, about all of its."""
        edges = np.concatenate([[0], np.cumsum(self._n_of_worker)])
        asked: dict[int, list[int]] = {}
        for position, (_, network) in failures.items():
            asked.setdefault(int(np.searchsorted(edges, network, side="right")) - 1, []).append(position)
        arguments = {
            worker: ([(failures[p][0], failures[p][1] - int(edges[worker])) for p in positions],)
            for worker, positions in asked.items()
        }
        explained: dict[int, Invalid] = {}
        for worker, found in self._attempt("explain", arguments, times=2).items():
            if isinstance(found, Died):
                reason = f"non-finite, and the worker that was to explain it died twice ({found.reason})"
                found = [(FailureKind.WORKER.value, reason, None)] * len(asked[worker])
            explained |= {
                p: Invalid(FailureKind(kind), detail, at)
                for p, (kind, detail, at) in zip(asked[worker], found, strict=True)
            }
        return explained


def _split(
    addresses: list[ShardAddress], sizes: list[int], n_workers: int
) -> tuple[list[int], list[list[ShardAddress]]]:
    """Consecutive shards for each worker, as even as their numbers of networks allow."""
    edges = np.concatenate([[0], np.cumsum(sizes)])
    targets = np.linspace(0, edges[-1], n_workers + 1)
    cuts = [int(np.abs(edges - target).argmin()) for target in targets]
    parts = [addresses[a:b] for a, b in pairwise(cuts)]
    return [int(edges[b] - edges[a]) for a, b in pairwise(cuts)], parts

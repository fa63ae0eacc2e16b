"""Filling a bank: a network is captured once, all wanted words are computed from it, and its tensors are forgotten.

Networks are taken a few at a time, as many as fit into a share of memory, because layers of one shape are evaluated
together. Each worker gives back blocks of numbers; whatever it held besides is gone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from eznas.bank.bank import Bank
from eznas.bank.block import KINDS, Block
from eznas.conditions import Conditions
from eznas.errors import CaptureError, ConfigError, EznasError, UnfitError
from eznas.estimators import PUBLISHED, Estimator, by_name
from eznas.evaluation import FAILURES, Plan, ShardExecutor, evaluate, make_plan
from eznas.names import unknown
from eznas.programs import FailureKind, Invalid, Program, parse
from eznas.proxies import ProgramProxy, statistics_for
from eznas.spaces import Architecture
from eznas.statistics import NetworkStatistics, pack
from eznas.workers import Pool
from primitives import STATISTICS

BLOCK_NETWORKS: Final = 16
"""Networks of one block, which is written when all of them are done."""
SHARD_BYTES: Final = 192 * 2**20
"""Statistics held at once by a worker; one network that shows more is held alone."""
SHARD_NETWORKS: Final = 8

Outcome = float | Invalid


def word_named(text: str) -> Program | Estimator:
    """What a row of a bank is: a complete program, or a published estimator by its name.

    Raises:
        ConfigError: if it is neither; names the nearest estimator.
        ProgramError: if it is a program that cannot be read, or gives no number for a network.
    """
    if text.startswith("(") or text in STATISTICS:
        program = parse(text)
        make_plan([program])  # refuses one that is not complete
        return program
    known = {estimator.name for estimator in PUBLISHED}
    if text not in known:
        raise ConfigError(f"{unknown('word', text, sorted(known))}; a word is a program or a published estimator")
    return by_name(text)


def canonical(text: str) -> str:
    """The spelling under which a bank keeps a word.

    Raises:
        EznasError: as `word_named`.
    """
    word = word_named(text)
    return word.canonical.text if isinstance(word, Program) else word.name


class BankWorker:
    """State of one worker: the conditions, and the words it was asked for last, ready to run.

    Args:
        conditions: drawn, so that they need no image source.
        device: of the networks, ``"cpu"`` or ``"cuda"``.
    """

    def __init__(self, conditions: Conditions, device: str) -> None:
        self._conditions = conditions
        self._device = device
        self._words: tuple[str, ...] = ()
        self._programs: list[tuple[int, Program]] = []
        self._estimators: list[tuple[int, Estimator]] = []
        self._plan: Plan | None = None

    def block(self, words: tuple[str, ...], architectures: Sequence[Architecture]) -> Block:
        """What these words say of these networks."""
        self._prepare(words)
        values = np.full((len(words), len(architectures)), np.nan)
        kinds = np.zeros(values.shape, dtype=np.uint8)
        waiting: list[tuple[int, NetworkStatistics]] = []

        def put(row: int, column: int, outcome: Outcome) -> None:
            if isinstance(outcome, Invalid):
                kinds[row, column] = KINDS.index(outcome.kind) + 1
            else:
                values[row, column] = outcome

        def flush() -> None:
            if waiting:
                of_programs = self._evaluated([shown for _, shown in waiting])
                rows = [row for row, _ in self._programs]
                columns = [column for column, _ in waiting]
                values[np.ix_(rows, columns)] = of_programs
                kinds[np.ix_(rows, columns)] = np.where(np.isfinite(of_programs), 0, _NON_FINITE)
                waiting.clear()

        for column, arch in enumerate(architectures):
            try:
                network = self._conditions.network(arch, self._device)
            except EznasError as error:
                for row in range(len(words)):
                    put(row, column, Invalid(FailureKind.NETWORK, str(error)))
                continue
            for row, estimator in self._estimators:
                put(row, column, self._estimate(network, estimator))
            if self._programs:
                shown = self._shown(network, [program for _, program in self._programs])
                if not isinstance(shown, NetworkStatistics) or not shown.layers:
                    for row, program in self._programs:
                        put(row, column, self._alone(network, program))
                else:
                    held = sum(one.nbytes for _, one in waiting)
                    if len(waiting) >= SHARD_NETWORKS or held + shown.nbytes > SHARD_BYTES:
                        flush()
                    waiting.append((column, shown))
        flush()
        columns = tuple(self._conditions.search_space.digest(arch) for arch in architectures)
        return Block(columns, values, kinds)

    def _prepare(self, words: tuple[str, ...]) -> None:
        if words == self._words:
            return
        self._programs, self._estimators = [], []
        for row, text in enumerate(words):
            word = word_named(text)
            if isinstance(word, Program):
                self._programs.append((row, word))
            else:
                self._estimators.append((row, word))
        self._plan = make_plan([program for _, program in self._programs])
        self._words = words

    def _proxy(self, program: Program) -> ProgramProxy:
        return ProgramProxy(name="word", program=program).bound(self._conditions)

    def _shown(self, network: Any, programs: Sequence[Program]) -> NetworkStatistics | Invalid:
        inputs, targets = self._conditions.batch(self._conditions.batch_size, self._device)
        try:
            return statistics_for([self._proxy(program) for program in programs], network, inputs, targets)
        except CaptureError as error:
            return Invalid(FailureKind.UNFIT if isinstance(error, UnfitError) else FailureKind.NETWORK, str(error))

    def _alone(self, network: Any, program: Program) -> Outcome:
        """The value of one program, from what it reads alone: what another reads may be what a network lacks."""
        shown = self._shown(network, [program])
        if isinstance(shown, Invalid):
            return shown
        try:
            return evaluate(program, shown)
        except FAILURES as error:
            return Invalid(FailureKind.UNFIT, str(error))

    def _estimate(self, network: Any, estimator: Estimator) -> Outcome:
        inputs, targets = self._conditions.batch(self._conditions.estimator_batch_size, self._device)
        try:
            outcome = estimator.outcome(network, inputs, targets)
        except ConfigError as error:
            return Invalid(FailureKind.UNFIT, str(error))
        return outcome if isinstance(outcome, Invalid) else estimator.direction * outcome  # raw, as its formula has it

    def _evaluated(self, shown: Sequence[NetworkStatistics]) -> npt.NDArray[np.float64]:
        """(n_programs, n_networks) values; where it cannot be done for all together, network by network."""
        assert self._plan is not None
        try:
            return ShardExecutor(pack(shown), cache_bytes=0).run(self._plan)
        except FAILURES:
            if len(shown) > 1:
                return np.concatenate([self._evaluated([one]) for one in shown], axis=1)
            return np.array([[self._value(program, shown[0])] for _, program in self._programs])

    @staticmethod
    def _value(program: Program, shown: NetworkStatistics) -> float:
        try:
            outcome = evaluate(program, shown)
        except FAILURES:
            return math.nan
        return math.nan if isinstance(outcome, Invalid) else outcome


_NON_FINITE: Final = KINDS.index(FailureKind.NON_FINITE) + 1


def fill(
    bank: Bank,
    words: Sequence[str],
    architectures: Sequence[Architecture],
    pool: Pool,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Have the bank know what these words say of these networks; what it knows is not computed again.

    Each block is kept as soon as it is done: a fill that was stopped or killed goes on from there.

    Args:
        bank: of the conditions, and of the device on which the networks are.
        words: canonical, see `canonical`.
        architectures: the networks.
        pool: where to work.
        progress: told the networks done and all networks that lacked something.

    Returns:
        the number of networks that were built for it.

    Raises:
        BankError: if a block cannot be written.
    """
    items = [
        (lacking, networks[start : start + BLOCK_NETWORKS])
        for lacking, networks in bank.missing(words, architectures)
        for start in range(0, len(networks), BLOCK_NETWORKS)
    ]
    n_all = sum(len(networks) for _, networks in items)
    if not items:
        return 0
    for lacking in dict.fromkeys(lacking for lacking, _ in items):
        bank.place_for(lacking)
    pool.deploy(BankWorker, [(bank.key.conditions.drawn(), bank.key.device)] * pool.n_workers)
    n_done = 0

    def finished(n: int, item: int, result: Any) -> None:
        nonlocal n_done
        del n
        lacking, networks = items[item]
        bank.add(lacking, result)
        n_done += len(networks)
        if progress is not None:
            progress(n_done, n_all)

    pool.map("block", items, finished)
    return n_all

"""Where work is done: in this process, or on Ray. The two look the same to whoever gives the work.

A pool holds one *state* per worker, an object built where it lives (for example a part of the statistics with its
caches). `attempt` asks some states for their part of an answer; `map` gives items to whichever worker is free. Answers
come back in the order of the states or the items, whatever finishes first. States stay where they are: only arguments
and answers travel, so both must be small, plain data.

Workers die: their memory runs out, their node goes away, or they are killed because they took too long. `map` hides
that by giving the work to a replacement; `attempt` reports it, for work that may be to blame for the death.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from eznas.errors import WorkerError

Arguments = tuple[Any, ...]
Done = Callable[[int, int, Any], None]
"""Told of each result as it comes: how many are done, which item it is of, and what it is."""


@dataclass(frozen=True, slots=True)
class Died:
    """A worker gave no answer because it died; it has been replaced.

    Attributes:
        reason: a clause for people whose subject is the worker, for example ``"it ran out of memory"``.
    """

    reason: str


class Pool(Protocol):
    """A fixed number of workers, each with one state."""

    @property
    def n_workers(self) -> int:
        """Number of states; 1 in process."""
        ...

    def deploy(self, factory: Callable[..., Any], arguments: Sequence[Arguments]) -> None:
        """Build one state per worker: ``factory(*arguments[i])`` for worker i; earlier states are dropped."""
        ...

    def attempt(
        self, method: str, arguments: Mapping[int, Arguments], timeout: float | None = None
    ) -> dict[int, Any | Died]:
        """Result of the method of some workers' states, or how the worker died; nothing is tried again.

        Args:
            method: of the states.
            arguments: by worker. Those shared by several workers should be one object, which then travels once.
            timeout: seconds after which a worker is killed, counted from when its state is there; None waits.

        Returns:
            result by worker, in the order of `arguments`.

        Raises:
            WorkerError: if a state cannot be built because its worker dies too often.
        """
        ...

    def map(self, method: str, items: Sequence[Arguments], done: Done | None = None) -> list[Any]:
        """Result of the method for every item, each computed by any one worker, in item order.

        Args:
            method: of the states.
            items: argument tuples.
            done: called after each finished item with the number finished so far.

        Raises:
            WorkerError: if workers and their replacements die too often over one item.
        """
        ...

    def close(self) -> None:
        """Let go of the workers."""
        ...


class LocalPool:
    """One state, in this process. It never dies on its own: what ends it ends the program, and no time limit holds."""

    n_workers = 1

    def __init__(self) -> None:
        self._state: Any = None

    def deploy(self, factory: Callable[..., Any], arguments: Sequence[Arguments]) -> None:
        (only,) = arguments
        self._state = factory(*only)

    def attempt(
        self, method: str, arguments: Mapping[int, Arguments], timeout: float | None = None
    ) -> dict[int, Any | Died]:
        return {worker: getattr(self._state, method)(*of_one) for worker, of_one in arguments.items()}

    def map(self, method: str, items: Sequence[Arguments], done: Done | None = None) -> list[Any]:
        results = []
        for item in items:
            results.append(getattr(self._state, method)(*item))
            if done is not None:
                done(len(results), len(results) - 1, results[-1])
        return results

    def close(self) -> None:
        self._state = None


def open_pool(n_workers: int = 0, address: str | None = None, *, on_gpu: bool = False) -> Pool:
    """A pool of that many workers.

    Args:
        n_workers: 0 works in this process; otherwise that many Ray actors.
        address: of a running Ray cluster to join; None starts a private one on this machine.
        on_gpu: whether actors need a graphics processor, or a share of one.

    Raises:
        WorkerError: if `n_workers` is negative, Ray cannot be started or joined, or it has no GPU for the workers.
    """
    if n_workers < 0:
        raise WorkerError(f"--workers must be 0 (this process) or more, got {n_workers}; leave it out to use 0")
    if n_workers == 0:
        if address is not None:
            raise WorkerError("--ray-address needs --workers 1 or more, got 0; say how many the cluster may run")
        return LocalPool()
    from eznas.workers._ray import RayPool  # Ray takes a third of a second to import

    return RayPool(n_workers, address, on_gpu=on_gpu)

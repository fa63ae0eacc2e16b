"""Workers as Ray actors. The only module that imports Ray.

Each actor builds its state where it lives and keeps it; calls carry arguments and answers only. An actor that dies, or
takes longer than it may and is killed, is replaced, and its state is built anew from the recorded factory, on another
node if its own is gone. Arguments that several actors share are put into Ray's object store once and leave it when the
answers are there.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RaySystemError,
    RpcError,
    WorkerCrashedError,
)

from eznas.errors import WorkerError
from eznas.workers.pool import Arguments, Died

MAX_DEATHS = 3
"""Times a worker is replaced over one call before the call is given up."""
PLACEMENT_SECONDS = 60.0
"""Time for a replacement to get a processor of its own; after that it shares one."""
OBJECT_STORE_BYTES = 100 * 1024 * 1024
"""Ray's shared memory on this machine; score blocks and programs are small."""
CONNECT_SECONDS = 5.0
WATCH_SECONDS = 1.0
"""How long Ray is waited for before it is looked at whether it lives: it would wait for a dead node without end, and
end this process a minute after it lost its control service."""
SESSIONS = "eznas-ray-"
"""How the folders begin in which private instances keep sockets and logs."""
MAX_FOLDER = 40
"""Characters of the folder for temporary files, beyond which Ray's sockets in it would have names too long to open."""
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""How a client of Ray's services begins (HTTP/2); they answer with their settings."""
_DEATHS = (RayActorError, WorkerCrashedError, OutOfMemoryError, NodeDiedError, ObjectLostError)
"""What reading an answer raises if its worker, or the node that held the answer, is gone."""
_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

_SPARE_GPU = 0.01
"""Of each graphics processor, for replacements of workers whose own is gone."""
_LEAST_SHARE = 0.0001
"""Of a graphics processor that Ray knows."""
_Outcome = tuple[bool, Any]
"""Whether a call succeeded, with its result or what it raised."""


class _Actor:
    """What runs on a worker: a state, and calls of its methods; errors come back as values."""

    def __init__(self, factory: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        torch = sys.modules.get("torch")  # imported already if the state needs it
        if torch is not None:
            torch.set_num_threads(1)
        self.rebuild(factory, arguments)

    def rebuild(self, factory: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._build = lambda: factory(*arguments)
        self._state: Any = None

    def prepare(self) -> _Outcome:
        """Build the state now; if that fails, the next call fails with the same error."""
        return self._guarded(lambda state: None)

    def call(self, method: str, arguments: tuple[Any, ...]) -> _Outcome:
        return self._guarded(lambda state: getattr(state, method)(*arguments))

    def _guarded(self, use: Callable[[Any], Any]) -> _Outcome:
        try:
            if self._state is None:
                self._state = self._build()
            return True, use(self._state)
        except Exception as error:  # raised again where the call was made
            return False, _portable(error)


def _portable(error: Exception) -> Exception:
    """The error, if it can travel, with its traceback as a note."""
    try:  # safe: it reads back only what it wrote a moment ago, to see whether Ray will be able to
        ray.cloudpickle.loads(ray.cloudpickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    else:
        error.add_note("On the worker:\n" + traceback.format_exc())
    return error


@dataclass
class _Seat:
    """The place of one worker: how its state is made, and the actor that has it now.

    Attributes:
        recipe: factory of the state and its arguments.
        actor: handle.
        n_processors: 1, or 0 for a replacement that shares a processor because none is left.
        is_replacement: whether another actor sat here before.
        has_state: whether the actor is known to have built its state.
    """

    recipe: tuple[Callable[..., Any], Arguments]
    actor: Any
    n_processors: int = 1
    is_replacement: bool = False
    has_state: bool = False


class RayPool:
    """States on Ray actors, of a private local instance or of a cluster.

    A replacement for a dead worker takes a processor of its own if the cluster has one left; otherwise, as after the
    loss of a node, it shares one.

    Args:
        n_workers: actors.
        address: of a cluster; None starts a private instance.
        on_gpu: give each worker a graphics processor, or its share of one where there are fewer than workers; Ray hides
            them from workers that ask for none.
    """

    def __init__(self, n_workers: int, address: str | None, *, on_gpu: bool = False) -> None:
        self.n_workers = n_workers
        self._owns_ray = not ray.is_initialized()
        self._session = contextlib.ExitStack()
        if self._owns_ray:
            with contextlib.ExitStack() as failing:
                folder = failing.enter_context(_session_folder()) if address is None else None
                _start(n_workers, address, folder)
                self._session = failing.pop_all()
        try:
            _require_processors(n_workers)
            share = _share_of_gpu(n_workers, ray.cluster_resources().get("GPU", 0)) if on_gpu else 0
        except WorkerError:
            self.close()
            raise
        self._spare_share = max(_SPARE_GPU / n_workers, _LEAST_SHARE) if on_gpu else 0
        self._remote = ray.remote(num_cpus=1, num_gpus=share, max_restarts=0, max_task_retries=0)(_Actor)
        self._seats: list[_Seat] = []

    def deploy(self, factory: Callable[..., Any], arguments: Sequence[Arguments]) -> None:
        if len(arguments) != self.n_workers:
            raise ValueError(f"Expected one argument tuple per worker ({self.n_workers}), got {len(arguments)}")
        recipes = [(factory, tuple(of_one)) for of_one in arguments]
        if not self._seats:
            self._seats = [_Seat(recipe, self._remote.remote(*recipe)) for recipe in recipes]
            return
        for seat, recipe in zip(self._seats, recipes, strict=True):
            seat.recipe, seat.has_state = recipe, False
            seat.actor.rebuild.remote(*recipe)  # one that has died is replaced when it is next called

    def attempt(
        self, method: str, arguments: Mapping[int, Arguments], timeout: float | None = None
    ) -> dict[int, Any | Died]:
        found = self._gather(method, arguments, timeout)
        return {w: outcome if isinstance(outcome := found[w], Died) else _value(outcome) for w in arguments}

    def map(
        self, method: str, items: Sequence[Arguments], done: Callable[[int, int, Any], None] | None = None
    ) -> list[Any]:
        results: dict[int, Any] = {}
        n_deaths: Counter[int] = Counter()
        waiting = list(range(len(items)))[::-1]
        running: dict[Any, tuple[int, int]] = {}
        idle = list(range(self.n_workers))[::-1]
        while waiting or running:
            while waiting and idle:
                worker, item = idle.pop(), waiting.pop()
                self._settle([worker])
                running[self._seats[worker].actor.call.remote(method, items[item])] = (worker, item)
            (ready,) = _wait(list(running))
            worker, item = running.pop(ready)
            outcome = self._outcome(worker, ready)
            idle.append(worker)
            if isinstance(outcome, Died):
                n_deaths[item] += 1
                _require_few_deaths(n_deaths[item], worker, method, outcome)
                waiting.append(item)
                continue
            results[item] = _value(outcome)
            if done is not None:
                done(len(results), item, results[item])
        return [results[item] for item in range(len(items))]

    def close(self) -> None:
        seats, self._seats = getattr(self, "_seats", []), []
        lives = _problem() is None
        for seat in seats if lives else ():
            ray.kill(seat.actor)
        if self._owns_ray and ray.is_initialized():
            if not lives:
                _end_processes()
            ray.shutdown()
        self._session.close()

    def _gather(
        self, method: str, arguments: Mapping[int, Arguments], timeout: float | None = None
    ) -> dict[int, _Outcome | Died]:
        """Outcome by worker of one call each, all at once; whoever dies or takes too long is replaced."""
        self._settle(arguments)
        shared = _put_once(arguments)
        pending = {self._seats[w].actor.call.remote(method, of_one): w for w, of_one in shared.items()}
        return self._collect(pending, timeout)

    def _collect(self, pending: dict[Any, int], timeout: float | None = None) -> dict[int, _Outcome | Died]:
        """What the references to a worker's answer each hold, as they come in."""
        found: dict[int, _Outcome | Died] = {}
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while pending:
            left = None if timeout is None else max(0.0, deadline - time.monotonic())
            ready = _wait(list(pending), timeout=left)
            if not ready:
                break
            worker = pending.pop(ready[0])
            found[worker] = self._outcome(worker, ready[0])
        for worker in pending.values():
            self._replace(worker)
            found[worker] = Died(f"it took longer than {timeout:g} s")
        return found

    def _outcome(self, worker: int, reference: Any) -> _Outcome | Died:
        """What the reference holds; if that is a death, the worker has been replaced."""
        try:
            outcome: _Outcome = ray.get(reference)
        except _DEATHS as error:
            out_of_memory = isinstance(error, OutOfMemoryError) or "low on memory" in str(error)
        else:
            out_of_memory = isinstance(outcome[1], MemoryError) and not outcome[0]
            if not out_of_memory:
                return outcome
        self._replace(worker)
        return Died("it ran out of memory" if out_of_memory else "its process ended")

    def _settle(self, workers: Iterable[int]) -> None:
        """Wait until these workers have tried to build their states, so that no time limit is spent on starting up."""
        for n_deaths in itertools.count(1):
            starting = [worker for worker in workers if not self._seats[worker].has_state]
            if not starting:
                return
            self._place(starting)
            found = self._collect({self._seats[worker].actor.prepare.remote(): worker for worker in starting})
            for worker, outcome in found.items():
                if isinstance(outcome, Died):
                    _require_few_deaths(n_deaths, worker, "prepare", outcome)
                else:
                    self._seats[worker].has_state = True

    def _place(self, workers: Iterable[int]) -> None:
        """Let replacements that wait for a processor in vain share one."""
        seats = {worker: self._seats[worker] for worker in workers}
        waiting = {s.actor.__ray_ready__.remote(): w for w, s in seats.items() if s.is_replacement and s.n_processors}
        if waiting:
            placed = _wait(list(waiting), n=len(waiting), timeout=PLACEMENT_SECONDS)
            for reference in waiting.keys() - set(placed):
                self._replace(waiting[reference], n_processors=0)

    def _replace(self, worker: int, n_processors: int | None = None) -> None:
        """Make sure that a worker's process is gone, and start another in its place; does not wait for either."""
        _require_alive()
        seat = self._seats[worker]
        ray.kill(seat.actor)
        if n_processors is None:
            taken = sum(other.n_processors for other in self._seats if other is not seat)
            n_processors = int(taken < _count_processors())
        spare = {} if n_processors else {"num_gpus": self._spare_share}
        actor = self._remote.options(num_cpus=n_processors, **spare).remote(*seat.recipe)
        self._seats[worker] = _Seat(seat.recipe, actor, n_processors, is_replacement=True)


def _put_once(arguments: Mapping[int, Arguments]) -> Mapping[int, Any]:
    """The arguments, or a reference to them in Ray's object store if all workers share one object.

    The store lets go of them when the last reference is gone.
    """
    shared = next(iter(arguments.values()), ())
    if len(arguments) > 1 and all(of_one is shared for of_one in arguments.values()):
        return dict.fromkeys(arguments, ray.put(shared))
    return arguments


def _value(outcome: _Outcome | Died) -> Any:
    """The result of a call that came back; raises what the call raised."""
    assert not isinstance(outcome, Died)
    succeeded, result = outcome
    if succeeded:
        return result
    raise result


def _require_few_deaths(n_deaths: int, worker: int, method: str, last: Died) -> None:
    if n_deaths > MAX_DEATHS:
        raise WorkerError(
            f"Worker {worker} died {n_deaths} times in {method!r}, at most {MAX_DEATHS} are borne: {last.reason}; "
            f"give it more memory or use fewer workers"
        )


def _wait(references: list[Any], *, n: int = 1, timeout: float | None = None) -> list[Any]:
    """Those of some references that are there, once n are or the time is over.

    Raises:
        WorkerError: if Ray itself ended meanwhile.
    """
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    while True:
        left = max(0.0, min(WATCH_SECONDS, deadline - time.monotonic()))
        try:
            ready, _ = ray.wait(references, num_returns=n, timeout=left)
        except (ConnectionError, RaySystemError, RpcError) as error:
            raise WorkerError(_gone(_one_line(error))) from None
        if len(ready) >= n or time.monotonic() >= deadline:
            return list(ready)
        _require_alive()


def _require_alive() -> None:
    problem = _problem()
    if problem is not None:
        raise WorkerError(_gone(problem))


def _gone(problem: str) -> str:
    return (
        f"Ray has ended ({problem}), perhaps for want of memory; what was finished is kept: go on with eznas resume, "
        "or give the same command again, with fewer --workers or more memory"
    )


def _problem() -> str | None:
    """What of Ray is gone, a clause; None if it lives."""
    node = _node()
    if node is None:
        return None
    try:
        dead = [kind for kind, _ in node.dead_processes() if kind in ("raylet", "gcs_server")]
        if dead:
            return f"its process {dead[0]} died"
        _require_reachable(node.gcs_address)
        return None if any(each["Alive"] for each in ray.nodes()) else "no node of it lives"
    except OSError as error:
        return f"its control service at {node.gcs_address} is gone: {error.strerror or error}"


def _node() -> Any:
    """Ray's own account of what it started or joined here; None if nothing, or through a client."""
    return getattr(ray._private.worker, "_global_node", None) if ray.is_initialized() else None


def _end_processes() -> None:
    """End what is left of a private instance that has lost a part, which Ray would ask in vain to end."""
    node = _node()
    if node is not None:
        with contextlib.suppress(Exception):  # whatever fails here, the rest of it is as good as gone
            node.kill_all_processes(check_alive=False, allow_graceful=False)


@contextlib.contextmanager
def _session_folder() -> Iterator[str | None]:
    """A folder for the sockets and logs of a private instance, removed afterwards; and those that dead processes left.

    None where its name would be too long: Ray then takes its own folder, which stays.
    """
    root = Path(tempfile.gettempdir())
    if len(str(root)) > MAX_FOLDER:
        yield None
        return
    for left in root.glob(f"{SESSIONS}*"):
        with contextlib.suppress(OSError):
            if not left.is_symlink() and left.stat().st_uid == os.getuid():
                _remove_unless_held(left)
    folder = Path(tempfile.mkdtemp(prefix=SESSIONS, dir=root))
    with filelock.FileLock(folder / ".lock"):
        try:
            yield str(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_unless_held(folder: Path) -> None:
    """The lock of a process is let go when it dies, even if it is killed."""
    if (folder / ".lock").is_file():
        with contextlib.suppress(filelock.Timeout), filelock.FileLock(folder / ".lock").acquire(timeout=0):
            shutil.rmtree(folder, ignore_errors=True)


def _start(n_workers: int, address: str | None, folder: str | None) -> None:
    """Start a private Ray, or join the one at `address`; never one that merely happens to run."""
    handler = signal.getsignal(signal.SIGTERM)
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 lets any other process starve the workers
    common: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": "ERROR",
        "runtime_env": {"env_vars": _THREADS},
    }
    try:
        if address is None:
            ray.init(
                address="local",
                num_cpus=n_workers,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=folder,
                **common,
            )
        else:
            _require_reachable(address)
            ray.init(address=address, **common)
        with contextlib.suppress(Exception):  # its own words on deaths, many lines of logs, beside ours
            getattr(ray._private.worker.global_worker, "gcs_error_subscriber").close()  # noqa: B009 (not declared)
    except (RuntimeError, ValueError, OverflowError, OSError) as error:
        where = "on this machine" if address is None else f"at {address!r}"
        what = _one_line(error)
        raise WorkerError(f"Cannot reach Ray {where}: {what}; check the address, or use --workers 0") from None
    finally:
        if signal.getsignal(signal.SIGTERM) is not handler and handler is not None:
            signal.signal(signal.SIGTERM, handler)


def _require_reachable(address: str) -> None:
    """Fail within seconds where nobody answers, or something else than Ray; Ray would try for minutes, and loudly.

    Raises:
        OSError: if nobody does.
    """
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if not (separator and port.isascii() and port.isdigit()):
        return
    with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS) as connection:
        if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):  # then nothing is answered before keys are exchanged
            return
        connection.sendall(_GREETING)
        answer = b""
        while len(answer) < 4:
            try:
                piece = connection.recv(9)
            except TimeoutError:
                raise OSError(f"what listens there did not answer within {CONNECT_SECONDS:g} s") from None
            if not piece:
                break
            answer += piece
    if answer[3:4] != b"\x04":
        raise OSError("what listens there is not Ray")


def _require_processors(n_workers: int) -> None:
    """Refuse more workers than can ever run at once; Ray would wait for more processors without end."""
    n_processors = _count_processors()
    if n_workers > n_processors:
        raise WorkerError(
            f"--workers {n_workers} is more than Ray can run at once, it has {n_processors} processor(s); use "
            f"--workers {n_processors} or add machines to the cluster"
        )


def _share_of_gpu(n_workers: int, n_gpus: float) -> float:
    """Of one graphics processor, for each worker; Ray places workers with a share on one processor each.

    A little of each is left for workers that take the place of others and find no share left.

    Raises:
        WorkerError: if there is none.
    """
    if n_gpus < 1:
        raise WorkerError("--device cuda was asked, but Ray finds no GPU on any node; use --device cpu, or --workers 0")
    on_each = -(-n_workers // int(n_gpus))
    return (1 - _SPARE_GPU) / on_each


def _count_processors() -> int:
    """Processors of the nodes that live."""
    return int(ray.cluster_resources().get("CPU", 0))


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]

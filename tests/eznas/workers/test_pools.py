"""Both pools answer alike, in order, and outlive their workers; their errors are one sentence."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from eznas.errors import ProgramError, WorkerError
from eznas.workers import Died, LocalPool, Pool, open_pool
from eznas.workers._ray import _share_of_gpu
from tests.eznas.workers.states import State


@pytest.fixture(scope="module")
def ray_pool() -> Iterator[Pool]:
    """Two workers on Ray, with a state each; starting either takes seconds, so all tests share them."""
    pool = open_pool(2)
    yield deploy(pool)
    pool.close()


@pytest.fixture(params=["local", "ray"])
def pool(request: pytest.FixtureRequest) -> Pool:
    return deploy(LocalPool()) if request.param == "local" else request.getfixturevalue("ray_pool")


def deploy(pool: Pool) -> Pool:
    pool.deploy(State, [(f"worker {i}",) for i in range(pool.n_workers)])
    return pool


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether something comes true within seconds."""
    deadline = time.monotonic() + 10
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.1)
    return holds()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ask(pool: Pool, method: str, *arguments: Any) -> list[Any]:
    """What every worker answers, in their order."""
    return list(pool.attempt(method, dict.fromkeys(range(pool.n_workers), arguments)).values())


def build_and_ask(pool: Pool) -> None:
    pool.deploy(State, [("unbuildable",)] * pool.n_workers)
    ask(pool, "whoami", "hello")


def test_every_state_answers_in_worker_order_and_stays(pool: Pool) -> None:
    names = [f"worker {i}" for i in range(pool.n_workers)]
    before = ask(pool, "calls")
    assert ask(pool, "whoami", "hello") == [f"hello, {name}" for name in names]
    assert [pool.attempt("whoami", {i: ("you",)})[i] for i in range(pool.n_workers)] == [f"you, {n}" for n in names]
    assert ask(pool, "calls") == [n + 2 for n in before]


def test_results_come_in_the_order_of_the_items(pool: Pool) -> None:
    """The first item takes longest; the progress counts up, with the item and its result, whatever finishes first."""
    done: list[tuple[int, int, int]] = []
    items = [(x, 0.3 if x == 0 else 0.0) for x in range(7)]
    squares = [0, 1, 4, 9, 16, 25, 36]
    assert pool.map("square", items, lambda *told: done.append(told)) == squares
    assert [n_done for n_done, _, _ in done] == list(range(1, 8))
    assert sorted((item, result) for _, item, result in done) == list(enumerate(squares))
    assert pool.map("square", []) == []


def test_our_errors_come_through_unchanged(pool: Pool, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ProgramError) as caught:
        ask(pool, "fail")
    assert str(caught.value) == "Worker worker 0 was given an impossible program; use another"
    with pytest.raises(ProgramError, match=r"^Worker worker . was given"):
        pool.map("fail", [()])
    assert pool.attempt("square", {0: (3,)}) == {0: 9}  # and the worker lives on
    assert capfd.readouterr().err == ""  # the error of worker 1 is not shouted about either


def test_other_errors_keep_their_kind(pool: Pool) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        ask(pool, "stumble")
    assert str(caught.value) == "division by zero"


def test_an_error_that_cannot_travel_is_told_by_name(ray_pool: Pool) -> None:
    with pytest.raises(RuntimeError, match=r"^Unportable: no way$"):
        ask(ray_pool, "stumble_unportably")


def test_a_dead_worker_is_replaced_and_its_work_is_done_again(ray_pool: Pool, tmp_path: Path) -> None:
    assert ray_pool.map("die_once", [(x, str(tmp_path)) for x in (1, 2, 3)]) == [1, 4, 9]
    assert (tmp_path / "died").exists()
    assert ask(ray_pool, "whoami", "hello") == ["hello, worker 0", "hello, worker 1"]


def test_too_many_deaths_are_an_error(ray_pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    from eznas.workers import _ray

    monkeypatch.setattr(_ray, "MAX_DEATHS", 2)
    with pytest.raises(
        WorkerError, match=r"Worker . died 3 times in 'die', at most 2 are borne: .*; give it more"
    ) as e:
        ray_pool.map("die", [()])
    assert "\n" not in str(e.value)


def test_an_attempt_answers_for_the_workers_asked(pool: Pool) -> None:
    assert pool.attempt("square", {pool.n_workers - 1: (3,)}, timeout=60) == {pool.n_workers - 1: 9}
    everyone = dict.fromkeys(range(pool.n_workers), ("hello",))
    assert pool.attempt("whoami", everyone) == {i: f"hello, worker {i}" for i in range(pool.n_workers)}
    with pytest.raises(ZeroDivisionError):
        pool.attempt("stumble", {0: ()})


@pytest.mark.parametrize(
    ("fate", "reason"),
    [
        ("killed", "its process ended"),
        ("out of memory", "it ran out of memory"),
        ("endless", "it took longer than 0.5 s"),
    ],
)
def test_a_death_is_told_once_and_the_worker_replaced(ray_pool: Pool, tmp_path: Path, fate: str, reason: str) -> None:
    """What the other worker found stays, and of the dead one no process is left."""
    deploy(ray_pool)
    found = ray_pool.attempt("fare", {0: (fate, str(tmp_path)), 1: ("well",)}, timeout=0.5)
    assert found == {0: Died(reason), 1: "well"}
    (victim,) = (int(path.name) for path in tmp_path.iterdir())
    assert eventually(lambda: not is_running(victim))
    assert ray_pool.attempt("fare", dict.fromkeys((0, 1), ("well",)), timeout=0.5) == {0: "well", 1: "well"}


def test_starting_up_is_charged_to_no_time_limit(ray_pool: Pool) -> None:
    ray_pool.deploy(State, [("slow",), ("quick",)])
    assert ray_pool.attempt("square", dict.fromkeys((0, 1), (2,)), timeout=0.5) == {0: 4, 1: 4}


def test_deaths_far_apart_are_borne(ray_pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eznas.workers import _ray

    monkeypatch.setattr(_ray, "MAX_DEATHS", 1)
    deploy(ray_pool)
    for run in range(2):
        folder = tmp_path / str(run)
        folder.mkdir()
        assert ray_pool.map("die_once", [(2, str(folder))]) == [4]
        assert (folder / "died").exists()


def test_the_object_store_is_empty_after_each_call(ray_pool: Pool) -> None:
    """Of twenty megabytes of arguments that two workers shared nothing stays."""
    import ray

    def used() -> float:
        return ray.cluster_resources()["object_store_memory"] - ray.available_resources()["object_store_memory"]

    deploy(ray_pool)
    for _ in range(2):
        assert ask(ray_pool, "length", ["x" * 100_000 + str(i) for i in range(200)]) == [200, 200]
    assert eventually(lambda: used() < 1000)


def test_shared_arguments_travel_once(ray_pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    puts: list[object] = []
    put = ray.put
    monkeypatch.setattr(ray, "put", lambda value: puts.append(value) or put(value))
    assert ask(ray_pool, "length", ["a", "b"]) == [2, 2]
    assert puts == [(["a", "b"],)]


def test_a_replacement_shares_a_processor_if_none_is_left(ray_pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known at once after the loss of a node; found out by waiting if others took the processor."""
    import ray

    from eznas.workers import _ray

    monkeypatch.setattr(_ray, "_count_processors", lambda: 1)
    deploy(ray_pool)
    assert ray_pool.attempt("fare", {0: ("killed",)}) == {0: Died("its process ended")}
    assert ray_pool.attempt("square", {0: (2,)}) == {0: 4}
    assert [seat.n_processors for seat in ray_pool._seats] == [0, 1]  # type: ignore[attr-defined]
    hog = ray.remote(num_cpus=1)(State).remote("hog")
    assert ray.get(hog.square.remote(1)) == 1
    monkeypatch.setattr(_ray, "_count_processors", lambda: 2)
    monkeypatch.setattr(_ray, "PLACEMENT_SECONDS", 0.5)
    assert ray_pool.attempt("fare", {0: ("killed",)}) == {0: Died("its process ended")}
    assert ray_pool.attempt("square", {0: (3,)}) == {0: 9}
    assert [seat.n_processors for seat in ray_pool._seats] == [0, 1]  # type: ignore[attr-defined]
    ray.kill(hog)


def test_our_errors_while_building_a_state_come_through(ray_pool: Pool) -> None:
    for pool in (LocalPool(), ray_pool):
        with pytest.raises(ProgramError, match=r"^This state cannot be built; give it another name"):
            build_and_ask(pool)


def test_a_new_deployment_replaces_states_and_dead_workers(ray_pool: Pool) -> None:
    assert ask(deploy(ray_pool), "calls") == [0, 0]


def test_the_number_of_states_must_be_that_of_the_workers(ray_pool: Pool) -> None:
    with pytest.raises(ValueError, match="one argument tuple per worker"):
        ray_pool.deploy(State, [("only",)])


def test_more_workers_than_the_cluster_can_run_are_refused(ray_pool: Pool) -> None:
    """Ray would wait for more processors for ever."""
    with pytest.raises(WorkerError, match=r"--workers 3 .* has 2 .*; use --workers 2"):
        open_pool(3)


def test_an_address_where_nobody_answers_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1", "no.such.host.invalid:6379", "127.0.0.1:99999"):
        with pytest.raises(WorkerError, match=f"^Cannot reach Ray at '{address}': .*; check the address, or use"):
            open_pool(1, address)


@pytest.mark.parametrize(("answer", "said"), [(b"", "did not answer within 0.2 s"), (b"HTTP/1.1 400", "is not Ray")])
def test_an_address_where_something_else_listens_fails_within_seconds(
    answer: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eznas.workers import _ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(_ray, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            for _ in range(2):
                connections.append(server.accept()[0])
                connections[-1].sendall(answer)

        connections: list[socket.socket] = []
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        for prefix in ("", "ray://"):
            with pytest.raises(WorkerError, match=f"^Cannot reach Ray at '{prefix}127.0.0.1:{port}': what .*{said}"):
                open_pool(1, f"{prefix}127.0.0.1:{port}")
        thread.join()
        for connection in connections:
            connection.close()


DISTURBED = """
import os, signal
import ray
from eznas.errors import WorkerError
from eznas.workers import open_pool
from tests.eznas.workers.states import State
pool = open_pool(1)
pool.deploy(State, [("only",)])
print(pool.attempt("whoami", {0: ("hello",)}))
(raylet,) = ray._private.worker._global_node.all_processes["raylet"]
os.kill(raylet.process.pid, signal.SIGKILL)
try:
    while True:
        pool.attempt("square", {0: (2, 2.0)})
except WorkerError as error:
    print(error)
pool.close()
"""


def test_a_dead_node_of_ones_own_is_one_sentence_and_leaves_nothing() -> None:
    """In a process of its own, where nothing shares the instance."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ez") as folder:
        environment = {**os.environ, "TMPDIR": folder}
        stale = Path(folder) / "eznas-ray-stale"
        stale.mkdir()
        (stale / ".lock").touch()
        done = subprocess.run(
            [sys.executable, "-c", DISTURBED], env=environment, capture_output=True, text=True, check=False, timeout=120
        )  # fmt: skip
        assert list(Path(folder).glob("eznas-ray-*")) == [], done.stderr
    assert done.returncode == 0
    first, second = done.stdout.splitlines()
    assert first == "{0: 'hello, only'}"
    assert second.startswith("Ray has ended (")
    assert "go on with eznas resume" in second
    assert done.stderr == ""


def test_the_folder_of_a_live_session_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eznas.workers import _ray

    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ez") as root:
        monkeypatch.setattr(tempfile, "gettempdir", lambda: root)
        with _ray._session_folder() as first, _ray._session_folder() as second:
            assert first is not None
            assert second is not None
            assert Path(first).is_dir()
            assert Path(second).is_dir()
        assert list(Path(root).iterdir()) == []
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / ("x" * 100)))
    with _ray._session_folder() as none:
        assert none is None


@pytest.mark.parametrize(
    ("n_workers", "address", "message"),
    [
        (-1, None, "--workers must be 0 .* or more, got -1; leave it out"),
        (0, "10.0.0.1:6379", "--ray-address needs --workers 1 or more, got 0"),
    ],
)
def test_an_impossible_pool_is_refused(n_workers: int, address: str | None, message: str) -> None:
    with pytest.raises(WorkerError, match=message):
        open_pool(n_workers, address)


def test_closing_twice_is_harmless() -> None:
    pool = deploy(LocalPool())
    pool.close()
    pool.close()


@pytest.mark.parametrize(("n_workers", "n_gpus", "share"), [(1, 1, 1), (2, 1, 0.5), (3, 2, 0.5), (4, 4, 1), (2, 8, 1)])
def test_workers_share_graphics_processors(n_workers: int, n_gpus: float, share: float) -> None:
    assert _share_of_gpu(n_workers, n_gpus) == pytest.approx(0.99 * share), "the rest is for one whose own is gone"


def test_workers_on_graphics_processors_that_are_not_there_are_refused(ray_pool: Pool) -> None:
    if ray.cluster_resources().get("GPU", 0) < 1:
        with pytest.raises(
            WorkerError, match=r"^--device cuda was asked, but Ray finds no GPU on any node; use --device"
        ):
            open_pool(1, on_gpu=True)  # joins the instance of this process

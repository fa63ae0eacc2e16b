"""kill -9 of the driver, a worker or a node at random moments of small runs: no lost generation, equal results.

Also of the other things that take long: filling a bank, training a benchmark, training a supernet. There the same
command is given again, and what it made is compared.

A run is evolved undisturbed once. Then it is evolved again and again, each time something is killed at a random moment
while it evolves, and the front and the hall of fame are compared with those of the undisturbed run. Only processes that
this script has started are killed. Prints a table; ends with status 1 if any run differs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from eznas.tables import render_table

VICTIMS = ("driver", "actor", "node")
JOBS = ("bank", "benchmark", "supernet")
N_GENERATIONS = 6
WORKERS = 2
SETTINGS = {
    "benchmark.n_evolve": 40,
    "benchmark.n_select": 20,
    "benchmark.n_report": 20,
    "evolution.population_size": 40,
    "evolution.initial_size": 60,
    "evolution.n_generations": N_GENERATIONS,
    "report.baselines": '["parameter_count"]',
    "report.bootstrap": 100,
    "report.simplify_seconds": 120,
    "report.badge_networks": 0,
}
RUN_SECONDS = 900.0
"""Time for one run, after which it counts as stuck."""
LEAVE_SECONDS = 120.0
"""Time for the processes of a killed driver to go; Ray's own agents take a minute to notice."""
ACTOR = "ray::_Actor"
WORDS = ("parameter_count", "naswot", "(sum_layers (frobenius_norm weight_grad.noise))", "(mean_layers (mean weight))")
SUPERNET = {
    "networks.channels": 4, "images.source": "digits", "images.input_size": 8, "images.n_train": 320,
    "training.epochs": 12, "training.batch_size": 32, "training.learning_rate": 0.2, "checkpoints.every": 3,
}  # fmt: skip
EZNAS = "from eznas.cli import main; raise SystemExit(main())"


class ChaosError(Exception):
    """A run did not do what it should; the message says what."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the campaign and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n", nargs="?", type=int, default=30, help="runs to disturb (default 30)")
    parser.add_argument("--jobs", type=int, default=9, help="banks, benchmarks and supernets to disturb (default 9)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the victims")
    arguments = parser.parse_args(argv)
    Path("runs").mkdir(exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="chaos-", dir="runs"))
    os.environ["EZNAS_CACHE"] = str(root.absolute() / "cache")
    os.environ.setdefault("RAY_worker_niceness", "0")
    draw = random.Random(arguments.seed)
    rows: list[dict[str, Any]] = []
    try:
        if arguments.n:
            seconds = undisturbed(root / "undisturbed")
            kinds = itertools.islice(itertools.cycle(VICTIMS), arguments.n)
            rows += [row(root, number, kind, seconds, draw) for number, kind in enumerate(kinds)]
        for job in JOBS[: arguments.jobs]:
            n = arguments.jobs // len(JOBS) + (JOBS.index(job) < arguments.jobs % len(JOBS))
            rows += job_rows(root, job, n, len(rows), draw)
    except ChaosError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    (root / "table.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(render_table(rows, "table", width=160), end="")
    n_bad = sum(one["outcome"] != "equal" for one in rows)
    print(f"{len(rows) - n_bad} of {len(rows)} disturbed runs equal the undisturbed one; run folders are in {root}")
    return 1 if n_bad else 0


def undisturbed(folder: Path) -> list[float]:
    """Evolve without trouble; the seconds each generation took."""
    with driver(folder, evolve(folder)) as process:
        finish(process, folder)
    return [float(event["seconds"]) for event in events(folder)]


def row(root: Path, number: int, kind: str, seconds: Sequence[float], draw: random.Random) -> dict[str, Any]:
    """One disturbed run: what was killed when, and whether the result is the same.

    A run that got past its moment before the victim could be killed is done again with another moment.
    """
    start = time.monotonic()
    for attempt in itertools.count():
        folder = root / f"{number:02d}-{kind}-{attempt}"
        moment = draw.uniform(0, sum(seconds))
        try:
            generation = disturbed(folder, kind, moment, seconds, draw)
        except ChaosError as error:
            generation, outcome = len(events(folder)), str(error)
        else:
            if generation is None:
                continue
            outcome = difference(root / "undisturbed", folder) or "equal"
        return {
            "run": number,
            "killed": kind,
            "at": f"{moment:.1f} s",
            "generations done": generation,
            "outcome": outcome,
            "seconds": round(time.monotonic() - start),
        }
    raise AssertionError("not reached")


def disturbed(folder: Path, kind: str, moment: float, seconds: Sequence[float], draw: random.Random) -> int | None:
    """Evolve, kill, and go on if the run cannot by itself.

    Returns:
        number of generations done at the kill; None if there was nothing left to kill.

    Raises:
        ChaosError: if the run failed, was stuck, or left processes behind.
    """
    with ExitStack() as stack:
        nodes = stack.enter_context(cluster()) if kind == "node" else None
        address = nodes.address if nodes else None
        process = stack.enter_context(driver(folder, evolve(folder, address)))
        wait_for(process, folder, moment, seconds)
        victim = find_victim(kind, process, nodes, draw)
        family = descendants(process.pid)
        n_done = len(events(folder))
        if victim is None or n_done >= N_GENERATIONS + 1 or process.poll() is not None:
            return None
        os.kill(victim, signal.SIGKILL)
        if kind != "driver":
            finish(process, folder)
            return n_done
        process.wait()
        with driver(folder, ["resume", str(folder), *machine()]) as resumed:
            finish(resumed, folder)
        if not eventually(lambda: not any(map(is_running, family)), LEAVE_SECONDS):
            raise ChaosError(f"{sum(map(is_running, family))} processes outlived their driver")
    return n_done


# -------------------------------------------------------------------------------------------------- other things made


def job_rows(root: Path, job: str, n: int, first: int, draw: random.Random) -> list[dict[str, Any]]:
    """Disturbed jobs of one kind: killed once at a random moment, given again, and compared with an undisturbed one.

    Raises:
        ChaosError: if the undisturbed one fails.
    """
    start = time.monotonic()
    expected = root / f"{job}-undisturbed"
    with driver(expected, arguments_of(job, expected), cache=expected) as process:
        finish(process, expected)
    lasts = time.monotonic() - start
    made = made_by(job, expected)
    rows = []
    for number in range(first, first + n):
        start, folder = time.monotonic(), root / f"{number:02d}-{job}"
        moment = draw.uniform(0.2, 1.0) * lasts
        with driver(folder, arguments_of(job, folder), cache=folder) as process:
            eventually(lambda: process.poll() is not None, moment)
        n_before = len(made_by(job, folder))
        try:
            with driver(folder, arguments_of(job, folder), cache=folder) as process:
                finish(process, folder)
            outcome = "equal" if made_by(job, folder) == made else "another result"
        except ChaosError as error:
            outcome = str(error)
        rows.append({
            "run": number, "killed": job, "at": f"{moment:.1f} s", "generations done": f"{n_before} of {len(made)}",
            "outcome": outcome, "seconds": round(time.monotonic() - start),
        })  # fmt: skip
    return rows


def arguments_of(job: str, folder: Path) -> list[str]:
    """Of the command that makes it."""
    folder.mkdir(parents=True, exist_ok=True)
    if job == "supernet":
        settings = [word for key, value in SUPERNET.items() for word in ("--set", f"{key}={value}")]
        return ["oneshot", "train", "--run-dir", str(folder / "run"), "--quiet", *settings]
    if job == "benchmark":
        size = ["--n", "12", "--epochs", "1", "--train", "200", "--size", "8", "--repeated", "0"]
        return [
            "benchmark",
            "build",
            "--space",
            "nb201",
            "--images",
            "digits",
            "--output",
            str(folder),
            "--quiet",
            *size,
        ]
    (folder / "words.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return ["bank", "build", "--words", str(folder / "words.txt"), "--networks", "nb201:random:60", "--quiet"]


def made_by(job: str, folder: Path) -> dict[Any, Any]:
    """What is there of it, without times."""
    if job == "supernet":
        from eznas.oneshot import read_state

        paths = [*(folder / "run").glob("latest.safetensors"), *(folder / "run" / "checkpoints").glob("*.safetensors")]
        return {path.name: read_state(path, verify=True).digest for path in paths}
    if job == "benchmark":
        lines = [line.split(",") for path in folder.glob("*.csv") for line in path.read_text("utf-8").splitlines()[1:]]
        return {(line[0], line[1]): (*line[2:4], *line[5:]) for line in lines if len(line) > 6}
    from eznas.bank.block import NAME, read_block

    found = {}
    for path in (folder / "banks").glob("*/*/*.safetensors"):
        if NAME.fullmatch(path.name):
            (rows,) = path.parent.glob("*.json")
            words = json.loads(rows.read_text(encoding="utf-8"))
            block = read_block(path, len(words), verify=True)
            found |= {
                (word, column): (block.values[row, at].tobytes(), int(block.kinds[row, at]))
                for row, word in enumerate(words)
                for at, column in enumerate(block.columns)
            }
    return found


# ------------------------------------------------------------------------------------------------------------- running


def evolve(folder: Path, address: str | None = None) -> list[str]:
    """Arguments of the command line for one run."""
    settings = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    return ["evolve", "--run-dir", str(folder), *settings, *machine(address)]


def machine(address: str | None = None) -> list[str]:
    """Arguments of the command line that say where to work."""
    return ["--quiet", "--workers", str(WORKERS), *(["--ray-address", address] if address else [])]


@contextmanager
def driver(folder: Path, arguments: Sequence[str], *, cache: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """The command line in a process of its own, which does not outlive the block; output goes beside the run folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".log").open("ab") as log:
        environment = os.environ if cache is None else {**os.environ, "EZNAS_CACHE": str(cache)}
        process = subprocess.Popen([sys.executable, "-c", EZNAS, *arguments], stdout=log, stderr=log, env=environment)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def finish(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait for the end of a run.

    Raises:
        ChaosError: if it is stuck, or ends badly.
    """
    try:
        status = process.wait(RUN_SECONDS)
    except subprocess.TimeoutExpired:
        raise ChaosError(f"stuck for {RUN_SECONDS:g} s after {len(events(folder))} generations") from None
    if status:
        lines = folder.with_suffix(".log").read_text(encoding="utf-8").splitlines() or ["no output"]
        raise ChaosError(f"exit status {status}: {lines[-1]}")


@contextmanager
def cluster() -> Iterator[Any]:
    """A head without processors and as many nodes with one as there are workers."""
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 80 * 1024**2, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    try:
        for _ in range(WORKERS):
            nodes.add_node(num_cpus=1, **small)
        yield nodes
    finally:
        nodes.shutdown()


# ------------------------------------------------------------------------------------------------------------- killing


def wait_for(process: subprocess.Popen[bytes], folder: Path, moment: float, seconds: Sequence[float]) -> None:
    """Until so many seconds of evolution are done, by the clock of the undisturbed run, or the run ends."""
    n_done = 0
    while n_done < len(seconds) - 1 and moment > seconds[n_done]:
        moment -= seconds[n_done]
        n_done += 1
    eventually(lambda: process.poll() is not None or (folder / "config.toml").exists(), RUN_SECONDS)
    eventually(lambda: process.poll() is not None or len(events(folder)) >= n_done, RUN_SECONDS)
    if n_done == 0 and process.poll() is None:
        eventually(lambda: process.poll() is not None or has_worked(process), RUN_SECONDS)
    time.sleep(moment)


def has_worked(process: subprocess.Popen[bytes]) -> bool:
    """Whether there are workers, of this driver or of a cluster that this script has started."""
    return any(title(pid).startswith(ACTOR) for pid in [*descendants(process.pid), *descendants(os.getpid())])


def find_victim(kind: str, process: subprocess.Popen[bytes], nodes: Any, draw: random.Random) -> int | None:
    """Process to kill, if it runs: the driver, a worker, or the raylet of a node with a worker."""
    if process.poll() is not None:
        return None
    if kind == "driver":
        return process.pid
    if kind == "actor":
        found = [pid for pid in descendants(process.pid) if title(pid).startswith(ACTOR)]
    else:
        raylets = [node.all_processes["raylet"][0].process.pid for node in nodes.worker_nodes]
        found = [r for r in raylets if any(title(pid).startswith(ACTOR) for pid in descendants(r))]
    return draw.choice(sorted(found)) if found else None


def descendants(pid: int) -> list[int]:
    """Processes started by a process, directly or not."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found = list(children.get(pid, []))
    for one in found:
        found += children.get(one, [])
    return found


def title(pid: int) -> str:
    """What a process calls itself; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def is_running(pid: int) -> bool:
    """Whether a process is there and not merely waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False


def eventually(holds: Callable[[], bool], seconds: float) -> bool:
    """Whether something comes true in that time."""
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


# ----------------------------------------------------------------------------------------------------------- comparing


def events(folder: Path) -> list[dict[str, Any]]:
    """What the run says of its finished generations; a line that is being written does not count."""
    file = folder / "events.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def difference(expected: Path, found: Path) -> str | None:
    """The first thing in which two finished runs differ, times apart."""
    if len(events(found)) != len(events(expected)):
        return f"{len(events(found))} generations instead of {len(events(expected))}"
    entries = [json.loads((run / "front.json").read_text(encoding="utf-8"))["entries"] for run in (expected, found)]
    first, second = ([entry | {"seconds": None} for entry in of_run] for of_run in entries)
    if first != second:
        return "another front"
    if (expected / "hall_of_fame.csv").read_bytes() != (found / "hall_of_fame.csv").read_bytes():
        return "another hall of fame"
    return None


if __name__ == "__main__":
    raise SystemExit(main())

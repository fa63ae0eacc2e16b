"""Ctrl-C in every stage of a run: real signals, what is kept, and the same result in the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import eznas.reporting
from eznas.cli import main, running
from eznas.runs import RunFolder
from tests.eznas.tiny import evolve, options, result

STAGES = [
    ("eznas.study.run.capture_stores", "no generation was finished"),
    ("eznas.evolution.search.Search._nsga2_generation", "no generation was finished"),
    ("eznas.evolution.search.Search._survivors", "everything up to generation 0 is saved"),
    ("eznas.study.measure.fitness_on_selection", "everything up to generation 2 is saved"),
    ("eznas.study.measure.simplify", "everything up to generation 2 is saved"),
    ("eznas.study.measure._entries", "everything up to generation 2 is saved"),
    ("write_report", "all is measured and saved, and the report is left to write"),
]


def interrupted(*_: Any, **__: Any) -> None:
    """Work that Ctrl-C meets, and that would never end."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(600)


def after(n_calls: int, work: Callable[..., Any]) -> Callable[..., Any]:
    """Work that is interrupted after so many calls."""
    calls: list[int] = []

    def called(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        return work(*arguments, **options) if len(calls) <= n_calls else interrupted()

    return called


@pytest.mark.usefixtures("embedded_data", "no_report")
def test_a_run_interrupted_in_every_stage_ends_as_an_undisturbed_one(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(running, "GRACE_SECONDS", 0.05)
    before = signal.getsignal(signal.SIGINT)
    run = tmp_path / "a run"
    for number, (place, kept) in enumerate(STAGES):
        with pytest.MonkeyPatch.context() as patch:
            if place == "write_report":
                patch.setitem(vars(eznas.reporting), place, interrupted)
            elif place.endswith("_survivors"):
                from eznas.evolution.search import Search

                patch.setattr(place, after(1, Search._survivors))
            else:
                patch.setattr(place, interrupted)
            status = evolve(run) if number == 0 else main(["resume", str(run), "--quiet"])
        assert status == 130, place
        shown = capsys.readouterr()
        assert shown.out == ""
        assert f"Stopped; {kept}" in shown.err, place
        assert shown.err.endswith(f"Go on with: eznas resume '{run}'\n")
        assert signal.getsignal(signal.SIGINT) == before
    assert main(["resume", str(run), "--quiet"]) == 0
    assert result(run) == result(tiny_run)


def test_a_run_that_has_not_begun_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(running, "GRACE_SECONDS", 0.05)
    monkeypatch.setattr("eznas.study.run.prepare", interrupted)
    assert evolve(tmp_path / "run") == 130
    assert capsys.readouterr().err.splitlines()[-1].startswith("Interrupted before the run began")
    assert not (tmp_path / "run").exists()


def test_an_interrupt_that_is_dropped_comes_again_and_what_is_being_closed_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(running, "GRACE_SECONDS", 0.02)
    monkeypatch.setattr(running, "AGAIN_SECONDS", 0.05)
    happened: list[str] = []

    def work() -> None:
        try:
            try:
                interrupted()
            except KeyboardInterrupt:
                happened.append("dropped")
            time.sleep(600)
        finally:
            time.sleep(0.2)  # three more attempts
            happened.append("closed")

    with pytest.raises(KeyboardInterrupt), running.graceful_stop():
        work()
    assert happened == ["dropped", "closed"]


@pytest.mark.parametrize(
    ("command", "place", "said"),
    [
        (["score", "mac_count", "--networks", "nb201:3", "-o", "FILE"], "eznas.study.score.networks_of",
         "what is scored is in FILE, and the same command goes on with it."),
        (["score", "mac_count", "--networks", "nb201:3"], "eznas.study.score.networks_of", "nothing was written"),
        (["assess", "mac_count", "--benchmark", "nb201"], "eznas.study.assess.load_benchmark", "nothing was written"),
        (["nas", "random"], "eznas.study.search.load_benchmark", "nothing was written"),
        (["bank", "build"], "eznas.study.bank.prepare", "every finished block is kept, and the same command goes on."),
        (["front", "RUN"], "eznas.reporting.front_table", "the same command begins anew."),
    ],
)  # fmt: skip
def test_every_command_says_what_an_interrupt_leaves(
    tiny_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    place: str,
    said: str,
) -> None:
    names = {"FILE": str(tmp_path / "scores.csv"), "RUN": str(tiny_run)}

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupt)
    assert main([names.get(word, word) for word in command]) == 130
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[-1].startswith(f"Interrupted; {said.replace('FILE', names['FILE'])}")


ENDLESS = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
from eznas.evolution.search import Search
def endless(*_):
    print("now", flush=True)
    while True:
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            pass  # work that heeds nothing
Search._nsga2_generation = endless
from eznas.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_second_interrupt_ends_the_process_at_once(tmp_path: Path, cache: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-c", ENDLESS, "evolve", "--run-dir", str(run), *options()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "EZNAS_CACHE": str(cache)}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    environment.pop("EZNAS_DATA", None)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        assert process.stdout.readline() == "now\n"
        process.send_signal(signal.SIGINT)
        lines = iter(process.stderr.readline, "")
        assert any(line.startswith("Stopping within seconds; once more ends at once.") for line in lines)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert said.endswith("Ended; what was saved before is kept.\n")
    with RunFolder.open(run).writing():
        pass  # the lock is free

"""Deadlines that hold, workers that fail, and candidates that must be certified."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from eznas.errors import WorkerError
from eznas.programs import Program, parse
from eznas.simplification import Outcome, certify, simplify
from eznas.simplification.simplification import _Child
from eznas.simplification.worker import answer

STUBBORN = (sys.executable, str(Path(__file__).with_name("stubborn_worker.py")))
DOUBLE_NEGATION = parse("(negate (negate parameter_count))")
ENDLESS = parse("(add mac_count parameter_count)")


def test_simplifies_in_order_and_tells_the_outcome() -> None:
    programs = [
        DOUBLE_NEGATION,
        parse("(mean_layers (mean (log (exp weight))))"),
        parse("(mean_layers (mean (add weight (add weight weight))))"),
    ]
    found = simplify(programs, seconds_per_program=60)
    assert [f.program for f in found] == programs
    assert [f.outcome for f in found] == ["simplified", "unchanged", "not expressible"]
    assert [f.candidate and f.candidate.text for f in found] == ["parameter_count", None, None]
    assert "cannot be said" in found[2].detail
    assert found[0].detail == ""


def is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def test_late_dead_and_lying_workers_cost_one_program_each(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    popen = subprocess.Popen

    def recorded(*args: object, **kwargs: object) -> subprocess.Popen[str]:
        process = popen(*args, **kwargs)  # type: ignore[call-overload]
        started.append(process.pid)
        return process  # type: ignore[no-any-return]

    monkeypatch.setattr(subprocess, "Popen", recorded)
    programs = [ENDLESS, DOUBLE_NEGATION, parse("(add unit_count 1.0)"), parse("(mean_layers (mean weight))")]
    found = simplify(programs, seconds_per_program=1.5, worker=STUBBORN)
    assert [f.outcome for f in found] == ["timed out", "simplified", "failed", "failed"]
    assert found[2].detail == "the worker died"
    assert "is not a smaller program of type Scalar@network" in found[3].detail
    assert [f.candidate is None for f in found] == [True, False, True, True]
    assert len(started) == 3
    assert not any(map(is_alive, started))


def test_bad_deadlines_and_no_programs_start_no_worker() -> None:
    with pytest.raises(ValueError, match="seconds_per_program must be positive, got 0"):
        simplify([DOUBLE_NEGATION], seconds_per_program=0)
    assert simplify([], worker=("/no/such/python",)) == []


def test_an_interrupt_leaves_no_worker_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []

    def interrupted(self: _Child, request: object, seconds: float) -> None:
        assert self._process is not None
        killed.append(self._process.pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(_Child, "ask", interrupted)
    command = (sys.executable, "-c", "import time; print('{}', flush=True); time.sleep(60)")
    with pytest.raises(KeyboardInterrupt):
        simplify([DOUBLE_NEGATION], worker=command)
    assert len(killed) == 1
    assert not is_alive(killed[0])


def test_a_worker_that_cannot_start_is_an_error_with_its_last_words() -> None:
    command = (sys.executable, "-c", "raise SystemExit('no such module')")
    with pytest.raises(WorkerError, match=r"did not start \(the worker died\); it said 'no such module'"):
        simplify([DOUBLE_NEGATION], worker=command)
    with pytest.raises(WorkerError, match=r"did not start .*No such file"):
        simplify([DOUBLE_NEGATION], worker=("/no/such/python",))


@pytest.mark.parametrize(
    "error", [RecursionError("deep"), MemoryError("much"), TypeError("odd"), ZeroDivisionError("0")]
)
def test_what_sympy_raises_is_an_answer(error: Exception) -> None:
    def fails(program: Program) -> object:
        raise error

    reply = answer({"program": {"leaf": "weight"}}, fails)  # type: ignore[arg-type]
    assert reply == {"outcome": "failed", "candidate": None, "detail": f"{type(error).__name__}: {error}"}


def test_a_request_that_is_no_program_is_an_answer() -> None:
    assert answer({"program": {"leaf": "wieght"}})["detail"].startswith("Unknown statistic 'wieght'")


def test_outcomes_are_their_texts() -> None:
    assert [str(outcome) for outcome in Outcome] == [
        "simplified", "unchanged", "not expressible", "timed out", "failed",
    ]  # fmt: skip
    assert isinstance(Outcome.TIMED_OUT, str)


def scores(**of: list[float]) -> Callable[[Program], NDArray[np.float64]]:
    return lambda program: np.array(of["original" if program == DOUBLE_NEGATION else "candidate"])


@pytest.mark.parametrize(
    ("original", "candidate", "accepted"),
    [
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], True),
        ([1.0, 2.0, 3.0], [1.0 + 1e-8, 2.0, 3.0 - 1e-8], True),
        ([1e-9, 2e-9, 3e-9], [1e-9, 2e-9, 3.1e-9], False),
        ([1.0, 2.0, math.nan], [1.0, 2.0, math.inf], True),
        ([1.0, 2.0, math.nan], [1.0, 2.0, 3.0], False),
        ([1.0, 2.0, 3.0], [1.0, 2.0, math.nan], False),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.00001], False),
        ([1.0, 1.0, 3.0], [1.0, 1.0 + 1e-8, 3.0], False),
        ([1.0, 1.0 + 1e-8, 3.0], [1.0 + 1e-8, 1.0, 3.0], False),
        ([1.0, 2.0, 3.0], [-1.0, -2.0, -3.0], False),
        ([0.0, 1.0], [1e-12, 1.0], False),
        ([0.0, -0.0], [0.0, 0.0], True),
        ([math.nan, math.inf], [math.nan, math.inf], False),
    ],
)
def test_certifies_only_equal_scores_equal_failures_and_equal_ranks(
    original: list[float], candidate: list[float], accepted: bool
) -> None:
    assert certify(DOUBLE_NEGATION, ENDLESS, scores(original=original, candidate=candidate)) is accepted


def test_certify_refuses_scores_of_different_networks() -> None:
    with pytest.raises(ValueError, match=r"score must give one number per network, got shapes \(2,\) and \(3,\)"):
        certify(DOUBLE_NEGATION, ENDLESS, scores(original=[1, 2], candidate=[1, 2, 3]))


def test_importing_the_folder_starts_no_algebra() -> None:
    code = "import sys, eznas.simplification; assert 'eznas.simplification.algebra' not in sys.modules"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=120)


def test_a_deadline_is_kept_by_the_real_worker() -> None:
    text = "(tanh (sigmoid (exp (divide (tanh mac_count) (exp (sigmoid (tanh parameter_count)))))))"
    for _ in range(3):
        text = f"(divide (sigmoid (multiply {text} (tanh unit_count))) (add unit_count (exp mac_count)))"
    (found,) = simplify([parse(text)], seconds_per_program=0.05)
    assert found.outcome == "timed out"
    assert found.candidate is None

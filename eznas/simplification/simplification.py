"""Simplification of many programs, each within a deadline that really holds.

SymPy has no deadline of its own and can run for hours on a formula of a few nodes, so the algebra runs in a child
process that is killed when its time is up and started anew for the next program.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from eznas.errors import ProgramError, WorkerError
from eznas.programs import Program, from_tree, to_tree

WORKER = (sys.executable, "-m", "eznas.simplification.worker")
SECONDS_TO_START = 120.0
"""A child that is not ready by then counts as broken; importing torch takes seconds, on a busy machine many."""
SECONDS_PER_PROGRAM = 20.0


class Outcome(enum.StrEnum):
    """What came of an attempt; equal to its text."""

    SIMPLIFIED = "simplified"
    UNCHANGED = "unchanged"
    NOT_EXPRESSIBLE = "not expressible"
    TIMED_OUT = "timed out"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Simplification:
    """One attempt.

    Attributes:
        program: the original.
        candidate: a strictly smaller program, equal by algebra, of the same type, over no other statistics and with
            words of the same primitive set; None unless the outcome is ``simplified``. `certify` it before use.
        outcome: ``not expressible`` if there is a shorter formula that the language cannot say.
        seconds: time it took.
        detail: the reason for ``not expressible`` and ``failed``, else empty.
    """

    program: Program
    candidate: Program | None
    outcome: Outcome
    seconds: float
    detail: str = ""


def simplify(
    programs: Sequence[Program],
    *,
    seconds_per_program: float = SECONDS_PER_PROGRAM,
    worker: Sequence[str] = WORKER,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Simplification]:
    """Try to make each program smaller, one after another, in a child process.

    Args:
        programs: the originals.
        seconds_per_program: deadline of each; past it the child is killed.
        worker: command of the child.
        progress: told the programs done and all of them.

    Returns:
        One result per program, in order.

    Raises:
        ValueError: if the deadline is not positive.
        WorkerError: if the child cannot be started.
    """
    if not seconds_per_program > 0:
        raise ValueError(f"seconds_per_program must be positive, got {seconds_per_program}")
    with _Child(worker) as child:
        found = []
        for program in programs:
            found.append(_attempt(child, program, seconds_per_program))
            progress(len(found), len(programs))
        return found


def _attempt(child: _Child, program: Program, seconds: float) -> Simplification:
    child.start()
    started = time.monotonic()
    candidate, detail = None, ""
    try:
        reply = child.ask({"program": to_tree(program), "seconds": seconds}, seconds)
        outcome = Outcome(reply["outcome"])
        detail = str(reply["detail"])
        if outcome is Outcome.SIMPLIFIED:
            candidate = _checked(from_tree(reply["candidate"]), program)
    except TimeoutError:
        outcome = Outcome.TIMED_OUT
    except (EOFError, KeyError, ValueError, ProgramError) as error:
        child.kill()
        outcome, detail = Outcome.FAILED, f"{error}"
    return Simplification(
        program=program,
        candidate=candidate,
        outcome=outcome,
        seconds=time.monotonic() - started,
        detail=detail,
    )


def _checked(candidate: Program, program: Program) -> Program:
    """The candidate, if it may stand for the program at all.

    Raises:
        ValueError: if it is not smaller, of another type, or reads other statistics.
    """
    if candidate.size >= program.size or candidate.type != program.type:
        raise ValueError(f"The candidate {candidate} is not a smaller program of type {program.type}")
    if not set(candidate.statistics) <= set(program.statistics):
        raise ValueError(f"The candidate {candidate} reads statistics that the program does not")
    return candidate


class _Child:
    """The process that does the algebra: started when needed, killed when late."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start the process unless it runs.

        Raises:
            WorkerError: if it does not say that it is ready.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self.kill()
        # The child finds the packages where this process does, and interrupts of the terminal do not reach it.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
            try:
                self._process = subprocess.Popen(
                    self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints,
                    encoding="utf-8", env=environment, start_new_session=True,
                )  # fmt: skip
                self._lines = queue.Queue()
                threading.Thread(target=_forward, args=(self._process, self._lines), daemon=True).start()
                self._next(SECONDS_TO_START)
            except (OSError, TimeoutError, EOFError, ValueError) as error:
                self.kill()
                complaints.seek(0)
                said = complaints.read().strip().splitlines()
                raise WorkerError(
                    f"The simplification worker {' '.join(self._command)!r} did not start ({error}); it said "
                    f"{said[-1] if said else 'nothing'!r}; try the command by hand"
                ) from None

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The reply to a request.

        Raises:
            TimeoutError: if there is none in time; the process is killed.
            EOFError: if the process died.
            ValueError: if the reply is not a JSON object.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise EOFError("the worker died") from None
        try:
            return self._next(seconds)
        except TimeoutError:
            self.kill()
            raise

    def _next(self, seconds: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError(f"no reply within {seconds} s") from None
        if not line:
            raise EOFError("the worker died")
        reply = json.loads(line)
        if not isinstance(reply, dict):
            raise ValueError(f"the worker replied {line[:80]!r}")
        return reply

    def kill(self) -> None:
        """End the process, whatever it is doing, and wait until it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # what was not sent is not missed
            process.stdin.close()


def _forward(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    """Lines of the child's output, then an empty one; runs in a thread of its own so that reading can time out."""
    assert process.stdout is not None
    with process.stdout, contextlib.suppress(OSError, ValueError):
        for line in process.stdout:
            lines.put(line)
    lines.put("")

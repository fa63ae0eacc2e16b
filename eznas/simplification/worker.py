"""The child process in which programs are simplified; it may be killed at any time.

Started as ``python -m eznas.simplification.worker``. It says ``{"ready": true}``, then answers each line of standard
input, a program in stored form, with one line: ``{"outcome": ..., "candidate": tree or null, "detail": ...}``.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

from eznas.errors import ProgramError
from eznas.programs import Program, from_tree, to_tree
from eznas.simplification.algebra import Rewriting, rewrite

GRACE = 10.0
"""Seconds past its deadline after which an orphan, whose parent can no longer kill it, ends itself."""
MAX_MEMORY = 8 * 2**30
"""Most bytes of address space; a formula that needs more fails alone."""

ALGEBRA_FAILURES = (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)
"""What SymPy is known to raise on formulas it cannot handle, deep recursion included."""


def answer(request: dict[str, Any], rewriting: Callable[[Program], Rewriting] = rewrite) -> dict[str, Any]:
    """The reply to one request; failures of the algebra are replies too, so that the next program is served."""
    try:
        program = from_tree(request["program"])
        found = rewriting(program)
    except ProgramError as error:
        return {"outcome": "failed", "candidate": None, "detail": str(error)}
    except ALGEBRA_FAILURES as error:
        return {"outcome": "failed", "candidate": None, "detail": f"{type(error).__name__}: {error}"[:200]}
    if found.program.size < program.size:
        return {"outcome": "simplified", "candidate": to_tree(found.program), "detail": ""}
    return {"outcome": "not expressible" if found.refused else "unchanged", "candidate": None, "detail": found.refused}


def serve(requests: IO[str], replies: IO[str], rewriting: Callable[[Program], Rewriting] = rewrite) -> None:
    """Answer requests until there are no more."""
    _say(replies, {"ready": True})
    for line in requests:
        request = json.loads(line)
        alarm = threading.Timer(request["seconds"] + GRACE, os._exit, (70,))
        alarm.daemon = True
        alarm.start()
        _say(replies, answer(request, rewriting))
        alarm.cancel()


def main(rewriting: Callable[[Program], Rewriting] = rewrite) -> int:
    """Serve standard input; whatever a library prints goes to standard error, away from the replies."""
    _limit_memory()
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, replies, rewriting)
    return 0


def _say(replies: IO[str], reply: dict[str, Any]) -> None:
    replies.write(json.dumps(reply) + "\n")
    replies.flush()


def _limit_memory() -> None:
    try:
        import resource  # absent on Windows, where the deadline is the only limit
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MAX_MEMORY if hard == resource.RLIM_INFINITY else min(MAX_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


if __name__ == "__main__":
    raise SystemExit(main())

"""Foreign code as a guest: modules, functions and networks that a user names, run in this process.

Importing and calling them runs them: name those you trust. A guest may do harmless things that would disturb its host:
print, where results of ours are read by a program, or move to another folder, where paths of ours are relative.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

_moved: list[str] = []
"""The folder that guests moved to, if they did: they find themselves there again."""


@contextlib.contextmanager
def guest() -> Iterator[None]:
    """Foreign code inside: what it prints goes to stderr, and a folder that it moves to is its own, not ours."""
    ours = _here()
    with contextlib.redirect_stdout(sys.stderr):
        if _moved:
            with contextlib.suppress(OSError):  # gone meanwhile
                os.chdir(_moved[0])
        try:
            yield
        finally:
            theirs = _here()
            _moved[:] = [theirs] if theirs is not None and theirs != ours else []
            if ours is not None and theirs != ours:
                os.chdir(ours)


def _here() -> str | None:
    """The working folder; None if it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return None

"""States for tests of pools; in a module of their own, because a worker imports them by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from eznas.errors import ProgramError


class Unportable(Exception):
    """Cannot be unpickled: its constructor wants more than its message."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what} {why}")


class State:
    """Knows its name, and how to go wrong in several ways."""

    def __init__(self, name: str) -> None:
        if name == "unbuildable":
            raise ProgramError("This state cannot be built; give it another name")
        if name == "slow":
            time.sleep(1.0)
        self.name, self.n_calls = name, 0

    def whoami(self, greeting: str) -> str:
        self.n_calls += 1
        return f"{greeting}, {self.name}"

    def calls(self) -> int:
        return self.n_calls

    def square(self, x: int, seconds: float = 0.0) -> int:
        time.sleep(seconds)
        return x * x

    def fail(self) -> None:
        raise ProgramError(f"Worker {self.name} was given an impossible program; use another")

    def stumble(self) -> float:
        return 1 / 0

    def stumble_unportably(self) -> None:
        raise Unportable("no", "way")

    def die_once(self, x: int, folder: str) -> int:
        """Kills its process when it is first asked about 2."""
        flag = Path(folder) / "died"
        if x == 2 and not flag.exists():
            flag.touch()
            os._exit(1)
        return x * x

    def die(self) -> None:
        os._exit(1)

    def process(self) -> int:
        return os.getpid()

    def fare(self, fate: str, folder: str = "") -> str:
        """Dies of one thing or another, or lives."""
        if folder:
            (Path(folder) / str(os.getpid())).touch()
        if fate == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if fate == "out of memory":
            raise MemoryError
        while fate == "endless":
            pass
        return fate

    def length(self, items: list[str]) -> int:
        return len(items)

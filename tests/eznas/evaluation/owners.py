"""Owners of shards that do not live long; in a module of their own, because a worker imports them by name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eznas.evaluation.evaluator import ShardOwner

DEADLY = "(tanh mac_count)"
"""Kills the process of a `Mortal` that is to evaluate it."""
ENDLESS = "(sign mac_count)"
"""Keeps a `Mortal` busy for ever."""


class Mortal(ShardOwner):
    """Falls for some programs; leaves the number of its process, and what it was asked, in a folder."""

    def __init__(self, folder: Path, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._folder = folder
        (folder / str(os.getpid())).touch()

    def evaluate(self, programs: Sequence[str]) -> np.ndarray:
        with (self._folder / f"{os.getpid()}").open("a") as file:
            file.writelines(f"{program}\n" for program in programs)
        if DEADLY in programs:
            os.kill(os.getpid(), signal.SIGKILL)
        while ENDLESS in programs:
            time.sleep(1)
        return super().evaluate(programs)

    def explain(self, failures: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
        assert not {DEADLY, ENDLESS} & {program for program, _ in failures}
        return super().explain(failures)


class Clumsy(ShardOwner):
    """Is killed over the first evaluation of all, whatever the programs."""

    def __init__(self, folder: Path, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._folder = folder

    def evaluate(self, programs: Sequence[str]) -> np.ndarray:
        try:
            (self._folder / "fell").touch(exist_ok=False)
        except FileExistsError:
            return super().evaluate(programs)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("not reached")


class Patient(ShardOwner):
    """Says where it works, and waits until it may go on."""

    def __init__(self, folder: Path, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._folder = folder

    def evaluate(self, programs: Sequence[str]) -> np.ndarray:
        import ray

        (self._folder / f"{ray.get_runtime_context().get_node_id()}-{os.getpid()}").touch()
        while not (self._folder / "go").exists():
            time.sleep(0.05)
        return super().evaluate(programs)

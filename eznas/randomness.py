"""Named random streams: one seed, one purpose, one generator, equal on every machine and worker.

No code in this project draws from a global generator. Whoever needs randomness asks for a stream by the name of what
it is for, so that adding a draw in one place never shifts the draws of another, and a resumed run continues exactly.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch


def _sequence(seed: int, purpose: tuple[str | int, ...]) -> np.random.SeedSequence:
    key = [zlib.crc32(str(part).encode()) for part in purpose]
    return np.random.SeedSequence(seed, spawn_key=key)


def stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """An independent numpy generator for one named purpose, for example ``stream(7, "variation", generation)``."""
    return np.random.default_rng(_sequence(seed, purpose))


def derived_seed(seed: int, *purpose: str | int) -> int:
    """An integer in ``[0, 2**63)`` for libraries that take only a seed."""
    return int(_sequence(seed, purpose).generate_state(1, np.uint64)[0] >> np.uint64(1))


def torch_stream(seed: int, *purpose: str | int) -> torch.Generator:
    """An independent torch generator on the CPU for one named purpose."""
    return torch.Generator().manual_seed(derived_seed(seed, *purpose))

"""A worker keeps to its memory budget, whatever the size of the store, and the budget changes no score."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from eznas.evaluation.evaluator import _how_many_stay

EVALUATE = """
import re, sys
from pathlib import Path
import numpy as np, torch
from eznas.conditions import Conditions
from eznas.spaces import nb201
from eznas.evaluation import PopulationEvaluator
from eznas.evolution import Grammar, Variation
from eznas.randomness import stream
from eznas.statistics import StoreKey, ensure_store
from eznas.workers import LocalPool
from primitives import EXTENDED

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

torch.set_num_threads(1)
images = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
conditions = Conditions(settings=nb201.Settings()).given(images, torch.arange(8))
cells = tuple(nb201.from_index(index) for index in range(0, 15625, 620))
folder, budget, out = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
store, captured = ensure_store(folder, StoreKey(conditions=conditions, architectures=cells), networks_per_shard=1)
if captured:
    sys.exit()
programs = [o.program for o in Variation(Grammar(EXTENDED, max_size=15, max_height=6)).initial(60, stream(1))]
evaluator = PopulationEvaluator(LocalPool(), [store], memory_bytes=budget)
evaluator.evaluate(programs[:1])  # what torch allocates once
Path("/proc/self/clear_refs").write_text("5")
idle = int(re.search(r"VmRSS:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
scores = [evaluator.evaluate(programs).scores for _ in range(2)]
np.save(out, np.stack(scores))
print(peak() - idle, store.nbytes)
"""


@pytest.mark.parametrize(
    ("sizes", "room", "expected"),
    [
        ([5, 5, 5], 15, 3),
        ([5, 5, 5], 14, 1),
        ([5, 5, 5], 9, 0),
        ([5, 1, 1], 6, 1),
        ([1, 9], 9, 0),
        ([], 5, 0),
        ([3], 2, 0),
    ],
)
def test_shards_stay_open_beside_any_one_that_does_not(sizes: list[int], room: int, expected: int) -> None:
    assert _how_many_stay(sizes, room) == expected


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="this system does not tell a process its peak")
def test_evaluation_stays_within_the_memory_budget(tmp_path: Path) -> None:
    """For a store four times the budget: what one process takes beyond what it took before the first population."""

    def run(budget: int, name: str) -> list[int]:
        command = [sys.executable, "-c", EVALUATE, str(tmp_path), str(budget), str(tmp_path / name)]
        done = subprocess.run(command, cwd=Path.cwd(), capture_output=True, text=True, timeout=240, check=True)
        return [int(number) for number in done.stdout.split()]

    budget = 80 * 2**20
    run(budget, "unused.npy")  # captures
    taken, n_bytes = run(budget, "bounded.npy")
    assert n_bytes > 4 * budget
    assert taken < 1.25 * budget
    generous, _ = run(2**32, "generous.npy")
    assert generous > 2 * budget, (generous, taken)
    np.testing.assert_array_equal(np.load(tmp_path / "bounded.npy"), np.load(tmp_path / "generous.npy"))

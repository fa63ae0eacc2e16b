"""The shared evaluation on a CUDA device beside the CPU, with statistics in single and in half precision.

Writes ``runs/bench/bench_gpu.json``, a list of ``{id, value, unit, note}``; without a CUDA device it says so and writes
nothing.
"""

from __future__ import annotations

import json
import statistics
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from benchmark import half, ways
from benchmark.figures import Row, row
from benchmark.ways import Population
from benchmark.workload import (
    Settings,
    Workload,
    make_workload,
    random_start,
    run_config,
    target_folder,
    use_embedded_data,
)

from eznas.statistics import Shard
from eznas.tables import render_table

HERE = Path(__file__).parent


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not torch.cuda.is_available():
        print(
            "There is no CUDA device here; with one, this measures the random first generation over the small store on "
            "it against one CPU core, with statistics in single and in half precision, and what that does to scores."
        )
        return 0
    settings = tomllib.loads(Path(arguments[0] if arguments else HERE / "bench.toml").read_text(encoding="utf-8"))
    torch.set_num_threads(1)
    use_embedded_data()
    rows = compare_devices(make_workload(run_config(settings, **settings["S"])), settings, "cuda")
    (target_folder() / "bench_gpu.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(render_table(rows, "table", width=150), end="")
    return 0


def compare_devices(workload: Workload, settings: Settings, device: str) -> list[Row]:
    """Rows of the comparison of a device with one CPU core."""
    population = random_start(workload.problem.config, settings["population_size"])
    repeats = settings["repeats"]
    moved = ways.shards_of(workload.folder, device)
    on_cpu, expected = _evaluated(ways.shards_of(workload.folder), population, ways.TILE_BYTES, repeats)
    rows = []
    for name, shards in (("single", moved), ("half", [half.halved(shard, torch.float16) for shard in moved])):
        seconds, scores = _evaluated(shards, population, None, repeats)
        effect = half.compare(expected, scores, workload.accuracies)
        note = f"S, generation 0, {name}-precision statistics, {device} against one CPU core, by the clock"
        rows += [
            row(f"gpu_{name}", on_cpu / seconds, "times", f"{note}: {seconds:.3g} s against {on_cpu:.3g} s"),
            row(f"gpu_{name}_rho", float(np.median(effect.rho)), "Spearman",
                f"{note}: median over programs, least {effect.rho.min():.3f}; {effect.newly_failed} newly fail"),
            row(f"gpu_{name}_moved", effect.moved, "share",
                f"{note}: programs whose tau moves by more than {half.MOVED}"),
        ]  # fmt: skip
    return rows


def _evaluated(
    shards: Sequence[Shard], population: Population, tile_bytes: int | None, repeats: int
) -> tuple[float, np.ndarray]:
    """Median seconds by the clock after a first run that is not timed, and the scores."""
    runs = [ways.stopwatch(lambda: half.scores_over(shards, population, tile_bytes)) for _ in range(repeats + 1)]
    return statistics.median(clock for _, clock, _ in runs[1:]), runs[0][2]


if __name__ == "__main__":
    raise SystemExit(main())

"""The bench from its settings to its table: workloads, figures, files."""

from __future__ import annotations

import json
import os
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from benchmark import plots
from benchmark.figures import FIGURES, Bench, Row, two_workers
from benchmark.workload import (
    Settings,
    evolve_populations,
    large_trees,
    make_workload,
    run_config,
    target_folder,
    use_embedded_data,
)
from eznas.tables import render_table
from eznas.workers import Pool, open_pool

DEFAULT = Path(__file__).parents[1] / "bench.toml"
T = TypeVar("T")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    settings = tomllib.loads(Path(arguments[0] if arguments else DEFAULT).read_text(encoding="utf-8"))
    os.environ.update(ONE_THREAD)
    torch.set_num_threads(1)
    use_embedded_data()
    pool = open_pool(settings["workers"])
    try:
        bench = _told("workloads", lambda: make_bench(settings, pool))
        rows = _told("two_workers", lambda: two_workers(bench, pool))
    finally:
        pool.close()
    for figure in FIGURES:
        _write_rows(rows)
        rows += _told(figure.__name__, partial(figure, bench))
    _write_rows(rows)
    _plot(bench, rows)
    _print(rows)
    return 0


def make_bench(settings: Settings, pool: Pool) -> Bench:
    """Networks and programs to measure on."""
    small = make_workload(run_config(settings, **settings["S"]))
    large = make_workload(run_config(settings, **settings["L"]))
    trees = settings["trees"]
    return Bench(
        settings=settings,
        small=small,
        large=large,
        generations=evolve_populations(small, pool),
        trees=large_trees(
            small.problem.config, trees["n"], max_size=trees["max_size"], heights=tuple(trees["heights"])
        ),
    )


def _told(name: str, work: Callable[[], T]) -> T:
    start = time.perf_counter()
    result = work()
    print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return result


def _write_rows(rows: list[Row]) -> None:
    (target_folder() / "bench.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _plot(bench: Bench, rows: list[Row]) -> None:
    folder = target_folder()
    plots.plot_growth(bench.growth, rows, folder / "growth.svg")
    plots.plot_rates(rows, folder / "rates.svg")
    plots.plot_memory(bench.memory, bench.settings["memory_mib"], folder / "memory.svg")
    plots.plot_profile(bench.profile, bench.profiled_seconds, folder / "profile.svg")


def _print(rows: list[Row]) -> None:
    is_profile = [row["id"].startswith("profile_") for row in rows]
    print(render_table([row for row, hidden in zip(rows, is_profile, strict=True) if not hidden], "table", width=150))
    print("Operators by processor seconds:\n")
    print(render_table([row for row, shown in zip(rows, is_profile, strict=True) if shown], "table", width=150), end="")

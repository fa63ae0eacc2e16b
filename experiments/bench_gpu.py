"""Capture, scoring and the shared evaluation on a CUDA device beside the CPU, the latter also in half precision.

The card, its driver and the versions of CUDA and PyTorch are printed first and stand in every note.

Writes ``runs/bench/bench_gpu.json``, a list of ``{id, value, unit, note}``; without a CUDA device it says so and writes
nothing.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
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

from eznas.estimators import by_name
from eznas.scoring import score_networks
from eznas.statistics import Shard, ensure_store
from eznas.tables import render_table
from eznas.workers import LocalPool

HERE = Path(__file__).parent
ESTIMATORS = ("naswot", "snip", "synflow", "zen")
"""Scored on both."""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not torch.cuda.is_available():
        print(
            "There is no CUDA device here; with one, this measures capture, published estimators and the random first "
            "generation over the small store on it against one CPU core, the latter with statistics in single and in "
            "half precision, and what that does to scores."
        )
        return 0
    settings = tomllib.loads(Path(arguments[0] if arguments else HERE / "bench.toml").read_text(encoding="utf-8"))
    torch.set_num_threads(1)
    use_embedded_data()
    workload = make_workload(run_config(settings, **settings["S"]))
    card = card_named("cuda")
    print(card)
    found = [*compare_work(workload, settings, "cuda"), *compare_devices(workload, settings, "cuda")]
    rows = [{**one, "note": f"{one['note']}; {card}"} for one in found]
    (target_folder() / "bench_gpu.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(render_table(rows, "table", width=150), end="")
    return 0


def card_named(device: str) -> str:
    """A device in words: the card, its driver, CUDA and PyTorch."""
    if device != "cuda":
        return f"{device}, PyTorch {torch.__version__}"
    try:
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout
        driver = said.split("\n")[0].strip()
    except (OSError, subprocess.SubprocessError):
        driver = "unknown"
    name = torch.cuda.get_device_name()
    return f"{name}, driver {driver}, CUDA {torch.version.cuda}, PyTorch {torch.__version__}"


def compare_work(workload: Workload, settings: Settings, device: str) -> list[Row]:
    """Rows of captures and of published estimators on a device, against one CPU core, by the clock."""
    (family,) = workload.problem.families
    networks = family.parts.evolve[: settings["capture_networks"]]
    estimators = [by_name(name) for name in ESTIMATORS]
    conditions = family.conditions.drawn()

    def captured(place: str) -> np.ndarray:
        key = replace(workload.problem.store_keys(place)[0], architectures=networks)
        with tempfile.TemporaryDirectory(prefix="eznas-bench-") as root:
            store, _ = ensure_store(Path(root), key)
            return np.array([store.nbytes])

    def scored(place: str) -> np.ndarray:
        return score_networks(estimators, networks, conditions, LocalPool(), device=place).scores

    rows = []
    for name, work in (("capture", captured), ("score", scored)):
        clocks = {}
        for place in ("cpu", device):
            runs = [ways.stopwatch(partial(work, place)) for _ in range(settings["repeats"] + 1)]
            clocks[place] = statistics.median(clock for _, clock, _ in runs[1:]), runs[0][2]
        (on_cpu, expected), (there, found) = clocks["cpu"], clocks[device]
        what = "captured and stored" if name == "capture" else ", ".join(ESTIMATORS)
        note = f"{len(networks)} networks of S, {what}, {device} against one CPU core, by the clock"
        rows.append(row(f"gpu_{name}", on_cpu / there, "times", f"{note}: {there:.3g} s against {on_cpu:.3g} s"))
        if name == "score":
            apart = np.abs(found - expected) / np.maximum(np.abs(expected), 1e-12)
            rows.append(row("gpu_score_apart", float(np.nanmax(apart)), "share", f"{note}: largest difference"))
    return rows


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

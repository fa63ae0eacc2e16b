"""Every published estimator, and any other proxies, on every benchmark at hand: which holds where?

Draws networks of each benchmark, scores them as ``eznas score`` does, and measures tau with the accuracies that the
benchmark reports on. Goes on where it stopped, benchmark by benchmark and network by network: the scores stay in
``runs/every-space``.

    python experiments/every_space.py [PROXY ...] [--n N] [--benchmarks NAME,...] [--without NAME,...] [--into FILE]
    python experiments/every_space.py RUN:best --only --outside RUN     of networks that chose nothing in the run
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from eznas.assessment import measure_many
from eznas.benchmarks import BENCHMARKS, Benchmark, Part, load_benchmark, reporting_split
from eznas.digests import content_digest
from eznas.errors import BenchmarkError, EznasError
from eznas.estimators import PUBLISHED
from eznas.fitness import Labels
from eznas.progress import make_observer
from eznas.randomness import stream
from eznas.runs.config import load_config
from eznas.spaces import Architecture, families
from eznas.spaces.families.description import description_of
from eznas.study import Machine, prepare
from eznas.study.score import score_into_file
from eznas.tables import render_table

SEED: Final = 0
FOLDER: Final = Path("runs/every-space")
SIZES: Final = ("parameter_count", "mac_count")
"""Proxies that every table has first."""
N_RESAMPLES: Final = 1000


def published() -> tuple[str, ...]:
    """Every published estimator, the sizes first."""
    return tuple(dict.fromkeys((*SIZES, *(estimator.name for estimator in PUBLISHED))))


def networks_of(
    benchmark: Benchmark, n: int, left_out: Collection[Architecture] = frozenset()
) -> tuple[Architecture, ...]:
    """At most `n` networks of a benchmark, drawn uniformly; of 500 and 300 the first 300 are the same."""
    order = stream(SEED, "every space", benchmark.name).permutation(len(benchmark.architectures))
    found = (benchmark.architectures[int(i)] for i in order)
    return tuple(islice((arch for arch in found if arch not in left_out), n))


def choosing_networks(runs: Sequence[Path]) -> frozenset[Architecture]:
    """Networks that programs of some runs evolved or were chosen on.

    Raises:
        EznasError: if the settings of one cannot be read.
    """
    families = [family for run in runs for family in prepare(load_config(run / "config.toml")).families]
    parts: tuple[Part, ...] = ("evolve", "select")
    return frozenset(arch for family in families for part in parts for arch in family.networks(part))


def shapes_of(networks: Sequence[Architecture]) -> dict[str, np.ndarray]:
    """(n,) depth and width of networks of the grammar: blocks in all, and mean channels of a block."""
    found: dict[str, list[float]] = {"depth": [], "width": []}
    for arch in networks:
        depths, widths = (description_of(arch).numbers(name) for name in ("depth", "width"))
        found["depth"].append(sum(depths))
        found["width"].append(sum(d * w for d, w in zip(depths, widths, strict=True)) / sum(depths))
    return {name: np.array(values) for name, values in found.items()}


def measured(
    benchmark: Benchmark, scores: Mapping[str, np.ndarray], networks: Sequence[Architecture]
) -> dict[str, Any]:  # fmt: skip
    """The criteria of each proxy on one benchmark; of several data sets the first."""
    dataset = benchmark.datasets[0]
    split = reporting_split(benchmark, (dataset,))
    labels = Labels(dataset, benchmark.accuracies(networks, dataset, split), np.arange(len(networks)))
    found = measure_many(
        np.stack([*scores.values()]), labels, directions=[1] * len(scores), rng=stream(SEED, "bootstrap"),
        n_resamples=N_RESAMPLES,
    )  # fmt: skip
    rows = {}
    for name, one in zip(scores, found, strict=True):
        tau = None if one.tau is None else [one.tau.value, one.tau.low, one.tau.high]
        rows[name] = {"tau": tau and [v and round(v, 4) for v in tau], "n_failed": one.n_failed}
    return {
        "n": len(networks), "dataset": dataset, "split": split.value, "epochs": benchmark.full_training,
        "proxies": rows,
    }  # fmt: skip


def read_scores(path: Path, names: Sequence[str], networks: Sequence[Architecture]) -> dict[str, np.ndarray]:
    """(n,) scores of each proxy, NaN where it failed."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = {row["network"]: row for row in csv.DictReader(file)}
    return {name: np.array([float(rows[arch.spec][name] or "nan") for arch in networks]) for name in names}


def on_benchmark(
    name: str, proxies: Sequence[str], n: int, workers: int, left_out: Collection[Architecture] = frozenset()
) -> dict[str, Any]:
    """Score what is not scored yet, and measure."""
    benchmark = load_benchmark(name)
    networks = networks_of(benchmark, n, left_out)
    FOLDER.mkdir(parents=True, exist_ok=True)
    part = "-" + content_digest(sorted(map(str, left_out)))[:12] if left_out else ""
    listed = FOLDER / f"{name}{part}.txt"
    listed.write_text("".join(f"{arch.space}:{arch.spec}\n" for arch in networks))
    columns: dict[str, np.ndarray] = {}
    with make_observer(quiet=False) as observer:
        for wanted in ([p for p in proxies if p in published()], *([p] for p in proxies if p not in published())):
            if not wanted:
                continue
            path = FOLDER / f"{name}{part}-{content_digest(wanted)[:12]}.csv"
            score_into_file(path, wanted, f"@{listed}", machine=Machine(workers=workers), observer=observer)
            with path.open(newline="", encoding="utf-8") as file:
                header = next(csv.reader(file))
            columns |= read_scores(path, header[3:-2], networks)
    if benchmark.space == families.NAME:
        columns |= shapes_of(networks)
    return measured(benchmark, columns, networks)


def table(found: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each proxy, a column for each benchmark, and the worst and the mean over them."""
    names = dict.fromkeys(name for one in found.values() for name in one["proxies"])
    rows = []
    for name in names:
        taus = {bench: (one["proxies"].get(name) or {}).get("tau") for bench, one in found.items()}
        known = [tau[0] for tau in taus.values() if tau]
        rows.append({
            "proxy": name,
            "worst": f"{min(known):.2f}" if len(known) == len(found) else "",
            "mean": f"{np.mean(known):.2f}" if known else "",
            **{bench.removeprefix("net_"): f"{tau[0]:.2f}" if tau else "" for bench, tau in taus.items()},
        })  # fmt: skip
    return sorted(rows, key=lambda row: -float(row["mean"] or -2))


def rows_of(found: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each benchmark and proxy, with the interval."""
    return [
        {
            "benchmark": name, "proxy": proxy, "n": one["n"], "dataset": one["dataset"], "split": one["split"],
            "epochs": one["epochs"] or "", **dict(zip(("tau", "low", "high"), of["tau"] or [""] * 3, strict=True)),
            "n_failed": of["n_failed"],
        }
        for name, one in found.items()
        for proxy, of in one["proxies"].items()
    ]  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Print the table; the exit status is 1 if there is nothing to measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("proxies", nargs="*", help="beside the published ones: RUN:ID, files, formulas, gallery:NAME")
    parser.add_argument("--n", type=int, default=300, help="networks of each benchmark at most (default 300)")
    parser.add_argument("--benchmarks", default="", help="names with commas; all that are found without it")
    parser.add_argument("--without", default="", help="published ones that are left out, with commas")
    parser.add_argument("--only", action="store_true", help="no other published ones than the sizes and naswot")
    parser.add_argument("--outside", type=Path, nargs="*", default=[], help="runs whose choosing networks are left out")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--into", type=Path, help="file of the figures with intervals: JSON, or .csv")
    given = parser.parse_args(arguments)
    known = (*SIZES, "naswot") if given.only else published()
    proxies = [*(name for name in known if name not in given.without.split(",")), *given.proxies]
    found: dict[str, dict[str, Any]] = {}
    try:
        left_out = choosing_networks(given.outside)
        for name in given.benchmarks.split(",") if given.benchmarks else BENCHMARKS:
            try:
                found[name] = on_benchmark(name, proxies, given.n, given.workers, left_out)
            except BenchmarkError as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
    except EznasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not found:
        print("error: no benchmark is at hand; eznas data status says which there are", file=sys.stderr)
        return 1
    if given.into is not None:
        as_table = given.into.suffix == ".csv"
        lines = (f" {json.dumps(name)}: {json.dumps(one)}" for name, one in found.items())
        given.into.write_text(
            render_table(rows_of(found), "csv") if as_table else "{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8"
        )
    print(render_table(table(found), "table", width=250), end="")
    on = "; ".join(f"{name}: {one['n']} networks, {one['dataset']} {one['split']}" for name, one in found.items())
    print(f"Kendall's tau-b. {on}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

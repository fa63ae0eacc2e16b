"""EZNAS-A (both readings) and NASWOT on NAS-Bench-201's own networks, beside the published figures.

Scores are appended to ``runs/validate-nb201/scores.csv`` chunk by chunk, so a killed run continues where it was.
"""

from __future__ import annotations

import csv
import json
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eznas.assessment import measure
from eznas.benchmarks import Split, load_nb201
from eznas.conditions import Conditions, image_batch
from eznas.errors import EznasError
from eznas.fitness import Labels
from eznas.proxies import published_proxy
from eznas.randomness import stream
from eznas.scoring import score_networks
from eznas.spaces import Architecture, nb201
from eznas.study import single_threaded
from eznas.tables import render_table
from eznas.workers import Pool, open_pool

HERE = Path(__file__).parent
CHUNK = 16


def conditions(settings: dict[str, Any], seed: int) -> Conditions:
    """The benchmark's own networks on CIFAR-10 images of full size."""
    rng = stream(seed, "validate", "images")
    images, targets = image_batch("cifar10", batch_size=settings["batch_size"], input_size=32, rng=rng)
    full = nb201.FULL.model_copy(update={"scheme": settings["scheme"]})
    return Conditions(settings=full, seed=seed).given(images, targets)


def score_all(config: dict[str, Any], cells: Sequence[Architecture], path: Path, workers: int) -> dict[str, np.ndarray]:
    """Scores by proxy, from the file as far as it goes, the rest computed and appended."""
    groups = {name: config[name] for name in ("eznas_a", "naswot")}
    columns = [proxy for group in groups.values() for proxy in group["proxies"]]
    path.parent.mkdir(parents=True, exist_ok=True)
    done = _read(path, columns)
    pool = open_pool(workers)
    try:
        with single_threaded(), path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            if not done:
                writer.writerow(["index", *columns])
            todo = [cell for cell in cells if nb201.index_of(cell) not in done]
            for start in range(0, len(todo), CHUNK):
                chunk = todo[start : start + CHUNK]
                rows = np.concatenate([_score(group, chunk, config["seed"], pool) for group in groups.values()])
                for cell, values in zip(chunk, rows.T, strict=True):
                    index = nb201.index_of(cell)
                    done[index] = values
                    writer.writerow([index, *(f"{v:.9g}" if np.isfinite(v) else "" for v in values)])
                file.flush()
                print(f"{len(done)}/{len(cells)} networks", file=sys.stderr, flush=True)
    finally:
        pool.close()
    table = np.array([done[nb201.index_of(cell)] for cell in cells])
    return {name: table[:, column] for column, name in enumerate(columns)}


def _score(group: dict[str, Any], chunk: Sequence[Architecture], seed: int, pool: Pool) -> np.ndarray:
    proxies = [published_proxy(name) for name in group["proxies"]]
    return score_networks(proxies, chunk, conditions(group, seed), pool).scores


def _read(path: Path, columns: Sequence[str]) -> dict[int, np.ndarray]:
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get(columns[-1]) is not None]
    return {int(row["index"]): np.array([float(row[c]) if row[c] else np.nan for c in columns]) for row in rows}


def compare(
    scores: dict[str, np.ndarray], cells: Sequence[Architecture], config: dict[str, Any]
) -> list[dict[str, Any]]:
    """One row per proxy and label: what was measured beside what was published."""
    expected = tomllib.loads((HERE / "expected" / "validate_nb201.toml").read_text(encoding="utf-8"))
    benchmark = load_nb201()
    rows = []
    for split in (Split.TEST, Split.VALIDATION):
        accuracies = benchmark.accuracies(cells, "cifar10", split, 200)
        for name, values in scores.items():
            failed = ~np.isfinite(values)
            for protocol, keep in (("all", np.ones(len(values), bool)), ("accuracy > 15", (accuracies > 15) & ~failed)):
                labels = Labels(f"cifar10, {protocol}", accuracies[keep], np.flatnonzero(keep))
                rng = stream(config["seed"], "bootstrap", name, split.value, protocol)
                found = measure(values, labels, direction=1, rng=rng)
                published, tau, rho = expected[name], found.tau, found.rho
                is_near = tau is not None and abs(tau.value - published["tau"]) <= expected["tolerance"]
                rows.append(
                    {
                        "proxy": name, "split": split.value, "cells": protocol, "n": found.n, "failed": found.n_failed,
                        "tau": _rounded(tau and tau.value), "low": _rounded(tau and tau.low),
                        "high": _rounded(tau and tau.high), "rho": _rounded(rho and rho.value),
                        "published tau": published["tau"], "published rho": published.get("rho"),
                        "within .03": "yes" if is_near else "no",
                    }
                )  # fmt: skip
    return rows


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    config = tomllib.loads(
        Path(arguments[0] if arguments else HERE / "validate_nb201.toml").read_text(encoding="utf-8")
    )
    folder = Path("runs") / "validate-nb201"
    workers = int(arguments[1]) if len(arguments) > 1 else 0
    try:
        benchmark = load_nb201()
        chosen = stream(config["seed"], "validate", "cells").choice(nb201.N_CELLS, config["n_networks"], replace=False)
        cells = [nb201.from_index(int(index)) for index in chosen]
        benchmark.accuracies(cells[:1], "cifar10", Split.VALIDATION, 200)
        rows = compare(score_all(config, cells, folder / "scores.csv", workers), cells, config)
    except EznasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    (folder / "table.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(render_table(rows, "table", width=160), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

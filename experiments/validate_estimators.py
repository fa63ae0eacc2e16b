"""Published estimators on NAS-Bench-201 beside the scores that their own code gave the same cells.

Needs EZNAS_DATA with the reference scores and CIFAR-10 images. Networks are the benchmark's own (five cells per stage,
32x32) under PyTorch's initialisation, scored on one batch of real images. The first argument is the number of cells,
the second the number of images.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eznas.architectures import Skeleton, nb201
from eznas.benchmarks import image_batch
from eznas.benchmarks.location import DATA_VARIABLE
from eznas.errors import BenchmarkError, EznasError
from eznas.fitness import bootstrap_interval, spearman
from eznas.progress import make_observer
from eznas.proxies import Conditions, score_architectures
from eznas.randomness import derived_seed, stream
from eznas.study import single_threaded
from eznas.tables import render_table
from eznas.workers import open_pool

HERE = Path(__file__).parent
COLUMNS = {
    "parameter_count": "params", "mac_count": "flops", "l2_norm": "l2_norm", "grad_norm": "grad_norm",
    "plain": "plain", "snip": "snip", "grasp": "grasp", "fisher": "fisher", "synflow": "synflow",
    "jacob_cov": "jacov", "epe_nas": "epe_nas", "naswot": "nwot", "zen": "zen_cifar10",
}  # fmt: skip
"""By estimator: its column in the reference tables."""
FAILED = -1e8
"""What the reference writes where a score is not finite; it counts as the lowest on both sides."""
SEED = 0


def reference(folder: Path) -> dict[str, dict[str, float]]:
    """Reference scores on CIFAR-10 by cell and column.

    Raises:
        BenchmarkError: if a file is missing.
    """
    rows: dict[str, dict[str, float]] = {}
    for name in ("nb201_reference_scores.csv.gz", "nb201_reference_zen.csv.gz"):
        if not (folder / name).is_file():
            raise BenchmarkError(
                f"The reference scores {name} are not in {folder}; set {DATA_VARIABLE} to their folder"
            )
        with gzip.open(folder / name, "rt", encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row.get("dataset", "cifar10") == "cifar10":
                    found = {key: float(text) for key, text in row.items() if key in COLUMNS.values() and text}
                    rows.setdefault(row["arch_str"], {}).update(found)
    return {cell: row for cell, row in rows.items() if set(row) >= set(COLUMNS.values())}


def compare(
    scores: np.ndarray, seconds: np.ndarray, cells: Sequence[str], theirs: dict[str, dict[str, float]]
) -> list[dict[str, Any]]:
    """One row per estimator: rank agreement of scores, with a 95 % bootstrap interval over the cells."""
    expected = tomllib.loads((HERE / "expected" / "validate_estimators.toml").read_text(encoding="utf-8"))
    rows = []
    for (name, column), values, spent in zip(COLUMNS.items(), scores, seconds, strict=True):
        mine = np.where(np.isfinite(values), values, FAILED)
        published = np.array([theirs[cell][column] for cell in cells])
        rng = stream(SEED, "validate", "bootstrap", name)
        low, high = bootstrap_interval(mine, published, statistic="spearman", rng=rng)
        ceiling, rho = expected["ceiling"][name], spearman(mine, published)
        rows.append({
            "estimator": name, "space": "nb201", "dataset": "cifar10", "n": len(cells),
            "spearman_with_reference": round(rho, 4), "low": round(low, 4), "high": round(high, 4), "ceiling": ceiling,
            "within_tolerance": "yes" if rho >= ceiling - expected["tolerance"] else "no",
            "seconds_per_network": float(f"{spent:.3g}"),
        })  # fmt: skip
    return rows


def conditions(batch_size: int) -> Conditions:
    """The benchmark's own networks on CIFAR-10 images of full size."""
    rng = stream(SEED, "validate", "images")
    images, targets = image_batch("cifar10", batch_size=batch_size, input_size=32, rng=rng)
    return Conditions(
        skeleton=Skeleton(), scheme="default", seed=derived_seed(SEED, "networks") % 2**31, inputs=images[:1],
        estimator_inputs=images, estimator_targets=targets,
    )  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    arguments = [int(text) for text in (sys.argv[1:] if argv is None else argv)]
    n_cells, batch_size = (*arguments, *(60, 32)[len(arguments) :])
    try:
        theirs = reference(Path(os.environ.get(DATA_VARIABLE, ".")))
        known = sorted(theirs)
        chosen = stream(SEED, "validate", "cells").choice(len(known), min(n_cells, len(known)), replace=False)
        cells = [known[position] for position in chosen.tolist()]
        with single_threaded(), make_observer(quiet=False) as observer:
            observer.stage(f"Scoring {len(cells)} cells")
            found = score_architectures(
                [nb201.architecture(cell) for cell in cells], conditions(batch_size),
                programs=[], estimators=list(COLUMNS), pool=open_pool(0), progress=observer.advance,
            )  # fmt: skip
    except EznasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    rows = compare(found.scores, found.seconds, cells, theirs)
    folder = Path("runs") / "validation"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "estimators.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(render_table(rows, "table", width=150), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

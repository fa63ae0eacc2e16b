"""The quickstart on other seeds: does the default seed's result hold, whatever the draw of networks and programs?"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eznas.errors import EznasError
from eznas.progress import make_observer
from eznas.runs.config import load_config
from eznas.runs.front import load_front
from eznas.study import Machine, evolve
from eznas.tables import render_table

HERE = Path(__file__).parent
SEEDS = (1, 2, 3, 4, 5)
WORKERS = 2


def run(config: Path, seed: int, folder: Path, workers: int, overrides: Sequence[str]) -> dict[str, Any]:
    """One row: the pick of that seed beside the best published proxy on the same held-out networks."""
    if not (folder / "front.json").is_file():
        with make_observer(quiet=False) as observer:
            settings = load_config(config, [*overrides, f"seed={seed}"])
            evolve(settings, run_dir=folder, machine=Machine(workers=workers), observer=observer)
    front = load_front(folder)
    pick, rival = front.pick, front.best_published
    assert pick is not None
    assert rival is not None
    row: dict[str, Any] = {"seed": seed, "programs": front.run.n_programs, "seconds": front.run.seconds}
    for sample in front.samples:
        found, its_tau = pick.report[sample.name], rival.report[sample.name].tau
        tau, rho = found.tau, found.rho
        row |= {
            f"tau {sample.name}": tau and tau.value, "low": tau and tau.low, "high": tau and tau.high,
            f"rho {sample.name}": rho and rho.value, "n": found.n, "best published": rival.label,
            "its tau": its_tau and its_tau.value,
        }  # fmt: skip
    return row | {"size": pick.size, "formula": pick.formula.text if pick.formula else ""}


def main(argv: Sequence[str] | None = None) -> int:
    overrides = list(sys.argv[1:] if argv is None else argv)
    root = Path("runs") / "seeds"
    try:
        rows = [run(HERE / "quickstart.toml", seed, root / f"seed-{seed}", WORKERS, overrides) for seed in SEEDS]
    except EznasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    (root / "table.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(render_table(rows, "table", width=200), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

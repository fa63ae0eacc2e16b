"""Leave spaces out: evolve on all the others, measure the pick on what was not seen, every space in turn.

A run for each space and seed, by `experiments/campaign/every_space.toml` without that sample; its pick and the whole of
its front are then measured on the networks of the space, with the accuracies that its benchmark reports on, beside
estimators that cost no search. ``--kinds`` leaves out all benchmarks of others, or all families shipped with the
project: a formula then meets spaces unlike any it has seen. Goes on where it stopped.

    python experiments/campaign/leave_one_out.py [--kinds] [--seeds 0,1,2] [--left-out NAME,...] [--workers N]
        [--into FILE.json]
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

import eznas
from eznas.assessment import measure_many
from eznas.bank import Bank, BankEvaluator, Column
from eznas.benchmarks import load_benchmark, reporting_split
from eznas.errors import EznasError
from eznas.fitness import Labels
from eznas.programs import parse
from eznas.progress import make_observer
from eznas.randomness import stream
from eznas.runs import load_front
from eznas.runs.config import RunConfig, config_from
from eznas.scoring import covariates_of, resolved_conditions
from eznas.spaces import Architecture
from eznas.study import Machine
from eznas.workers import open_pool

CONFIG: Final = Path("experiments/campaign/every_space.toml")
FOLDER: Final = Path("runs/campaign/left-out")
FREE: Final = ("parameter_count", "mac_count", "naswot", "zen", "synflow", "meco")
"""What costs no search."""
N: Final = 200
"""Most networks of a space that the pick is measured on."""
N_RESAMPLES: Final = 1000
REPORT: Final = {"baselines": (), "bootstrap": 100, "front_size": 12}
"""Of the runs: what matters is measured here."""


def settings() -> dict[str, Any]:
    """Of the run that sees every space."""
    data: dict[str, Any] = tomllib.loads(CONFIG.read_text(encoding="utf-8"))
    return data


def groups(by_kind: bool) -> dict[str, tuple[str, ...]]:
    """The spaces that are left out together, by the name of the group."""
    names = [sample["name"] for sample in settings()["samples"]]
    if not by_kind:
        return {name: (name,) for name in names}
    return {
        "benchmarks": tuple(name for name in names if not name.startswith("net_")),
        "families": tuple(name for name in names if name.startswith("net_")),
    }


def settings_without(group: str, spaces: Sequence[str], seed: int) -> RunConfig:
    """The settings of the run that does not see some spaces."""
    data = settings()
    samples = [{**sample, "n_report": 5} for sample in data["samples"] if sample["name"] not in spaces]
    name = f"without-{group}".replace("_", "-")
    return config_from({**data, "name": name, "seed": seed, "samples": samples, "report": REPORT})


def networks_of(space: str) -> tuple[Architecture, ...]:
    """The networks of a space that the pick is measured on."""
    benchmark = load_benchmark(space)
    order = stream(0, "left out", space).permutation(len(benchmark.architectures))
    return tuple(benchmark.architectures[i] for i in order[:N].tolist())


def evaluator_of(config: RunConfig, space: str, machine: Machine, pool: Any, observer: Any) -> BankEvaluator:
    """What scores programs on the networks of a space, under the conditions that the run would have had there."""
    (sample,) = [one for one in config.all_samples if one.name == space]
    architectures = networks_of(space)
    benchmark = load_benchmark(space)
    conditions, _ = resolved_conditions(config, sample, architectures[:5], datasets=benchmark.datasets[:1])
    return BankEvaluator(pool, [Column(Bank.open(machine.banks, conditions), architectures)], progress=observer.advance)


def labels_of(space: str, config: RunConfig) -> tuple[Labels, dict[str, Any]]:
    """The accuracies that the benchmark reports on, and what they are."""
    benchmark = load_benchmark(space)
    (sample,) = [one for one in config.all_samples if one.name == space]
    networks, dataset = networks_of(space), benchmark.datasets[0]
    split = reporting_split(benchmark, (dataset,))
    conditions, _ = resolved_conditions(config, sample, networks[:5], datasets=(dataset,))
    labels = Labels(
        space, benchmark.accuracies(networks, dataset, split), np.arange(len(networks)),
        covariates_of(networks, conditions),
    )  # fmt: skip
    return labels, {"n": len(networks), "dataset": dataset, "split": split.value, "epochs": benchmark.full_training}


def measured(space: str, programs: Mapping[str, tuple[str, int]], evaluator: BankEvaluator) -> dict[str, Any]:
    """Every criterion of some programs, by name, and of what is free.

    Args:
        space: name of the benchmark.
        programs: text and direction by name.
        evaluator: of the networks of the space.
    """
    labels, of = labels_of(space, config_from(settings()))
    rows = {
        name: direction * evaluator.evaluate([parse(text)]).scores[0] for name, (text, direction) in programs.items()
    }
    for name in FREE:
        values, _ = evaluator.words([name])
        rows[name] = values[0]
    found = measure_many(
        np.stack([*rows.values()]), labels, directions=[1] * len(rows), rng=stream(0, "bootstrap", space),
        n_resamples=N_RESAMPLES,
    )  # fmt: skip
    table = {}
    for name, one in zip(rows, found, strict=True):
        criteria = {
            key: [None if v is None else round(v, 4) for v in (by.value, by.low, by.high)]
            for key, by in one.criteria.items()
        }
        table[name] = {**criteria, "n_failed": one.n_failed}
    return {**of, "proxies": table}


def one(group: str, spaces: Sequence[str], seed: int, machine: Machine, observer: Any) -> dict[str, Any]:
    """Evolve without some spaces, unless that was done, and measure on them."""
    folder = FOLDER / f"seed-{seed}" / group
    config = settings_without(group, spaces, seed)
    if not (folder / "report.html").is_file():
        if (folder / "manifest.json").is_file():
            eznas.resume(folder, machine=machine, observer=observer)
        else:
            eznas.evolve(config, run_dir=folder, machine=machine, observer=observer)
    front = load_front(folder)
    pick = front.pick
    assert pick is not None
    programs = {entry.id: (entry.program or "", entry.direction) for entry in front.discovered}
    whole = config_from(settings())
    pool = open_pool(machine.workers)
    try:
        found = {
            space: measured(space, programs, evaluator_of(whole, space, machine, pool, observer)) for space in spaces
        }
    finally:
        pool.close()
    return {
        "spaces": found, "pick": pick.id, "formula": pick.program,
        "sizes": {entry.id: entry.size for entry in front.discovered},
        "select": {entry.id: front.tau(entry, "select") for entry in front.discovered},
        "n_programs": front.run.n_programs, "seconds": front.run.seconds,
    }  # fmt: skip


def smallest_of(found: Mapping[str, Any]) -> str:
    """The program of a front that has fewest nodes."""
    return min(found["sizes"], key=lambda name: (found["sizes"][name], -(found["select"][name] or 0.0), name))


def best_of(found: Mapping[str, Any]) -> str:
    """The program of a front that ranks the selection networks best."""
    return max(found["sizes"], key=lambda name: (found["select"][name] or -1.0, -found["sizes"][name], name))


def shown(seed: int, group: str, found: Mapping[str, Any]) -> str:
    """A line for each space of a group."""
    lines = []
    for space, of in found["spaces"].items():
        taus = {name: row["tau"][0] if "tau" in row else float("nan") for name, row in of["proxies"].items()}
        smallest = smallest_of(found)
        free = ", ".join(f"{name} {taus[name]:.3f}" for name in FREE)
        lines.append(
            f"seed {seed}, without {group}: on {space} pick {taus[found['pick']]:.3f} "
            f"(size {found['sizes'][found['pick']]}), best on selection {taus[best_of(found)]:.3f}, smallest "
            f"{taus[smallest]:.3f} (size {found['sizes'][smallest]}), {free}"
        )
    return "\n".join(lines)


def means(found: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """Mean and worst tau over the spaces that were left out: of the picks, of what has fewest nodes, of what is free.

    A proxy without a tau on a space counts 0 there.
    """

    def tau(of: Mapping[str, Any], name: str) -> float:
        return of["proxies"][name]["tau"][0] if "tau" in of["proxies"][name] else 0.0

    rows: dict[str, list[float]] = {}
    for one_group in found:
        smallest, best = smallest_of(one_group), best_of(one_group)
        for of in one_group["spaces"].values():
            rows.setdefault("pick", []).append(tau(of, one_group["pick"]))
            rows.setdefault("best on selection", []).append(tau(of, best))
            rows.setdefault("smallest", []).append(tau(of, smallest))
            for name in FREE:
                rows.setdefault(name, []).append(tau(of, name))
    return {name: (float(np.mean(values)), float(np.min(values))) for name, values in rows.items()}


def main(arguments: Sequence[str]) -> int:
    """Print the table; the exit status is 1 if something is not at hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--kinds", action="store_true", help="leave out all benchmarks, or all families")
    parser.add_argument("--left-out", default="", help="names with commas; all without it")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--into", type=Path, default=None)
    given = parser.parse_args(arguments)
    every = groups(given.kinds)
    names = given.left_out.split(",") if given.left_out else list(every)
    results: dict[str, dict[str, Any]] = {}
    try:
        for seed in map(int, given.seeds.split(",")):
            for group in names:
                kept = FOLDER / f"seed-{seed}" / f"{group}.json"
                if not kept.is_file():
                    with make_observer(quiet=False) as observer:
                        found = one(group, every[group], seed, Machine(workers=given.workers), observer)
                    kept.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
                results[f"{seed}/{group}"] = json.loads(kept.read_text(encoding="utf-8"))
                print(shown(seed, group, results[f"{seed}/{group}"]), flush=True)
    except EznasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for seed in given.seeds.split(","):
        table = means([results[f"{seed}/{group}"] for group in names])
        print(f"seed {seed}, mean and worst tau on what was left out: " + ", ".join(
            f"{name} {mean:.3f} {worst:.3f}" for name, (mean, worst) in table.items()))
    if given.into is not None:
        given.into.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

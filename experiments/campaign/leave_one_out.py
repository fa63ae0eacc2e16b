"""Leave one space out: evolve on all the others, measure the pick on the one that was not seen, every one in turn.

A run for each space and seed, by `experiments/campaign/every_space.toml` without that sample; its pick and the whole of
its front are then measured on the networks of the space, with the accuracies that its benchmark reports on, beside
estimators that cost no search. Goes on where it stopped.

    python experiments/campaign/leave_one_out.py [--seeds 0,1,2] [--spaces NAME,...] [--workers N] [--into FILE.json]
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


def settings_without(space: str, seed: int) -> RunConfig:
    """The settings of the run that does not see a space."""
    data: dict[str, Any] = tomllib.loads(CONFIG.read_text(encoding="utf-8"))
    samples = [{**sample, "n_report": 5} for sample in data["samples"] if sample["name"] != space]
    return config_from({**data, "name": f"without-{space}".replace("_", "-"), "seed": seed, "samples": samples})


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
    whole = config_from(tomllib.loads(CONFIG.read_text(encoding="utf-8")))
    labels, of = labels_of(space, whole)
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
        tau = None if one.tau is None else [one.tau.value, one.tau.low, one.tau.high]
        partial = None if one.partial_tau is None else one.partial_tau.value
        shown = tau and [v and round(v, 4) for v in tau]
        table[name] = {"tau": shown, "partial_tau": partial, "n_failed": one.n_failed}
    return {**of, "proxies": table}


def one(space: str, seed: int, machine: Machine, observer: Any) -> dict[str, Any]:
    """Evolve without a space, unless that was done, and measure on it."""
    folder = FOLDER / f"seed-{seed}" / space
    config = settings_without(space, seed)
    if not (folder / "report.html").is_file():
        if (folder / "manifest.json").is_file():
            eznas.resume(folder, machine=machine, observer=observer)
        else:
            eznas.evolve(config, run_dir=folder, machine=machine, observer=observer)
    front = load_front(folder)
    entries = [entry for entry in front.entries if entry.kind == "discovered"]
    pick = next(entry for entry in entries if entry.is_pick)
    programs = {entry.id: (entry.program or "", entry.direction) for entry in entries}
    whole = config_from(tomllib.loads(CONFIG.read_text(encoding="utf-8")))
    pool = open_pool(machine.workers)
    try:
        found = measured(space, programs, evaluator_of(whole, space, machine, pool, observer))
    finally:
        pool.close()
    sizes = {entry.id: entry.size for entry in entries}
    select = {
        entry.id: float(np.mean([m.tau.value for m in entry.select.values() if m.tau])) if entry.select else None
        for entry in entries
    }
    return {
        **found, "pick": pick.id, "formula": pick.program, "sizes": sizes, "select": select,
        "n_programs": front.run.n_programs, "seconds": front.run.seconds,
    }  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Print the table; the exit status is 1 if something is not at hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--spaces", default="", help="names with commas; all of the settings without it")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--into", type=Path, default=None)
    given = parser.parse_args(arguments)
    names = [sample["name"] for sample in tomllib.loads(CONFIG.read_text(encoding="utf-8"))["samples"]]
    spaces = given.spaces.split(",") if given.spaces else names
    results: dict[str, dict[str, Any]] = {}
    try:
        for seed in map(int, given.seeds.split(",")):
            for space in spaces:
                kept = FOLDER / f"seed-{seed}" / f"{space}.json"
                if not kept.is_file():
                    with make_observer(quiet=False) as observer:
                        found = one(space, seed, Machine(workers=given.workers), observer)
                    kept.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
                results[f"{seed}/{space}"] = json.loads(kept.read_text(encoding="utf-8"))
                shown = results[f"{seed}/{space}"]
                taus = {name: row["tau"] and row["tau"][0] for name, row in shown["proxies"].items()}
                print(
                    f"seed {seed}, without {space}: pick {taus[shown['pick']]} (size {shown['sizes'][shown['pick']]}), "
                    + ", ".join(f"{name} {taus[name]}" for name in FREE), flush=True,
                )  # fmt: skip
    except EznasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for seed in given.seeds.split(","):
        mine = [results[f"{seed}/{space}"] for space in spaces]
        picks = [one["proxies"][one["pick"]]["tau"][0] for one in mine]
        free = {
            name: float(np.mean([(one["proxies"][name]["tau"] or [0.0])[0] for one in mine])) for name in FREE
        }
        print(f"seed {seed}: mean left-out tau {np.mean(picks):.3f}, worst {np.min(picks):.3f}; " + ", ".join(
            f"{name} {value:.3f}" for name, value in free.items()))
    if given.into is not None:
        given.into.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

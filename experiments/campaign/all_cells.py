"""All of NAS-Bench-201: runs and proxies measured on every cell that the runs did not learn from.

Of each run the pick and the best of its front by the selection cells; of proxies, whatever `eznas score` knows by name.
Test accuracies after 200 epochs, under the conditions that the runs had. Needs EZNAS_DATA with nb201.csv.gz. Values are
kept in the bank, so that it goes on where it stopped: an hour on one core for some dozen words.

    python experiments/campaign/all_cells.py RUN ... [--proxies NAME,...] [--n N] [--workers N] [--into FILE.json]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from eznas.assessment import measure_many
from eznas.bank import Bank, BankEvaluator, Column, sentence_of, words_of
from eznas.benchmarks import Split, load_benchmark
from eznas.errors import EznasError
from eznas.fitness import Labels
from eznas.progress import make_observer
from eznas.proxies import ProgramProxy, Proxy, proxy_named
from eznas.proxies.named import proxy_of_entry
from eznas.randomness import stream
from eznas.runs import load_front
from eznas.runs.history import read_manifest
from eznas.scoring import covariates_of
from eznas.study import Machine
from eznas.workers import open_pool

N_RESAMPLES: Final = 200
LEVELS: Final = range(1, 6)
"""Of complexity, by which ranking within equal complexity is averaged."""
TOP: Final = 0.1


def within_levels(scores: npt.NDArray[np.float64], accuracies: npt.NDArray[np.float64], levels: Any) -> list[float]:
    """Spearman's rho among the networks of each level."""
    found = []
    for level in LEVELS:
        mine = levels == level
        found.append(float(spearmanr(scores[mine], accuracies[mine]).statistic))
    return found


def top_rho(scores: npt.NDArray[np.float64], accuracies: npt.NDArray[np.float64]) -> float:
    """Spearman's rho within the best tenth by accuracy."""
    best = np.argsort(-accuracies, kind="stable")[: round(TOP * len(accuracies))]
    return float(spearmanr(scores[best], accuracies[best]).statistic)


def main(arguments: Sequence[str]) -> int:
    """Print a line for each proxy; the exit status is 1 if something is not at hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--proxies", default="", help="names with commas")
    parser.add_argument("--n", type=int, default=0, help="cells; all without it")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--into", type=Path, default=None)
    given = parser.parse_args(arguments)
    try:
        results = measured(given)
    except EznasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, one in results.items():
        figures = ", ".join(
            f"{dataset} tau {of['tau'][0]:.3f} rho {of['rho'][0]:.3f} levels {np.mean(of['levels']):.2f} (worst "
            f"{min(of['levels']):.2f}) top tenth {of['top_rho']:.2f} pick {of['pick']:.2f}"
            for dataset, of in one["datasets"].items()
        )
        print(f"{name} (size {one['size']}, {one['n']:,} cells): {figures}")
    if given.into is not None:
        given.into.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


def measured(given: argparse.Namespace) -> dict[str, Any]:
    """Figures of every proxy, by name and data set."""
    benchmark = load_benchmark("nb201")
    cells = benchmark.architectures
    if given.n:
        cells = tuple(cells[i] for i in np.sort(stream(0, "all cells").permutation(len(cells))[: given.n]).tolist())
    conditions = load_front(given.runs[0]).samples[0].conditions
    asked: dict[str, tuple[Proxy, set[str]]] = {}
    everything: set[str] = set()
    for folder in given.runs:
        front, manifest = load_front(folder), read_manifest(folder)
        assert manifest is not None
        learnt = {
            spec for sample in manifest.samples for part in ("evolve", "select") for spec in sample.networks[part]
        }
        everything |= learnt
        wanted = {"pick": front.pick, "best": front.discovered[0]}
        for label, entry in wanted.items():
            if entry is not None:
                asked[f"{folder.name}:{label}"] = (proxy_of_entry(entry), learnt)
    for name in filter(None, given.proxies.split(",")):
        asked[name] = (proxy_named(name).proxy, everything)
    machine = Machine(workers=given.workers)
    with make_observer(quiet=False) as observer:
        observer.stage(f"Scoring {len(cells):,} cells")
        evaluator = BankEvaluator(
            open_pool(machine.workers), [Column(Bank.open(machine.banks, conditions), cells)],
            progress=observer.advance,
        )  # fmt: skip
        words = [
            word for proxy, _ in asked.values() for word in (
                words_of(sentence_of(proxy.program.canonical)) if isinstance(proxy, ProgramProxy) else (proxy.name,)
            )
        ]  # fmt: skip
        evaluator.words(words)
        covariates = covariates_of(cells, conditions)
        results = {}
        for name, (proxy, learnt) in asked.items():
            if isinstance(proxy, ProgramProxy):
                values = proxy.direction * evaluator.evaluate([proxy.program]).scores[0]
            else:
                values = evaluator.words([proxy.name])[0][0]
            rows = np.array([i for i, cell in enumerate(cells) if cell.spec not in learnt])
            results[name] = {
                "size": proxy.program.size if isinstance(proxy, ProgramProxy) else None,
                "n": len(rows),
                "datasets": {
                    dataset: of_dataset(benchmark, cells, dataset, values, rows, covariates)
                    for dataset in ("cifar10", "cifar100", "imagenet16")
                },
            }
    return results


def of_dataset(
    benchmark: Any, cells: Any, dataset: str, values: npt.NDArray[np.float64], rows: Any, covariates: Any
) -> dict[str, Any]:
    """Every figure of a proxy on one data set, on some of the cells; of its pick, on all of them."""
    accuracies = np.asarray(benchmark.accuracies(cells, dataset, Split.TEST))
    labels = Labels(dataset, accuracies[rows], np.arange(len(rows)))
    (one,) = measure_many(
        values[None, rows], labels, directions=[1], rng=stream(0, "bootstrap", dataset), n_resamples=N_RESAMPLES
    )
    scores = np.where(np.isfinite(values), values, np.nanmin(np.where(np.isfinite(values), values, np.nan)) - 1.0)
    best = np.flatnonzero(scores == scores.max())
    assert one.tau is not None
    assert one.rho is not None
    return {
        "tau": [round(v, 4) if v is not None else None for v in (one.tau.value, one.tau.low, one.tau.high)],
        "rho": [round(v, 4) if v is not None else None for v in (one.rho.value, one.rho.low, one.rho.high)],
        "levels": [round(v, 4) for v in within_levels(scores[rows], accuracies[rows], covariates.levels[rows])],
        "top_rho": round(top_rho(scores[rows], accuracies[rows]), 4),
        "pick": round(float(accuracies[best].mean()), 3),
        "n_failed": int((~np.isfinite(values)).sum()),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Architecture searches with zero-cost scores beside the published tables, and what they find per training.

Rows: a random architecture, the optimum of N, the arg-max of N of the parameter count, of the number of convolutions
and of every score file that is named (``eznas score PROXY --networks nb201:all --output FILE.csv``), random search,
regularised evolution, and AREA with each of these proxies. Score-only and trained searches see CIFAR-10; the optimum
sees the data set it is reported on. Trained searches pay with the published 12,000 simulated seconds where the accuracy
table records training times, else for 100 trainings. Every cell is a candidate, also those that an evolved proxy was
evolved on. A file may score some cells only: searches with its proxies draw from these, without evolution by the score.
Last, the pick of each proxy among all cells that it scores, beside the published picks.

    python experiments/search_tables.py [FILE.csv ...] [--into FILE.json]

Writes ``runs/search-tables/tables.json`` and ``curves.svg``, and with ``--into`` the picks.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eznas.benchmarks import Benchmark, Split, load_nb201
from eznas.errors import EznasError
from eznas.files import write_output
from eznas.nas import (
    CLOSED_FORM,
    PROTOCOLS,
    Budget,
    Guide,
    Repeats,
    SearchTable,
    clock_of,
    guides_named,
    repeat,
    search_table,
)
from eznas.tables import render_table

HERE = Path(__file__).parent
SEED = 0
REPEATS = 500
SIZES = (10, 100, 500, 1000)
SEARCHED = "cifar10"


def measure(benchmark: Benchmark, files: Sequence[str]) -> tuple[list[dict[str, Any]], dict[str, Repeats]]:
    """Rows of all methods on all data sets, and the repeats of the trained ones."""
    table = search_table(benchmark, SEARCHED)
    proxies = guides_named([*CLOSED_FORM, *files], table)
    rows = _rows("random", table, _repeat(table, "random", budget=Budget(evaluations=1)), "nothing")
    for dataset in benchmark.datasets:
        own = search_table(benchmark, dataset)
        for n in SIZES:
            found = _repeat(own, "optimum", n=n)
            driver = own.describe_fitness("full")
            rows += [row for row in _rows(f"optimum {n}", own, found, driver) if row["dataset"] == dataset]
    for proxy, guide in proxies.items():
        pool = replace(table, pool=guide.scored)
        for n in SIZES:
            if n <= pool.n_scored:
                rows += _rows(f"{proxy} {n}", table, _repeat(pool, "score", guide, n=n), "score")
        if guide.scored is None:
            rows += _rows(f"score evolution {proxy}", table, _repeat(table, "score-evolution", guide), "score")
    trained = {
        "random search": _repeat(table, "random"),
        "evolution": _repeat(table, "evolution"),
        **{
            f"area {proxy}": _repeat(replace(table, pool=guide.scored), "area", guide)
            for proxy, guide in proxies.items()
        },
    }
    for method, found in trained.items():
        rows += _rows(method, table, found, table.describe_fitness("short"))
    return rows, trained


def picks(benchmark: Benchmark, files: Sequence[str]) -> dict[str, Any]:
    """The best score of all cells that a proxy scores: test accuracy on each data set, and its rank among all cells.

    Cells of the same best score count alike: accuracy and rank are means over them.
    """
    table = search_table(benchmark, SEARCHED, with_neighbours=False)
    found: dict[str, Any] = {}
    for proxy, guide in guides_named([*CLOSED_FORM, *files], table).items():
        scores = np.where(np.isfinite(guide.scores), guide.scores, -np.inf)
        best = np.flatnonzero(scores == scores.max())
        row: dict[str, Any] = {"scored": table.n if guide.scored is None else len(guide.scored), "tied": len(best)}
        row["failed"] = row["scored"] - int(np.isfinite(guide.scores).sum())
        for (dataset, split), accuracies in table.reported.items():
            if split is Split.TEST:
                ranks = 1 + (accuracies[None] > accuracies[best, None]).sum(axis=1)
                row[dataset] = [round(float(accuracies[best].mean()), 3), round(float(ranks.mean()), 1)]
        found[proxy] = row
    return found


def picks_lines(result: Mapping[str, Any]) -> list[str]:
    """One row for each proxy, the best on CIFAR-100 first."""
    rows, datasets = result["picks"], {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet16": "ImageNet16-120"}
    lines = [
        f"| highest score of | cells scored | {' | '.join(datasets.values())} | evolution by the score | AREA |",
        f"|{'---|' * 7}",
    ]
    for name, row in sorted(rows.items(), key=lambda item: -item[1]["cifar100"][0]):
        tied = f" ({row['tied']:,} tied)" if row["tied"] > 1 else ""
        cells = [f"{row[key][0]:.2f} ({row[key][1]:,.0f})" for key in datasets]
        for kind in ("evolved", "area"):
            means = result[kind].get(name)
            cells.append("" if means is None else " / ".join(f"{means[key][0]:.2f}" for key in datasets))
        lines.append(f"| `{name}`{tied} | {row['scored']:,} | {' | '.join(cells)} |")
    return lines


def _repeat(table: SearchTable, search: str, guide: Guide | None = None, **settings: Any) -> Repeats:
    return repeat(PROTOCOLS[search].bind(table, guide, **settings), REPEATS, SEED)


def _rows(method: str, table: SearchTable, found: Repeats, driver: str) -> list[dict[str, Any]]:
    return [
        {
            "method": method, "dataset": s.dataset, "split": s.split.value, "driven by": driver,
            "scored": max(outcome.n_scored for outcome in found.outcomes),
            "trained": max(len(outcome.trained) for outcome in found.outcomes),
            "mean": s.mean, "std": s.std, "low": s.low, "high": s.high, "repeats": s.n, "rank": s.rank,
            "regret": s.regret,
        }
        for s in found.summaries(table)
    ]  # fmt: skip


def beside_published(rows: Sequence[dict[str, Any]], published: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows with the published mean, standard deviation, runs and source; published rows that lack ours follow."""
    measured = {(row["method"], row["dataset"], row["split"]): row for row in rows}
    columns = list(dict.fromkeys((row["dataset"], row["split"]) for row in rows))
    methods = list(dict.fromkeys([*(row["method"] for row in rows), *published]))
    joined = []
    for dataset, split in columns:
        for method in methods:
            row, known = measured.get((method, dataset, split)), published.get(method, {})
            values = known.get(dataset, {}).get(split)
            if row is None and values is None:
                continue
            mean, std = (*values, None)[:2] if values else (None, None)
            joined.append(
                {"method": method, "dataset": dataset, "split": split, **dict.fromkeys(rows[0]), **(row or {})}
                | {"method": method, "dataset": dataset, "split": split}
                | {
                    "published mean": mean, "published std": std,
                    "published runs": known.get("runs") if values else None,
                    "source": known["source"] if values else None,
                }
            )  # fmt: skip
    return joined


def printed(rows: Sequence[dict[str, Any]], dataset: str) -> list[dict[str, Any]]:
    """One line per method on one data set."""
    lines: dict[str, dict[str, Any]] = {}
    splits = list(dict.fromkeys(row["split"] for row in rows if row["dataset"] == dataset))
    for row in rows:
        if row["dataset"] != dataset:
            continue
        empty = {f"{split}{what}": "" for split in splits for what in ("", " 95 %", " published")}
        line = lines.setdefault(
            row["method"], {"method": row["method"], "runs": "", **empty, "rank": "", "regret": "", "source": ""}
        )
        split = row["split"]
        if row["mean"] is not None:
            line |= {
                "runs": row["repeats"], split: _plus_minus(row["mean"], row["std"]),
                f"{split} 95 %": f"{row['low']:.2f}..{row['high']:.2f}" if row["low"] is not None else "",
                "rank": f"{row['rank']:.0f}", "regret": f"{row['regret']:.2f}",
            }  # fmt: skip
        if row["published mean"] is not None:
            runs = f", {row['published runs']} runs" if row["published runs"] else ""
            line |= {
                f"{split} published": _plus_minus(row["published mean"], row["published std"]),
                "source": row["source"] + runs,
            }
    return list(lines.values())


def _plus_minus(mean: float, std: float | None) -> str:
    return f"{mean:.2f}" if std is None else f"{mean:.2f}±{std:.2f}"


def plot_curves(table: SearchTable, trained: Mapping[str, Repeats], path: Path) -> None:
    """Accuracy of the best architecture so far against trainings: mean over the repeats, quartiles shaded."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    from eznas.reporting.figures import INKS

    split = list(table.reported)[-1][1]
    figure = Figure(figsize=(9.2, 4.2), layout="constrained")
    FigureCanvasSVG(figure)
    ax = figure.subplots()
    inks = [INKS["known"], INKS["found"], INKS["pick"], "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]
    for position, (method, found) in enumerate(trained.items()):
        curves = found.curves(table, table.dataset, split)
        trainings = np.arange(1, curves.shape[1] + 1)
        ink = inks[position % len(inks)]
        low, high = np.quantile(curves, (0.25, 0.75), axis=0)
        ax.fill_between(trainings, low, high, color=ink, alpha=0.12, linewidth=0)
        style = "-" if position < len(inks) else "--"
        ax.plot(trainings, curves.mean(axis=0), style, color=ink, linewidth=1.8, label=method.replace("$", r"\$"))
    # the first trainings fall far below; the question is where the curves end
    ends = [found.curves(table, table.dataset, split)[:, 9:].mean(axis=0) for found in trained.values()]
    top = table.reported[table.dataset, split].max()
    lowest = min((float(end.min()) for end in ends if end.size), default=0.0)
    ax.set_ylim(lowest - 0.1 * (top - lowest), top + 0.1 * (top - lowest))
    ax.axhline(top, color=INKS["muted"], linewidth=1, linestyle=":")
    ax.annotate("best of the benchmark", (1, top), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                fontsize=9, color=INKS["muted"])  # fmt: skip
    ax.set_xlabel("trainings")
    ax.set_ylabel(f"{table.dataset} {split.value} accuracy of the best so far (%)")
    ax.legend(frameon=False, fontsize=9, loc="lower right")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    figure.savefig(path, format="svg", metadata={"Date": None})


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="scores of NAS-Bench-201 cells")
    parser.add_argument("--into", type=Path, help="file of the picks")
    given = parser.parse_args(sys.argv[1:] if argv is None else list(argv))
    published = tomllib.loads((HERE / "expected" / "search_tables.toml").read_text(encoding="utf-8"))
    folder = Path("runs") / "search-tables"
    try:
        benchmark = load_nb201()
        rows, trained = measure(benchmark, given.files)
        chosen = picks(benchmark, given.files)
        if given.into is not None:
            found: dict[str, Any] = {"picks": chosen, "repeats": REPEATS}
            for key, prefix in (("evolved", "score evolution "), ("area", "area ")):
                found[key] = {}
                for row in rows:
                    name = row["method"].removeprefix(prefix)
                    if name != row["method"] and row["split"] == "test":
                        found[key].setdefault(name, {})[row["dataset"]] = [round(row["mean"], 3), round(row["std"], 3)]
            write_output(given.into, json.dumps(found, indent=1) + "\n")
    except EznasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    rows = beside_published(rows, published)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tables.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    table = search_table(benchmark, SEARCHED)
    plot_curves(table, trained, folder / "curves.svg")
    print(benchmark.provenance)
    print(f"Trained searches are driven by {table.describe_fitness('short')} and pay with "
          f"{clock_of(table, PROTOCOLS['evolution'])}.")  # fmt: skip
    for dataset in benchmark.datasets:
        print(f"\n{dataset}: accuracy of the pick in percent, mean±standard deviation over runs")
        print(render_table(printed(rows, dataset), "table", width=240), end="")
    print("\nPick of all cells that have scores: test accuracy in percent (rank among all)")
    shown = [
        {
            "proxy": name, "cells": row["scored"], "failed": row["failed"], "tied": row["tied"],
            **{key: f"{row[key][0]:.2f} ({row[key][1]:,.0f})" for key in benchmark.datasets if key in row},
        }
        for name, row in chosen.items()
    ]  # fmt: skip
    print(render_table(shown, "table", width=240), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

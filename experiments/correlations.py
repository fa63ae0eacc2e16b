"""Rank correlation of every published estimator with NAS-Bench-201 accuracies, beside the published figures.

The same cells (drawn uniformly from all 15,625), initialisation (PyTorch's, also for those that were published with
another and do not bring their own) and batch for all. Scores go into one CSV file per
condition and estimator under ``runs/correlations``, so that a killed run goes on where it was, more cells or a new
estimator add to what is there, and every condition can be analysed again without scoring. Correlations are signed, in
the direction the authors gave, failures rank last; each is shown over all cells and over the "live" ones, in which
every operation other than ``none`` lies on a path from input to output. Beside tau and rho: tau in the top tenth, rho
within an equal number of convolutions, rho given parameters and MACs, and nDCG.

Writes ``runs/correlations/correlations.json`` and, where ``experiments/estimator_costs.py`` has been run,
``runs/correlations/estimators.svg``.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eznas.assessment import CRITERIA, Criterion, Measurement, measure
from eznas.benchmarks import DATASETS, Split, load_nb201
from eznas.conditions import IMAGE_SETS, Conditions, default_image_source
from eznas.errors import ConfigError, EznasError
from eznas.estimators import PUBLISHED
from eznas.files import replace_file
from eznas.fitness import MIN_NETWORKS, Covariates, Labels
from eznas.progress import make_observer
from eznas.proxies import KNOWN_PROGRAMS
from eznas.randomness import stream
from eznas.scoring import request_for
from eznas.spaces import Architecture, nb201
from eznas.study import Machine
from eznas.study.score import write_scores
from eznas.tables import render_table

HERE = Path(__file__).parent
FOLDER = Path("runs") / "correlations"
COSTS = Path("runs") / "costs" / "costs.json"
JOINED = 16
"""Points of distance beyond which a label is joined to its mark by a line."""
TITLES = {**{name: known.title for name, known in KNOWN_PROGRAMS.items()}, **{e.name: e.title for e in PUBLISHED}}
"""By name, programs and estimators; parameters and MACs are both, with one score."""


SKELETONS = {"reduced": 1, "full": 5}
"""Cells per stage."""


def conditions(skeleton: str, dataset: str, batch_size: int, seed: int, n_logits: int | None = None) -> Conditions:
    """Networks under PyTorch's initialisation, on images of a data set.

    Args:
        skeleton: of `SKELETONS`; reduced networks see images of 16x16, full ones the data set's own size.
        dataset: whose images and, unless one logit is asked, number of classes.
        batch_size: images, for programs and estimators alike.
        seed: of initialisation and batch.
        n_logits: None is the number of classes.
    """
    return Conditions(
        settings=nb201.Settings(
            cells_per_stage=SKELETONS[skeleton],
            n_classes=IMAGE_SETS[dataset].n_classes if n_logits is None else n_logits,
            scheme="default",
        ),
        seed=seed,
        images=default_image_source(dataset),
        input_size=32 if skeleton == "full" and dataset != "imagenet16" else 16,
        batch_size=batch_size,
        estimator_batch_size=batch_size,
    )


def folder_of(skeleton: str, dataset: str, batch_size: int, seed: int, n_logits: int | None = None) -> Path:
    """Where the scores under these conditions lie."""
    logits = "" if n_logits is None else f"-{n_logits}logit"
    return FOLDER / f"{skeleton}-{dataset}-b{batch_size}{logits}-seed{seed}"


def draw_cells(n: int) -> list[int]:
    """Official indices of `n` cells, uniformly without replacement; fewer are the beginning of more."""
    if not 5 <= n <= nb201.N_CELLS:
        raise ConfigError(f"--n must be 5 to {nb201.N_CELLS} cells, got {n}")
    return stream(0, "correlations", "cells").permutation(nb201.N_CELLS)[:n].tolist()


def is_live(arch: Architecture) -> bool:
    """Whether every operation other than ``none`` lies on a path from input to output (9,445 cells)."""
    edges = [e for e, name in zip(nb201.EDGES, nb201.operations(arch), strict=True) if name != "none"]
    from_input, to_output = {0}, {3}
    for source, target in sorted(edges):
        if source in from_input:
            from_input.add(target)
    for source, target in sorted(edges, reverse=True):
        if target in to_output:
            to_output.add(source)
    return all(source in from_input and target in to_output for source, target in edges)


def score(folder: Path, given: Conditions, names: Sequence[str], cells: Sequence[int], workers: int) -> None:
    """Score what is missing in the files of a folder.

    Raises:
        EznasError: as `write_scores`.
    """
    architectures = [nb201.from_index(index) for index in cells]
    with make_observer(quiet=False) as observer:
        for name in names:
            request = replace(request_for([name], architectures), conditions=given)
            write_scores(
                folder / f"{name}.csv", request, architectures, machine=Machine(workers=workers), observer=observer
            )


def read(folder: Path, name: str, cells: Sequence[int]) -> tuple[np.ndarray, float]:
    """(n_cells,) scores in the direction of the estimator, NaN where it failed; mean seconds per network."""
    with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        rows = {int(row["index"]): row for row in csv.DictReader(file)}
    found = [rows[index] for index in cells]
    scores = np.array([float(row[name]) if row[name] else np.nan for row in found])
    return scores, float(np.mean([float(row["seconds"]) for row in found]))


def covariates(cells: Sequence[int]) -> Covariates:
    """Parameters and MACs of the full networks, and the number of convolutions, which is the complexity level.

    The few cells without a convolution or with six are of no level: each has one of its own.
    """
    architectures = [nb201.from_index(index) for index in cells]
    levels = np.array([nb201.level(arch) for arch in architectures])
    is_outside = (levels < 1) | (levels > 5)
    levels[is_outside] = 10 + np.arange(is_outside.sum())
    return Covariates(
        np.log([nb201.parameter_count(arch, nb201.FULL) for arch in architectures]),
        np.log([nb201.mac_count(arch, nb201.FULL, 32) for arch in architectures]),
        levels,
    )


def labels_of(dataset: str, accuracies: np.ndarray, given: Covariates, kept: np.ndarray) -> Labels | None:
    """The labels of the cells that are kept; None for too few of them to quote a correlation."""
    if kept.sum() < MIN_NETWORKS:
        return None
    some = Covariates(given.log_parameters[kept], given.log_macs[kept], given.levels[kept])
    return Labels(dataset, accuracies[kept], np.flatnonzero(kept), some)


def figures(scores: np.ndarray, labels: Labels, *purpose: str) -> dict[str, Any]:
    """What is measured of one estimator on one list of accuracies, as columns of a row."""
    found = measure(scores, labels, direction=1, rng=stream(0, "correlations", "bootstrap", "kendall", *purpose))
    return columns_of(found)


def columns_of(found: Measurement) -> dict[str, Any]:
    """A measurement as flat columns; None where there is no value."""
    columns: dict[str, Any] = {"n": found.n, "n_failed": found.n_failed, "share_tied": found.share_tied}
    for name in CRITERIA:
        criterion: Criterion | None = getattr(found, name)
        for suffix, field in (("", "value"), ("_low", "low"), ("_high", "high")):
            columns[name + suffix] = None if criterion is None else getattr(criterion, field)
    return columns


def published(name: str, dataset: str, split: str, cells: str, known: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Figures that were published of an estimator on these labels and this set of cells, with their protocols."""
    place, found = DATASETS.index(dataset), []
    for row in known.values():
        values = {
            kind: row[kind][name][place] for kind in ("tau", "rho")
            if name in row.get(kind, {}) and math.isfinite(row[kind][name][place])
        }  # fmt: skip
        if values and (row["split"], row["cells"]) == (split, cells):
            found.append({**values, "protocol": row["protocol"], "source": row["source"]})
    return found


def _labels(cells: Sequence[int], datasets: Sequence[str]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Data set, split and (n_cells,) accuracies in percent of whatever is recorded."""
    benchmark = load_nb201()
    architectures = [nb201.from_index(index) for index in cells]
    for dataset in datasets:
        for split in (Split.TEST, Split.VALIDATION):
            if benchmark.has(dataset, split):
                yield dataset, split.value, benchmark.accuracies(architectures, dataset, split)


def _expected() -> dict[str, Any]:
    return tomllib.loads((HERE / "expected" / "correlations.toml").read_text(encoding="utf-8"))


def analyse(folder: Path, names: Sequence[str], cells: Sequence[int]) -> list[dict[str, Any]]:
    """One row per estimator, data set, split and set of cells."""
    live = np.array([is_live(nb201.from_index(index)) for index in cells])
    given, known, rows = covariates(cells), _expected(), []
    samples = [
        (dataset, split, which, labels)
        for dataset, split, accuracies in _labels(cells, DATASETS)
        for which, kept in (("all", np.ones(len(cells), dtype=bool)), ("live", live))
        if (labels := labels_of(dataset, accuracies, given, kept)) is not None
    ]
    for name in names:
        scores, seconds = read(folder, name, cells)
        for dataset, split, which, labels in samples:
            rows.append({
                "estimator": name, "title": TITLES[name], "dataset": dataset, "split": split, "cells": which,
                **figures(scores, labels, name, dataset, split, which),
                "seconds_per_network": seconds, "published": published(name, dataset, split, which, known),
            })  # fmt: skip
    return rows


def analyse_naswot(folder: Path, dataset: str, cells: Sequence[int]) -> list[dict[str, Any]]:
    """NASWOT under its own protocol, with its filter and without, on the labels of the data set whose images it saw."""
    (scores, seconds), known, rows = read(folder, "naswot", cells), _expected(), []
    given = covariates(cells)
    for _, split, accuracies in _labels(cells, [dataset]):
        learned = (accuracies > 15) & np.isfinite(scores)
        for which, kept in (("naswot", learned), ("all", np.ones(len(cells), dtype=bool))):
            labels = labels_of(dataset, accuracies, given, kept)
            if labels is None:
                continue
            of_protocol = published("naswot", dataset, split, which, known) if which == "naswot" else []
            rows.append({
                "estimator": "naswot", "title": TITLES["naswot"], "dataset": dataset, "split": split,
                "cells": "above 15 %, failures left out" if which == "naswot" else "all, failures last",
                **figures(scores, labels, "naswot protocol", dataset, split, which),
                "seconds_per_network": seconds, "published": of_protocol,
            })  # fmt: skip
    return rows


def record(
    folder: Path, skeleton: str, dataset: str, given: Conditions, rows: Sequence[Mapping[str, Any]], n: int
) -> dict[str, Any]:
    """Put the rows of one folder into the JSON file, whose others stay; returns what it says of this one."""
    path = FOLDER / "correlations.json"
    reports = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    reports[folder.name] = {
        "skeleton": skeleton, "images_of": dataset, "conditions": given.drawn().model_dump(mode="json"), "n": n,
        "benchmark": load_nb201().provenance, "rows": list(rows),
    }  # fmt: skip
    replace_file(path, json.dumps(reports, indent=1) + "\n")
    report: dict[str, Any] = reports[folder.name]
    return report


def printed(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Lines for people: best first, with the tau of the first published protocol, or its rho."""
    lines = []
    for row in sorted(rows, key=lambda row: -(row["tau"] if row["tau"] is not None else -2)):
        known = next(iter(sorted(row["published"], key=lambda known: "tau" not in known)), None)
        kind = "tau" if known and "tau" in known else "rho"
        lines.append({
            "estimator": row["estimator"], "n": row["n"], "failed": row["n_failed"],
            "tied": _decimals(row["share_tied"]), "tau [95 %]": _interval(row, "tau"),
            "rho [95 %]": _interval(row, "rho"), "top tenth": _decimals(row["top_tau"]),
            "within level": _decimals(row["level_rho"]), "partial": _decimals(row["partial_rho"]),
            "nDCG": _decimals(row["ndcg"]), "s/network": f"{row['seconds_per_network']:.3g}",
            "published": f"{kind} {known[kind]:.3f}: {known['protocol']}" if known else "",
        })  # fmt: skip
    return lines


def _interval(row: Mapping[str, Any], name: str) -> str:
    if row[name] is None:
        return "-"
    return f"{row[name]:.3f} [{_decimals(row[f'{name}_low'])}, {_decimals(row[f'{name}_high'])}]"


def _decimals(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.3f}"


# --- figure -----------------------------------------------------------------------------------------------------------


def plot(report: Mapping[str, Any], costs: Mapping[str, Any], path: Path) -> None:
    """tau on CIFAR-10 test accuracies against milliseconds per network, each estimator a labelled point."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from eznas.reporting.figures import INKS

    column = f"ms_{report['skeleton']}"
    kinds = {row["estimator"]: row for row in costs["estimators"]}
    points = [
        (row, kinds[row["estimator"]][column]) for row in report["rows"]
        if (row["dataset"], row["split"], row["cells"]) == ("cifar10", "test", "all")
        and row["tau"] is not None and kinds.get(row["estimator"], {}).get(column)
    ]  # fmt: skip
    if not points:
        raise ConfigError("There is no estimator with both a correlation and a cost to draw")
    figure = Figure(figsize=(9.2, 5.6), layout="constrained")
    FigureCanvasAgg(figure)  # measures the labels
    ax = figure.subplots()
    ax.set_xscale("log")
    ax.grid(color=INKS["grid"], linewidth=0.8)
    ax.set_axisbelow(True)
    for row, ms in points:
        kind = _kind(kinds[row["estimator"]])
        ink, marker = {"neither": ("known", "s"), "gradients": ("found", "o"), "labels": ("pick", "D")}[kind]
        if row["tau_low"] is not None:
            ax.plot([ms, ms], [row["tau_low"], row["tau_high"]], color=INKS[ink], linewidth=1, alpha=0.35)
        ax.plot(ms, row["tau"], marker, color=INKS[ink], markersize=6.5, markeredgecolor=INKS["paper"], zorder=3)
    for label, (ink, marker) in {
        "neither labels nor gradients": ("known", "s"), "gradients": ("found", "o"), "labels and gradients":
        ("pick", "D"),
    }.items():  # fmt: skip
        ax.plot([], [], marker, color=INKS[ink], markersize=6.5, label=label)
    ax.legend(frameon=False, fontsize=9, loc="lower right")
    n = points[0][0]["n"]
    size = "one cell per stage, 16x16" if report["skeleton"] == "reduced" else "five cells per stage, 32x32"
    ax.set_xlabel(f"milliseconds per network, one core ({size}, batch of {costs['batch_size']})")
    ax.set_ylabel("Kendall's tau-b with CIFAR-10 test accuracy")
    ax.set_title(f"{n} cells of NAS-Bench-201, 200 epochs; bars: 95 %", loc="right", fontsize=9.5, color=INKS["muted"])
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.tick_params(colors=INKS["muted"], labelsize=9.5)
    ax.margins(x=0.12, y=0.08)
    _label(ax, [(ms, row["tau"], row["title"].replace("$", r"\$")) for row, ms in points], INKS)
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "eznas"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _kind(cost: Mapping[str, Any]) -> str:
    return "labels" if cost["labels"] else "gradients" if cost["gradients"] else "neither"


def _label(ax: Any, points: Sequence[tuple[float, float, str]], inks: Mapping[str, str]) -> None:
    """Each label at the nearest free place around its point, joined to it by a line where it is not beside it."""
    from matplotlib.transforms import Bbox

    figure = ax.figure
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # places are found once and must not move again
    renderer = figure.canvas.get_renderer()
    inside = ax.get_window_extent(renderer)
    places = ax.transData.transform([(x, y) for x, y, _ in points])
    radius = 5 * figure.dpi / 72
    taken = [Bbox.from_bounds(x - radius, y - radius, 2 * radius, 2 * radius) for x, y in places]
    taken.append(ax.get_legend().get_window_extent(renderer))
    for place in np.argsort(-places[:, 1]):
        x, y, name = points[place]
        best: tuple[float, Any, Any, tuple[float, float]] | None = None
        for distance in (7, 16, 26, 38, 52, 68, 86, 106):
            for angle in np.deg2rad(np.arange(0, 360, 15)):
                shift = (distance * math.cos(angle), distance * math.sin(angle))
                side = "center" if abs(shift[0]) < 0.3 * distance else "left" if shift[0] > 0 else "right"
                text = ax.annotate(
                    name, (x, y), xytext=shift, textcoords="offset points", ha=side, va="center", fontsize=9,
                    color=inks["ink"], zorder=4,
                )  # fmt: skip
                box = text.get_window_extent(renderer)
                is_free = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
                is_free = is_free and not any(box.overlaps(other) for other in taken)
                if is_free and (distance > JOINED or int(np.argmin(_distances(box, places))) == place):
                    best = (distance, text, box, shift)
                    break
                text.remove()
            if best:
                break
        if best is None:  # no room at all: beside the point, over whatever is there
            ax.annotate(name, (x, y), xytext=(7, 0), textcoords="offset points", va="center", fontsize=9)
            continue
        distance, _, box, shift = best
        taken.append(box.expanded(1.0, 1.05))
        if distance > JOINED:
            ax.annotate(
                "", (x, y), xytext=(shift[0] * 0.94, shift[1] * 0.94), textcoords="offset points", zorder=2,
                arrowprops={"arrowstyle": "-", "color": inks["known"], "linewidth": 0.7, "shrinkB": 3, "shrinkA": 0},
            )  # fmt: skip


def _distances(box: Any, places: np.ndarray) -> np.ndarray:
    """(n,) distance of each place from the nearest point of a box."""
    low, high = np.array([box.x0, box.y0]), np.array([box.x1, box.y1])
    return np.linalg.norm(np.maximum(np.maximum(low - places, places - high), 0), axis=1)


# --- command ----------------------------------------------------------------------------------------------------------


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--protocol", choices=("ours", "naswot"), default="ours",
                        help="naswot: full skeleton, one logit, batch of 128, every data set")  # fmt: skip
    parser.add_argument("--n", type=int, help="cells (500; 1,000 for naswot)")
    parser.add_argument("--skeleton", choices=("reduced", "full"), default="reduced")
    parser.add_argument("--batch", type=int, help="images (32; 128 for naswot)")
    parser.add_argument("--dataset", choices=DATASETS, help="images and number of classes (cifar10; naswot: all three)")
    parser.add_argument("--estimators", help="names separated by commas; all without it")
    parser.add_argument("--seed", type=int, default=0, help="of initialisation and batch")
    parser.add_argument("--workers", type=int, default=0)
    return parser.parse_args(argv)


def _names(asked: str | None) -> list[str]:
    programs = [name for name, known in KNOWN_PROGRAMS.items() if known.equals is None]  # the others are estimators
    names = list(dict.fromkeys([*(estimator.name for estimator in PUBLISHED), *programs]))
    chosen = names if asked is None else list(dict.fromkeys(asked.split(",")))
    unknown = [name for name in chosen if name not in names]
    if unknown:
        raise ConfigError(f"--estimators names {', '.join(unknown)}; expected some of {', '.join(names)}")
    return chosen


def run_ours(options: argparse.Namespace) -> None:
    """Every estimator in one condition."""
    names, cells = _names(options.estimators), draw_cells(500 if options.n is None else options.n)
    batch_size = 32 if options.batch is None else options.batch
    asked = (options.skeleton, options.dataset or "cifar10", batch_size, options.seed)
    given, folder = conditions(*asked), folder_of(*asked)
    score(folder, given, names, cells, options.workers)
    rows = analyse(folder, names, cells)
    report = record(folder, *asked[:2], given, rows, len(cells))
    for dataset, split in dict.fromkeys((row["dataset"], row["split"]) for row in rows):
        for which in ("all", "live"):
            shown = [r for r in rows if (r["dataset"], r["split"], r["cells"]) == (dataset, split, which)]
            print(f"\n{dataset} {split} accuracies, {which} cells, {folder.name}")
            print(render_table(printed(shown), "table", width=200), end="")
    if COSTS.exists():
        plot(report, json.loads(COSTS.read_text(encoding="utf-8")), FOLDER / "estimators.svg")
    else:
        print(f"\nThere is no {COSTS}: run experiments/estimator_costs.py, then this again, for the figure.")


def run_naswot(options: argparse.Namespace) -> None:
    """NASWOT as it was published, on every data set."""
    cells, rows = draw_cells(1000 if options.n is None else options.n), []
    for dataset in (options.dataset,) if options.dataset else DATASETS:
        asked = ("full", dataset, 128 if options.batch is None else options.batch, options.seed, 1)
        given, folder = conditions(*asked), folder_of(*asked)
        score(folder, given, ["naswot"], cells, options.workers)
        found = analyse_naswot(folder, dataset, cells)
        record(folder, *asked[:2], given, found, len(cells))
        rows += found
    for row in rows:
        (line,) = printed([row])
        print(f"{row['dataset']} {row['split']}, {row['cells']}: n {row['n']}, failed {row['n_failed']}, tau "
              f"{line['tau [95 %]']}, rho {line['rho [95 %]']}; published: {line['published'] or '-'}")  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    try:
        run_naswot(options) if options.protocol == "naswot" else run_ours(options)
    except EznasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

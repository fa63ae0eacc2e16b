"""The questions of the study of estimators, answered on every space at hand: what docs/assessment.md shows.

Networks of each benchmark are drawn uniformly and scored (all of a table that has no more), and every estimator is
assessed beside parameters, MACs, layers and chance, as `eznas assess` does it. Then rank sums of three ("votes"), the
published scores of NAS-Bench-Suite-Zero on their own networks, stability over seeds and batches, biases, and, of score
files of more cells, edits. Scores and assessments stay in the folder: the command goes on where it stopped.

    python experiments/assessment.py [--folder DIR] [--supernet RUN] [--cells FILE.csv ...] [--workers N] [--into FILE]
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from eznas.assessment import paired_difference
from eznas.assessment.assessment import as_document
from eznas.benchmarks import BENCHMARKS, Benchmark, load_benchmark, reporting_split
from eznas.benchmarks.suite_zero import load_nb301
from eznas.errors import BenchmarkError, EznasError
from eznas.files import write_output
from eznas.fitness import Labels, kendall_tau_b
from eznas.fitness.aggregation import aggregate_scores, sorted_reference
from eznas.progress import make_observer
from eznas.randomness import stream
from eznas.spaces import Architecture, darts, nb201
from eznas.study import Machine
from eznas.study.assess import Options, assess
from eznas.study.score import score_into_file

SEED: Final = 0
N: Final = 200
ESTIMATORS: Final = (
    "grad_norm", "plain", "snip", "grasp", "fisher", "synflow", "logsynflow", "synflow_bn", "jacob_cov", "naswot",
    "epe_nas", "zen", "meco", "l2_norm",
)  # fmt: skip
GALLERY: Final = ("gallery:general", "gallery:dimensionality")
VOTES: Final = (("jacob_cov", "snip", "synflow"), ("naswot", "jacob_cov", "synflow"), ("plain", "grasp", "synflow"))
"""Experts of the study: on NAS-Bench-201 and in its last version, and on NAS-Bench-301."""
STABLE: Final = ("naswot", "epe_nas", "jacob_cov", "synflow", "snip", "grad_norm", "fisher", "grasp")
STABLE_ON: Final = ("nb201", "nds_darts_in", "net_residual")
N_STABLE: Final = 40
SPACES: Final = ("nb201", "nb101", "nb301", "nds_darts_in", "nds_enas_in", "nds_amoeba_in", "nds_resnext_a_in")
RESAMPLES: Final = 1000
PUBLISHED_NAMES: Final = {"jacov": "jacob_cov", "nwot": "naswot"}
"""Names of the published scores that we call otherwise."""


def families() -> tuple[str, ...]:
    """The shipped families of networks."""
    return tuple(name for name in BENCHMARKS if name.startswith("net_"))


# Scores ---------------------------------------------------------------------------------------------------------------


def drawn(benchmark: Benchmark, n: int) -> tuple[Architecture, ...]:
    """At most `n` networks of a benchmark, drawn uniformly."""
    order = stream(SEED, "assessment", benchmark.name).permutation(len(benchmark.architectures))[:n]
    return tuple(benchmark.architectures[place] for place in order)


def scored(folder: Path, benchmark: Benchmark, n: int, workers: int, supernet: Path | None = None) -> list[Path]:
    """Files of scores of some networks of a benchmark, of votes, and of a supernet of its space."""
    networks = drawn(benchmark, n)
    listed = folder / f"{benchmark.name}.txt"
    write_output(listed, "".join(f"{arch.space}:{arch.spec}\n" for arch in networks))
    files = []
    with make_observer(quiet=False) as observer:
        for kind, names in (("published", ESTIMATORS), ("gallery", GALLERY)):
            path = folder / f"{benchmark.name}-{kind}.csv"
            score_into_file(path, names, f"@{listed}", machine=Machine(workers=workers), observer=observer)
            files.append(path)
        if supernet is not None:
            path = folder / f"{benchmark.name}-oneshot.csv"
            names = [f"oneshot:{supernet}{kind}" for kind in ("", ":loss", ":ensemble")]
            score_into_file(path, names, f"@{listed}", machine=Machine(workers=workers), observer=observer)
            renamed = folder / f"{benchmark.name}-oneshot-named.csv"
            renamed.write_text(path.read_text(encoding="utf-8").replace(f"oneshot:{supernet}", "oneshot"))
            files.append(renamed)
    return [*files, votes(files[0])]


def votes(path: Path) -> Path:
    """A file of sums of ranks of three columns, a column for each of `VOTES` whose experts are there."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    made: dict[str, Any] = {}
    for experts in VOTES:
        if all(name in rows[0] for name in experts):
            values = np.array([[float(row[name] or "nan") for row in rows] for name in experts])
            made["+".join(experts)] = aggregate_scores(values, sorted_reference(values), mode="rank_sum")
    found = path.with_name(f"{path.stem}-votes.csv")
    lines = [[row["network"], *(repr(float(made[name][at])) for name in made)] for at, row in enumerate(rows)]
    return write_scores(found, ["network", *made], lines)


def vote_gaps(path: Path, benchmark: Benchmark, dataset: str, shared: Path | None = None) -> dict[str, Any]:
    """By how much the tau of each vote is above that of its best expert, with the paired interval.

    A vote whose best expert fails too often to be compared is left out. Of a file of one-shot estimates the ensemble is
    compared with the accuracy of the last checkpoint.
    """
    networks, columns = columns_of(path, benchmark)
    _, summed = columns_of(votes(path), benchmark)
    labels = Labels(
        dataset,
        benchmark.accuracies(networks, dataset, reporting_split(benchmark, (dataset,))),
        np.arange(len(networks)),
    )
    found = {}
    for name, vote in summed.items():
        best = max(name.split("+"), key=lambda expert: kendall_tau_b(columns[expert], labels.accuracies))
        try:
            gap = paired_difference(vote, columns[best], labels, rng=stream(SEED, "assessment", "votes"))
        except BenchmarkError:
            continue
        found[name] = [best, *_three(gap.model_dump())]
    if shared is not None:
        _, of = columns_of(shared, benchmark)
        pair = (of["oneshot:ensemble"], of["oneshot"])
        gap = paired_difference(*pair, labels, rng=stream(SEED, "assessment", "votes"))
        found["oneshot:ensemble"] = ["oneshot", *_three(gap.model_dump())]
    return found


def write_scores(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Path:
    """A table of scores as a CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    return path


def published_scores(folder: Path) -> dict[tuple[str, str], Path]:
    """The scores that NAS-Bench-Suite-Zero publishes, by benchmark and data set; nothing without EZNAS_DATA."""
    data = Path(os.environ.get("EZNAS_DATA", ""))
    found: dict[tuple[str, str], Path] = {}
    source = data / "nb201_reference_scores.csv.gz"
    if not os.environ.get("EZNAS_DATA") or not source.is_file():
        return found
    rows = _read(source)
    for dataset, ours in (("cifar10", "cifar10"), ("cifar100", "cifar100"), ("ImageNet16-120", "imagenet16")):
        mine = [row for row in rows if row["dataset"] == dataset]
        if mine:
            path = folder / f"published-nb201-{ours}.csv"
            found["nb201", ours] = _published(path, mine, [row["arch_str"] for row in mine])
    source = data / "nb301_reference_scores.csv.gz"
    if source.is_file():
        rows = _read(source)
        cells = load_nb301(data).architectures
        if len(cells) == len(rows):
            specs = [arch.spec for arch in cells]
            found["nb301", "cifar10"] = _published(folder / "published-nb301-cifar10.csv", rows, specs)
    return found


def _read(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _published(path: Path, rows: Sequence[Mapping[str, str]], specs: Sequence[str]) -> Path:
    known = {"dataset", "arch_str", "arch", "val_accuracy", "params", "flops"}
    names = [name for name in rows[0] if name not in known]
    header = ["network", *(PUBLISHED_NAMES.get(name, name) for name in names)]
    lines: dict[str, list[str]] = {}
    for spec, row in zip(specs, rows, strict=True):
        lines.setdefault(spec, [spec, *(row[name] for name in names)])
    return write_scores(path, header, [*lines.values()])


# Assessments ----------------------------------------------------------------------------------------------------------


def document(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a file holds; made and written if there is none."""
    if not path.exists():
        write_output(path, json.dumps(make(), allow_nan=False) + "\n")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def assessed(files: Sequence[Path], name: str, dataset: str, **options: Any) -> dict[str, Any]:
    """The assessment of the columns of some files, reduced to what the page shows."""
    with make_observer(quiet=False) as observer:
        found = assess(
            [str(path) for path in files], Options(benchmark=name, dataset=dataset, **options), machine=Machine(),
            observer=observer,
        )  # fmt: skip
    return reduced(as_document(found))


def reduced(found: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an assessment that is kept, with four decimals."""
    proxies = {}
    for one in found["proxies"]:
        tau, gap = one["measurement"]["tau"], one["differences"].get("tau")
        if tau is None:
            proxies[one["name"]] = {"reason": one["measurement"]["reason"], "baseline": one["is_baseline"]}
            continue
        level = one["measurement"].get("level_rho")
        proxies[one["name"]] = {
            "baseline": one["is_baseline"], "failed": one["measurement"]["n_failed"], "tau": _three(tau),
            "difference": gap and _three(gap), "from": gap and gap["from"], "level": level and _three(level),
            "rho": _three(one["measurement"]["rho"]), "pearson": _three(one["criteria"]["pearson"]),
            **{
                name: {share: [_short(value), *map(_short, one["pick_intervals"][name][share])]
                       for share, value in by_share.items()}
                for name, by_share in one["picks"].items() if name in one["pick_intervals"]
            },
            "by_size": [
                [_short(group["difference"]), _short(group["tau"])] for group in one["bias"]["by_size"]
            ],
            "edits": [
                [edit["before"], edit["after"], edit["n"], _short(edit["truth"]), _short(edit["estimate"])]
                for edit in one["bias"]["by_edit"][:15]
            ],
            "stability": [
                {"over": of["over"], "taus": [_short(tau) for tau in of["taus"]], "retest": _short(of["retest"]),
                 "averaged": {n: _short(tau) for n, tau in of["averaged"].items()}}
                for of in one["stability"]
            ],
        }  # fmt: skip
    keys = ("benchmark", "dataset", "split", "epochs", "n", "label_noise")
    return {**{key: found[key] for key in keys}, "proxies": proxies}


def _three(criterion: Mapping[str, Any]) -> list[float | None]:
    return [_short(criterion.get(name)) for name in ("value", "low", "high")]


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


# Biases ---------------------------------------------------------------------------------------------------------------


def columns_of(path: Path, benchmark: Benchmark) -> tuple[list[Architecture], dict[str, np.ndarray]]:
    """The networks of a file and each column of scores, failures lowest."""
    known = {arch.spec: arch for arch in benchmark.architectures}
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["network"] in known]
    names = [name for name in rows[0] if name not in ("index", "network", "content", "failed", "seconds")]
    values = {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}
    return [known[row["network"]] for row in rows], {
        name: np.where(np.isfinite(v), v, -np.inf) for name, v in values.items()
    }


def tau_of(x: np.ndarray, y: np.ndarray, *purpose: str) -> list[float | None]:
    """tau-b with its 95 % bootstrap interval over the networks."""
    if len(np.unique(x)) < 2 or len(np.unique(y)) < 2:
        return [None, None, None]
    rng = stream(SEED, "assessment", "bias", *purpose)
    draws = [rng.integers(len(x), size=len(x)) for _ in range(RESAMPLES)]
    taus = [kendall_tau_b(x[at], y[at]) for at in draws if len(np.unique(x[at])) > 1 and len(np.unique(y[at])) > 1]
    low, high = np.quantile(taus, [0.025, 0.975])
    return [_short(float(v)) for v in (kendall_tau_b(x, y), low, high)]


def depth_of(arch: Architecture) -> float:
    """Operations on the longest way through the normal cell of a pair of DARTS cells, those that skip not counted."""
    normal, _ = arch.spec.split("/")[-2:] if "/" in arch.spec else (arch.spec, "")
    depths = [0.0, 0.0]
    for node in normal.split("+"):
        reached = [
            depths[int(edge.split("~")[1])] + (edge.split("~")[0] not in ("skip_connect", "none"))
            for edge in node.strip("|").split("|")
        ]
        depths.append(max(reached))
    return max(depths)


def biases(path: Path, benchmark: Benchmark, of: Mapping[str, Callable[[Architecture], float]]) -> dict[str, Any]:
    """tau of each column of a file, and of the accuracies, with numbers of the networks."""
    networks, columns = columns_of(path, benchmark)
    dataset = benchmark.datasets[0]
    split = reporting_split(benchmark, (dataset,))
    columns = {"accuracy": benchmark.accuracies(networks, dataset, split), **columns}
    found: dict[str, Any] = {"n": len(networks)}
    for name, number in of.items():
        values = np.array([float(number(arch)) for arch in networks])
        found[name] = {column: tau_of(x, values, name) for column, x in columns.items()}
    return found


def edits(path: Path, benchmark: Benchmark) -> dict[str, Any]:
    """Of pairs of cells one edit apart: how often accuracy and score rise, for edits of a skip or a convolution."""
    networks, columns = columns_of(path, benchmark)
    dataset = benchmark.datasets[0]
    split = reporting_split(benchmark, (dataset,))
    columns = {"accuracy": benchmark.accuracies(networks, dataset, split), **columns}
    at = {nb201.operations(arch): place for place, arch in enumerate(networks)}
    found: dict[str, Any] = {"n": len(networks)}
    for before, after in (("none", "skip_connect"), ("skip_connect", "nor_conv_3x3"), ("nor_conv_1x1", "nor_conv_3x3")):
        pairs = [
            (place, at[other])
            for operations, place in at.items()
            for edge, name in enumerate(operations)
            if name == before and (other := (*operations[:edge], after, *operations[edge + 1 :])) in at
        ]
        if not pairs:
            continue
        first, second = np.array(pairs).T
        found[f"{before} -> {after}"] = {
            "pairs": len(pairs),
            **{name: _short(float(np.mean((v[second] > v[first]) + 0.5 * (v[second] == v[first]))))
               for name, v in columns.items()},
        }  # fmt: skip
    return found


# All ------------------------------------------------------------------------------------------------------------------


def measured(folder: Path, supernet: Path | None, cells: Sequence[Path], workers: int) -> dict[str, Any]:
    """Everything; a benchmark that is not at hand is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = ("spaces", "published", "votes", "stability", "bias", "edits", "cells")
    result: dict[str, Any] = {kind: {} for kind in kinds}
    for (name, dataset), path in published_scores(folder).items():
        made = folder / f"published-{name}-{dataset}.json"
        result["published"][f"{name} {dataset}"] = document(
            made, lambda path=path, name=name, dataset=dataset: assessed([path, votes(path)], name, dataset)
        )  # fmt: skip
    for name in (*SPACES, *families()):
        try:
            benchmark = load_benchmark(name)
        except BenchmarkError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        files = scored(folder, benchmark, N, workers, supernet if name == "nb201" else None)
        for dataset in benchmark.datasets:
            result["votes"][f"{name} {dataset}"] = document(
                folder / f"{name}-{dataset}-votes.json",
                lambda files=files, benchmark=benchmark, dataset=dataset: vote_gaps(
                    files[0], benchmark, dataset, next((path for path in files if "oneshot" in path.stem), None)
                ),
            )
            result["spaces"][f"{name} {dataset}"] = document(
                folder / f"{name}-{dataset}.json",
                lambda files=files, name=name, dataset=dataset: assessed(files, name, dataset),
            )
        numbers: dict[str, Callable[[Architecture], float]] = {}
        if name == "nb201":
            numbers = {
                "parameters": lambda arch: nb201.parameter_count(arch, nb201.FULL),
                "skips": lambda arch: nb201.operations(arch).count("skip_connect"),
            }
        elif name == "nb301":
            numbers = {
                "parameters": lambda arch: darts.counts(arch, darts.FULL, 32).parameters,
                "depth": depth_of,
            }
        if numbers:
            result["bias"][name] = document(
                folder / f"{name}-bias.json",
                lambda files=files, benchmark=benchmark, numbers=numbers: biases(files[0], benchmark, numbers),
            )
    for name in STABLE_ON:
        if f"{name} {load_benchmark(name).datasets[0]}" in result["spaces"]:
            result["stability"][name] = document(folder / f"{name}-stability.json", lambda name=name: _stable(name))
    benchmark = load_benchmark("nb201")
    for path in cells:
        result["edits"][path.stem] = edits(path, benchmark)
        for dataset in benchmark.datasets:
            result["cells"][f"{path.stem} {dataset}"] = document(
                folder / f"cells-{path.stem}-{dataset}.json",
                lambda path=path, dataset=dataset: assessed([path], "nb201", dataset),
            )
    return result


def as_text(result: Mapping[str, Any]) -> str:
    """The results as JSON, a line for each sample and kind: of samples the shares K that the page shows."""
    kinds = []
    for kind, samples in result.items():
        lines = []
        for key, one in samples.items():
            if kind in ("spaces", "published", "stability"):
                one = {**one, "proxies": {name: _shown(of) for name, of in one["proxies"].items()}}
            lines.append(f"  {json.dumps(key)}: {json.dumps(one)}")
        kinds.append(f" {json.dumps(kind)}: {{\n" + ",\n".join(lines) + "\n }")
    return "{\n" + ",\n".join(kinds) + "\n}\n"


def _shown(of: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in of.items() if key not in ("edits", "best_rank", "worst_rank")}
    for name in ("precision_top", "precision_bottom"):
        if name in kept:
            kept[name] = {share: three for share, three in kept[name].items() if share in ("0.05", "0.1")}
    return kept


def _stable(name: str) -> dict[str, Any]:
    with make_observer(quiet=False) as observer:
        options = Options(benchmark=name, n=N_STABLE, n_seeds=3, n_batches=5)
        return reduced(as_document(assess(STABLE, options, machine=Machine(), observer=observer)))


def main(arguments: Sequence[str]) -> int:
    """Write the results; the exit status is 1 if something is not at hand."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/assessment"))
    parser.add_argument("--supernet", type=Path, help="a trained supernet of NAS-Bench-201 (make oneshot)")
    parser.add_argument("--cells", type=Path, nargs="*", default=[], help="scores of many NAS-Bench-201 cells")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--into", type=Path, default=Path("experiments/results/assessment.json"))
    given = parser.parse_args(arguments)
    try:
        found = measured(given.folder, given.supernet, given.cells, given.workers)
    except EznasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    write_output(given.into, as_text(found))
    print(given.into)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Published estimators beside the scores that their own code gave the same networks, in three search spaces.

Needs EZNAS_DATA with the reference scores and the images. Networks are the benchmarks' own (full skeleton, 32x32; 16x16
for ImageNet16-120) under the initialisation that the l2_norm of the table shows: PyTorch's, for NAS-Bench-101 normal
with fan-out; DARTS networks normalise after each pooling, as those behind the table do. All networks of a table see one
batch of real images; a second time others for every few networks. Besides, of every row of every table: do the
parameters agree, and do the multiply-accumulates in the convention of the tool that counted them there?

    python experiments/validate_estimators.py [--n CELLS] [--batch IMAGES] [--only SPACE/DATASET]
        [--estimators NAME,...] [--workers N] [--counts ROWS] [--no-retest]
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import math
import os
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from eznas.conditions import Conditions, image_batch
from eznas.errors import BenchmarkError, EznasError
from eznas.estimators import by_name
from eznas.files import replace_file
from eznas.fitness import bootstrap_interval, spearman
from eznas.location import DATA_VARIABLE
from eznas.progress import make_observer
from eznas.randomness import stream
from eznas.scoring import Scores, score_networks
from eznas.spaces import SPACES, Architecture, CellSettings, darts, nb101, nb201
from eznas.study import single_threaded
from eznas.tables import render_table
from eznas.workers import Pool, open_pool

HERE = Path(__file__).parent
COLUMNS = {
    "parameter_count": "params", "mac_count": "flops", "l2_norm": "l2_norm", "grad_norm": "grad_norm",
    "plain": "plain", "snip": "snip", "grasp": "grasp", "fisher": "fisher", "synflow": "synflow",
    "jacob_cov": "jacov", "epe_nas": "epe_nas", "naswot": "nwot", "zen": "zen",
}  # fmt: skip
"""By estimator: its column in the reference tables."""
FAILED = -1e8
"""What the reference writes where a score is not finite; it counts as the lowest on both sides."""
SAME_DRAW = 4
"""Networks that share images and random weights when all are scored once more; in the tables none do."""
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A table of scores that the published code gave.

    Attributes:
        space: of the architectures.
        dataset: the images they were scored on.
        file: of the table.
        read: the architecture of a row.
        n_classes: of the networks.
        input_size: height and width of the images in pixels.
        zen: column of the Zen score in a table of its own; None if there is none.
        scheme: of initialisation, as the l2_norm of the table shows.
    """

    space: str
    dataset: str
    file: str
    read: Callable[[Mapping[str, str]], Architecture]
    n_classes: int = 10
    input_size: int = 32
    zen: str | None = None
    scheme: str = "default"

    @property
    def name(self) -> str:
        return f"{self.space}/{self.dataset}"

    @property
    def settings(self) -> CellSettings:
        full = SPACES[self.space].full
        assert full is not None
        return full.model_copy(update={"n_classes": self.n_classes, "scheme": self.scheme})


def _nb201(row: Mapping[str, str]) -> Architecture:
    return nb201.architecture(row["arch_str"])


REFERENCES = (
    Reference(
        space="nb201", dataset="cifar10", file="nb201_reference_scores.csv.gz", read=_nb201, zen="zen_cifar10"
    ),
    Reference(
        space="nb201", dataset="cifar100", file="nb201_reference_scores.csv.gz", read=_nb201, zen="zen_cifar100",
        n_classes=100,
    ),
    Reference(
        space="nb201", dataset="imagenet16", file="nb201_reference_scores.csv.gz", read=_nb201, zen="zen_im16",
        n_classes=120, input_size=16,
    ),
    Reference(
        space="nb101", dataset="cifar10", file="nb101_reference_scores.csv.gz",
        read=lambda row: nb101.from_code(row["arch"]), scheme="eznas",
    ),
    Reference(
        space="darts", dataset="cifar10", file="nb301_reference_scores.csv.gz",
        read=lambda row: darts.from_code(row["arch"], normalised_pooling=True),
    ),
)  # fmt: skip
_DATASETS = {"imagenet16": ("imagenet16", "ImageNet16-120", "im16")}


def published(reference: Reference, folder: Path) -> dict[Architecture, dict[str, float]]:
    """The published scores by architecture and column; what is not finite there is `FAILED`, what is missing left out.

    Raises:
        BenchmarkError: if a file is missing.
    """
    rows: dict[Architecture, dict[str, float]] = {}
    names = _DATASETS.get(reference.dataset, (reference.dataset,))
    for row in _rows(folder, reference.file):
        if row.get("dataset", reference.dataset) in names:
            rows[reference.read(row)] = {
                column: float(row[column]) for column in COLUMNS.values() if row.get(column) not in (None, "")
            }
    if reference.zen is not None:
        for row in _rows(folder, "nb201_reference_zen.csv.gz"):
            arch = reference.read(row)
            if arch in rows and row[reference.zen]:
                rows[arch]["zen"] = float(row[reference.zen])
    return rows


def _rows(folder: Path, name: str) -> list[dict[str, str]]:
    if not (folder / name).is_file():
        raise BenchmarkError(f"The reference scores {name} are not in {folder}; set {DATA_VARIABLE} to their folder")
    with gzip.open(folder / name, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# ------------------------------------------------------------------------------------------------------ counts, exactly


_MODULES: Mapping[str, Any] = {"nb201": nb201, "nb101": nb101, "darts": darts}


def count_agreement(
    reference: Reference, theirs: Mapping[Architecture, Mapping[str, float]], n_counted: int | None
) -> dict[str, Any]:
    """On how many rows parameters and operations agree to the last one; how far our MACs are below the operations.

    Operations take a tenth of a second per network: `n_counted` of them, evenly spaced, are counted; None counts all.
    """
    module, settings, size = _MODULES[reference.space], reference.settings, reference.input_size
    parameters = [module.parameter_count(arch, settings) == round(row["params"] * 1e6) for arch, row in theirs.items()]
    macs = [1 - module.mac_count(arch, settings, size) / (row["flops"] * 1e6) for arch, row in theirs.items()]
    counted = [*theirs][:: 1 if not n_counted else max(1, len(theirs) // n_counted)][:n_counted]
    operations = [tool_count(reference, arch) == round(theirs[arch]["flops"] * 1e6) for arch in counted]
    return {
        "space": reference.space, "dataset": reference.dataset,
        "parameters_exact": f"{sum(parameters)}/{len(parameters)}",
        "operations_exact": f"{sum(operations)}/{len(operations)}",
        "macs_below_by": f"{min(macs):.2%} to {max(macs):.2%}",
    }


def tool_count(reference: Reference, arch: Architecture) -> int:
    """Operations of one image in the convention of the tool behind the tables.

    Multiply-accumulates of convolutions and linear layers without biases, and per element of the output 1 for a ReLU, 2
    for a batch normalisation with affine parameters and 1 without, k^2 for a k x k pooling; global pooling of s x s
    places, where it is a module, adds (s + 1)^2.
    """
    total: int = _MODULES[reference.space].mac_count(arch, reference.settings, reference.input_size)
    return total - reference.n_classes + _beside_macs(reference, _like(arch))


def _like(arch: Architecture) -> Architecture:
    """An architecture that applies as many of each counted operation; of NAS-Bench-201 many share one."""
    if arch.space != nb201.NAME:
        return arch
    return nb201.architecture(sorted(o.replace("skip_connect", "none") for o in nb201.operations(arch)))


@cache
def _beside_macs(reference: Reference, arch: Architecture) -> int:
    extra = [0]

    def add(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        extra[0] += _tool_extra(reference, module, arguments[0], output)

    with torch.no_grad(), torch.device("meta"):  # shapes alone: nothing is computed
        network = SPACES[reference.space].allocate(arch, reference.settings).eval()
        for module in network.modules():
            module.register_forward_hook(add)
        network(torch.empty(1, 3, reference.input_size, reference.input_size))
    return extra[0]


def _tool_extra(reference: Reference, module: nn.Module, source: Tensor, output: Tensor) -> int:
    n = output.numel()
    match module:
        case nn.ReLU():
            return n
        case nn.BatchNorm2d():
            return n * (2 if module.affine else 1)
        case nn.MaxPool2d() | nn.AvgPool2d():
            return n * int(module.kernel_size) ** 2  # type: ignore[call-overload]
        case nn.AdaptiveAvgPool2d():
            return 0 if reference.space == "nb101" else (source.shape[-1] + 1) ** 2 * n
        case _:
            return 0


# ---------------------------------------------------------------------------------------------------- scores, in ranks


def conditions(reference: Reference, batch_size: int, seed: int) -> Conditions:
    """The benchmark's own networks on images of full size."""
    rng = stream(seed, "validate", "images")
    images, targets = image_batch(reference.dataset, batch_size=batch_size, input_size=reference.input_size, rng=rng)
    return Conditions(settings=reference.settings, seed=seed).given(images, targets)


def compare(
    reference: Reference,
    chosen: Sequence[Architecture],
    theirs: Mapping[Architecture, Mapping[str, float]],
    ours: Scores,
    again: np.ndarray | None,
    names: Sequence[str],
    batch_size: int,
) -> list[dict[str, Any]]:
    """One row per estimator: rank agreement with the table, with a 95 % bootstrap interval over the networks.

    Args:
        reference: which table.
        chosen: (n,) networks.
        theirs: their published scores.
        ours: scores of all networks with the same images and the same random numbers for their weights.
        again: (estimators, n) scores with others for every few networks, as in the tables; None without.
        names: of the estimators.
        batch_size: images.
    """
    expected = tomllib.loads((HERE / "expected" / "validate_estimators.toml").read_text(encoding="utf-8"))
    ceilings = expected.get(reference.name, {}).get("ceiling", {})
    rows = []
    for position, name in enumerate(names):
        scores = _failed_last(ours.scores[position])
        is_known = np.array([COLUMNS[name] in theirs[arch] for arch in chosen])
        known = np.array([theirs[arch].get(COLUMNS[name], FAILED) for arch in chosen])
        known = _failed_last(known)
        rng = stream(SEED, "validate", "bootstrap", name)
        low, high = bootstrap_interval(scores[is_known], known[is_known], statistic="spearman", rng=rng)
        rho = spearman(scores[is_known], known[is_known])
        retest = with_known = None
        if again is not None:
            second = _failed_last(again[position])
            retest = _rounded(spearman(scores, second))
            with_known = _rounded(spearman(second[is_known], known[is_known]))
        bar = ceilings.get(name, retest)
        rows.append({
            "estimator": name, "space": reference.space, "dataset": reference.dataset, "n": int(is_known.sum()),
            "batch_size": batch_size, "spearman_with_reference": _rounded(rho),
            "low": _rounded(low), "high": _rounded(high),
            "ceiling": ceilings.get(name), "own_retest": retest, "retest_with_reference": with_known,
            "within_tolerance": None if bar is None else bool(rho >= bar - expected["tolerance"]),
            "seconds_per_network": float(f"{ours.seconds[position]:.3g}"),
        })  # fmt: skip
    return rows


def _failed_last(scores: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(scores), scores, FAILED)


def _rounded(value: float) -> float | None:
    """To four digits; None for the NaN of constant scores, which JSON does not have."""
    return None if math.isnan(value) else round(value, 4)


def validate(
    reference: Reference,
    folder: Path,
    n: int,
    batch_size: int,
    n_counted: int | None,
    retest: bool,
    estimators: Sequence[str] | None,
    pool: Pool,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The agreement of counts, and one row for each of the estimators (None: all) of which the table has scores."""
    theirs = published(reference, folder)
    if not theirs:
        raise BenchmarkError(f"{folder / reference.file} has no rows of {reference.name}")
    counts = count_agreement(reference, theirs, n_counted)
    names = [name for name in COLUMNS if any(COLUMNS[name] in row for row in theirs.values())]
    whole = [arch for arch, row in theirs.items() if all(COLUMNS[name] in row for name in names)]
    rng = stream(SEED, "validate", reference.name)
    chosen = [whole[i] for i in sorted(rng.choice(len(whole), min(n, len(whole)), replace=False).tolist())]
    names = [name for name in names if estimators is None or name in estimators]
    proxies = [by_name(name) for name in names]
    with make_observer(quiet=False) as observer:

        def score(architectures: Sequence[Architecture], seed: int) -> Scores:
            given = conditions(reference, batch_size, seed)
            return score_networks(proxies, architectures, given, pool, progress=observer.advance)

        observer.stage(f"Scoring {len(chosen)} networks of {reference.name}")
        found = score(chosen, SEED)
        again = np.empty_like(found.scores) if retest else None
        n_draws = math.ceil(len(chosen) / SAME_DRAW)
        for draw in range(n_draws if again is not None else 0):
            observer.stage(f"{reference.name} once more, images and weights {draw + 1} of {n_draws}")
            again[:, draw::n_draws] = score(chosen[draw::n_draws], SEED + 1 + draw).scores
    return counts, compare(reference, chosen, theirs, found, again, names, batch_size)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Published estimators beside the scores of their own code.")
    parser.add_argument("--n", type=int, default=40, help="networks of each table")
    parser.add_argument("--batch", type=int, default=32, help="images")
    parser.add_argument("--only", choices=[reference.name for reference in REFERENCES], help="one table alone")
    parser.add_argument("--estimators", help="names separated by commas; all without")
    parser.add_argument("--workers", type=int, default=0, help="Ray workers; 0 works in this process")
    parser.add_argument("--counts", type=int, help="rows to count operations of; all without, 0 keeps the last")
    parser.add_argument("--no-retest", action="store_true", help="do not score a second time")
    arguments = parser.parse_args(argv)
    if arguments.n < 2 or arguments.batch < 2:
        parser.error(f"--n and --batch take at least 2, got {arguments.n} and {arguments.batch}")
    estimators = arguments.estimators and arguments.estimators.split(",")
    unknown = [name for name in estimators or () if name not in COLUMNS]
    if unknown:
        parser.error(f"--estimators takes some of {', '.join(COLUMNS)}, got {', '.join(unknown)}")
    folder = Path(os.environ.get(DATA_VARIABLE, "."))
    counts, rows = [], []
    pool = open_pool(arguments.workers)
    try:
        with single_threaded():
            for reference in REFERENCES:
                if arguments.only in (None, reference.name):
                    count, found = validate(
                        reference, folder, arguments.n, arguments.batch, arguments.counts, not arguments.no_retest,
                        estimators, pool,
                    )  # fmt: skip
                    counts.append(count)
                    rows += found
                    record([] if arguments.counts == 0 else [count], found)
    except EznasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        pool.close()
    print(render_table(counts, "table", width=100), end="")
    print(render_table(rows, "table", width=190))
    return 0


def record(counts: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write what was found of a table; what the files say of other tables and estimators stays."""
    folder = Path("runs") / "validation"
    for name, found in (("estimators.json", rows), ("counts.json", counts)):
        path = folder / name
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        replaced = {_key(row) for row in found}
        kept = [row for row in before if _key(row) not in replaced]
        replace_file(path, json.dumps([*kept, *found], indent=1) + "\n")


def _key(row: Mapping[str, Any]) -> tuple[str, str, str | None]:
    return row["space"], row["dataset"], row.get("estimator")


if __name__ == "__main__":
    raise SystemExit(main())

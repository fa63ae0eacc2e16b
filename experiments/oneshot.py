"""One-shot estimates beside zero-shot proxies: a supernet is trained, and its estimates rank cells.

Trains the reduced supernet of ``oneshot.toml`` (or goes on), draws NAS-Bench-201 cells uniformly, and measures tau with
the test accuracies on CIFAR-10 after 200 epochs: of accuracy and loss with inherited weights, of an ensemble over the
last checkpoints, of how closely training images are fitted, of parameters, MACs and NASWOT. Then how accuracy and loss
rank after fewer epochs, how much two checkpoints in a row agree, and what architectures lose between their step and the
end of its epoch.

With the settings of ``oneshot_darts.toml`` it does so for DARTS cells, with accuracies that a surrogate predicts.

    python experiments/oneshot.py [--config FILE] [--run-dir RUN] [--n N] [--curve N] [--into FILE] [--device DEVICE]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from eznas.assessment import measure_many, paired_difference
from eznas.benchmarks import Split, load_benchmark
from eznas.errors import ConfigError, EznasError
from eznas.files import write_output
from eznas.fitness import Labels, kendall_tau_b
from eznas.oneshot import EpochRecord, Evaluator, OneShotFolder, load_oneshot_config, read_state, train_supernet
from eznas.progress import duration, make_observer
from eznas.randomness import stream
from eznas.spaces import Architecture, darts, nb201
from eznas.study import Machine
from eznas.study.machine import single_threaded
from eznas.study.score import score
from eznas.tables import render_table

SEED: Final = 1
"""Of the draw of cells, and of the bootstrap."""
BASELINES: Final = ("parameter_count", "mac_count", "naswot")
KINDS: Final = {
    "": "one-shot accuracy", ":loss": "one-shot loss", ":ensemble": "one-shot accuracy, ensemble",
    ":ensemble-loss": "one-shot loss, ensemble",
}  # fmt: skip
FITTED: Final = ("one-shot accuracy on training images", "one-shot loss on training images")
"""How closely a network fits what the supernet was trained on."""
TOP: Final = 0.05
"""Share of the networks of P@top."""
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Task:
    """What networks of a space are ranked by.

    Attributes:
        benchmark: with their accuracies on CIFAR-10.
        split: of these.
        networks: what they are called.
        labels: said in a sentence.
        short: said in a caption.
    """

    benchmark: str
    split: Split
    networks: str
    labels: str
    short: str


TASKS: Final[Mapping[str, Task]] = {
    nb201.NAME: Task(
        "nb201", Split.TEST, "cells", "CIFAR-10 test accuracy after 200 epochs", "CIFAR-10, test, 200 epochs"
    ),
    darts.NAME: Task(
        "nb301", Split.VALIDATION, "pairs of DARTS cells",
        "CIFAR-10 validation accuracy as the surrogate of NAS-Bench-301 predicts it (about 100 epochs)",
        "CIFAR-10, validation, predicted by NAS-Bench-301",
    ),
}  # fmt: skip
"""By search space."""


def top_shared(one: Scores, other: Scores, share: float = TOP) -> float:
    """P@top: of the best k = share * n by one list the part that is among the best k by the other.

    Ties are broken at random, and this is the expectation: a network is among the best k of a list with some
    probability, 1 or 0 but for those that tie over the k-th place.

    Args:
        one, other: (n,) finite scores, higher is better.
        share: of the networks; k is at least 1.
    """
    k = max(1, int(share * len(one)))

    def probabilities(scores: Scores) -> Scores:
        limit = np.sort(scores)[-k]
        above, tied = scores > limit, scores == limit
        return above + tied * (k - above.sum()) / tied.sum()

    return float(probabilities(one) @ probabilities(other) / k)


def assessed(titles: Sequence[str], scores: Scores, accuracies: Scores) -> list[dict[str, Any]]:
    """A row for each proxy; tau's difference from the baseline of the largest tau is paired."""
    labels = Labels("cifar10", accuracies, np.arange(len(accuracies)))
    found = measure_many(scores, labels, directions=[1] * len(scores), rng=stream(SEED, "bootstrap"))
    taus = {title: m.tau.value for title, m in zip(titles, found, strict=True) if m.tau is not None}
    best = max((title for title in BASELINES if title in taus), key=lambda title: taus[title])
    rows = []
    for title, row, one in zip(titles, scores, found, strict=True):
        difference = None
        if title not in BASELINES and one.tau is not None:
            against = scores[titles.index(best)]
            difference = paired_difference(row, against, labels, rng=stream(SEED, "bootstrap")).model_dump()
        rows.append({
            "proxy": title, "tau": one.tau and one.tau.model_dump(), "rho": one.rho and one.rho.model_dump(),
            "failed": one.n_failed, "against": best, "difference": difference,
        })  # fmt: skip
    return rows


def curve(
    accuracies: Scores, estimates: Mapping[int, Scores], records: Mapping[int, EpochRecord]
) -> list[dict[str, Any]]:
    """How accuracy and loss rank after some epochs, how far the losses of two of them in a row agree, and forgetting.

    Args:
        accuracies: (n,) true ones.
        estimates: (2, n) accuracies and minus losses, by epoch.
        records: of the epochs.
    """
    rows, before = [], None
    for epoch, (accuracy, loss) in estimates.items():
        rows.append({
            "epoch": epoch, "training loss": records[epoch].loss, "mean accuracy": float(accuracy.mean()),
            "tau of accuracy": kendall_tau_b(accuracy, accuracies), "tau of loss": kendall_tau_b(loss, accuracies),
            "P@top of loss": top_shared(loss, accuracies),
            "tau with the one before": None if before is None else kendall_tau_b(loss, before),
            "P@top with the one before": None if before is None else top_shared(loss, before),
            "forgetting": records[epoch].forgetting,
        })  # fmt: skip
        before = loss
    return rows


def task_of(space: str) -> Task:
    """What networks of a space are ranked by.

    Raises:
        ConfigError: if nothing is recorded of them.
    """
    if space not in TASKS:
        raise ConfigError(f"No accuracies on CIFAR-10 are recorded for {space} networks; use {' or '.join(TASKS)}")
    return TASKS[space]


def estimated(
    folder: OneShotFolder, epoch: int, architectures: Sequence[Architecture], device: str, *, on_training: bool = False
) -> Scores:
    """(2, n) accuracies and minus losses with the weights of an epoch."""
    evaluator = Evaluator.of_run(folder, [epoch], device, on_training=on_training)
    found = [evaluator.estimate(folder.config().sharing.point(arch)) for arch in architectures]
    return np.array([[one.accuracy for one in found], [-one.loss for one in found]])


def assess(folder: OneShotFolder, n: int, n_curve: int, device: str) -> dict[str, Any]:
    """Everything that is told of a trained supernet."""
    config = folder.config()
    task = task_of(config.networks.space)
    networks = f"{task.benchmark}:random:{n}:{SEED}"
    names = [*(f"oneshot:{folder.path}{kind}" for kind in KINDS), *BASELINES]
    with make_observer(quiet=False) as observer, single_threaded():
        scored = score(names, networks, machine=Machine(device=device), observer=observer)
        accuracies = load_benchmark(task.benchmark).accuracies(scored.architectures, "cifar10", task.split)
        titles = [KINDS.get(name.removeprefix(f"oneshot:{folder.path}"), name) for name in scored.columns]
        kept = folder.epochs
        observer.stage("Estimates on training images")
        fitted = estimated(folder, kept[-1], scored.architectures, device, on_training=True)
        rows = assessed([*titles, *FITTED], np.concatenate([scored.scores.scores, fitted]), accuracies)
        places = np.unique(np.linspace(0, len(kept) - 1, min(n_curve, len(kept))).round().astype(int))
        observer.stage(f"Estimates after {', '.join(str(kept[place]) for place in places[:-1])} epochs")
        estimates = {
            kept[place]: estimated(folder, kept[place], scored.architectures, device) for place in places[:-1]
        }
        estimates[kept[-1]] = scored.scores.scores[:2]  # of the last checkpoint, as scored
    records = read_state(folder.latest).records
    found = curve(accuracies, estimates, {record.epoch: record for record in records})
    return {
        "n": n, "seed": SEED, "epochs": len(records), "training seconds": round(sum(r.seconds for r in records)),
        "settings": config.model_dump(mode="json"), "proxies": rows, "curve": found,
    }  # fmt: skip


# Told -----------------------------------------------------------------------------------------------------------------


def _interval(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _points(value: float | None) -> str:
    return "" if value is None else f"{value:+.1f}"


def oneshot_lines(result: Mapping[str, Any]) -> list[str]:
    """The two tables as Markdown."""
    settings = result["settings"]
    images, sampling = settings["images"], settings["sampling"]
    against, task = result["proxies"][0]["against"], task_of(settings["networks"]["space"])
    failed = [f"{row['proxy']} failed on {row['failed']}" for row in result["proxies"] if row["failed"]]
    return [
        f"{result['n']} {task.networks} drawn uniformly (seed {result['seed']}), {task.labels}, 95 % bootstrap",
        f"intervals over them. The supernet: {result['epochs']} epochs of {images['n_train']:,} images of "
        f"{images['input_size']} x {images['input_size']}, {sampling['method']} sampling of",
        f"{sampling['per_step']} a step, trained in {result['training seconds'] / 60:.0f} minutes. "
        + (f"Failures rank last: {', '.join(failed)}." if failed else "No proxy failed on any."),
        "",
        f"| proxy | tau | rho | tau less that of {against} |",
        "|---|---|---|---|",
        *(
            f"| {row['proxy']} | {_interval(row['tau'])} | {_interval(row['rho'])} | {_interval(row['difference'])} |"
            for row in sorted(result["proxies"], key=lambda row: -row["tau"]["value"])
        ),
        "",
        "| epochs | training loss | mean accuracy | tau of accuracy | tau of loss | P@top 5 % of loss | "
        "tau of loss with the row before | P@top 5 % with it | forgetting |",
        "|---|---|---|---|---|---|---|---|---|",
        *(
            f"| {row['epoch']} | {row['training loss']:.3f} | {row['mean accuracy']:.1f} | "
            f"{_number(row['tau of accuracy'])} | {_number(row['tau of loss'])} | "
            f"{_number(row['P@top of loss'])} | {_number(row['tau with the one before'])} | "
            f"{_number(row['P@top with the one before'])} | {_points(row['forgetting'])} |"
            for row in result["curve"]
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, assess, print; the exit status is 1 if the data or the arguments do not do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("oneshot.toml"))
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="section.key=value")
    parser.add_argument("--run-dir", type=Path, default=Path("runs/oneshot"))
    parser.add_argument("--n", type=int, default=200, help="cells")
    parser.add_argument("--curve", type=int, default=4, help="checkpoints of the curve")
    parser.add_argument("--into", type=Path, help="JSON file to write")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args(arguments)
    try:
        config = load_oneshot_config(given.config, given.overrides)
        with make_observer(quiet=False) as observer, single_threaded():
            folder = train_supernet(
                config, given.run_dir, device=given.device,
                told=lambda record, left: observer.note(
                    f"epoch {record.epoch}/{config.training.epochs}  loss {record.loss:.4f}  {duration(left)} left"
                ),
            )  # fmt: skip
        result = assess(folder, given.n, given.curve, given.device)
        if given.into is not None:
            write_output(given.into, json.dumps(result, indent=1) + "\n")
    except EznasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    rows = [
        {"proxy": row["proxy"], "tau": _interval(row["tau"]), "rho": _interval(row["rho"]),
         f"tau less {row['against']}": _interval(row["difference"]), "failed": row["failed"]}
        for row in result["proxies"]
    ]  # fmt: skip
    print(render_table(rows, "table", width=160), end="")
    print(render_table(result["curve"], "table", width=160), end="")
    task = task_of(config.networks.space)
    print(f"{result['n']} {task.networks}, {task.short}; 95 % intervals over them.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What an estimator costs: milliseconds per network on one core, and cells per second with workers.

Every published estimator and known program, as its ``score`` does it, on NAS-Bench-201 networks of different size,
under the reduced skeleton (one cell per stage, 16x16) and the benchmark's own (five cells, 32x32): the median over
networks and repeats, in processor and in wall time; building a network is not counted. Then what estimators that share
their passes (`eznas.estimators.together`) take asked for together, as multiples of the dearest of them alone and of all
of them one after the other: of medians over repeats, the median over networks. Then how many cells per second NASWOT
scores with workers. Images are the CIFAR-10 ones if they are at hand; the time does not depend on them.

Writes ``runs/costs/costs.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from eznas.conditions import Conditions, default_image_source, image_batch
from eznas.errors import ConfigError, EznasError
from eznas.estimators import PUBLISHED, by_name, families, outcomes
from eznas.files import replace_file
from eznas.proxies import KNOWN_PROGRAMS, Proxy
from eznas.randomness import stream
from eznas.scoring import score_networks
from eznas.spaces import Architecture, nb201
from eznas.study import single_threaded
from eznas.tables import render_table
from eznas.workers import open_pool

SKELETONS = {"reduced": (1, 16), "full": (5, 32)}
"""Cells per stage, and height and width of the images."""
SHARES = (0.1, 0.5, 0.9)
"""Of all cells ordered by their multiply-accumulates: where the timed ones stand."""
SEED = 0


def conditions(skeleton: str, batch_size: int) -> Conditions:
    """Networks under PyTorch's initialisation on one batch."""
    cells_per_stage, size = SKELETONS[skeleton]
    rng = stream(SEED, "costs", "images")
    source = default_image_source("cifar10")
    images, targets = image_batch(source, batch_size=batch_size, input_size=size, rng=rng)
    settings = nb201.Settings(cells_per_stage=cells_per_stage, scheme="default")
    return Conditions(settings=settings, seed=SEED).given(images, targets)


def timed_cells() -> list[Architecture]:
    """Cells at fixed places in the order of multiply-accumulates."""
    cells = sorted(nb201.all_architectures(), key=lambda arch: nb201.mac_count(arch, nb201.FULL, 32))
    return [cells[int(share * (len(cells) - 1))] for share in SHARES]


def proxies(names: Sequence[str], given: Conditions) -> dict[str, Proxy]:
    """By name; parameters and MACs are estimators as well as programs, and are taken as estimators."""
    estimators: dict[str, Proxy] = {estimator.name: estimator for estimator in PUBLISHED}
    programs: dict[str, Proxy] = {name: known.bound(given) for name, known in KNOWN_PROGRAMS.items()}
    return {name: proxy for name, proxy in (programs | estimators).items() if name in names}


def measure(names: Sequence[str], batch_size: int, repeats: int) -> dict[str, dict[str, dict[str, float]]]:
    """By name and skeleton, milliseconds of one network: medians, and the range over the networks."""
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in names}
    for skeleton in SKELETONS:
        given = conditions(skeleton, batch_size)
        networks = [given.network(arch) for arch in timed_cells()]
        inputs, targets = given.batch(batch_size)
        for name, proxy in proxies(names, given).items():
            run = partial(proxy.outcome, inputs=inputs, targets=targets)
            run(networks[0])  # the first call also loads what it needs
            spent = np.array([[_milliseconds(run, network) for _ in range(repeats)] for network in networks])
            process = np.median(spent[..., 0], axis=1)  # of each network
            found[name][skeleton] = {
                "process_ms": float(np.median(spent[..., 0])), "wall_ms": float(np.median(spent[..., 1])),
                "smallest_network_ms": float(process[0]), "largest_network_ms": float(process[-1]),
            }  # fmt: skip
            print(f"{skeleton} {name}: {found[name][skeleton]['process_ms']:.3g} ms", file=sys.stderr, flush=True)
    return found


def measure_together(names: Sequence[str], batch_size: int, repeats: int) -> list[dict[str, Any]]:
    """Of each family of estimators, by skeleton: processor milliseconds together, and their ratio to those alone."""
    chosen = [estimator for estimator in PUBLISHED if estimator.name in names]
    rows = []
    for skeleton in SKELETONS:
        given = conditions(skeleton, batch_size)
        networks = [given.network(arch) for arch in timed_cells()]
        inputs, targets = given.batch(batch_size)
        for places in families(chosen):
            members = [chosen[place] for place in places]
            if len(members) == 1:
                continue
            each = [partial(member.outcome, inputs=inputs, targets=targets) for member in members]
            both = [partial(outcomes, members, inputs=inputs, targets=targets), *each]
            for run in both:
                run(networks[0])
            spent = np.array([
                [[_milliseconds(run, network)[0] for run in both] for _ in range(repeats)] for network in networks
            ])  # fmt: skip
            process = np.median(spent, axis=1)  # of each network and run
            together, alone = process[:, 0], process[:, 1:]
            rows.append({
                "family": ", ".join(member.name for member in members), "skeleton": skeleton,
                "together_ms": float(np.median(together)), "dearest_ms": float(np.median(alone.max(axis=1))),
                "of_dearest": float(np.median(together / alone.max(axis=1))),
                "of_sum": float(np.median(together / alone.sum(axis=1))),
            })  # fmt: skip
            print(f"{skeleton} {members[0].name} and its family: {rows[-1]['of_dearest']:.3g} times the dearest",
                  file=sys.stderr, flush=True)  # fmt: skip
    return rows


def _milliseconds(run: Callable[[nn.Module], object], network: nn.Module) -> tuple[float, float]:
    """Processor and wall time of one score."""
    process, wall = time.process_time(), time.perf_counter()
    run(network)
    return 1e3 * (time.process_time() - process), 1e3 * (time.perf_counter() - wall)


def throughput(n: int, workers: Sequence[int], batch_size: int) -> list[dict[str, Any]]:
    """Cells per second that NASWOT scores, building included, starting workers not."""
    chosen = stream(SEED, "costs", "cells").choice(nb201.N_CELLS, size=n, replace=False)
    cells = [nb201.from_index(int(index)) for index in chosen]
    rows = []
    for n_workers in workers:
        pool = open_pool(n_workers)
        try:
            for skeleton in SKELETONS:
                given = conditions(skeleton, batch_size)
                for timed in (cells[: 8 * pool.n_workers], cells):  # the first round wakes the workers
                    start = time.perf_counter()
                    score_networks([by_name("naswot")], timed, given, pool)
                    seconds = time.perf_counter() - start
                rows.append({
                    "estimator": "naswot", "skeleton": skeleton, "workers": n_workers, "n": n,
                    "cells_per_second": n / seconds,
                })  # fmt: skip
        finally:
            pool.close()
    return rows


def table(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[dict[str, Any]]:
    """One row per estimator: what it needs and what it costs."""
    passes = {estimator.name: estimator.passes for estimator in PUBLISHED}
    known = KNOWN_PROGRAMS | {estimator.name: estimator for estimator in PUBLISHED}
    return [
        {
            "estimator": name, "title": known[name].title, "labels": "labels" in known[name].needs,
            "gradients": "gradients" in known[name].needs,
            "passes": passes.get(name, ""), **{f"ms_{s}": costs["process_ms"] for s, costs in of_one.items()},
            **{f"{s}_{key}": value for s, costs in of_one.items() for key, value in costs.items()},
        }
        for name, of_one in found.items()
    ]  # fmt: skip


def printed(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Lines for people, cheapest first."""
    return [
        {
            "estimator": row["estimator"], "labels": "yes" if row["labels"] else "",
            "gradients": "yes" if row["gradients"] else "", "passes": row["passes"] or "",
            "ms reduced": float(f"{row['ms_reduced']:.3g}"), "ms full": float(f"{row['ms_full']:.3g}"),
            "full, smallest to largest": f"{row['full_smallest_network_ms']:.3g} to "
            f"{row['full_largest_network_ms']:.3g}",
            "wall ms full": float(f"{row['full_wall_ms']:.3g}"),
        }
        for row in sorted(rows, key=lambda row: row["ms_full"])
    ]  # fmt: skip


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--batch", type=int, default=32, help="images")
    parser.add_argument("--repeats", type=int, default=5, help="of every estimator on every network")
    parser.add_argument("--n", type=int, default=128, help="cells for the throughput")
    parser.add_argument("--workers", default="0,1,2", help="for the throughput; numbers separated by commas")
    parser.add_argument("--estimators", help="names separated by commas; all without it")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    names = list(dict.fromkeys([*(estimator.name for estimator in PUBLISHED), *KNOWN_PROGRAMS]))
    try:
        if options.estimators is not None:
            asked = options.estimators.split(",")
            if unknown := [name for name in asked if name not in names]:
                raise ConfigError(f"--estimators names {', '.join(unknown)}; expected some of {', '.join(names)}")
            names = [name for name in names if name in asked]
        counts = options.workers.split(",")
        if not all(text.isdigit() for text in counts) or min(options.batch, options.repeats, options.n) < 1:
            raise ConfigError("--workers takes numbers separated by commas, --batch, --repeats and --n at least 1")
        with single_threaded():
            rows = table(measure(names, options.batch, options.repeats))
            shared = measure_together(names, options.batch, options.repeats)
            rates = throughput(options.n, [int(text) for text in counts], options.batch)
    except EznasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    content = {
        "batch_size": options.batch, "repeats": options.repeats, "cells": [arch.spec for arch in timed_cells()],
        "estimators": rows, "together": shared, "throughput": rates,
    }  # fmt: skip
    replace_file(Path("runs") / "costs" / "costs.json", json.dumps(content, indent=1) + "\n")
    print(render_table(printed(rows), "table", width=150), end="")
    print(render_table([row | {key: float(f"{row[key]:.3g}") for key in list(row)[2:]} for row in shared], "table"))
    print(render_table([row | {"cells_per_second": round(row["cells_per_second"], 1)} for row in rates], "table"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

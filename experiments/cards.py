"""The gallery: seals its formulas, measures their model cards and writes docs/gallery.md.

Figures are of networks that no run of `RUNS` evolved or selected on, nor others of the same function. What the banks
of the cache folder know already is not computed again. Needs EZNAS_DATA.

    python -m experiments.cards [NAME ...] [--workers N]     measures; all of the gallery without names
    python -m experiments.cards --pages                      writes docs/gallery.md from the cards that are there
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from eznas.assessment import ablate, measure_many, paired_difference, read_badges
from eznas.assessment.card import (
    FOLDER,
    N_WORST,
    Card,
    Cost,
    Miss,
    SampleFigure,
    badge_line,
    part_lines,
    worst_ranked,
)
from eznas.bank import Bank, BankEvaluator, Column
from eznas.conditions import Conditions
from eznas.errors import EznasError
from eznas.files import write_output
from eznas.fitness import OBJECTIVES, Labels
from eznas.fitness.measurement import Criterion
from eznas.progress import make_observer
from eznas.proxies import ProgramProxy, gallery_names, gallery_proxy, proxy_to_json, statistics_for
from eznas.randomness import stream
from eznas.reporting import gallery_page
from eznas.runs.config import RunConfig, load_config
from eznas.spaces import networks_named
from eznas.study import Machine, prepare
from eznas.study.machine import open_workers, single_threaded
from eznas.study.problem import Family, Problem

ROOT: Final = Path(__file__).parents[1]
GALLERY: Final = ROOT / "eznas" / "gallery"
PAGE: Final = ROOT / "docs" / "gallery.md"
RUNS: Final = (("campaign/every_space.toml", 0), ("campaign/three_datasets.toml", 0))
"""Settings and seeds of the runs that the gallery's formulas are from."""
WHERE: Final = (("campaign/every_space.toml", ""), ("campaign/three_datasets.toml", "nb201"))
"""Whose report networks are measured on, and the family that is taken of them; the later one stands for its space."""
SEEN: Final = {
    "nb201": frozenset({"nb201"}), "gradient_rank": frozenset({"nb201"}),
}  # fmt: skip
"""Benchmarks of which a formula has seen networks; the others have seen all."""
N_NB201: Final = 500
"""Most cells of NAS-Bench-201."""
BASELINES: Final = ("mac_count", "parameter_count", "naswot", "zen")
N_RESAMPLES: Final = 500
BADGES_ON: Final = "nb201:random:24:7"
COST_ON: Final = (
    "nb201:|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
)
N_TIMED: Final = 9


def settings(name: str, seed: int = 0) -> RunConfig:
    return load_config(ROOT / "experiments" / name, [f"seed={seed}"])


def learnt_from() -> dict[str, set[str]]:
    """By space, what the networks compute that some run evolved or selected on."""
    found: dict[str, set[str]] = {}
    for name, seed in RUNS:
        for family in prepare(settings(name, seed)).families:
            space = family.conditions.search_space
            for part in ("evolve", "select"):
                found.setdefault(space.name, set()).update(
                    str(space.function(arch)) for arch in family.networks(part)  # type: ignore[arg-type]
                )
    return found


def measured_on() -> list[tuple[Problem, Family]]:
    """The families whose networks are measured on, without those that were learnt from."""
    learnt = learnt_from()
    chosen: dict[str, tuple[Problem, Family]] = {}
    for name, only in WHERE:
        problem = prepare(settings(name))
        for family in problem.families:
            if only and family.conditions.space != only:
                continue
            space = family.conditions.search_space
            fresh = tuple(
                arch for arch in family.networks("report")
                if str(space.function(arch)) not in learnt.get(space.name, set())
            )[:N_NB201]  # fmt: skip
            kept = replace(family, parts=replace(family.parts, report=fresh))
            chosen[family.benchmark.name] = (replace(problem, families=(kept,)), kept)
    return list(chosen.values())


def scored(programs: Sequence[Any], evaluator: BankEvaluator) -> np.ndarray:
    return evaluator.evaluate(programs).scores


def figures(
    proxy: ProgramProxy, places: Sequence[tuple[Problem, Family, BankEvaluator]], seen: frozenset[str]
) -> tuple[list[SampleFigure], list[Any]]:
    found, worst = [], []
    for problem, family, evaluator in places:
        score = proxy.direction * scored([proxy.program], evaluator)[0]
        others, _ = evaluator.words(list(BASELINES))
        rows = np.stack([score, *others])
        for sample, labels in zip(problem.samples("report"), problem.labels("report"), strict=True):
            many = measure_many(
                rows, labels, directions=[1] * len(rows), rng=stream(0, "cards", labels.task), n_resamples=N_RESAMPLES
            )
            name = f"{family.benchmark.name}/{sample.dataset}"
            over = None
            if many[0].tau is not None and many[1].tau is not None:
                over = paired_difference(
                    score, others[0], labels, rng=stream(0, "cards", labels.task), n_resamples=N_RESAMPLES
                )
            of = OBJECTIVES["partial_tau"].of
            known = np.where(np.isfinite(score), score, -np.inf)[labels.networks][None]
            partial = float(of(known, labels)[0][0]) if of is not None and labels.covariates is not None else None
            found.append(
                SampleFigure(
                    sample=name, space=family.conditions.space, dataset=sample.dataset,
                    split=sample.stated_split, epochs=sample.stated_epochs,
                    is_seen=family.benchmark.name in seen, measured=rounded(many[0]),
                    partial_tau=round(partial, 4) if partial is not None and np.isfinite(partial) else None,
                    baselines={b: short(one.tau) for b, one in zip(BASELINES, many[1:], strict=True)},
                    over_macs=short(over),
                )
            )  # fmt: skip
            worst += worst_ranked(score, Labels(name, labels.accuracies, labels.networks), family.networks("report"))
    return found, worst


def farthest(worst: Sequence[Miss]) -> tuple[Miss, ...]:
    """Of all samples those that are ranked farthest off, in shares of their sample, each network once."""
    found: dict[str, Miss] = {}
    for one in sorted(worst, key=lambda one: -abs(one.by_score - one.by_accuracy) / one.n):
        found.setdefault(one.network, one)
    return tuple(found.values())[:N_WORST]


def short(one: Criterion | None) -> Criterion | None:
    if one is None:
        return None
    return Criterion(**{key: None if value is None else round(value, 4) for key, value in one.model_dump().items()})


def rounded(one: Any) -> Any:
    update = {name: short(criterion) for name, criterion in one.criteria.items()}
    return one.model_copy(update={**update, "share_tied": round(one.share_tied, 6)})


def cost_of(proxy: ProgramProxy, conditions: Conditions) -> Cost:
    (arch,) = networks_named(COST_ON)
    network = conditions.network(arch).eval()
    inputs, targets = conditions.batch(conditions.batch_size)
    bound = proxy.bound(conditions)

    def seconds(call: Any) -> float:
        taken = []
        for _ in range(N_TIMED):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
        return float(np.median(taken))

    def forward() -> None:
        with torch.no_grad():
            network(inputs)

    bound.of(statistics_for([bound], network, inputs, targets))
    return Cost(
        network=f"the NAS-Bench-201 cell of six 3x3 convolutions with {conditions.settings.cells_per_stage} cell a "
        f"stage, {conditions.batch_size} images of {conditions.input_size} x {conditions.input_size}",
        milliseconds=round(1e3 * seconds(lambda: bound.outcome(network, inputs, targets)), 2),
        forward_milliseconds=round(1e3 * seconds(forward), 3),
        estimate=proxy.cost,
    )


class Everywhere:
    """Programs on the networks of all places at once, for an ablation."""

    def __init__(self, places: Sequence[tuple[Problem, Family, BankEvaluator]]) -> None:
        self._places = places

    def score(self, programs: Sequence[Any]) -> np.ndarray:
        return np.concatenate([scored(programs, evaluator) for _, _, evaluator in self._places], axis=1)

    def samples(self) -> list[Labels]:
        found, offset = [], 0
        for problem, family, _ in self._places:
            for labels in problem.labels("report"):
                found.append(Labels(labels.task, labels.accuracies, labels.networks + offset))
            offset += len(family.networks("report"))
        return found


def seal(name: str) -> None:
    """Give the file of a formula the digest by which a change by hand is noticed."""
    path = GALLERY / f"{name}.json"
    stored = gallery_proxy(name)
    conditions = stored.conditions[0] if stored.conditions else None
    write_output(path, proxy_to_json(stored.proxy, conditions, stored.card, is_sealed=True))


def measured_cards(names: Sequence[str], machine: Machine, observer: Any) -> None:
    for name in names:
        seal(name)
    proxies = {name: gallery_proxy(name).proxy for name in names}
    observer.stage("Reading the settings of the runs")
    chosen = measured_on()
    with single_threaded(), open_workers(machine) as pool:
        places = []
        for problem, family in chosen:
            bank = Bank.open(machine.banks, family.conditions)
            column = Column(bank, family.networks("report"))
            places.append((problem, family, BankEvaluator(pool, [column], progress=observer.advance)))
        (nb201,) = [family for _, family in chosen if family.benchmark.name == "nb201"]
        networks = networks_named(BADGES_ON)
        observer.stage(f"Measuring badges on {BADGES_ON}")
        readings = read_badges(list(proxies.values()), networks, nb201.conditions, progress=observer.advance)
        everywhere = Everywhere(places)
        samples = everywhere.samples()
        for (name, proxy), of_proxy in zip(proxies.items(), readings, strict=True):
            assert isinstance(proxy, ProgramProxy)
            stored = gallery_proxy(name)
            observer.stage(f"Measuring {name}")
            seen = SEEN.get(name) or frozenset(family.benchmark.name for _, family in chosen)
            found, worst = figures(proxy, places, seen)
            ablation = ablate(proxy.program, everywhere.score, samples, direction=proxy.direction)
            card = Card(
                name=name,
                proxy=stored.digest or "",
                cost=cost_of(proxy, nb201.conditions),
                badges_on=BADGES_ON,
                badges=tuple(badge_line(one) for one in of_proxy.values()),
                ablated_on=f"the {len(samples)} samples of its figures",
                tau=round(ablation.tau, 4),
                share_idle=round(ablation.share_idle, 4),
                parts=part_lines(ablation),
                figures=tuple(found),
                worst=farthest(worst),
            )
            (GALLERY / FOLDER).mkdir(exist_ok=True)
            write_output(GALLERY / FOLDER / f"{name}.json", card.model_dump_json(indent=1) + "\n")


def main(arguments: Sequence[str]) -> int:
    """Measure and write; the exit status is 1 if something is not at hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--pages", action="store_true", help="only write the page")
    given = parser.parse_args(arguments)
    try:
        if not given.pages:
            with make_observer(quiet=False) as observer:
                measured_cards(given.names or gallery_names(), Machine(workers=given.workers), observer)
        write_output(PAGE, gallery_page())
    except EznasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

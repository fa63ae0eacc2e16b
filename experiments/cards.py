"""The gallery: takes formulas in, measures their model cards and writes docs/gallery.md.

A formula is measured on networks of which its run evolved or selected on none, nor on others of the same function: the
report networks of its own run, and those of the runs in `WHERE` for spaces that its run does not have. Its file says
which run that was. What the banks of the cache folder know already is not computed again. Needs EZNAS_DATA.

    python -m experiments.cards [NAME ...] [--workers N]              measures; all of the gallery without names
    python -m experiments.cards --pages                               writes docs/gallery.md from the cards there are
    python -m experiments.cards --add RUN:ID --name NAME --kind TEXT  takes a proxy of a run into the gallery
    ... --add RUN:FORMULA --how TEXT                                  a formula put together from what the run found
"""

from __future__ import annotations

import argparse
import re
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
    BadgeLine,
    Card,
    Cost,
    Miss,
    SampleFigure,
    badge_line,
    part_lines,
    worst_ranked,
)
from eznas.bank import Bank, BankEvaluator, Column
from eznas.conditions import DEFAULT_UNITS, Conditions
from eznas.errors import ConfigError, EznasError
from eznas.files import write_output
from eznas.fitness import MIN_NETWORKS, OBJECTIVES, Labels
from eznas.fitness.measurement import Criterion
from eznas.programs import parse
from eznas.progress import make_observer
from eznas.proxies import (
    ProgramProxy,
    gallery_names,
    gallery_proxy,
    proxy_of_entry,
    proxy_to_json,
)
from eznas.randomness import stream
from eznas.reporting import gallery_page
from eznas.runs import load_front
from eznas.runs.config import RunConfig, load_config
from eznas.spaces import networks_named
from eznas.study import Machine, prepare
from eznas.study.machine import open_workers, single_threaded
from eznas.study.problem import Family, Problem

ROOT: Final = Path(__file__).parents[1]
GALLERY: Final = ROOT / "eznas" / "gallery"
PAGE: Final = ROOT / "docs" / "gallery.md"
WHERE: Final = (("experiments/campaign/every_space.toml", ""), ("experiments/campaign/three_datasets.toml", "nb201"))
"""Settings whose report networks are measured on, and the one space that is taken of them; the later stands for it."""
_RUN: Final = re.compile(r"\((experiments/[\w/]+\.toml), seed (\d+)\)")
N_NB201: Final = 500
"""Most cells of NAS-Bench-201."""
BASELINES: Final = ("mac_count", "parameter_count", "naswot", "zen")
N_RESAMPLES: Final = 500
BADGES_ON: Final = "nb201:random:24:7"
COST_ON: Final = (
    "nb201:|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
)
N_TIMED: Final = 15


Run = tuple[str, int]
"""The file of settings and the seed."""
Place = tuple[Problem, Family, BankEvaluator]


def settings(name: str, seed: int = 0) -> RunConfig:
    return load_config(ROOT / name, [f"seed={seed}"])


def run_of(name: str) -> Run:
    """The run that a formula of the gallery is from, as its file says."""
    evolved = gallery_proxy(name).card.get("Evolved on", "")
    found = _RUN.search(evolved)
    if found is None:
        raise ConfigError(
            f"The file of {name!r} in the gallery does not say which run it is from, expected '(experiments/"
            f"NAME.toml, seed N)' under 'Evolved on', got {evolved!r}; take it in with --add"
        )
    return found[1], int(found[2])


def learnt_from(run: Run) -> dict[str, set[str]]:
    """By space, what the networks compute that a run evolved or selected on."""
    found: dict[str, set[str]] = {}
    for family in prepare(settings(*run)).learnt:
        space = family.conditions.search_space
        for arch in (*family.networks("evolve"), *family.networks("select")):
            found.setdefault(space.name, set()).add(str(space.function(arch)))
    return found


def measured_on(run: Run) -> list[tuple[Problem, Family]]:
    """The families that a formula of a run is measured on, without networks that the run learnt from."""
    learnt = learnt_from(run)
    chosen: dict[str, tuple[Problem, Family]] = {}
    for name, only in WHERE:
        problem = prepare(settings(name, run[1] if run[0] == name else 0))
        for family in problem.families:
            if only and family.conditions.space != only:
                continue
            space = family.conditions.search_space
            fresh = tuple(
                arch for arch in family.networks("report")
                if str(space.function(arch)) not in learnt.get(space.name, set())
            )[:N_NB201]  # fmt: skip
            if len(fresh) < MIN_NETWORKS:
                continue
            kept = replace(family, parts=replace(family.parts, report=fresh))
            chosen[family.benchmark.name] = (replace(problem, families=(kept,)), kept)
    return list(chosen.values())


def scored(programs: Sequence[Any], evaluator: BankEvaluator) -> np.ndarray:
    return evaluator.evaluate(programs).scores


def figures(
    proxy: ProgramProxy, places: Sequence[Place], seen: frozenset[str]
) -> tuple[list[SampleFigure], list[Miss]]:
    found: list[SampleFigure] = []
    worst: list[Miss] = []
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
    low, high = (None if end is None else round(end, 4) for end in (one.low, one.high))
    return Criterion(value=round(one.value, 4), low=low, high=high)


def rounded(one: Any) -> Any:
    update = {name: short(criterion) for name, criterion in one.criteria.items()}
    return one.model_copy(update={**update, "share_tied": round(one.share_tied, 6)})


def cost_of(proxy: ProgramProxy, conditions: Conditions) -> Cost:
    (arch,) = networks_named(COST_ON)
    network = conditions.network(arch).eval()
    inputs, targets = conditions.batch(conditions.batch_size)
    bound = proxy.bound(conditions)

    def seconds(call: Any) -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    def forward() -> None:
        with torch.no_grad():
            network(inputs)

    def score() -> None:
        bound.outcome(network, inputs, targets)

    score()  # the first one warms up
    taken = [(seconds(score), seconds(forward)) for _ in range(N_TIMED)]
    of_score, of_forward = (min(times) for times in zip(*taken, strict=True))  # what else runs only adds to them
    return Cost(
        network="the NAS-Bench-201 cell of six 3x3 convolutions in a network of "
        f"{getattr(conditions.settings, 'cells_per_stage', 1)} cell a stage, {conditions.batch_size} images of "
        f"{conditions.input_size} x {conditions.input_size}",
        milliseconds=round(1e3 * of_score, 2),
        forward_milliseconds=round(1e3 * of_forward, 3),
        estimate=proxy.cost,
    )


class Everywhere:
    """Programs on the networks of all places at once, for an ablation."""

    def __init__(self, places: Sequence[Place]) -> None:
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


def add(text: str, name: str, kind: str, how: str) -> None:
    """Take a proxy of a finished run into the gallery; it keeps neither conditions nor the seed of its noise.

    Args:
        text: ``RUN:ID``, or ``RUN:FORMULA`` for a formula that is not the run's own but put together by people.
        name: in the gallery.
        kind: of formula, in a few words.
        how: a formula that is not the run's own was put together; empty for one of the run.
    """
    folder, _, proxy_id = text.rpartition(":")
    front = load_front(Path(folder))
    entry = None if how else front.entry(proxy_id)
    proxy = proxy_of_entry(entry) if entry else ProgramProxy(program=parse(proxy_id).canonical, name=name)
    if not isinstance(proxy, ProgramProxy) or proxy.units not in (None, DEFAULT_UNITS):
        raise ConfigError(f"The gallery takes programs that read {DEFAULT_UNITS}, which {text} is not; choose another")
    run, learnt = front.run, [sample for sample in front.samples if sample.evolve is not None]
    n_of = {sample.benchmark: sample.evolve.n for sample in learnt if sample.evolve is not None}  # data sets share them
    n_networks = sum(n_of.values())
    own = f"experiments/campaign/{run.name.replace('-', '_')}.toml"
    config = own if (ROOT / own).exists() else f"experiments/{run.name}.toml"
    report = [] if entry is None else [one.tau.value for one in entry.report.values() if one.tau is not None]
    what = entry.label if entry else how
    card = {
        "Kind": kind,
        "Proxy": f"{what} of run {run.name} (seed {run.seed}, primitive set {run.primitive_set})",
        "Evolved on": f"{len(learnt)} samples: {', '.join(sample.name for sample in learnt)}, "
        f"{n_networks:,} networks ({config}, seed {run.seed})",
        "Held out": f"mean Kendall tau-b {np.mean(report):.3f} over {len(report)} samples of the run's report"
        if report else "nothing: people chose with the figures of all networks at hand in view",
    }  # fmt: skip
    bare = replace(proxy, name=name, seed=None, units=DEFAULT_UNITS)
    write_output(GALLERY / f"{name}.json", proxy_to_json(bare, None, card, is_sealed=True))


def seal(name: str) -> None:
    """Give the file of a formula the digest by which a change by hand is noticed, if it has none."""
    stored = gallery_proxy(name)
    if stored.digest is None:
        conditions = stored.conditions[0] if stored.conditions else None
        path = GALLERY / f"{name}.json"
        write_output(path, proxy_to_json(stored.proxy, conditions, stored.card, is_sealed=True))


def measured_cards(names: Sequence[str], machine: Machine, observer: Any) -> None:
    """Measure the cards of these formulas and write them."""
    by_run: dict[Run, list[str]] = {}
    for name in names:
        seal(name)
        by_run.setdefault(run_of(name), []).append(name)
    with single_threaded(), open_workers(machine) as pool:
        for run, of_run in by_run.items():
            observer.stage(f"Reading the settings of {run[0]}, seed {run[1]}")
            chosen = measured_on(run)
            seen = frozenset(family.benchmark.name for family in prepare(settings(*run)).learnt)
            places = []
            for problem, family in chosen:
                column = Column(Bank.open(machine.banks, family.conditions), family.networks("report"))
                places.append((problem, family, BankEvaluator(pool, [column], progress=observer.advance)))
            (nb201,) = [family for _, family in chosen if family.benchmark.name == "nb201"]
            proxies = {name: gallery_proxy(name).proxy for name in of_run}
            observer.stage(f"Measuring badges on {BADGES_ON}")
            readings = read_badges(
                list(proxies.values()), networks_named(BADGES_ON), nb201.conditions, progress=observer.advance
            )
            for (name, proxy), of_proxy in zip(proxies.items(), readings, strict=True):
                assert isinstance(proxy, ProgramProxy)
                observer.stage(f"Measuring {name}")
                card = card_for(name, proxy, places, seen, tuple(map(badge_line, of_proxy.values())), nb201.conditions)
                (GALLERY / FOLDER).mkdir(exist_ok=True)
                write_output(GALLERY / FOLDER / f"{name}.json", card.model_dump_json(indent=1) + "\n")


def card_for(
    name: str,
    proxy: ProgramProxy,
    places: Sequence[Place],
    seen: frozenset[str],
    badges: tuple[BadgeLine, ...],
    conditions: Conditions,
) -> Card:
    """The card of one formula."""
    if proxy.seed is not None or proxy.units not in (None, conditions.units):
        raise ConfigError(
            f"The banks hold what formulas say of {conditions.units} with the seed of the conditions, and {name!r} has "
            f"units {proxy.units} and seed {proxy.seed}; take it in with --add"
        )
    found, worst = figures(proxy, places, seen)
    everywhere = Everywhere([place for place in places if place[1].benchmark.name in seen])
    samples = everywhere.samples()
    ablation = ablate(proxy.program, everywhere.score, samples, direction=proxy.direction)
    return Card(
        name=name,
        proxy=gallery_proxy(name).digest or "",
        cost=cost_of(proxy, conditions),
        badges_on=BADGES_ON,
        badges=badges,
        ablated_on=f"{len(samples)} samples of its own spaces",
        tau=round(ablation.tau, 4),
        share_idle=round(ablation.share_idle, 4),
        parts=part_lines(ablation),
        figures=tuple(found),
        worst=farthest(worst),
    )


def main(arguments: Sequence[str]) -> int:
    """Measure and write; the exit status is 1 if something is not at hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--pages", action="store_true", help="only write the page")
    parser.add_argument("--add", default="", help="RUN:ID to take in")
    parser.add_argument("--name", default="", help="of what is taken in")
    parser.add_argument("--kind", default="", help="of what is taken in, a few words")
    parser.add_argument("--how", default="", help="a formula that is not the run's own was put together")
    given = parser.parse_args(arguments)
    try:
        if given.add:
            if not given.name.isidentifier() or not given.kind:
                raise ConfigError("What is taken into the gallery has a --name of letters and _ and a --kind")
            add(given.add, given.name, given.kind, given.how)
            given.names = [given.name]
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

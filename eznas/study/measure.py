"""The end of a run: choose the front on the selection networks, measure it on the report networks, write both."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from eznas.assessment import measure_many, paired_difference
from eznas.bank import KINDS, BankEvaluator, sentence_of, words_of
from eznas.benchmarks import PARTS, Part
from eznas.errors import BankError
from eznas.estimators import Estimator
from eznas.fitness import Criterion, Fitness, Labels, Measurement, Unrankable
from eznas.fitness.aggregation import rank_shares, sorted_reference
from eznas.programs import FailureKind, Invalid, Program
from eznas.proxies import ProgramProxy, Proxy, published_proxy
from eznas.randomness import stream
from eznas.reporting import front_csv
from eznas.runs import Candidate, Entry, Front, PartCard, RunCard, RunFolder, SampleCard, SearchState
from eznas.runs.front import FILE, CoverageCard
from eznas.runs.interim import FRONT_CSV
from eznas.runs.stopping import stopped_by
from eznas.scoring import Scores, score_networks
from eznas.simplification import certify, divides_plainly, settle, simplify
from eznas.statistics import Coverage
from eznas.study.choose import choose_front, contenders, fitness_on_selection, standard_error
from eznas.study.evaluate import StoreScores, bank_evaluator
from eznas.study.machine import Machine
from eznas.study.observer import Observer
from eznas.study.problem import Family, Problem
from eznas.tables import csv_text
from eznas.workers import Pool

Division = Literal["plain", "smoothed"]
SCORES_FILE: Final = "report_scores.csv"
N_AFRESH: Final = 2
"""Networks of each family that a run over banks scores afresh."""
AGREE: Final = 1e-3
"""Relative difference of a score in a bank and one found now that rounding on two machines may explain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldResult:
    """What one search of a cross-fitted report says of the networks it did not see.

    Attributes:
        networks: positions among the stored networks.
        shares: (n,) place of each network among those the search learnt from, in (0, 1); NaN where the proxy failed.
        kinds: (n,) kind of failure, None where there is a score.
        program: the pick of the search, as text.
    """

    networks: tuple[int, ...]
    shares: npt.NDArray[np.float64]
    kinds: tuple[str | None, ...]
    program: str


def measure(
    folder: RunFolder,
    problem: Problem,
    state: SearchState,
    pool: Pool,
    observer: Observer,
    *,
    machine: Machine,
    learnt: Callable[[], StoreScores] | None = None,
    stored: StoreScores | None = None,
    found_by_folds: Sequence[FoldResult] = (),
) -> None:
    """Choose the front on the selection networks, measure it on the report networks, write both.

    Args:
        folder: of the run.
        problem: networks, accuracies, conditions.
        state: of the finished search.
        pool: where to work.
        observer: told how it goes on.
        machine: its device, and its banks.
        learnt: has the workers hold the networks that were evolved on, which say what branches of a formula say
            nothing; without it none is looked for.
        stored: scores from the store, of a cross-fitted run, whose networks are all in it.
        found_by_folds: the searches of a cross-fitted report.
    """
    start = time.perf_counter()
    config = problem.config
    candidates = contenders(state)
    observer.stage(f"Choosing among {len(candidates)} programs on {problem.n_networks('select')} other networks")
    programs = [candidate.program for candidate in candidates]
    if stored is not None:
        raw = stored.raw(programs)
        selected = fitness_on_selection(problem, raw, candidates, of_store=True)
    elif config.evolution.regime == "two-level":
        raw = bank_evaluator(problem, "select", machine, observer, pool).evaluate(programs).scores
        selected = fitness_on_selection(problem, raw, candidates)
    else:
        proxies = [_proxy_of(candidate) for candidate in candidates]
        raw = _raw(_score(problem, "select", proxies, pool, observer, machine.device), candidates)
        selected = fitness_on_selection(problem, raw, candidates)
    front, pick = choose_front(
        candidates, selected, config.report.front_size, config.report.pick,
        aggregate=config.evolution.aggregate, weights=problem.weights,
    )  # fmt: skip

    observer.stage(f"Simplifying {len(front)} formulas")
    observer.step("Algebra", "formulas")
    simplified = simplify(
        [c.program for c in front], seconds_per_program=config.report.simplify_seconds, progress=observer.advance
    )
    observer.step("Looking for branches that say nothing on the networks evolved on")
    on_learnt = learnt() if learnt is not None else None
    proposals = [_proposals(s.program, s.candidate, on_learnt) for s in simplified]
    # Now, while the workers hold the networks evolved on.
    divisions = _divisions(
        (*(c.program for c in front), *(one.program for ones in proposals for one in ones)),
        on_learnt,
        config.evolution.regime == "two-level",
    )

    observer.stage(f"Measuring on {problem.n_networks('report')} held-out networks")
    published = [published_proxy(name) for name in config.report.baselines]
    extra = [_proxy_of(c, one.program) for c, ones in zip(front, proposals, strict=True) for one in ones]
    asked: list[Proxy] = [*(_proxy_of(c) for c in front), *extra, *published]
    if config.evolution.regime == "two-level":
        scores = _banked(problem, asked, pool, observer, machine)
    else:
        scores = _score(problem, "report", asked, pool, observer, machine.device)
    observer.step(f"Intervals of {len(front) + len(published)} proxies, by {config.report.bootstrap:,} resamples")
    accepted = _certified(front, proposals, scores.scores[: len(front) + len(extra)])
    rows = [*range(len(front)), *range(len(front) + len(extra), len(asked))]
    entries = _entries(
        problem,
        front,
        published,
        scores.scores[rows],
        [scores.kinds(row) for row in rows],
        scores.seconds[rows],
        dict(zip([c.id for c in candidates], selected, strict=True)),
        accepted,
        pick,
        found_by_folds,
        divisions,
    )
    document = Front(
        run=RunCard(
            name=config.name,
            seed=config.seed,
            n_generations=state.generation,
            n_programs=state.n_evaluated,
            stopped_by=stop.reason if (stop := stopped_by(config.evolution, state)) else "",
            seconds=round(state.seconds + time.perf_counter() - start, 1),
            primitive_set=config.evolution.primitive_set,
            seeds=tuple(c.program.text for c in state.candidates.values() if c.operator == "seed"),
            n_folds=len(found_by_folds) or None,
            aggregate=config.evolution.aggregate,
            pick=config.report.pick,
            notes=problem.notes,
        ),
        samples=_cards(problem, scores, range(len(front))),
        entries=tuple(entries),
    )
    folder.replace(SCORES_FILE, _scores_csv(problem, entries, scores.scores[rows], found_by_folds, pick))
    folder.replace(FRONT_CSV, front_csv(document))  # before the other, which says that all is measured
    folder.replace(FILE, document.model_dump_json(indent=1))


def pick_of_fold(problem: Problem, state: SearchState, stored: StoreScores, positions: Mapping[Any, int]) -> FoldResult:
    """The pick of one search of a cross-fitted report, and what it says of the networks the search did not see.

    Scores of different proxies cannot be compared, but their places can: each score becomes its share among the scores
    of the networks that its search learnt from.
    """
    candidates = contenders(state)
    raw = stored.raw([candidate.program for candidate in candidates])
    selected = fitness_on_selection(problem, raw, candidates, of_store=True)
    config = problem.config
    _, pick = choose_front(
        candidates, selected, config.report.front_size, config.report.pick,
        aggregate=config.evolution.aggregate, weights=problem.weights,
    )  # fmt: skip
    (family,) = problem.families
    row = next(index for index, candidate in enumerate(candidates) if candidate.id == pick)
    values = candidates[row].fitness.direction * raw[row]
    learnt = [positions[arch] for arch in (*family.parts.evolve, *family.parts.select)]
    held_out = [positions[arch] for arch in family.parts.report]
    shares = rank_shares(values[held_out], sorted_reference(values[learnt]))
    failed = ~np.isfinite(values[held_out])
    return FoldResult(
        networks=tuple(held_out),
        shares=np.where(failed, np.nan, shares),
        kinds=tuple("non-finite" if lost else None for lost in failed),
        program=candidates[row].program.text,
    )


# --- scores -------------------------------------------------------------------------------------------------------


def _proxy_of(candidate: Candidate, program: Program | None = None) -> ProgramProxy:
    """An evolved program, in the direction it evolved with."""
    return ProgramProxy(name=candidate.id, program=program or candidate.program, direction=candidate.fitness.direction)


def _raw(scores: Scores, candidates: Sequence[Candidate]) -> npt.NDArray[np.float64]:
    """Values of the programs as they are, without their directions."""
    return scores.scores * np.array([[float(c.fitness.direction)] for c in candidates])


def _score(
    problem: Problem, part: Any, proxies: Sequence[Proxy], pool: Pool, observer: Observer, device: str
) -> Scores:
    """Scores on the networks of a part, family after family."""
    families = problem.families_of(part)
    n_networks = [len(family.networks(part)) for family in families]
    found: list[Scores] = []
    failures: dict[tuple[int, int], Invalid] = {}
    coverage: dict[tuple[int, int], Coverage] = {}
    for family in families:
        offset = sum(n_networks[: len(found)])

        def advance(done: int, total: int, before: int = offset) -> None:
            del total  # of one family
            observer.advance(before + done, problem.n_networks(part))

        scores = score_networks(
            proxies, family.networks(part), family.conditions, pool, device=device, progress=advance
        )
        failures |= {(row, offset + network): failure for (row, network), failure in scores.failures.items()}
        coverage |= {(row, offset + network): read for (row, network), read in scores.coverage.items()}
        found.append(scores)
    seconds = np.average([scores.seconds for scores in found], axis=0, weights=n_networks)
    spent = float(np.average([scores.spent for scores in found], weights=n_networks))
    return Scores(
        np.concatenate([one.scores for one in found], axis=1), failures, seconds, coverage=coverage, spent=spent
    )


def _banked(problem: Problem, proxies: Sequence[Proxy], pool: Pool, observer: Observer, machine: Machine) -> Scores:
    """Scores on the report networks by way of banks; a few networks of each family are scored afresh beside.

    Those say what a score costs and how much of a network is read, and that the bank is not to be doubted.

    Raises:
        BankError: if a score in a bank is another than the one found now.
    """
    few = tuple(
        replace(family, parts=replace(family.parts, report=family.networks("report")[:N_AFRESH]))
        for family in problem.families
    )
    observer.step(f"Scoring {N_AFRESH} networks of each space afresh")
    afresh = _score(replace(problem, families=few), "report", proxies, pool, observer, machine.device)
    places: list[int] = []
    n_networks = 0
    for family, part in zip(problem.families, few, strict=True):
        places += range(n_networks, n_networks + len(part.networks("report")))
        n_networks += len(family.networks("report"))
    bankable = [row for row, proxy in enumerate(proxies) if _is_bankable(proxy, problem)]
    others = [row for row in range(len(proxies)) if row not in bankable]
    evaluator = bank_evaluator(problem, "report", machine, observer, pool)
    scores = np.full((len(proxies), n_networks), np.nan)
    failures: dict[tuple[int, int], Invalid] = {}
    words = list(dict.fromkeys(word for row in bankable for word in _words_of(proxies[row])))
    observer.step(f"Computing {len(words):,} words")
    evaluator.words(words)  # all from one capture
    for row in bankable:
        scores[row], lost = _of_bank(proxies[row], evaluator)
        failures |= {(row, network): failure for network, failure in lost.items()}
        here, there = scores[row][places], afresh.scores[row]
        if not np.allclose(here, there, rtol=AGREE, atol=AGREE * np.nanstd(scores[row]), equal_nan=True):
            raise BankError(
                f"The banks in {machine.banks} and a fresh score of {proxies[row].name} do not agree; they were "
                "changed, or made on another machine: remove them, and resume the run"
            )
    if others:
        observer.step(f"Scoring with {len(others)} published proxies")
        rest = _score(problem, "report", [proxies[row] for row in others], pool, observer, machine.device)
        scores[others] = rest.scores
        failures |= {(others[row], network): failure for (row, network), failure in rest.failures.items()}
    coverage = {(row, places[network]): read for (row, network), read in afresh.coverage.items()}
    return Scores(scores, failures, afresh.seconds, coverage=coverage)


def _is_bankable(proxy: Proxy, problem: Problem) -> bool:
    """Whether the banks of the problem hold what a proxy reads: its own layers and seeds, or a plain estimator."""
    if isinstance(proxy, ProgramProxy):
        return all(
            proxy.units in (None, family.conditions.units) and proxy.seed in (None, family.conditions.network_seed)
            for family in problem.families
        )
    return isinstance(proxy, Estimator)


def _words_of(proxy: Proxy) -> tuple[str, ...]:
    """What is looked up in a bank for a proxy."""
    return words_of(sentence_of(proxy.program.canonical)) if isinstance(proxy, ProgramProxy) else (proxy.name,)


def _of_bank(proxy: Proxy, evaluator: BankEvaluator) -> tuple[npt.NDArray[np.float64], dict[int, Invalid]]:
    """(n_networks,) scores in the direction of the proxy, NaN where it failed, and why."""
    if isinstance(proxy, ProgramProxy):
        values = evaluator.evaluate([proxy.program]).scores[0]
        kinds = np.zeros(len(values), dtype=np.uint8)
    else:
        found, codes = evaluator.words([proxy.name])
        values, kinds = found[0], codes[0]
    lost = np.flatnonzero(~np.isfinite(values)).tolist()
    reasons = {n: Invalid(KINDS[kinds[n] - 1] if kinds[n] else FailureKind.NON_FINITE, "no finite value") for n in lost}
    return np.where(np.isfinite(values), proxy.direction * values, np.nan), reasons


@dataclass(frozen=True, slots=True)
class Proposal:
    """A smaller program that may stand for one that evolved.

    Attributes:
        program: the smaller one.
        is_settled: whether branches that say nothing on the networks evolved on were taken out of it.
    """

    program: Program
    is_settled: bool


def _proposals(program: Program, candidate: Program | None, learnt: StoreScores | None) -> tuple[Proposal, ...]:
    """What may stand for a program, the smallest first: found by algebra, by values, by both."""
    by_algebra = [Proposal(candidate, is_settled=False)] if candidate is not None else []
    settled = [settle(one, learnt.raw) for one in (candidate, program) if one is not None and learnt is not None]
    by_values = [Proposal(one, is_settled=True) for one in settled if one is not None]
    distinct = {one.program: one for one in (*by_values, *by_algebra)}
    return tuple(sorted(distinct.values(), key=lambda one: one.program.size))


def _divisions(programs: Iterable[Program], learnt: StoreScores | None, of_bank: bool) -> dict[Program, Division]:
    """Of the programs that divide, what their divisions are on the networks evolved on, where it can be said."""
    found: dict[Program, Division] = {}
    for program in programs if learnt is not None else ():
        assert learnt is not None
        is_plain = divides_plainly(program, learnt.raw, of_networks_alone=of_bank)
        if is_plain is not None:
            found[program] = "plain" if is_plain else "smoothed"
    return found


def _certified(
    front: Sequence[Candidate], proposals: Sequence[Sequence[Proposal]], scores: npt.NDArray[np.float64]
) -> dict[str, Proposal]:
    """The smallest programs that score the held-out networks as the originals do, by id of these."""
    accepted: dict[str, Proposal] = {}
    of_proposals = iter(scores[len(front) :])
    for candidate, ones, original in zip(front, proposals, scores, strict=False):
        for one in ones:
            by_text = {candidate.program.text: original, one.program.text: next(of_proposals)}
            if candidate.id not in accepted and certify(
                candidate.program,
                one.program,
                lambda p, table=by_text: table[p.text],  # type: ignore[misc]
            ):
                accepted[candidate.id] = one
    return accepted


# --- the front ----------------------------------------------------------------------------------------------------


def _entries(
    problem: Problem,
    front: Sequence[Candidate],
    published: Sequence[Proxy],
    scores: npt.NDArray[np.float64],
    kinds: Sequence[list[str | None]],
    seconds: npt.NDArray[np.float64],
    selected: Mapping[str, Fitness | Unrankable],
    simplified: Mapping[str, Proposal],
    pick: str,
    found_by_folds: Sequence[FoldResult],
    divisions: Mapping[Program, Division],
) -> list[Entry]:
    ids = [*(c.id for c in front), *(proxy.name for proxy in published)]
    scores, kinds = scores.copy(), list(kinds)
    pick_row = ids.index(pick)
    if found_by_folds:  # discovered proxies have seen these networks; only what the folds say of them is a measurement
        scores[: len(front)] = np.nan
        scores[pick_row], kinds[pick_row] = _cross_fitted(found_by_folds, scores.shape[1])
    shown = [row for row in range(len(ids)) if not found_by_folds or row == pick_row or row >= len(front)]
    measured = _measured(problem, len(ids), shown, scores, kinds)
    versus = _versus_pick(problem, ids, scores, pick_row, measured)
    entries = []
    for row, candidate in enumerate(front):
        chosen = selected.get(candidate.id)
        entries.append(
            Entry(
                id=candidate.id,
                kind="discovered",
                program=candidate.program.text,
                simplified=simplified[candidate.id].program.text if candidate.id in simplified else None,
                is_settled=candidate.id in simplified and simplified[candidate.id].is_settled,
                **_bound(_proxy_of(candidate), problem.learnt[0]),
                seconds=float(seconds[row]),
                generation=candidate.generation,
                operator=candidate.operator,
                parents=candidate.parents,
                is_pick=candidate.id == pick,
                evolve=_by_sample(candidate.fitness),
                select=_by_sample(chosen) if isinstance(chosen, Fitness) else {},
                select_error=_selection_error(problem, chosen),
                division=divisions.get(
                    simplified[candidate.id].program if candidate.id in simplified else candidate.program
                ),
                report=measured[row],
                versus_pick=versus[row],
            )
        )
    for row, proxy in enumerate(published, start=len(front)):
        entries.append(
            Entry(
                id=proxy.name,
                name=proxy.name,
                title=getattr(proxy, "title", ""),
                kind="published",
                program=proxy.program.text if isinstance(proxy, ProgramProxy) else None,
                **_bound(proxy, problem.learnt[0]),
                seconds=float(seconds[row]),
                report=measured[row],
                versus_pick=versus[row],
            )
        )
    return entries


def _bound(proxy: Proxy, family: Family) -> dict[str, Any]:
    """What determines the scores of a proxy beside its formula, and what they cost."""
    if isinstance(proxy, ProgramProxy):
        bound = proxy.bound(family.conditions)
        return {"direction": proxy.direction, "units": bound.units, "seed": bound.seed, "cost": proxy.cost}
    return {"direction": proxy.direction, "cost": proxy.cost}


def _selection_error(problem: Problem, chosen: Fitness | Unrankable | None) -> float | None:
    if not isinstance(chosen, Fitness):
        return None
    return standard_error(chosen, problem.config.evolution.aggregate, problem.weights)


def _by_sample(fitness: Fitness) -> dict[str, Measurement]:
    return {
        t.task: Measurement(
            n=t.n,
            n_failed=t.n_failed,
            failures={"unstated": t.n_failed} if t.n_failed else {},
            share_tied=t.share_tied,
            tau=Criterion(value=t.tau),
            rho=Criterion(value=t.rho),
        )
        for t in fitness.tasks
    }


def _measured(
    problem: Problem,
    n_proxies: int,
    rows: Sequence[int],
    scores: npt.NDArray[np.float64],
    kinds: Sequence[list[str | None]],
) -> list[dict[str, Measurement]]:
    """By proxy and sample, of the proxies in these rows; the others have none."""
    found: list[dict[str, Measurement]] = [{} for _ in range(n_proxies)]
    for labels in problem.labels("report"):
        measured = measure_many(
            scores[rows],
            labels,
            directions=[1] * len(rows),
            rng=stream(problem.config.seed, "bootstrap", labels.task),
            n_resamples=problem.config.report.bootstrap,
            failures=[kinds[row] for row in rows],
        )
        for row, one in zip(rows, measured, strict=True):
            found[row][labels.task] = one
    return found


def _versus_pick(
    problem: Problem,
    ids: Sequence[str],
    scores: npt.NDArray[np.float64],
    pick: int,
    measured: Sequence[Mapping[str, Measurement]],
) -> list[dict[str, Criterion]]:
    """By proxy and sample, tau of the pick minus that of the proxy, on the same resamples."""
    found: list[dict[str, Criterion]] = [{} for _ in ids]
    for labels in problem.labels("report"):
        for row in range(len(ids)):
            both = (measured[pick].get(labels.task), measured[row].get(labels.task))
            if row != pick and all(one is not None and one.tau is not None for one in both):
                found[row][labels.task] = paired_difference(
                    scores[pick],
                    scores[row],
                    labels,
                    rng=stream(problem.config.seed, "paired", labels.task),
                    n_resamples=problem.config.report.bootstrap,
                )
    return found


def _cross_fitted(results: Sequence[FoldResult], n_networks: int) -> tuple[npt.NDArray[np.float64], list[str | None]]:
    scores = np.full(n_networks, np.nan)
    kinds: list[str | None] = [None] * n_networks
    for result in results:
        scores[list(result.networks)] = result.shares
        for network, kind in zip(result.networks, result.kinds, strict=True):
            kinds[network] = kind
    return scores, kinds


def _cards(problem: Problem, scores: Scores, discovered: Collection[int]) -> tuple[SampleCard, ...]:
    """What the samples are, and how much of their networks the discovered programs read, which all read alike."""
    read: dict[int, Coverage] = {n: one for (row, n), one in scores.coverage.items() if row in discovered}
    parts: dict[str, dict[Part, PartCard]] = {}
    for part in PARTS:
        for one in problem.samples(part):
            card = PartCard(n=one.n, split=one.stated_split, epochs=one.stated_epochs)
            parts.setdefault(one.name, {})[part] = card
    return tuple(
        SampleCard(
            name=report.name,
            dataset=report.dataset,
            benchmark=report.benchmark.name,
            provenance=report.benchmark.provenance,
            conditions=report.conditions,
            weight=report.weight,
            coverage=_mean_coverage([read[n] for n in labels.networks.tolist() if n in read]),
            evolve=parts[report.name].get("evolve"),
            select=parts[report.name].get("select"),
            report=parts[report.name]["report"],
        )
        for report, labels in zip(problem.samples("report"), problem.labels("report"), strict=True)
    )


def _mean_coverage(read: Sequence[Coverage]) -> CoverageCard | None:
    if not read:
        return None
    return CoverageCard(
        **{name: float(np.mean([getattr(one, name) for one in read])) for name in CoverageCard.model_fields}
    )


def _scores_csv(
    problem: Problem,
    entries: Sequence[Entry],
    scores: npt.NDArray[np.float64],
    found_by_folds: Sequence[FoldResult],
    pick: str,
) -> str:
    """Scores on the held-out networks in the direction of each proxy; of a cross-fitted run the pick's are places.

    All digits are there, so that whoever reads them finds the same ties and the same ranks.
    """
    labels: tuple[Labels, ...] = problem.labels("report")
    n_networks = scores.shape[1]
    if found_by_folds:
        kept = [row for row, entry in enumerate(entries) if entry.kind == "published" or entry.id == pick]
        scores = scores.copy()
        scores[[entry.id for entry in entries].index(pick)], _ = _cross_fitted(found_by_folds, n_networks)
        entries, scores = [entries[row] for row in kept], scores[kept]
    accuracies = np.full((len(labels), n_networks), np.nan)
    for row, task in enumerate(labels):
        accuracies[row, task.networks] = task.accuracies
    networks = [arch.spec for family in problem.families for arch in family.networks("report")]
    rows = [["network", *(f"accuracy:{task.task}" for task in labels), *(entry.id for entry in entries)]]
    for column, name in enumerate(networks):
        values = (*accuracies[:, column].tolist(), *scores[:, column].tolist())
        rows.append([name, *(repr(value) if math.isfinite(value) else "" for value in values)])
    return csv_text(rows)

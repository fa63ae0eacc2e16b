"""The end of a run: choose the front on the selection networks, measure it on the report networks."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eznas.benchmarks import Task
from eznas.errors import RunError
from eznas.estimators import by_name
from eznas.evolution import non_dominated
from eznas.fitness import Fitness, Unrankable, assess_population, bootstrap_interval, scores_with_failures_last
from eznas.programs import Program, cost, to_tree
from eznas.proxies import KNOWN_PROGRAMS
from eznas.randomness import stream
from eznas.runs import Candidate, RunFolder, SearchState, hall_of_fame
from eznas.runs.config import RunConfig
from eznas.scoring import ProxyScores, score_architectures
from eznas.simplification import certify, simplify
from eznas.spaces import Architecture
from eznas.study.observer import Observer
from eznas.study.problem import Problem, labels_of
from eznas.workers import Pool

POOL_SIZE = 60
"""Programs of a run that are tried on the selection networks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One row of the front in the making."""

    id: str
    name: str | None
    program: Program | None
    direction: int
    candidate: Candidate | None


def measure(folder: RunFolder, problem: Problem, state: SearchState, pool: Pool, observer: Observer) -> None:
    """Choose the front on the selection networks, measure it on the report networks, write both."""
    start = time.perf_counter()
    config = problem.config
    contenders = _contenders(state)
    observer.stage(f"Choosing among {len(contenders)} programs on {len(problem.parts.select)} other networks")
    select_scores = _score(problem, "select", [c.program for c in contenders], (), pool, observer)
    selected = _fitness(problem, "select", select_scores.scores, contenders)
    front, pick = _choose_front(contenders, selected, config.report.front_size)

    observer.stage(f"Simplifying {len(front)} formulas")
    simplified = simplify([c.program for c in front], seconds_per_program=config.report.simplify_seconds)
    proposals = [s.candidate for s in simplified]

    observer.stage(f"Measuring on {len(problem.parts.report)} held-out networks")
    rows = _rows(front, config)
    programs = [row.program for row in rows if row.program is not None]
    estimators = [row.name for row in rows if row.program is None and row.name is not None]
    extra = [p for p in proposals if p is not None]
    known = [
        KNOWN_PROGRAMS[row.name].units if row.name is not None else None for row in rows if row.program is not None
    ]
    units = [read or problem.conditions.units for read in [*known, *([None] * len(extra))]]
    measured = _score(problem, "report", [*programs, *extra], estimators, pool, observer, units)
    n_programs = len(programs)
    scores = np.concatenate([measured.scores[:n_programs], measured.scores[n_programs + len(extra) :]])
    order = [r for r in rows if r.program is not None] + [r for r in rows if r.program is None]
    extra_scores = iter(measured.scores[n_programs : n_programs + len(extra)])
    accepted: dict[str, Program] = {}
    for candidate, proposal, row_scores in zip(front, proposals, scores, strict=False):
        if proposal is not None:
            found = next(extra_scores)
            by_text = {candidate.program.text: row_scores, proposal.text: found}
            if certify(candidate.program, proposal, lambda p, table=by_text: table[p.text]):  # type: ignore[misc]
                accepted[candidate.id] = proposal

    entries = _entries(
        problem, order, scores, dict(zip([c.id for c in contenders], selected, strict=True)), accepted, pick
    )
    document = {
        "format": "eznas-front",
        "version": 1,
        "run": {
            "name": config.name,
            "seed": config.seed,
            "n_generations": state.generation,
            "n_programs": state.n_evaluated,
            "seconds": round(state.seconds + time.perf_counter() - start, 1),
            "primitive_set": config.evolution.primitive_set,
            "benchmark": config.benchmark.name,
            "provenance": problem.benchmark.provenance,
        },
        "tasks": _task_cards(problem),
        "entries": entries,
    }
    folder.replace("report_scores.csv", _scores_csv(problem, order, scores))
    folder.replace("front.json", json.dumps(document, indent=1, allow_nan=False))


def _contenders(state: SearchState) -> list[Candidate]:
    """Programs worth a second look: the evolved front and the top of the hall of fame, without behavioural twins."""
    candidates = list(state.candidates.values())
    front = [candidates[i] for i in non_dominated(np.array([c.objectives for c in candidates]))]
    chosen: dict[tuple[float, ...], Candidate] = {}
    for candidate in sorted(
        [*front, *hall_of_fame(state, POOL_SIZE)], key=lambda c: (c.fitness.size, c.fitness.cost, c.id)
    ):
        chosen.setdefault(candidate.behaviour, candidate)
    return sorted(chosen.values(), key=lambda c: (-c.fitness.correlation, c.id))


def _score(
    problem: Problem,
    part: str,
    programs: Sequence[Program],
    estimators: Sequence[str],
    pool: Pool,
    observer: Observer,
    units: Sequence[str] | None = None,
) -> ProxyScores:
    architectures: tuple[Architecture, ...] = getattr(problem.parts, part)
    return score_architectures(
        architectures,
        problem.conditions,
        programs=programs,
        estimators=estimators,
        pool=pool,
        progress=observer.advance,
        units=units,
    )


def _fitness(
    problem: Problem, part: str, scores: np.ndarray, candidates: Sequence[Candidate]
) -> list[Fitness | Unrankable]:
    return assess_population(
        scores,
        labels_of(problem.tasks(part)),
        [c.program for c in candidates],
        problem.config.evolution.objectives,
        aggregate=problem.config.evolution.aggregate,
        directions=[c.fitness.direction for c in candidates],
    )


def _choose_front(
    contenders: Sequence[Candidate], selected: Sequence[Fitness | Unrankable], size: int
) -> tuple[list[Candidate], str]:
    """Non-dominated programs by the correlation on the selection networks, best first, and the id of the best.

    Of a larger front those stay that show what a smaller or cheaper program gives up: evenly over the front of
    correlation against size, then over the rest; programs that rank no better than chance never.
    """
    ranked = [(c, f) for c, f in zip(contenders, selected, strict=True) if isinstance(f, Fitness)]
    if not ranked:
        raise RunError("No evolved program could be ranked on the selection networks; evolve on more networks")
    objectives = np.array([(f.correlation, -float(f.size), -f.cost) for _, f in ranked])
    order = sorted(
        non_dominated(objectives), key=lambda i: (-ranked[i][1].correlation, ranked[i][1].size, ranked[i][0].id)
    )
    useful = [i for i in order if ranked[i][1].correlation > 0] or order[:1]
    by_size = non_dominated(objectives[useful][:, :2])
    trade = [useful[i] for i in sorted(by_size)]
    rest = [i for i in useful if i not in trade]
    kept = _thinned(trade, size)
    kept += _thinned(rest, size - len(kept))
    kept.sort(key=order.index)
    return [ranked[i][0] for i in kept], ranked[order[0]][0].id


def _thinned(items: list[int], size: int) -> list[int]:
    """At most `size` of the items, evenly spread, the first and the last among them."""
    if len(items) <= size:
        return list(items)
    positions = np.linspace(0, len(items) - 1, size).round().astype(int).tolist()
    return [items[position] for position in dict.fromkeys(positions)]


def _rows(front: Sequence[Candidate], config: RunConfig) -> list[_Row]:
    rows = [_Row(id=c.id, name=None, program=c.program, direction=c.fitness.direction, candidate=c) for c in front]
    for name in config.report.baselines:
        known = KNOWN_PROGRAMS.get(name)
        if known is not None:
            rows.append(_Row(id=name, name=name, program=known.program, direction=known.direction, candidate=None))
        else:
            rows.append(_Row(id=name, name=name, program=None, direction=by_name(name).direction, candidate=None))
    return rows


def _entries(
    problem: Problem,
    rows: Sequence[_Row],
    scores: np.ndarray,
    selected: Mapping[str, Fitness | Unrankable],
    simplified: Mapping[str, Program],
    pick: str,
) -> list[dict[str, Any]]:
    tasks = problem.tasks("report")
    outcomes = assess_population(
        scores,
        labels_of(tasks),
        [row.program for row in rows],
        ("tau",),
        aggregate=problem.config.evolution.aggregate,
        directions=[row.direction for row in rows],
    )
    entries = []
    for row, values, outcome in zip(rows, scores, outcomes, strict=True):
        chosen = selected.get(row.id)
        program, candidate = row.program, row.candidate
        entries.append(
            {
                "id": row.id,
                "kind": "published" if row.candidate is None else "discovered",
                "name": row.name,
                "program": program.text if program else None,
                "tree": to_tree(program) if program else None,
                "simplified": simplified[row.id].text if row.id in simplified else None,
                "direction": row.direction,
                "size": program.size if program else None,
                "height": program.height if program else None,
                "cost": cost(program) if program else None,
                "generation": candidate.generation if candidate else None,
                "operator": candidate.operator if candidate else None,
                "parents": list(candidate.parents) if candidate else [],
                "is_pick": row.id == pick,
                "evolve": _by_task(candidate.fitness) if candidate else None,
                "select": _by_task(chosen) if isinstance(chosen, Fitness) else None,
                "report": _held_out(problem, tasks, values, row, outcome),
            }
        )
    return entries


def _by_task(fitness: Fitness) -> dict[str, dict[str, float | int]]:
    return {
        t.task: {"tau": t.tau, "rho": t.rho, "n": t.n, "n_failed": t.n_failed, "standard_error": t.standard_error}
        for t in fitness.tasks
    }


def _held_out(
    problem: Problem, tasks: Sequence[Task], scores: np.ndarray, row: _Row, outcome: Fitness | Unrankable
) -> dict[str, dict[str, Any]]:
    """Correlations with bootstrap intervals per task, in the proxy's direction; failures share the last rank."""
    failed = ~np.isfinite(scores)
    found: dict[str, dict[str, Any]] = {}
    for position, task in enumerate(tasks):
        shown: dict[str, Any] = {"n": task.n, "n_failed": int(failed.sum())}
        if isinstance(outcome, Unrankable):
            found[task.dataset] = {**shown, "tau": None, "rho": None, "reason": outcome.reason}
            continue
        ranked = scores_with_failures_last(scores, failed, row.direction)
        for statistic, key in (("kendall", "tau"), ("spearman", "rho")):
            low, high = bootstrap_interval(
                ranked,
                task.accuracies,
                statistic=statistic,  # type: ignore[arg-type]
                n_resamples=problem.config.report.bootstrap,
                rng=stream(problem.config.seed, "bootstrap", row.id, task.dataset, key),
            )
            shown[key] = getattr(outcome.tasks[position], key)
            shown[f"{key}_interval"] = [low, high]
        found[task.dataset] = shown
    return found


def _task_cards(problem: Problem) -> list[dict[str, Any]]:
    cards: dict[str, dict[str, Any]] = {
        dataset: {"name": dataset, "dataset": dataset} for dataset in problem.config.benchmark.datasets
    }
    for part in ("evolve", "select", "report"):
        for task in problem.tasks(part):
            cards[task.dataset][part] = {"n": task.n, "split": task.split.value, "epochs": task.epochs}
    return list(cards.values())


def _scores_csv(problem: Problem, rows: Sequence[_Row], scores: np.ndarray) -> str:
    tasks = problem.tasks("report")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["network", *(f"accuracy:{task.dataset}" for task in tasks), *(row.id for row in rows)])
    for column, arch in enumerate(problem.parts.report):
        values = [f"{value:.9g}" if np.isfinite(value) else "" for value in scores[:, column]]
        writer.writerow([arch.spec, *(f"{task.accuracies[column]:.6g}" for task in tasks), *values])
    return out.getvalue()

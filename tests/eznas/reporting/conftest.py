"""A run folder made up for the tests: two samples, discovered and published proxies, one failure, a torn last line."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eznas.assessment import measure_many, paired_difference
from eznas.conditions import Conditions
from eznas.fitness import Covariates, Criterion, Fitness, Labels, Measurement
from eznas.forms import Form
from eznas.programs import FailureKind, cost, parse
from eznas.runs import Entry, Front, PartCard, RunCard, SampleCard
from eznas.runs.config import RunConfig, recorded_settings, to_toml
from eznas.runs.records import FailureRecord, GenerationSummary, ProgramRecord
from eznas.spaces import nb201

PROGRAMS = (
    "(sum_layers (log (frobenius_norm weight_grad.noise)))",
    "(log_abs_determinant (mean_layers (correlation_kernel activation_output.data)))",
    "(add (log_sum_layers (mean_abs activation_input_grad.data)) (log parameter_count))",
    "(subtract (log_abs_determinant (sum_layers (agreement_kernel activation_input.data))) (mean_layers (multiply "
    "0.5@layer (frobenius_norm (divide weight_grad.noise weight)))))",
    "(multiply (log parameter_count) (depth_weighted_mean_layers (spectral_entropy (channel_covariance "
    "activation_output.perturbed))))",
    "(mean_layers (mean weight_grad.perturbed))",
    "(add (multiply (log parameter_count) (depth_weighted_mean_layers (spectral_entropy (channel_covariance "
    "activation_output.perturbed)))) (divide (log_sum_layers (cosine (multiply weight weight_grad.data) (tanh "
    "(standardise weight_grad.noise)))) (spread_layers (sqrt (mean_abs (minimum activation_input.data (relu "
    "activation_input_grad.data)))))))",
)
QUALITY = (0.55, 0.62, 0.66, 0.74, 0.70, 0.30, 0.76)
PICK = 3
NASWOT = "(log_abs_determinant (sum_layers (agreement_kernel activation_input.data)))"
EZNAS_A = "mean_layers (frobenius_norm (sigmoid (log_determinant (sign"
PUBLISHED = (
    ("naswot", NASWOT, 0.60),
    ("synflow", None, 0.56),
    ("parameter_count", "parameter_count", 0.53),
    ("mac_count", "mac_count", 0.52),
    ("jacob_cov", None, 0.50),
    ("eznas_a_code", f"({EZNAS_A} activation_input_grad.data)))))", 0.61),
    ("eznas_a_paper", f"({EZNAS_A} weight_grad.noise)))))", None),
)
SAMPLES = ("cifar10", "cifar100")
N_REPORT = 160


N_FAILED = 3
N_RESAMPLES = 60


def make_run(folder: Path, samples: Sequence[str] = SAMPLES, **card: Any) -> Path:
    """Writes the run folder; the numbers are drawn, but the measurements are those of the scores in it.

    Args:
        folder: to write into.
        samples: of those that are known.
        card: what to change of the run's card.
    """
    rng = np.random.default_rng(7)
    folder.mkdir(parents=True, exist_ok=True)
    labels = _labels(rng)
    scores, kinds = _scores(labels[0].accuracies, rng)
    entries = _entries([one for one in labels if one.task in samples], scores, kinds)
    run = {
        "name": "synthetic", "seed": 7, "n_generations": 12, "n_programs": 2_314, "seconds": 754.2,
        "primitive_set": "extended", "notes": ("Images are digits, since no others were at hand.",),
    }  # fmt: skip
    front = Front(
        run=RunCard(**(run | card)), samples=tuple(_card(name) for name in samples), entries=tuple(entries)
    )  # fmt: skip
    (folder / "front.json").write_text(front.model_dump_json(indent=1), encoding="utf-8")
    with (folder / "report_scores.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        named = [one for one in labels if one.task in samples]
        writer.writerow(["network", *(f"accuracy:{one.task}" for one in named), *scores])
        for network in range(N_REPORT):
            values = [row[network] for row in scores.values()]
            cells = [f"{value:.6g}" if np.isfinite(value) else "" for value in values]
            writer.writerow([f"|nor_conv_3x3~0|{network}", *(one.accuracies[network] for one in named), *cells])
    _write_history(folder)
    discovered = [entry for entry in entries if entry.kind == "discovered"]
    _write_lines(folder / "programs.jsonl", [_record(entry) for entry in discovered])
    return folder


def cross_fitted(folder: Path) -> Path:
    """Takes from a run the figures that a cross-fitted one does not have: those of discovered proxies but the pick."""
    document = json.loads((folder / "front.json").read_text())
    for entry in document["entries"]:
        if entry["kind"] == "discovered" and not entry["is_pick"]:
            entry.update(report={}, versus_pick={})
    _write_json(folder / "front.json", document)
    return folder


def _write_history(folder: Path) -> None:
    config = RunConfig(name="synthetic", seed=7)
    (folder / "config.toml").write_text(to_toml(config), encoding="utf-8")
    _write_json(folder / "manifest.json", {
        "format": "eznas-run", "version": 2, **recorded_settings(config), "history": [],
        "command": ["eznas", "evolve", "config.toml", "--set", "seed=7"],
        "versions": {"eznas": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6", "python": "3.11.9"},
        "platform": "Linux x86_64",
    })  # fmt: skip
    _write_lines(folder / "events.jsonl", [
        generation(
            g, n_valid=200 - 3 * g, n_invalid=3 * g, n_duplicates=4 * g, front_size=5 + g, seconds=60.0 + g,
            best_correlation=0.5 + 0.25 * (1 - np.exp(-g / 3)), hypervolume=2.0 + 0.8 * (1 - np.exp(-g / 4)),
        )
        for g in range(12)
    ])  # fmt: skip
    with (folder / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"event":"generation","gener')
    failures = (
        ("non-finite", "non-finite after 'exp'", 38), ("non-finite", "non-finite after 'log'", 3),
        ("constant", "all its scores are equal", 17), ("worker", "<b>odd</b> reason", 2),
    )  # fmt: skip
    failed = parse("(mean_layers (mean weight))")
    named = {"id": failed.digest, "program": failed.text, "node": 1}
    _write_lines(folder / "failures.jsonl", [
        FailureRecord(**named, kind=FailureKind(kind), reason=reason, generation=i)
        for kind, reason, times in failures for i in range(times)
    ])  # fmt: skip


def generation(index: int, **figures: Any) -> GenerationSummary:
    """A line of ``events.jsonl``."""
    given = {
        "n_evaluated": 200, "n_valid": 200, "n_invalid": 0, "n_duplicates": 0, "best_correlation": 0.5,
        "best_values": (0.5,), "best_size": 3, "best_id": "a", "front_size": 1, "hypervolume": 0.1, "seconds": 10.0,
    }  # fmt: skip
    return GenerationSummary(generation=index, **(given | figures))


def _record(entry: Entry) -> ProgramRecord:
    assert entry.program is not None
    assert entry.generation is not None
    assert entry.operator is not None
    fitness = Fitness(tasks=(), direction=entry.direction, correlation=0.5, size=3, cost=1.0, values=(0.5,))
    return ProgramRecord(
        id=entry.id, program=entry.program, generation=entry.generation, operator=entry.operator,
        parents=entry.parents, fitness=fitness, scores="",
    )  # fmt: skip


def _labels(rng: np.random.Generator) -> list[Labels]:
    quality = rng.beta(5, 2, N_REPORT)
    quality[:8] = 0.0
    accuracies = {
        "cifar10": 10 + 84 * quality**0.3 + rng.normal(0, 0.3, N_REPORT) * (quality > 0),
        "cifar100": 1 + 72 * quality**0.5 + rng.normal(0, 0.6, N_REPORT) * (quality > 0),
    }
    size = quality + rng.normal(0, 0.3, N_REPORT)
    covariates = Covariates(size, size + rng.normal(0, 0.1, N_REPORT), np.floor(3 * np.clip(size, 0, 1)).astype(int))
    return [Labels(name, values, np.arange(N_REPORT), covariates) for name, values in accuracies.items()]


def _scores(
    accuracies: np.ndarray, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], dict[str, list[str | None]]]:
    """By id, scores of the quality asked for; a few failures of the last discovered proxy."""
    order = accuracies.argsort().argsort() / N_REPORT
    qualities = [*zip([parse(text).digest for text in PROGRAMS], QUALITY, strict=True)]
    scores: dict[str, np.ndarray] = {}
    kinds: dict[str, list[str | None]] = {}
    for id_, quality in [*qualities, *((name, quality) for name, _, quality in PUBLISHED)]:
        kinds[id_] = [None] * N_REPORT
        if quality is None:
            scores[id_], kinds[id_] = np.full(N_REPORT, np.nan), ["undefined"] * N_REPORT
        else:
            scores[id_] = quality * order + (1 - quality) ** 1.1 * rng.normal(0, 0.45, N_REPORT)
    last = qualities[-1][0]
    scores[last][10 : 10 + N_FAILED] = np.nan
    kinds[last][10 : 10 + N_FAILED] = ["non-finite", "network", "non-finite"]
    return scores, kinds


def _entries(
    labels: Sequence[Labels], scores: Mapping[str, np.ndarray], kinds: Mapping[str, list[str | None]]
) -> list[Entry]:
    matrix, ids = np.stack(list(scores.values())), list(scores)
    report: dict[str, dict[str, Measurement]] = {id_: {} for id_ in ids}
    versus: dict[str, dict[str, Criterion]] = {id_: {} for id_ in ids}
    for one in labels:
        measured = measure_many(
            matrix, one, directions=[1] * len(ids), rng=np.random.default_rng(1), n_resamples=N_RESAMPLES,
            failures=list(kinds.values()),
        )  # fmt: skip
        for row, id_ in enumerate(ids):
            report[id_][one.task] = measured[row]
            if row != PICK and measured[row].tau is not None:
                versus[id_][one.task] = paired_difference(
                    matrix[PICK], matrix[row], one, rng=np.random.default_rng(2), n_resamples=N_RESAMPLES
                )
    briefly = {id_: {name: m.model_copy(update=_bare(m)) for name, m in found.items()} for id_, found in report.items()}
    entries = []
    for index, text in enumerate(PROGRAMS):
        id_ = ids[index]
        entries.append(
            Entry(
                id=id_, kind="discovered", program=text, direction=-1 if index == 1 else 1, units="convolutional",
                seed=5, cost=cost(parse(text)), seconds=0.0123, generation=index + 1,
                operator="random" if index < 2 else "crossover", is_pick=index == PICK,
                parents=(parse(PROGRAMS[index - 2]).digest,) if index >= 2 else (),
                evolve=briefly[id_], select=briefly[id_], report=report[id_], versus_pick=versus[id_],
            )
        )  # fmt: skip
    for name, formula, _ in PUBLISHED:
        bound = {"units": "all", "seed": 5, "cost": cost(parse(formula))} if formula else {"cost": 1.5}
        entries.append(
            Entry(
                id=name, name=name, title=f"The {name} of its paper", kind="published", program=formula, direction=1,
                seconds=0.0456, report=report[name], versus_pick=versus[name], **bound,
            )
        )  # fmt: skip
    return entries


def _bare(measured: Measurement) -> dict[str, Any]:
    """What is known of a proxy on the networks of a search: tau and rho without intervals."""
    of = dict.fromkeys(measured.criteria)
    kept = {name: Criterion(value=c.value) for name, c in measured.criteria.items() if name in ("tau", "rho")}
    return {**of, **kept}


def _card(name: str) -> SampleCard:
    return SampleCard(
        name=name, dataset=name, benchmark="nb201", conditions=Conditions(settings=nb201.Settings(channels=4), seed=3),
        provenance="NAS-Bench-201 accuracies, mean of the recorded seeds, 200 epochs.",
        evolve=PartCard(n=100, split="validation", epochs=200), select=PartCard(n=200, split="validation", epochs=200),
        report=PartCard(n=N_REPORT, split="test", epochs=200),
    )  # fmt: skip


def _write_json(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")


def _write_lines(path: Path, records: Sequence[Form]) -> None:
    path.write_text("".join(record.model_dump_json() + "\n" for record in records), encoding="utf-8")


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests that change it copy it first."""
    return make_run(tmp_path_factory.mktemp("runs") / "synthetic")

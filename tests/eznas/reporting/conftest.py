"""A run folder made up for the tests: two tasks, discovered and published proxies, one failure, a torn last line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eznas.fitness import bootstrap_interval, kendall_tau_b, spearman
from eznas.programs import cost, parse, to_tree
from eznas.runs.config import RunConfig, recorded_settings, to_toml

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
TASKS = ("cifar10", "cifar100")
N_REPORT = 160


def make_run(folder: Path) -> Path:
    """Writes the run folder; the numbers are drawn, but the correlations are those of the scores in it."""
    rng = np.random.default_rng(7)
    folder.mkdir(parents=True, exist_ok=True)
    accuracies = _accuracies(rng)
    columns: dict[str, list[Any]] = {
        "network": [f"|nor_conv_3x3~0|{i}" for i in range(N_REPORT)],
        **{f"accuracy:{task}": [round(float(a), 3) for a in accuracies[task]] for task in TASKS},
    }
    entries = []
    for index, text in enumerate(PROGRAMS):
        entries.append(_entry(text, None, QUALITY[index], index, accuracies, columns, rng))
    for name, text, quality in PUBLISHED:
        entries.append(_entry(text, name, quality, 0, accuracies, columns, rng))
    _write_json(folder / "front.json", {
        "format": "eznas-front", "version": 1,
        "run": {
            "name": "synthetic", "seed": 7, "n_generations": 12, "n_programs": 2_314, "seconds": 754.2,
            "primitive_set": "extended", "benchmark": "nb201",
            "provenance": "NAS-Bench-201 accuracies, mean of the recorded seeds, 200 epochs.",
        },
        "tasks": [
            {
                "name": task, "dataset": task,
                "evolve": {"n": 100, "split": "validation", "epochs": 200},
                "select": {"n": 200, "split": "validation", "epochs": 200},
                "report": {"n": N_REPORT, "split": "test", "epochs": 200},
            }
            for task in TASKS
        ],
        "entries": entries,
    })  # fmt: skip
    with (folder / "report_scores.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    config = RunConfig(name="synthetic", seed=7)
    (folder / "config.toml").write_text(to_toml(config), encoding="utf-8")
    _write_json(folder / "manifest.json", {
        "format": "eznas-run", "version": 2, **recorded_settings(config), "history": [],
        "command": ["eznas", "evolve", "config.toml", "--set", "seed=7"],
        "versions": {"eznas": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6", "python": "3.11.9"},
        "data": {"nb201.csv.gz": "blake2b:5f2c"},
    })  # fmt: skip
    _write_lines(folder / "events.jsonl", [
        {"event": "started", "generation": 0},
        *(
            {
                "event": "generation", "generation": g, "n_evaluated": 200, "n_valid": 200 - 3 * g,
                "n_duplicates": 4 * g, "n_invalid": 3 * g, "front_size": 5 + g,
                "best_correlation": 0.5 + 0.25 * (1 - np.exp(-g / 3)),
                "hypervolume": 2.0 + 0.8 * (1 - np.exp(-g / 4)), "seconds": 60.0 + g,
            }
            for g in range(12)
        ),
    ])  # fmt: skip
    with (folder / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"event":"generation","gener')
    _write_lines(folder / "programs.jsonl", [
        {"id": entry["id"], "program": entry["program"], "generation": entry["generation"],
         "operator": entry["operator"], "parents": entry["parents"]}
        for entry in entries if entry["kind"] == "discovered"
    ])  # fmt: skip
    _write_lines(folder / "failures.jsonl", [
        *({"id": f"{i:016x}", "program": "(mean_layers (mean weight))", "reason": reason, "node": 1, "generation": i}
          for reason, times in (("non-finite after 'exp'", 41), ("constant score", 17), ("<b>odd</b> reason", 2))
          for i in range(times)),
    ])  # fmt: skip
    return folder


def _accuracies(rng: np.random.Generator) -> dict[str, np.ndarray]:
    quality = rng.beta(5, 2, N_REPORT)
    quality[:8] = 0.0
    return {
        "cifar10": 10 + 84 * quality**0.3 + rng.normal(0, 0.3, N_REPORT) * (quality > 0),
        "cifar100": 1 + 72 * quality**0.5 + rng.normal(0, 0.6, N_REPORT) * (quality > 0),
    }


def _entry(
    text: str | None, name: str | None, quality: float | None, index: int, accuracies: dict[str, np.ndarray],
    columns: dict[str, list[Any]], rng: np.random.Generator,
) -> dict[str, Any]:  # fmt: skip
    program = parse(text) if text else None
    key = name or (program.digest if program else "")
    direction = -1 if index == 1 and name is None else 1
    measured: dict[str, Any] = {"evolve": {}, "select": {}, "report": {}}
    if quality is None:  # failed everywhere
        columns[key] = [""] * N_REPORT
        for part in measured:
            measured[part] = {
                task: {"tau": None, "rho": None, "n": N_REPORT, "n_failed": N_REPORT, "reason": "no finite score"}
                for task in TASKS
            }
    else:
        order = accuracies["cifar10"].argsort().argsort() / N_REPORT
        scores = quality * order + (1 - quality) ** 1.1 * rng.normal(0, 0.45, N_REPORT)
        columns[key] = [round(direction * float(s), 6) for s in scores]
        for task in TASKS:
            tau, rho = kendall_tau_b(scores, accuracies[task]), spearman(scores, accuracies[task])
            for part in ("evolve", "select"):
                measured[part][task] = {
                    "tau": tau + rng.normal(0, 0.01), "rho": rho, "n": 100, "n_failed": 0, "standard_error": 0.04
                }
            measured["report"][task] = {
                "tau": tau, "rho": rho, "n": N_REPORT, "n_failed": 0,
                "tau_interval": list(bootstrap_interval(scores, accuracies[task], n_resamples=100, rng=rng)),
                "rho_interval": list(
                    bootstrap_interval(scores, accuracies[task], statistic="spearman", n_resamples=100, rng=rng)
                ),
            }  # fmt: skip
    return {
        "id": program.digest if program and not name else key, "name": name,
        "kind": "published" if name else "discovered",
        "program": text, "tree": to_tree(program) if program else None, "simplified": None, "direction": direction,
        "size": program.size if program else None, "height": program.height if program else None,
        "cost": cost(program) if program else None, "generation": None if name else index + 1,
        "operator": None if name else ("random" if index < 2 else "crossover"),
        "parents": [parse(PROGRAMS[index - 2]).digest] if index >= 2 and not name else [],
        "is_pick": name is None and index == PICK, **measured,
    }  # fmt: skip


def _write_json(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")


def _write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests that change it copy it first."""
    return make_run(tmp_path_factory.mktemp("runs") / "synthetic")

"""Every experiment is a tested file: settings load, scripts run on a workload of minutes made of seconds."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from eznas.benchmarks import load_benchmark
from eznas.estimators import PUBLISHED
from eznas.runs.config import config_from, load_config
from eznas.spaces import nb201, networks_named
from eznas.study import prepare

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
RUN_CONFIGS = sorted(p for p in EXPERIMENTS.glob("*.toml") if "evolution" in tomllib.loads(p.read_text()))
SMALL = [
    "evolution.population_size=12", "evolution.initial_size=12", "evolution.n_generations=1",
    "benchmark.n_evolve=12", "benchmark.n_select=12",
    "benchmark.n_report=12", "networks.channels=4", "probe.batch_size=2", "probe.input_size=8",
    "report.bootstrap=100", "report.simplify_seconds=1", "report.badge_networks=0",
    'report.baselines=["parameter_count", "naswot_units"]',
]  # fmt: skip


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"experiment_{name}", EXPERIMENTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for the names of their annotations
    spec.loader.exec_module(module)
    return module


def benchmark(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the folder that the bench is made of, found as a script finds it."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    return importlib.import_module(f"benchmark.{name}")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EZNAS_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.parametrize("path", RUN_CONFIGS, ids=lambda p: p.stem)
def test_settings_load(path: Path) -> None:
    config = load_config(path)
    assert config.name == path.stem.replace("_", "-")


def test_there_are_settings_to_load() -> None:
    names = {path.stem for path in RUN_CONFIGS}
    assert {"quickstart", "three_datasets", "two_spaces", "all_spaces", "pytorchcv"} <= names


@pytest.mark.skipif("EZNAS_DATA" not in os.environ, reason="EZNAS_DATA is not set")
def test_all_spaces_are_samples_with_labels_that_cannot_be_mistaken() -> None:
    """All but the two large tables, which take seconds to read."""
    table = tomllib.loads((EXPERIMENTS / "all_spaces.toml").read_text())
    names = [sample["name"] for sample in table["samples"]]
    assert names == ["nb201", "nb101", "nds_darts_in", "nds_amoeba_in", "nds_enas_in", "nds_resnext_a_in", "nb301"]
    problem = prepare(config_from({**table, "samples": table["samples"][2:]}))
    samples = problem.samples("report")
    assert [sample.name for sample in samples] == [*(f"{name}/imagenet" for name in names[2:6]), "nb301/cifar10"]
    assert [sample.stated_split for sample in samples] == ["test"] * 4 + ["predicted"]
    assert [sample.stated_epochs for sample in samples] == [50] * 4 + [None]
    assert [len(family.stored) for family in problem.families] == [49, 50, 47, 52, 60]
    for sample, evolved in zip(samples[:4], problem.samples("evolve"), strict=False):
        assert (sample.conditions.images, sample.conditions.settings.width_divisor) == ("imagenet16", 8)
        assert not set(sample.architectures) & set(evolved.architectures)
        logits = sample.conditions.network(sample.architectures[0])(sample.conditions.batch(4)[0])
        assert logits.shape == (4, 120)


def test_every_expected_value_names_its_source() -> None:
    files = sorted((EXPERIMENTS / "expected").glob("*.toml"))
    assert files
    for path in files:
        values = tomllib.loads(path.read_text()).values()
        rows = [row for value in values for row in (value if isinstance(value, list) else [value])]
        assert rows
        assert all(row.get("source") or row["protocol"] for row in rows if isinstance(row, dict))


TINY_BENCH = """
seed = 0
input_size = 8
S = { n_networks = 10, batch_size = 1 }
L = { n_networks = 10, batch_size = 2 }
population_size = 8
generations = [0, 1, 2]
middle = 2
trees = { n = 3, max_size = 60, heights = [8, 12] }
workers = 0
workers_generation = 1
growth_populations = [4, 8]
growth_networks = [4, 8]
growth_depths = [1, 2]
growth_depth_networks = 2
tau_programs = 5
tau_networks = 30
bandwidth_mb = 4
memory_mib = 16
sentence_words = 40
n_sentences = 200
bank_every = 2000
bank_networks = 2
capture_networks = 2
isolated = false
repeats = 1
plain_repeats = 1
"""
BENCH_IDS = {
    "s_rate_2", "workers_2", "s_plain", "s_plain_cold", "l_plain", "l_plain_cold", "l_tiled", "bandwidth",
    "growth_population", "growth_networks", "growth_depth", "tau", "sentences", "bank_rate",
    "bank_again", "capture_ratio", "plain_peak", "shared_peak",
    *(f"{kind}_{what}" for kind in ("half", "bfloat16") for what in ("storage", "change", "moved")),
    "memory_peak",
    "profile_1", "profile_outside",
    *(f"{way}_rate_{name}" for way in ("plain", "shared") for name in ("0", "1", "2", "large")),
}  # fmt: skip
MAY_BE_NAUGHT = {
    "memory_peak",
    "plain_peak",
    "shared_peak",
    "half_moved",
    "half_change",
    "bfloat16_moved",
    "bfloat16_change",
    "growth_population",
    "growth_networks",
    "growth_depth",
}


def test_bench_agrees_and_writes_its_rows(elsewhere: Path) -> None:
    settings = elsewhere / "bench.toml"
    settings.write_text(TINY_BENCH)
    command = [sys.executable, EXPERIMENTS / "bench.py", settings]
    assert subprocess.run(command, check=False, timeout=600).returncode == 0
    folder = elsewhere / "runs/bench"
    rows = {row["id"]: row for row in json.loads((folder / "bench.json").read_text())}
    assert set(rows) >= BENCH_IDS
    assert all(set(row) == {"id", "value", "unit", "note"} for row in rows.values())
    assert all(row["value"] > 0 for row in rows.values() if row["id"] not in MAY_BE_NAUGHT)
    assert {path.name for path in folder.glob("*.svg")} == {"growth.svg", "rates.svg", "profile.svg", "memory.svg"}


def test_bench_has_the_sizes_its_test_has() -> None:
    assert set(tomllib.loads((EXPERIMENTS / "bench.toml").read_text())) == set(tomllib.loads(TINY_BENCH))


def test_bench_measures_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    speed, peak = benchmark("ways", monkeypatch).in_fresh_process(benchmark("ways", monkeypatch).read_speed, 40_000_000)
    assert speed > 0
    assert peak > 30


def test_bench_refuses_ways_that_disagree(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = benchmark("ways", monkeypatch)
    scores = np.array([[1.0, 2.0], [3.0, np.nan]])
    ways.require_equal(ways.Timed([1.0], [1.0], scores), ways.Timed([1.0], [1.0], scores * (1 + 1e-7)))
    for other in (scores * 1.001, np.nan_to_num(scores)):
        with pytest.raises(AssertionError):
            ways.require_equal(ways.Timed([1.0], [1.0], scores), ways.Timed([1.0], [1.0], other))


def test_gpu_bench_compares_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = benchmark("workload", monkeypatch)
    monkeypatch.delenv("EZNAS_DATA", raising=False)
    settings = tomllib.loads(TINY_BENCH)
    made = workload.make_workload(workload.run_config(settings, **settings["S"]))
    bench = script("bench_gpu")
    rows = [*bench.compare_work(made, settings, "cpu"), *bench.compare_devices(made, settings, "cpu")]
    value = {row["id"]: row["value"] for row in rows}
    assert value["gpu_capture"] > 0
    assert value["gpu_score"] > 0
    assert value["gpu_score_apart"] == 0
    assert value["gpu_single"] > 0
    assert value["gpu_half"] > 0
    assert value["gpu_single_rho"] == 1
    assert value["gpu_single_moved"] == 0
    assert value["gpu_half_rho"] > 0.9


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_gpu_bench_without_a_device_is_one_sentence(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark("ways", monkeypatch)
    assert script("bench_gpu").main([]) == 0
    assert capsys.readouterr().out.startswith("There is no CUDA device")
    assert not (elsewhere / "runs").exists()


def test_seeds_give_one_row_each(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EZNAS_DATA", raising=False)
    module = script("seeds")
    monkeypatch.setattr(module, "SEEDS", (1, 2))
    monkeypatch.setattr(module, "WORKERS", 0)
    assert module.main(SMALL) == 0
    rows = json.loads((elsewhere / "runs/seeds/table.json").read_text())
    assert [row["seed"] for row in rows] == [1, 2]
    assert all(-1 <= row["tau cifar10"] <= 1 and row["n"] == 12 for row in rows)


@pytest.mark.skipif("EZNAS_DATA" not in os.environ, reason="EZNAS_DATA is not set")
def test_validation_resumes_and_compares(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = elsewhere / "validate.toml"
    text = (EXPERIMENTS / "validate_nb201.toml").read_text()
    settings.write_text(
        text.replace("n_networks = 1000", "n_networks = 6")
        .replace("batch_size = 128", "batch_size = 4")
        .replace("batch_size = 16", "batch_size = 2")
    )
    module = script("validate_nb201")
    assert module.main([str(settings)]) == 0
    first = (elsewhere / "runs/validate-nb201/scores.csv").read_text()
    rows = json.loads((elsewhere / "runs/validate-nb201/table.json").read_text())
    assert {row["proxy"] for row in rows} == {"eznas_a_code", "eznas_a_paper", "naswot"}
    (elsewhere / "runs/validate-nb201/scores.csv").write_text("\n".join(first.splitlines()[:4]) + "\n")
    assert module.main([str(settings)]) == 0
    assert (elsewhere / "runs/validate-nb201/scores.csv").read_text() == first


def test_validation_without_data_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("EZNAS_DATA", raising=False)
    assert script("validate_nb201").main([]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def search_tables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[list[dict[str, Any]], str]:
    """The rows it writes and the text it prints, on few repeats."""
    module = script("search_tables")
    monkeypatch.setattr(module, "REPEATS", 4)
    assert module.main(arguments) == 0
    svg = Path("runs/search-tables/curves.svg").read_text()
    assert "area params" in svg
    return json.loads(Path("runs/search-tables/tables.json").read_text()), capsys.readouterr().out


def test_searches_stand_beside_published_tables(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("EZNAS_DATA", raising=False)
    cells = nb201.all_architectures()
    lines = [f"{cell.spec},{nb201.operations(cell).count('skip_connect')}" for cell in cells]
    (elsewhere / "scores.csv").write_text("\n".join(["network,naswot", *lines]) + "\n")
    rows, text = search_tables(monkeypatch, capsys, "scores.csv")
    assert {(row["dataset"], row["split"]) for row in rows} == {("cifar10", "test")}
    found = {row["method"]: row for row in rows}
    for method in ("random", "optimum 1000", "params 10", "naswot 500", "random search", "evolution", "area naswot"):
        assert found[method]["repeats"] == 4
        assert method in text
    assert (found["naswot 100"]["published mean"], found["naswot 100"]["published runs"]) == (92.81, 500)
    assert (found["epe_nas 500"]["mean"], found["epe_nas 500"]["published mean"]) == (None, 92.27)
    assert all((row["published mean"] is None) == (row["source"] is None) for row in rows)
    assert "driven by cifar10 test, full training" in text


@pytest.mark.skipif("EZNAS_DATA" not in os.environ, reason="EZNAS_DATA is not set")
def test_searches_of_three_data_sets(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rows, text = search_tables(monkeypatch, capsys)
    found = {(row["method"], row["dataset"], row["split"]): row for row in rows}
    best = {(d, s): max(found[f"optimum {n}", d, s]["mean"] for n in (10, 100, 500, 1000)) for _, d, s in found}
    assert len(best) == 6
    assert best["imagenet16", "validation"] > found["params 1000", "imagenet16", "validation"]["mean"]
    assert found["area naswot", "cifar10", "validation"]["published mean"] == 91.20
    assert ("area naswot", "cifar10", "test") not in found
    assert "driven by cifar10 validation, 12 epochs" in text


def test_searches_with_bad_scores_are_one_sentence(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script("search_tables").main(["nowhere.csv"]) == 1
    assert capsys.readouterr().err.startswith("error: nowhere.csv cannot be read")
    assert not (elsewhere / "runs").exists()


def test_estimators_are_compared_with_the_scores_of_their_own_code(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not os.environ.get("EZNAS_DATA"):
        pytest.skip("EZNAS_DATA is not set")
    assert (
        script("validate_estimators").main(["--n", "4", "--batch", "8", "--only", "nb201/cifar10", "--counts", "10"])
        == 0
    )
    rows = {row["estimator"]: row for row in json.loads((elsewhere / "runs/validation/estimators.json").read_text())}
    assert len(rows) == 13
    assert rows["parameter_count"]["spearman_with_reference"] == 1
    for row in rows.values():
        assert row["n"] == 4
        assert row["seconds_per_network"] > 0
        assert -1 <= row["own_retest"] <= 1
        assert -1 <= row["retest_with_reference"] <= 1
        assert row["within_tolerance"] == (row["spearman_with_reference"] >= row["ceiling"] - 0.03)
    (counts,) = json.loads((elsewhere / "runs/validation/counts.json").read_text())
    assert (counts["space"], counts["dataset"], counts["parameters_exact"]) == ("nb201", "cifar10", "693/693")
    assert counts["operations_exact"] == "10/10"
    assert "zen" in capsys.readouterr().out
    few = ["--estimators", "l2_norm,synflow", "--counts", "0", "--no-retest"]
    assert script("validate_estimators").main(["--n", "5", "--batch", "2", "--only", "nb201/cifar10", *few]) == 0
    again = json.loads((elsewhere / "runs/validation/estimators.json").read_text())
    assert {row["estimator"]: row["n"] for row in again} == {name: 5 if name in few[1] else 4 for name in rows}
    assert json.loads((elsewhere / "runs/validation/counts.json").read_text()) == [counts]
    with pytest.raises(SystemExit):
        script("validate_estimators").main(["--estimators", "nwot"])
    assert "got nwot" in capsys.readouterr().err


def test_tables_validated_one_by_one_stand_side_by_side(elsewhere: Path) -> None:
    module = script("validate_estimators")
    for reference, n in zip((*module.REFERENCES, *module.REFERENCES[:2]), (1, 2, 3, 4, 5, 6, 7), strict=True):
        row = {"space": reference.space, "dataset": reference.dataset, "n": n}
        module.record([row], [row | {"estimator": name} for name in (["plain", "snip"] if n < 7 else ["snip"])])
    for name, expected in (("estimators.json", [2, 3, 3, 4, 4, 5, 5, 6, 6, 7]), ("counts.json", [3, 4, 5, 6, 7])):
        rows = json.loads((elsewhere / "runs/validation" / name).read_text())
        assert sorted(row["n"] for row in rows) == expected


@pytest.mark.skipif("EZNAS_DATA" not in os.environ, reason="EZNAS_DATA is not set")
@pytest.mark.parametrize("table", ["nb201/cifar10", "nb101/cifar10", "darts/cifar10"])
def test_scores_that_need_no_images_have_the_published_values(table: str) -> None:
    """Initialised in another way, the weights of NAS-Bench-101 networks would have half the norm."""
    module = script("validate_estimators")
    (reference,) = (reference for reference in module.REFERENCES if reference.name == table)
    rows = module.published(reference, Path(os.environ["EZNAS_DATA"]))
    given = module.conditions(reference, 2, 0)
    estimators = {estimator.name: estimator for estimator in PUBLISHED}
    for arch in list(rows)[10:12]:
        network = given.network(arch)
        for name, tolerance in (("l2_norm", 0.01), ("synflow", 0.01)):
            found = estimators[name](network, *given.batch(2))
            assert found == pytest.approx(rows[arch][name], rel=tolerance), name


def test_without_reference_scores_the_validation_is_one_sentence(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EZNAS_DATA", str(elsewhere))
    assert script("validate_estimators").main([]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: The reference scores nb201_reference_scores.csv.gz are not in")


def test_aggregates_are_ranked_beside_their_members(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EZNAS_DATA", raising=False)
    module = script("aggregates")
    assert module.main(["6", "4"]) == 0
    shown = capsys.readouterr()
    assert shown.out.count("log ranks") == len(module.SUMS)
    assert "a reference of 4 other cells" in shown.out
    assert module.main(["many"]) == 1
    assert "error: " in capsys.readouterr().err


def test_a_supernet_is_trained_and_ranked_beside_zero_shot_proxies(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EZNAS_DATA", raising=False)
    oneshot = script("oneshot")
    small = [
        "images.source=digits", "images.input_size=8", "images.n_train=100", "networks.channels=4", "training.epochs=2",
        "checkpoints.every=1", "evaluation.n_images=100", "evaluation.recalibration=50",
    ]  # fmt: skip
    command = ["--run-dir", "run", "--n", "8", "--curve", "2", "--into", "found.json"]
    assert oneshot.main([*command, *(word for one in small for word in ("--set", one))]) == 0
    shown = capsys.readouterr()
    assert "8 cells, CIFAR-10, test, 200 epochs" in shown.out
    found = json.loads((elsewhere / "found.json").read_text())
    assert [row["epoch"] for row in found["curve"]] == [1, 2]
    rows = {row["proxy"]: row for row in found["proxies"]}
    assert rows.keys() == {*oneshot.BASELINES, *oneshot.KINDS.values(), *oneshot.FITTED}
    assert found["curve"][-1]["tau of loss"] == pytest.approx(rows["one-shot loss"]["tau"]["value"])
    assert all((row["difference"] is None) == (name in oneshot.BASELINES) for name, row in rows.items())
    assert any(f"of {row['against']} |" in line for row in rows.values() for line in oneshot.oneshot_lines(found))
    assert found["curve"][0]["tau with the one before"] is None
    assert 0 <= found["curve"][1]["P@top with the one before"] <= 1
    assert oneshot.main([*command, "--set", "seed=5"]) == 1
    assert "was begun with other settings" in capsys.readouterr().err


def test_shared_top_is_the_mean_over_random_ways_to_break_ties() -> None:
    top_shared = script("oneshot").top_shared
    one, other = np.array([3.0, 1, 1, 1, 0, 0]), np.array([1.0, 2, 2, 0, 2, 0])
    ways = []
    for first in itertools.permutations(range(6)):
        best = set(sorted(range(6), key=lambda place: (-one[place], first[place]))[:2])
        for second in itertools.permutations((1, 2, 4)):  # which of the three that tie come first
            ways.append(len(best & {*second[:2]}) / 2)
    assert top_shared(one, other, 1 / 3) == pytest.approx(np.mean(ways))
    assert top_shared(one, one[::-1], 0.001) == 0
    assert top_shared(other, other * 2, 1.0) == 1


def correlate(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, Any], str]:
    """All reports of the correlations, and what is printed."""
    assert script("correlations").main(arguments) == 0
    return json.loads(Path("runs/correlations/correlations.json").read_text()), capsys.readouterr().out


def test_every_space_measures_what_is_asked_and_goes_on(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    every_space = script("every_space")
    command = ["(log parameter_count)", "--only", "--n", "12", "--benchmarks", "net_plain", "--into", "found.json"]
    for scored in ("12", "0"):
        assert every_space.main(command) == 0
        assert f"Scoring {scored} networks into" in capsys.readouterr().err
    found = json.loads((elsewhere / "found.json").read_text())["net_plain"]
    assert (found["n"], found["split"], found["epochs"]) == (12, "validation", 10)
    taus = {name: one["tau"] for name, one in found["proxies"].items()}
    assert taus["(log parameter_count)"] == taus["parameter_count"]
    assert {"depth", "width", "naswot"} <= taus.keys()
    assert all(low <= value <= high for value, low, high in taus.values())
    assert every_space.main(["--benchmarks", "net_plian"]) == 1
    assert "error: " in capsys.readouterr().err


def test_networks_that_chose_a_program_can_be_left_out(elsewhere: Path) -> None:
    every_space = script("every_space")
    parts = ["n_evolve = 20", "n_select = 12", "n_report = 24"]
    settings = ['name = "small"', "[benchmark]", 'name = "net_plain"', *parts]
    (elsewhere / "run").mkdir()
    (elsewhere / "run" / "config.toml").write_text("\n".join(settings))
    left_out = every_space.choosing_networks([elsewhere / "run"])
    benchmark = load_benchmark("net_plain")
    kept = every_space.networks_of(benchmark, 60, left_out)
    assert len(left_out) == 20 + 12
    assert set(kept) | left_out == set(benchmark.architectures)
    assert len(kept) == 60 - 32
    assert kept[:9] == every_space.networks_of(benchmark, 9, left_out)
    everything = every_space.networks_of(benchmark, 60)
    assert [arch for arch in everything if arch in kept] == list(kept), "in the same order"


def test_correlations_of_embedded_data_go_on_and_are_drawn(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("EZNAS_DATA", raising=False)
    names = ["parameter_count", "jacob_cov", "ntk", "eznas_a_code"]
    options = ["--batch", "2", "--estimators", ",".join(names)]
    _, text = correlate(capsys, *options, "--n", "12")
    assert "estimator_costs.py" in text
    scores = {name: elsewhere / f"runs/correlations/reduced-cifar10-b2-seed0/{name}.csv" for name in names}
    begun = {name: path.read_text() for name, path in scores.items()}
    scores["ntk"].unlink()
    assert script("estimator_costs").main(
        ["--batch", "2", "--repeats", "1", "--n", "8", "--workers", "0", "--estimators", ",".join(names)]
    ) == 0  # fmt: skip
    costs = json.loads((elsewhere / "runs/costs/costs.json").read_text())
    assert {row["estimator"] for row in costs["estimators"]} == set(names)
    reports, text = correlate(capsys, *options, "--n", "20")
    assert "top tenth" in text
    for name in set(names) - {"ntk"}:  # 8 cells more, the others as they were
        assert scores[name].read_text().startswith(begun[name])
        assert len(scores[name].read_text().splitlines()) == 21
    report = reports["reduced-cifar10-b2-seed0"]
    assert (report["n"], report["conditions"]["images"]) == (20, "digits")
    rows = {(row["estimator"], row["cells"]): row for row in report["rows"]}
    assert set(rows) == {(name, cells) for name in names for cells in ("all", "live")}
    for row in rows.values():
        assert (row["dataset"], row["split"]) == ("cifar10", "test")
        assert row["n"] == 20 if row["cells"] == "all" else 5 <= row["n"] < 20
        assert 0 <= row["n_failed"] <= row["n"]
        assert row["seconds_per_network"] > 0
        assert row["tau_low"] <= row["tau"] <= row["tau_high"]
        assert row["rho_low"] <= row["rho"] <= row["rho_high"]
    assert rows["parameter_count", "all"]["share_tied"] > 0
    (known,) = rows["parameter_count", "all"]["published"]
    assert (known["tau"], known["rho"]) == (0.578, 0.753)
    assert rows["jacob_cov", "live"]["published"][0]["protocol"] == "9,445 cells, mean of 5 runs"
    assert "EZNAS-A" in (elsewhere / "runs/correlations/estimators.svg").read_text()


@pytest.mark.skipif("EZNAS_DATA" not in os.environ, reason="EZNAS_DATA is not set")
def test_naswot_under_its_own_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    reports, text = correlate(capsys, "--protocol", "naswot", "--n", "16", "--batch", "2")
    assert [report["images_of"] for report in reports.values()] == ["cifar10", "cifar100", "imagenet16"]
    published = {}
    for report in reports.values():
        assert (report["skeleton"], report["conditions"]["settings"]["n_classes"]) == ("full", 1)
        for row in report["rows"]:
            assert row["dataset"] == report["images_of"]
            if row["cells"] == "all, failures last":
                assert (row["n"], row["published"]) == (16, [])
            elif row["published"]:
                published[row["dataset"], row["split"]] = row["published"][0]["tau"]
                assert row["n_failed"] == 0
    assert published == {("cifar10", "test"): 0.574, ("cifar100", "test"): 0.611, ("imagenet16", "test"): 0.549}
    assert "published: tau 0.549" in text


@pytest.mark.skipif("EZNAS_DATA" not in os.environ, reason="EZNAS_DATA is not set")
def test_correlations_on_other_images(capsys: pytest.CaptureFixture[str]) -> None:
    reports, _ = correlate(
        capsys, "--dataset", "imagenet16", "--n", "6", "--batch", "2", "--estimators", "naswot", "--skeleton", "full"
    )
    (report,) = reports.values()
    assert (report["conditions"]["images"], report["conditions"]["settings"]["n_classes"]) == ("imagenet16", 120)
    assert {(row["dataset"], row["split"]) for row in report["rows"]} == {
        (dataset, split) for dataset in ("cifar10", "cifar100", "imagenet16") for split in ("test", "validation")
    }


def test_correlations_draw_the_same_cells_first() -> None:
    module = script("correlations")
    assert module.draw_cells(500)[:20] == module.draw_cells(20)
    assert len(set(module.draw_cells(nb201.N_CELLS))) == nb201.N_CELLS
    assert sum(map(module.is_live, nb201.all_architectures())) == 9_445  # as many as the papers that use them count


def test_failures_rank_last_and_ties_are_counted() -> None:
    module = script("correlations")
    accuracies, cells = np.linspace(10.0, 90.0, 80), module.draw_cells(80)
    given, kept = module.covariates(cells), np.ones(80, dtype=bool)
    labels = module.labels_of("cifar10", accuracies, given, kept)
    found = module.figures(np.where(np.arange(80) < 4, np.nan, accuracies), labels, "test")
    assert (found["n"], found["n_failed"]) == (80, 4)
    assert found["share_tied"] == pytest.approx(6 / 3160)
    assert 0.98 < found["tau"] < 1
    assert found["top_tau"] == pytest.approx(1)
    assert found["level_rho_low"] <= found["level_rho"]
    constant = module.figures(np.ones(80), labels, "test")
    assert (constant["tau"], constant["rho_low"], constant["share_tied"]) == (None, None, 1)
    assert module.labels_of("cifar10", accuracies, given, np.arange(80) < 4) is None
    assert set(np.unique(given.levels[given.levels < 10])) == {1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--n", "3"], "5 to 15625 cells, got 3"),
        (["--estimators", "naswot,nonsense"], "--estimators names nonsense; expected some of parameter_count"),
    ],
)
def test_bad_correlations_are_one_sentence(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert script("correlations").main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not (elsewhere / "runs").exists()


def test_the_costs_of_a_family_are_those_of_its_members_together() -> None:
    rows = script("estimator_costs").measure_together(["naswot", "zico", "linear_regions"], batch_size=2, repeats=1)
    assert [(row["family"], row["skeleton"]) for row in rows] == [
        ("naswot, linear_regions", "reduced"), ("naswot, linear_regions", "full")
    ]  # fmt: skip
    assert all(0 < row["of_sum"] < row["of_dearest"] for row in rows)


def test_bad_costs_are_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert script("estimator_costs").main(["--estimators", "nonsense"]) == 1
    assert "names nonsense" in capsys.readouterr().err


def test_every_published_figure_has_its_place() -> None:
    rows = tomllib.loads((EXPERIMENTS / "expected" / "correlations.toml").read_text())
    for row in rows.values():
        assert row["cells"] in ("all", "live", "naswot")
        assert row["split"] in ("test", "validation")
        figures = [values for kind in ("tau", "rho") for values in row.get(kind, {}).values()]
        assert figures
        assert all(len(values) == 3 and np.nanmax(np.abs(values)) < 1 for values in figures)


def test_disturbed_runs_are_compared_without_their_times(elsewhere: Path) -> None:
    runs = []
    for number, tau in enumerate((0.5, 0.5, 0.6)):
        run = elsewhere / f"run-{number}"
        run.mkdir()
        (run / "events.jsonl").write_text("{}\n")
        (run / "front.json").write_text(json.dumps({"entries": [{"id": "a", "seconds": number, "tau": tau}]}))
        (run / "hall_of_fame.csv").write_text("a\n")
        runs.append(run)
    difference = script("chaos").difference
    assert difference(runs[0], runs[1]) is None
    assert difference(runs[0], runs[2]) == "another front"
    (runs[1] / "hall_of_fame.csv").write_text("b\n")
    assert difference(runs[0], runs[1]) == "another hall of fame"


ZOO_TABLE = """"model_name","net_weights","error_value","test_dataset"
"toy1_cifar10",400,0743,"cf"
"toy2_cifar10",800,0500,"cf"
"toy2_cifar100",800,2500,"cf"
"toy3_cifar10",900,NA,"cf"
"toy4_cifar10",9000000,0237,"cf"
"""
ZOO_MODULE = """
import torch

def toy2_cifar10():
    return torch.nn.Conv2d(3, 10, 32)
"""


def test_the_zoo_is_what_the_table_of_the_package_says(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    models = elsewhere / "pytorchcv" / "models"
    (models / "common").mkdir(parents=True)
    (models / "common" / "model_metainfos.csv").write_text(ZOO_TABLE)
    (models / "toy_cifar.py").write_text(ZOO_MODULE)
    (models / "needs_more.py").write_text("import torchvision_that_is_not_there")
    for folder in (models, models.parent):
        (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(elsewhere)
    for name in [name for name in sys.modules if name.partition(".")[0] == "pytorchcv"]:
        monkeypatch.delitem(sys.modules, name)
    module = script("pytorchcv_zoo")
    assert module.main(["--csv", "zoo/accuracies.csv"]) == 0
    text = (elsewhere / "zoo/accuracies.csv").read_text()
    assert text == "name,cifar10_test\ntoy1_cifar10,92.57\ntoy2_cifar10,95.00\n"
    said = capsys.readouterr().err
    assert "1 of more than 5,000,000 parameters are left out: toy4_cifar10" in said
    pairs = dict(module.networks())
    assert list(pairs) == ["toy1_cifar10", "toy2_cifar10"]
    assert pairs["toy2_cifar10"]().out_channels == 10
    for name in [name for name in sys.modules if name.partition(".")[0] == "pytorchcv"]:
        del sys.modules[name]


def test_the_run_on_the_zoo_names_its_script() -> None:
    benchmark = load_config(EXPERIMENTS / "pytorchcv.toml").benchmark
    where, _, function = (benchmark.networks or "").removeprefix("python:").partition(":")
    assert hasattr(script(where.rpartition(".")[2]), function)


def test_coverage_is_counted_by_family(capsys: pytest.CaptureFixture[str]) -> None:
    assert script("coverage").main(["nb201:6111"]) == 0
    row = capsys.readouterr().out.splitlines()[-1]
    n_convolutions = nb201.operations(nb201.from_index(6111)).count("nor_conv_3x3") + 1
    n_units = 3 * n_convolutions + 4
    assert row.startswith(f"| `nb201:6111` | {n_units / (n_units + 4):.2f} / ")
    assert row.endswith(" 2 shortcut, 1 stem, 1 head |  |  |")
    assert script("coverage").main(["nb201:nonsense"]) == 1
    assert capsys.readouterr().err.startswith("nb201:nonsense: ")


def test_the_study_of_estimators_goes_on_where_it_stopped(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("EZNAS_DATA", raising=False)
    module, blocks = script("assessment"), script("assessment_blocks")
    for name, value in {
        "SPACES": ("net_residual", "nb101"), "N": 16, "ESTIMATORS": ("jacob_cov", "snip", "synflow", "naswot"),
        "GALLERY": ("gallery:dimensionality",), "STABLE_ON": (), "families": lambda: (), "RESAMPLES": 20,
    }.items():  # fmt: skip
        monkeypatch.setattr(module, name, value)
    into = elsewhere / "results.json"
    assert module.main(["--into", str(into)]) == 0
    assert "nb101 is left out" in capsys.readouterr().err
    found = json.loads(into.read_text())
    proxies = found["spaces"]["net_residual cifar10"]["proxies"]
    assert {"jacob_cov", "naswot", "dimensionality", "jacob_cov+snip+synflow", "parameters", "random"} <= set(proxies)
    votes = found["votes"]["net_residual cifar10"]["jacob_cov+snip+synflow"]
    best = max(("jacob_cov", "snip", "synflow"), key=lambda name: proxies[name]["tau"][0])
    assert proxies[votes[0]]["tau"][0] == proxies[best]["tau"][0]
    difference = proxies["jacob_cov+snip+synflow"]["tau"][0] - proxies[votes[0]]["tau"][0]
    assert votes[1] == pytest.approx(difference, abs=2e-4)
    text = "\n".join(blocks.assessment_lines(found))
    for part in ("1 families, mean", "95 % interval", "## Findings of the study", "not attempted"):
        assert part in text
    before = into.read_text()
    monkeypatch.setattr(module, "assess", None)  # what is there is not measured again
    assert module.main(["--into", str(into)]) == 0
    assert into.read_text() == before


def test_biases_of_cells_are_counted(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EZNAS_DATA", raising=False)
    module = script("assessment")
    (darts,) = networks_named(
        "darts:|max_pool_3x3~0|skip_connect~1|+|sep_conv_3x3~2|skip_connect~0|+|sep_conv_5x5~3|skip_connect~1|"
        "+|skip_connect~4|skip_connect~2|/" + "+".join(["|skip_connect~0|skip_connect~1|"] * 4)
    )
    assert module.depth_of(darts) == 3
    benchmark = load_benchmark("nb201")
    cells = benchmark.architectures[:3000]
    path = elsewhere / "scores.csv"
    rows = [[cell.spec, str(nb201.operations(cell).count("nor_conv_3x3"))] for cell in cells]
    found = module.edits(module.write_scores(path, ["network", "convolutions"], rows), benchmark)
    change = found["skip_connect -> nor_conv_3x3"]
    assert change["pairs"] > 100
    assert change["convolutions"] == 1
    assert 0.5 < change["accuracy"] < 1
    assert found["none -> skip_connect"]["convolutions"] == 0.5

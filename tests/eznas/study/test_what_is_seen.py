"""Which labels a run asks for: evolution and selection know no test accuracy, and the report no validation accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from eznas.benchmarks import Benchmark, Split
from eznas.runs.config import RunConfig, config_from
from eznas.spaces import Architecture, nb201
from eznas.study import evolve, prepare
from tests.eznas.tiny import result

pytestmark = pytest.mark.usefixtures("embedded_data", "nothing_simplified")
ASKED: list[tuple[Split, tuple[Architecture, ...]]] = []


@dataclass(frozen=True, eq=False)
class Recording(Benchmark):
    """A benchmark that records which accuracies of which architectures are asked for."""

    def accuracies(
        self, archs: Sequence[Architecture], dataset: str, split: Split, epochs: int | None = None
    ) -> npt.NDArray[np.float64]:
        ASKED.append((split, tuple(archs)))
        return super().accuracies(archs, dataset, split, epochs)


def made_up(*, other_test: bool = False, other_validation_of: Sequence[Architecture] = ()) -> Recording:
    rng = np.random.default_rng(4)
    architectures = nb201.SPACE.sample(rng, 60)
    validation, test, another = rng.uniform(20, 90, size=(3, 60))
    changed = np.array([arch in other_validation_of for arch in architectures])
    tables = {
        ("made", Split.VALIDATION, 10): np.where(changed, another, validation),
        ("made", Split.TEST, 10): another if other_test else test,
    }
    return Recording("nb201", "Made up for tests.", tuple(architectures), tables)


@pytest.fixture(scope="module")
def config() -> RunConfig:
    return config_from(
        {
            "benchmark": {"n_evolve": 10, "n_select": 8, "n_report": 9},
            "networks": {"channels": 4},
            "probe": {"batch_size": 3},
            "evolution": {"population_size": 8, "initial_size": 12, "n_generations": 2},
            "report": {
                "bootstrap": 100, "badge_networks": 0, "front_size": 2, "baselines": ["mac_count"],
                "baseline_batch_size": 4,
            },
        }
    )


def run_on(benchmark: Benchmark, config: RunConfig, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setattr("eznas.study.problem.load_benchmark", lambda name: benchmark)
    evolve(config, run_dir=folder)
    return result(folder)


@pytest.mark.parametrize("strategy", ["stratified", "uniform"])
def test_only_labels_that_may_be_known_are_asked_for(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    config = config.model_copy(update={"benchmark": config.benchmark.model_copy(update={"strategy": strategy})})
    ASKED.clear()
    run_on(made_up(), config, tmp_path / "run", monkeypatch)
    asked = list(ASKED)
    (family,) = prepare(config).families
    report = set(family.networks("report"))
    of_split = {split: {arch for one, archs in asked if one is split for arch in archs} for split in Split}
    assert of_split[Split.TEST] == report
    assert not of_split[Split.VALIDATION] & report
    assert of_split[Split.VALIDATION] >= {*family.networks("evolve"), *family.networks("select")}


def test_what_is_found_and_chosen_depends_on_no_test_accuracy(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = run_on(made_up(), config, tmp_path / "one", monkeypatch)
    other = run_on(made_up(other_test=True), config, tmp_path / "other", monkeypatch)
    for name in ("programs.jsonl", "hall_of_fame.csv"):
        assert one[name] == other[name]

    def chosen(found: dict[str, object]) -> list[object]:
        entries = found["front"]["entries"]  # type: ignore[index]
        return [(e["id"], e["is_pick"], e["evolve"], e["select"]) for e in entries if e["kind"] == "discovered"]

    assert chosen(one) == chosen(other)
    assert one["front"] != other["front"], "the report"


def test_validation_accuracies_of_networks_to_report_change_nothing(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eznas.study.problem.load_benchmark", lambda name: made_up())
    (family,) = prepare(config).families
    one = run_on(made_up(), config, tmp_path / "one", monkeypatch)
    changed = made_up(other_validation_of=family.networks("report"))
    assert run_on(changed, config, tmp_path / "other", monkeypatch) == one

"""Ray workers capture the store that one process captures, to the byte, and name what they cannot capture."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from eznas.errors import CaptureError
from eznas.runs.config import RunConfig
from eznas.statistics import StatisticsStore
from eznas.study import Machine, Problem, Silent, capture_stores, prepare
from eznas.workers import Pool, open_pool

N_WORKERS = 2


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    pool = open_pool(N_WORKERS)
    yield pool
    pool.close()


@pytest.fixture
def problem(monkeypatch: pytest.MonkeyPatch) -> Problem:
    monkeypatch.delenv("EZNAS_DATA", raising=False)
    settings = {
        "benchmark": {"n_evolve": 11, "n_select": 10, "n_report": 10},
        "networks": {"channels": 4},
        "probe": {"batch_size": 2, "input_size": 8},
        "evaluation": {"networks_per_shard": 2},
    }
    return prepare(RunConfig.model_validate(settings))


def over_metrics(problem: Problem) -> Problem:
    """Some of the networks, with the scores of published estimators as statistics."""
    settings = problem.config.model_dump(exclude_unset=True)
    few = {"n_evolve": 5, "n_select": 5, "n_report": 5}
    return prepare(RunConfig.model_validate({**settings, "benchmark": few, "evolution": {"primitive_set": "metrics"}}))


class Progress(Silent):
    """Remembers how far it was."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []
        self.notes: list[str] = []

    def advance(self, done: int, total: int) -> None:
        self.steps.append((done, total))

    def note(self, text: str) -> None:
        self.notes.append(text)


def captured(problem: Problem, machine: Machine, progress: Silent, pool: Pool | None = None) -> StatisticsStore:
    """The store of the one family."""
    (store,) = capture_stores(problem, machine, progress, pool)
    return store


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_ray_workers_compute_the_same_scores_of_estimators(problem: Problem, pool: Pool, tmp_path: Path) -> None:
    problem = over_metrics(problem)
    here = captured(problem, Machine(cache=tmp_path / "here"), Silent())
    there = captured(problem, Machine(workers=N_WORKERS, cache=tmp_path / "there"), Silent(), pool)
    assert content(there.folder) == content(here.folder)
    quantities = here.shard(0).quantities
    assert {*problem.metrics, "parameter_count", "mac_count"} == {*quantities}
    assert bool(quantities["metric.naswot"].isfinite().any())


def test_ray_workers_write_the_same_bytes_and_go_on_where_one_process_was_stopped(
    problem: Problem, pool: Pool, tmp_path: Path
) -> None:
    here = captured(problem, Machine(cache=tmp_path / "here"), Silent())
    machine = Machine(workers=N_WORKERS, cache=tmp_path / "there")
    progress = Progress()
    there = captured(problem, machine, progress, pool)
    assert there.folder.name == here.folder.name
    assert content(there.folder) == content(here.folder)
    assert progress.steps == [(1, 11), (3, 11), (5, 11), (7, 11), (9, 11), (11, 11)]
    place, size = progress.notes
    assert place.endswith(f" MiB of statistics are in {there.folder}")
    held = place.partition(" of ")[0]
    assert size.startswith(f"The cache {there.folder.parent} holds {held} of statistics, of 20.0 GiB that it may")
    captured(problem, machine, progress, pool)
    assert len(progress.notes) == 2, "nothing is said of what was there already"

    (there.folder / "manifest.json").unlink()
    for shard in sorted(there.folder.glob("*.safetensors"))[1:4]:
        shard.unlink()
    progress = Progress()
    captured(problem, machine, progress, pool)
    assert progress.steps == [(5, 11), (7, 11), (9, 11), (11, 11)]
    assert content(there.folder) == content(here.folder)


def test_an_error_of_a_ray_worker_names_the_architecture(problem: Problem, pool: Pool, tmp_path: Path) -> None:
    (family,) = problem.families
    one_channel = family.conditions.given(torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64))
    unfit = dataclasses.replace(problem, families=(dataclasses.replace(family, conditions=one_channel),))
    machine = Machine(workers=N_WORKERS, cache=tmp_path)
    with pytest.raises(CaptureError, match=r"^Architecture '\|.*' of 'nb201': Could not capture the statistics of"):
        captured(unfit, machine, Silent(), pool)
    assert not [path for folder in tmp_path.iterdir() if folder.is_dir() for path in folder.iterdir()]

"""Progress on stderr: what is said of a search, and of one after another."""

from __future__ import annotations

import io

from eznas import progress
from eznas.runs import SearchState
from eznas.runs.config import EvolutionSettings
from eznas.runs.records import GenerationSummary

SUMMARY = GenerationSummary(
    generation=0, n_evaluated=20, n_valid=20, n_invalid=0, n_duplicates=0, best_correlation=0.5, best_values=(0.5,),
    best_size=3, best_id="a", front_size=1, hypervolume=0.1, seconds=10.0,
)  # fmt: skip


def test_a_search_that_begins_after_a_resumed_one_is_told_from_its_own_start() -> None:
    stream = io.StringIO()
    observer = progress.StderrObserver(stream)
    settings = EvolutionSettings(n_generations=3)
    observer.stage("Evolving for fold 1 of 5")
    observer.generation(SUMMARY.model_copy(update={"generation": 2}), SearchState(), settings)
    observer.stage("Evolving for fold 2 of 5")
    observer.generation(SUMMARY.model_copy(update={"seconds": 20.0}), SearchState(), settings)
    first, second = (line for line in stream.getvalue().splitlines() if line.startswith("generation"))
    assert "2.0/s" in first
    assert first.endswith("10 s left")
    assert "1.0/s" in second
    assert second.endswith("1 min 00 s left")

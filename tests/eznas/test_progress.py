"""Progress on stderr: what is said of a search, and of one after another."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from eznas import progress
from eznas.programs import FailureKind, parse
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


def panel_lines(width: int, height: int) -> list[str]:
    """What the panel of a search shows at a size."""
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    observer = progress.PanelObserver(console)
    observer.stage("Evolving " + "long " * 60)
    failed = {"a": FailureKind.NON_FINITE, "b": FailureKind.NON_FINITE, "c": FailureKind.CONSTANT}
    state = SearchState(candidates={c.id: c for c in CANDIDATES}, failed=failed)
    observer.generation(SUMMARY.model_copy(update={"generation": 1}), state, EvolutionSettings(n_generations=3))
    observer.advance(3, 10)
    return ["".join(s.text for s in line).rstrip() for line in console.render_lines(observer._panel())]


CANDIDATES = tuple(
    SimpleNamespace(id=str(n), program=parse(text), objectives=(value,))
    for n, (text, value) in enumerate([("mac_count", 0.5), ("(log mac_count)", 0.4), ("parameter_count", 0.3)])
)


@pytest.mark.parametrize(("width", "height"), [(40, 10), (80, 24), (200, 50)])
def test_the_panel_fits_its_terminal(width: int, height: int) -> None:
    lines = panel_lines(width, height)
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("capture > [evolve] > choose")
    assert lines[1].startswith("Evolving")
    assert lines[2] == "━" * (width // 3) + "─" * (width - width // 3)
    assert lines[3].startswith("6 programs, 2.0/s")
    assert lines[-1] == "", "the cursor does not stand at the end of a full line"
    assert any("failures so far: non-finite 2, constant 1".startswith(line.rstrip("…")) for line in lines if line)
    assert any("mac_count" in line for line in lines)


def test_the_front_so_far_leaves_out_what_a_smaller_program_beats() -> None:
    assert [(value) for _, value, _ in progress.front_so_far(list(CANDIDATES))] == [0.5]


def test_without_a_terminal_generations_are_told_at_most_every_ten_seconds() -> None:
    stream = io.StringIO()
    observer = progress.StderrObserver(stream)
    observer.stage("Evolving")
    settings = EvolutionSettings(n_generations=10)
    for number in range(11):
        observer.generation(SUMMARY.model_copy(update={"generation": number}), SearchState(), settings)
    assert generations_told(stream) == ["0/10"]
    observer.stage("Choosing")
    assert generations_told(stream) == ["0/10", "10/10"], "what the search ended with is said"
    assert stream.getvalue().splitlines()[-1] == "Choosing ..."


def generations_told(stream: io.StringIO) -> list[str]:
    return [line.split()[1] for line in stream.getvalue().splitlines() if line.startswith("generation")]


def test_a_stage_without_a_terminal_is_told_at_most_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    observer = progress.StderrObserver(stream)
    observer.stage("Measuring on 1000 held-out networks")
    for done in range(1, 1001):
        clock[0] = done / 20
        observer.advance(done, 1000)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "Measuring on 1000 held-out networks ..."
    assert len(lines) == 1 + 4, "of 50 seconds"
    assert lines[1] == "Measuring on 1000 held-out networks: 201/1000 networks, 40 s left"


def test_the_objective_is_called_by_its_name() -> None:
    stream = io.StringIO()
    observer = progress.StderrObserver(stream)
    observer.stage("Evolving")
    observer.generation(SUMMARY, SearchState(), EvolutionSettings(objectives=("ndcg", "size")))
    assert "best ndcg 0.500 (size 3)" in stream.getvalue()
    assert "tau" not in stream.getvalue()

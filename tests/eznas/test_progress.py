"""Progress on stderr: what is said of a search, and of one after another."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from eznas import progress
from eznas.cli import options
from eznas.fitness import Fitness, TaskFitness
from eznas.programs import FailureKind, parse
from eznas.runs import Candidate, SearchState
from eznas.runs.config import EvolutionSettings
from eznas.runs.records import GenerationSummary
from eznas.study.outlook import Outline

SUMMARY = GenerationSummary(
    generation=0, n_evaluated=20, n_valid=20, n_invalid=0, n_duplicates=0, best_correlation=0.5, best_values=(0.5,),
    best_size=3, best_id="a", front_size=1, hypervolume=0.1, seconds=10.0,
)  # fmt: skip


def test_a_search_that_begins_after_a_resumed_one_is_told_from_its_own_start() -> None:
    stream = io.StringIO()
    observer = progress.StderrObserver(stream)
    settings = EvolutionSettings(n_generations=3, population_size=20)
    observer.stage("Evolving for fold 1 of 5")
    observer.generation(SUMMARY.model_copy(update={"generation": 2}), SearchState(), settings)
    observer.stage("Evolving for fold 2 of 5")
    observer.generation(SUMMARY.model_copy(update={"seconds": 20.0}), SearchState(), settings)
    first, second = (line for line in stream.getvalue().splitlines() if line.startswith("generation"))
    assert "2.0/s" in first
    assert first.endswith("10 s left")
    assert "1.0/s" in second
    assert second.endswith("  30 s left"), "those after the first are quicker"


OUTLINE = Outline(
    n_capture=0, n_evolve=30, n_generations=3, n_initial=20, n_population=20, n_select=0, n_report=0, n_front=3
)


def candidate(text: str, *taus: float, value: float | None = None) -> Candidate:
    """A program with tau 0.3, say, on a task of thirty networks each."""
    program = parse(text)
    tasks = tuple(
        TaskFitness(task=str(n), tau=tau, rho=tau, n=30, n_failed=0, standard_error=0.05, share_tied=0.0)
        for n, tau in enumerate(taus)
    )
    value = min(taus) if value is None else value
    fitness = Fitness(
        tasks=tasks, direction=1, correlation=value, size=program.size, cost=0.0, values=(value, -float(program.size))
    )
    return Candidate(program=program, fitness=fitness, generation=0, operator="random", parents=())


CANDIDATES = (candidate("mac_count", 0.5), candidate("(log mac_count)", 0.4), candidate("parameter_count", 0.3))
LONG = candidate("(add " * 30 + "mac_count" + " parameter_count)" * 30, 0.9)


def panel_of(width: int, height: int) -> tuple[progress.PanelObserver, Console]:
    """A panel that no terminal shows."""
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    return progress.PanelObserver(console), console


def lines_of(observer: progress.PanelObserver, console: Console) -> list[str]:
    return ["".join(s.text for s in line).rstrip() for line in console.render_lines(observer._panel())]


def panel_lines(width: int, height: int) -> list[str]:
    """What the panel of a search shows at a size."""
    observer, console = panel_of(width, height)
    observer.begin(OUTLINE)
    observer.stage("Evolving " + "long " * 60)
    failed = {"a": FailureKind.NON_FINITE, "b": FailureKind.NON_FINITE, "c": FailureKind.CONSTANT}
    state = SearchState(candidates={c.id: c for c in (*CANDIDATES, LONG)}, failed=failed)
    observer.generation(SUMMARY.model_copy(update={"generation": 1}), state, EvolutionSettings(n_generations=3))
    observer.step("Breeding sentences of 3,000 words", "sentences")
    observer.advance(3, 10)
    return lines_of(observer, console)


@pytest.mark.parametrize(("width", "height"), [(40, 14), (80, 24), (200, 50)])
def test_the_panel_fits_its_terminal(width: int, height: int) -> None:
    lines = panel_lines(width, height)
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("capture > [evolve] > choose")
    assert lines[1].startswith("Evolving")
    assert lines[2] == "━" * (width // 3) + "─" * (width - width // 3)
    assert lines[3].startswith("Breeding sentences of 3,000 words: 3/10"[: width - 1])
    assert lines[4] == "━" * (width * 3 // 10) + "─" * (width - width * 3 // 10)
    assert lines[5] == "about 26 s left in all"
    assert lines[6].startswith("7 programs, 2.0/s")
    assert lines[-1] == "", "the cursor does not stand at the end of a full line"
    assert any("failures so far: non-finite 2, constant 1".startswith(line.rstrip("…")) for line in lines if line)
    assert "front so far, on the networks evolved on (30 networks):".startswith(lines[8].rstrip("…"))
    assert lines[9] == "size  tau [95 % interval]     formula"[:width]
    assert lines[10].startswith("   1  0.500 [0.402, 0.598]   mac_count"[: width - 1])
    assert lines[11].startswith("  61  0.900 [0.802, 0.998]   mac_count"[: width - 1])
    assert lines[11].endswith("…"), "a long formula is cut at the width"


def test_before_anything_is_known_the_time_left_is_not_made_up() -> None:
    observer, console = panel_of(80, 24)
    observer.stage("Reading the networks and their accuracies")
    assert lines_of(observer, console) == ["Reading the networks and their accuracies  0 s", ""]
    observer.begin(OUTLINE)
    assert lines_of(observer, console)[-2] == "- left in all"
    observer.stage("Seed 1, 2 of 3")
    observer.begin(OUTLINE)
    assert lines_of(observer, console)[-2] == "- left of this seed"
    stream = io.StringIO()
    teller = progress.StderrObserver(stream)
    teller.begin(OUTLINE)
    teller.stage("Evolving")
    teller.generation(SUMMARY, SearchState(), EvolutionSettings(n_generations=3, population_size=20))
    assert stream.getvalue().splitlines()[-1].endswith("  15 s left; about 21 s left in all")


def test_the_front_so_far_leaves_out_what_a_smaller_program_beats() -> None:
    assert [row.tau for row in progress.front_so_far(CANDIDATES, EvolutionSettings())] == [0.5]


def test_tau_of_several_samples_is_shown_beside_what_is_maximised() -> None:
    two = candidate("mac_count", 0.2, 0.6, value=0.31)
    for aggregate, tau, half in (("worst", 0.2, 1.96 * 0.05), ("bound", 0.4, 1.96 * 0.05 / 2**0.5)):
        settings = EvolutionSettings(aggregate=aggregate, objectives=("ndcg", "size"))
        assert progress.tau_with_bound(two.fitness, settings, None) == pytest.approx((tau, half))
    assert progress.tau_with_bound(two.fitness, settings, (3.0, 1.0))[0] == pytest.approx(0.3)
    (row,) = progress.front_so_far([two], settings)
    assert row.header == "size    ndcg  tau [95 % interval]     formula"
    assert row.line == "   1   0.310  0.400 [0.331, 0.469]   mac_count"
    (row,) = progress.front_so_far([two], EvolutionSettings(aggregate="bound"))
    assert row.header.startswith("size   bound  tau")
    assert "mean of 2 samples, 60 networks" in progress.front_caption([two], settings)


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
    assert lines[1] == "Measuring on 1000 held-out networks: 201/1,000 networks, 40 s left"


def test_the_objective_is_called_by_its_name() -> None:
    stream = io.StringIO()
    observer = progress.StderrObserver(stream)
    observer.stage("Evolving")
    observer.generation(SUMMARY, SearchState(), EvolutionSettings(objectives=("ndcg", "size")))
    assert "best ndcg 0.500 (size 3)" in stream.getvalue()
    assert "tau" not in stream.getvalue()


def test_no_silence_without_a_terminal_is_longer_than_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    observer = progress.StderrObserver(stream)
    observer.beat()
    observer.stage("Evolving")
    observer.step("Computing 800 words")
    for second in range(1, 31):
        clock[0] = second
        observer.beat()
    observer.step("Fitting sums of up to 24 words", "paths")
    observer.advance(3, 6)
    clock[0] = 35.0
    observer.beat()
    lines = stream.getvalue().splitlines()
    assert lines[1:] == [
        "Evolving, Computing 800 words: 11 s",
        "Evolving, Computing 800 words: 22 s",
        "Evolving, Fitting sums of up to 24 words: 3/6 paths, 5 s left",
    ]


def test_it_is_said_that_packages_are_loaded_where_they_are_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options.say_loading()
    assert capsys.readouterr().err == "", "they are here"
    monkeypatch.setattr(options, "sys", SimpleNamespace(modules={}))
    options.say_loading(quiet=True)
    assert capsys.readouterr().err == ""
    options.say_loading()
    assert capsys.readouterr().err == "Loading PyTorch ...\n"

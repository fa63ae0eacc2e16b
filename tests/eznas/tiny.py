"""Tiny runs through the command line, for tests that need a real one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import eznas.reporting
from eznas.cli import main
from eznas.programs import Program, parse
from eznas.simplification import Outcome, Simplification, simplify

SETTINGS = {
    "seed": "1",
    "evolution.population_size": "20",
    "evolution.initial_size": "20",
    "evolution.n_generations": "2",
    "benchmark.n_evolve": "16",
    "benchmark.n_select": "12",
    "benchmark.n_report": "12",
    "networks.channels": "4",
    "probe.batch_size": "3",
    "probe.input_size": "8",
    "report.bootstrap": "100",
    "report.front_size": "3",
    "report.badge_networks": "0",
    "report.baselines": '["naswot", "naswot_units", "mac_count"]',
}


def options(**changed: str) -> list[str]:
    """The settings of a tiny run as options of ``eznas evolve``; ``__`` in a name stands for the dot."""
    settings = SETTINGS | {name.replace("__", "."): value for name, value in changed.items()}
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def evolve(run_dir: Path, *more: str, **changed: str) -> int:
    """Exit status of a tiny run in this process."""
    return main(["evolve", "--quiet", "--run-dir", str(run_dir), *options(**changed), *more])


@contextmanager
def bare_machine(cache: Path) -> Iterator[pytest.MonkeyPatch]:
    """For the runs of fixtures: nothing but the packages is there, nothing is simplified and no report is written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EZNAS_DATA", raising=False)
        patch.setenv("EZNAS_CACHE", str(cache))
        patch.setattr("eznas.study.measure.simplify", simplify_nothing)
        leave_out_reports(patch)
        yield patch


def leave_out_reports(patch: pytest.MonkeyPatch) -> None:
    """Runs without a report, which is drawn from what the tests compare."""
    for name in ("write_report", "write_figures"):
        patch.setitem(vars(eznas.reporting), name, lambda *_: None)


_SIMPLIFIED: dict[str, Simplification] = {}


def simplify_once(programs: Sequence[Program], *, seconds_per_program: float, **_: Any) -> list[Simplification]:
    """`eznas.simplification.simplify`, whose process takes seconds to start, but each program only once a session."""
    missing = [program for program in programs if program.text not in _SIMPLIFIED]
    if missing:
        found = simplify(missing, seconds_per_program=seconds_per_program)
        _SIMPLIFIED.update(zip((program.text for program in missing), found, strict=True))
    return [_SIMPLIFIED[program.text] for program in programs]


def simplify_nothing(programs: Sequence[Program], *, seconds_per_program: float, **_: Any) -> list[Simplification]:
    """In place of `eznas.simplification.simplify`: no program can be made smaller."""
    del seconds_per_program
    return [Simplification(program=p, candidate=None, outcome=Outcome.UNCHANGED, seconds=0.0) for p in programs]


def keep_simplified(path: Path) -> None:
    """Write what was simplified in this process, for other processes of the session."""
    path.write_text(json.dumps([[s.program.text, s.candidate and s.candidate.text] for s in _SIMPLIFIED.values()]))


def take_simplified(path: Path) -> None:
    """Read what another process simplified."""
    for text, shorter in json.loads(path.read_text()):
        _SIMPLIFIED[text] = Simplification(
            program=parse(text),
            candidate=shorter and parse(shorter),
            outcome=Outcome.SIMPLIFIED if shorter else Outcome.UNCHANGED,
            seconds=0.0,
        )


def result(run_dir: Path) -> dict[str, Any]:
    """What a run found, without how long it took."""
    front: dict[str, Any] = json.loads((run_dir / "front.json").read_text())
    del front["run"]["seconds"]
    for entry in front["entries"]:
        del entry["seconds"]
    tables = {
        name: (run_dir / name).read_text() for name in ("programs.jsonl", "hall_of_fame.csv", "report_scores.csv")
    }
    return {"front": front, **tables}

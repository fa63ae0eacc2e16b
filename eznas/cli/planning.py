"""What a run would do, printed: its networks, what it takes, everything that would stop it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from eznas.cli.options import say, width
from eznas.files import size_text
from eznas.names import legible

if TYPE_CHECKING:
    from eznas.study import Machine
    from eznas.study.plan import Plan


def own_as_overrides(networks: str | None, accuracies: Path | None) -> list[str]:
    """Networks of one's own and their accuracies as settings."""
    from eznas.runs.settings import toml_value

    named = []
    if networks is not None:
        named += ["benchmark.name=python", f"benchmark.networks={toml_value(networks)}"]
    if accuracies is not None:
        named += [f"benchmark.accuracies={toml_value(str(accuracies))}"]
    return named


def tell_plan(
    config: Path | None,
    overrides: Sequence[str],
    run_dir: Path | None,
    machine: Machine,
    *,
    n_seeds: int = 1,
    quiet: bool = False,
) -> None:
    """Print what a run with these settings would do; exit status 2 if anything would stop it."""
    from eznas.errors import LONGEST
    from eznas.progress import make_observer
    from eznas.runs.config import problems_of, table_in
    from eznas.study.plan import Plan, plan
    from eznas.tables import render_table

    table = table_in(config, overrides)
    settings, problems = problems_of(table, where=str(config) if config else "the settings")
    found = Plan(problems=problems)
    if settings is not None:
        with make_observer(quiet=quiet) as observer:
            found = plan(settings, problems=problems, machine=machine, run_dir=run_dir, observer=observer)
    if found.problem is not None:
        typer.echo(render_table(found.rows(), "table", width=width()))
        for line in _lines(found, machine):
            say(line)
        if n_seeds > 1:
            say(f"All of this {n_seeds} times over: the run is asked for with {n_seeds} seeds.")
    for note in found.notes:
        say(f"Note: {note}")
    for problem in found.problems:
        say(f"error: {legible(problem, LONGEST)}", err=True)
    if found.problems:
        typer.echo(f"{len(found.problems)} problem(s); nothing was begun.", err=True)
        raise typer.Exit(2)
    typer.echo("Nothing is wrong with these settings; nothing was begun.", err=True)


def _lines(found: Plan, machine: Machine) -> list[str]:
    from eznas.progress import duration

    lines = [f"Programs: {found.n_programs:,} at most."]
    if found.problem is not None and found.problem.config.evolution.regime == "two-level":
        settings = found.problem.config.evolution
        lines = [
            f"Programs: {settings.n_sentences:,} sentences of words are tried in each of {settings.n_generations + 1} "
            f"generations; the best of them and fitted sums, some {settings.population_size:,}, are assessed."
        ]
    took = found.estimate
    if took is None:
        return lines
    is_banked = found.problem is not None and found.problem.config.evolution.regime == "two-level"
    named = (("capture", took.capture), ("evolution", took.evolve), ("report", took.report))
    parts = [f"{name} {duration(seconds)}" for name, seconds in named if not (is_banked and name == "capture")]
    total = took.capture + took.evolve + took.report
    told = "words" if is_banked else "programs"
    where = f"{machine.workers} idle cores" if machine.workers > 1 else "an idle core"
    lines.append(
        f"Time: about {duration(total)} on {where} ({', '.join(parts)}), as a few networks and {told} take here; "
        "half of it or twice as much would be no surprise."
    )
    known = f", {size_text(took.n_known)} of them there already" if took.n_known else ""
    if is_banked:
        lines.append(f"Cache: {size_text(took.n_bytes)} of values of words in {machine.banks}{known}.")
    elif took.n_bytes:
        lines.append(f"Cache: {size_text(took.n_bytes)} of statistics in {machine.stores}{known}.")
    return lines

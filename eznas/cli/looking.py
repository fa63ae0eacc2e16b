"""Commands that look at a run: front, show, report, export."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from eznas.cli.options import (
    ForwardOnly,
    FrontFormat,
    Id,
    MaxSize,
    NoLabels,
    Output,
    Run,
    SelectRule,
    Target,
    announce,
    make_choice,
    width,
)
from eznas.errors import ConfigError
from eznas.names import printable

WATCH_SECONDS: Final = 10.0
"""From one writing of a watched page to the next."""


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (front, show, report, export):
        app.command()(command)


FrontForm = Annotated[FrontFormat, typer.Option("--format", "-f", help="table, json, csv, or latex for a paper.")]


def front(
    run: Run,
    form: FrontForm = FrontFormat.TABLE,
    figure: Annotated[Path | None, typer.Option("--figure", help="Also draw it into this SVG file.")] = None,
    select: SelectRule = None,
    max_size: MaxSize = None,
    no_labels: NoLabels = False,
    forward_only: ForwardOnly = False,
) -> None:
    """The Pareto front of a run beside published proxies, on held-out networks; of an unfinished one what is found yet.

    Example: eznas front runs/first --select simplest-within-se --max-size 20
    """
    from eznas.reporting import front_csv, front_json, front_latex, front_table, write_front_figure
    from eznas.study import chosen_front

    choice = make_choice(select, max_size, no_labels, forward_only)
    if _is_unfinished(run) and choice.is_open and figure is None and form is not FrontFormat.LATEX:
        _tell_front_so_far(run, form)
        return
    if figure is not None:
        announce(write_front_figure(run, figure), err=True)
    found = chosen_front(run, choice)
    match form:
        case FrontFormat.TABLE:
            typer.echo(front_table(found, width=width()))
        case FrontFormat.JSON:
            typer.echo(front_json(found), nl=False)
        case FrontFormat.CSV:
            typer.echo(front_csv(found), nl=False)
        case FrontFormat.LATEX:
            typer.echo(front_latex(found), nl=False)


def _is_unfinished(run: Path) -> bool:
    """Whether it is a run, and has no front yet."""
    from eznas.files import is_file
    from eznas.runs.front import FILE
    from eznas.runs.manifest import MANIFEST

    return not is_file(run / FILE) and is_file(run / MANIFEST)


def _cut(line: str, n: int) -> str:
    """A line within a width."""
    from rich.cells import cell_len, set_cell_size

    return line if cell_len(line) <= n else f"{set_cell_size(line, n - 1)}…"


def _tell_front_so_far(run: Path, form: FrontFormat) -> None:
    """What the search of an unfinished run has found up to now, and how to go on."""
    from eznas.progress import front_caption, front_so_far
    from eznas.reporting import interim_csv, interim_json
    from eznas.runs import Journal, RunFolder

    folder = RunFolder.open(run)
    config = folder.settings()
    settings = config.evolution
    state = Journal(folder, config.checkpoints).load(read_only=True)
    found = tuple(state.candidates.values())
    reached = f"at generation {state.generation} of {settings.n_generations}" if found else "and nothing was found yet"
    unfinished = f"The run is not finished, {reached}; go on with: eznas resume {shlex.quote(str(run))}"
    is_table = form is FrontFormat.TABLE
    typer.echo(printable(unfinished), err=not is_table)
    if is_table and found:
        kinds = zip(config.all_samples, folder.manifest().samples, strict=True)
        weights = [one.weight for one, recorded in kinds if not one.left_out for _ in recorded.datasets]
        rows = front_so_far(found, settings, weights, n_shown=len(found))
        lines = [front_caption(found, settings), rows[0].header, *(row.line for row in reversed(rows))]
        typer.echo("\n".join(["", *(_cut(printable(line), width()) for line in lines)]))
    elif form is FrontFormat.CSV:
        typer.echo(interim_csv(found), nl=False)
    elif form is FrontFormat.JSON:
        said = interim_json(found, generation=state.generation, n_generations=settings.n_generations)
        typer.echo(said, nl=False)


def show(
    run: Run,
    proxy: Id = "best",
    form: Annotated[FrontFormat, typer.Option("--format", "-f", help="table, json or latex.")] = FrontFormat.TABLE,
    select: SelectRule = None,
    max_size: MaxSize = None,
    no_labels: NoLabels = False,
    forward_only: ForwardOnly = False,
) -> None:
    """One proxy of a run: formula, where it came from, how well it ranks.

    Example: eznas show runs/first --max-size 10
    """
    from eznas.reporting import entry_json, entry_latex, entry_text
    from eznas.study import chosen_front

    if form is FrontFormat.CSV:
        raise ConfigError("eznas show prints a table, json or latex, got --format csv; eznas front prints csv")
    found = chosen_front(run, make_choice(select, max_size, no_labels, forward_only))
    entry = found.entry(proxy)
    match form:
        case FrontFormat.JSON:
            text = entry_json(entry)
        case FrontFormat.LATEX:
            text = entry_latex(entry)
        case _:
            text = entry_text(found, entry, width=width() if sys.stdout.isatty() else None)
    typer.echo(text, nl=False)


def report(
    run: Run,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Write it anew every ten seconds until the run is finished.")
    ] = False,
) -> None:
    """Write the report of a run: one HTML file that opens offline, and of an unfinished run says where it stands.

    Example: eznas report runs/first --watch -o progress.html
    """
    from eznas.reporting import write_interim_report, write_report

    is_told = False
    while _is_unfinished(run):
        written = write_interim_report(run, output)
        if not is_told:
            announce(written)
            typer.echo("The run is not finished; the page says where it stands.", err=True)
            is_told = True
        if not watch:
            return
        time.sleep(WATCH_SECONDS)
    written = write_report(run, output)
    if is_told:
        typer.echo("The run is finished; the page is its report.", err=True)
    else:
        announce(written)


def export(
    run: Run,
    proxy: Id = "best",
    to: Annotated[Target, typer.Option("--to", help="Form of the export.")] = Target.PYTHON,
    output: Output = None,
    select: SelectRule = None,
    max_size: MaxSize = None,
    no_labels: NoLabels = False,
    forward_only: ForwardOnly = False,
) -> None:
    """Take a proxy away: a Python file that needs torch alone, a proxy file, LaTeX or SymPy.

    Example: eznas export runs/first best -o proxy.py
    """
    from eznas.export import export_entry
    from eznas.files import write_output
    from eznas.study import chosen_front

    found = chosen_front(run, make_choice(select, max_size, no_labels, forward_only))
    text = export_entry(found, found.entry(proxy), to.value)
    if output is None:
        typer.echo(text, nl=False)
        return
    write_output(output, text)
    announce(output, err=True)

"""Commands that look at a run: front, show, report, export."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Final

import typer

from eznas.cli.options import Format, Id, Output, Run, TableFormat, Target, announce, width
from eznas.errors import ConfigError

WATCH_SECONDS: Final = 10.0
"""From one writing of a watched page to the next."""


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (front, show, report, export):
        app.command()(command)


def front(
    run: Run,
    form: TableFormat = Format.TABLE,
    figure: Annotated[Path | None, typer.Option("--figure", help="Also draw it into this SVG file.")] = None,
) -> None:
    """The Pareto front of a run beside published proxies, on held-out networks."""
    from eznas.reporting import front_csv, front_json, front_table, write_front_figure
    from eznas.runs.front import load_front

    if figure is not None:
        announce(write_front_figure(run, figure), err=True)
    found = load_front(run)
    match form:
        case Format.TABLE:
            typer.echo(front_table(found, width=width()))
        case Format.JSON:
            typer.echo(front_json(found), nl=False)
        case Format.CSV:
            typer.echo(front_csv(found), nl=False)


def show(run: Run, proxy: Id = "best", form: TableFormat = Format.TABLE) -> None:
    """One proxy of a run: formula, where it came from, how well it ranks."""
    from eznas.reporting import entry_json, entry_text
    from eznas.runs.front import load_front

    found = load_front(run)
    entry = found.entry(proxy)
    if form is Format.CSV:
        raise ConfigError("eznas show prints a table or json, got --format csv; eznas front prints csv")
    typer.echo(entry_text(found, entry) if form is Format.TABLE else entry_json(entry), nl=False)


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
    from eznas.files import is_file
    from eznas.reporting import write_interim_report, write_report
    from eznas.runs.front import FILE
    from eznas.runs.manifest import MANIFEST

    is_told = False
    while not is_file(run / FILE) and is_file(run / MANIFEST):
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
) -> None:
    """Take a proxy away: a Python file that needs torch alone, a proxy file, LaTeX or SymPy.

    Example: eznas export runs/first best -o proxy.py
    """
    from eznas.export import export_entry
    from eznas.files import write_output
    from eznas.runs.front import load_front

    found = load_front(run)
    text = export_entry(found, found.entry(proxy), to.value)
    if output is None:
        typer.echo(text, nl=False)
        return
    write_output(output, text)
    announce(output, err=True)

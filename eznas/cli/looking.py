"""Commands that look at a run: front, show, report, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eznas.cli.options import Format, Id, Output, Run, TableFormat, Target, announce, width
from eznas.errors import ConfigError


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (front, show, report, export):
        app.command()(command)


def front(
    run: Run,
    form: TableFormat = Format.TABLE,
    figure: Annotated[Path | None, typer.Option("--figure", help="Also draw it into this SVG file.")] = None,
) -> None:
    """The Pareto front of a run beside published proxies, on held-out networks.

    Example: eznas front runs/first --format csv
    """
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
    """One proxy of a run: formula, where it came from, how well it ranks.

    Example: eznas show runs/first best
    """
    from eznas.reporting import entry_json, entry_text
    from eznas.runs.front import load_front

    found = load_front(run)
    entry = found.entry(proxy)
    if form is Format.CSV:
        raise ConfigError("eznas show prints a table or json, got --format csv; eznas front prints csv")
    typer.echo(entry_text(found, entry) if form is Format.TABLE else entry_json(entry), nl=False)


def report(
    run: Run, output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None
) -> None:
    """Write the report of a run: one HTML file that opens offline.

    Example: eznas report runs/first -o report.html
    """
    from eznas.reporting import write_report

    announce(write_report(run, output))


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

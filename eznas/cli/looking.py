"""Commands that look at a run: front, show, report, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eznas.cli.options import (
    Format,
    ForwardOnly,
    FrontFormat,
    Id,
    MaxSize,
    NoLabels,
    Output,
    Rule,
    Run,
    TableFormat,
    Target,
    announce,
    chosen,
    make_choice,
    width,
)
from eznas.errors import ConfigError


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (front, show, report, export):
        app.command()(command)


def front(
    run: Run,
    form: Annotated[
        FrontFormat, typer.Option("--format", "-f", help="Form of the table; latex is one for a paper.")
    ] = FrontFormat.TABLE,
    figure: Annotated[Path | None, typer.Option("--figure", help="Also draw it into this SVG file.")] = None,
    select: Rule = None,
    max_size: MaxSize = None,
    no_labels: NoLabels = False,
    forward_only: ForwardOnly = False,
) -> None:
    """The Pareto front of a run beside published proxies, on held-out networks; of several seeds, their spread.

    Example: eznas front runs/first --max-size 10 --forward-only
    """
    if not (run / "front.json").is_file() and _is_spread(run, form, figure):
        return
    from eznas.reporting import front_csv, front_json, front_latex, front_table, write_front_figure
    from eznas.reporting.compared import with_differences
    from eznas.runs.front import load_front

    if figure is not None:
        announce(write_front_figure(run, figure), err=True)
    choice = make_choice(select, max_size, no_labels, forward_only)
    found = choice.of(load_front(run))
    is_data = form in (FrontFormat.JSON, FrontFormat.CSV)
    found = with_differences(found, None if is_data else [found.best_published])
    match form:
        case FrontFormat.TABLE:
            text = front_table(found, width=width(), among=choice.among)
        case FrontFormat.JSON:
            text = front_json(found)
        case FrontFormat.CSV:
            text = front_csv(found)
        case FrontFormat.LATEX:
            text = front_latex(found, among=choice.among)
    typer.echo(text, nl=False)


def _is_spread(run: Path, form: FrontFormat, figure: Path | None) -> bool:
    """Print the table of a folder that holds runs of several seeds; False if it holds none."""
    from eznas.reporting import load_fronts, seed_folders, spread_text

    if not seed_folders(run):
        return False
    if form is FrontFormat.LATEX or figure is not None:
        raise ConfigError(
            f"{run} holds runs of several seeds, which have no LaTeX table and no figure together; name one of them, "
            f"such as {seed_folders(run)[0]}"
        )
    typer.echo(spread_text(load_fronts(run), form.value, width=width()), nl=False)
    return True


def show(
    run: Run,
    proxy: Id = "best",
    form: TableFormat = Format.TABLE,
    latex: Annotated[bool, typer.Option("--latex", help="Show the formula in LaTeX as well.")] = False,
    select: Rule = None,
    max_size: MaxSize = None,
    no_labels: NoLabels = False,
    forward_only: ForwardOnly = False,
) -> None:
    """One proxy of a run: formula, where it came from, how well it ranks.

    Example: eznas show runs/first --select cheapest-within-se
    """
    from eznas.reporting import entry_json, entry_text
    from eznas.reporting.compared import with_differences

    choice = make_choice(select, max_size, no_labels, forward_only)
    found, _ = chosen(run, proxy, choice)
    found = with_differences(found, None if form is Format.JSON else [found.best_published])
    entry = found.entry(proxy)
    if form is Format.CSV:
        raise ConfigError("eznas show prints a table or json, got --format csv; eznas front prints csv")
    if form is Format.TABLE:
        typer.echo(entry_text(found, entry, latex=latex, among=choice.among), nl=False)
    else:
        typer.echo(entry_json(entry), nl=False)


def report(
    run: Run, output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None
) -> None:
    """Write the report of a run: one HTML file that opens offline."""
    from eznas.reporting import write_report

    announce(write_report(run, output))


def export(
    run: Run,
    proxy: Id = "best",
    to: Annotated[Target, typer.Option("--to", help="Form of the export.")] = Target.PYTHON,
    output: Output = None,
    select: Rule = None,
    max_size: MaxSize = None,
    no_labels: NoLabels = False,
    forward_only: ForwardOnly = False,
) -> None:
    """Take a proxy away: a Python file that needs torch alone, a proxy file, LaTeX or SymPy.

    Example: eznas export runs/first best -o proxy.py; eznas export runs/first --max-size 10 -o small.py
    """
    from eznas.export import export_entry
    from eznas.files import write_output

    found, entry = chosen(run, proxy, make_choice(select, max_size, no_labels, forward_only))
    text = export_entry(found, entry, to.value)
    if output is None:
        typer.echo(text, nl=False)
        return
    write_output(output, text)
    announce(output, err=True)

"""Commands about several runs: runs, compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eznas.cli.options import Format, TableFormat, say, width
from eznas.files import size_text

if TYPE_CHECKING:
    from eznas.fitness import Criterion


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (runs, compare):
        app.command()(command)


def runs(
    folder: Annotated[Path, typer.Argument(help="Where runs are looked for, four folders deep.")] = Path("runs"),
    form: TableFormat = Format.TABLE,
) -> None:
    """The runs below a folder: how far each is, tau of its pick on held-out networks, programs, size on disk.

    Example: eznas runs runs
    """
    import time

    from eznas.runs.listing import runs_below
    from eznas.tables import render_table

    found = runs_below(folder)
    rows: list[dict[str, Any]] = []
    for run in found:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.modified))
        row: dict[str, Any] = {"run": str(run.path), "state": run.state}
        if form is Format.TABLE:
            row |= {"tau": _text(run.tau), "measured on": run.measured_on or "-"}
            row |= {"programs": "-" if run.n_programs is None else f"{run.n_programs:,}"}
            row |= {"size": size_text(run.n_bytes), "written": when}
        else:
            row |= {"finished": run.is_finished, **_numbers("tau", run.tau), "measured on": run.measured_on or None}
            row |= {"programs": run.n_programs, "bytes": run.n_bytes, "written": when}
        rows.append(row)
    if rows or form is not Format.TABLE:
        typer.echo(render_table(rows, form.value, width=width()), nl=False)
    n_bytes = sum(run.n_bytes for run in found)
    say(f"{len(found)} run(s), {size_text(n_bytes)}, below {folder}", err=True)


def compare(
    first: Annotated[str, typer.Argument(help="A run folder, whose pick is meant, or RUN:ID.", metavar="RUN")],
    second: Annotated[str, typer.Argument(help="Another.", metavar="RUN")],
    resamples: Annotated[int, typer.Option("--resamples", min=100, max=1_000_000, help="Of the intervals.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the resamples.")] = 0,
    form: TableFormat = Format.TABLE,
) -> None:
    """The picks of two runs on the networks that both held out, with paired bootstrap intervals of their difference.

    Example: eznas compare runs/first runs/second
    """
    from eznas.study.compare import compare as run
    from eznas.tables import render_table

    found = run(first, second, n_resamples=resamples, seed=seed)
    rows: list[dict[str, Any]] = []
    for one in found.samples:
        row: dict[str, Any] = {"sample": one.sample}
        if form is Format.TABLE:
            row |= {"first": _text(one.first.tau), "second": _text(one.second.tau)}
            row |= {"first - second": _text(one.difference), "": one.verdict, "measured on": one.measured_on}
        else:
            row |= {**_numbers("first", one.first.tau), **_numbers("second", one.second.tau)}
            row |= {**_numbers("difference", one.difference), "verdict": one.verdict, "measured on": one.measured_on}
            row |= {"n": one.first.n}
        rows.append(row)
    for which, side in (("first", found.first), ("second", found.second)):
        size = "" if side.entry.size is None else f", {side.entry.size} nodes"
        say(f"The {which} is {side.entry.label} of {side.run}{size}.", err=True)
    for note in found.notes:
        say(note, err=True)
    typer.echo(render_table(rows, form.value, width=width()), nl=False)
    if form is Format.TABLE:
        typer.echo(
            f"Kendall's tau-b with 95 % bootstrap intervals ({resamples:,} resamples) on networks that both runs held "
            "out; the difference is paired."
        )


def _text(criterion: Criterion | None) -> str:
    from eznas.runs.front import criterion_text

    return criterion_text(criterion)


def _numbers(key: str, criterion: Criterion | None) -> dict[str, float | None]:
    value, low, high = (None, None, None) if criterion is None else (criterion.value, criterion.low, criterion.high)
    return {key: value, f"{key} low": low, f"{key} high": high}

"""Commands about banks: bank status, bank build."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eznas.cli.options import (
    Address,
    Device,
    Format,
    Overrides,
    Quiet,
    TableFormat,
    Workers,
    interruptible,
    make_machine,
    say_loading,
    width,
)

bank_app = typer.Typer(help="What words say of networks, computed once and kept.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(bank_app, name="bank")


@bank_app.command("status")
def status(form: TableFormat = Format.TABLE) -> None:
    """The banks of this machine: networks, words, conditions, size.

    Example: eznas bank status
    """
    from eznas.study import Machine
    from eznas.study.bank import bank_table
    from eznas.tables import render_table

    rows = bank_table(Machine())
    if form is Format.TABLE:
        rows = [
            {**{k: v for k, v in row.items() if k not in ("bytes", "values")}, "MiB": f"{row['bytes'] / 2**20:.1f}"}
            for row in rows
        ]
    if rows or form is not Format.TABLE:
        typer.echo(render_table(rows, form.value, width=width()), nl=False)
    typer.echo(f"{len(rows)} bank(s) in {Machine().banks}", err=True)


@bank_app.command("build")
def build(
    config: Annotated[Path | None, typer.Argument(help="Settings of a run; defaults without it.")] = None,
    words: Annotated[
        Path | None,
        typer.Option("--words", help="File of programs and estimators, one a line; the whole lexicon without it."),
    ] = None,
    networks: Annotated[
        str | None,
        typer.Option("--networks", help="In place of those the run would learn from, such as nb201:random:500."),
    ] = None,
    overrides: Overrides = None,
    workers: Workers = 0,
    ray_address: Address = None,
    device: Device = "cpu",
    quiet: Quiet = False,
    form: TableFormat = Format.TABLE,
) -> None:
    """Compute words on the networks that a run would learn from, so that the run need not; goes on where it stopped.

    Example: eznas bank build experiments/quickstart.toml --set evolution.primitive_set=general --workers 2
    """
    say_loading(quiet)
    from eznas.progress import make_observer
    from eznas.runs.config import changed_config, load_config
    from eznas.study.bank import build_banks, words_in
    from eznas.tables import render_table

    settings = changed_config(load_config(config), overrides or ())
    listed = None if words is None else words_in(words)
    kept = "every finished block is kept, and the same command goes on."
    with interruptible(kept), make_observer(quiet=quiet) as observer:
        filled = build_banks(
            settings, words=listed, networks=networks, machine=make_machine(workers, ray_address, device),
            observer=observer,
        )  # fmt: skip
    rows = [
        {
            "sample": one.name, "networks": one.n_networks, "words": one.n_words, "built now": one.n_built,
            "bank": str(one.folder),
        }
        for one in filled
    ]  # fmt: skip
    typer.echo(render_table(rows, form.value, width=width()), nl=False)

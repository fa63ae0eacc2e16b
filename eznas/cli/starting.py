"""Commands before a run: config."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eznas.cli.options import Format, Overrides, TableFormat, width
from eznas.errors import ConfigError
from eznas.names import printable, unknown


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(config)


def config(
    beginning: Annotated[
        str, typer.Argument(help="Only settings whose names begin so, such as evolution or probe.s.", metavar="[KEY]")
    ] = "",
    diff: Annotated[
        Path | None, typer.Option("--diff", help="A run folder or a TOML file: only what differs from the defaults.")
    ] = None,
    overrides: Overrides = None,
    form: TableFormat = Format.TABLE,
) -> None:
    """Every setting of a run with its default and what it means: a file that eznas evolve reads.

    Networks are built by settings of their own space; those of another benchmark: --set benchmark.name=nb101.

    Example: eznas config evolution
    """
    from eznas.runs.config import load_config
    from eznas.runs.settings import changes, commented_toml, read_settings_of, settings_of, toml_value
    from eznas.tables import render_table

    if diff is not None:
        if overrides:
            raise ConfigError("--diff shows the settings of a run as they are, got --set too; leave one out")
        rows = [
            {"setting": key, "default": toml_value(before), "here": toml_value(now)}
            for key, before, now in changes(read_settings_of(diff))
            if key.startswith(beginning)
        ]
        if rows or form is not Format.TABLE:
            typer.echo(render_table(rows, form.value, width=width()), nl=False)
        typer.echo(f"{len(rows)} setting(s) of {printable(str(diff))} differ from the defaults.", err=True)
        return
    settings = load_config(None, overrides or ())
    found = settings_of(settings, beginning)
    if not found:
        known = [one.key for one in settings_of(settings)]
        raise ConfigError(f"{unknown('setting', beginning, known)} (eznas config without a name lists all of them)")
    if form is Format.TABLE:
        typer.echo(commented_toml(settings, beginning=beginning), nl=False)
    else:
        typer.echo(render_table([one.as_dict() for one in found], form.value), nl=False)

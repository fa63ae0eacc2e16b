"""Commands before a run: init, config."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eznas.cli.options import (
    Accuracies,
    Device,
    Format,
    Networks,
    Overrides,
    TableFormat,
    Workers,
    make_machine,
    say_loading,
    width,
)
from eznas.errors import ConfigError
from eznas.names import printable, unknown


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(init)
    app.command()(config)


def init(
    file: Annotated[Path, typer.Argument(help="A new file of settings.", metavar="FILE.toml")],
    networks: Networks = None,
    accuracies: Accuracies = None,
    overrides: Overrides = None,
    workers: Workers = 0,
    device: Device = "cpu",
) -> None:
    """Write a file of all settings with what they mean, for eznas evolve, and tell what a run with it would do.

    What differs from the defaults is set; the rest stands in comments. Paths are as seen from here.

    Example: eznas init mine.toml --networks python:zoo:networks --accuracies zoo.csv
    """
    say_loading()
    from eznas.cli.planning import own_as_overrides, tell_plan
    from eznas.files import replace_file, why_not_written
    from eznas.runs.config import problems_of, table_in
    from eznas.runs.settings import commented_toml

    if file.exists():
        raise ConfigError(f"{printable(str(file))} is there already; name a new file, or remove it")
    named = [*(overrides or ()), *own_as_overrides(networks, accuracies)]
    settings, problems = problems_of(table_in(None, named))
    if settings is not None and not problems:
        try:
            replace_file(file, commented_toml(settings, only_changes=True))
        except OSError as error:
            raise ConfigError(why_not_written(file, error)) from None
        typer.echo(f"Wrote {printable(str(file))}. Change it as you like, then: eznas evolve {printable(str(file))}")
        named = []
    tell_plan(file if not named else None, named, None, make_machine(workers, None, device))


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

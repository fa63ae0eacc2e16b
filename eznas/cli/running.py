"""Commands that run: evolve, resume, extend."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from eznas.cli.options import (
    INTERRUPTED,
    Address,
    Device,
    Overrides,
    Quiet,
    Run,
    RunDir,
    Workers,
    make_machine,
    width,
)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (evolve, resume, extend):
        app.command()(command)


def evolve(
    config: Annotated[Path | None, typer.Argument(help="Settings as a TOML file; defaults without it.")] = None,
    networks: Annotated[
        str | None,
        typer.Option(
            "--networks",
            help="Networks of your own: python:package.module:function, which gives (name, module) pairs.",
        ),
    ] = None,
    accuracies: Annotated[
        Path | None,
        typer.Option(
            "--accuracies",
            help="CSV with a column of their names and a column of accuracies for each data set.",
        ),
    ] = None,
    programs: Annotated[int | None, typer.Option("--programs", help="Stop after so many programs.")] = None,
    patience: Annotated[
        int | None, typer.Option("--patience", help="Stop after so many generations without a better program.")
    ] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", help="Stop after so much time of evolution.")] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="Stop at a program such as 'tau > .8 and size < 10'.")
    ] = None,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    workers: Workers = 0,
    ray_address: Address = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Evolve proxies, choose the best, and measure it on networks it has never seen.

    Example: eznas evolve --networks python:zoo:networks --accuracies zoo.csv --run-dir runs/mine
    """
    import eznas.study
    from eznas.runs.config import load_config

    named = list(overrides or ())
    if networks is not None:
        named += ["benchmark.name=python", f"benchmark.networks={_quoted(networks)}"]
    if accuracies is not None:
        named += [f"benchmark.accuracies={_quoted(str(accuracies))}"]
    stops = {"n_programs": programs, "patience": patience, "seconds": seconds}
    named += [f"evolution.{name}={value}" for name, value in stops.items() if value is not None]
    if target is not None:
        named.append(f"evolution.target={_quoted(target)}")
    settings = load_config(config, named)
    _finish(lambda **how: eznas.study.evolve(settings, run_dir=run_dir, **how), workers, ray_address, device, quiet)


def resume(
    run: Run,
    any_version: Annotated[
        bool, typer.Option("--any-version", help="Go on with other versions of packages, and note it in the manifest.")
    ] = False,
    overrides: Annotated[list[str] | None, typer.Option("--set", hidden=True)] = None,
    workers: Workers = 0,
    ray_address: Address = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Go on with an interrupted run; its result equals that of an undisturbed one."""
    import eznas.study
    from eznas.errors import ConfigError

    if overrides:
        raise ConfigError(
            f"A run goes on with its own settings; for others begin a new one from it: eznas extend {run} "
            f"--set {overrides[0]}"
        )
    was_finished = eznas.study.Study(run).is_finished
    _finish(lambda **how: eznas.study.resume(run, any_version=any_version, **how), workers, ray_address, device, quiet)
    if was_finished:
        typer.echo(
            f"The run is finished. For more generations: eznas extend {run} --set evolution.n_generations=N", err=True
        )


def extend(
    run: Run,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    workers: Workers = 0,
    ray_address: Address = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Begin a new run with the archive of a finished one, under changed settings; the old run stays as it is.

    Example: eznas extend runs/first --set evolution.n_generations=80 --run-dir runs/longer
    """
    import eznas.study

    _finish(
        lambda **how: eznas.study.extend(run, overrides or (), new_dir=run_dir, **how),
        workers, ray_address, device, quiet,
    )  # fmt: skip


def _quoted(text: str) -> str:
    """A text as TOML has it."""
    import json

    return json.dumps(text)


def _finish(work: Callable[..., Any], workers: int, ray_address: str | None, device: str, quiet: bool) -> None:
    from eznas.progress import make_observer

    machine = make_machine(workers, ray_address, device)
    try:
        with _graceful_stop() as should_stop, make_observer(quiet=quiet) as observer:
            study = work(machine=machine, observer=observer, should_stop=should_stop)
    except KeyboardInterrupt:  # Typer would turn it into a silent exit
        typer.echo("Interrupted; finished generations are saved and eznas resume goes on.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if not study.is_finished:
        typer.echo(f"Stopped; every finished generation is saved. Go on with: eznas resume {study.run_dir}", err=True)
        raise typer.Exit(INTERRUPTED)
    from eznas.reporting import front_table

    typer.echo(front_table(study.result, width=width()))
    typer.echo(f"Run folder: {study.run_dir}   Report: {study.run_dir / 'report.html'}", err=True)


@contextmanager
def _graceful_stop() -> Iterator[Callable[[], bool]]:
    """Ctrl-C or SIGTERM once: finish the generation and save; twice: stop at once."""
    asked: list[int] = []

    def ask(signum: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(signum)
        typer.echo("Stopping after this generation; once more stops at once.", err=True)

    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)

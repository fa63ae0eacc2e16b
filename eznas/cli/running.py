"""Commands that run: evolve, resume, extend."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from eznas.cli.options import (
    INTERRUPTED,
    Accuracies,
    Address,
    Device,
    Networks,
    Overrides,
    Quiet,
    Run,
    RunDir,
    Workers,
    make_machine,
    say,
    say_loading,
    width,
)
from eznas.cli.planning import own_as_overrides, tell_plan


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (evolve, resume, extend):
        app.command()(command)


def evolve(
    config: Annotated[Path | None, typer.Argument(help="Settings as a TOML file; defaults without it.")] = None,
    networks: Networks = None,
    accuracies: Accuracies = None,
    programs: Annotated[int | None, typer.Option("--programs", help="Stop after so many programs.")] = None,
    patience: Annotated[
        int | None, typer.Option("--patience", help="Stop after so many generations without a better program.")
    ] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", help="Stop after so much time of evolution.")] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="Stop at a program such as 'tau > .8 and size < 10'.")
    ] = None,
    overrides: Overrides = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds", min=1, help="Run from so many seeds, one after another, in RUN/seed-N; again to go on."
        ),
    ] = None,
    run_dir: RunDir = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be done and take, and all that would stop it.")
    ] = False,
    workers: Workers = 0,
    ray_address: Address = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Evolve proxies, choose the best, and measure it on networks it has never seen.

    Example: eznas evolve --networks python:zoo:networks --accuracies zoo.csv --run-dir runs/mine
    """
    say_loading(quiet)
    import eznas.study
    from eznas.runs.config import load_config

    named = [*(overrides or ()), *own_as_overrides(networks, accuracies)]
    stops = {"n_programs": programs, "patience": patience, "seconds": seconds}
    named += [f"evolution.{name}={value}" for name, value in stops.items() if value is not None]
    if target is not None:
        named.append(f"evolution.target={json.dumps(target)}")
    if dry_run:
        place = run_dir if seeds is None else None  # that of seeds may hold some that are done
        tell_plan(config, named, place, make_machine(workers, ray_address, device), n_seeds=seeds or 1, quiet=quiet)
        return
    settings = load_config(config, named)
    if seeds is not None:
        _finish_seeds(
            lambda **how: eznas.study.evolve_seeds(settings, seeds, run_dir=run_dir, **how),
            workers, ray_address, device, quiet,
        )  # fmt: skip
        return
    _finish(lambda **how: eznas.study.evolve(settings, run_dir=run_dir, **how), workers, ray_address, device, quiet)


def resume(
    run: Run,
    any_version: Annotated[
        bool, typer.Option("--any-version", help="Go on with other versions, or another device; the manifest notes it.")
    ] = False,
    overrides: Annotated[list[str] | None, typer.Option("--set", hidden=True)] = None,
    workers: Workers = 0,
    ray_address: Address = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Go on with an interrupted run, or with several seeds; the result equals that of an undisturbed one.

    Example: eznas resume runs/first --workers 2
    """
    say_loading(quiet)
    import eznas.study
    from eznas.errors import ConfigError

    if overrides:
        raise ConfigError(
            f"A run goes on with its own settings; for others begin a new one from it: eznas extend {run} "
            f"--set {overrides[0]}"
        )
    if eznas.study.holds_seeds(run):
        _finish_seeds(
            lambda **how: eznas.study.resume_seeds(run, any_version=any_version, **how),
            workers, ray_address, device, quiet,
        )  # fmt: skip
        return
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
    say_loading(quiet)
    import eznas.study

    _finish(
        lambda **how: eznas.study.extend(run, overrides or (), new_dir=run_dir, **how),
        workers, ray_address, device, quiet,
    )  # fmt: skip


def _finish(work: Callable[..., Any], workers: int, ray_address: str | None, device: str, quiet: bool) -> None:
    study, asked_to_stop = _worked(work, workers, ray_address, device, quiet)
    if not study.is_finished or (asked_to_stop and not study.is_complete):
        again = f"eznas resume {shlex.quote(str(study.run_dir))}{_on(device)}"
        say(f"Stopped; {study.kept} Go on with: {again}", err=True)
        raise typer.Exit(INTERRUPTED)
    from eznas.reporting import front_table

    typer.echo(front_table(study.result, width=width()))
    typer.echo(f"Run folder: {study.run_dir}   Report: {study.run_dir / 'report.html'}", err=True)


def _on(device: str) -> str:
    """What goes on on the same device is asked to."""
    return "" if device == "cpu" else f" --device {device}"


def _finish_seeds(work: Callable[..., Any], workers: int, ray_address: str | None, device: str, quiet: bool) -> None:
    studies, asked_to_stop = _worked(work, workers, ray_address, device, quiet)
    folder = studies[0].run_dir.parent
    if not studies[-1].is_finished or (asked_to_stop and not studies[-1].is_complete):
        again = f"eznas resume {shlex.quote(str(folder))}{_on(device)}"
        say(f"Stopped in {studies[-1].run_dir}; {studies[-1].kept} Go on with: {again}", err=True)
        raise typer.Exit(INTERRUPTED)
    from eznas.reporting import seeds_text

    typer.echo(seeds_text([study.result for study in studies], width=width()))
    typer.echo(f"Run folder: {folder}   Report: {folder / 'report.html'}", err=True)


def _worked(
    work: Callable[..., Any], workers: int, ray_address: str | None, device: str, quiet: bool
) -> tuple[Any, bool]:
    """What comes of work that may be asked to stop, and whether it was."""
    from eznas.progress import make_observer

    machine = make_machine(workers, ray_address, device)
    try:
        with graceful_stop() as should_stop, make_observer(quiet=quiet) as observer:
            return work(machine=machine, observer=observer, should_stop=should_stop), should_stop()
    except KeyboardInterrupt:  # before there is a run; Typer would turn it into a silent exit
        typer.echo("Interrupted before the run began; the same command begins it.", err=True)
        raise typer.Exit(INTERRUPTED) from None


GRACE_SECONDS: Final = 1.0
"""From the first Ctrl-C until what is under way is given up: a generation or a report that is nearly done is kept."""
AGAIN_SECONDS: Final = 1.0
"""From one attempt to give it up to the next: Python drops an exception that meets it in a finaliser or a callback."""


@contextmanager
def graceful_stop() -> Iterator[Callable[[], bool]]:
    """Ctrl-C or SIGTERM once: what is under way ends within `GRACE_SECONDS`, or is given up; twice: the process ends.

    What is given up is made again by ``eznas resume``, as after a kill: every file that was written is whole.

    Yields:
        whether to stop.

    Raises:
        KeyboardInterrupt: in whatever did not end in time.
    """
    asked: list[int] = []

    def give_up(signum: int, frame: object) -> None:
        if not _is_giving_up():
            raise KeyboardInterrupt

    def ask(signum: int, frame: object) -> None:
        if asked:
            _end_at_once()
        asked.append(signum)
        _say("Stopping within seconds; once more ends at once.")
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS, AGAIN_SECONDS)

    handlers = {signal.SIGINT: ask, signal.SIGTERM: ask}
    if hasattr(signal, "SIGALRM"):
        handlers[signal.SIGALRM] = give_up
    before = {signum: signal.signal(signum, handler) for signum, handler in handlers.items()}
    try:
        yield lambda: bool(asked)
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _is_giving_up() -> bool:
    """Whether an interrupt is on its way already, and what it meets is being closed: that is not disturbed."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _say(text: str) -> None:
    """A line on stderr, even in the middle of another."""
    try:
        sys.stderr.write(f"{text}\n")  # above the panel; typer's own way goes past it
        sys.stderr.flush()
    except RuntimeError:  # the signal came while stderr was being written
        os.write(2, f"\n{text}\n".encode())


def _end_at_once() -> NoReturn:
    """End the process as a kill does, but with the status of an interrupt and the cursor shown."""
    show = "\033[?25h" if os.isatty(2) else ""
    os.write(2, f"{show}\nEnded; what was saved before is kept.\n".encode())
    os._exit(INTERRUPTED)

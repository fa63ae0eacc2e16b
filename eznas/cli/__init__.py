"""The command line: results on stdout, progress and messages on stderr, one readable sentence per error.

Exit status: 0 done, 1 failed, 2 bad usage, 130 interrupted with everything saved.

* `starting`: init, config; `planning`: what a run would do; `running`: evolve, resume, extend.
* `looking`: front, show, report, export; `listing`: runs, compare.
* `scoring`: score, aggregate, estimators, badges, gallery; `assessing`: assess; `searching`: nas;
  `building`: benchmark; `oneshot`: oneshot; `bank`: bank; `machine`: data, doctor.
* `options`: what they share.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperGroup

from eznas.cli import (
    assessing,
    bank,
    building,
    listing,
    looking,
    machine,
    oneshot,
    running,
    scoring,
    searching,
    starting,
)
from eznas.cli.options import INTERRUPTED, say
from eznas.errors import LONGEST, ConfigError, EznasError, is_out_of_memory
from eznas.names import legible, one_line


class _Commands(TyperGroup):
    """The commands; one that Ctrl-C ends says so, where Typer would end in silence."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("Interrupted; the same command begins anew.", err=True)
            raise typer.Exit(INTERRUPTED) from None


NAME: Final = "eznas"
"""Of the command, as its help shows it however it was started."""

app = typer.Typer(
    name=NAME,
    cls=_Commands,
    help="Discover zero-cost proxies for neural architecture search.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (starting, running, looking, listing, scoring, assessing, searching, building, oneshot, bank, machine):
    commands.add_to(app)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Discover zero-cost proxies for neural architecture search."""
    if version:
        from importlib.metadata import version as version_of

        typer.echo(version_of("eznas"))
        raise typer.Exit
    context.obj = {"debug": debug}


def run() -> NoReturn:
    """The command ``eznas``: `main`, and the process ends with its status.

    One that was interrupted ends at once: all is closed by then, and taking down PyTorch takes seconds.
    """
    status = main()
    if status == INTERRUPTED:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(status)
    sys.exit(status)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    debug = "--debug" in arguments
    if debug:
        arguments = ["--debug", *(a for a in arguments if a != "--debug")]
    try:
        result = app(arguments, prog_name=NAME, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except EznasError as error:
        if debug:
            raise
        say(f"error: {error}", err=True)
        return 2 if isinstance(error, ConfigError) else 1
    except typer.Exit as leave:
        return leave.exit_code
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("Interrupted.", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        return _usage_or_bug(error)


def _usage_or_bug(error: Exception) -> int:
    """Typer's own complaints are usage errors; full disks and memories are the user's; the rest is a bug to report."""
    if hasattr(error, "exit_code") and hasattr(error, "format_message"):
        message = legible(error.format_message(), LONGEST)
        if message:  # without one, the help has been shown instead
            say(f"error: {message}", err=True)
        return 2
    if isinstance(error, OSError):
        from eznas.files import remedy

        said = f"{error.strerror or error} ({error.filename or 'no file'}); {remedy(error)}"
    elif is_out_of_memory(error):
        said = (
            f"Memory ran out ({one_line(error, 120) or type(error).__name__}); ask for less (probe.batch_size, "
            "probe.input_size, evaluation.memory_mib, --workers), or use a machine that has more"
        )
    else:
        said = f"internal error, please report it ({type(error).__name__}: {one_line(error)}); --debug shows more"
    say(f"error: {legible(said, LONGEST)}", err=True)
    return 1

"""What the commands share: options, forms of tables, the machine, the width of the terminal."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO

import typer

from eznas.names import printable

if TYPE_CHECKING:
    from eznas.runs import Choice
    from eznas.study import Machine

INTERRUPTED = 130


class Format(StrEnum):
    """Of printed tables."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class FrontFormat(StrEnum):
    """Of the front and of one proxy of it."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    LATEX = "latex"


class Select(StrEnum):
    """Which proxy of a front is taken, by the selection networks."""

    BEST = "best"
    SIMPLEST = "simplest-within-se"
    CHEAPEST = "cheapest"

    @property
    def rule(self) -> Any:
        """As runs and functions call it."""
        return "cheapest-within-se" if self is Select.CHEAPEST else self.value


class GalleryFormat(StrEnum):
    """Of the gallery and of one proxy of it."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    LATEX = "latex"
    PYTHON = "python"


class Repeats(StrEnum):
    """Label of a network that was trained several times."""

    MEAN = "mean"
    MAXIMUM = "maximum"


class Target(StrEnum):
    """Forms of an exported proxy."""

    PYTHON = "python"
    JSON = "json"
    LATEX = "latex"
    SYMPY = "sympy"


class Combination(StrEnum):
    """Of the members of an aggregate."""

    LOG_RANK = "log-rank"
    RANK_SUM = "rank-sum"

    @property
    def stored(self) -> Any:
        """As files and functions call it."""
        return self.value.replace("-", "_")


class Initialisation(StrEnum):
    """How the parameters of networks are drawn."""

    EZNAS = "eznas"
    DEFAULT = "default"
    KEEP = "keep"


Run = Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")]
Id = Annotated[str, typer.Argument(help="Id of a proxy of the run (or its beginning), a published name, or 'best'.")]
TableFormat = Annotated[Format, typer.Option("--format", "-f", help="Form of the table.")]
SelectRule = Annotated[
    Select | None,
    typer.Option(
        "--select", help="Take the best, or of those within one standard error of it the simplest or cheapest."
    ),
]
MaxSize = Annotated[int | None, typer.Option("--max-size", min=1, help="Only formulas of at most so many nodes.")]
NoLabels = Annotated[bool, typer.Option("--no-labels", help="Only formulas that look at no classes of images.")]
ForwardOnly = Annotated[bool, typer.Option("--forward-only", help="Only formulas that take no backward pass.")]
Workers = Annotated[int, typer.Option("--workers", help="Ray workers; 0 works in this process.")]
Address = Annotated[str | None, typer.Option("--ray-address", help="Ray cluster to join instead of a local one.")]
Device = Annotated[str, typer.Option("--device", help="Where tensors are computed: cpu or cuda.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="section.key=value, repeatable.")]
Networks = Annotated[
    str | None,
    typer.Option(
        "--networks", help="Networks of your own: python:package.module:function, which gives (name, module) pairs."
    ),
]
Accuracies = Annotated[
    Path | None,
    typer.Option("--accuracies", help="CSV with a column of their names and a column of accuracies for each data set."),
]
RunDir = Annotated[Path | None, typer.Option("--run-dir", help="New folder of the run.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="File to write; stdout without it.")]


def say_loading(quiet: bool = False) -> None:
    """Say on stderr that the packages are loaded, which takes seconds, unless they are there already."""
    if not quiet and "torch" not in sys.modules:
        typer.echo("Loading PyTorch ...", err=True)


_COMMAND: Final = re.compile(r"(?<=: )eznas [a-z]+ [^;,]*$")


def say(text: str, *, err: bool = False) -> None:
    """Print a sentence: on a terminal broken between words, but no command that ends it, which is to be copied."""
    text = printable(text)
    stream = sys.stderr if err else sys.stdout
    if stream.isatty():
        whole = _COMMAND.sub(lambda command: command[0].replace(" ", _GLUE), text)
        lines = textwrap.wrap(whole, width(stream), break_on_hyphens=False, break_long_words=False)
        text = "\n".join(lines).replace(_GLUE, " ")
    typer.echo(text, err=err)


_GLUE: Final = "\ue000"
"""Stands for a blank at which no line is broken."""


@contextmanager
def interruptible(kept: str) -> Iterator[None]:
    """Has Ctrl-C say what is kept and what goes on, a clause, and end the command with the status of an interrupt."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"Interrupted; {kept}", err=True)
        raise typer.Exit(INTERRUPTED) from None


BEGINS_ANEW: Final = "nothing was written, and the same command begins anew."


def make_choice(select: Select | None, max_size: int | None, no_labels: bool, forward_only: bool) -> Choice:
    """What is wanted of a front."""
    from eznas.runs import Choice

    return Choice(
        rule=select.rule if select else None, max_size=max_size, no_labels=no_labels, forward_only=forward_only
    )


def make_machine(workers: int, ray_address: str | None, device: str) -> Machine:
    """Where to work."""
    from eznas.study import Machine

    return Machine(workers=workers, ray_address=ray_address, device=device)


def width(stream: TextIO | None = None) -> int:
    """Of the terminal that stdout or another stream is, or of what is written elsewhere."""
    import shutil

    return shutil.get_terminal_size((160, 24)).columns if (stream or sys.stdout).isatty() else 160


def announce(path: Path, *, err: bool = False) -> None:
    """Name a file that was written; what went through a pipe or to a device stays as it was written."""
    from eznas.files import is_replaceable

    if is_replaceable(path):
        typer.echo(path, err=err)

"""The command that judges proxies: assess."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eznas.cli.options import (
    BEGINS_ANEW,
    Address,
    Device,
    Format,
    Overrides,
    Quiet,
    TableFormat,
    Workers,
    announce,
    interruptible,
    make_machine,
    say,
    say_loading,
)
from eznas.names import printable


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(assess)


def assess(
    proxies: Annotated[
        list[str],
        typer.Argument(
            help="As of eznas score: published names, RUN:ID, gallery:NAME, formulas, sums; also FILE.csv or "
            "FILE.csv:COLUMN with scores made elsewhere, higher better; several also with commas.",
            metavar="PROXY...",
        ),
    ],
    benchmark: Annotated[
        str, typer.Option("--benchmark", help="A benchmark (eznas data status), or the CSV of accuracies of your own.")
    ],
    data: Annotated[str | None, typer.Option("--data", help="Data set; the benchmark's first without.")] = None,
    networks: Annotated[
        str | None, typer.Option("--networks", help="Your own networks, python:module:function, of a --benchmark CSV.")
    ] = None,
    n: Annotated[
        int | None, typer.Option("--n", help="Networks, drawn uniformly; without 200, or all if only files are given.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the draw of networks and of all others.")] = 0,
    seeds: Annotated[int, typer.Option("--seeds", help="Initialisations to score with; 3 say how stable it is.")] = 1,
    batches: Annotated[int, typer.Option("--batches", help="Batches of images to score with; 5 as the study.")] = 1,
    overrides: Overrides = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="One page, .html, with figures; opens offline.")
    ] = None,
    form: TableFormat = Format.TABLE,
    workers: Workers = 0,
    ray_address: Address = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Judge proxies on a benchmark as the field does, beside parameters, MACs, layers and chance.

    Example: eznas assess naswot,synflow --benchmark nb201 --n 200 -o page.html
    """
    say_loading(quiet)
    from eznas.errors import ConfigError
    from eznas.progress import make_observer
    from eznas.scoring import names_file, split_names
    from eznas.study.assess import Options, assessment_text
    from eznas.study.assess import assess as run

    if output is not None and output.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"--output writes a page, FILE.html, got {output}; --format json or csv print the numbers")
    names = split_names([text for text in proxies if not names_file(text)])
    names += list(dict.fromkeys(text for text in proxies if names_file(text)))
    options = Options(
        benchmark=benchmark, networks=networks, dataset=data, n=n, seed=seed, n_seeds=seeds, n_batches=batches,
        overrides=tuple(overrides or ()),
    )  # fmt: skip
    with interruptible(BEGINS_ANEW), make_observer(quiet=quiet) as observer:
        found = run(names, options, machine=make_machine(workers, ray_address, device), observer=observer)
    if output is not None:
        from eznas.reporting import write_assessment_page

        write_assessment_page(found, output)
        announce(output, err=True)
    for note in () if quiet else found.notes:
        say(note, err=True)
    typer.echo(printable(assessment_text(found, form.value)), nl=False)

"""The command that searches with proxies: nas."""

from __future__ import annotations

from typing import Annotated

import typer

from eznas.cli.options import Format, TableFormat, width


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(nas)


def nas(
    search: Annotated[
        str,
        typer.Argument(
            help="score, optimum, random, evolution, area, aging-evolution, warm-up, warm-up-random or move-proposal.",
            metavar="SEARCH",
        ),
    ],
    proxies: Annotated[
        list[str] | None,
        typer.Option("--proxy", help="params, convolutions, or a .csv of eznas score on nb201:all; repeatable."),
    ] = None,
    aggregates: Annotated[
        list[str] | None,
        typer.Option("--aggregate", help="Sum of log ranks of such proxies, jacob_cov+params, as a row; repeatable."),
    ] = None,
    n: Annotated[
        int | None, typer.Option("--n", help="Architectures to score (optimum: to draw); the published number without.")
    ] = None,
    evaluations: Annotated[
        int | None, typer.Option("--evaluations", help="Trainings to pay for; 100 or 300 without, as the search has.")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds", help="Simulated seconds of training and scoring to pay for instead; needs recorded times."
        ),
    ] = None,
    dataset: Annotated[str, typer.Option("--dataset", help="Data set that is searched on.")] = "cifar10",
    repeats: Annotated[int, typer.Option("--repeats", help="Independent repeats.")] = 500,
    seed: Annotated[int, typer.Option("--seed", help="Of all repeats.")] = 0,
    form: TableFormat = Format.TABLE,
) -> None:
    """Search NAS-Bench-201 with proxies, simulated on its recorded accuracies; params is always a row beside."""
    from eznas.benchmarks import load_nb201
    from eznas.nas import compare, protocol_named, search_table
    from eznas.tables import render_table

    protocol_named(search)
    table = search_table(load_nb201(), dataset)
    rows = compare(
        table,
        search,
        proxies or (),
        aggregates=aggregates or (),
        n=n,
        evaluations=evaluations,
        seconds=seconds,
        repeats=repeats,
        seed=seed,
    )
    if form is Format.TABLE:
        rows = [{key: round(v, 3) if isinstance(v, float) else v for key, v in row.items()} for row in rows]
    typer.echo(render_table(rows, form.value, width=width()), nl=False)

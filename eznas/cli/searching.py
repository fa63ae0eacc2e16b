"""The command that searches with proxies: nas."""

from __future__ import annotations

from typing import Annotated, Any

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
    interruptible,
    make_machine,
    say,
    say_loading,
    width,
)


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(nas)


def nas(
    search: Annotated[
        str,
        typer.Argument(
            help="score, score-evolution, optimum, random, evolution, area, aging-evolution, warm-up, warm-up-random "
            "or move-proposal.",
            metavar="SEARCH",
        ),
    ],
    proxies: Annotated[
        list[str] | None,
        typer.Option(
            "--proxy",
            help="As of eznas assess: published names, RUN:ID, gallery:NAME, oneshot:RUN, sums, FILE.csv of scores; "
            "also params and convolutions, which need no network; repeatable.",
        ),
    ] = None,
    aggregates: Annotated[
        list[str] | None,
        typer.Option("--aggregate", help="Sum of log ranks of such proxies, jacob_cov+params, as a row; repeatable."),
    ] = None,
    benchmark: Annotated[str, typer.Option("--benchmark", help="A benchmark (eznas data status).")] = "nb201",
    networks: Annotated[
        int | None, typer.Option("--networks", help="Networks that proxies score here, drawn uniformly; 200 without.")
    ] = None,
    draws: Annotated[
        int,
        typer.Option(
            "--draws", help="Scores of each, with new weights and images; a test between them decides (3-100)."
        ),
    ] = 1,
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
    dataset: Annotated[
        str | None, typer.Option("--data", "--dataset", help="Data set that is searched on; the first without.")
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", help="Independent repeats.")] = 500,
    seed: Annotated[int, typer.Option("--seed", help="Of all repeats.")] = 0,
    overrides: Overrides = None,
    form: TableFormat = Format.TABLE,
    workers: Workers = 0,
    ray_address: Address = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Search a benchmark with proxies, simulated on its recorded accuracies; params is always a row beside.

    Example: eznas nas score --proxy naswot --proxy gallery:general --n 100
    """
    say_loading(quiet)
    from eznas.nas import Settings
    from eznas.progress import make_observer
    from eznas.scoring import names_file, split_names
    from eznas.study.search import SearchOptions
    from eznas.study.search import search as run
    from eznas.tables import render_table

    asked = proxies or []
    names = split_names([text for text in asked if not names_file(text)])
    names = list(dict.fromkeys([*names, *(text for text in asked if names_file(text))]))
    options = SearchOptions(
        benchmark=benchmark, dataset=dataset, n_networks=networks, n_draws=draws, aggregates=tuple(aggregates or ()),
        settings=Settings(n=n, evaluations=evaluations, seconds=seconds, repeats=repeats, seed=seed),
        overrides=tuple(overrides or ()),
    )  # fmt: skip
    with interruptible(BEGINS_ANEW), make_observer(quiet=quiet) as observer:
        found = run(search, names, options, machine=make_machine(workers, ray_address, device), observer=observer)
    rows = list(found.rows)
    caption = ""
    if form is Format.TABLE:
        rows, caption = _readable(rows)
    for note in () if quiet else found.notes:
        say(note, err=True)
    typer.echo(render_table(rows, form.value, width=width()) + caption, nl=False)


def _readable(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], str]:
    """The columns that tell rows apart, numbers as people read them; and a sentence of what all have in common."""
    first = rows[0]
    shown = [
        {
            "proxy": row["proxy"], "data set": row["dataset"], "split": row["split"],
            "accuracy": f"{row['mean']:.2f}" + ("" if row["std"] is None else f" ± {row['std']:.2f}"),
            "95 % of mean": "-" if row["low"] is None else f"{row['low']:.2f} to {row['high']:.2f}",
            "rank": f"{row['rank']:,.0f}", "regret": f"{row['regret']:.2f}",
        }
        for row in rows
    ]  # fmt: skip
    parts = [
        f"{first['search']}, {first['repeats']:,} repeats, driven by {first['driven by']}",
        f"{first['scored']:,} of {first['of']:,} scored networks a repeat" if first["scored"] else "",
        f"{first['trained']:,} trained" if first["trained"] else "",
        f"budget {first['budget']}" if first["budget"] != "-" else "",
        "accuracy of the pick in percent ± standard deviation, its rank, and points below the best",
    ]
    return shown, "; ".join(filter(None, parts)) + ".\n"

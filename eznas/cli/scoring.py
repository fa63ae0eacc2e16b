"""Commands about proxies and networks: score, aggregate, estimators, badges, gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eznas.cli.options import (
    BEGINS_ANEW,
    Address,
    Combination,
    Device,
    Format,
    ForwardOnly,
    GalleryFormat,
    Initialisation,
    MaxSize,
    NoLabels,
    Output,
    Quiet,
    SelectRule,
    TableFormat,
    Workers,
    announce,
    interruptible,
    make_choice,
    make_machine,
    say,
    say_loading,
    width,
)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (score, aggregate, estimators, badges, gallery):
        app.command()(command)


Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Settings of networks and probe, as in eznas evolve.")
]


def score(
    proxies: Annotated[
        list[str],
        typer.Argument(
            help="Published name, proxy file (.json), RUN:ID, gallery:NAME, oneshot:RUN[:loss], a formula such as "
            "'(sum_layers (mean weight))', or a sum of names like jacob_cov+parameter_count; several also with commas."
        ),
    ],
    networks: Annotated[
        str,
        typer.Option(
            "--networks",
            help="nb201:all, nb201:random:N[:SEED], nb201:INDEX,FROM-TO, a NAS-Bench-201 cell, nb101:CELL[;...], "
            "darts:CELLS[;...] or another search space (nds_darts:random:20), BENCHMARK:all, "
            "python:module:function[#name] for networks of your own, or @FILE with one of these per line. Around a "
            "cell stands what networks.cells_per_stage and networks.channels say (1 and 16; the full skeletons have 5 "
            "and 16, of nb101 3 and 128, of darts 2 and 32).",
        ),
    ],
    form: TableFormat = Format.TABLE,
    initialise: Annotated[
        Initialisation | None,
        typer.Option(
            "--initialise",
            help="How parameters are drawn: eznas or default (PyTorch's own), or keep those that networks of your own "
            "come with. Without: as the proxy was found, else eznas, and keep for networks of your own.",
        ),
    ] = None,
    overrides: Settings = None,
    select: SelectRule = None,
    max_size: MaxSize = None,
    no_labels: NoLabels = False,
    forward_only: ForwardOnly = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="CSV file to write as it goes, or to go on with.")
    ] = None,
    workers: Workers = 0,
    ray_address: Address = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Score networks with proxies; higher predicts a higher accuracy.

    A RUN:ID and a proxy file bring the conditions along under which they were found. A sum, or a published aggregate by
    name (az_nas, te_nas, vkdnw_agg), ranks the networks among each other. A network that a proxy cannot score is
    explained, and the others are scored. What is said of the choice (--select, --max-size, ...) is of RUN:best.

    Example: eznas score naswot,runs/first:best --networks nb201:random:20
    """
    say_loading(quiet)
    from eznas.progress import make_observer
    from eznas.scoring import split_names
    from eznas.study import score as scoring

    choice = make_choice(select, max_size, no_labels, forward_only)
    names = scoring.chosen_names(split_names(proxies), choice)
    overrides = [*(overrides or ()), *([f"networks.scheme={initialise.value}"] if initialise else ())]
    machine = make_machine(workers, ray_address, device)
    kept = f"what is scored is in {output}, and the same command goes on with it." if output else BEGINS_ANEW
    with interruptible(kept), make_observer(quiet=quiet) as observer:
        if output is not None:
            scoring.score_into_file(output, names, networks, overrides=overrides, machine=machine, observer=observer)
            typer.echo(output)
            return
        scored = scoring.score(names, networks, overrides=overrides, machine=machine, observer=observer)
    for note in () if quiet else scored.notes:
        say(note, err=True)
    typer.echo(scoring.scores_text(scored, form.value), nl=False)


def aggregate(
    members: Annotated[
        str, typer.Argument(help="A sum of proxies, jacob_cov+parameter_count or 2*naswot+zen; or az_nas, te_nas, ...")
    ],
    reference: Annotated[str, typer.Option("--reference", help="Networks to rank among, as --networks of score.")],
    mode: Annotated[
        Combination | None, typer.Option("--mode", help="Sum of log ranks or of ranks; without, as published.")
    ] = None,
    overrides: Settings = None,
    output: Output = None,
    workers: Workers = 0,
    ray_address: Address = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Make several proxies one, by the ranks they give a network in a reference sample, which the file holds.

    Example: eznas aggregate naswot+synflow --reference nb201:random:200 -o proxy.json
    """
    say_loading(quiet)
    from eznas.files import write_output
    from eznas.progress import make_observer
    from eznas.proxies import proxy_to_json
    from eznas.study.score import make_aggregate

    with interruptible(BEGINS_ANEW), make_observer(quiet=quiet) as observer:
        made = make_aggregate(
            members,
            reference,
            mode=mode.stored if mode else None,
            overrides=overrides or (),
            machine=make_machine(workers, ray_address, device),
            observer=observer,
        )
    if not quiet:
        for member, n_failed in zip(made.members, made.reference.n_failed, strict=True):
            if n_failed:
                typer.echo(f"{member.name} failed on {n_failed} of {made.reference.n}; they rank last.", err=True)
    text = proxy_to_json(made)
    if output is None:
        typer.echo(text, nl=False)
        return
    write_output(output, text)
    announce(output)


def estimators(form: TableFormat = Format.TABLE) -> None:
    """The published estimators that eznas score knows by name, and what each needs.

    Example: eznas estimators --format json
    """
    from eznas.estimators import estimators_table
    from eznas.tables import render_table

    typer.echo(render_table(estimators_table(), form.value, width=width()), nl=False)


def gallery(
    name: Annotated[str | None, typer.Argument(help="A proxy of the gallery; prints its model card.")] = None,
    form: Annotated[
        GalleryFormat, typer.Option("--format", "-f", help="table, json or csv of all; of one also latex or python.")
    ] = GalleryFormat.TABLE,
    output: Output = None,
) -> None:
    """The discovered proxies that are shipped, for eznas score gallery:NAME; with a name its model card.

    Example: eznas gallery general --format python -o general.py
    """
    from eznas.files import write_output
    from eznas.study.gallery import gallery_in

    text = gallery_in(name, form.value, width=min(width(), 100))
    if output is None:
        typer.echo(text, nl=False)
        return
    write_output(output, text)
    announce(output, err=True)


def badges(
    proxies: Annotated[
        list[str],
        typer.Argument(help="As of eznas score, sums left out; a RUN (its pick) or RUN:ID is also kept on its page."),
    ],
    networks: Annotated[
        str | None,
        typer.Option(
            "--networks",
            help="Five or more, as of eznas score; without it nb201:random:24:7, and of a run those of its report.",
        ),
    ] = None,
    form: TableFormat = Format.TABLE,
    overrides: Settings = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """What proxies do not mind: networks are scored again with one thing changed, such as the scale of the images.

    Example: eznas badges runs/first
    """
    say_loading(quiet)
    from eznas.progress import make_observer
    from eznas.scoring import split_names
    from eznas.study.badges import badges_in_runs
    from eznas.study.gallery import badges_of
    from eznas.tables import render_table

    names = split_names(proxies)
    with interruptible(BEGINS_ANEW), make_observer(quiet=quiet) as observer:
        rows: list[dict[str, object]] = []
        if networks is None and not overrides:
            found, names, written = badges_in_runs(names, device=device, observer=observer)
            rows += found
            for path in written:
                announce(path, err=True)
        if names:
            asked = networks or "nb201:random:24:7"
            rows += badges_of(names, asked, overrides=overrides or (), device=device, observer=observer)
    typer.echo(render_table(rows, form.value, width=width()), nl=False)

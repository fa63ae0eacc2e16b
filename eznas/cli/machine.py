"""Commands about this machine: data status, data import, data prune, doctor."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from eznas.cli.options import Format, Repeats, TableFormat, say, width
from eznas.files import size_text

data_app = typer.Typer(help="Trained accuracies and images that this machine has.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(doctor)
    app.add_typer(data_app, name="data")


@data_app.command("status")
def data_status_command(form: TableFormat = Format.TABLE) -> None:
    """Which accuracies are found, by search space, and which images; where, how good, and which are used.

    Example: eznas data status --format json
    """
    from eznas.benchmarks import data_status
    from eznas.statistics import stores_on_disk
    from eznas.study import cache_folder
    from eznas.tables import render_table

    stores = stores_on_disk(cache_folder())
    kept = f"{len(stores)} store(s), {size_text(sum(s.n_bytes for s in stores))}; eznas data prune frees them"
    sources = data_status()

    def listed(values: tuple[object, ...]) -> object:
        return list(values) if form is Format.JSON else ", ".join(map(str, values))

    rows: list[dict[str, object]]
    if form is Format.TABLE:
        rows = [
            {
                "space": s.space or s.kind, "source": s.name, "found": _found(s.found, s.in_use),
                "what": f"{s.detail} [{s.location}]",
            }
            for s in sources
        ]  # fmt: skip
        rows.append({
            "space": "statistics", "source": "cache", "found": _found(bool(stores), bool(stores)),
            "what": f"{kept} [{cache_folder()}]",
        })  # fmt: skip
    else:
        rows = [
            {
                "kind": s.kind, "space": s.space or None, "source": s.name, "found": s.found, "in use": s.in_use,
                "where": s.location, "n": s.n, "data sets": listed(s.datasets), "splits": listed(s.splits),
                "epochs": listed(s.epochs), "trainings": s.seeds or None, "label noise": s.noise or None,
                "good for": s.good_for or None, "problem": s.problem or None, "what": s.detail,
            }
            for s in sources
        ]  # fmt: skip
        rows.append(dict.fromkeys(rows[0], None) | {
            "kind": "statistics", "source": "cache", "found": bool(stores), "in use": True,
            "where": str(cache_folder()), "n": len(stores), "what": kept,
        })  # fmt: skip
    typer.echo(render_table(rows, form.value, width=width()), nl=False)


def _found(found: bool, in_use: bool) -> str:
    return "used" if found and in_use else "yes" if found else "no"


@data_app.command("import")
def data_import_command(
    kind: Annotated[
        str, typer.Argument(help="Of the files: nats-tss, nats-sss, nds, nb101, suite-zero or csv.", metavar="KIND")
    ],
    files: Annotated[list[Path], typer.Argument(help="Official files, or folders of them.", metavar="FILE...")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the table; EZNAS_DATA without it.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Of the table, and of its benchmark.")] = None,
    repeats: Annotated[
        Repeats, typer.Option("--repeats", help="Label of a network that was trained several times.")
    ] = Repeats.MEAN,
    space: Annotated[str | None, typer.Option("--space", help="Of the networks of a csv table.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Another table of that name.")] = False,
    form: TableFormat = Format.TABLE,
) -> None:
    """Make a table of ours of official files of a benchmark; it is then a benchmark of that name.

    Example: eznas data import nats-tss NATS-tss-v1_0-3ffb9-simple -o data
    """
    from eznas.benchmarks.importers import Request, import_files
    from eznas.benchmarks.sources import seeds_in_words
    from eznas.errors import BenchmarkError
    from eznas.location import DATA_VARIABLE, data_folder
    from eznas.tables import render_table

    folder = output if output is not None else data_folder()
    if folder is None:
        raise BenchmarkError(f"Tables go into a data folder, but none is named; name one with -o or {DATA_VARIABLE}.")
    request = Request(label=repeats.value, space=space)
    made = import_files(kind, files, folder, request=request, name=name, replace=replace)
    rows = [
        {
            "benchmark": one.header.name, "space": one.header.space, "networks": one.header.n_networks,
            "columns": len(one.header.columns), "trainings": seeds_in_words(one.header), "file": str(one.path),
        }
        for one in made
    ]  # fmt: skip
    typer.echo(render_table(rows, form.value, width=width()), nl=False)
    for one in made:
        say(f"{one.header.name}: {one.header.provenance}", err=True)
        for note in one.header.notes:
            say(f"{one.header.name}: {note}", err=True)
        if not one.header.is_buildable:
            typer.echo(
                f"{one.header.name}: this release cannot build networks of the space {one.header.space!r}; the table "
                "is kept until one does.",
                err=True,
            )


@data_app.command("prune")
def data_prune_command(
    keep_gib: Annotated[
        float, typer.Option("--keep-gib", min=0, help="Keep the stores used last, up to this many GiB.")
    ] = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, on a terminal either.")] = False,
    form: TableFormat = Format.TABLE,
) -> None:
    """Remove captured statistics, those used least recently first; they can always be captured again.

    Example: eznas data prune --keep-gib 10 --dry-run
    """
    import time

    from eznas.statistics import prunable, remove_stores
    from eznas.study import cache_folder
    from eznas.tables import render_table

    root = cache_folder()
    going = prunable(root, int(keep_gib * 2**30))
    rows = [
        {
            "folder": store.folder.name,
            "size": size_text(store.n_bytes) if form is Format.TABLE else store.n_bytes,
            "last used": time.strftime("%Y-%m-%d %H:%M", time.localtime(store.last_used)),
        }
        for store in going
    ]
    if rows or form is not Format.TABLE:
        typer.echo(render_table(rows, form.value, width=width()), nl=False)
    beside = form is not Format.TABLE  # what is read by programs stands alone on stdout
    said = f"{len(going)} store(s), {size_text(sum(store.n_bytes for store in going))}, from {root}"
    if dry_run:
        typer.echo(f"Would remove {said}.", err=beside)
        return
    asks = going and not yes and sys.stdin.isatty() and sys.stdout.isatty()
    if asks and not typer.confirm(f"Remove {said}?", err=beside):
        typer.echo("Nothing was removed.", err=beside)
        return
    removed = remove_stores(going)
    n_left = len(going) - len(removed)
    typer.echo(
        f"Removed {len(removed)} store(s), {size_text(sum(store.n_bytes for store in removed))}, from {root}."
        + (f" {n_left} in use now stay(s)." if n_left else ""),
        err=beside,
    )


def doctor(form: TableFormat = Format.TABLE) -> None:
    """Check that this machine can do everything eznas asks of it.

    Example: eznas doctor
    """
    from eznas.doctor import examine
    from eznas.tables import render_table

    findings = examine()
    typer.echo(render_table([f.as_dict() for f in findings], form.value, width=width()), nl=False)
    if not all(f.is_well for f in findings):
        raise typer.Exit(1)

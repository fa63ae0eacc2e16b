"""Commands about this machine: data status, data prune, doctor."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from eznas.cli.options import Format, TableFormat, width

data_app = typer.Typer(help="Trained accuracies and images that this machine has.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(doctor)
    app.add_typer(data_app, name="data")


@data_app.command("status")
def data_status_command(form: TableFormat = Format.TABLE) -> None:
    """Which accuracies and images are found, where, and which are used."""
    from eznas.benchmarks import data_status
    from eznas.statistics import stores_on_disk
    from eznas.study import cache_folder
    from eznas.tables import render_table

    stores = stores_on_disk(cache_folder())
    rows = [
        {
            "source": s.name, "kind": s.kind, "found": "yes" if s.found else "no", "in use": "yes" if s.in_use else "",
            "where": s.location, "what": s.detail,
        }
        for s in data_status()
    ]  # fmt: skip
    rows.append({
        "source": "cache", "kind": "statistics", "found": "yes" if stores else "no", "in use": "yes",
        "where": str(cache_folder()),
        "what": f"{len(stores)} store(s), {_size(sum(s.n_bytes for s in stores))}; eznas data prune frees them",
    })  # fmt: skip
    typer.echo(render_table(rows, form.value, width=width()), nl=False)


@data_app.command("prune")
def data_prune_command(
    keep_gib: Annotated[
        float, typer.Option("--keep-gib", min=0, help="Keep the stores used last, up to this many GiB.")
    ] = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, on a terminal either.")] = False,
    form: TableFormat = Format.TABLE,
) -> None:
    """Remove captured statistics, those used least recently first; they can always be captured again."""
    import time

    from eznas.statistics import prunable, remove_stores
    from eznas.study import cache_folder
    from eznas.tables import render_table

    root = cache_folder()
    going = prunable(root, int(keep_gib * 2**30))
    rows = [
        {
            "folder": store.folder.name,
            "size": _size(store.n_bytes) if form is Format.TABLE else store.n_bytes,
            "last used": time.strftime("%Y-%m-%d %H:%M", time.localtime(store.last_used)),
        }
        for store in going
    ]
    if rows or form is not Format.TABLE:
        typer.echo(render_table(rows, form.value, width=width()), nl=False)
    beside = form is not Format.TABLE  # what is read by programs stands alone on stdout
    said = f"{len(going)} store(s), {_size(sum(store.n_bytes for store in going))}, from {root}"
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
        f"Removed {len(removed)} store(s), {_size(sum(store.n_bytes for store in removed))}, from {root}."
        + (f" {n_left} in use now stay(s)." if n_left else ""),
        err=beside,
    )


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.1f} MiB"


def doctor(form: TableFormat = Format.TABLE) -> None:
    """Check that this machine can do everything eznas asks of it."""
    from eznas.doctor import examine
    from eznas.tables import render_table

    findings = examine()
    typer.echo(render_table([f.as_dict() for f in findings], form.value, width=width()), nl=False)
    if not all(f.is_well for f in findings):
        raise typer.Exit(1)

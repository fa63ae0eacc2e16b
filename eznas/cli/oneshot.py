"""Commands of one-shot estimators: oneshot train, oneshot status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eznas.cli.options import Device, Format, Overrides, Quiet, TableFormat, interruptible, say_loading, width

if TYPE_CHECKING:
    from eznas.oneshot import EpochRecord

oneshot_app = typer.Typer(
    help="Supernets, whose shared weights stand in for training; eznas score oneshot:RUN uses them.",
    no_args_is_help=True,
)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(oneshot_app, name="oneshot")


@oneshot_app.command("train")
def train(
    config: Annotated[Path | None, typer.Argument(help="Settings as a TOML file; defaults without it.")] = None,
    run_dir: Annotated[
        Path, typer.Option("--run-dir", help="Folder of the run; one that was stopped is gone on with.")
    ] = Path("runs/oneshot"),
    overrides: Overrides = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Train a supernet of NAS-Bench-201; after a stop the same command goes on, to the same weights.

    Example: eznas oneshot train experiments/oneshot.toml --run-dir runs/oneshot
    """
    say_loading(quiet)
    import time

    from eznas.oneshot import load_oneshot_config, train_supernet
    from eznas.progress import LINE_SECONDS, duration, make_observer
    from eznas.study.machine import Machine, check_machine, single_threaded

    check_machine(Machine(device=device))
    settings = load_oneshot_config(config, overrides or ())
    epochs, told_at = settings.training.epochs, [-LINE_SECONDS]
    kept = "every finished epoch is kept, and the same command goes on."
    with interruptible(kept), make_observer(quiet=quiet) as observer, single_threaded():
        observer.stage(f"Training a supernet for {epochs} epochs in {run_dir}")

        def told(record: EpochRecord, left: float) -> None:
            now = time.monotonic()
            if now - told_at[0] >= LINE_SECONDS or record.epoch == epochs:
                told_at[0] = now
                observer.note(
                    f"epoch {record.epoch:>4}/{epochs}  loss {record.loss:.4f}  rate {record.learning_rate:.4f}  "
                    f"{record.seconds:.1f} s an epoch  {duration(left)} left"
                )

        train_supernet(settings, run_dir, device=device, told=told)
    typer.echo(str(run_dir))


@oneshot_app.command("status")
def status(
    runs: Annotated[list[Path], typer.Argument(help="Folders of supernets.", metavar="RUN...")],
    form: TableFormat = Format.TABLE,
) -> None:
    """How far the training of supernets is: epochs, loss, time left, checkpoints.

    Example: eznas oneshot status runs/oneshot
    """
    from eznas.oneshot import OneShotFolder
    from eznas.tables import render_table

    typer.echo(render_table([OneShotFolder(run).status() for run in runs], form.value, width=width()), nl=False)

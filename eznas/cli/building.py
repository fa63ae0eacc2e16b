"""Commands that make benchmarks: benchmark build, benchmark show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eznas.cli.options import (
    Address,
    Device,
    Format,
    Quiet,
    TableFormat,
    Workers,
    interruptible,
    make_machine,
    say_loading,
    width,
)

benchmark_app = typer.Typer(help="Benchmarks of your own trainings.", no_args_is_help=True)
Folder = Annotated[Path, typer.Option("--output", "-o", help="Folder of the benchmark's two files.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(benchmark_app, name="benchmark")


@benchmark_app.command("build")
def build(
    space: Annotated[
        str, typer.Option("--space", help="A search space, or a family: net:residual, net:FILE.toml, nb201.")
    ],
    images: Annotated[str, typer.Option("--images", help="cifar10, an .npz file, a folder ...")] = "cifar10",
    n: Annotated[int, typer.Option("--n", min=10, max=10_000, help="Networks.")] = 60,
    epochs: Annotated[int, typer.Option("--epochs", min=1, max=10_000, help="Of each training.")] = 12,
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=100, help="Trainings of each; their mean counts.")] = 1,
    repeated: Annotated[int, typer.Option("--repeated", min=0, help="Networks of all sizes that get more.")] = 10,
    repeats: Annotated[int, typer.Option("--repeats", min=1, max=100, help="Trainings of each of those.")] = 3,
    name: Annotated[str | None, typer.Option("--name", help="Of the benchmark; that of the family without it.")] = None,
    output: Folder = Path("benchmarks"),
    size: Annotated[int, typer.Option("--size", min=1, max=1024, help="Height and width of the images.")] = 16,
    n_train: Annotated[int, typer.Option("--train", min=0, help="Images to train on; two thirds without it.")] = 0,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="The largest.")] = 0.1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the draw, and of each first training.")] = 0,
    workers: Workers = 0,
    ray_address: Address = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Train networks of a space, drawn by size, into a table of accuracies; after a stop the same command goes on.

    Example: eznas benchmark build --space net:residual --n 60 --epochs 12 --workers 2
    """
    say_loading(quiet)
    from eznas.benchmarks import Recipe
    from eznas.progress import make_observer
    from eznas.study.machine import check_machine, open_workers
    from eznas.training import BuildRequest, build_benchmark, title_of

    machine = make_machine(workers, ray_address, device)
    check_machine(machine)
    recipe = Recipe(epochs=epochs, after=tuple(e for e in (epochs // 4, epochs // 2) if e), learning_rate=learning_rate)
    label = name or Path(space.rpartition(":")[2]).stem
    request = BuildRequest(
        name=label, title=title_of(space), space=space, images=images, dataset=Path(images).stem, input_size=size,
        n_train=n_train, n=n, n_seeds=seeds, n_repeated=repeated, n_seeds_repeated=repeats, seed=seed, recipe=recipe,
    )  # fmt: skip
    kept = "every finished training is kept, and the same command goes on."
    with interruptible(kept), make_observer(quiet=quiet) as observer, open_workers(machine, observer) as pool:
        table = build_benchmark(
            request, output, pool, device=device, stage=observer.stage, advance=observer.advance, note=observer.note
        )
    typer.echo(str(table.path))


@benchmark_app.command("show")
def show(
    names: Annotated[list[str] | None, typer.Argument(help="Benchmarks of the folder; all without it.")] = None,
    output: Folder = Path("benchmarks"),
    form: TableFormat = Format.TABLE,
) -> None:
    """Benchmarks of a folder: networks, accuracies, label noise, and what parameters and MACs alone rank.

    Example: eznas benchmark show -o benchmarks
    """
    from eznas.tables import render_table
    from eznas.training import summaries

    typer.echo(render_table(summaries(output, names or ()), form.value, width=width()), nl=False)

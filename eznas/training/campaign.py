"""Building a benchmark: networks of a space drawn by size, each trained for real, line by line into a table."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import filelock
import numpy as np
import torch

from eznas.benchmarks import Card, Recipe, TrainedTable, Training
from eznas.conditions import DIGITS, Conditions, training_images
from eznas.errors import BenchmarkError, EznasError, OutputError
from eznas.files import why_not_written
from eznas.randomness import stream
from eznas.scoring import counted
from eznas.spaces import Architecture, SpaceSettings, networks_named, space_named
from eznas.spaces.families import family_named
from eznas.training.train import train
from eznas.workers import Pool

N_PER_STRATUM: Final = 4
"""Networks that are drawn for each one that is trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What is to be built.

    Attributes:
        name: of the benchmark and its files.
        title: for people.
        space: a search space, or a family of one: ``net:residual``.
        settings: of the space; None means those of its benchmark's own networks, or its defaults.
        images: a source of images.
        dataset: name of the data set of the accuracies.
        input_size: height and width in pixels.
        n_train: images to train on; 0 means two thirds.
        n: networks.
        n_seeds: trainings of each, whose mean is its accuracy.
        n_repeated: networks, of all sizes, that have `n_seeds_repeated` trainings.
        n_seeds_repeated: at least `n_seeds`.
        seed: of the draw of networks, and of the first training.
        recipe: of the trainings.
    """

    name: str
    title: str
    space: str
    settings: SpaceSettings | None = None
    images: str = "cifar10"
    dataset: str = "cifar10"
    input_size: int = 16
    n_train: int = 0
    n: int = 60
    n_seeds: int = 1
    n_repeated: int = 0
    n_seeds_repeated: int = 1
    seed: int = 0
    recipe: Recipe = field(default_factory=Recipe)


def drawn_by_size(request: BuildRequest, settings: SpaceSettings) -> tuple[tuple[Architecture, int, int], ...]:
    """The networks, with their parameters and multiply-accumulates: one of each stratum of equal size, by size.

    `N_PER_STRATUM` times as many are drawn as the space draws them, ordered by multiply-accumulates and cut into as
    many strata as networks are wanted: the sizes are those of the space, with less luck in them.

    Raises:
        EznasError: if the space has not so many networks, or one cannot be built.
    """
    drawn = networks_named(f"{request.space}:random:{N_PER_STRATUM * request.n}:{request.seed}")
    conditions = Conditions.of_settings(
        settings=settings, seed=request.seed, images=DIGITS, input_size=request.input_size
    ).drawn()
    counts = [counted(arch, conditions) for arch in drawn]
    order = sorted(range(len(drawn)), key=lambda i: (counts[i][1], counts[i][0], drawn[i].spec))
    rng = stream(request.seed, "strata")
    chosen = [order[N_PER_STRATUM * i + int(rng.integers(N_PER_STRATUM))] for i in range(request.n)]
    return tuple((drawn[i], *counts[i]) for i in chosen)


def planned(request: BuildRequest, networks: tuple[tuple[Architecture, int, int], ...]) -> list[tuple[int, int]]:
    """The trainings, as positions of networks and seeds.

    First those that are repeated, so that noise is known soon, then the others from one seed after the other: a table
    that is stopped has as many networks as it can.
    """
    repeated = np.unique(np.linspace(0, len(networks) - 1, min(request.n_repeated, len(networks))).round().astype(int))
    several = range(request.seed, request.seed + max(request.n_seeds, request.n_seeds_repeated))
    others = [int(i) for i in stream(request.seed, "order of trainings").permutation(len(networks))]
    plan = [(int(i), seed) for i in repeated for seed in several]
    return plan + [(i, seed) for seed in several[: request.n_seeds] for i in others if i not in repeated]


class Trainer:
    """Trains networks, with the images at hand; lives where the work is done.

    Args:
        request: what is built.
        settings: of the space.
        device: a torch device.
    """

    def __init__(self, request: BuildRequest, settings: SpaceSettings, device: str) -> None:
        self._request, self._settings, self._device = request, settings, device
        self._images = training_images(
            request.images, input_size=request.input_size, n_train=request.n_train, seed=request.seed
        ).to(device)

    def train(self, arch: Architecture, seed: int, parameters: int, macs: int) -> Training | str:
        """One training, or why there is none."""
        if self._device == "cpu":
            torch.set_num_threads(1)
        try:
            network = space_named(arch.space).build(arch, self._settings, seed).to(self._device)
            found = train(network, self._images, self._request.recipe, seed)
        except (EznasError, RuntimeError, ValueError) as error:
            return f"{type(error).__name__}: {error}"
        return Training(
            network=arch.spec, seed=seed, parameters=parameters, macs=macs, seconds=max(found.seconds, 0.01),
            diverged=1 if found.diverged else 0, accuracies=tuple(round(value, 2) for value in found.accuracies),
        )  # fmt: skip


def build_benchmark(
    request: BuildRequest,
    folder: Path,
    pool: Pool,
    *,
    device: str = "cpu",
    stage: Callable[[str], None] = lambda text: None,
    advance: Callable[[int, int], None] = lambda done, total: None,
    note: Callable[[str], None] = lambda text: None,
) -> TrainedTable:
    """Train what a table in a folder still lacks.

    Every training is on disk as soon as it ends, and a later call goes on after a kill: the same request gives the same
    table, but for seconds and the order of lines.

    Args:
        request: what is to be built.
        folder: of the table.
        pool: of workers.
        device: a torch device.
        stage, advance, note: told how it goes on.

    Raises:
        BenchmarkError: if the folder holds another benchmark of that name, the images cannot be read, or another
            process builds it.
        OutputError: if the folder cannot be written.
    """
    space = space_named(request.space.partition(":")[0])
    settings = request.settings or space.full or space.settings()
    images = training_images(request.images, input_size=request.input_size, n_train=request.n_train, seed=request.seed)
    n_classes = getattr(settings, "n_classes", None)
    if n_classes is not None and n_classes < images.n_classes:
        raise BenchmarkError(
            f"{request.images} has {images.n_classes} classes, but the networks of {request.space} have {n_classes} "
            "logits; name images of fewer classes, or give settings with more."
        )
    table = TrainedTable(folder, request.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / f".{request.name}.lock", timeout=0):
            card = table.begin(_card(request, settings, images.digest, len(images.train), len(images.validation)))
            stage(f"Drawing {request.n} networks of {request.space} by size")
            networks = drawn_by_size(request, settings)
            done = {(t.network, t.seed) for t in table.trainings(card.recipe)}
            plan = [(i, seed) for i, seed in planned(request, networks) if (networks[i][0].spec, seed) not in done]
            stage(f"Training {len(plan)} networks of {request.space}, {len(done)} are done")
            pool.deploy(Trainer, [(request, settings, device)] * pool.n_workers)

            def keep(n_done: int, index: int, result: Training | str) -> None:
                if isinstance(result, Training):
                    table.append(card.recipe, result)
                else:
                    note(f"{networks[plan[index][0]][0].spec} could not be trained: {result}")
                advance(n_done, len(plan))

            pool.map("train", [(networks[i][0], seed, *networks[i][1:]) for i, seed in plan], keep)
    except filelock.Timeout:
        raise BenchmarkError(f"{table.path} is being built by another process; wait for it to end.") from None
    except OSError as error:
        raise OutputError(why_not_written(table.path, error, when_full="free space and build again")) from None
    return table


def _card(request: BuildRequest, settings: SpaceSettings, digest: str, n_train: int, n_validation: int) -> Card:
    return Card(
        name=request.name,
        title=request.title,
        networks=f"{request.space}:random:{N_PER_STRATUM * request.n}:{request.seed}",
        seed=request.seed,
        settings=settings,
        dataset=request.dataset,
        images=request.images,
        images_digest=digest,
        n_train=n_train,
        n_validation=n_validation,
        input_size=request.input_size,
        recipe=request.recipe,
        machine=f"{platform.machine()}, {platform.system()}",
        versions={"torch": torch.__version__, "python": platform.python_version()},
    )


def title_of(space: str) -> str:
    """A space or a family of one, for people.

    Raises:
        ArchitectureError: if it is neither.
    """
    name, _, family = space.partition(":")
    return family_named(family).title if family else space_named(name).title

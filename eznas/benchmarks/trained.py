"""Benchmarks of our own trainings: a card that says how, and a table with a line for each training.

The card is ``NAME.json``, the table ``NAME.csv`` beside it. Lines are appended as trainings end, so that a torn last
line belongs to one that did not; a network that was trained from several seeds has as many lines, and their spread is
the noise of the labels.
"""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, ValidationError, field_validator

from eznas.benchmarks.benchmark import Benchmark
from eznas.benchmarks.split import Split
from eznas.errors import BenchmarkError
from eznas.files import replace_file
from eznas.forms import Form, read_form, sentence
from eznas.names import one_line
from eznas.spaces import Architecture, SettingsUnion
from eznas.tables import csv_rows, csv_text

_SHIPPED: Final = Path(__file__).parent / "shipped"
MAX_BYTES: Final = 32_000_000
MAX_ROWS: Final = 200_000
Positive = Annotated[int, Field(strict=True, ge=1, le=100_000)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
_Name = Annotated[str, Field(min_length=1, max_length=200)]


class Recipe(Form):
    """How networks are trained: SGD with Nesterov momentum, a warm-up, then a cosine to zero; flips and shifts.

    Attributes:
        epochs: of the training.
        after: epochs after which the accuracy is measured; the last is always measured.
        batch_size: images of a step.
        learning_rate: the largest.
        warm_up: share of the steps over which the rate rises from zero.
        momentum, weight_decay: of the optimiser; biases and normalisation do not decay.
        clip: largest norm of the gradient.
        smoothing: of the labels.
        shift: most pixels by which an image is shifted; what is uncovered is the mean.
        flip: whether images are mirrored, every other one.
    """

    epochs: Positive = 12
    after: Annotated[tuple[Positive, ...], Field(max_length=20)] = ()
    batch_size: Positive = 64
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.1
    warm_up: Fraction = 0.1
    momentum: Fraction = 0.9
    weight_decay: Fraction = 5e-4
    clip: Annotated[float, Field(gt=0)] = 1.0
    smoothing: Fraction = 0.0
    shift: Annotated[int, Field(ge=0, le=64)] = 2
    flip: bool = True

    @field_validator("after")
    @classmethod
    def _in_order(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(value)))

    @property
    def measured(self) -> tuple[int, ...]:
        """The epochs after which the accuracy is measured, in order."""
        return (*(epoch for epoch in self.after if epoch < self.epochs), self.epochs)


class Card(Form):
    """How the networks of a table were drawn and trained.

    Attributes:
        name: of the benchmark.
        title: for people.
        networks: the specification they were drawn by.
        seed: of the draw, and of the first training of each.
        settings: of the space, how networks are built.
        dataset: name of the data set of the accuracies.
        images, images_digest: the source of the images, and the SHA-256 of them.
        n_train, n_validation: how many were trained and validated on.
        input_size: height and width in pixels.
        recipe: of the training.
        machine, versions: where it was done first.
    """

    format: Literal["eznas-trained"] = "eznas-trained"
    version: Literal[1] = 1
    name: _Name
    title: _Name
    networks: _Name
    seed: NonNegativeInt
    settings: SettingsUnion
    dataset: _Name
    images: _Name
    images_digest: _Name
    n_train: Positive
    n_validation: Positive
    input_size: Positive
    recipe: Recipe
    machine: Annotated[str, Field(max_length=300)] = ""
    versions: Annotated[dict[str, str], Field(max_length=50)] = Field(default_factory=dict)

    def difference(self, other: Card) -> str:
        """What differs from another card but for machine and versions; empty if nothing does."""
        mine, theirs = (card.model_dump(exclude={"machine", "versions"}) for card in (self, other))
        return ", ".join(f"{key} was {mine[key]} and is {theirs[key]}" for key in mine if mine[key] != theirs[key])


class Training(Form):
    """A training of one network.

    Attributes:
        network: its text, without the name of the space.
        seed: of weights, order and changes of images.
        parameters, macs: of the network.
        seconds: of training on one core, without validation.
        diverged: 1 if the loss was not finite; then it has the accuracy of chance.
        accuracies: percent of the validation images, after each of `Recipe.measured`.
    """

    network: Annotated[str, Field(min_length=1, max_length=2_000)]
    seed: NonNegativeInt
    parameters: NonNegativeInt
    macs: NonNegativeInt
    seconds: Annotated[float, Field(gt=0)]
    diverged: Literal[0, 1]
    accuracies: Annotated[tuple[Annotated[float, Field(ge=0, le=100)], ...], Field(max_length=100)]


def _header(recipe: Recipe) -> list[str]:
    named = [f"accuracy_{epoch}" for epoch in recipe.measured]
    return ["network", "seed", "parameters", "macs", "seconds", "diverged", *named]


class TrainedTable:
    """The card and the table of a benchmark in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.card_path, self.path = folder / f"{name}.json", folder / f"{name}.csv"

    def card(self) -> Card:
        """The card.

        Raises:
            BenchmarkError: if it is missing or damaged.
        """
        return read_form(Card, self.card_path, error=BenchmarkError, remedy="build the benchmark again")

    def begin(self, card: Card) -> Card:
        """Write the card, or go on under the one that is there, which must say the same.

        Raises:
            BenchmarkError: if it says something else.
            OSError: if the folder cannot be written.
        """
        if self.card_path.exists():
            there = self.card()
            differs = there.difference(card)
            if differs:
                raise BenchmarkError(
                    f"{self.card_path} describes another benchmark ({one_line(differs, 300)}); give another --name, or "
                    "ask for the same."
                )
            return there
        self.card_path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self.card_path, card.model_dump_json(indent=1) + "\n")
        return card

    def append(self, recipe: Recipe, training: Training) -> None:
        """Write one training, after what a kill may have left of a line is cut off.

        Raises:
            OSError: if the file cannot be written; nothing is left half-written.
        """
        content = self.path.read_bytes() if self.path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        accuracies = [f"{value:.2f}" for value in training.accuracies]
        row = [
            training.network, training.seed, training.parameters, training.macs, f"{training.seconds:.2f}",
            training.diverged, *accuracies,
        ]  # fmt: skip
        text = csv_text([row] if whole else [_header(recipe), row])
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.truncate(len(whole))
            file.seek(len(whole))
            try:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(len(whole))
                raise

    def trainings(self, recipe: Recipe) -> tuple[Training, ...]:
        """The trainings so far; a torn last line is left out.

        Raises:
            BenchmarkError: if another line is damaged, or one training occurs twice.
        """
        content = self.path.read_bytes() if self.path.exists() else b""
        if len(content) > MAX_BYTES:
            raise BenchmarkError(f"{self.path} has more than {MAX_BYTES} bytes and is no table of trainings.")
        return read_trainings(content, recipe, str(self.path))


def read_trainings(content: bytes, recipe: Recipe, where: str) -> tuple[Training, ...]:
    """The trainings in a table.

    Raises:
        BenchmarkError: if it is damaged.
    """
    try:
        text = content[: content.rfind(b"\n") + 1].decode()
        header, *rows = csv_rows(text) or [_header(recipe)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BenchmarkError(f"{where} is no table of trainings ({one_line(str(error), 100)}).") from None
    if header != _header(recipe) or len(rows) > MAX_ROWS:
        raise BenchmarkError(f"{where} must have the columns {', '.join(_header(recipe))}; restore the file.")
    found: dict[tuple[str, int], Training] = {}
    for number, row in enumerate(rows, start=2):
        named = dict(zip(header, row, strict=False))
        accuracies = row[6:]
        try:
            if len(row) != len(header):
                said = f"{where}, line {number} has {len(row)} fields of {len(header)}"
                raise BenchmarkError(f"{said}; restore the file.")
            one = Training.model_validate(
                {key: named[key] for key in header[:6] if key != "diverged"}
                | {"diverged": int(named["diverged"] == "1"), "accuracies": accuracies}
            )
        except ValidationError as error:
            raise BenchmarkError(f"{sentence(error, f'{where}, line {number}', Training)}; restore the file.") from None
        if (one.network, one.seed) in found:
            raise BenchmarkError(f"{where}, line {number} repeats a training of seed {one.seed}; leave one out.")
        found[one.network, one.seed] = one
    return tuple(found.values())


def label_noise(trainings: Sequence[Training]) -> float | None:
    """Standard deviation of the last accuracy between seeds, pooled over networks; None without repeated ones."""
    by_network: dict[str, list[float]] = {}
    for training in trainings:
        by_network.setdefault(training.network, []).append(training.accuracies[-1])
    several = [np.array(values) for values in by_network.values() if len(values) > 1]
    if not several:
        return None
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in several)
    return float(np.sqrt(squares / sum(len(values) - 1 for values in several))) or None


def benchmark_of(card: Card, trainings: Sequence[Training]) -> Benchmark:
    """The benchmark of a table: of each network the mean over its seeds.

    Raises:
        BenchmarkError: if there is no training.
    """
    if not trainings:
        raise BenchmarkError(f"The table of {card.name} holds no training; build it with eznas benchmark build.")
    by_network: dict[str, list[Training]] = {}
    for training in trainings:
        by_network.setdefault(training.network, []).append(training)
    noise = label_noise(trainings)
    means = np.array([np.mean([t.accuracies for t in several], axis=0) for several in by_network.values()])
    several = sum(len(found) > 1 for found in by_network.values())
    return Benchmark(
        name=card.name,
        provenance=(
            f"{card.title}: validation accuracies of {len(by_network)} networks, trained here on {card.n_train} "
            f"{card.images} images of {card.input_size}x{card.input_size} for {card.recipe.epochs} epochs and "
            f"validated on {card.n_validation} others, {several} of them from several seeds; there are no test "
            "accuracies, so what is reported is on validation accuracies of networks that the search did not see."
        ),
        architectures=tuple(Architecture(card.settings.space, network) for network in by_network),
        tables={
            (card.dataset, Split.VALIDATION, epochs): means[:, place]
            for place, epochs in enumerate(card.recipe.measured)
        },
        seconds={
            (card.dataset, card.recipe.epochs): np.array(
                [np.mean([t.seconds for t in found]) for found in by_network.values()]
            )
        },
        label_noise={} if noise is None else {card.dataset: noise},
    )


def shipped_names() -> tuple[str, ...]:
    """The benchmarks that come with the package, in order."""
    return tuple(sorted(path.stem for path in _SHIPPED.glob("*.json") if path.with_suffix(".csv").exists()))


def load_shipped(name: str, data_dir: Path | None = None) -> Benchmark:
    """A benchmark that comes with the package.

    Args:
        name: one of `shipped_names`.
        data_dir: not read.

    Raises:
        BenchmarkError: if the package is damaged.
    """
    del data_dir
    return load_trained(_SHIPPED, name)


def load_trained(folder: Path, name: str) -> Benchmark:
    """The benchmark of a table in a folder.

    Raises:
        BenchmarkError: if it is missing or damaged.
    """
    table = TrainedTable(folder, name)
    card = table.card()
    return benchmark_of(card, table.trainings(card.recipe))

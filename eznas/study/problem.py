"""What a run's settings mean on this machine's data: which networks, which accuracies, which images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from eznas.benchmarks import Benchmark, Partition, Split, Task, learning_split, load_nb201, make_tasks, partition
from eznas.benchmarks.nb201 import FULL_TRAINING
from eznas.conditions import default_image_source, image_batch
from eznas.fitness import Labels
from eznas.randomness import derived_seed, stream
from eznas.runs.config import RunConfig
from eznas.scoring import Conditions
from eznas.statistics import CaptureSettings, tensor_digest
from primitives import PRIMITIVE_SETS, Level, PrimitiveSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What a run's settings mean on this machine's data: networks, accuracies, probe batch.

    Attributes:
        config: the settings.
        benchmark: with the accuracies.
        parts: networks to evolve on, to select on, to report on; disjoint.
        learn_split: the accuracies that evolution and selection see.
        images: source of the probe batch.
        conditions: how networks are built and excited.
    """

    config: RunConfig
    benchmark: Benchmark
    parts: Partition
    learn_split: Split
    images: str
    conditions: Conditions

    def tasks(self, part: str) -> tuple[Task, ...]:
        """The tasks of a part, ``"evolve"``, ``"select"`` or ``"report"``."""
        settings = self.config.benchmark
        split = Split.TEST if part == "report" else self.learn_split
        epochs = recorded_epochs(self.benchmark, self.config)
        return make_tasks(self.benchmark, getattr(self.parts, part), settings.datasets, split, epochs)

    def capture_settings(self) -> CaptureSettings:
        """What names the statistics store."""
        conditions = self.conditions
        return CaptureSettings(
            space="nb201",
            skeleton=self.config.networks.model_dump(exclude={"space", "scheme"}),
            scheme=self.config.networks.scheme,
            images=self.images,
            images_digest=tensor_digest(conditions.inputs),
            batch_size=len(conditions.inputs),
            input_size=conditions.inputs.shape[-1],
            seed=conditions.seed,
            storage=self.config.probe.storage,
            units=conditions.units,
            targets_digest="" if self.targets is None else tensor_digest(self.targets),
        )

    @property
    def primitive_set(self) -> PrimitiveSet:
        """The words programs are made of."""
        return PRIMITIVE_SETS[self.config.evolution.primitive_set]

    @property
    def targets(self) -> Tensor | None:
        """(batch,) classes of the images; None unless a word of the run looks at them."""
        return self.conditions.targets if any(s.needs_classes for s in self.primitive_set.statistics) else None

    @property
    def statistics(self) -> tuple[str, ...]:
        """Names of the layer statistics that programs may read."""
        return tuple(s.name for s in self.primitive_set.statistics if s.type.level is Level.LAYER)


def recorded_epochs(benchmark: Benchmark, config: RunConfig) -> int | None:
    """The epochs that accuracies are filed under: None for a full training of a benchmark that does not state them."""
    epochs = config.benchmark.epochs
    return None if benchmark.full_training is None and epochs == FULL_TRAINING else epochs


def prepare(config: RunConfig) -> Problem:
    """Read the data and draw the networks that the settings ask for.

    Raises:
        BenchmarkError: if the data lack what is asked.
    """
    benchmark = load_nb201()
    settings = config.benchmark
    epochs = recorded_epochs(benchmark, config)
    learn_split = learning_split(benchmark, settings.datasets, epochs)
    make_tasks(benchmark, benchmark.architectures[:1], settings.datasets, Split.TEST, epochs)
    parts = partition(
        benchmark,
        (settings.n_evolve, settings.n_select, settings.n_report),
        seed=config.seed,
        strategy=settings.strategy,
        dataset=settings.datasets[0],
        split=learn_split,
        epochs=epochs,
    )
    conditions, images = conditions_of(config)
    return Problem(
        config=config,
        benchmark=benchmark,
        parts=parts,
        learn_split=learn_split,
        images=images,
        conditions=conditions,
    )


def conditions_of(config: RunConfig) -> tuple[Conditions, str]:
    """How the settings build and excite networks, and the source of the images.

    Raises:
        BenchmarkError: if the images are not at hand.
    """
    images: str = config.probe.images
    if images == "auto":
        images = default_image_source(config.benchmark.datasets[0])

    def batch(size: int) -> tuple[Tensor, Tensor]:
        rng = stream(config.seed, "probe", "images")
        return image_batch(images, batch_size=size, input_size=config.probe.input_size, rng=rng)

    inputs, targets = batch(config.probe.batch_size)
    estimator_inputs, estimator_targets = batch(config.report.baseline_batch_size)
    conditions = Conditions(
        settings=config.networks,
        seed=derived_seed(config.seed, "networks") % 2**31,
        inputs=inputs,
        targets=targets,
        units=config.probe.units,
        estimator_inputs=estimator_inputs,
        estimator_targets=estimator_targets,
    )
    return conditions, images


def labels_of(tasks: Sequence[Task]) -> tuple[Labels, ...]:
    """The accuracies of tasks over the same architectures, as labels of the columns 0 .. n - 1."""
    return tuple(Labels(task.dataset, task.accuracies, np.arange(task.n)) for task in tasks)

"""Estimates of a supernet: the held-out accuracy or loss of a cell with the weights that it inherits, as a proxy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eznas.conditions import TrainingImages, training_images
from eznas.digests import content_digest
from eznas.errors import ArchitectureError, ConfigError, RunError, ScoreError
from eznas.files import is_file
from eznas.names import shown, unknown
from eznas.oneshot.checkpoint import WEIGHTS, averaged, read_checkpoint, read_state
from eznas.oneshot.config import EvaluationSettings, OneShotConfig
from eznas.oneshot.folder import OneShotFolder
from eznas.oneshot.sharing import SHARINGS, SharedWeights
from eznas.programs import FailureKind, Invalid

PREFIX: Final = "oneshot:"
KINDS: Final = ("accuracy", "loss", "ensemble", "isomorphic")
EVALUATION_BATCH: Final = 250
_BATCH: Final = 32
"""Images of a forward pass, in which costs are told."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a cell comes to with inherited weights.

    Attributes:
        accuracy: percent of the held-out images.
        loss: mean cross-entropy of them, in nats.
    """

    accuracy: float
    loss: float


class Evaluator:
    """Weights of a supernet with the images to evaluate on; remembers what it found.

    Args:
        supernet: with its weights.
        config: of the run.
        images: those it was trained on and those held out, on the device of the supernet.
        on_training: whether to evaluate on as many of the images that it was trained on, which tells how closely a cell
            fits them; those of recalibration are not among them.
    """

    def __init__(
        self, supernet: SharedWeights, config: OneShotConfig, images: TrainingImages, *, on_training: bool = False
    ) -> None:
        self._supernet, self._config, self._sharing = supernet, config, config.sharing
        self._measure = measuring(config, images, on_training=on_training)
        self._found: dict[Any, Estimate] = {}

    @classmethod
    def of_run(
        cls, folder: OneShotFolder, epochs: Sequence[int], device: str = "cpu", *, on_training: bool = False
    ) -> Evaluator:
        """With the mean weights of some checkpoints.

        Raises:
            BenchmarkError: if the images are not at hand.
            RunError: if a checkpoint cannot be read, or was trained with other settings or images.
        """
        config = folder.config()
        wanted = config.images
        images = training_images(wanted.source, input_size=wanted.input_size, n_train=wanted.n_train, seed=config.seed)
        supernet = config.sharing.make(config.networks, affine=config.training.affine, seed=config.seed)
        parts = []
        for epoch in epochs:
            path = folder.kept(epoch)
            state, tensors = read_checkpoint(path, supernet.state_dict())
            if (state.settings_digest, state.images_digest) != (config.digest, images.digest):
                raise RunError(f"{path} was trained with other settings or images than {folder.path} has now")
            parts.append(tensors)
        supernet.load_state_dict({name.removeprefix(WEIGHTS): value for name, value in averaged(parts).items()})
        supernet.to(memory_format=torch.channels_last)  # faster on a core
        return cls(supernet.to(device), config, images.to(device), on_training=on_training)

    def estimate(self, point: Any) -> Estimate:
        """Of an architecture; of the first of its function if the supernet was trained on these alone.

        Raises:
            ArchitectureError: if the supernet lacks a part of it.
        """
        group_of = self._sharing.group_of
        if self._config.sampling.method == "isomorphic" and group_of is not None:
            point = group_of(point)[0]
        if point not in self._found:
            self._found[point] = self._measure(self._supernet.inherited(point))
        return self._found[point]

    def of_group(self, point: Any) -> Estimate:
        """The mean over architectures of the same function, the first `EvaluationSettings.members` of them.

        Raises:
            ArchitectureError: as `estimate`.
        """
        group_of = self._sharing.group_of
        members = (point,) if group_of is None else group_of(point)[: self._config.evaluation.members]
        found = [self.estimate(member) for member in members]
        return Estimate(
            *(sum(values) / len(found) for values in zip(*((e.accuracy, e.loss) for e in found), strict=True))
        )


def measuring(
    config: OneShotConfig, images: TrainingImages, *, on_training: bool = False
) -> Callable[[nn.Module], Estimate]:
    """A function that evaluates a stand-alone network, whose statistics it may measure anew, on held-out images.

    Args:
        config: of the run.
        images: those it is trained on and those held out, on the device of the networks.
        on_training: as `Evaluator` takes it.
    """
    settings = config.evaluation
    n = settings.n_images or len(images.validation)
    inputs, classes = images.validation[:n], images.validation_labels[:n]
    if on_training:
        inputs = images.train[settings.recalibration :][:n]
        classes = images.train_labels[settings.recalibration :][:n]
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    recalibration = images.train[: settings.recalibration].contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def measure(network: nn.Module) -> Estimate:
        if len(recalibration):
            recalibrate(network, recalibration)
        network.eval()
        n_right, loss = 0, 0.0
        for first in range(0, len(classes), EVALUATION_BATCH):
            labels = classes[first : first + EVALUATION_BATCH]
            logits = network(inputs[first : first + EVALUATION_BATCH])
            n_right += int((logits.argmax(1) == labels).sum())
            loss += float(F.cross_entropy(logits, labels, reduction="sum"))
        return Estimate(100.0 * n_right / len(classes), loss / len(classes))

    return measure


@torch.no_grad()
def recalibrate(network: nn.Module, images: Tensor) -> None:
    """Measure the statistics of every batch normalisation anew: the mean over batches of one network alone."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the mean of all batches, each alike
    network.train()
    for batch in images.chunk(math.ceil(len(images) / EVALUATION_BATCH)):
        network(batch)


@dataclass(frozen=True, slots=True, kw_only=True)
class OneShotProxy:
    """An estimate of a trained supernet as a proxy: it looks at the cell of a network and not at its weights.

    Attributes:
        name: how users and tables call it.
        space: of its supernet.
        folder: of the run, absolute.
        epochs: checkpoints whose mean weights are inherited.
        is_loss: whether the score is minus the loss, else the accuracy.
        is_of_group: whether it is the mean over cells of the same function.
        digest: of the checkpoints and settings.
        cost: in forward passes of a batch, an estimate; the images are those of the supernet.
    """

    name: str
    space: str
    folder: str
    epochs: tuple[int, ...]
    is_loss: bool
    is_of_group: bool
    digest: str
    cost: float

    @property
    def direction(self) -> int:
        """A lower loss predicts a higher accuracy."""
        return -1 if self.is_loss else 1

    @property
    def needs(self) -> frozenset[str]:
        """Nothing: a supernet brings its images."""
        return frozenset()

    def outcome(self, network: nn.Module, inputs: object = None, targets: object = None) -> float | Invalid:
        """See `Proxy.outcome`; images are those of the supernet.

        Raises:
            RunError: if the run cannot be read any more.
        """
        del inputs, targets
        sharing = SHARINGS[self.space]
        point = sharing.point_of(network)
        if point is None:
            return Invalid(FailureKind.UNFIT, f"{self.name} knows {sharing.title}, and this network is made of none")
        evaluator = _evaluator(self.folder, self.epochs, self.digest, str(next(network.parameters()).device))
        try:
            found = (evaluator.of_group if self.is_of_group else evaluator.estimate)(point)
        except ArchitectureError as error:
            return Invalid(FailureKind.UNFIT, f"{self.name}: {error}")
        value = found.loss if self.is_loss else found.accuracy
        if not math.isfinite(value):
            return Invalid(FailureKind.NON_FINITE, f"{self.name} is {value:g}")
        return self.direction * value

    def score(self, network: nn.Module, inputs: object = None, targets: object = None) -> float:
        """As `outcome`, for those who want a number.

        Raises:
            RunError: if the run cannot be read any more.
            ScoreError: if there is no score; says why.
        """
        outcome = self.outcome(network)
        if isinstance(outcome, Invalid):
            raise ScoreError(f"{type(network).__name__} has no score: {outcome.detail}")
        return outcome


@lru_cache(maxsize=4)
def _evaluator(folder: str, epochs: tuple[int, ...], digest: str, device: str) -> Evaluator:
    """Shared by the proxies of a process that inherit the same weights.

    Raises:
        RunError: if the run is not the one that was named, or a checkpoint cannot be read.
    """
    run = OneShotFolder(Path(folder))
    if _digest(run, run.config(), epochs) != digest:
        raise RunError(f"{folder} has changed since a proxy of it was named; name it anew")
    return Evaluator.of_run(run, epochs, device)


def _digest(run: OneShotFolder, config: OneShotConfig, epochs: Sequence[int]) -> str:
    """Of all that determines estimates: weights, settings and images."""
    states = [read_state(run.kept(epoch), verify=True) for epoch in epochs]
    return content_digest([[s.digest, s.images_digest] for s in states] + [config.model_dump(mode="json")])


def oneshot_proxy(text: str) -> OneShotProxy:
    """The proxy that ``oneshot:RUN`` or ``oneshot:RUN:KIND`` names, with the last checkpoint that the run has kept.

    Args:
        text: the kind is of `KINDS`, or several joined by hyphens, such as ``ensemble-loss``; it is the accuracy with
            the weights of the last checkpoint unless it says otherwise.

    Raises:
        ConfigError: if the kind is unknown.
        RunError: if there is no such run, it has no checkpoint yet, or one is damaged.
    """
    where = text.removeprefix(PREFIX)
    folder, colon, kind = where.rpartition(":")
    if not colon or is_file(OneShotFolder(Path(where)).settings_path):
        folder, kind = where, "accuracy"
    kinds = kind.split("-")
    for word in kinds:
        if word not in KINDS:
            raise ConfigError(f"{unknown('estimate of a supernet', word, KINDS)} (in {shown(text)})")
    if {"accuracy", "loss"} <= set(kinds):
        raise ConfigError(f"{shown(text)} asks for accuracy and loss in one; score them apart")
    run = OneShotFolder(Path(folder))
    config = run.config()
    if "isomorphic" in kinds and config.sharing.group_of is None:
        raise ConfigError(
            f"{shown(text)} asks for means over equal functions, which are not listed for {config.sharing.title}; "
            "leave out isomorphic"
        )
    if not run.epochs:
        raise RunError(
            f"{run.path} has no checkpoint yet; the first comes after epoch "
            f"{min(config.checkpoints.every, config.training.epochs)}"
        )
    epochs = run.epochs[-config.evaluation.ensemble :] if "ensemble" in kinds else run.epochs[-1:]
    return OneShotProxy(
        name=text, space=config.networks.space, folder=str(run.path.resolve()), epochs=epochs, is_loss="loss" in kinds,
        is_of_group="isomorphic" in kinds, digest=_digest(run, config, epochs), cost=_cost(config.evaluation),
    )  # fmt: skip


def _cost(evaluation: EvaluationSettings) -> float:
    return max(1.0, ((evaluation.n_images or 1_000) + evaluation.recalibration) / _BATCH)

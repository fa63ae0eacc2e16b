"""Training of a supernet, epoch by epoch, in a folder: a stop at any moment loses at most the epoch in flight."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eznas.conditions import TrainingImages, augmented, training_images
from eznas.digests import difference
from eznas.errors import ConfigError, OutputError, RunError
from eznas.files import replace_file, why_not_written
from eznas.oneshot.checkpoint import (
    MOMENTUM,
    WEIGHTS,
    EpochRecord,
    TrainingState,
    read_checkpoint,
    write_checkpoint,
)
from eznas.oneshot.config import OneShotConfig, to_toml
from eznas.oneshot.estimate import measuring
from eznas.oneshot.folder import OneShotFolder
from eznas.randomness import stream

Told = Callable[[EpochRecord, float], None]
"""Told the record of each epoch as it ends, and the seconds that are left."""


def train_supernet(
    config: OneShotConfig,
    run_dir: Path,
    *,
    device: str = "cpu",
    told: Told = lambda record, left: None,
) -> OneShotFolder:
    """Train a supernet in a folder, or go on with one that was stopped there.

    Every random draw comes from a stream named by the seed, its purpose and the epoch, so that a training that was
    stopped and went on has the weights of one that was not.

    Args:
        config: its settings.
        run_dir: folder of the run; a new one is made.
        device: a torch device; it changes weights in their last bits, which training makes more.
        told: of every epoch.

    Returns:
        The folder.

    Raises:
        BenchmarkError: if the images are not at hand.
        ConfigError: if the folder has other settings, or the images more classes than the networks.
        RunError: if the checkpoint to go on from is damaged, the loss is not finite, or another process trains there.
        OutputError: if the folder cannot be written.
    """
    folder, wanted = OneShotFolder(run_dir), config.images
    _check_weights(folder, config)
    images = training_images(wanted.source, input_size=wanted.input_size, n_train=wanted.n_train, seed=config.seed)
    if images.n_classes > config.n_classes:
        raise ConfigError(
            f"{wanted.source} has {images.n_classes} classes, but the networks have {config.n_classes} "
            "logits; set networks.n_classes"
        )
    try:
        folder.checkpoints.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(run_dir / ".lock", timeout=0), _repeatable():
            _check_weights(folder, config)
            replace_file(folder.settings_path, to_toml(config))
            _Training(config, images.to(device), folder, device).run(told)
    except filelock.Timeout:
        raise RunError(f"{run_dir} is being trained by another process; wait for it to end") from None
    except OSError as error:
        raise OutputError(why_not_written(run_dir, error, when_full="free space and train again")) from None
    return folder


def _check_weights(folder: OneShotFolder, config: OneShotConfig) -> None:
    """Refuse settings that determine other weights than those that a folder was begun with."""
    if folder.settings_path.exists():
        changed = difference(folder.config().of_weights, config.of_weights)
        if changed:
            raise ConfigError(f"{folder.path} was begun with other settings ({changed}); choose another --run-dir")


class _Training:
    """Weights, optimiser and state, of which checkpoints are pictures."""

    def __init__(self, config: OneShotConfig, images: TrainingImages, folder: OneShotFolder, device: str) -> None:
        self._config, self._images, self._folder = config, images, folder
        self._sharing = config.sharing
        made = self._sharing.make(config.networks, affine=config.training.affine, seed=config.seed)
        self._supernet = made.to(device).to(memory_format=torch.channels_last)
        self._trained = {name: p for name, p in self._supernet.named_parameters() if p.requires_grad}
        self._optimiser = _optimiser(config, list(self._trained.values()))
        self._state = TrainingState(settings_digest=config.digest, images_digest=images.digest)
        if folder.latest.exists():
            self._load(folder.latest)

    def run(self, told: Told) -> None:
        """The epochs that are missing."""
        epochs = self._config.training.epochs
        start, n_before = time.perf_counter(), self._state.epoch
        while self._state.epoch < epochs:
            record = self._epoch(self._state.epoch + 1)
            self._step_of_schedule(record)
            self._save(record.epoch)
            n_done = record.epoch - n_before
            told(record, (time.perf_counter() - start) / n_done * (epochs - record.epoch))

    def _epoch(self, epoch: int) -> EpochRecord:
        config, images, start = self._config, self._images, time.perf_counter()
        training = config.training
        order, cells, changes, dropped = (
            stream(config.seed, "oneshot", purpose, epoch) for purpose in ("order", "cells", "changes", "dropout")
        )
        n = len(images.train)
        n_steps = math.ceil(n / training.batch_size)
        places = order.permutation(n)
        rate, losses = training.learning_rate, []
        forgetting = _Forgetting(self._supernet, config, images, self._looked_at(epoch, n_steps))
        for step in range(n_steps):
            batch = torch.as_tensor(places[step * training.batch_size :][: training.batch_size]).to(images.train.device)
            inputs = augmented(images.train[batch], changes, shift=training.shift, flip=training.flip)
            rate = self._rate(((epoch - 1) * n_steps + step) / (training.epochs * n_steps))
            for group in self._optimiser.param_groups:
                group["lr"] = rate
            points = self._sharing.drawn(config.sampling.method, config.sampling.per_step, cells)
            losses.append(self._step(inputs, images.train_labels[batch], points, dropped))
            if not math.isfinite(losses[-1]):
                raise RunError(
                    f"The loss of epoch {epoch} of {self._folder.path} is not finite after {step} steps; train anew "
                    f"with a smaller training.learning_rate than {training.learning_rate:g}"
                )
            forgetting.after(step, points[0])
        seconds = time.perf_counter() - start
        return EpochRecord(
            epoch=epoch, loss=float(np.mean(losses)), learning_rate=rate, seconds=round(seconds, 3),
            forgetting=forgetting.value(),
        )  # fmt: skip

    def _looked_at(self, epoch: int, n_steps: int) -> frozenset[int]:
        """Steps of an epoch whose first architecture is evaluated right after them and at its end."""
        n = self._config.evaluation.forgetting if self._is_kept(epoch) else 0
        return frozenset(np.linspace(0, n_steps, min(n, n_steps), endpoint=False).astype(int).tolist())

    def _step(self, inputs: Tensor, labels: Tensor, points: Sequence[Any], dropped: np.random.Generator) -> float:
        """One step along the mean gradient of some architectures; their mean loss."""
        sampling, training = self._config.sampling, self._config.training
        self._optimiser.zero_grad(set_to_none=True)  # what no architecture uses neither moves nor decays
        total = 0.0
        for point in points:
            network = self._supernet.network(point).train()
            with _dropping(network.classifier, training.dropout, dropped):
                loss = F.cross_entropy(network(inputs), labels)
            (loss / sampling.per_step).backward()
            total += loss.item() / sampling.per_step
        used = [parameter for parameter in self._trained.values() if parameter.grad is not None]
        nn.utils.clip_grad_norm_(used, training.clip)
        self._optimiser.step()
        return total

    def _rate(self, share: float) -> float:
        """The learning rate after a share of all steps."""
        training = self._config.training
        cosine = 0.5 * (1 + math.cos(math.pi * share)) if training.schedule == "cosine" else 1.0
        return training.learning_rate * self._state.factor * cosine

    def _step_of_schedule(self, record: EpochRecord) -> None:
        """What the schedule remembers of an epoch."""
        state, training = self._state, self._config.training
        is_lower = state.least is None or record.loss < state.least
        n_since = 0 if is_lower else state.n_since + 1
        factor = state.factor
        if training.schedule == "plateau" and n_since > training.patience:
            n_since, factor = 0, factor * training.factor
        self._state = state.model_copy(
            update={
                "epoch": record.epoch, "records": (*state.records, record), "factor": factor, "n_since": n_since,
                "least": record.loss if is_lower else state.least,
            }
        )  # fmt: skip

    def _is_kept(self, epoch: int) -> bool:
        """Whether the weights after an epoch are kept."""
        return epoch % self._config.checkpoints.every == 0 or epoch == self._config.training.epochs

    def _save(self, epoch: int) -> None:
        weights = {f"{WEIGHTS}{name}": tensor for name, tensor in self._supernet.state_dict().items()}
        if self._is_kept(epoch):
            write_checkpoint(self._folder.kept(epoch), self._state, weights)
        momenta = {
            f"{MOMENTUM}{name}": self._optimiser.state[parameter]["momentum_buffer"]
            for name, parameter in self._trained.items()
            if "momentum_buffer" in self._optimiser.state[parameter]
        }
        write_checkpoint(self._folder.latest, self._state, weights | momenta)

    def _load(self, path: Path) -> None:
        state, tensors = read_checkpoint(path, self._supernet.state_dict())
        for what, recorded, now in (
            ("settings", state.settings_digest, self._state.settings_digest),
            ("images", state.images_digest, self._state.images_digest),
        ):
            if recorded != now:
                raise RunError(f"{path} was trained with other {what} than this run has now; put those back")
        self._supernet.load_state_dict(
            {name.removeprefix(WEIGHTS): tensor for name, tensor in tensors.items() if name.startswith(WEIGHTS)}
        )
        for name, parameter in self._trained.items():
            momentum = tensors.get(f"{MOMENTUM}{name}")
            if momentum is not None:
                self._optimiser.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(momentum)
        self._state = state


def _optimiser(config: OneShotConfig, parameters: list[nn.Parameter]) -> torch.optim.SGD:
    training = config.training
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": training.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=training.learning_rate, momentum=training.momentum)


class _Forgetting:
    """What architectures lose by the steps of an epoch that follow their own.

    Source: `Ning et al. 2021 <https://arxiv.org/abs/2008.03064>`_ (forgetting value).
    """

    def __init__(self, supernet: Any, config: OneShotConfig, images: TrainingImages, steps: frozenset[int]) -> None:
        self._supernet, self._steps = supernet, steps
        self._measure = measuring(config, images) if steps else None
        self._found: list[tuple[Any, float]] = []

    def after(self, step: int, point: Any) -> None:
        """A step has trained an architecture."""
        if self._measure is not None and step in self._steps:
            self._found.append((point, self._measure(self._supernet.inherited(point)).accuracy))

    def value(self) -> float | None:
        """Mean accuracy now less that right after the step, in percent; None if nothing was looked at."""
        if self._measure is None:
            return None
        changes = [self._measure(self._supernet.inherited(point)).accuracy - then for point, then in self._found]
        return float(np.mean(changes))


@contextmanager
def _dropping(classifier: nn.Module, share: float, rng: np.random.Generator) -> Iterator[None]:
    """Of the (n, channels) features a classifier reads a share is 0 and the others are larger: their mean stays."""
    if not share:
        yield
        return

    def dropped(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        (features,) = inputs
        kept = torch.as_tensor(rng.random(tuple(features.shape)) >= share, device=features.device)
        return features * kept / (1 - share)

    handle = classifier.register_forward_pre_hook(dropped)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _repeatable() -> Iterator[None]:
    """Convolutions of a GPU give the same sums each time."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield

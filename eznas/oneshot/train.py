"""Training of a supernet, epoch by epoch, in a folder: a stop at any moment loses at most the epoch in flight."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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
from eznas.oneshot.folder import OneShotFolder
from eznas.oneshot.sampling import drawn_cells
from eznas.oneshot.supernet import Supernet
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
    if images.n_classes > config.networks.n_classes:
        raise ConfigError(
            f"{wanted.source} has {images.n_classes} classes, but the networks have {config.networks.n_classes} "
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
        made = Supernet(config.networks, affine=config.training.affine, seed=config.seed)
        self._supernet = made.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
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
        for step in range(n_steps):
            batch = torch.as_tensor(places[step * training.batch_size :][: training.batch_size]).to(images.train.device)
            inputs = augmented(images.train[batch], changes, shift=training.shift, flip=training.flip)
            rate = self._rate(((epoch - 1) * n_steps + step) / (training.epochs * n_steps))
            for group in self._optimiser.param_groups:
                group["lr"] = rate
            losses.append(self._step(inputs, images.train_labels[batch], cells, dropped))
            if not math.isfinite(losses[-1]):
                raise RunError(
                    f"The loss of epoch {epoch} of {self._folder.path} is not finite after {step} steps; train anew "
                    f"with a smaller training.learning_rate than {training.learning_rate:g}"
                )
        seconds = time.perf_counter() - start
        return EpochRecord(epoch=epoch, loss=float(np.mean(losses)), learning_rate=rate, seconds=round(seconds, 3))

    def _step(self, inputs: Tensor, labels: Tensor, cells: np.random.Generator, dropped: np.random.Generator) -> float:
        """One step along the mean gradient of some architectures; their mean loss."""
        sampling, training = self._config.sampling, self._config.training
        self._optimiser.zero_grad(set_to_none=True)  # what no architecture uses neither moves nor decays
        total = 0.0
        for operations in drawn_cells(sampling.method, sampling.per_step, cells):
            network = self._supernet.network(operations).train()
            features = network.head(network.blocks(network.stem(inputs)))
            loss = F.cross_entropy(network.classifier(_dropped(features, training.dropout, dropped)), labels)
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

    def _save(self, epoch: int) -> None:
        weights = {f"{WEIGHTS}{name}": tensor for name, tensor in self._supernet.state_dict().items()}
        if epoch % self._config.checkpoints.every == 0 or epoch == self._config.training.epochs:
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


def _dropped(features: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """(n, channels) features of which a share is 0 and the others are larger, so that their mean stays."""
    if not share:
        return features
    kept = torch.as_tensor(rng.random(tuple(features.shape)) >= share, device=features.device)
    return features * kept / (1 - share)


@contextmanager
def _repeatable() -> Iterator[None]:
    """Convolutions of a GPU give the same sums each time."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield

"""Images to train and to validate on: dealt by class, standardised by what is trained on, shifted and mirrored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eznas.conditions.images import images_named, resized
from eznas.errors import BenchmarkError
from eznas.names import shown
from eznas.randomness import stream

N_CHANNELS: Final = 3


@dataclass(frozen=True, slots=True, eq=False)
class TrainingImages:
    """Images, each channel with mean 0 and standard deviation 1 over those that are trained on.

    Attributes:
        train, validation: (n, 3, height, width) float32; grey images are repeated.
        train_labels, validation_labels: (n,) int64.
        n_classes: that labels are of.
        digest: SHA-256 of all images and labels of the source.
    """

    train: Tensor
    train_labels: Tensor
    validation: Tensor
    validation_labels: Tensor
    n_classes: int
    digest: str

    def to(self, device: str) -> TrainingImages:
        """The same on another device."""
        return replace(
            self,
            train=self.train.to(device),
            train_labels=self.train_labels.to(device),
            validation=self.validation.to(device),
            validation_labels=self.validation_labels.to(device),
        )


def training_images(
    source: str, *, input_size: int, n_train: int = 0, seed: int = 0, data_dir: Path | None = None
) -> TrainingImages:
    """All images of a source, dealt into two parts.

    Args:
        source: as `eznas.conditions.images_named` takes it.
        input_size: height and width in pixels.
        n_train: images to train on, of each class its share; the others are validated on. 0 means two thirds.
        seed: of the deal, whose stream is ``training images``.
        data_dir: the folder of image files; None means ``EZNAS_DATA`` of the environment.

    Raises:
        BenchmarkError: if the source cannot be read, or has too few images.
    """
    found = images_named(source).load(data_dir)
    images, labels = found.everything
    n_train = n_train or len(images) * 2 // 3
    if not found.n_classes <= n_train < len(images):
        raise BenchmarkError(
            f"{shown(source)} has {len(images)} images of {found.n_classes} classes, of which {n_train} cannot be "
            "trained on and some others be validated on; choose --train between."
        )
    order = stream(seed, "training images").permutation(len(images))
    by_class = np.argsort(labels[order], kind="stable")  # within a class in drawn order
    places = np.empty(len(images))
    for label in range(found.n_classes):
        of_class = order[by_class][labels[order][by_class] == label]
        places[of_class] = (np.arange(len(of_class)) + 0.5) / max(len(of_class), 1)
    chosen = np.argsort(places, kind="stable")
    train, validation = np.sort(chosen[:n_train]), np.sort(chosen[n_train:])
    batch = resized(images.astype(np.float32), input_size)
    mean = batch[train].mean(dim=(0, 2, 3), keepdim=True)
    deviation = batch[train].std(dim=(0, 2, 3), keepdim=True).clamp_min(1e-6)
    batch = ((batch - mean) / deviation).expand(-1, N_CHANNELS, -1, -1)
    classes = torch.from_numpy(labels)
    return TrainingImages(
        batch[train].contiguous(), classes[train], batch[validation].contiguous(), classes[validation],
        found.n_classes, found.digest,
    )  # fmt: skip


def augmented(images: Tensor, rng: np.random.Generator, *, shift: int, flip: bool) -> Tensor:
    """(n, channels, height, width) images, each shifted and mirrored by a draw of its own.

    Args:
        images: of which none is changed.
        rng: of the draws.
        shift: most pixels by which an image is shifted; what is uncovered is 0.
        flip: whether every other image is mirrored.
    """
    n, _, height, width = images.shape
    if shift:
        right, down = (rng.integers(0, 2 * shift + 1, size=n) for _ in range(2))
        padded = F.pad(images, (shift,) * 4)
        rows = torch.as_tensor(down[:, None] + np.arange(height), device=images.device)
        columns = torch.as_tensor(right[:, None] + np.arange(width), device=images.device)
        which = torch.arange(n, device=images.device)[:, None, None]
        images = padded.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    if flip:
        mirrored = torch.as_tensor(rng.random(n) < 0.5, device=images.device)
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    return images.contiguous(memory_format=torch.channels_last)

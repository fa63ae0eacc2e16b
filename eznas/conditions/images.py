"""Batches of images for probing untrained networks: from a known set or the user's own.

The known sets are the rows of `IMAGE_SETS`: scikit-learn's embedded digits, and files of the user's data folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eznas.conditions.image_files import load_image_file
from eznas.conditions.image_set import ImageSet, LabelledImages
from eznas.conditions.own_images import own_images
from eznas.errors import BenchmarkError
from eznas.location import DATA_VARIABLE, data_folder
from eznas.names import nearest, shown

DIGITS: Final = "digits"
MAX_BATCH_BYTES: Final = 8 * 2**30
_VALUES_AT_ONCE: Final = 2**24  # large images are standardised and resized a few at a time


def _load_digits(data_dir: Path | None) -> LabelledImages:
    """1,797 grey images of 8x8, values 0..16."""
    del data_dir  # they are embedded
    from sklearn.datasets import load_digits  # slow to import, and needed only here

    digits = load_digits()
    return LabelledImages(digits.images[..., None].astype(np.uint8), digits.target.astype(np.int64), 10)


def _in_folder(name: str, file: str, *, n_classes: int, size: int) -> ImageSet:
    """Colour images in a file of the data folder."""

    def load(data_dir: Path | None) -> LabelledImages:
        folder = data_folder(data_dir)
        if folder is None:
            raise BenchmarkError(
                f"Images of {name!r} are read from a data folder, but none is named; set {DATA_VARIABLE} to one, or "
                f"use {DIGITS!r}."
            )
        return load_image_file(folder / file, n_classes)

    return ImageSet(name=name, n_classes=n_classes, channels=3, size=size, load=load, file=file)


IMAGE_SETS: Final[Mapping[str, ImageSet]] = MappingProxyType(
    {
        row.name: row
        for row in (
            ImageSet(name=DIGITS, n_classes=10, channels=1, size=8, load=_load_digits),
            _in_folder("cifar10", "cifar10_small.npz", n_classes=10, size=32),
            _in_folder("cifar100", "cifar100_small.npz", n_classes=100, size=32),
            _in_folder("imagenet16", "tinyimagenet16_120.npz", n_classes=120, size=16),
        )
    }
)
"""Every known set of images by name."""
REDUCED: Final[Mapping[str, str]] = MappingProxyType({"imagenet": "imagenet16"})
"""Data sets whose images are had in a smaller set of another name."""


def image_batch(
    source: str,
    *,
    batch_size: int,
    input_size: int,
    rng: np.random.Generator,
    channels: int = 3,
    n_classes: int | None = None,
    data_dir: Path | None = None,
) -> tuple[Tensor, Tensor]:
    """A batch of labelled images, drawn uniformly without replacement.

    Every channel is brought to mean 0 and standard deviation 1 over all images of the source, then the images are
    resized bilinearly (with antialiasing when they shrink).

    Args:
        source: a row of `IMAGE_SETS`, or your own images as in `images_named`.
        batch_size: number of images.
        input_size: height and width in pixels.
        rng: draws which images; nothing else is random.
        channels: 3, for which grey images are repeated, or 1, for which the colours are averaged.
        n_classes: only images of the classes 0 to n_classes - 1 are drawn, so that the labels fit a network of so many
            classes; None means all.
        data_dir: the folder of image files; None means ``EZNAS_DATA`` of the environment.

    Returns:
        (batch_size, channels, input_size, input_size) float32 images and (batch_size,) int64 labels.

    Raises:
        BenchmarkError: if the source is unknown, missing or damaged, it has fewer images, or a number is out of range.
    """
    found = images_named(source)
    for name, value in (("batch_size", batch_size), ("input_size", input_size), ("n_classes", n_classes)):
        if value is not None and value < 1:
            raise BenchmarkError(
                f"{name} of a batch of images must be at least 1, but it is {value}; give a larger one."
            )
    if channels not in (1, 3):
        raise BenchmarkError(
            f"channels of a batch of images must be 1 (grey) or 3 (colour), but it is {channels}; set probe.channels "
            "to one of them."
        )
    if 4 * batch_size * channels * input_size**2 > MAX_BATCH_BYTES:
        raise BenchmarkError(
            f"A batch of {batch_size} images of {channels}x{input_size}x{input_size} would take more than "
            f"{MAX_BATCH_BYTES} bytes; lower batch_size or input_size."
        )
    read = found.load(data_dir)
    images, labels = read.images, read.labels
    eligible = np.arange(len(images)) if n_classes is None else np.flatnonzero(labels < n_classes)
    if batch_size > len(eligible):
        limit = "" if len(eligible) == len(images) else f" of the first {n_classes} of its {read.n_classes} classes"
        raise BenchmarkError(
            f"A batch of {batch_size} images was asked of {shown(source)}, which has {len(eligible)}{limit}; ask for "
            "fewer."
        )
    if channels < images.shape[-1]:
        images = images.mean(axis=-1, keepdims=True, dtype=np.float32)
    mean, deviation = _channel_moments(images)
    chosen = eligible[rng.choice(len(eligible), size=batch_size, replace=False)]
    n_at_once = max(1, _VALUES_AT_ONCE // images[0].size)
    batch = torch.cat(
        [
            resized(((images[chosen[first : first + n_at_once]] - mean) / deviation).astype(np.float32), input_size)
            for first in range(0, batch_size, n_at_once)
        ]
    )
    batch = batch.expand(-1, channels, -1, -1).contiguous()  # grey images have one channel until here
    return batch, torch.from_numpy(labels[chosen])


def resized(images: npt.NDArray[np.float32], size: int) -> Tensor:
    """(n, height, width, channels) images -> (n, channels, size, size), bilinear, antialiased when they shrink."""
    batch = torch.from_numpy(images).permute(0, 3, 1, 2)
    if batch.shape[-2:] == (size, size):
        return batch
    return torch.nn.functional.interpolate(
        batch, (size, size), mode="bilinear", align_corners=False, antialias=size < max(batch.shape[-2:])
    )


def images_named(text: str) -> ImageSet:
    """The source of images that a text names.

    Args:
        text: a row of `IMAGE_SETS`; the path of an ``.npz`` file with arrays ``x`` and ``y`` (or ``x_train`` and
            ``y_train``); a folder with a subfolder of images for each class; or ``python:package.module:function``, a
            function without arguments that returns images and labels.

    Raises:
        BenchmarkError: if it is none of these.
    """
    found = IMAGE_SETS.get(text) or own_images(text)
    if found is None:
        close = nearest(text, IMAGE_SETS)
        hint = "" if close is None else f" (nearest is {close!r})"
        raise BenchmarkError(
            f"Images must come from one of {', '.join(IMAGE_SETS)}, an .npz file, a folder or "
            f"python:package.module:function, but {shown(text)} was asked{hint}; use one of them."
        )
    return found


def images_digest(source: str, data_dir: Path | None = None) -> str:
    """SHA-256 of all images and labels of a source, which are read for it.

    Raises:
        BenchmarkError: as `image_batch`.
    """
    return images_named(source).load(data_dir).digest


def default_image_source(dataset: str, data_dir: Path | None = None) -> str:
    """The source to probe networks of a data set with: its own images, or smaller ones of the same, if the
    data folder has them; else the digits.

    Raises:
        BenchmarkError: if a data folder is named but does not exist.
    """
    folder = data_folder(data_dir)
    dataset = REDUCED.get(dataset, dataset)
    known = IMAGE_SETS.get(dataset)
    has_file = folder is not None and known is not None and known.file is not None and (folder / known.file).is_file()
    return dataset if has_file else DIGITS


def _channel_moments(
    images: npt.NDArray[np.uint8] | npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and standard deviation of each channel over all pixels; of bytes exactly, from the histogram of values."""
    if images.dtype != np.uint8:
        deviations = images.std(axis=(0, 1, 2), dtype=np.float64)
        return images.mean(axis=(0, 1, 2), dtype=np.float64), np.maximum(deviations, 1e-6)
    levels = np.arange(256)
    means, spreads = [], []
    for channel in range(images.shape[-1]):
        share = np.bincount(images[..., channel].reshape(-1), minlength=256) / images[..., channel].size
        mean = share @ levels
        means.append(mean)
        spreads.append(np.sqrt(share @ (levels - mean) ** 2))
    return np.array(means), np.maximum(np.array(spreads), 1e-6)  # a constant channel becomes 0

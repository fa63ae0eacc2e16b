"""Batches of images for probing untrained networks: from the user's data folder, or scikit-learn's embedded digits."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eznas.errors import BenchmarkError
from eznas.location import DATA_VARIABLE, data_folder

DIGITS: Final = "digits"
N_CLASSES: Final[Mapping[str, int]] = MappingProxyType({DIGITS: 10, "cifar10": 10, "cifar100": 100, "imagenet16": 120})
IMAGE_FILES: Final[Mapping[str, str]] = MappingProxyType(
    {"cifar10": "cifar10_small.npz", "cifar100": "cifar100_small.npz", "imagenet16": "tinyimagenet16_120.npz"}
)


def image_batch(
    source: str, *, batch_size: int, input_size: int, rng: np.random.Generator, data_dir: Path | None = None
) -> tuple[Tensor, Tensor]:
    """A batch of labelled images, drawn uniformly without replacement.

    Every channel is brought to mean 0 and standard deviation 1 over all images of the source, then the images are
    resized bilinearly (with antialiasing when they shrink).

    Args:
        source: ``"digits"`` (1,797 grey images of 8x8, repeated to three channels) or a data set of `IMAGE_FILES`.
        batch_size: number of images.
        input_size: height and width in pixels.
        rng: draws which images; nothing else is random.
        data_dir: the folder of image files; None means ``EZNAS_DATA`` of the environment.

    Returns:
        (batch_size, 3, input_size, input_size) float32 images and (batch_size,) int64 labels.

    Raises:
        BenchmarkError: if the source is unknown, its file is missing or damaged, or it has fewer images.
    """
    for name, value in (("batch_size", batch_size), ("input_size", input_size)):
        if value < 1:
            raise BenchmarkError(
                f"{name} of a batch of images must be at least 1, but it is {value}; give a larger one."
            )
    images, labels = _load(source, data_dir)
    if batch_size > len(images):
        raise BenchmarkError(
            f"A batch of {batch_size} images was asked of {source!r}, which has {len(images)}; ask for fewer."
        )
    mean, deviation = _channel_moments(images)
    chosen = rng.choice(len(images), size=batch_size, replace=False)
    batch = torch.from_numpy(((images[chosen] - mean) / deviation).astype(np.float32)).permute(0, 3, 1, 2)
    if batch.shape[-2:] != (input_size, input_size):
        batch = torch.nn.functional.interpolate(
            batch,
            (input_size, input_size),
            mode="bilinear",
            align_corners=False,
            antialias=input_size < batch.shape[-1],
        )
    batch = batch.expand(-1, 3, -1, -1).contiguous()  # grey images have one channel until here
    return batch, torch.from_numpy(labels[chosen].astype(np.int64))


def default_image_source(dataset: str, data_dir: Path | None = None) -> str:
    """The source to probe networks of a data set with: its own images if the data folder has them, else the digits.

    Raises:
        BenchmarkError: if the data set is unknown, or a data folder is named but does not exist.
    """
    _check_known(dataset)
    folder = data_folder(data_dir)
    return (
        dataset
        if folder is not None and dataset in IMAGE_FILES and (folder / IMAGE_FILES[dataset]).is_file()
        else DIGITS
    )


def _check_known(source: str) -> None:
    if source not in N_CLASSES:
        raise BenchmarkError(
            f"Images must come from one of {', '.join(N_CLASSES)}, but {source!r} was asked; use one of them."
        )


def _load(source: str, data_dir: Path | None) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """(n, height, width, channels) uint8 images, one or three channels, and (n,) labels."""
    _check_known(source)
    if source == DIGITS:
        return _load_digits()
    folder = data_folder(data_dir)
    if folder is None:
        raise BenchmarkError(
            f"Images of {source!r} are read from a data folder, but none is named; set {DATA_VARIABLE} to one, or use "
            f"{DIGITS!r}."
        )
    return load_image_file(folder / IMAGE_FILES[source], N_CLASSES[source])


def _load_digits() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    from sklearn.datasets import load_digits  # slow to import, and needed only here

    digits = load_digits()
    return digits.images[..., None].astype(np.uint8), digits.target.astype(np.int64)  # values 0..16


def load_image_file(path: Path, n_classes: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images and labels of one ``.npz`` file: arrays ``x_train`` and ``y_train``, or ``x`` and ``y``.

    Returns:
        (n, height, width, 3) uint8 images and (n,) int64 labels in ``[0, n_classes)``.

    Raises:
        BenchmarkError: if the file is missing, damaged or holds something else.
    """
    if not path.is_file():
        raise BenchmarkError(
            f"The data folder {str(path.parent)!r} lacks {path.name}; put the images there, or use {DIGITS!r}."
        )
    try:
        with np.load(path, allow_pickle=False) as arrays:
            suffix = "_train" if "x_train" in arrays else ""
            images, labels = arrays[f"x{suffix}"], arrays[f"y{suffix}"]
    except (OSError, EOFError, KeyError, ValueError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise BenchmarkError(
            f"{path} cannot be read as an .npz file with arrays x_train and y_train, or x and y ({error}); "
            "replace it by an intact copy."
        ) from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or labels.shape != images.shape[:1]:
        raise BenchmarkError(
            f"{path} must hold uint8 images of shape (n, height, width, 3) and n labels, but it holds {images.dtype} "
            f"{images.shape} and labels {labels.shape}; convert it."
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.min(initial=0) < 0 or labels.max(initial=0) >= n_classes:
        raise BenchmarkError(
            f"The labels in {path} must be integers in 0..{n_classes - 1}, but some are not; convert it."
        )
    return images, labels.astype(np.int64)


def _channel_moments(images: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and standard deviation of each channel over all pixels, exactly, from the histogram of values."""
    levels = np.arange(256)
    means, deviations = [], []
    for channel in range(images.shape[-1]):
        share = np.bincount(images[..., channel].reshape(-1), minlength=256) / images[..., channel].size
        mean = share @ levels
        means.append(mean)
        deviations.append(np.sqrt(share @ (levels - mean) ** 2))
    return np.array(means), np.maximum(np.array(deviations), 1e-6)  # a constant channel becomes 0

"""Labelled images, and the declaration of a set of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImages:
    """Images as they are stored, and their classes.

    Attributes:
        images: (n, height, width, channels) uint8 or float32, one or three channels.
        labels: (n,) int64 in ``[0, n_classes)``.
        n_classes: number of classes.
        others: images and labels that the source keeps apart as test images, alike in form; networks are never probed
            with them.
    """

    images: npt.NDArray[np.uint8] | npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    n_classes: int
    others: LabelledImages | None = None

    @property
    def everything(self) -> tuple[npt.NDArray[np.uint8] | npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """All images and labels, the others last."""
        if self.others is None:
            return self.images, self.labels
        return np.concatenate([self.images, self.others.images]), np.concatenate([self.labels, self.others.labels])

    @property
    def digest(self) -> str:
        """SHA-256 of type, shape and values: equal for equal images and labels."""
        found = hashlib.sha256()
        for array in (self.images, self.labels):
            found.update(f"{array.dtype.str}{array.shape}".encode())
            found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """A source of images.

    Attributes:
        name: as settings name it.
        n_classes: number of classes; None if it is known only when the images are read.
        channels: likewise.
        size: height and width in pixels; likewise, and None where they differ.
        load: reads all images, from a data folder where they are in one (None: that of the environment).
        file: in the data folder; None if they come from elsewhere.
    """

    name: str
    n_classes: int | None
    channels: int | None
    size: int | None
    load: Callable[[Path | None], LabelledImages]
    file: str | None = None

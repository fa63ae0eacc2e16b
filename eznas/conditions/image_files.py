"""Image sets in NumPy's ``.npz`` files: nothing is unpickled, and sizes are checked before memory is taken.

An ``.npz`` file is a zip archive of arrays, each behind a header that states its type and shape. Both are read first;
what is encrypted, packed in another way than `numpy.savez` packs, larger than a limit or shorter than it states is
refused.
"""

from __future__ import annotations

import math
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from eznas.conditions.image_set import LabelledImages
from eznas.errors import BenchmarkError
from eznas.files import is_file
from eznas.names import one_line

MAX_BYTES: Final = 2**30
"""Largest array that is read."""
MAX_CLASSES: Final = 1_000_000
MAX_VALUE: Final = 1_000.0
"""Largest magnitude of a floating-point pixel; their unit does not matter, because each channel is standardised."""

_PACKED: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_PROTECTED: Final = 0x1 | 0x20 | 0x40  # flags of a zip entry: encrypted, patched, strongly encrypted
_READ_HEADER: Final = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def load_image_file(path: Path, n_classes: int) -> LabelledImages:
    """Colour images and labels of one ``.npz`` file of a data folder: ``x_train`` and ``y_train``, or ``x`` and ``y``.

    Args:
        path: of the file.
        n_classes: that the labels must be of.

    Returns:
        (n, height, width, 3) uint8 images and (n,) labels in ``[0, n_classes)``.

    Raises:
        BenchmarkError: if the file is missing, damaged or holds something else.
    """
    if not is_file(path):
        raise BenchmarkError(
            f"The data folder {str(path.parent)!r} lacks {path.name}; put the images there, or use 'digits'."
        )
    (images, labels), *others = _read(path)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or labels.shape != images.shape[:1]:
        raise BenchmarkError(
            f"{path} must hold uint8 images of shape (n, height, width, 3) and n labels, but it holds {images.dtype} "
            f"{images.shape} and labels {labels.shape}; convert it."
        )
    found = checked_images(images, labels, str(path), n_classes)
    return replace(found, others=checked_images(*others[0], f"{path} (test)", n_classes)) if others else found


def load_own_file(path: Path) -> LabelledImages:
    """Images and labels of an ``.npz`` file of one's own: ``x_train`` and ``y_train``, or ``x`` and ``y``.

    Images are (n, height, width) for grey ones or (n, height, width, channels) with 1 or 3 channels, uint8 or floating
    point within ``[-MAX_VALUE, MAX_VALUE]``; labels are integers from 0, whose largest gives the number of classes.

    Raises:
        BenchmarkError: if the file is missing, damaged or holds something else.
    """
    if not is_file(path):
        raise BenchmarkError(f"There is no file of images at {path}; name an .npz file.")
    read, *_ = _read(path)
    return checked_images(*read, str(path))


def checked_images(
    images: npt.NDArray[Any], labels: npt.NDArray[Any], where: str, n_classes: int | None = None
) -> LabelledImages:
    """Arrays as labelled images.

    Args:
        images: (n, height, width) or (n, height, width, 1 or 3), uint8 or floating point.
        labels: (n,) or (n, 1) integers.
        where: they come from, as the beginning of a sentence.
        n_classes: that the labels must be of; None means one more than the largest.

    Raises:
        BenchmarkError: if they are anything else.
    """
    if images.ndim == 3:
        images = images[..., None]
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    is_float = np.issubdtype(images.dtype, np.floating)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not (images.dtype == np.uint8 or is_float):
        raise BenchmarkError(
            f"{where} must hold uint8 or floating-point images of shape (n, height, width) or (n, height, width, 1 or "
            f"3), but it holds {images.dtype} {images.shape}; convert them, with the channels last."
        )
    if labels.shape != images.shape[:1]:
        raise BenchmarkError(
            f"{where} must hold one label for each image, but it holds {len(images)} images and labels of shape "
            f"{labels.shape}; give one integer each."
        )
    if not images.size:
        raise BenchmarkError(f"{where} holds no pixels: its images have shape {images.shape}; give at least one image.")
    if is_float:
        images = images.astype(np.float32)
        if not np.all(np.abs(images) <= MAX_VALUE):
            raise BenchmarkError(
                f"Floating-point pixels in {where} must be finite and within -{MAX_VALUE:g}..{MAX_VALUE:g}, but some "
                "are not; rescale them, for example to 0..1."
            )
    top = MAX_CLASSES if n_classes is None else n_classes
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= top:
        raise BenchmarkError(f"The labels in {where} must be integers in 0..{top - 1}, but some are not; convert it.")
    found = labels.astype(np.int64)
    return LabelledImages(images, found, int(found.max()) + 1 if n_classes is None else n_classes)


def _read(path: Path) -> list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """Images and labels, and the test images beside them if there are any."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            suffixes = ["_train" if "x_train.npy" in names else ""]
            suffixes += ["_test"] if {"x_test.npy", "y_test.npy"} <= set(names) else []
            return [(_array(archive, f"x{suffix}"), _array(archive, f"y{suffix}")) for suffix in suffixes]
    except Exception as error:  # a damaged archive may raise anything; the cause stays attached
        reason = one_line(error.args[0] if isinstance(error, KeyError) and error.args else error)
        raise BenchmarkError(
            f"{path} cannot be read as an .npz file with arrays x_train and y_train, or x and y "
            f"({reason or type(error).__name__}); replace it by an intact copy."
        ) from error


def _array(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    """One array of an archive; raises whatever says why not."""
    entry = archive.getinfo(f"{name}.npy")
    if entry.flag_bits & _PROTECTED:
        raise ValueError(f"{name} is encrypted or patched")
    if entry.compress_type not in _PACKED:
        raise ValueError(f"{name} is compressed in another way than numpy.savez does")
    with archive.open(entry) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in _READ_HEADER:
            raise ValueError(f"{name} has the unknown format version {version}")
        shape, is_fortran, dtype = _READ_HEADER[version](stream)
        if dtype.hasobject or dtype.fields is not None:
            raise ValueError(f"{name} holds Python objects or records, not numbers")
        n_bytes = math.prod(shape) * dtype.itemsize
        if any(length < 0 for length in shape) or n_bytes > MAX_BYTES:
            raise ValueError(f"{name} states {n_bytes} bytes, and at most {MAX_BYTES} are read")
        content = stream.read(n_bytes)
    if len(content) != n_bytes:
        raise ValueError(f"{name} states {n_bytes} bytes and has {len(content)}")
    return np.frombuffer(content, dtype=dtype).reshape(shape, order="F" if is_fortran else "C")

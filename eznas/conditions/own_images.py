"""Images of your own: an ``.npz`` file, a folder with a subfolder for each class, or a function that gives them."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from eznas.conditions.image_files import checked_images, load_own_file
from eznas.conditions.image_set import ImageSet, LabelledImages
from eznas.errors import BenchmarkError
from eznas.files import is_folder
from eznas.guests import guest
from eznas.names import one_line, shown

PREFIX: Final = "python:"
SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
"""Files of a folder that are read, in small or capital letters; others are passed over."""
MAX_IMAGES: Final = 20_000
MAX_FILE_BYTES: Final = 64 * 2**20
MAX_PIXELS: Final = 50_000_000
"""Of one image as it is stored."""
MAX_SIDE: Final = 128
"""Images of a folder are kept at the size of the smallest, and at no more than this in height and width."""

_MAX_PATH: Final = 4_000  # characters
_FORMATS: Final = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM", "TIFF")
_GREY: Final = frozenset(("1", "L", "LA", "I;16"))


def own_images(text: str) -> ImageSet | None:
    """The images that a text names: a path that ends in ``.npz``, a folder, or ``python:package.module:function``.

    Returns:
        Their declaration, which reads nothing before `load`; None if the text is none of these.
    """
    if text.startswith(PREFIX):
        load = partial(_from_function, text)
    elif not text or "\0" in text or len(text) > _MAX_PATH:
        return None
    elif text.lower().endswith(".npz"):
        load = partial(load_own_file, Path(text))
    elif is_folder(text):
        load = partial(load_folder, Path(text))
    else:
        return None
    return ImageSet(name=text, n_classes=None, channels=None, size=None, load=lambda _: load())


# A folder -------------------------------------------------------------------------------------------------------------


def load_folder(folder: Path) -> LabelledImages:
    """The images of a folder: each subfolder is a class, numbered from 0 in the order of their names.

    All are brought to one height and width, those of the smallest image and at most `MAX_SIDE`. They are grey if every
    one is, else in colour; transparency is dropped.

    Raises:
        BenchmarkError: if there is no class or no image, there are too many or too large ones, or one is damaged.
    """
    from PIL import Image  # slow to import, and needed only here

    classes = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    files = [
        (file, label)
        for label, each in enumerate(classes)
        for file in sorted(each.iterdir())
        if file.suffix.lower() in SUFFIXES and file.is_file() and not file.name.startswith(".")
    ]
    if not files or len(files) > MAX_IMAGES:
        raise BenchmarkError(
            f"The folder {str(folder)!r} must hold 1 to {MAX_IMAGES} images ({', '.join(SUFFIXES)}) in a subfolder for "
            f"each class, but it has {len(classes)} subfolders with {len(files)} images; sort them so."
        )

    def opened(file: Path) -> Image.Image:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"it is larger than {MAX_FILE_BYTES} bytes")
        image = Image.open(file, formats=_FORMATS)
        if not 0 < image.width * image.height <= MAX_PIXELS:
            raise ValueError(f"it is {image.width}x{image.height}, more than {MAX_PIXELS} pixels or none")
        return image

    def read(work: Callable[[Image.Image], Any], file: Path) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of Pillow, on what is refused here
                with opened(file) as image:
                    return work(image)
        except Exception as error:  # a damaged file may raise anything; the cause stays attached
            raise BenchmarkError(
                f"The image {str(file)!r} cannot be read ({one_line(error) or type(error).__name__}); replace or "
                "remove it."
            ) from error

    kinds = [read(lambda image: (image.height, image.width, image.mode), file) for file, _ in files]
    height, width = (min(MAX_SIDE, *(kind[axis] for kind in kinds)) for axis in (0, 1))
    mode = "L" if all(kind[2] in _GREY for kind in kinds) else "RGB"

    def pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
        if image.mode == "I;16":  # conversion to 8 bits would clip
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        image = image.convert(mode)
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(image)

    images = np.stack([read(pixels, file) for file, _ in files])
    return checked_images(images, np.array([label for _, label in files]), str(folder), len(classes))


# A function -----------------------------------------------------------------------------------------------------------


def _from_function(text: str) -> LabelledImages:
    """What ``python:package.module:function`` gives, called without arguments: images and labels.

    Arrays or lists have the channels last; so may tensors, which may also be (n, channels, height, width). It must
    give the same images each time. Importing runs the module: name one you trust, as you would to Python itself.
    """
    function = _imported(text)
    try:
        with guest():
            given = tuple(function())
        images, labels = map(_as_array, given)
    except (Exception, SystemExit) as error:  # a foreign function may raise anything; the cause stays attached
        raise BenchmarkError(
            f"{shown(text)} must return (images, labels) as arrays, but it failed with {type(error).__name__}: "
            f"{one_line(error)}; correct that function."
        ) from error
    if images.ndim == 4 and images.shape[1] in (1, 3) and isinstance(given[0], torch.Tensor):
        images = np.moveaxis(images, 1, -1)
    return checked_images(images, labels, f"What {shown(text)} returns")


def _as_array(given: Any) -> npt.NDArray[Any]:
    return given.detach().cpu().numpy() if isinstance(given, torch.Tensor) else np.asarray(given)


def _imported(text: str) -> Callable[[], Any]:
    module, _, name = text.removeprefix(PREFIX).partition(":")
    if not name or not all(part.isidentifier() for part in [*module.split("."), name]):
        raise BenchmarkError(
            f"Images come from {PREFIX}package.module:function, but {shown(text)} was asked; name a module and a "
            "function in it."
        )
    here = os.getcwd()
    is_new = here not in sys.path  # as `python -m` has it: modules of the working folder can be imported
    if is_new:
        sys.path.insert(0, here)
    try:
        with guest():
            function: Callable[[], Any] = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:  # a foreign module may raise anything; the cause stays attached
        raise BenchmarkError(
            f"{shown(text)} cannot be imported ({type(error).__name__}: {one_line(error)}); run from the folder that "
            "holds it, or install it."
        ) from error
    finally:
        if is_new:
            sys.path.remove(here)
    if not callable(function):
        raise BenchmarkError(
            f"{shown(text)} must be a function that returns (images, labels), but it is a {type(function).__name__}; "
            "name a function."
        )
    return function

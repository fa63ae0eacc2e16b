"""Conditions: how networks are built and excited.

`images` gives the batches of images that excite them.
"""

from __future__ import annotations

from eznas.conditions.images import DIGITS, IMAGE_FILES, N_CLASSES, default_image_source, image_batch, load_image_file

__all__ = [
    "DIGITS", "IMAGE_FILES", "N_CLASSES", "default_image_source", "image_batch", "load_image_file",
]  # fmt: skip

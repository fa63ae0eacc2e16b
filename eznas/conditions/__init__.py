"""Conditions: how networks are built and excited.

`images` gives the batches of images that excite them: of the table `IMAGE_SETS`, or your own.
"""

from __future__ import annotations

from eznas.conditions.image_set import ImageSet, LabelledImages
from eznas.conditions.images import (
    DIGITS,
    IMAGE_SETS,
    default_image_source,
    image_batch,
    images_digest,
    images_named,
)

__all__ = [
    "DIGITS", "IMAGE_SETS", "ImageSet", "LabelledImages", "default_image_source", "image_batch", "images_digest",
    "images_named",
]  # fmt: skip

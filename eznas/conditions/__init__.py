"""Conditions: how networks are built and excited.

`Conditions` is the value; `images` gives the batches of images, of the table `IMAGE_SETS` or your own.
"""

from __future__ import annotations

from eznas.conditions.conditions import DEFAULT_UNITS, GIVEN, Batch, Conditions, Units, tensor_digest
from eznas.conditions.image_set import ImageSet, LabelledImages
from eznas.conditions.images import (
    DIGITS,
    IMAGE_SETS,
    REDUCED,
    default_image_source,
    image_batch,
    images_digest,
    images_named,
    resized,
)
from eznas.conditions.inputs import as_inputs, as_targets
from eznas.conditions.training_images import TrainingImages, augmented, training_images

__all__ = [
    "DEFAULT_UNITS", "DIGITS", "GIVEN", "IMAGE_SETS", "REDUCED", "Batch", "Conditions", "ImageSet", "LabelledImages",
    "TrainingImages", "Units", "as_inputs", "as_targets", "augmented", "default_image_source", "image_batch",
    "images_digest", "images_named", "resized", "tensor_digest", "training_images",
]  # fmt: skip

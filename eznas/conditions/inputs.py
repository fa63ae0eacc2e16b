"""What people hand over as images and classes, as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from eznas.errors import ConfigError

_PIXELS = (torch.bool, torch.uint8, torch.int8, torch.uint16, torch.int16)


def as_inputs(inputs: Any) -> Tensor:
    """A batch of images as a tensor: a NumPy array, a list or a tensor; numbers in double precision become single.

    Raises:
        ConfigError: if it is none of these, or holds pixels (``uint8``) or truth values, which no network is made for.
    """
    tensor = _as_tensor(inputs, "images", "(batch, channels, height, width)")
    if tensor.dtype in _PIXELS:
        raise ConfigError(
            f"The images must be floating point numbers, normalised per channel as for training, got {tensor.dtype}; "
            "pass (images / 255 - mean) / deviation of pixels, or images.float()"
        )
    return tensor.float() if tensor.dtype == torch.float64 and not isinstance(inputs, Tensor) else tensor


def as_targets(targets: Any) -> Tensor | None:
    """The class of each image as a tensor: a NumPy array, a list or a tensor of whole numbers; None stays None.

    Raises:
        ConfigError: if it is none of these.
    """
    if targets is None:
        return None
    return _as_tensor(targets, "classes", "(batch,) whole numbers")


def _as_tensor(value: Any, what: str, expected: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    try:
        if isinstance(value, list | tuple) and value and all(isinstance(item, Tensor) for item in value):
            return torch.stack(tuple(value))
        array = np.array(value)  # a copy: torch warns of arrays that cannot be written
        if array.dtype.kind not in "fiub":
            raise ValueError(f"its type is {array.dtype}")
        return torch.from_numpy(np.ascontiguousarray(array))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"The {what} must be a tensor or an array of shape {expected}, got {type(value).__name__} ({error}); pass "
            "torch.as_tensor of them"
        ) from None

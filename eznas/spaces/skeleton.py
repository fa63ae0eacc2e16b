"""What surrounds the searched cell of a network: how often it is repeated, how wide, for how many classes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from eznas.errors import ArchitectureError

N_STAGES: Final = 3
"""Of every search space here: each stage has twice the channels and half the resolution of the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skeleton:
    """What surrounds the cell.

    The defaults are NAS-Bench-201's CIFAR-10 networks; smaller ones rank almost as well and cost a fraction. Every
    search space names its own full skeleton in `eznas.spaces.SPACES`.

    Attributes:
        cells_per_stage: cells in each of the three stages: 5 in NAS-Bench-201, 3 in NAS-Bench-101; of a DARTS network
            the normal cells, 2 in NAS-Bench-301 (8 cells in all, two of them reduce).
        channels: channels of the first stage: 16, 128, 32; the next stages have twice and four times as many.
        n_classes: logits (10; 100 for CIFAR-100, 120 for ImageNet16-120).

    Raises:
        ArchitectureError: if a field is not an integer of at least 1.
    """

    cells_per_stage: int = 5
    channels: int = 16
    n_classes: int = 10

    def __post_init__(self) -> None:
        for field in fields(self):
            check_positive(f"Skeleton.{field.name}", getattr(self, field.name))

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Channels of the three stages."""
        return tuple(self.channels * 2**stage for stage in range(N_STAGES))


def check_halved_twice(what: str, input_size: int) -> None:
    """Raises `ArchitectureError` unless images of this size can be halved exactly between the three stages."""
    check_positive(f"The input size of {what}", input_size)
    if input_size % 4:
        raise ArchitectureError(
            f"The input size of {what} must be a multiple of 4, because it is halved twice, but it is "
            f"{input_size}; use {input_size + 4 - input_size % 4}."
        )


def check_positive(name: str, value: object) -> None:
    """Raises `ArchitectureError` unless `value` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ArchitectureError(f"{name} must be an integer of at least 1, but it is {value!r}; give a whole number.")

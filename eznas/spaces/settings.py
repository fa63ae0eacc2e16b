"""The settings of networks: what each search space must know, beside the architecture, to build one."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from eznas.errors import ArchitectureError
from eznas.forms import Form
from eznas.spaces.initialise import Scheme

N_STAGES: Final = 3
"""Of every cell-based search space here: each stage has twice the channels and half the resolution of the last."""
KEEP: Final = "keep"
"""In place of a scheme of initialisation: the parameters that networks come with."""
Classes = Annotated[int, Field(strict=True, ge=1, le=100_000)]
"""Logits of a network."""


class SpaceSettings(Form):
    """How networks of a search space are built. Every space has its own; the field ``space`` tells them apart.

    Raises:
        pydantic.ValidationError: if a field is unknown or has a value it cannot have.
    """

    space: str
    """The search space; that of the benchmark if not given."""
    scheme: Scheme | Literal["keep"] = KEEP
    """How parameters are drawn; ``"keep"``: networks have them already."""


class CellSettings(SpaceSettings):
    """What surrounds a searched cell, and how the network is initialised.

    The defaults are a reduced skeleton, which keeps the ranking at a fraction of the cost; the benchmark's own networks
    are `SearchSpace.full`.
    """

    cells_per_stage: Annotated[int, Field(strict=True, ge=1, le=100)] = 1
    """Cells in each of the three stages: 5 in NAS-Bench-201, 3 in NAS-Bench-101; of a DARTS network the normal cells, 2
    in NAS-Bench-301 (8 cells in all, two of them reduce)."""
    channels: Annotated[int, Field(strict=True, ge=1, le=2_000)] = 16
    """Of the first stage: 16, 128, 32 in these benchmarks; the next stages have twice and four times as many."""
    n_classes: Classes = 10
    """Logits: 10 of CIFAR-10, 100 of CIFAR-100, 120 of ImageNet16-120."""
    scheme: Scheme = "eznas"
    """Initialisation: of the EZNAS release (Kaiming normal, fan out), or PyTorch's own."""

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Channels of the three stages."""
        return tuple(self.channels * 2**stage for stage in range(N_STAGES))


def check_halved_twice(what: str, input_size: int) -> None:
    """Refuse image sizes that cannot be halved exactly between the three stages.

    Raises:
        ArchitectureError: if `input_size` is not a positive multiple of 4.
    """
    check_halved(what, input_size, 2)


def check_halved(what: str, input_size: int, times: int) -> None:
    """Refuse image sizes that cannot be halved exactly so often.

    Raises:
        ArchitectureError: if `input_size` is not a positive multiple of 2 to the power of `times`.
    """
    unit = 2**times
    if isinstance(input_size, bool) or not isinstance(input_size, int) or input_size < 1 or input_size % unit:
        remedy = input_size + unit - input_size % unit if isinstance(input_size, int) and input_size > 0 else 4 * unit
        often = {1: "once", 2: "twice"}.get(times, f"{times} times")
        raise ArchitectureError(
            f"The input size of {what} must be a multiple of {unit}, because it is halved {often}, but it is "
            f"{input_size!r}; use {remedy}."
        )

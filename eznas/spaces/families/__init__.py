"""A grammar of small networks, and families of them: ten kinds of blocks, each in stages of its own shape.

Generality is learnt from many spaces, not from many networks of one. The grammar describes plain, residual, dense,
inverted, branched, shuffled, mixed and searched networks (`description`), builds them (`blocks`, `network`), and a
family is a file of ranges over it (`family`).
"""

from __future__ import annotations

import re
from typing import Final, Literal

import numpy as np
from torch import nn

from eznas.errors import ArchitectureError
from eznas.names import shown
from eznas.randomness import stream
from eznas.spaces.architecture import Architecture, text_digest
from eznas.spaces.families.description import NAME, description, description_of
from eznas.spaces.families.family import EVERYTHING, Family, families, family_named, read_family
from eznas.spaces.families.network import Network
from eznas.spaces.initialise import Scheme
from eznas.spaces.notation import whole_number
from eznas.spaces.settings import Classes, SpaceSettings
from eznas.spaces.space import SearchSpace


class Settings(SpaceSettings):
    """The classes of a network of the grammar, and how it is initialised; all else the architecture says."""

    space: Literal["net"] = NAME
    n_classes: Classes = 10
    """Logits."""
    scheme: Scheme = "eznas"
    """Initialisation: of the EZNAS release (Kaiming normal, fan out), from which the shipped networks were trained, or
    PyTorch's own."""


FULL: Final = Settings()
"""As the shipped networks were trained."""


def named(text: str) -> tuple[Architecture, ...]:
    """The networks of ``random:N[:SEED]``, ``FAMILY:random:N[:SEED]``, or of descriptions separated by semicolons.

    Raises:
        ArchitectureError: if a part is none of these.
    """
    return tuple(dict.fromkeys(arch for part in text.split(";") for arch in _part(part.strip())))


def _part(text: str) -> tuple[Architecture, ...]:
    if "=" in text:
        return (description(text).arch,)
    name, _, numbers = text.rpartition("random:")
    if not text.startswith("random:") and not name.endswith(":"):
        raise ArchitectureError(
            f"Expected {NAME}:random:N, {NAME}:FAMILY:random:N, with or without a seed behind, or a description such "
            f"as {EXAMPLE}, got {shown(text)}"
        )
    n, seed = (whole_number(number, f"{NAME}:{text}") for number in (*numbers.split(":", 1), "0")[:2])
    name = name.removesuffix(":")
    return (family_named(name) if name else EVERYTHING).sample(stream(seed, "families", name), n)


EXAMPLE: Final = "plain/depth=1-1/width=8-16/kernel=3-3/groups=1/se=0/norm=batch/activation=relu/stem=conv3/down=stride"


def sample(rng: np.random.Generator, n: int) -> tuple[Architecture, ...]:
    """Distinct networks of all blocks, see `EVERYTHING`.

    Raises:
        ArchitectureError: if `n` is less than 1, or there are not so many.
    """
    return EVERYTHING.sample(rng, n)


def mutate(arch: Architecture, rng: np.random.Generator) -> Architecture:
    """A network that differs in one value; a family's own `Family.mutate` stays within it.

    Raises:
        ArchitectureError: if `arch` is none of the grammar.
    """
    return EVERYTHING.mutate(arch, rng)


def function(arch: Architecture) -> str:
    """The description: two different ones compute different things.

    Raises:
        ArchitectureError: if `arch` is none of the grammar.
    """
    return description_of(arch).text


def allocate(arch: Architecture, settings: Settings) -> nn.Module:
    """The network, in train mode, its parameters allocated but **not yet drawn**.

    Raises:
        ArchitectureError: if `arch` is none of the grammar.
    """
    return Network(description_of(arch), settings.n_classes)


def shape(arch: Architecture) -> dict[str, float]:
    """Mean channels of a block, the number of blocks, and pixels after the stem for each before it.

    Raises:
        ArchitectureError: if `arch` is not of the grammar.
    """
    described = description_of(arch)
    depths, widths = described.numbers("depth"), described.numbers("width")
    halved = re.search(r"(?:patch|s)(\d)$", described.one("stem"))
    return {
        "width": sum(d * w for d, w in zip(depths, widths, strict=True)) / sum(depths),
        "depth": sum(depths),
        "resolution": 1.0 if halved is None else 1 / int(halved[1]),
    }


SPACE: Final = SearchSpace(
    name=NAME,
    title="networks of a small grammar",
    forms=f"{NAME}:random:N[:SEED], {NAME}:FAMILY:random:N[:SEED] or {NAME}:DESCRIPTION[;...]",
    settings=Settings,
    full=FULL,
    named=named,
    sample=sample,
    mutate=mutate,
    function=function,
    allocate=allocate,
    digest=text_digest,
    shape=shape,
)

__all__ = [
    "EVERYTHING", "FULL", "NAME", "SPACE", "Family", "Settings", "allocate", "families", "family_named", "function",
    "mutate", "named", "read_family", "sample",
]  # fmt: skip

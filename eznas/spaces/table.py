"""The search spaces, and the way from a specification to architectures and from an architecture to its network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, Union

from pydantic import Field
from torch import nn

from eznas.errors import ArchitectureError
from eznas.names import nearest, one_line, shown, unknown
from eznas.spaces import darts, families, nb101, nb201, nds_cells, nds_resnets, own, sss
from eznas.spaces.architecture import Architecture
from eznas.spaces.settings import SpaceSettings
from eznas.spaces.space import SearchSpace

_ROWS: Final[tuple[SearchSpace[Any], ...]] = (
    nb201.SPACE, nb101.SPACE, sss.SPACE, darts.SPACE, *nds_cells.SPACES, *nds_resnets.SPACES, families.SPACE,
    own.SPACE,
)  # fmt: skip
SPACES: Final[Mapping[str, SearchSpace[Any]]] = MappingProxyType({space.name: space for space in _ROWS})
"""Every search space by name."""

if TYPE_CHECKING:
    SettingsUnion = SpaceSettings
else:
    _MODELS = tuple(row.settings for row in SPACES.values())
    SettingsUnion = Annotated[Union[_MODELS], Field(discriminator="space")]  # noqa: UP007 (of a tuple)
"""The settings of any search space, told apart by their field ``space``."""


def space_named(name: str) -> SearchSpace[Any]:
    """The search space of a name.

    Raises:
        ArchitectureError: if there is none.
    """
    if name not in SPACES:
        raise ArchitectureError(unknown("search space", name, SPACES))
    return SPACES[name]


def space_of(arch: Architecture) -> SearchSpace[Any]:
    """The search space of an architecture.

    Raises:
        ArchitectureError: if it is not one of `SPACES`.
    """
    return space_named(arch.space)


def index_of(arch: Architecture) -> int | None:
    """Position of an architecture in the official list of its space; None if there is no such list."""
    position = space_of(arch).index_of
    return None if position is None else position(arch)


def build_network(arch: Architecture, settings: SpaceSettings, *, seed: int) -> nn.Module:
    """A network at initialisation, see `SearchSpace.build`.

    Args:
        arch: of one of the search spaces in `SPACES`.
        settings: of that space.
        seed: any integer of at least 0.

    Raises:
        ArchitectureError: if the search space is unknown or the architecture is not in it.
    """
    return space_of(arch).build(arch, settings, seed)


# Specifications -------------------------------------------------------------------------------------------------------


def networks_named(spec: str) -> tuple[Architecture, ...]:
    """The architectures a specification names, each once.

    Args:
        spec: ``nb201:all``; ``nb201:random:N`` or ``nb201:random:N:SEED`` (distinct ones, as the space samples; so for
            every space but your own); ``nb201:3,10-12`` (official indices; so for ``sss``); the name of a space and
            texts separated by semicolons, in our form or one of those that other tools write; such a text alone where
            no other space has one like it; ``python:package.module:function`` for networks of your own, or one of
            them with ``#name``; or ``@FILE``, a text file with one of these per line (empty lines, and those that begin
            with ``#``, say nothing).

    Raises:
        ArchitectureError: if it names none.
    """
    spec = spec.strip()
    if spec.startswith("@"):
        return tuple(dict.fromkeys(arch for line in _lines(Path(spec[1:])) for arch in networks_named(line)))
    for space in SPACES.values():
        if spec.startswith(space.begins):
            return space.named(spec)
    name, colon, rest = spec.partition(":")
    if name.strip() in SPACES and rest.strip():
        return SPACES[name.strip()].named(rest.strip())
    near = nearest(name, SPACES) if colon and name else None
    if near is not None:
        problem = f"{unknown('search space', name, SPACES) if near != name else 'nothing follows ' + shown(spec)}"
        raise ArchitectureError(f"--networks: {problem}; write {SPACES[near].forms}")
    known = nb201.remark(spec)
    if known:
        raise ArchitectureError(f"--networks: {shown(spec)}{known}")
    if colon and all(part.isidentifier() for part in (*name.split("."), rest)):
        raise ArchitectureError(
            f"--networks: there is no search space {shown(name)}; of your own, write {shown(f'{own.NAME}:{spec}')}"
        )
    others = ", ".join(name for name in SPACES if name not in (nb201.NAME, own.NAME))
    raise ArchitectureError(
        f"--networks takes {nb201.SPACE.forms}; NAME:random:N[:SEED] or NAME:TEXT of another search space ({others}); "
        f"{own.SPACE.forms}, or @FILE, got {shown(spec)}"
    )


def _lines(path: Path) -> list[str]:
    """What a file of specifications says."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ArchitectureError(
            f"--networks @{one_line(str(path), 200)} cannot be read: {reason}; name a text file of networks."
        ) from None
    found = [line for line in lines if line and not line.startswith("#")]
    if not found or any(line.startswith("@") for line in found):
        raise ArchitectureError(
            f"--networks @{one_line(str(path), 200)} must hold one specification of networks per line, and no other "
            f"@FILE, but it {'names another file' if found else 'holds none'}; correct it."
        )
    return found

"""The search spaces, and the way from an architecture to a network whose parameters depend on nothing but the seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from torch import nn

from eznas.errors import ArchitectureError
from eznas.randomness import torch_stream
from eznas.spaces import darts, nb101, nb201, own
from eznas.spaces.architecture import Architecture
from eznas.spaces.initialise import Scheme, initialise_
from eznas.spaces.skeleton import Skeleton


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """A family of architectures.

    Attributes:
        name: as specifications begin, before the colon.
        allocate: the network of an architecture around a skeleton.
        named: the architectures of what follows the colon in a specification.
        forms: what may follow it, for people.
        full_skeleton: of the networks whose accuracies a benchmark records; None if networks bring their own.
        index_of: position of an architecture in the official list; None without such a list.
        is_drawn: whether allocated networks have their parameters already and keep them.
    """

    name: str
    allocate: Callable[[Architecture, Skeleton], nn.Module]
    named: Callable[[str], tuple[Architecture, ...]]
    forms: str
    full_skeleton: Skeleton | None
    index_of: Callable[[Architecture], int] | None = None
    is_drawn: bool = False


SPACES: Final[Mapping[str, SearchSpace]] = MappingProxyType(
    {
        space.name: space
        for space in (
            SearchSpace(
                name=nb201.SPACE, allocate=nb201.allocate, named=nb201.named, full_skeleton=nb201.FULL_SKELETON,
                index_of=nb201.index_of, forms="nb201:all, nb201:random:N[:SEED] or nb201:INDEX,FROM-TO",
            ),
            SearchSpace(
                name=nb101.SPACE, allocate=nb101.allocate, named=nb101.named, full_skeleton=nb101.FULL_SKELETON,
                forms="nb101:MATRIX:OPERATIONS[;...]",
            ),
            SearchSpace(
                name=darts.SPACE, allocate=darts.allocate, named=darts.named, full_skeleton=darts.FULL_SKELETON,
                forms="darts:NORMAL/REDUCTION[;...]",
            ),
            SearchSpace(
                name=own.SPACE, allocate=own.allocate, named=own.named, full_skeleton=None, is_drawn=True,
                forms="python:package.module:function[#name]",
            ),
        )
    }
)  # fmt: skip
"""Every search space by name."""


def networks_named(spec: str) -> tuple[Architecture, ...]:
    """The architectures a specification names, each once.

    Args:
        spec: ``nb201:all``; ``nb201:random:N`` or ``nb201:random:N:SEED`` (uniform, without replacement);
            ``nb201:3,10-12`` (official indices); one text of a NAS-Bench-201 cell; ``nb101:`` or ``darts:`` with texts
            separated by semicolons; ``python:package.module:function`` for networks of your own, or one of them with
            ``#name``; or ``@FILE``, a text file with one of these per line (empty lines, and those that begin with
            ``#``, say nothing).

    Raises:
        ArchitectureError: if it names none.
    """
    if spec.startswith("@"):
        return tuple(dict.fromkeys(arch for line in _lines(Path(spec[1:])) for arch in networks_named(line)))
    if spec.startswith("|"):
        return (nb201.architecture(spec),)
    name, _, rest = spec.partition(":")
    if name not in SPACES or not rest:
        forms = ", ".join(space.forms for space in SPACES.values())
        raise ArchitectureError(f"--networks takes {forms}, a NAS-Bench-201 cell or @FILE, got {spec[:200]!r}")
    return SPACES[name].named(rest)


def _lines(path: Path) -> list[str]:
    """What a file of specifications says."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ArchitectureError(f"--networks @{path} cannot be read: {reason}; name a text file of networks.") from None
    found = [line for line in lines if line and not line.startswith("#")]
    if not found or any(line.startswith("@") for line in found):
        raise ArchitectureError(
            f"--networks @{path} must hold one specification of networks per line, and no other @FILE, but it "
            f"{'names another file' if found else 'holds none'}; correct it."
        )
    return found


def index_of(arch: Architecture) -> int | None:
    """Position of an architecture in the official list of its space; None if there is no such list."""
    position = SPACES[arch.space].index_of
    return None if position is None else position(arch)


def build_network(arch: Architecture, skeleton: Skeleton, *, scheme: Scheme = "eznas", seed: int) -> nn.Module:
    """A network at initialisation: on the CPU, float32, in train mode.

    Every architecture draws from the same stream of the same seed (common random numbers), which lowers the noise of
    comparing architectures. The global generators of torch, numpy and Python are neither used nor changed. Networks of
    your own are given as they are.

    Args:
        arch: of one of the search spaces in `SPACES`.
        skeleton: what surrounds the cell.
        scheme: distribution of the parameters, see `initialise_`.
        seed: any integer of at least 0.

    Raises:
        ArchitectureError: if the search space is unknown or the architecture is not in it.
    """
    space = SPACES.get(arch.space)
    if space is None:
        raise ArchitectureError(
            f"Architecture {arch.spec!r} is of the unknown search space {arch.space!r}; known spaces are "
            f"{', '.join(SPACES)}."
        )
    network = space.allocate(arch, skeleton)
    if not space.is_drawn:
        initialise_(network, scheme, torch_stream(seed, "initialisation"))
    return network

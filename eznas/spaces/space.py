"""The search space: one frozen value of functions that say everything about a family of networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from torch import nn

from eznas.randomness import torch_stream
from eznas.spaces.architecture import Architecture
from eznas.spaces.copies import with_shapes
from eznas.spaces.initialise import initialise_
from eznas.spaces.settings import KEEP, SpaceSettings

S = TypeVar("S", bound=SpaceSettings)


@dataclass(frozen=True, slots=True)
class Counts:
    """Closed-form sizes of a network.

    Attributes:
        parameters: trainable ones, batch normalisation included.
        macs: multiply-accumulates of one image: convolutions and the classifier with its bias.
    """

    parameters: int
    macs: int


def no_level(arch: Architecture) -> None:
    """Of a space without a natural level of complexity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace(Generic[S]):
    """A family of networks. It knows nothing of accuracies.

    Every function raises `ArchitectureError`, one sentence, for an architecture or a text that is not of the family.
    A space travels to another process by pickle if its functions do, as functions of a module and methods of plain
    objects do.

    Attributes:
        name: as specifications begin, before the colon, and as `Architecture.space` says.
        title: for people.
        forms: what a specification of its networks may be, for people.
        settings: the model of its settings; their field ``space`` is `name`.
        full: settings of the networks whose accuracies benchmarks record; None if there are none.
        named: the architectures of what follows the colon in a specification, each once; the ``spec`` of an
            architecture of the family names that architecture.
        sample: (rng, n) -> n architectures, distinct; the module says from which distribution.
        mutate: (arch, rng) -> an architecture one edit away.
        function: equal text for architectures that compute the same up to the values of their parameters.
        allocate: the network, on the CPU, float32, in train mode, its parameters not yet drawn unless the settings
            have them as given.
        digest: 32 hexadecimal digits that name the architecture by its content, equal on every machine.
        counts: (arch, settings, input_size) -> closed-form sizes; None if networks must be built to be counted.
        level: level of complexity, a small integer; None without a natural one.
        index_of: position in the official list; None without such a list.
        places: what stands in each place of an architecture that an edit changes, as texts; two architectures that
            differ in one place are one edit apart. None of a space whose edits are not told apart.
        shape: width, depth and resolution of an architecture, those of them that the space varies; None of a space
            that varies none.
        begins: how a text of an architecture may begin that stands without the name of its space.
    """

    name: str
    title: str
    forms: str
    settings: type[S]
    full: S | None
    named: Callable[[str], tuple[Architecture, ...]]
    sample: Callable[[np.random.Generator, int], tuple[Architecture, ...]]
    mutate: Callable[[Architecture, np.random.Generator], Architecture]
    function: Callable[[Architecture], str]
    allocate: Callable[[Architecture, S], nn.Module]
    digest: Callable[[Architecture], str]
    counts: Callable[[Architecture, S, int], Counts] | None = None
    level: Callable[[Architecture], int | None] = no_level
    index_of: Callable[[Architecture], int] | None = None
    places: Callable[[Architecture], tuple[str, ...]] | None = None
    shape: Callable[[Architecture], Mapping[str, float]] | None = None
    begins: tuple[str, ...] = ()

    def build(self, arch: Architecture, settings: S, seed: int, image: tuple[int, int, int] | None = None) -> nn.Module:
        """The network at initialisation.

        Every architecture draws from the same stream of a seed (common random numbers), which lowers the noise of
        comparing architectures. No global generator is used or changed.

        Args:
            arch: of this space.
            settings: of this space.
            seed: any integer of at least 0.
            image: (channels, height, width) of an image, which gives lazy layers their shape.

        Raises:
            ArchitectureError: if `arch` is not of this space, or it has lazy layers and is not run on such images.
        """
        network = self.allocate(arch, settings)
        if image is not None:
            network = with_shapes(network, image, seed)
        if settings.scheme != KEEP:
            initialise_(network, settings.scheme, torch_stream(seed, "initialisation"))
        return network

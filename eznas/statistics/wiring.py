"""Which layers of a network feed which, and the role of each: read off the tensors of one forward pass.

A layer is one call of a convolution or a linear layer. Of every tensor it is known which layers it comes from with no
other layer between, and so of every layer what feeds it, and of every sum what is added. Each layer has one role, the
first of these that fits it:

* ``head``: no other layer lies between it and the logits;
* ``stem``: no other layer lies between the images and it;
* ``shortcut``: a projection (a convolution of kernel size 1, to other channels or another resolution) that leads to
  nothing but a sum, beside a way from the same place to that sum which takes two layers or more;
* ``depthwise``: a convolution with a filter of its own for each of several channels;
* ``pointwise``: a convolution of kernel size 1, or a linear layer that sees one position of several at a time;
* ``plain``: any other.

This module needs nothing but torch and the standard library, because exported proxies carry its source with them.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

ROLES = ("stem", "shortcut", "depthwise", "pointwise", "head", "plain")
IMAGES = -1
"""In place of a layer: the images themselves."""


@dataclass(frozen=True)
class Origin:
    """Where a tensor comes from.

    Attributes:
        layers: the layers it comes from with no other layer between, by number; `IMAGES` for the images.
        unadded: those of them from which it comes without a sum between.
        activations: the number of the last activation it comes from with no layer between, by the shape of its input.
    """

    layers: frozenset[int] = frozenset()
    unadded: frozenset[int] = frozenset()
    activations: Mapping[tuple[int, ...], int] = field(default_factory=dict)


NOWHERE = Origin()
"""Of parameters, constants and whatever is made of them alone."""


@dataclass(frozen=True)
class Wire:
    """What is known of one layer without what it computes.

    Attributes:
        feeds: the layers that feed it.
        is_depthwise: see the module.
        is_pointwise: see the module.
        is_projection: whether it is a pointwise convolution to other channels or another resolution.
    """

    feeds: frozenset[int]
    is_depthwise: bool
    is_pointwise: bool
    is_projection: bool


class Wiring:
    """Follows the tensors of one forward pass from layer to layer; keeps none of them alive.

    Args:
        images: what the network is given.
    """

    def __init__(self, images: Tensor) -> None:
        self._origins: dict[int, tuple[weakref.ref[Tensor], Origin]] = {}
        self._wires: list[Wire] = []
        self._sums: list[tuple[Origin, ...]] = []  # where what is added comes from
        self._leading_on: set[int] = set()  # to a layer without a sum between
        self.note(images, Origin(frozenset((IMAGES,))))

    def note(self, value: Any, origin: Origin) -> None:
        """Remembers where a tensor, or each of several in a tuple or list, comes from."""
        for tensor in tensors_in((value,)):
            self._origins[id(tensor)] = weakref.ref(tensor), origin

    def origin(self, *values: Any) -> Origin:
        """Where values come from together: tensors, also in tuples, lists and dictionaries, among anything else."""
        found = [origin for tensor in tensors_in(values) if (origin := self._of(tensor)) is not NOWHERE]
        if len(found) < 2:
            return found[0] if found else NOWHERE
        activations: dict[tuple[int, ...], int] = {}
        for origin in found:
            for shape, number in origin.activations.items():
                activations[shape] = max(number, activations.get(shape, number))
        layers, unadded = (frozenset().union(*(getattr(o, name) for o in found)) for name in ("layers", "unadded"))
        return Origin(layers, unadded, activations)

    def added(self, operands: Iterable[Any], result: Any) -> None:
        """Remembers that tensors are added."""
        origins = tuple(origin for one in tensors_in(operands) if (origin := self._of(one)) is not NOWHERE)
        if len(origins) > 1:
            self._sums.append(origins)
            self.note(result, replace(self._of(result), unadded=frozenset()))

    def layer(self, source: Tensor, result: Tensor, wire: Wire) -> int:
        """The number of a layer that is called now, and takes and gives these tensors."""
        number = len(self._wires)
        self._wires.append(wire)
        self._leading_on |= self._of(source).unadded
        self.note(result, Origin(frozenset((number,)), frozenset((number,))) if wire.feeds else NOWHERE)
        return number

    def roles(self, logits: Tensor) -> list[str]:
        """The role of every layer, in order of execution."""
        heads = self._of(logits).layers
        shortcuts = self._shortcuts()
        found = []
        for number, wire in enumerate(self._wires):
            fitting = (
                ("head", number in heads),
                ("stem", IMAGES in wire.feeds),
                ("shortcut", number in shortcuts),
                ("depthwise", wire.is_depthwise),
                ("pointwise", wire.is_pointwise),
            )
            found.append(next((role for role, fits in fitting if fits), "plain"))
        return found

    def sees_images(self, number: int) -> bool:
        """Whether the images reach a layer at all."""
        return bool(self._wires[number].feeds)

    def _of(self, tensor: Tensor) -> Origin:
        reference, origin = self._origins.get(id(tensor), (None, NOWHERE))
        return origin if reference is not None and reference() is tensor else NOWHERE

    def _shortcuts(self) -> set[int]:
        projections = {number for number, wire in enumerate(self._wires) if wire.is_projection} - self._leading_on
        found: set[int] = set()
        for operands in self._sums:
            for place, operand in enumerate(operands):
                mine = operand.layers
                if operand.unadded != mine or not mine <= projections:
                    continue
                forks = {self._wires[number].feeds for number in mine}
                others = frozenset().union(*(other.layers for other in (*operands[:place], *operands[place + 1 :])))
                before = frozenset().union(*(self._before(number) for number in others - mine if number != IMAGES))
                if any(self._wires[number].feeds in forks for number in before):
                    found |= mine
        return found

    def _before(self, number: int) -> frozenset[int]:
        """The layers from which a way leads to a layer, without itself."""
        found: set[int] = set()
        pending = list(self._wires[number].feeds)
        while pending:
            one = pending.pop()
            if one != IMAGES and one not in found:
                found.add(one)
                pending.extend(self._wires[one].feeds)
        return frozenset(found)


def tensors_in(values: Iterable[Any]) -> Iterator[Tensor]:
    """Every tensor among some values, in tuples, lists and mappings too."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from tensors_in(value)
        elif isinstance(value, dict):
            yield from tensors_in(value.values())

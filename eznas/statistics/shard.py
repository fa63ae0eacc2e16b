"""Layers of several networks, packed by shape so that all of one shape are evaluated as one tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eznas.errors import CaptureError
from eznas.statistics.capture import NetworkStatistics

Shapes = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class ShapeGroup:
    """The layers of a shard whose statistics have the same shapes.

    Attributes:
        rows: (n_layers_in_group,) int64, ascending: the position of each layer in the shard.
        tensors: for each statistic a contiguous (n_layers_in_group, ...) tensor, of the type it is stored in.
    """

    rows: Tensor
    tensors: Mapping[str, Tensor]

    @property
    def n_layers(self) -> int:
        return len(self.rows)

    def values(self, name: str, layers: slice | int) -> Tensor:
        """A statistic of some layers as programs read it: what is stored in a shorter type, in single precision."""
        stored = self.tensors[name][layers]
        return stored.float() if stored.element_size() < torch.float32.itemsize else stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """The statistics of `n_networks` networks. A layer is known by its position: networks in order, then units.

    Attributes:
        n_networks: number of networks.
        layer_network: (n_layers,) int64, ascending: the network of each layer.
        layer_depth: (n_layers,) int64: the position of the layer's unit in its network, from 0.
        groups: every layer is in exactly one group.
        quantities: for each quantity of a network an (n_networks,) float64 tensor; of ``same_class`` an (n_networks,
            batch, batch) one.
    """

    n_networks: int
    layer_network: Tensor
    layer_depth: Tensor
    groups: tuple[ShapeGroup, ...]
    quantities: Mapping[str, Tensor]

    @property
    def n_layers(self) -> int:
        return len(self.layer_network)

    @property
    def statistics(self) -> tuple[str, ...]:
        """The names of the statistics, the same for every layer."""
        return tuple(self.groups[0].tensors) if self.groups else ()

    @property
    def nbytes(self) -> int:
        """Bytes of all statistics."""
        return sum(tensor.nbytes for group in self.groups for tensor in group.tensors.values())

    def of_networks(self, networks: Sequence[int]) -> Shard:
        """Some of its networks, in ascending order, as a shard of their own; the tensors are copied."""
        chosen = torch.tensor(networks, dtype=torch.int64, device=self.layer_network.device)
        rows = torch.isin(self.layer_network, chosen)
        place = torch.cumsum(rows, dim=0) - 1  # in the new shard, of each row that stays
        stay = [rows[group.rows] for group in self.groups]
        return Shard(
            n_networks=len(networks),
            layer_network=torch.searchsorted(chosen, self.layer_network[rows]),
            layer_depth=self.layer_depth[rows],
            groups=tuple(
                ShapeGroup(place[group.rows[here]], {name: tensor[here] for name, tensor in group.tensors.items()})
                for group, here in zip(self.groups, stay, strict=True)
                if bool(here.any())
            ),
            quantities={name: values[chosen] for name, values in self.quantities.items()},
        )

    def to(self, device: torch.device | str) -> Shard:
        """The same shard on `device`; tensors that are there already are shared."""
        return Shard(
            n_networks=self.n_networks,
            layer_network=self.layer_network.to(device),
            layer_depth=self.layer_depth.to(device),
            groups=tuple(
                ShapeGroup(group.rows.to(device), {name: t.to(device) for name, t in group.tensors.items()})
                for group in self.groups
            ),
            quantities={name: tensor.to(device) for name, tensor in self.quantities.items()},
        )


@dataclass(frozen=True, slots=True)
class Column:
    """One tensor of a shard before it is put together.

    Attributes:
        shape: of the whole.
        parts: tensors of one shape and one type, whose values one after another are those of the whole.
    """

    shape: tuple[int, ...]
    parts: tuple[Tensor, ...]

    @property
    def nbytes(self) -> int:
        """Of the whole."""
        return sum(part.nbytes for part in self.parts)

    def joined(self) -> Tensor:
        """The whole: a copy of `shape`."""
        return torch.stack(self.parts).reshape(self.shape)


def pack(networks: Sequence[NetworkStatistics]) -> Shard:
    """Packs the statistics of `networks`, in this order, into one shard; the tensors are copied.

    Groups are ordered by their shapes, so the order depends on nothing but the shapes that occur.

    Raises:
        CaptureError: if `networks` is empty, or two layers have different statistics, or two networks different
            quantities.
    """
    statistics = next((tuple(layer) for network in networks for layer in network.layers), ())
    tensors = {name: column.joined() for name, column in columns(networks).items()}
    return shard_of(tensors, n_networks=len(networks), statistics=statistics)


def columns(networks: Sequence[NetworkStatistics]) -> dict[str, Column]:
    """The tensors of a shard of `networks` by flat names, such as ``"groups/0/tensors/weight"``; nothing is copied.

    Raises:
        CaptureError: as `pack` does.
    """
    layers = [layer for network in networks for layer in network.layers]
    _require_same_names(networks, layers)
    device = next((tensor.device for layer in layers for tensor in layer.values()), torch.device("cpu"))
    sizes = [len(network.layers) for network in networks]
    found = {
        "layer_network": _column([index for index, size in enumerate(sizes) for _ in range(size)], device),
        "layer_depth": _column([depth for size in sizes for depth in range(size)], device),
    }
    for name in networks[0].quantities:
        found[f"quantities/{name}"] = _quantity([n.quantities[name] for n in networks], device)
    rows_of: dict[Shapes, list[int]] = {}
    for row, layer in enumerate(layers):
        rows_of.setdefault(_shapes(layer), []).append(row)
    for index, (shapes, rows) in enumerate(sorted(rows_of.items())):
        found[f"groups/{index}/rows"] = _column(rows, device)
        for name, shape in shapes:
            found[f"groups/{index}/tensors/{name}"] = Column(
                (len(rows), *shape), tuple(layers[row][name] for row in rows)
            )
    return found


def shard_of(tensors: Mapping[str, Tensor], *, n_networks: int, statistics: Sequence[str]) -> Shard:
    """The shard of tensors that have the names `columns` gives them, with `statistics` in this order.

    Raises:
        KeyError: if a tensor is missing.
    """
    n_groups = sum(name.endswith("/rows") for name in tensors)
    return Shard(
        n_networks=n_networks,
        layer_network=tensors["layer_network"],
        layer_depth=tensors["layer_depth"],
        groups=tuple(
            ShapeGroup(
                rows=tensors[f"groups/{index}/rows"],
                tensors={name: tensors[f"groups/{index}/tensors/{name}"] for name in statistics},
            )
            for index in range(n_groups)
        ),
        quantities={
            name.removeprefix("quantities/"): tensor
            for name, tensor in tensors.items()
            if name.startswith("quantities/")
        },
    )


def _shapes(layer: Mapping[str, Tensor]) -> Shapes:
    return tuple((name, tuple(tensor.shape)) for name, tensor in layer.items())


def _column(values: Sequence[float], device: torch.device, dtype: torch.dtype = torch.int64) -> Column:
    return Column((len(values),), (torch.tensor(values, dtype=dtype, device=device),))


def _quantity(values: Sequence[float | Tensor], device: torch.device) -> Column:
    tensors = tuple(torch.as_tensor(value, dtype=torch.float64, device=device) for value in values)
    return Column((len(tensors), *tensors[0].shape), tensors)


def _require_same_names(networks: Sequence[NetworkStatistics], layers: Sequence[Mapping[str, Tensor]]) -> None:
    if not networks:
        raise CaptureError("Cannot pack a shard of 0 networks; expected at least one.")
    for what, mappings in (("statistics", layers), ("quantities", [network.quantities for network in networks])):
        names = {tuple(mapping) for mapping in mappings}
        if len(names) > 1:
            first, second = sorted(names)[:2]
            raise CaptureError(
                f"Cannot pack networks with different {what}: one has {list(first)}, another {list(second)}; capture "
                f"all of them with the same settings."
            )

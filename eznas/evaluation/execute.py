"""Runs a plan over a shard: layers of equal shape together, in tiles that fit the cache.

A tile is a slice of consecutive layers of one shape group. Within a tile the steps on whole tensors are computed once
for the population and freed after their last use, down to what is *small*: a number or a kernel between samples per
layer. Small results are kept for all layers of the shard and across generations, and steps from small to small run once
over the whole shard. Each layer's numbers do not depend on its neighbours, so tile size, shard size and the number of
workers change no score; tests hold this.

Layers that see windows or tokens on their first axis have more samples than others, and their kernels between samples
another size. Networks that differ so are evaluated apart from each other; where the layers of one network do, such a
kernel is no small result and stays within its tile.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence, Set

import numpy as np
import torch
from torch import Tensor

from eznas.errors import ProgramError
from eznas.evaluation.interpreter import FAILURES
from eznas.evaluation.plan import Plan
from eznas.programs import Constant
from eznas.statistics import ShapeGroup, Shard
from primitives import METRIC_PREFIX, Layers, Primitive, Sort, Statistic

TILE_BYTES = 2 * 1024 * 1024
"""Largest leaf of a tile on a CPU: small enough for its caches, large enough that the calls themselves take no time."""
CACHE_BYTES = 64 * 1024 * 1024
"""Results kept across generations, per shard."""
ENTRY_BYTES = 512
"""What a result that is kept takes beside its values."""
_SMALL = frozenset((Sort.SCALAR, Sort.SAMPLE_KERNEL))
"""Sorts whose values have one shape in all layers of a shard, and little in them."""


class ResultCache:
    """Small results by sub-expression, least recently used out first, bounded in bytes."""

    def __init__(self, capacity: int = CACHE_BYTES) -> None:
        self._capacity = capacity
        self._held: OrderedDict[bytes, Tensor] = OrderedDict()
        self.nbytes = 0

    def get(self, key: bytes) -> Tensor | None:
        """The result of that sub-expression, if still held."""
        found = self._held.get(key)
        if found is not None:
            self._held.move_to_end(key)
        return found

    def put(self, key: bytes, value: Tensor) -> None:
        """Hold a result, letting go of the oldest if there is no room."""
        if value.nbytes + ENTRY_BYTES > self._capacity or key in self._held:
            return
        self._held[key] = value
        self.nbytes += value.nbytes + ENTRY_BYTES
        while self.nbytes > self._capacity:
            _, dropped = self._held.popitem(last=False)
            self.nbytes -= dropped.nbytes + ENTRY_BYTES


class ShardExecutor:
    """Evaluates populations over one shard.

    Args:
        shard: statistics of some networks, on any device.
        tile_bytes: size of the largest leaf of a tile; None takes whole shape groups, as a GPU wants it.
        cache_bytes: bound on results kept from one call to the next; 0 keeps nothing.
        cache: results of earlier executors of this shard, instead of an empty cache of that size.
        part: which of its networks the shard holds, if not all; their results are kept apart in the cache.
    """

    def __init__(
        self,
        shard: Shard,
        *,
        tile_bytes: int | None = TILE_BYTES,
        cache_bytes: int = CACHE_BYTES,
        cache: ResultCache | None = None,
        part: bytes = b"",
    ) -> None:
        self._shard = shard
        self._tile_bytes = tile_bytes
        self._cache = ResultCache(cache_bytes) if cache is None else cache
        self._part = part
        by_samples = _networks_by_samples(shard)
        self._kept = frozenset((Sort.SCALAR,)) if any(len(sizes) > 1 for sizes in by_samples) else _SMALL
        self._parts: list[tuple[list[int], ShardExecutor]] = []
        if len(by_samples) > 1:
            for sizes, networks in by_samples.items():
                some = shard.of_networks(networks)
                executor = ShardExecutor(some, tile_bytes=tile_bytes, cache=self._cache, part=str(sizes).encode())
                self._parts.append((networks, executor))
        self._layers = Layers(shard.layer_network, shard.layer_depth, shard.n_networks)
        counts = torch.bincount(shard.layer_network, minlength=shard.n_networks).double()
        self._is_empty = counts == 0
        self._any_is_empty = bool(self._is_empty.any())  # asked once: on a GPU the answer has to be waited for
        # Copies: a result that is kept must not keep the pages of the shard.
        self._quantities = {name: values.clone() for name, values in shard.quantities.items()} | {"unit_count": counts}
        # Programs fail where a published estimator has no score.
        self._lost = {
            name: lost
            for name, values in self._quantities.items()
            if name.startswith(METRIC_PREFIX) and bool((lost := ~values.isfinite()).any())
        }
        # Values of layers are held group after group, so that tiles write slices; aggregations want them as they lie.
        rows = [group.rows for group in shard.groups]
        self._order = torch.cat(rows) if rows else shard.layer_network.new_empty(0)
        self._place = torch.argsort(self._order)
        self._network_at = shard.layer_network[self._order]

    def run(self, plan: Plan) -> np.ndarray:
        """Scores of every program of the plan on every network of the shard.

        Returns:
            (n_programs, n_networks) float64; non-finite where a program failed.

        Raises:
            ProgramError: if a program reads a statistic the shard does not hold.
        """
        if self._parts:
            scores = np.empty((len(plan.roots), self._shard.n_networks))
            for networks, executor in self._parts:
                scores[:, networks] = executor.run(plan)
            return scores
        known = self._known(plan)
        network_steps = _closure(plan, plan.roots, stop=known, layer_level=False)
        read = {argument for index in network_steps for argument in plan.steps[index].arguments}
        frontier = {index for index in read if plan.steps[index].is_layer_level}
        failed: dict[int, Tensor] = {}
        self._know_layers(plan, frontier, known, failed)
        for index in network_steps:
            known[index] = self._network_value(plan, index, known, failed)
            self._hold(plan, index, known[index], failed)
        if not plan.roots:
            return np.empty((0, self._shard.n_networks))
        values = [
            known[root].masked_fill(failed[root], torch.nan) if root in failed else known[root] for root in plan.roots
        ]
        return torch.stack(values).cpu().numpy()

    def _known(self, plan: Plan) -> dict[int, Tensor]:
        """Steps whose results are held from earlier calls."""
        held = ((index, self._cache.get(self._part + step.key)) for index, step in enumerate(plan.steps))
        return {index: value for index, value in held if value is not None}

    def _hold(self, plan: Plan, index: int, value: Tensor, failed: Mapping[int, Tensor]) -> None:
        """Keep a result for later calls, unless its step raised somewhere: that would be forgotten."""
        if index not in failed:
            self._cache.put(self._part + plan.steps[index].key, value)

    def _network_value(self, plan: Plan, index: int, known: Mapping[int, Tensor], failed: dict[int, Tensor]) -> Tensor:
        """(n_networks, ...) value of a network-level step; notes in `failed` on which networks it or a part raised."""
        step = plan.steps[index]
        node = step.node
        n_networks = self._shard.n_networks
        if isinstance(node, Constant):
            return self._filled(n_networks, node.value)
        if not isinstance(node, Primitive):
            if node.name not in self._quantities:
                raise ProgramError(f"Quantity {node.name!r} was not captured; capture it, or use another program")
            if node.name in self._lost:
                failed[index] = self._lost[node.name]
            return self._quantities[node.name]
        arguments = [known[argument] for argument in step.arguments]
        causes = [failed[argument] for argument in step.arguments if argument in failed]
        if node.is_aggregation and self._any_is_empty:
            causes.append(self._is_empty)
        if causes:
            failed[index] = torch.stack(causes).any(dim=0)
        try:
            if node.is_aggregation:
                return node(*(layers[self._place].double() for layers in arguments), self._layers)
            return node(*arguments)
        except FAILURES:  # the interpreter tells which and why, if anyone asks
            failed[index] = torch.ones_like(self._is_empty)
            return self._filled(n_networks, torch.nan)

    def _know_layers(self, plan: Plan, frontier: Set[int], known: dict[int, Tensor], failed: dict[int, Tensor]) -> None:
        """Add to `known` the (n_layers, ...) values, group after group, of the layer-level steps aggregations read.

        NaN where a step raised; `failed` takes the networks of these layers.
        """
        order = _closure(plan, frontier, stop=known, layer_level=True)
        from_tiles = [index for index in order if self._is_from_tile(plan, index, frontier)]
        known |= self._tile_values(plan, from_tiles, failed)
        for index in order:
            if index not in known and self._is_small(plan, index):
                known[index] = self._small_value(plan, index, known, failed)
            if index in known:
                self._hold(plan, index, known[index], failed)

    def _is_small(self, plan: Plan, index: int) -> bool:
        return plan.steps[index].type.sort in self._kept

    def _is_from_tile(self, plan: Plan, index: int, frontier: Set[int]) -> bool:
        """Whether a step is computed from what the shard holds, in tiles, and needed beyond the tile."""
        step = plan.steps[index]
        if not self._is_small(plan, index):
            return index in frontier
        return isinstance(step.node, Statistic) or not all(self._is_small(plan, a) for a in step.arguments)

    def _tile_values(self, plan: Plan, targets: list[int], failed: dict[int, Tensor]) -> dict[int, Tensor]:
        if not targets:
            return {}
        order = _closure(plan, targets, stop=(), layer_level=True)
        last_use = {a: i for i in order for a in plan.steps[i].arguments}
        wanted = set(targets)
        values: dict[int, Tensor] = {}
        offset = 0
        for group in self._shard.groups:
            self._require(plan, order, group)
            for rows in self._tiles(plan, order, group):
                self._run_tile(plan, order, last_use, wanted, group, rows, offset, values, failed)
            offset += group.n_layers
        for index in targets:
            if index not in values:  # raised everywhere, or there are no layers
                values[index] = self._filled(self._shard.n_layers, torch.nan)
        return values

    def _run_tile(
        self,
        plan: Plan,
        order: list[int],
        last_use: dict[int, int],
        wanted: set[int],
        group: ShapeGroup,
        rows: slice,
        offset: int,
        results: dict[int, Tensor],
        failed: dict[int, Tensor],
    ) -> None:
        held: dict[int, Tensor | None] = {}
        place = slice(offset + rows.start, offset + rows.stop)
        for index in order:
            step = plan.steps[index]
            node = step.node
            if isinstance(node, Primitive):
                held[index] = _apply(node, [held[a] for a in step.arguments])
            elif isinstance(node, Constant):
                held[index] = torch.full((rows.stop - rows.start,), node.value, device=self._layers.network.device)
            else:
                held[index] = group.values(node.name, rows)
            if index in wanted:
                self._keep(index, held[index], place, results, failed)
            for argument in step.arguments:
                if last_use[argument] == index:
                    held.pop(argument, None)

    def _keep(
        self, index: int, value: Tensor | None, place: slice, results: dict[int, Tensor], failed: dict[int, Tensor]
    ) -> None:
        if value is None or (index in results and value.shape[1:] != results[index].shape[1:]):  # of other samples
            networks = failed.setdefault(index, torch.zeros_like(self._is_empty))
            networks[self._network_at[place]] = True
            return
        if index not in results:
            shape = (self._shard.n_layers, *value.shape[1:])
            results[index] = torch.full(shape, torch.nan, dtype=value.dtype, device=value.device)
        results[index][place] = value

    def _small_value(self, plan: Plan, index: int, known: Mapping[int, Tensor], failed: dict[int, Tensor]) -> Tensor:
        """(n_layers, ...) value of a step from small values to a small one; where it raises, network by network."""
        step = plan.steps[index]
        node = step.node
        if isinstance(node, Constant):
            return torch.full((self._shard.n_layers,), node.value, device=self._layers.network.device)
        if not isinstance(node, Primitive):
            for group in self._shard.groups:
                self._require(plan, [index], group)
            found = [group.values(node.name, slice(None)) for group in self._shard.groups]
            return torch.cat(found) if found else self._filled(0, torch.nan)
        arguments = [known[argument] for argument in step.arguments]
        causes = [failed[argument] for argument in step.arguments if argument in failed]
        if causes:
            failed[index] = torch.stack(causes).any(dim=0)
        value = _apply(node, arguments)  # type: ignore[arg-type]
        return self._one_by_one(node, index, arguments, failed) if value is None else value

    def _one_by_one(self, node: Primitive, index: int, arguments: list[Tensor], failed: dict[int, Tensor]) -> Tensor:
        """The value of a step that raised on all layers together, found network by network."""
        value = self._filled(self._shard.n_layers, torch.nan)
        failed.setdefault(index, torch.zeros_like(self._is_empty))
        for network in range(self._shard.n_networks):
            here = self._network_at == network
            part = _apply(node, [argument[here] for argument in arguments])
            if part is None:
                failed[index][network] = True
                continue
            if value.shape[1:] != part.shape[1:]:
                value = value.reshape(-1, *(1,) * (part.ndim - 1)).expand(-1, *part.shape[1:]).clone()
            value[here] = part.to(value.dtype)
        return value

    def _filled(self, n: int, value: float) -> Tensor:
        return torch.full((n,), value, dtype=torch.float64, device=self._layers.network.device)

    def _tiles(self, plan: Plan, order: list[int], group: ShapeGroup) -> Iterable[slice]:
        n_layers = group.n_layers
        names = (plan.steps[index].node.name for index in order)
        leaves = [group.tensors[name] for name in names if name in group.tensors]
        per_layer = max((leaf[0].numel() * torch.float32.itemsize for leaf in leaves), default=1)
        n_rows = n_layers if self._tile_bytes is None else max(1, self._tile_bytes // per_layer)
        return (slice(start, min(start + n_rows, n_layers)) for start in range(0, n_layers, n_rows))

    @staticmethod
    def _require(plan: Plan, order: list[int], group: ShapeGroup) -> None:
        for index in order:
            node = plan.steps[index].node
            if not isinstance(node, Primitive | Constant) and node.name not in group.tensors:
                raise ProgramError(f"Statistic {node.name!r} was not captured; capture it, or use another program")


def _networks_by_samples(shard: Shard) -> dict[tuple[int, ...], list[int]]:
    """The networks by the numbers of samples that their layers have, ascending; empty if all layers have as many."""
    sizes: list[set[int]] = [set() for _ in range(shard.n_networks)]
    for group in shard.groups:
        shown = next((t for name, t in group.tensors.items() if t.ndim > 1 and not name.startswith("weight")), None)
        if shown is not None:
            for network in shard.layer_network[group.rows].unique().tolist():
                sizes[network].add(int(shown.shape[1]))
    found: dict[tuple[int, ...], list[int]] = {}
    if len(set().union(*sizes)) > 1:
        for network, of_network in enumerate(sizes):
            found.setdefault(tuple(sorted(of_network)), []).append(network)
    return found


def _apply(node: Primitive, arguments: Sequence[Tensor | None]) -> Tensor | None:
    """Value of an operator, or None if it or one of its arguments raised."""
    if any(argument is None for argument in arguments):
        return None
    try:
        return node(*arguments)
    except FAILURES:  # the interpreter tells which and why, if anyone asks
        return None


def _closure(plan: Plan, targets: Iterable[int], *, stop: Iterable[int], layer_level: bool) -> list[int]:
    """Steps of one level that must run to have the targets, arguments first; nothing behind `stop` is needed."""
    needed: set[int] = set()
    stopped = set(stop)
    pending = list(targets)
    while pending:
        index = pending.pop()
        if index in needed or index in stopped or plan.steps[index].is_layer_level is not layer_level:
            continue
        needed.add(index)
        pending.extend(plan.steps[index].arguments)
    return sorted(needed)

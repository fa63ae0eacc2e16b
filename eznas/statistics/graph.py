"""The graph of a network's layers: which layer reads which, found in a forward pass, and what it says of each layer.

A *layer* is one call of a convolution or of a linear layer; a shared module is as many layers as it has calls. A layer
*reads* another, or the input, if data flow from it without a layer between: through any functions of torch, be they
sums, products, concatenations, views, indexing, writes in place, normalisation, activation or attention. A *path* is a
sequence of layers, each of which reads the one before it: the first the input, and the logits read the last. How
functions between layers are written makes no difference, and two ways from layer to layer without a layer count once.

* What lies on no path from the input to the logits counts nowhere: such a layer reads nothing, nothing reads it, and
  all its statistics are 0, its stage excepted.
* A product with the number 0 reads nothing, so that the operation ``none`` of cell spaces, ``x * 0``, cuts the edge it
  stands for; nor do ``zeros_like`` and its kin. A product with a tensor of zeros reads both: it may be learnt.
* Whoever reads memory that was written in place reads all that was ever written there, and what was there before.
* Data that leave torch (``item``, NumPy) are lost from sight. So are those that flow through scripted code, ``vmap``
  and extensions; a network is refused if that shows: if autograd knows what was not seen, or if no path is left and
  something unseen has a row for each image.

The pass is one that `eznas.statistics.tracing` runs, and the layers are those it calls units if all are asked for. This
module needs nothing but torch, the standard library and modules beside it, because exported proxies carry its source
with them.

Source: depths and paths of computational graphs as features of architectures, `White 2019
<https://arxiv.org/abs/1910.11858>`_ (path encoding); paths of residual networks, `Veit 2016
<https://arxiv.org/abs/1605.06431>`_.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from eznas.statistics.running import Unfit
from eznas.statistics.torch_functions import LINEAR, functions
from eznas.statistics.tracing import Captured, capture_units, run_probe


@dataclass(frozen=True)
class ModuleGraph:
    """The layers of a network, in order of execution, and what each reads.

    Nodes are numbered: 0 is the input, 1 to n the layers, n + 1 the logits. Only nodes and edges on a path from the
    input to the logits are in the graph; any other layer has its number, and no edge.

    Attributes:
        reads: for each layer, and last for the logits, the set of nodes it reads: bit i is set for node i.
        stages: for each layer the number of times the resolution was halved before its output; see `stage`.
    """

    reads: tuple[int, ...]
    stages: tuple[float, ...]

    @property
    def n_layers(self) -> int:
        """Layers that ran, on a path or not."""
        return len(self.stages)

    @cached_property
    def edges(self) -> tuple[tuple[int, ...], ...]:
        """For each node the nodes it reads, ascending."""
        return ((), *(tuple(_members(nodes)) for nodes in self.reads))

    @cached_property
    def readers(self) -> tuple[int, ...]:
        """For each node the set of nodes that read it: bit i is set for node i."""
        found = [0] * len(self.edges)
        for node, sources in enumerate(self.edges):
            for source in sources:
                found[source] |= 1 << node
        return tuple(found)

    @cached_property
    def n_paths_to(self) -> tuple[int, ...]:
        """For each node the number of paths from the input to it, exactly."""
        found = [1]
        for sources in self.edges[1:]:
            found.append(sum(found[source] for source in sources))
        return tuple(found)

    @cached_property
    def n_paths_from(self) -> tuple[int, ...]:
        """For each node the number of paths from it to the logits, exactly."""
        found = [0] * len(self.edges)
        found[-1] = 1
        for node in range(len(self.edges) - 1, 0, -1):
            for source in self.edges[node]:
                found[source] += found[node]
        return tuple(found)

    @property
    def n_paths(self) -> int:
        """Paths from the input to the logits, exactly; 0 if the logits do not depend on the input."""
        return self.n_paths_to[-1]


def module_graph(network: nn.Module, images: Tensor) -> ModuleGraph:
    """The graph of `network`, from one forward pass without gradients; the network is left as it was found.

    Args:
        network: maps `images` to one tensor.
        images: (batch, ...) float tensor on the device of the network. Two images will do; their values matter as far
            as the network branches on them.

    Raises:
        Unfit: if the network does not return one tensor, or computes out of sight.
    """
    flow = _Flow()
    run_probe(network, images, gradients=False, names=(), units="all", watch=flow)
    return flow.graph


# Statistics of layers -------------------------------------------------------------------------------------------------


def depth(graph: ModuleGraph) -> tuple[int, ...]:
    """For each layer the number of layers on the longest path from the input to it, itself among them."""
    return _depths(graph, max)[1:-1]


def distance_to_output(graph: ModuleGraph) -> tuple[int, ...]:
    """For each layer the number of layers after it on the longest path from it to the logits."""
    found = [0] * len(graph.edges)
    for node in range(len(graph.edges) - 2, 0, -1):
        for source in graph.edges[node]:
            found[source] = max(found[source], found[node] + 1)
    return tuple(found[1:-1])


def log_paths(graph: ModuleGraph) -> tuple[float, ...]:
    """For each layer ``ln(1 + n)``, n the number of paths from the input to the logits that go through it."""
    return tuple(math.log(1 + through) for through in _n_paths_through(graph))


def path_share(graph: ModuleGraph) -> tuple[float, ...]:
    """For each layer the share of the paths from the input to the logits that go through it, in [0, 1].

    Their sum over all layers is the mean number of layers of a path.
    """
    return tuple(through / max(graph.n_paths, 1) for through in _n_paths_through(graph))


def is_bypassed(graph: ModuleGraph) -> tuple[int, ...]:
    """For each layer 1 if data can flow round it without a layer, else 0.

    They can if some node after it on a path reads some node before it on a path, as the first layer of a block reads
    what entered the last block if a shortcut without parameters adds that to what left it.
    """
    n_nodes = len(graph.edges)
    after = [0] * n_nodes  # the nodes to which a path leads
    for node in range(n_nodes - 1, 0, -1):
        for source in graph.edges[node]:
            after[source] |= after[node] | 1 << node
    read_before = [0] * n_nodes  # the readers of all nodes from which a path leads
    for node, sources in enumerate(graph.edges):
        for source in sources:
            read_before[node] |= read_before[source] | graph.readers[source]
    return tuple(int(bool(before & behind)) for before, behind in zip(read_before, after, strict=True))[1:-1]


def fan_in(graph: ModuleGraph) -> tuple[int, ...]:
    """For each layer the number of layers it reads, the input counted as one."""
    return tuple(len(sources) for sources in graph.edges[1:-1])


def fan_out(graph: ModuleGraph) -> tuple[int, ...]:
    """For each layer the number of layers that read it, the logits counted as one."""
    return tuple(nodes.bit_count() for nodes in graph.readers[1:-1])


def stage(graph: ModuleGraph) -> tuple[float, ...]:
    """For each layer the number of times the resolution was halved before its output.

    That is ``log2(places of an image / places of the output) / axes``, with the axes of an image beside its channels.
    Places of the output are all values of one channel for one image, be they pixels or tokens, the channels of a linear
    layer being its last axis; 0 for images without axes.
    """
    return graph.stages


def is_on_longest_path(graph: ModuleGraph) -> tuple[int, ...]:
    """For each layer 1 if it is on a path from the input to the logits with as many layers as any, else 0."""
    longest = longest_path(graph)
    both = zip(depth(graph), distance_to_output(graph), graph.edges[1:-1], strict=True)
    return tuple(int(bool(sources) and before + after == longest) for before, after, sources in both)


# Statistics of the network --------------------------------------------------------------------------------------------


def log_path_count(graph: ModuleGraph) -> float:
    """``ln(1 + n)``, n the number of paths from the input to the logits."""
    return math.log(1 + graph.n_paths)


def longest_path(graph: ModuleGraph) -> int:
    """Most layers on a path from the input to the logits; 0 without a path."""
    return max(_depths(graph, max)[-1] - 1, 0)


def shortest_path(graph: ModuleGraph) -> int:
    """Fewest layers on a path from the input to the logits; 0 without a path."""
    return max(_depths(graph, min)[-1] - 1, 0)


def layer_count(graph: ModuleGraph) -> int:
    """Number of layers on a path from the input to the logits."""
    return sum(map(bool, graph.edges[1:-1]))


def bypassed_share(graph: ModuleGraph) -> float:
    """Share of all layers that data can flow round without a layer, in [0, 1]; see `is_bypassed`."""
    return sum(is_bypassed(graph)) / max(graph.n_layers, 1)


GRAPH_LAYER_STATISTICS: Mapping[str, Callable[[ModuleGraph], Sequence[float]]] = {
    "depth": depth, "distance_to_output": distance_to_output, "log_paths": log_paths, "path_share": path_share,
    "is_bypassed": is_bypassed, "fan_in": fan_in, "fan_out": fan_out, "stage": stage,
    "is_on_longest_path": is_on_longest_path,
}  # fmt: skip
"""By name; each gives one number for every layer that ran."""
GRAPH_QUANTITIES: Mapping[str, Callable[[ModuleGraph], float]] = {
    "log_path_count": log_path_count, "longest_path": longest_path, "shortest_path": shortest_path,
    "bypassed_share": bypassed_share, "layer_count": layer_count,
}  # fmt: skip
"""By name; each gives one number for the network."""


def _members(nodes: int) -> Iterator[int]:
    """The nodes of a set, ascending."""
    while nodes:
        lowest = nodes & -nodes
        yield lowest.bit_length() - 1
        nodes ^= lowest


def _depths(graph: ModuleGraph, best: Callable[..., int]) -> tuple[int, ...]:
    """For each node the most or the fewest nodes after the input on a path to it, itself among them; 0 without one."""
    found: list[int] = []
    for sources in graph.edges:
        found.append(1 + best(found[source] for source in sources) if sources else 0)
    return tuple(found)


def _n_paths_through(graph: ModuleGraph) -> tuple[int, ...]:
    both = zip(graph.n_paths_to, graph.n_paths_from, strict=True)
    return tuple(before * after for before, after in both)[1:-1]


# Watching a pass ------------------------------------------------------------------------------------------------------

_TIMES = functions("mul", "mul_", "multiply", "multiply_")
_SHAPE_ONLY = functions(
    *(f"{name}_like" for name in ("zeros", "ones", "empty", "full", "rand", "randn", "randint")),
    *("new_zeros", "new_ones", "new_empty", "new_full"),
)
"""They read the shape of a tensor, and none of its values."""


class _Flow:
    """Follows data through a pass: for each tensor the set of nodes it was made from without a layer between."""

    def __init__(self) -> None:
        self.graph = ModuleGraph((0,), ())
        self.units: tuple[int, ...] = ()
        self._reads: list[int] = []
        self._stages: list[float] = []
        self._image: torch.Size = torch.Size(())
        self._is_blind = self._may_be_blind = False
        # By id, which another tensor may have later, so with the tensor itself as long as it lives.
        self._made_from: dict[int, tuple[weakref.ref[Tensor], int]] = {}
        # By address of memory that was written in place, which is kept so that nothing else can have its address.
        self._written: dict[int, tuple[torch.UntypedStorage, int]] = {}

    def began(self, inputs: Tensor) -> None:
        self._image = inputs.shape
        self._note(inputs, 1)

    def called(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any, is_layer: bool
    ) -> None:
        if is_layer and self._is_known(result):
            return  # a call within this one told of it
        nodes = self._of(args) | self._of(kwargs)
        if is_layer:
            self._reads.append(nodes)
            self._stages.append(self._stage(result, is_linear=func in LINEAR))
            nodes = 1 << len(self._reads)
        elif func in _SHAPE_ONLY or (func in _TIMES and any(_is_number_zero(value) for value in args)):
            nodes = 0
        self._note(result, nodes)
        if nodes and (_writes(func) or "out" in kwargs):
            self._write(kwargs.get("out", args[0] if args else None), nodes)

    def ended(self, logits: Tensor, units: Sequence[int]) -> None:
        self.units = tuple(units)
        self.graph = ModuleGraph(_on_paths([*self._reads, self._of(logits)]), tuple(self._stages))
        if self._is_blind or (self._may_be_blind and not self.graph.n_paths):
            raise Unfit(
                "The graph of layers cannot be followed: expected every tensor to be returned by a function of torch, "
                "but one comes from scripted code, vmap or an extension; write that part in plain Python."
            )

    def _of(self, value: Any) -> int:
        """The nodes that the tensors in `value` were made from."""
        if isinstance(value, Tensor):
            nodes = 0
            if self._is_known(value):
                nodes = self._made_from[id(value)][1]
            elif not isinstance(value, nn.Parameter):
                self._is_blind |= value.grad_fn is not None
                self._may_be_blind |= value.dim() > 1 and len(value) == self._image[0]
            storage = _storage(value) if self._written else None
            return nodes if storage is None else nodes | self._written.get(storage._cdata, (None, 0))[1]
        nodes = 0
        if isinstance(value, tuple | list):
            for item in value:
                nodes |= self._of(item)
        elif isinstance(value, Mapping):
            for item in value.values():
                nodes |= self._of(item)
        return nodes

    def _is_known(self, value: Any) -> bool:
        tensor, _ = self._made_from.get(id(value), (None, 0))
        return tensor is not None and tensor() is value

    def _note(self, value: Any, nodes: int) -> None:
        """Remembers what the tensors in `value` were made from, unless it is known."""
        if isinstance(value, Tensor):
            if not self._is_known(value):
                self._made_from[id(value)] = weakref.ref(value), nodes
        elif isinstance(value, tuple | list):
            for item in value:
                self._note(item, nodes)

    def _write(self, value: Any, nodes: int) -> None:
        if isinstance(value, Tensor):
            storage = _storage(value)
            if storage is not None:
                self._written[storage._cdata] = storage, nodes
        elif isinstance(value, tuple | list):
            for item in value:
                self._write(item, nodes)

    def _stage(self, output: Tensor, *, is_linear: bool) -> float:
        n_axes = len(self._image) - 2
        n_channels = output.shape[-1 if is_linear else 1]
        n_places, n_places_of_image = output.numel() / max(n_channels * self._image[0], 1), self._image[2:].numel()
        return math.log2(n_places_of_image / n_places) / n_axes if n_axes > 0 and n_places > 0 else 0.0


def _on_paths(reads: Sequence[int]) -> tuple[int, ...]:
    """What each layer and the logits read, as far as it is on a path from the input to the logits."""
    reached = 1
    for node, sources in enumerate(reads, start=1):
        reached |= bool(sources & reached) << node
    wanted = 1 << len(reads)
    for node in range(len(reads), 0, -1):
        if wanted >> node & 1:
            wanted |= reads[node - 1]
    alive = reached & wanted
    return tuple(sources & alive if alive >> node & 1 else 0 for node, sources in enumerate(reads, start=1))


def _is_number_zero(value: Any) -> bool:
    return isinstance(value, int | float) and value == 0


def _writes(func: Callable[..., Any]) -> bool:
    """Whether a function of torch may change its first argument, by its name."""
    name = getattr(func, "__name__", "")
    return name in ("__setitem__", "__set__") or name.startswith("__i") or (name[-1:] == "_" and name[-2:] != "__")


def _storage(tensor: Tensor) -> torch.UntypedStorage | None:
    """The memory in which a tensor lies, which its views share; None of one that is not dense."""
    return tensor.untyped_storage() if tensor.layout is torch.strided else None


# Capturing ------------------------------------------------------------------------------------------------------------


def capture_with_graph(
    network: nn.Module,
    inputs: Tensor,
    *,
    seed: int,
    statistics: Collection[str] | None = None,
    targets: Tensor | None = None,
    units: str = "layers",
) -> Captured:
    """As `capture_units`, with statistics of the graph among those that may be asked for; no pass is run for them.

    Args:
        network, inputs, seed, targets, units: as there.
        statistics: names, also of ``GRAPH_LAYER_STATISTICS`` and ``GRAPH_QUANTITIES``.

    Returns:
        As there; in each mapping after its tensors the statistics of the graph, () in double precision, of units alone
        though they speak of all layers; and those of the network among its quantities.

    Raises:
        Unfit, ValueError: as there, and as `module_graph`.
    """
    asked = [name for name in (*GRAPH_LAYER_STATISTICS, *GRAPH_QUANTITIES) if name in set(statistics or ())]
    others = statistics if statistics is None else [name for name in statistics if name not in asked]
    flow = _Flow() if asked else None
    found = capture_units(network, inputs, seed=seed, statistics=others, targets=targets, units=units, watch=flow)
    if flow is not None:
        for name in asked:
            if name in GRAPH_QUANTITIES:
                found.quantities[name] = float(GRAPH_QUANTITIES[name](flow.graph))
                continue
            values = GRAPH_LAYER_STATISTICS[name](flow.graph)
            for unit, place in zip(found.units, flow.units, strict=True):
                unit[name] = torch.tensor(values[place], dtype=torch.float64, device=inputs.device)
    return found

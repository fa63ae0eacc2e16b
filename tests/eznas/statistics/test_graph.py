"""The graph of layers is what one draws by hand, whatever the network is written with, and its statistics follow."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eznas.errors import UnfitError
from eznas.spaces import build_network, nb201
from eznas.statistics import capture, graph, module_graph, tracing
from eznas.statistics.graph import GRAPH_LAYER_STATISTICS, GRAPH_QUANTITIES, ModuleGraph
from eznas.statistics.running import Unfit

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
INPUT = -1


class Of(nn.Module):
    """A network of a function of layers by name and of the images: convolutions of 4 channels, `head` is linear."""

    def __init__(self, function: Callable[..., Tensor], *names: str) -> None:
        super().__init__()
        self.function = function
        self.layers = nn.ModuleDict({name: nn.Conv2d(4, 4, 3, padding=1) for name in names})
        self.layers["stem"], self.layers["head"] = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        at = self.layers
        inner = {name: at[name] for name in at if name not in ("stem", "head")}
        return at["head"](self.function(at["stem"](images), **inner).mean((2, 3)))


def drawn(*reads: tuple[int, ...]) -> tuple[int, ...]:
    """What each layer and then the logits read, layers counted from 0, as sets of nodes."""
    return tuple(sum(1 << (layer + 1) for layer in layers) for layers in reads)


def residual(x: Tensor, a: nn.Module, b: nn.Module) -> Tensor:
    return x + 0.5 * b(F.relu(a(F.relu(x))))


def branches(x: Tensor, a: nn.Module, b: nn.Module, c: nn.Module) -> Tensor:
    return torch.cat([a(x), c(b(x))], dim=3)


def dense(x: Tensor, a: nn.Module, b: nn.Module, c: nn.Module) -> Tensor:
    first = a(x)
    second = b(x + first)
    return x + first + second + c(torch.stack([x, first, second]).sum(0))


def squeezed(x: Tensor, a: nn.Module, b: nn.Module) -> Tensor:
    return x * b(a(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


def shared(x: Tensor, a: nn.Module) -> Tensor:
    return a(a(x))


def in_place(x: Tensor, a: nn.Module, b: nn.Module) -> Tensor:
    y = b(F.relu_(a(x)))
    y += x
    return y.relu_()


def by_parts(x: Tensor, a: nn.Module, b: nn.Module) -> Tensor:
    """A buffer that is filled in parts, by views and by ``out``, and read as a whole."""
    buffer = torch.empty(2, 3, 4, 8, 8)
    whole = buffer.view(6, 4, 8, 8)  # before anything is written
    buffer[:, 0] = x
    buffer[:, 1].copy_(a(x))
    with torch.no_grad():
        torch.add(b(x), 1, out=buffer[:, 2])
    return whole.unflatten(0, (2, 3)).sum(1)


def beside_a_buffer(x: Tensor, a: nn.Module, b: nn.Module) -> Tensor:
    """What was written elsewhere does not count, nor what is read before it is written."""
    other, buffer = torch.zeros(2, 4, 8, 8), torch.zeros(2, 4, 8, 8)
    other[:] = a(x)
    early = b(x + buffer)
    buffer[:] = early
    return buffer


def through_everything(x: Tensor, a: nn.Module, b: nn.Module) -> Tensor:
    """Indexing, chunks, permutation, normalisation, a mask, attention, an einsum and a function of one's own."""
    one, two = Own.apply(a(x)[:, [1, 0, 3, 2]]).chunk(2, dim=1)
    tokens = F.layer_norm(torch.cat(tensors=[two, one], dim=1), (8,)).flatten(2).mT
    mixed = F.scaled_dot_product_attention(tokens, tokens, torch.where(tokens > 0, tokens, 0.0))
    return b(torch.einsum("bij->bji", mixed).unflatten(2, (8, 8)))


class Own(torch.autograd.Function):
    @staticmethod
    def forward(context: object, x: Tensor) -> Tensor:
        return x * x.sigmoid()

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:
        return gradient


def made_weights(x: Tensor, a: nn.Module, b: nn.Conv2d) -> Tensor:
    """A weight that is computed from parameters reads nothing; one that is computed from a layer reads it."""
    standardised = (b.weight - b.weight.mean()) / b.weight.std()
    scale = a(x).mean()
    return F.conv2d(F.conv2d(x, standardised, padding=1), b.weight * scale, padding=1)


def cut(x: Tensor, a: nn.Module, b: nn.Module, c: nn.Module) -> Tensor:
    return a(x) * 0.0 + 0 * b(x) + torch.zeros_like(c(x)) + x


def kept(x: Tensor, a: nn.Module) -> Tensor:
    return a(x) * torch.zeros(1) + x


def dead_ends(x: Tensor, a: nn.Module, b: nn.Module, c: nn.Module) -> Tensor:
    """`a` leads nowhere, as `b`, which reads it; `c` reads a constant."""
    b(a(x))
    return x + c(torch.ones(2, 4, 8, 8))


@pytest.mark.parametrize(
    ("function", "names", "expected"),
    [
        (lambda x: x.relu(), "", drawn((INPUT,), (0,), (1,))),
        (residual, "ab", drawn((INPUT,), (0,), (1,), (0, 2), (3,))),
        (branches, "abc", drawn((INPUT,), (0,), (0,), (2,), (1, 3), (4,))),
        (dense, "abc", drawn((INPUT,), (0,), (0, 1), (0, 1, 2), (0, 1, 2, 3), (4,))),
        (squeezed, "ab", drawn((INPUT,), (0,), (1,), (0, 2), (3,))),
        (shared, "a", drawn((INPUT,), (0,), (1,), (2,), (3,))),
        (in_place, "ab", drawn((INPUT,), (0,), (1,), (0, 2), (3,))),
        (by_parts, "ab", drawn((INPUT,), (0,), (0,), (0, 1, 2), (3,))),
        (beside_a_buffer, "ab", drawn((INPUT,), (), (0,), (2,), (3,))),
        (through_everything, "ab", drawn((INPUT,), (0,), (1,), (2,), (3,))),
        (made_weights, "ab", drawn((INPUT,), (0,), (0,), (1, 2), (3,), (4,))),
        (cut, "abc", drawn((INPUT,), (), (), (), (0,), (4,))),
        (kept, "a", drawn((INPUT,), (0,), (0, 1), (2,))),
        (dead_ends, "abc", drawn((INPUT,), (), (), (), (0,), (4,))),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_graph_is_the_one_drawn_by_hand(
    function: Callable[..., Tensor], names: str, expected: tuple[int, ...]
) -> None:
    network = Of(function, *names)
    found = module_graph(network, IMAGES)
    assert found.reads == expected
    units = tracing.run_probe(network, IMAGES, gradients=False, units="all").units
    assert found.n_layers == len(expected) - 1 == len(units)


def test_a_tensor_that_was_never_seen_reads_nothing_whoever_had_its_place_before() -> None:
    """NumPy's memory comes from nowhere; Python gives the tensor the place, and the id, of one that is gone."""

    def forgotten(x: Tensor, a: nn.Module) -> Tensor:
        for _ in range(1_000):
            gone = a(x).exp()
            place = id(gone)
            del gone
            constant = torch.from_numpy(np.ones((1, 1), dtype=np.float32))
            if id(constant) == place:
                return x + constant[..., None, None]
        raise AssertionError("no id was used twice")

    found = module_graph(Of(forgotten, "a"), IMAGES)
    assert found.edges[-2] == (1,), "the head reads the stem alone"


def test_what_is_computed_out_of_sight_is_refused_and_not_a_silent_zero() -> None:
    """By what autograd knows, or without gradients by a network that seems to have no path."""
    square = torch.vmap(lambda row: row * row)
    message = "^The graph of layers cannot be followed: expected every tensor to be returned by a function of torch"
    with pytest.raises(Unfit, match=message):
        module_graph(Of(square), IMAGES)
    for statistics in (("depth",), ("depth", "weight_grad.data")):
        with pytest.raises(UnfitError, match=r"The graph of layers cannot be followed"):
            capture(Of(square), IMAGES, seed=0, statistics=statistics)
    beside = Of(lambda x: x + square(x))
    with pytest.raises(UnfitError, match=r"The graph of layers cannot be followed"):
        capture(beside, IMAGES, seed=0, statistics=("depth", "weight_grad.data"))
    capture(beside, IMAGES, seed=0, statistics=("weight_grad.data",))


def test_a_function_that_returns_what_a_call_within_it_made_is_told_once() -> None:
    """As attention may, whose projections are calls of their own."""
    flow, x, weight = graph._Flow(), torch.ones(2, 3), torch.ones(4, 3)
    inner = F.linear(x, weight)
    flow.began(x)
    flow.called(F.linear, (x, weight), {}, inner, True)
    for result, is_layer in ((inner, True), (inner, False), ((inner, None), False)):
        flow.called(F.multi_head_attention_forward, (x,), {}, result, is_layer)
    flow.ended(inner, [0])
    assert flow.graph.reads == drawn((INPUT,), (0,))


def test_logits_that_do_not_depend_on_the_input_have_no_path() -> None:
    as_many_as_channels = IMAGES.repeat(2, 1, 1, 1)
    found = module_graph(Of(lambda x: x * 0), as_many_as_channels)
    assert found.reads == (0, 0, 0), "stem, head and logits"
    assert found.n_paths == 0
    for statistic, values in ((name, function(found)) for name, function in GRAPH_LAYER_STATISTICS.items()):
        assert statistic == "stage" or tuple(values) == (0, 0)
    assert [function(found) for function in GRAPH_QUANTITIES.values()] == [0, 0, 0, 0, 0]


def test_a_network_without_layers_has_a_path_of_none() -> None:
    found = module_graph(nn.Flatten(), IMAGES)
    assert (found.n_layers, found.n_paths) == (0, 1)
    assert [function(found) for function in GRAPH_QUANTITIES.values()] == [math.log(2), 0, 0, 0, 0]


def test_the_statistics_of_a_residual_and_a_plain_block() -> None:
    """stem -> (a -> b beside a short cut) -> c -> head; by hand."""
    found = module_graph(Of(lambda x, a, b, c: c(residual(x, a, b)), "a", "b", "c"), IMAGES)
    by_hand = {
        "depth": (1, 2, 3, 4, 5),
        "distance_to_output": (4, 3, 2, 1, 0),
        "log_paths": (math.log(3), math.log(2), math.log(2), math.log(3), math.log(3)),
        "path_share": (1, 0.5, 0.5, 1, 1),
        "is_bypassed": (0, 1, 1, 0, 0),
        "fan_in": (1, 1, 1, 2, 1),
        "fan_out": (2, 1, 1, 1, 1),
        "stage": (0, 0, 0, 0, 3),
        "is_on_longest_path": (1, 1, 1, 1, 1),
    }
    assert {name: function(found) for name, function in GRAPH_LAYER_STATISTICS.items()} == by_hand
    assert {name: function(found) for name, function in GRAPH_QUANTITIES.items()} == {
        "log_path_count": math.log(3), "longest_path": 5, "shortest_path": 3, "bypassed_share": 2 / 5,
        "layer_count": 5,
    }  # fmt: skip


def test_branches_of_different_length() -> None:
    found = module_graph(Of(branches, "a", "b", "c"), IMAGES)
    assert graph.depth(found) == (1, 2, 2, 3, 4)
    assert graph.distance_to_output(found) == (3, 1, 2, 1, 0)
    assert graph.is_on_longest_path(found) == (1, 0, 1, 1, 1)
    assert graph.path_share(found) == (1, 0.5, 0.5, 0.5, 1)
    assert (graph.longest_path(found), graph.shortest_path(found), graph.bypassed_share(found)) == (4, 3, 0)


def test_the_stage_counts_halvings_of_the_resolution() -> None:
    """16 x 8 images to 8 x 4, 8 x 2 and one place; 4 x 4 tokens, windows on the first axis; and back to 16 x 8."""

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.ModuleList([nn.Conv2d(3, 4, 2, 2), nn.Conv2d(4, 4, 1, (1, 2)), nn.Linear(4, 6)])
            self.last, self.head = nn.Conv2d(6, 3, 1), nn.Linear(3, 5)

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.body[:2]:
                x = layer(x)
            windows = x.unflatten(2, (4, 2)).permute(0, 2, 3, 4, 1).flatten(0, 1).flatten(1, 2)
            x = self.body[2](windows).unflatten(0, (2, 4)).flatten(1, 2).mT.unflatten(2, (8, 2))
            return self.head(self.last(F.interpolate(x, (16, 8))).mean((2, 3)))

    found = module_graph(Tokens(), torch.randn(2, 3, 16, 8))
    assert graph.stage(found) == pytest.approx((1, 1.5, 1.5, 0, 3.5))
    one_axis = nn.Sequential(nn.Conv1d(3, 4, 2, 2), nn.Flatten(), nn.Linear(16, 2))
    assert graph.stage(module_graph(one_axis, torch.randn(2, 3, 8))) == (1, 3)
    assert graph.stage(module_graph(nn.Linear(7, 2), torch.randn(2, 7))) == (0,)


def test_paths_are_counted_exactly() -> None:
    """Residual blocks, each of whose layers reads all that came before; no floating-point number holds the count."""
    n = 1_100
    chain = ModuleGraph(tuple((1 << node) - 1 for node in range(1, n + 2)), (0.0,) * n)
    assert chain.n_paths == 2**n
    assert graph.log_path_count(chain) == pytest.approx(n * math.log(2))
    assert set(graph.path_share(chain)) == {0.5}
    assert graph.bypassed_share(chain) == 1


def sequences(found: ModuleGraph) -> list[tuple[int, ...]]:
    """Every path as its layers, from 0, by walking."""

    def back(node: int) -> list[tuple[int, ...]]:
        if node == 0:
            return [()]
        sources = [source for source in range(node) if found.reads[node - 1] >> source & 1]
        return [(*path, node - 1) for source in sources for path in back(source)]

    return [path[:-1] for path in back(len(found.reads))]


@pytest.mark.parametrize("seed", range(12))
def test_the_statistics_of_any_graph_are_those_of_its_paths(seed: int) -> None:
    """By their definitions, from a list of all paths."""
    rng = random.Random(seed)
    n = rng.randint(1, 9)
    reads = [sum((rng.random() < 0.4) << source for source in range(node)) for node in range(1, n + 2)]
    found = ModuleGraph(graph._on_paths(reads), (0.0,) * n)
    paths = sequences(found)
    assert sorted(paths) == sorted(sequences(ModuleGraph(tuple(reads), (0.0,) * n))), "nothing on a path is left out"
    lengths = [len(path) for path in paths]
    assert found.n_paths == len(paths) == len(set(paths))
    assert graph.longest_path(found) == max(lengths, default=0)
    assert graph.shortest_path(found) == min(lengths, default=0)
    assert graph.layer_count(found) == len(set().union(*paths))
    steps = {step for path in paths for step in itertools.pairwise((-1, *path, n))}
    before = {k: {-1}.union(*(path[: path.index(k)] for path in paths if k in path)) for k in range(n)}
    after = {k: {n}.union(*(path[path.index(k) + 1 :] for path in paths if k in path)) for k in range(n)}
    for k in range(n):
        through = [path for path in paths if k in path]
        around = any((p, s) in steps for p in before[k] for s in after[k])
        by_definition = {
            "depth": max((path.index(k) + 1 for path in through), default=0),
            "distance_to_output": max((len(path) - path.index(k) - 1 for path in through), default=0),
            "log_paths": math.log(1 + len(through)),
            "path_share": len(through) / max(len(paths), 1),
            "is_bypassed": bool(through) and around,
            "fan_in": len({p for p, s in steps if s == k}),
            "fan_out": len({s for p, s in steps if p == k}),
            "stage": 0.0,
            "is_on_longest_path": any(len(path) == max(lengths) for path in through),
        }
        assert {name: function(found)[k] for name, function in GRAPH_LAYER_STATISTICS.items()} == by_definition


@pytest.mark.parametrize("index", [0, 1462, 6111, 15_624, 81, *random.Random(3).sample(range(15_625), 15)])
def test_paths_of_nb201_are_the_closed_forms(index: int) -> None:
    """A path through a cell is a sequence of its convolutions along edges that are not ``none``."""
    arch = nb201.from_index(index)
    edges = dict(zip(nb201.EDGES, nb201.operations(arch), strict=True))
    routes = [((0, 3),), ((0, 1), (1, 3)), ((0, 2), (2, 3)), ((0, 1), (1, 2), (2, 3))]
    ways = {
        tuple(edge for edge in route if edges[edge].startswith("nor_conv"))
        for route in routes
        if all(edges[edge] != "none" for edge in route)
    }
    cells, reductions = 3, 2
    n_paths = len(ways) ** cells * 2**reductions
    longest = 1 + cells * max(map(len, ways), default=0) + 2 * reductions + 1 if ways else 0
    shortest = 1 + cells * min(map(len, ways), default=0) + reductions + 1 if ways else 0
    found = module_graph(build_network(arch, nb201.Settings(channels=4), seed=1), IMAGES)
    assert found.n_paths == n_paths
    assert (graph.longest_path(found), graph.shortest_path(found)) == (longest, shortest)
    assert sum(graph.path_share(found)) == pytest.approx(_mean_length(ways, cells, reductions) if ways else 0)
    assert set(graph.stage(found)) == {0, 1, 2, 3}
    assert nb201.is_zero(arch) == (n_paths == 0)


def _mean_length(ways: set[tuple[tuple[int, int], ...]], cells: int, reductions: int) -> float:
    return 2 + cells * sum(map(len, ways)) / len(ways) + reductions * 1.5


def test_a_capture_has_the_rows_of_its_units() -> None:
    """The graph is of all layers, also where units alone are captured; stem, shortcuts and classifier are none."""
    network = build_network(nb201.from_index(6111), nb201.Settings(channels=4), seed=1)
    names = (*GRAPH_LAYER_STATISTICS, *GRAPH_QUANTITIES)
    every, some = (
        capture(network, IMAGES, seed=0, statistics=(*names, "weight"), units=units)
        for units in ("all", "convolutional")
    )
    found = module_graph(network, IMAGES)
    assert every.quantities == some.quantities
    assert [every.quantities[name] for name in GRAPH_QUANTITIES] == [f(found) for f in GRAPH_QUANTITIES.values()]
    for name, function in GRAPH_LAYER_STATISTICS.items():
        assert [float(layer[name]) for layer in every.layers] == list(function(found))
        assert {layer[name].dtype for layer in every.layers} == {torch.float64}
    position = 0
    for unit in some.layers:
        while not torch.equal(every.layers[position]["weight"], unit["weight"]):
            position += 1
        assert all(torch.equal(unit[name], every.layers[position][name]) for name in GRAPH_LAYER_STATISTICS)
    assert len(some.layers) == len(every.layers) - 4


def test_gradients_and_what_else_is_captured_change_no_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pass shows it, whichever is run first; a capture that is not asked for it has none."""
    network = Of(in_place, "a", "b")
    expected = capture(network, IMAGES, seed=0, statistics=tuple(GRAPH_LAYER_STATISTICS), units="all").layers
    passes = []
    forward = network.forward
    monkeypatch.setattr(network, "forward", lambda x: passes.append(x) or forward(x))
    for other, n_passes in (("weight_grad.noise", 1), ("weight_grad.linearised", 1), ("weight_grad.perturbed", 2)):
        passes.clear()
        found = capture(network, IMAGES, seed=0, statistics=(*GRAPH_LAYER_STATISTICS, other), units="all",
                        with_macs=False).layers  # fmt: skip
        assert [{**layer, other: None} for layer in expected] == [{**layer, other: None} for layer in found]
        assert len(passes) == n_passes
    plain = capture(network, IMAGES, seed=0)
    assert not any(name in plain.quantities for name in GRAPH_QUANTITIES)
    assert not any(name in layer for layer in plain.layers for name in GRAPH_LAYER_STATISTICS)

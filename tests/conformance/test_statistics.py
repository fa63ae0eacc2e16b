"""What every statistic of the language says of itself, and that what is captured agrees with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eznas.errors import CaptureError
from eznas.runs.config import config_from
from eznas.statistics import ALL_STATISTICS, NetworkStatistics, capture, graph, tracing
from eznas.study.problem import Problem
from eznas.testing.values import SHAPES
from primitives import (
    GRAPH_STATISTICS,
    LABELLED_STATISTICS,
    LAYER_STATISTICS,
    NETWORK_QUANTITIES,
    PRIMITIVE_SETS,
    ROLE_STATISTICS,
    STATISTICS,
    Level,
    PrimitiveSet,
    Probe,
    Quantity,
    Sort,
    Statistic,
)
from primitives.statistics import PAPER_PROBES

INPUTS = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([0, 1, 1, 2])
OF_LAYERS = {name: s for name, s in STATISTICS.items() if s.type.level is Level.LAYER}


class Network(nn.Module):
    """Two units whose input and output differ in channels and size; counts its forward passes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.n_passes = 0
        self.body = nn.Sequential(
            nn.ReLU(), nn.Conv2d(3, 5, 3, stride=2), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 4, 1),
            nn.BatchNorm2d(4),
        )  # fmt: skip
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.n_passes += 1
        return self.head(self.body(x).mean(dim=(2, 3)))


@pytest.fixture(scope="module")
def captured(device: str) -> NetworkStatistics:
    network, inputs = Network().to(device), INPUTS.to(device)
    return capture(network, inputs, seed=0, statistics=ALL_STATISTICS, targets=TARGETS)


def every_statistic(statistics: Mapping[str, Statistic]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("statistic", statistics.values(), ids=lambda s: s.name)


def test_the_names_that_are_captured_are_those_declared() -> None:
    """Exported files carry the source of `tracing` and `graph`, which can therefore not import them."""
    labelled = [s for s in LABELLED_STATISTICS if s.type.level is Level.LAYER]
    assert tuple(s.name for s in LAYER_STATISTICS) == tracing.STATISTICS
    assert tuple(s.name for s in labelled) == tracing.LABELLED_STATISTICS
    assert tuple(s.name for s in ROLE_STATISTICS) == tracing.ROLE_STATISTICS
    of_graph = [s for s in GRAPH_STATISTICS if s.type.level is Level.LAYER]
    assert tuple(s.name for s in of_graph) == tuple(graph.GRAPH_LAYER_STATISTICS)
    assert tuple(s.name for s in GRAPH_STATISTICS[len(of_graph) :]) == tuple(graph.GRAPH_QUANTITIES)
    assert tuple(OF_LAYERS) == (*tracing.ALL_STATISTICS, *graph.GRAPH_LAYER_STATISTICS)
    assert tuple(s.name for s in STATISTICS.values() if s.is_on_request) == ALL_STATISTICS
    assert tuple(p.value for p in PAPER_PROBES) == tracing.PROBES
    assert tuple(p.value for p in Probe) == (*tracing.PROBES, tracing.LABELLED, tracing.LINEARISED)
    derived = {*tracing.ROLE_STATISTICS, *graph.GRAPH_LAYER_STATISTICS}
    recorded = dict.fromkeys(s.quantity.name for s in OF_LAYERS.values() if s.name not in derived)
    assert tuple(recorded) == ("weight", *tracing.RECORDED)
    assert tuple(dict.fromkeys(s.quantity.name for s in LAYER_STATISTICS)) == ("weight", *tracing.VALUES)


def test_the_quantities_of_the_network_that_are_captured_are_those_declared(captured: NetworkStatistics) -> None:
    declared = {name for name, s in STATISTICS.items() if s.type.level is Level.NETWORK and s.estimator is None}
    assert {*captured.quantities, "unit_count"} == declared, "the number of units is the number of layers captured"
    assert {s.name for s in NETWORK_QUANTITIES} < declared


@pytest.mark.parametrize("words", PRIMITIVE_SETS.values(), ids=lambda words: words.name)
def test_a_run_captures_all_that_its_words_may_read(words: PrimitiveSet) -> None:
    problem = Problem(config=config_from({"evolution": {"primitive_set": words.name}}), families=())
    found = capture(Network(), INPUTS, seed=0, statistics=problem.statistics, targets=TARGETS)
    read = {statistic.name for statistic in words.statistics}
    assert read <= {*problem.statistics, *found.quantities, "unit_count", *problem.metrics}
    assert not {*found.quantities} & {*problem.metrics}
    assert read >= {*problem.statistics}
    assert {*found.layers[0], *found.quantities} >= {*problem.statistics}


@every_statistic(OF_LAYERS)
def test_is_captured_with_the_axes_of_its_type(statistic: Statistic, captured: NetworkStatistics) -> None:
    of_sort = {
        Sort.WEIGHT: "weight",
        Sort.INPUT_ACTIVATION: "convolution_input.data",
        Sort.OUTPUT_ACTIVATION: "convolution_output.labelled",
    }
    for layer in captured.layers:
        shapes = {sort: layer[name].shape for sort, name in of_sort.items()}
        assert len(set(shapes.values())) == 3
        assert layer[statistic.name].shape == shapes.get(statistic.type.sort, ())
        assert layer[statistic.name].ndim == len(SHAPES[statistic.type.sort])


@every_statistic({name: s for name, s in STATISTICS.items() if s.non_negative})
def test_is_non_negative_if_it_says_so(statistic: Statistic, captured: NetworkStatistics) -> None:
    if statistic.name in captured.quantities:
        assert (torch.as_tensor(captured.quantities[statistic.name]) >= 0).all()
    assert all((layer[statistic.name] >= 0).all() for layer in captured.layers if statistic.name in layer)


@every_statistic({name: STATISTICS[name] for name in ALL_STATISTICS})
def test_costs_the_passes_it_says(statistic: Statistic, monkeypatch: pytest.MonkeyPatch) -> None:
    n_backward = 0
    gradient = torch.autograd.grad

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal n_backward
        n_backward += 1
        return gradient(*arguments, **options)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    network = Network()
    capture(network, INPUTS, seed=0, statistics=(statistic.name,), targets=TARGETS, with_macs=False)
    runs = 0 if statistic.probe is None else len(statistic.probe.runs)
    assert statistic.probe is None or statistic.probe.runs[-1] is statistic.probe
    assert network.n_passes == max(runs, 1), "the weight alone is read in a pass that the quantities need"
    assert n_backward == runs * statistic.is_gradient
    assert statistic.passes == (0.0 if statistic.probe is None else 3.0 if statistic.is_gradient else 1.0)


@every_statistic({name: STATISTICS[name] for name in ALL_STATISTICS})
def test_needs_classes_if_it_says_so(statistic: Statistic) -> None:
    if statistic.needs_classes:
        with pytest.raises(CaptureError, match="needs the class of each image"):
            capture(Network(), INPUTS, seed=0, statistics=(statistic.name,))
    else:
        capture(Network(), INPUTS, seed=0, statistics=(statistic.name,))


def test_of_the_quantities_only_the_shared_classes_need_classes() -> None:
    found = capture(Network(), INPUTS, seed=0, statistics=tuple(graph.GRAPH_QUANTITIES)).quantities
    for name, statistic in STATISTICS.items():
        if statistic.type.level is Level.NETWORK and statistic.estimator is None:
            assert statistic.needs_classes is (name not in {*found, "unit_count"})


@pytest.mark.parametrize(
    ("name", "latex", "meaning"),
    [
        ("weight", "W", "weight of the convolution"),
        ("weight_grad.noise", r"\nabla W^{N}",
         "gradient of the sum of logits with respect to the weight of the convolution, on Gaussian noise"),
        ("activation_input.data", "a^{D}", "what enters the activation, on images"),
        ("convolution_input_grad.perturbed", r"\nabla x^{P}",
         "gradient of the sum of logits with respect to what enters the convolution, "
         "change when the images get a little noise"),
        ("activation_output_grad.labelled", r"\nabla y^{L}",
         "gradient of the loss with respect to what leaves the normalisation, on images with their classes"),
        ("convolution_output.labelled", "z^{L}", "what leaves the convolution, on images with their classes"),
        ("weight_grad.linearised", r"\nabla W^{1}",
         "gradient of the sum of logits with respect to the weight of the convolution, on an image of ones, with the "
         "magnitudes of all parameters and without normalisation"),
        ("same_class", "S", "which images share a class"),
        ("mac_count", "N_{mac}", "multiply-accumulates of one image"),
        ("path_share", r"\varphi", "share of all paths that go through the layer"),
        ("longest_path", r"\Delta_{max}", "most layers on a path from the input to the logits"),
    ],
)  # fmt: skip
def test_says_what_it_is(name: str, latex: str, meaning: str) -> None:
    assert STATISTICS[name].name == name
    assert STATISTICS[name].latex == latex
    assert STATISTICS[name].meaning == meaning


def test_no_two_statistics_look_or_mean_the_same() -> None:
    for attribute in ("name", "latex", "meaning"):
        assert len({getattr(s, attribute) for s in STATISTICS.values()}) == len(STATISTICS)


def test_a_gradient_without_a_probe_is_refused() -> None:
    quantity = Quantity("own", STATISTICS["weight"].type, "o", "what is one's own")
    with pytest.raises(ValueError, match=r"^The gradient of 'own' takes a backward pass; say after which probe$"):
        Statistic(quantity, is_gradient=True)
    own = Statistic(quantity, Probe.LABELLED, is_gradient=True)
    assert own.meaning == "gradient of the loss with respect to what is one's own, on images with their classes"

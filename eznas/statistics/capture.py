"""The statistics of one network, captured: the step from an ``nn.Module`` to plain data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from eznas.errors import CaptureError, UnfitError
from eznas.names import one_line
from eznas.statistics import graph, tracing
from eznas.statistics.macs import count_macs
from eznas.statistics.running import Unfit
from eznas.statistics.tracing import Coverage

OF_LAYERS = (*tracing.ALL_STATISTICS, *graph.GRAPH_LAYER_STATISTICS)
"""Statistics that each unit may show."""
ALL_STATISTICS = (*OF_LAYERS, *graph.GRAPH_QUANTITIES)
"""All that a capture may be asked for."""


@dataclass(frozen=True, slots=True)
class NetworkStatistics:
    """What the units of one network showed, and the network's own quantities.

    Attributes:
        layers: one mapping per unit from statistic (``"weight_grad.noise"``) to tensor, in order of execution;
            activations are (batch, channels, height, width), weights (out, in / groups, kernel, kernel); statistics
            of the graph of layers are () and float64.
        quantities: ``parameter_count``, and ``mac_count`` in multiply-accumulates per image; with classes also the
            (batch, batch) float64 matrix ``same_class``; those of the graph that were asked for; and whatever else
            was computed of the network, such as the scores of published estimators, NaN where there is none.
        roles: of each unit, see `eznas.statistics.wiring`.
        coverage: how much of the network the units are; None if that is not known.
        failures: of quantities that have no value, the kind of failure and why, where that is known.
    """

    layers: tuple[Mapping[str, Tensor], ...]
    quantities: Mapping[str, float | Tensor]
    roles: tuple[str, ...] = ()
    coverage: Coverage | None = None
    failures: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of all statistics."""
        return sum(tensor.nbytes for layer in self.layers for tensor in layer.values())


def capture(
    network: nn.Module,
    inputs: Tensor,
    *,
    seed: int,
    statistics: Collection[str] | None = None,
    targets: Tensor | None = None,
    units: str = "layers",
    with_macs: bool = True,
) -> NetworkStatistics:
    """Captures the statistics of `network` and leaves it exactly as it was found.

    Values that are not finite are kept: whether a program can live with them is for the program to show.

    Args:
        network: maps `inputs` to one tensor of logits.
        inputs: (batch, ...) float tensor on the device of the network.
        seed: of the noise and the perturbation of the probes.
        statistics: names from ``ALL_STATISTICS``; the paper's 22 by default. Probes nobody asks for are not run.
        targets: (batch,) class of each image, which labelled statistics need.
        units: the reading, one of ``UNITS``.
        with_macs: also count multiply-accumulates, which takes a pass of two images.

    Raises:
        CaptureError: if the network cannot be run on `inputs`, a name in `statistics` is unknown, or `targets` lack;
            `UnfitError` if it has no unit, does not return logits, or lacks a class in `targets`.
    """
    try:
        found = graph.capture_with_graph(
            network, inputs, seed=seed, statistics=statistics, targets=targets, units=units
        )
        quantities = found.quantities
        if with_macs:
            counted = {"mac_count": float(count_macs(network, inputs[:2]))}
            quantities = {"parameter_count": quantities["parameter_count"], **counted, **quantities}
    except Exception as error:  # a foreign forward pass may raise anything; the cause stays attached
        kind = UnfitError if isinstance(error, Unfit) else CaptureError
        raise kind(
            f"Could not capture the statistics of {type(network).__name__} on inputs of shape "
            f"{tuple(inputs.shape)}: {one_line(error, 300)}"
        ) from error
    return NetworkStatistics(tuple(found.units), quantities, tuple(found.roles), found.coverage)


def counts(network: nn.Module, inputs: Tensor) -> dict[str, float]:
    """``parameter_count`` and ``mac_count`` (per image) of a network, whatever it returns and whatever it shows.

    Raises:
        CaptureError: if the network cannot be run on `inputs`; `UnfitError` if it hides its layers.
    """
    try:
        n_macs = count_macs(network, inputs[:2])
    except Unfit as error:
        raise UnfitError(str(error)) from error
    except Exception as error:  # a foreign forward pass may raise anything; the cause stays attached
        raise CaptureError(
            f"{type(network).__name__} could not be scored, because a pass through it failed: {one_line(error, 300)}"
        ) from error
    return {"parameter_count": float(count_parameters(network)), "mac_count": float(n_macs)}


def count_parameters(network: nn.Module) -> int:
    """Number of parameters of a network; no pass is needed."""
    return sum(parameter.numel() for parameter in network.parameters())

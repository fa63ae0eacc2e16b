"""Operators that take one value per layer to one value per network."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from primitives.aspects import Aspect
from primitives.elementwise import log
from primitives.numerics import LOG_FLOOR, count_layers, per_item, segment_extreme, segment_sum
from primitives.primitive import Layers, primitive
from primitives.types import LAYER_SCALAR, NETWORK_SCALAR, PER_LAYER, PerNetwork


@primitive(
    "sum_layers",
    (PER_LAYER,),
    PerNetwork(PER_LAYER),
    latex=r"\sum_\ell {0}",
    precedence=12,
    is_aggregation=True,
    passes=0.0,
)
def sum_layers(x: Float[Tensor, "n_layers *s"], layers: Layers) -> Float[Tensor, "n_networks *s"]:
    """Sum over the layers of each network."""
    return segment_sum(x, layers.network, layers.n_networks)


@primitive(
    "mean_layers", (PER_LAYER,), PerNetwork(PER_LAYER),
    latex=r"\frac{{1}}{{L}} \sum_\ell {0}", precedence=12, is_aggregation=True, passes=0.0,
)  # fmt: skip
def mean_layers(x: Float[Tensor, "n_layers *s"], layers: Layers) -> Float[Tensor, "n_networks *s"]:
    """Mean over the layers of each network; NaN for a network without layers."""
    return segment_sum(x, layers.network, layers.n_networks) / count_layers(layers.network, layers.n_networks, x)


@primitive(
    "min_layers",
    (LAYER_SCALAR,),
    NETWORK_SCALAR,
    latex=r"\min_\ell {0}",
    precedence=12,
    is_aggregation=True,
    passes=0.0,
)
def min_layers(x: Float[Tensor, " n_layers"], layers: Layers) -> Float[Tensor, " n_networks"]:
    """Smallest value over the layers of each network; NaN for a network without layers."""
    return segment_extreme(x, layers.network, layers.n_networks, "amin")


@primitive(
    "max_layers",
    (LAYER_SCALAR,),
    NETWORK_SCALAR,
    latex=r"\max_\ell {0}",
    precedence=12,
    is_aggregation=True,
    passes=0.0,
)
def max_layers(x: Float[Tensor, " n_layers"], layers: Layers) -> Float[Tensor, " n_networks"]:
    """Largest value over the layers of each network; NaN for a network without layers."""
    return segment_extreme(x, layers.network, layers.n_networks, "amax")


@primitive(
    "first_layer",
    (PER_LAYER,),
    PerNetwork(PER_LAYER),
    latex=r"\left[{0}\right]_{{\ell=1}}",
    is_aggregation=True,
    passes=0.0,
)
def first_layer(x: Float[Tensor, "n_layers *s"], layers: Layers) -> Float[Tensor, "n_networks *s"]:
    """Value at the first layer executed; NaN for a network without layers."""
    chosen = layers.depth == 0
    out = x.new_full((layers.n_networks, *x.shape[1:]), torch.nan)
    return out.index_copy(0, layers.network[chosen], x[chosen])


@primitive(
    "last_layer",
    (PER_LAYER,),
    PerNetwork(PER_LAYER),
    latex=r"\left[{0}\right]_{{\ell=L}}",
    is_aggregation=True,
    passes=0.0,
)
def last_layer(x: Float[Tensor, "n_layers *s"], layers: Layers) -> Float[Tensor, "n_networks *s"]:
    """Value at the last layer executed; NaN for a network without layers."""
    deepest = segment_extreme(layers.depth.double(), layers.network, layers.n_networks, "amax")
    chosen = layers.depth == deepest[layers.network]
    out = x.new_full((layers.n_networks, *x.shape[1:]), torch.nan)
    return out.index_copy(0, layers.network[chosen], x[chosen])


@primitive(
    "depth_weighted_mean_layers", (PER_LAYER,), PerNetwork(PER_LAYER),
    latex=r"\sum_\ell w_\ell\left({0}\right)", precedence=12, is_aggregation=True, passes=0.0,
)  # fmt: skip
def depth_weighted_mean_layers(x: Float[Tensor, "n_layers *s"], layers: Layers) -> Float[Tensor, "n_networks *s"]:
    """Mean over the layers with weights 1, 2, ..., L in order of execution; NaN for a network without layers."""
    weights = (layers.depth + 1).to(x.dtype)
    total = segment_sum(x * per_item(weights, x), layers.network, layers.n_networks)
    sum_of_weights = segment_sum(weights, layers.network, layers.n_networks)
    sum_of_weights = torch.where(sum_of_weights > 0, sum_of_weights, torch.full_like(sum_of_weights, torch.nan))
    return total / per_item(sum_of_weights, total)


@primitive(
    "log_sum_layers",
    (LAYER_SCALAR,),
    NETWORK_SCALAR,
    latex=r"\sum_\ell \ln\left|{0}\right|",
    precedence=12,
    is_aggregation=True,
    passes=0.0,
    sees=Aspect.MAGNITUDES,
    merges=(sum_layers, log),
)
def log_sum_layers(x: Float[Tensor, " n_layers"], layers: Layers) -> Float[Tensor, " n_networks"]:
    """Sum of ``ln(|x| + LOG_FLOOR)`` over the layers of each network, the form of Zen and ZiCo."""
    return segment_sum(torch.log(x.abs() + LOG_FLOOR), layers.network, layers.n_networks)


@primitive(
    "spread_layers",
    (LAYER_SCALAR,),
    NETWORK_SCALAR,
    latex=r"\mathrm{{sd}}_\ell\left({0}\right)",
    is_aggregation=True,
    passes=0.0,
    sees=Aspect.UP_TO_SIGN,
    non_negative=True,
)
def spread_layers(x: Float[Tensor, " n_layers"], layers: Layers) -> Float[Tensor, " n_networks"]:
    """Population standard deviation over the layers of each network; NaN for a network without layers."""
    counts = count_layers(layers.network, layers.n_networks, x)
    centre = segment_sum(x, layers.network, layers.n_networks) / counts
    deviation = (x - centre[layers.network]).square()
    return (segment_sum(deviation, layers.network, layers.n_networks) / counts).sqrt()


AGGREGATIONS = (
    sum_layers, mean_layers, min_layers, max_layers, first_layer, last_layer, depth_weighted_mean_layers,
    log_sum_layers, spread_layers,
)  # fmt: skip

"""More ways from the layers of a network to one number: weighted, by quantiles, over a window of depth, as a trend.

A sum over layers is a count of layers first of all. These are not: doubling a network in depth leaves them where they
are, if its layers stay alike.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from primitives.aspects import Aspect
from primitives.numerics import DIVISION_FLOOR, count_layers, segment_extreme, segment_sum
from primitives.primitive import Layers, primitive
from primitives.types import LAYER_SCALAR, NETWORK_SCALAR, PER_LAYER, PerNetwork


@primitive(
    "weighted_mean_layers", (LAYER_SCALAR, LAYER_SCALAR), NETWORK_SCALAR,
    latex=r"\left\langle {0} \right\rangle_{{{1}}}", is_aggregation=True, passes=0.0,
)  # fmt: skip
def weighted_mean_layers(
    x: Float[Tensor, " n_layers"], weight: Float[Tensor, " n_layers"], layers: Layers
) -> Float[Tensor, " n_networks"]:
    """``Σ |w| x / Σ |w|`` over the layers of each network: by width, by parameters, by a role.

    It is 0 if all weights are 0, NaN for a network without layers.
    """
    share = weight.abs()
    total = segment_sum(share, layers.network, layers.n_networks)
    counts = count_layers(layers.network, layers.n_networks, x)
    weighted = segment_sum(x * share, layers.network, layers.n_networks)
    return weighted * (total / (total * total + DIVISION_FLOOR**2)) * (counts / counts)


@primitive(
    "median_layers", (LAYER_SCALAR,), NETWORK_SCALAR, latex=r"\mathrm{{med}}_\ell\left({0}\right)",
    is_aggregation=True, passes=0.0,
)  # fmt: skip
def median_layers(x: Float[Tensor, " n_layers"], layers: Layers) -> Float[Tensor, " n_networks"]:
    """Median over the layers of each network, of an even number the mean of the middle two; NaN without layers."""
    return _quantile(x, layers, 0.5)


@primitive(
    "low_quartile_layers", (LAYER_SCALAR,), NETWORK_SCALAR, latex=r"\mathrm{{q}}_{{1/4}}\left({0}\right)",
    is_aggregation=True, passes=0.0,
)  # fmt: skip
def low_quartile_layers(x: Float[Tensor, " n_layers"], layers: Layers) -> Float[Tensor, " n_networks"]:
    """Lower quartile over the layers of each network, linear between the nearest two; NaN without layers."""
    return _quantile(x, layers, 0.25)


@primitive(
    "high_quartile_layers", (LAYER_SCALAR,), NETWORK_SCALAR, latex=r"\mathrm{{q}}_{{3/4}}\left({0}\right)",
    is_aggregation=True, passes=0.0,
)  # fmt: skip
def high_quartile_layers(x: Float[Tensor, " n_layers"], layers: Layers) -> Float[Tensor, " n_networks"]:
    """Upper quartile over the layers of each network, linear between the nearest two; NaN without layers."""
    return _quantile(x, layers, 0.75)


@primitive(
    "early_mean_layers", (PER_LAYER,), PerNetwork(PER_LAYER), latex=r"\left\langle {0} \right\rangle_{{early}}",
    is_aggregation=True, passes=0.0,
)  # fmt: skip
def early_mean_layers(x: Float[Tensor, "n_layers *s"], layers: Layers) -> Float[Tensor, "n_networks *s"]:
    """Mean over the first half of the layers in order of execution, the middle one included; NaN without layers."""
    return _mean_where(x, layers, _relative_depth(layers) <= 0.5)


@primitive(
    "late_mean_layers", (PER_LAYER,), PerNetwork(PER_LAYER), latex=r"\left\langle {0} \right\rangle_{{late}}",
    is_aggregation=True, passes=0.0,
)  # fmt: skip
def late_mean_layers(x: Float[Tensor, "n_layers *s"], layers: Layers) -> Float[Tensor, "n_networks *s"]:
    """Mean over the second half of the layers in order of execution, the middle one included; NaN without layers."""
    return _mean_where(x, layers, _relative_depth(layers) >= 0.5)


@primitive(
    "slope_layers", (LAYER_SCALAR,), NETWORK_SCALAR, latex=r"\partial_\ell\left({0}\right)",
    is_aggregation=True, passes=0.0,
)  # fmt: skip
def slope_layers(x: Float[Tensor, " n_layers"], layers: Layers) -> Float[Tensor, " n_networks"]:
    """Slope of the least-squares line through the values against relative depth, from 0 at the first layer to 1.

    It is how much a value grows from the images to the logits; 0 of one layer, NaN without layers.
    """
    depth = _relative_depth(layers).to(x.dtype)
    counts = count_layers(layers.network, layers.n_networks, x)
    centre = depth - (segment_sum(depth, layers.network, layers.n_networks) / counts)[layers.network]
    spread = segment_sum(centre.square(), layers.network, layers.n_networks)
    together = segment_sum(x * centre, layers.network, layers.n_networks)
    return together * (spread / (spread * spread + DIVISION_FLOOR**2)) * (counts / counts)


@primitive(
    "participation_layers", (LAYER_SCALAR,), NETWORK_SCALAR, latex=r"\mathrm{{pr}}_\ell\left({0}\right)",
    is_aggregation=True, passes=0.0, sees=Aspect.UP_TO_SIGN, non_negative=True,
)  # fmt: skip
def participation_layers(x: Float[Tensor, " n_layers"], layers: Layers) -> Float[Tensor, " n_networks"]:
    """``(Σ x)² / (L Σ x²)`` over the L layers of each network, in [0, 1], whatever the scale.

    It is 1 if all are alike, 1/L if one layer has all, 0 if all are 0; NaN without layers.
    """
    counts = count_layers(layers.network, layers.n_networks, x)
    largest = segment_extreme(x.abs(), layers.network, layers.n_networks, "amax")
    scaled = x / torch.where(largest > 0, largest, torch.ones_like(largest))[layers.network]
    total = segment_sum(scaled, layers.network, layers.n_networks)
    energy = segment_sum(scaled.square(), layers.network, layers.n_networks)
    return total.square() / counts * (energy / (energy * energy + DIVISION_FLOOR**2))


def _relative_depth(layers: Layers) -> Tensor:
    """(n_layers,) float64 place of each layer in order of execution, 0 the first and 1 the last; .5 of a single one."""
    depth = layers.depth.double()
    deepest = segment_extreme(depth, layers.network, layers.n_networks, "amax")[layers.network]
    return torch.where(deepest > 0, depth / deepest.clamp(min=1.0), torch.full_like(depth, 0.5))


def _mean_where(x: Tensor, layers: Layers, chosen: Tensor) -> Tensor:
    """(n_layers, ...) -> (n_networks, ...) mean over the chosen layers of each network; NaN without any."""
    network = layers.network[chosen]
    return segment_sum(x[chosen], network, layers.n_networks) / count_layers(network, layers.n_networks, x)


def _quantile(x: Tensor, layers: Layers, share: float) -> Tensor:
    """(n_layers,) -> (n_networks,) quantile of each network, linear between the nearest two; NaN with NaN or without
    layers."""
    by_value = torch.argsort(x, stable=True)
    ordered = x[by_value[torch.argsort(layers.network[by_value], stable=True)]]
    counts = torch.bincount(layers.network, minlength=layers.n_networks)
    start = counts.cumsum(0) - counts
    place = share * (counts - 1).clamp(min=0).double()
    low = place.floor()
    last = (start + counts - 1).clamp(min=0)
    room = max(len(x) - 1, 0)
    at = torch.minimum(start + low.long(), last).clamp(max=room)
    after = torch.minimum(start + low.long() + 1, last).clamp(max=room)
    if not len(x):
        return x.new_full((layers.n_networks,), torch.nan)
    rest = (place - low).to(x.dtype)
    value = torch.where(rest > 0, ordered[at] + rest * (ordered[after] - ordered[at]), ordered[at])
    missing = segment_sum(x.isnan().to(x.dtype), layers.network, layers.n_networks) > 0
    return torch.where((counts == 0) | missing, torch.full_like(value, torch.nan), value)


PROFILES = (
    weighted_mean_layers, median_layers, low_quartile_layers, high_quartile_layers, early_mean_layers,
    late_mean_layers, slope_layers, participation_layers,
)  # fmt: skip

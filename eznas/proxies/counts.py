"""How large a network is: the baselines every estimator has to beat."""

from __future__ import annotations

from torch import Tensor, nn

from eznas.proxies.passes import own_draws, readable_errors
from eznas.statistics.tracing import run_probe


def parameter_count(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Number of parameters, the affine ones of batch normalisation included."""
    del inputs, targets
    return float(sum(parameter.numel() for parameter in network.parameters()))


def mac_count(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Multiply-accumulates of all convolutions and linear layers for one image; a bias counts as one.

    This is the "FLOPs" of NAS-Bench-201, which counts neither normalisation nor pooling.
    """
    del targets
    with readable_errors(), own_draws(inputs.device):
        return float(run_probe(network, inputs[:2], gradients=False, names=()).mac_count)

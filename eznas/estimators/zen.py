"""The Zen score: how strongly a network with Gaussian weights answers to a small change of a Gaussian image."""

from __future__ import annotations

import math
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from eznas.errors import UnfitError
from eznas.estimators.passes import Call, Function, exact_sum, forward, gaussian_images, gaussian_state
from eznas.statistics.torch_functions import LINEAR, argument

ZEN_SEED: Final = 0
"""Of the weights and the images."""
ZEN_STEP: Final = 0.01
"""Standard deviation of the change."""
POOLING: Final[frozenset[Function]] = frozenset(
    {
        *(F.adaptive_avg_pool2d, F.avg_pool2d, F.adaptive_max_pool2d, F.max_pool2d),
        *(torch.mean, Tensor.mean, torch.amax, Tensor.amax),
    }
)


def zen(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Log sensitivity of the last features to noise, with the scale that batch normalisation removed put back.

        score = ln mean_n sum \\|f(x_n) - f(x_n + 0.01 e_n)\\| + sum_l ln sqrt(mean running_var_l),

    with l over batch normalisations. f are the features before the last global pooling (or, where there is none, before
    the last linear layer), x and e are N(0, 1) of the shape of `inputs`, whose values are not used. Weights are
    re-drawn from N(0, 1) on a copy, biases are 0, normalisation is as new, so that after the two passes in train mode
    ``running_var`` is a weighted mean of 1 and two batches' variances. One draw of weights and images, as in
    NAS-Bench-Suite-Zero; the released code averages 32 with batches of 16.

    Returns:
        The score in nats; ``-inf`` if the features do not depend on the image, as with a zero output.

    Raises:
        CaptureError: if a batch normalisation does not track running statistics, or the network has neither global
            pooling nor a linear layer.

    Source: `Lin 2021 <https://arxiv.org/abs/2102.01063>`_, as in the released code.
    """
    del targets
    generator = torch.Generator().manual_seed(ZEN_SEED)
    state = gaussian_state(network, generator)
    variances = _running_variances(network)
    images, change = (gaussian_images(inputs.shape, inputs, generator) for _ in range(2))
    with torch.no_grad():
        here, there = (_last_features(network, batch, state) for batch in (images, images + ZEN_STEP * change))
    difference = float((here - there).abs().flatten(1).sum(dim=1, dtype=torch.float64).mean())
    if difference == 0:
        return -math.inf
    scales = [float(state[name].double().mean()) for name in variances]
    return math.log(difference) + exact_sum(math.log(scale) / 2 for scale in scales)


def _running_variances(network: nn.Module) -> list[str]:
    """Names of the running variances of all batch normalisations."""
    names = []
    for prefix, module in network.named_modules():
        if isinstance(module, _BatchNorm):
            if module.running_var is None:
                raise UnfitError(
                    f"Batch normalisation {prefix!r} of {type(network).__name__} does not track running statistics, of "
                    f"which zen needs the variance; build it with track_running_stats=True."
                )
            names.append(f"{prefix}.running_var" if prefix else "running_var")
    return names


def _last_features(network: nn.Module, images: Tensor, state: dict[str, Tensor]) -> Tensor:
    """The input of the last global pooling over height and width, else of the last linear layer, batch first."""
    pooled: list[Tensor] = []
    linear: list[Tensor] = []

    def record(call: Call, result: Any) -> Any:
        function, args, kwargs = call
        if function in POOLING:
            features = argument(args, kwargs)
            if features.dim() == 4 and isinstance(result, Tensor) and result.numel() == math.prod(features.shape[:2]):
                pooled[:] = [features.detach()]
        elif function in LINEAR:
            linear[:] = [argument(args, kwargs).detach()]
        return result

    forward(network, images, state, on_result=record)
    found = pooled or linear
    if not found:
        raise UnfitError(
            f"{type(network).__name__} has neither a global pooling nor a linear layer; zen scores the features before "
            f"the last of them."
        )
    return found[0]

"""Networks whose weights are computed from other parameters, as by weight or spectral normalisation."""

from __future__ import annotations

import copy
import warnings
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm


def with_plain_weights(network: nn.Module) -> nn.Module:
    """A network that computes the same from weights of its own: `network` itself if no weight is computed.

    Estimators that add up something over weights then see those that are used, and not what they are computed from.
    """
    if not any(_is_parametrised(module) for module in network.modules()):
        return network
    computed = [
        value for module in network.modules() for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    ]  # fmt: skip
    copies: dict[int, Any] = {id(value): value.detach().clone() for value in computed}  # which torch does not copy
    twin = copy.deepcopy(network, copies)
    for module in twin.modules():
        if parametrize.is_parametrized(module):  # torch's own removal would change the class, which both share
            parametrised: Any = module.parametrizations
            values = {name: getattr(module, name).detach().clone() for name in parametrised}
            module.__class__ = parametrize.type_before_parametrizations(module)
            del module.parametrizations
            for name, value in values.items():
                module.register_parameter(name, nn.Parameter(value))
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, WeightNorm):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", FutureWarning)
                    remove_weight_norm(module, hook.name)
            elif isinstance(hook, SpectralNorm):
                remove_spectral_norm(module, hook.name)
    return twin


def _is_parametrised(module: nn.Module) -> bool:
    hooks = module._forward_pre_hooks.values()
    return parametrize.is_parametrized(module) or any(isinstance(hook, WeightNorm | SpectralNorm) for hook in hooks)

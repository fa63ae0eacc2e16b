"""Multiply-accumulates (MACs) that a network performs for one image, by one convention.

Counted is every product of matrices, however it is called: ``@``, ``matmul``, ``bmm``, ``addmm``, ``baddbmm``,
``einsum``, ``tensordot``, and what is inside functions of others, scripted ones too; modules that are scripted as a
whole are refused. A product of (n, k) and (k, m) is
n k m MACs. Layers are counted as a whole, whatever kernel computes them:

* convolutions and linear layers: each output costs as many MACs as it has inputs, and **one more for a bias**, the
  convention of NAS-Bench-201; transposed convolutions each input as many as it has outputs, and each output one for a
  bias; a bilinear layer each weight and each bias once for each row;
* attention, ``nn.MultiheadAttention`` and ``scaled_dot_product_attention``: the projections as linear layers, the
  scores and the weighted sum as products of matrices, all of them, masked or not;
* LSTM, GRU, RNN and their cells: each weight and each bias once for each step and example.

Normalisation, activations, softmax, pooling, look-ups and sums count nothing. Neither does what does not depend on the
images: a weight made of others (spectral normalisation), a table of positions sent through a network of its own.

So the count is half of what ``torch.utils.flop_counter.FlopCounterMode`` says, plus what that leaves out: biases,
recurrent layers, products of a matrix and a vector, and fused attention on a processor. The network runs in evaluation
mode, as its user would run it; what torch calls its fast paths, which hide their work in one call, are not taken. What
the network returns does not matter. Not seen are products inside compiled extensions and ``flex_attention``.

This module needs nothing but torch and the standard library, because exported proxies carry its source with them.
"""

from __future__ import annotations

import inspect
import math
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from eznas.statistics.running import as_found, own_draws, refuse_hidden
from eznas.statistics.torch_functions import CONVOLUTIONS, LINEAR, TRANSPOSED, argument, functions
from eznas.statistics.wiring import tensors_in

BILINEAR = functions("bilinear")
RECURRENT = functions("lstm", "gru", "rnn_tanh", "rnn_relu")
RECURRENT_CELLS = functions("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
FIRST_FACTOR: Mapping[str, int] = {
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "vdot"), 0),
    **dict.fromkeys((f"{name}{end}" for name in ("addmm", "baddbmm", "addbmm", "addmv") for end in ("", "_")), 1),
}
"""Operators that multiply matrices or vectors, and the position of the first of the two."""
FUSED_ATTENTION = "_scaled_dot_product_"
"""How the operators begin that compute attention in one."""


def count_macs(network: nn.Module, inputs: Tensor) -> int:
    """Multiply-accumulates of `network` for one image; it is left as it was found.

    Args:
        network: maps `inputs` to anything.
        inputs: (batch, ...) on the device of the network; two images are enough.

    Raises:
        Unfit: if its layers cannot be told from what does not depend on the images, because a module is scripted.
        Exception: whatever the forward pass raises.
    """
    refuse_hidden(network)
    counter = MacCounter([*network.parameters(), *network.buffers()])
    with torch.inference_mode(False), torch.no_grad():
        images = inputs.detach().clone()
        with as_found(network, training=False), own_draws(network, images.device), counter:
            network(images)
    return counter.n_macs // len(images)


class MacCounter(TorchFunctionMode):
    """Adds up the multiply-accumulates of what is computed inside.

    Args:
        parameters: the parameters and buffers of the network; what is made of them alone counts nothing.
    """

    def __init__(self, parameters: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self._products = _Products()
        self._constants: dict[int, tuple[weakref.ref[Tensor], int]] = {}  # by id: the tensor and its version
        for parameter in parameters:
            self._note_constant(parameter)

    @property
    def n_macs(self) -> int:
        """Of all images together."""
        return self._products.n_macs

    def __enter__(self) -> Any:
        self._products.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._products.__exit__(*error)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        before = self._products.n_macs
        tensors = [*tensors_in((*args, *kwargs.values()))]
        is_constant = bool(tensors) and all(map(self._is_constant, tensors))
        result = func(*args, **kwargs)
        if is_constant:
            self._products.n_macs = before
            for tensor in tensors_in((result,)):
                self._note_constant(tensor)
        elif func in _LAYERS:
            self._products.n_macs = before + _LAYERS[func](args, kwargs, result)
        return result

    def _is_constant(self, tensor: Tensor) -> bool:
        known, version = self._constants.get(id(tensor), (None, 0))
        return known is not None and known() is tensor and tensor._version == version

    def _note_constant(self, tensor: Tensor) -> None:
        self._constants[id(tensor)] = weakref.ref(tensor), tensor._version


class _Products(TorchDispatchMode):
    """Adds up the products of matrices that torch's own operators are asked for, inside whatever functions."""

    def __init__(self) -> None:
        super().__init__()
        self.n_macs = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here, so that torch need not load its compiler for this, which takes seconds."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::")
        if name in FIRST_FACTOR:
            left, right = args[FIRST_FACTOR[name] :][:2]
            self.n_macs += left.numel() * (right.shape[-1] if right.dim() > 1 else 1)
        elif name in ("convolution", "_convolution"):
            source, weight, bias, is_transposed = args[0], args[1], args[2], args[6]
            self.n_macs += (source if is_transposed else result).numel() * weight[0].numel()
            self.n_macs += 0 if bias is None else result.numel()
        elif name.startswith(FUSED_ATTENTION):
            self.n_macs += _attention(*args[:3])
        return result


def _attention(query: Tensor, key: Tensor, value: Tensor) -> int:
    """Scores and weighted sum of (..., targets, k) queries, (..., sources, k) keys and (..., sources, v) values."""
    n_rows = query.numel() // max(query.shape[-1], 1)
    return n_rows * key.shape[-2] * (query.shape[-1] + value.shape[-1])


# Layers: the MACs of a call from its arguments and its result --------------------------------------------------------


def _of_linear(args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Tensor) -> int:
    """Of a convolution or linear layer: each output sums its inputs."""
    weight, bias = argument(args, kwargs, 1, "weight"), argument(args, kwargs, 2, "bias")
    return result.numel() * (weight[0].numel() + (bias is not None))


def _of_transposed(args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Tensor) -> int:
    weight, bias = argument(args, kwargs, 1, "weight"), argument(args, kwargs, 2, "bias")
    return argument(args, kwargs).numel() * weight[0].numel() + (0 if bias is None else result.numel())


def _of_bilinear(args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Tensor) -> int:
    weight, bias = argument(args, kwargs, 2, "weight"), argument(args, kwargs, 3, "bias")
    return result.numel() * (weight[0].numel() + (bias is not None))


def _of_attention(args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Tensor) -> int:
    names = ("query", "key", "value")
    return _attention(*(argument(args, kwargs, position, name) for position, name in enumerate(names)))


def _of_multihead_attention(args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> int:
    """Projections of queries, keys and values, scores, weighted sum, and the projection of what comes out."""
    given = _MULTIHEAD.bind(*args, **kwargs).arguments
    width = given["embed_dim_to_check"]
    together = given["in_proj_weight"]
    weights = [given[f"{name}_proj_weight"] for name in "qkv"] if together is None else together.chunk(3)
    rows = [math.prod(given[name].shape[:-1]) for name in ("query", "key", "value")]
    has_bias, n_sources = given["in_proj_bias"] is not None, given["key"].shape[0]
    n_sources += (given["bias_k"] is not None) + bool(given["add_zero_attn"])
    n = sum(n_rows * (weight.numel() + has_bias * width) for n_rows, weight in zip(rows, weights, strict=True))
    n += 2 * rows[0] * n_sources * width
    out, bias = given["out_proj_weight"], given["out_proj_bias"]
    return int(n) + rows[0] * (out.numel() + (0 if bias is None else width))


def _of_recurrent(args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> int:
    """Of a sequence, padded or packed, whose parameters are the last list of tensors."""
    parameters = [value for value in (*args, *kwargs.values()) if isinstance(value, tuple | list)][-1]
    return math.prod(argument(args, kwargs).shape[:-1]) * sum(parameter.numel() for parameter in parameters)


def _of_cell(args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> int:
    """Of one step, whose parameters follow the input and the state."""
    parameters = [value for value in (*args[2:], *kwargs.values()) if value is not None]
    return math.prod(argument(args, kwargs).shape[:-1]) * sum(parameter.numel() for parameter in parameters)


_MULTIHEAD = inspect.signature(F.multi_head_attention_forward)
_LAYERS: Mapping[Callable[..., Any], Callable[[tuple[Any, ...], Mapping[str, Any], Any], int]] = {
    **dict.fromkeys(CONVOLUTIONS | LINEAR, _of_linear),
    **dict.fromkeys(TRANSPOSED, _of_transposed),
    **dict.fromkeys(BILINEAR, _of_bilinear),
    **dict.fromkeys(RECURRENT, _of_recurrent),
    **dict.fromkeys(RECURRENT_CELLS, _of_cell),
    F.scaled_dot_product_attention: _of_attention,
    F.multi_head_attention_forward: _of_multihead_attention,
}

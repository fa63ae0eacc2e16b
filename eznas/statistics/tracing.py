"""What an untrained network shows in a forward and a backward pass, unit by unit, for any ``torch.nn.Module``.

A *unit* is activation -> convolution -> normalisation. Units are found by following tensors, not modules: a
``TorchFunctionMode`` sees every functional call of one forward pass, and a convolution belongs to the activation whose
output *is* its input and to the normalisation whose input *is* its output. Functional code, shared modules and
registration order make no difference. If a network has a complete convolutional unit, its units are exactly those;
otherwise, and if all units are asked for, every convolution and every linear layer is one.

A *probe* is a batch that excites the network: the data, Gaussian noise of the same shape, and the data with a little
noise on top. Gradients are those of the sum of the logits. Published estimators need two more: the data with their
classes, with gradients of the mean cross-entropy, and one image of ones through the *linearised* network, with the
magnitudes of all parameters and without batch normalisation, in double precision.

This module needs nothing but torch and the standard library, because exported proxies carry its source with them.

Source: `Akhauri 2022 <https://arxiv.org/abs/2209.07413>`_, section 3 (network statistics), with the module counting
of its released code replaced by tracing; `Tanaka 2020 <https://arxiv.org/abs/2006.05467>`_, eq. 2 (linearised).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

PROBES = ("data", "noise", "perturbed")
PERTURBATION_VARIANCE = 0.01
VALUES = ("activation_input", "convolution_input", "activation_output")
STATISTICS = (
    "weight",
    *(f"weight_grad.{probe}" for probe in PROBES),
    *(f"{value}{suffix}.{probe}" for value in VALUES for suffix in ("", "_grad") for probe in PROBES),
)
LABELLED, LINEARISED = "labelled", "linearised"
LABELLED_STATISTICS = (
    *(f"{value}_grad.{LABELLED}" for value in ("weight", *VALUES, "convolution_output")),
    f"convolution_output.{LABELLED}",
    f"weight_grad.{LINEARISED}",
)
ALL_STATISTICS = (*STATISTICS, *LABELLED_STATISTICS)
RECORDED = (*VALUES, "convolution_output")
UNITS = ("convolutional", "all")


def functions(*names: str) -> frozenset[Callable[..., Any]]:
    """Every way torch offers to call the functions of these names."""
    places = (F, torch, torch.Tensor)
    return frozenset(getattr(place, name) for name in names for place in places if hasattr(place, name))


KINKED = ("relu", "relu6", "leaky_relu", "prelu", "rrelu")
"""Activations with a kink at zero; hardtanh has it there only as ReLU6."""
ACTIVATIONS = functions(
    *(*KINKED, "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "hardtanh", "hardswish", "hardsigmoid"),
    *("sigmoid", "logsigmoid", "tanh", "tanhshrink", "softsign", "threshold"),
)
NORMALISATIONS = functions("batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm")
CONVOLUTIONS = functions("conv1d", "conv2d", "conv3d")
TRANSPOSED = functions("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
LINEAR = functions("linear")
BATCH_NORMALISATIONS = functions("batch_norm")
DROPOUT = functions("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
OUT_OF_PLACE: Mapping[Callable[..., Any], Callable[..., Any]] = {
    in_place: getattr(torch.Tensor, name, None) or getattr(F, name)
    for name in (
        *("relu", "leaky_relu", "rrelu", "elu", "selu", "celu", "hardtanh", "sigmoid", "tanh", "threshold"),
        *("add", "sub", "mul", "div", "clamp", "clamp_min", "clamp_max", "neg", "exp", "abs", "pow", "square", "sqrt"),
    )
    for in_place in functions(f"{name}_")
} | {
    torch.Tensor.__iadd__: torch.Tensor.__add__,
    torch.Tensor.__isub__: torch.Tensor.__sub__,
    torch.Tensor.__imul__: torch.Tensor.__mul__,
    torch.Tensor.__itruediv__: torch.Tensor.__truediv__,
}


@dataclass(frozen=True)
class ProbeRecord:
    """What one probe showed.

    Attributes:
        units: one mapping per unit, in order of execution. ``activation_input`` and ``convolution_input`` are
            (batch, in, height, width); ``convolution_output`` and ``activation_output``, before and after
            normalisation, are (batch, out, height', width'); ``weight`` is (out, in / groups, kernel, kernel); each
            name with ``_grad`` has the shape of its value. Tensors of linear layers are laid out as those of a 1x1
            convolution, tokens along the height.
        parameter_count: number of parameters of the network.
        mac_count: multiply-accumulates of all convolutions and linear layers for one image; a bias counts as one.
        logits: what the network returned, detached.
    """

    units: list[dict[str, Tensor]]
    parameter_count: int
    mac_count: int
    logits: Tensor


@dataclass(eq=False)
class _Call:
    """One call of a convolution or a linear layer, with the tensors before and after it."""

    is_linear: bool
    weight: Tensor
    convolution_input: Tensor
    convolution_output: Tensor
    activation_output: Tensor
    activation_input: Tensor | None
    is_normalised: bool = False

    @property
    def is_complete(self) -> bool:
        return not self.is_linear and self.is_normalised and self.activation_input is not None

    def value(self, name: str) -> Tensor:
        if name == "activation_input" and self.activation_input is None:
            return self.convolution_input
        found: Tensor = getattr(self, name)
        return found

    def laid_out(self, name: str, tensor: Tensor) -> Tensor:
        """`tensor` with four axes: (batch, channels, height, width), or (out, in, height, width) for a weight."""
        if self.is_linear and name != "weight":
            tensor = tensor.movedim(-1, 1)
        while tensor.dim() < 4:
            tensor = tensor.unsqueeze(-1)
        return tensor.flatten(3).contiguous()


class _Tracer(TorchFunctionMode):
    """Watches one forward pass and records its convolutions and linear layers.

    With `gradients`, each activation and convolution receives an alias of its input, and each convolution an alias of
    its weight, so that a gradient is what flows back through this one consumer and not the sum over all of them.
    Operations in place are carried out of place, and the tensor they would have changed is replaced wherever the
    network uses it again: values already recorded stay what they were. Dropout is the identity: a proxy scores the
    network, not one draw of a mask. So is batch normalisation, if the network is to be `linearised`.
    """

    def __init__(self, *, gradients: bool, linearised: bool = False) -> None:
        super().__init__()
        self.gradients = gradients
        self.linearised = linearised
        self.calls: list[_Call] = []
        self.n_macs = 0
        # By id of a tensor that the value keeps alive, so that no id can be used twice.
        self._activations: dict[int, tuple[Tensor, Tensor]] = {}
        self._open: dict[int, _Call] = {}
        self._replaced: dict[int, tuple[Tensor, Tensor]] = {}
        self._versions: dict[int, int] = {}

    def current(self, value: Any) -> Any:
        """`value` with each tensor that was changed in place exchanged for its present state."""
        if isinstance(value, Tensor):
            while id(value) in self._replaced:
                value = self._replaced[id(value)][1]
            return value
        if isinstance(value, tuple | list):
            items = [self.current(item) for item in value]
            return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
        if isinstance(value, dict):
            return {key: self.current(item) for key, item in value.items()}
        return value

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._replaced:
            args, kwargs = self.current(args), self.current(kwargs)
        if func in DROPOUT:
            return argument(args, kwargs)
        changed = self._changed_in_place(func, args, kwargs)
        if changed is not None:
            func, kwargs = OUT_OF_PLACE.get(func, func), {k: v for k, v in kwargs.items() if k != "inplace"}
        result = self._called(func, args, kwargs)
        if changed is not None:
            self._replaced[id(changed)] = (changed, result)
        return result

    def _changed_in_place(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor | None:
        if func in OUT_OF_PLACE or (kwargs.get("inplace") and func in ACTIVATIONS):
            target = argument(args, kwargs)
            if isinstance(target, Tensor) and target.is_floating_point():
                return target
        return None

    def _called(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if func in CONVOLUTIONS or func in LINEAR:
            return self._convolution(func, args, kwargs)
        if func in ACTIVATIONS:
            alias = self._alias(argument(args, kwargs))
            result = func(*_replace(args, kwargs, 0, "input", alias), **kwargs)
            self._activations[id(result)] = (result, alias)
            return result
        is_skipped = self.linearised and func in BATCH_NORMALISATIONS
        result = argument(args, kwargs).clone() if is_skipped else func(*args, **kwargs)
        if func in NORMALISATIONS:
            call = self._open.pop(id(argument(args, kwargs)), None)
            if call is not None:
                call.activation_output, call.is_normalised = self._noted(result), True
        elif func in TRANSPOSED:
            source, weight = argument(args, kwargs), argument(args, kwargs, 1, "weight")
            n_bias = 0 if argument(args, kwargs, 2, "bias") is None else result.numel()
            self.n_macs += source.numel() * weight[0].numel() + n_bias
        return result

    def _convolution(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        source, weight = argument(args, kwargs), argument(args, kwargs, 1, "weight")
        alias = self._alias(source)
        leaf = weight.detach().requires_grad_(self.gradients)
        args = _replace(args, kwargs, 0, "input", alias)
        args = _replace(args, kwargs, 1, "weight", leaf)
        result: Tensor = func(*args, **kwargs)
        has_bias = argument(args, kwargs, 2, "bias") is not None
        self.n_macs += result.numel() * (weight[0].numel() + has_bias)
        if result.dim() >= 2:
            _, before = self._activations.get(id(source), (None, None))
            call = _Call(func in LINEAR, leaf, alias, result, self._noted(result), before)
            self.calls.append(call)
            self._open[id(result)] = call
        return result

    def _alias(self, tensor: Tensor) -> Tensor:
        return self._noted(tensor.view_as(tensor) if self.gradients else tensor)

    def _noted(self, tensor: Tensor) -> Tensor:
        self._versions.setdefault(id(tensor), tensor._version)
        return tensor

    def refuse_overwritten(self, calls: Iterable[_Call]) -> None:
        """Raises if a tensor that `calls` refer to holds other values than when it was recorded."""
        for index, call in enumerate(calls):
            for name in RECORDED:
                tensor = call.value(name)
                if tensor._version != self._versions[id(tensor)]:
                    raise RuntimeError(
                        f"The {name} of unit {index} was overwritten later in the forward pass; expected it unchanged, "
                        f"replace the operation in place (an assignment to a slice, or out=) by one that returns a new "
                        f"tensor."
                    )


def argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], position: int = 0, name: str = "input") -> Any:
    """One argument of a call, given by position or by name; by default the input. None if it is not given."""
    return args[position] if len(args) > position else kwargs.get(name)


def _replace(args: tuple[Any, ...], kwargs: dict[str, Any], position: int, name: str, value: Any) -> tuple[Any, ...]:
    """`args` with `value` at `position`; an argument that was given by name is replaced in `kwargs`."""
    if len(args) > position:
        return (*args[:position], value, *args[position + 1 :])
    kwargs[name] = value
    return args


@contextmanager
def _as_found(network: nn.Module) -> Iterator[None]:
    """Puts `network` in train mode, and on leaving restores the mode of every module and the value of every buffer.

    Modes are set module by module and not by ``network.train()``, which a network may override.
    """
    modules = list(network.modules())
    in_evaluation = [module for module in modules if not module.training]
    buffers = [
        (module, name, buffer, buffer.detach().clone())
        for module in modules
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    try:
        for module in in_evaluation:
            module.training = True
        yield
    finally:
        for module in in_evaluation:
            module.training = False
        with torch.no_grad():
            for module, name, buffer, value in buffers:
                module._buffers[name] = buffer.copy_(value)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread on the CPU: the sums of a convolution depend in their last bits on how many threads share them."""
    n_threads = torch.get_num_threads()
    if n_threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def run_probe(
    network: nn.Module,
    inputs: Tensor,
    *,
    gradients: bool = True,
    names: Collection[str] | None = None,
    units: str = "convolutional",
    targets: Tensor | None = None,
    linearised: bool = False,
) -> ProbeRecord:
    """Sends one batch through `network` in train mode and records its units; the network is left as it was found.

    On the CPU one thread is used, so that values are the same to the last bit whatever the number of cores.

    Args:
        network: maps `inputs` to one tensor of logits.
        inputs: (batch, ...) float tensor on the device of the network.
        gradients: also record the gradient of the sum of all logits with respect to every recorded tensor.
        names: the names to record, such as ``{"weight_grad"}``; by default all but those of ``convolution_output``.
        units: ``"convolutional"`` ones alone, if there are any, or ``"all"``.
        targets: (batch,) classes; gradients are then those of the mean cross-entropy.
        linearised: run the network with the magnitudes of its parameters and buffers in double precision, without batch
            normalisation, on one image of ones in place of `inputs`.

    Raises:
        TypeError: if the network does not return one tensor.
        ValueError: if `targets` are not one class of the network for each image.
        RuntimeError: if the network overwrites a recorded tensor in a way that cannot be done out of place.
    """
    if names is None:
        names = [name for value in ("weight", *VALUES) for name in (value, f"{value}_grad")]
    values = [name for name in ("weight", *RECORDED) if name in names]
    differentiated = [name for name in ("weight", *RECORDED) if gradients and f"{name}_grad" in names]
    tracer = _Tracer(gradients=bool(differentiated), linearised=linearised)
    with _one_thread(), _as_found(network), torch.set_grad_enabled(tracer.gradients):
        probe = torch.ones_like(inputs[:1], dtype=torch.float64) if linearised else inputs.detach().clone()
        probe.requires_grad_(tracer.gradients)
        state = _magnitudes(network) if linearised else {}
        with tracer:
            logits = functional_call(network, state, (probe,)) if linearised else network(probe)
        logits = tracer.current(logits)
        if not isinstance(logits, Tensor):
            raise TypeError(
                f"{type(network).__name__} must return one tensor of logits but returned a {type(logits).__name__}; "
                f"wrap it in a module that returns the logits alone."
            )
        calls = tracer.calls if units == "all" else [c for c in tracer.calls if c.is_complete] or tracer.calls
        tracer.refuse_overwritten(calls)
        total = logits.sum() if targets is None else _loss(logits, targets)
        derivatives = iter(_gradients(total, [call.value(name) for call in calls for name in differentiated]))
        found = []
        for call in calls:
            unit = {name: call.laid_out(name, call.value(name).detach()) for name in values}
            for name in differentiated:
                unit[f"{name}_grad"] = call.laid_out(name, next(derivatives))
            if "weight" in unit:
                unit["weight"] = unit["weight"].clone()
            found.append(unit)
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    return ProbeRecord(found, n_parameters, tracer.n_macs // len(probe), logits.detach())


def _magnitudes(network: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer by its absolute value, in double precision; counters as copies."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    return {name: t.detach().abs().double() if t.is_floating_point() else t.detach().clone() for name, t in tensors}


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean cross-entropy of (batch, n_classes) logits, in nats."""
    if logits.dim() != 2 or targets.shape != logits.shape[:1]:
        raise ValueError(
            f"Labelled statistics compare logits of shape (batch, n_classes) with (batch,) classes, but got logits of "
            f"shape {tuple(logits.shape)} and classes of shape {tuple(targets.shape)}; give one class for each image."
        )
    outside = targets[(targets < 0) | (targets >= logits.shape[1])]
    if len(outside):
        raise ValueError(
            f"Class {int(outside[0])} is none of a network with {logits.shape[1]} logits: expected 0 to "
            f"{logits.shape[1] - 1}; build the network for as many classes as the images have."
        )
    return F.cross_entropy(logits, targets.to(logits.device, torch.int64))


def _gradients(total: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    """The gradient of the scalar `total` for each of `tensors`; zero where it does not depend on it."""
    reached = [tensor for tensor in tensors if tensor.requires_grad] if total.requires_grad else []
    found = torch.autograd.grad(total, reached, allow_unused=True) if reached else ()
    by_id = {id(tensor): gradient for tensor, gradient in zip(reached, found, strict=True)}
    gradients = [by_id.get(id(tensor)) for tensor in tensors]
    return [
        torch.zeros_like(tensor) if gradient is None else gradient
        for tensor, gradient in zip(tensors, gradients, strict=True)
    ]


def probe_inputs(inputs: Tensor, seed: int) -> dict[str, Tensor]:
    """The batch of each probe: (batch, ...) like `inputs`, drawn on the CPU so that every device sees the same.

    ``data`` is `inputs`, ``noise`` is standard normal, ``perturbed`` is `inputs` plus normal noise of variance
    ``PERTURBATION_VARIANCE``. Both draws come from one generator seeded with `seed`, noise first.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype).to(inputs.device)
    perturbation = torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype).to(inputs.device)
    return {"data": inputs, "noise": noise, "perturbed": inputs + PERTURBATION_VARIANCE**0.5 * perturbation}


def capture_units(
    network: nn.Module,
    inputs: Tensor,
    *,
    seed: int,
    statistics: Collection[str] | None = None,
    targets: Tensor | None = None,
    units: str = "convolutional",
) -> tuple[list[dict[str, Tensor]], dict[str, float | Tensor]]:
    """The statistics of every unit of `network`, and the quantities of the network as a whole.

    Only the probes and gradients that `statistics` needs are run. Statistics of the perturbed probe are the difference
    perturbed minus data, gradients included, as the released EZNAS stores them.

    Args:
        network: maps `inputs` to one tensor of logits; left as it was found.
        inputs: (batch, ...) float tensor on the device of the network.
        seed: of the noise and of the perturbation.
        statistics: names from ``ALL_STATISTICS``, such as ``"weight_grad.noise"``; all of ``STATISTICS`` by default.
        targets: (batch,) class of each image, for labelled statistics and ``same_class``.
        units: which layers count: the ``"convolutional"`` units, if the network has any, or ``"all"`` convolutions and
            linear layers.

    Returns:
        One mapping per unit from statistic to tensor, in the order of ``ALL_STATISTICS``; and ``parameter_count``,
        ``mac_count`` (per image) and, if there are `targets`, ``same_class``, (batch, batch): 1 where two images share
        a class, else 0.

    Raises:
        ValueError: if a name is unknown, `inputs` is no float batch, `targets` lack or do not fit, or the network has
            no unit.
    """
    wanted = STATISTICS if statistics is None else tuple(name for name in ALL_STATISTICS if name in set(statistics))
    _check_request(inputs, statistics or (), targets, units)
    names = {
        probe: {name.partition(".")[0] for name in wanted if name.endswith(f".{probe}")}
        for probe in (*PROBES, LABELLED, LINEARISED)
    }
    names["data"] |= names["perturbed"] | ({"weight"} & set(wanted))
    if not any(names.values()):
        names["data"] = {"weight"}  # no statistic is asked for, but the quantities still need a forward pass
    batches = {**probe_inputs(inputs, seed), LABELLED: inputs, LINEARISED: inputs}
    records = {
        probe: run_probe(
            network, batch, names=names[probe], units=units, targets=targets if probe == LABELLED else None,
            linearised=probe == LINEARISED,
        )
        for probe, batch in batches.items()
        if names[probe]
    }  # fmt: skip
    first = next(iter(records.values()))
    if not first.units:
        raise ValueError(
            f"{type(network).__name__} has no unit: expected at least one convolution or linear layer called in its "
            f"forward pass, found none."
        )
    found: list[dict[str, Tensor]] = []
    for index in range(len(first.units)):
        shown = {probe: record.units[index] for probe, record in records.items()}
        found.append({name: _statistic(name, shown) for name in wanted})
        for values in shown.values():
            values.clear()  # frees what only the difference needed
    quantities: dict[str, float | Tensor] = {
        "parameter_count": float(first.parameter_count), "mac_count": float(first.mac_count),
    }  # fmt: skip
    if targets is not None:
        quantities["same_class"] = (targets[:, None] == targets[None, :]).double().to(inputs.device)
    return found, quantities


def _check_request(inputs: Tensor, statistics: Collection[str], targets: Tensor | None, units: str) -> None:
    """Raises `ValueError` unless these arguments of `capture_units` make sense together."""
    unknown = sorted(set(statistics) - set(ALL_STATISTICS))
    if unknown:
        raise ValueError(f"Unknown statistics {unknown}; known are {list(ALL_STATISTICS)}.")
    if units not in UNITS:
        raise ValueError(f"The units of a network are one of {', '.join(UNITS)}, got {units!r}.")
    if inputs.dim() < 2 or len(inputs) == 0 or not inputs.is_floating_point():
        raise ValueError(
            f"Expected inputs to be a float batch of shape (batch, ...) with at least one image, "
            f"but got {inputs.dtype} of shape {tuple(inputs.shape)}."
        )
    if targets is None:
        labelled = sorted(name for name in statistics if name.endswith(f".{LABELLED}"))
        if labelled:
            raise ValueError(f"Statistic {labelled[0]} needs the class of each image; pass targets of shape (batch,).")
    elif targets.shape != (len(inputs),) or targets.is_floating_point():
        raise ValueError(
            f"Expected targets to be ({len(inputs)},) integers, one class per image, but got {targets.dtype} of shape "
            f"{tuple(targets.shape)}."
        )


def _statistic(name: str, shown: Mapping[str, Mapping[str, Tensor]]) -> Tensor:
    quantity, _, probe = name.partition(".")
    if probe == "perturbed":
        return shown["perturbed"][quantity] - shown["data"][quantity]
    return shown[probe or "data"][quantity]

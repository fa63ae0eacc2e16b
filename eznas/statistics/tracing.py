"""What an untrained network shows in a forward and a backward pass, unit by unit, for any ``torch.nn.Module``.

A *unit* is activation -> convolution -> normalisation. Units are found by following tensors, not modules: a
``TorchFunctionMode`` sees every functional call of one forward pass, and a convolution belongs to the activation whose
output *is* its input and to the normalisation whose input *is* its output. Functional code, shared modules and
registration order make no difference. There are three readings of a network:

* ``convolutional``: its complete convolutional units, if it has any; else as ``all``.
* ``all``: every convolution and every linear layer; without an activation directly before it, what enters the
  activation is what enters the layer.
* ``layers``: every convolution, transposed ones too, and every linear layer that the images reach. The activation that
  feeds a layer is the last upstream with no layer between, however many sums, concatenations, products with gates,
  poolings, rearrangements and normalisations there are, whose input has the shape of what enters the layer; if there is
  none, what enters the activation is what enters the layer. Of windows and tokens, on whatever axis they are, the
  images are told apart again, so that the first axis of all that is read is the batch.

What leaves a layer is taken after its normalisation, if one follows at once. Its weight is the one that is used, after
whatever parametrisation (weight or spectral normalisation). The projections inside attention are linear layers. Which
role a layer has, `Wiring` says.

A *probe* is a batch that excites the network: the data, Gaussian noise of the same shape, and the data with a little
noise on top. Gradients are those of the sum of the logits. Published estimators need two more: the data with their
classes, with gradients of the mean cross-entropy, and one image of ones through the *linearised* network, with the
magnitudes of all parameters and without batch normalisation, in double precision.

A pass leaves no trace, and is the same each time: dropout is the identity, and whatever else a network draws while it
runs (stochastic depth, random slopes) comes from generators that are seeded for the pass and put back after it.

This module needs nothing but torch, the standard library and modules beside it, because exported proxies carry its
source with them.

Source: `Akhauri 2022 <https://arxiv.org/abs/2209.07413>`_, section 3 (network statistics), with the module counting
of its released code replaced by tracing; `Tanaka 2020 <https://arxiv.org/abs/2006.05467>`_, eq. 2 (linearised).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from eznas.statistics.rectifiers import Rectifiers
from eznas.statistics.running import (
    Unfit,
    as_found,
    called_with,
    magnitudes,
    one_thread,
    own_draws,
    refuse_hidden,
    require_gradient,
    require_logits,
)
from eznas.statistics.torch_functions import (
    ACTIVATIONS,
    ADDITIONS,
    ATTENTION,
    BATCH_NORMALISATIONS,
    CONVOLUTIONS,
    DROPOUT,
    LINEAR,
    NORMALISATIONS,
    OUT_OF_PLACE,
    TRANSPOSED,
    argument,
    replace_argument,
    without_dropout,
)
from eznas.statistics.wiring import ROLES, Wire, Wiring

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
ROLE_STATISTICS = tuple(f"is_{role}" for role in ROLES)
ALL_STATISTICS = (*STATISTICS, *LABELLED_STATISTICS, *ROLE_STATISTICS)
RECORDED = (*VALUES, "convolution_output")
UNITS = ("convolutional", "all", "layers")


Place = tuple[int, int]
"""Where a tensor has the images: the axis, and how many parts of that axis each holds the images one after another."""


@dataclass(frozen=True)
class Coverage:
    """How much of a network is read, in shares of 1.

    Attributes:
        layers: of the calls of convolutions and linear layers.
        parameters: of all parameters of the network; of a layer that is read these are its weight and bias.
        macs: of the multiply-accumulates of all convolutions and linear layers.
    """

    layers: float
    parameters: float
    macs: float


@dataclass(frozen=True)
class ProbeRecord:
    """What one probe showed.

    Attributes:
        units: one mapping per unit, in order of execution. ``activation_input`` and ``convolution_input`` are
            (batch, in, height, width); ``convolution_output`` and ``activation_output``, before and after
            normalisation, are (batch, out, height', width'); ``weight`` is (out, in / groups, kernel, kernel); each
            name with ``_grad`` has the shape of its value. Tensors of linear layers are laid out as those of a 1x1
            convolution, tokens along the height. ``is_stem`` and so on are 1 or 0.
        roles: of each unit.
        coverage: how much of the network the units are.
        logits: what the network returned, detached.
    """

    units: list[dict[str, Tensor]]
    roles: list[str]
    coverage: Coverage
    logits: Tensor
    places: list[Place | None]
    """Where each layer that was called has the images; of ``layers`` only."""


@dataclass(eq=False)
class _Call:
    """One call of a convolution or a linear layer, with the tensors before and after it.

    `feeding` is the input of the last activation upstream with no layer between; `activation_input` that of the
    activation whose output is the very input. Once the `place` of the `n_images` is known, all is laid out by image.
    """

    number: int
    kind: str
    weight: Tensor
    groups: int
    convolution_input: Tensor
    convolution_output: Tensor
    activation_output: Tensor
    activation_input: Tensor | None
    feeding: Tensor | None
    parameters: dict[int, int]
    n_macs: int
    is_normalised: bool = False
    place: Place | None = None
    n_images: int = 0

    @property
    def is_complete(self) -> bool:
        return self.kind == "convolution" and self.is_normalised and self.activation_input is not None

    @property
    def is_surely_by_image(self) -> bool:
        """Whether the first axis can be nothing but the batch, if it is as long."""
        return self.kind != "linear" or self.convolution_input.dim() == 2

    def value(self, name: str) -> Tensor:
        if name == "activation_input" and self.activation_input is None:
            return self.convolution_input
        found: Tensor = getattr(self, name)
        return found

    def laid_out(self, name: str, tensor: Tensor) -> Tensor:
        """`tensor` with four axes: (batch, channels, height, width), or (out, in, height, width) for a weight."""
        if name == "weight":
            if self.kind == "transposed":  # (in, out / groups, ...)
                tensor = tensor.unflatten(0, (self.groups, -1)).transpose(1, 2).flatten(0, 1)
        elif self.place is None:
            tensor = tensor.movedim(-1, 1) if self.kind == "linear" else tensor
        else:  # (batch, windows, ..., channels) or (batch, windows, channels, ...)
            tensor = _by_image(tensor, self.place, self.n_images)
            tensor = tensor.movedim(-1 if self.kind == "linear" else 2, 1)
            tensor = tensor.squeeze(2) if tensor.shape[2] == 1 else tensor
        while tensor.dim() < 4:
            tensor = tensor.unsqueeze(-1)
        return tensor.flatten(3).contiguous()


class Watch(Protocol):
    """Looks on as a network runs: whoever wants to know more of a pass than its units."""

    def began(self, inputs: Tensor) -> None:
        """The network is about to be given this batch."""

    def called(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any, is_layer: bool
    ) -> None:
        """It called `func`, which is a layer or not, and got `result`."""

    def ended(self, logits: Tensor, units: Sequence[int]) -> None:
        """It returned `logits`; `units` are the layers that count, by their places among all, ascending."""


class _Tracer(TorchFunctionMode):
    """Watches one forward pass and records its convolutions and linear layers.

    With `gradients`, each activation and convolution receives an alias of its input, and each convolution an alias of
    its weight, so that a gradient is what flows back through this one consumer and not the sum over all of them.
    Operations in place are carried out of place, and the tensor they would have changed is replaced wherever the
    network uses it again, as are the tensors that share its memory: values already recorded stay what they were.
    Dropout is the identity: a proxy scores the network, not one draw of a mask. So is batch normalisation, if the
    network is to be `linearised`.
    """

    def __init__(
        self,
        images: Tensor,
        parameters: Iterable[Tensor],
        *,
        gradients: bool,
        linearised: bool = False,
        watch: Watch | None = None,
    ) -> None:
        super().__init__()
        self.gradients = gradients
        self.linearised = linearised
        self._watch = watch
        self.wiring = Wiring(images)
        self.parameters = list(parameters)
        self._rectifiers = Rectifiers(self.parameters)
        self._n_images = len(images)
        self._feeding: list[Tensor] = []  # what enters each activation, in order of execution
        self.calls: list[_Call] = []
        # By id of a tensor that the value keeps alive, so that no id can be used twice.
        self._activations: dict[int, tuple[Tensor, Tensor]] = {}
        self._open: dict[int, _Call] = {}
        # Of tensors changed in place: which tensor of the network each is, or stands for; and the state of those, with
        # the number of the change.
        self._origins: dict[int, tuple[Tensor, Tensor]] = {}
        self._states: dict[int, tuple[Tensor, int]] = {}
        self._n_changes = 0
        self._versions: dict[int, int] = {}

    def current(self, value: Any) -> Any:
        """`value` with each tensor that was changed in place exchanged for its present state."""
        if isinstance(value, Tensor):
            return self._state(value)
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
        if self._states:
            args, kwargs = self.current(args), self.current(kwargs)
        if func in DROPOUT:
            return argument(args, kwargs)
        args, kwargs = without_dropout(func, args, kwargs)
        if func is F.multi_head_attention_forward:
            with self:
                return ATTENTION(*args, **kwargs)
        changed = self._changed_in_place(func, args, kwargs)
        if changed is not None:
            func, kwargs = OUT_OF_PLACE.get(func, func), {k: v for k, v in kwargs.items() if k != "inplace"}
        elif func is torch.Tensor.__setitem__ and self._rectifiers.input_of(func, args, kwargs) is not None:
            func, changed, args = torch.Tensor.masked_fill, args[0], (*args[:2], 0.0)
        n_layers = len(self.calls)
        result = self._called(func, args, kwargs)
        self._rectifiers.note(func, args, kwargs, result)
        if self._watch is not None:
            is_layer = len(self.calls) > n_layers and self.calls[-1].convolution_output is result
            self._watch.called(func, args, kwargs, result, is_layer)
        if func is torch.Tensor.__setitem__:
            self.wiring.note(args[0], self.wiring.origin(args, kwargs))
            if self._states:
                self._replace(args[0], args[0])
        if changed is not None:
            self._replace(changed, result)
        return result

    def _state(self, tensor: Tensor) -> Tensor:
        """What stands for a tensor that may have been changed, itself or through another that shares its memory."""
        origin = self._origin(tensor)
        state, change = self._states.get(id(origin), (tensor, 0))
        if origin._base is None or origin.layout is not torch.strided:
            return state
        base = self._state(origin._base)
        change_of_base = self._states.get(id(self._origin(origin._base)), (base, 0))[1]
        if change_of_base > change:
            state = base.as_strided(origin.shape, origin.stride(), origin.storage_offset()).clone()
            self._passed_on(torch.Tensor.as_strided, (base,), state)
            self._set_state(origin, state, change_of_base)
        return state

    def _replace(self, tensor: Tensor, state: Tensor) -> None:
        """Lets `state` stand for a tensor from now on, and be in what it is a view of."""
        self._n_changes += 1
        while True:
            origin = self._origin(tensor)
            self._set_state(origin, state, self._n_changes)
            if origin._base is None or origin.layout is not torch.strided:
                return
            tensor = origin._base
            whole = self._state(tensor)
            written = _scattered(whole, state, origin)
            self._passed_on(torch.scatter, (whole, state), written)
            state = written

    def _origin(self, tensor: Tensor) -> Tensor:
        """The tensor of the network that this one is, or stands for."""
        return self._origins.get(id(tensor), (tensor, tensor))[1]

    def _set_state(self, origin: Tensor, state: Tensor, change: int) -> None:
        self._states[id(origin)] = (state, change)
        if state is not origin:
            self._origins[id(state)] = (state, origin)
        self._origins[id(origin)] = (origin, origin)

    def _passed_on(self, func: Callable[..., Any], args: tuple[Any, ...], result: Tensor) -> None:
        """Tells whoever follows tensors of a call that is not the network's own."""
        self.wiring.note(result, self.wiring.origin(args))
        if self._watch is not None:
            self._watch.called(func, args, {}, result, False)

    def _changed_in_place(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor | None:
        if func in OUT_OF_PLACE or (kwargs.get("inplace") and func in ACTIVATIONS):
            target = argument(args, kwargs)
            if isinstance(target, Tensor) and target.is_floating_point():
                return target
        return None

    def _called(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if func in CONVOLUTIONS or func in LINEAR or func in TRANSPOSED:
            return self._convolution(func, args, kwargs)
        activated = self._rectifiers.input_of(func, args, kwargs)
        if activated is None and func in ACTIVATIONS:
            activated = argument(args, kwargs)
        if activated is not None:
            alias = self._alias(activated)
            args = tuple(alias if value is activated else value for value in args)
            kwargs = {name: alias if value is activated else value for name, value in kwargs.items()}
            result = func(*args, **kwargs)
            self._activations[id(result)] = (result, alias)
            origin = self.wiring.origin(activated, args, kwargs)
            self.wiring.note(result, replace(origin, activations={tuple(alias.shape): len(self._feeding)}))
            self._feeding.append(alias)
            return result
        is_skipped = self.linearised and func in BATCH_NORMALISATIONS
        result = argument(args, kwargs).clone() if is_skipped else func(*args, **kwargs)
        if isinstance(result, Tensor | tuple | list) and type(result) is not torch.Size:
            self.wiring.note(result, self.wiring.origin(args, kwargs))
        if func in ADDITIONS:
            self.wiring.added((args, kwargs), result)
        elif func in NORMALISATIONS:
            call = self._open.pop(id(argument(args, kwargs)), None)
            if call is not None:
                call.activation_output, call.is_normalised = self._noted(result), True
        return result

    def _convolution(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        source, weight, bias = (argument(args, kwargs, i, name) for i, name in enumerate(("input", "weight", "bias")))
        alias = self._alias(source)
        leaf = weight.detach().requires_grad_(self.gradients)
        args = replace_argument(args, kwargs, 0, "input", alias)
        args = replace_argument(args, kwargs, 1, "weight", leaf)
        result: Tensor = func(*args, **kwargs)
        is_transposed = func in TRANSPOSED
        n_products = source.numel() if is_transposed else result.numel()
        n_macs = n_products * weight[0].numel() + (0 if bias is None else result.numel())
        if result.dim() < 2:
            return result
        kind = "linear" if func in LINEAR else "transposed" if is_transposed else "convolution"
        groups = argument(args, kwargs, 6, "groups") if kind == "transposed" else source.shape[1] // weight.shape[1]
        origin = self.wiring.origin(source)
        wire = _wire(kind, origin.layers, source, leaf, result, self._n_images)
        number = self.wiring.layer(source, result, wire)
        feeding = origin.activations.get(tuple(source.shape))
        call = _Call(
            number=number,
            kind=kind,
            weight=leaf,
            groups=groups or 1,
            convolution_input=alias,
            convolution_output=result,
            activation_output=self._noted(result),
            activation_input=self._activations.get(id(source), (None, None))[1],
            feeding=None if feeding is None else self._feeding[feeding],
            parameters={tensor.data_ptr(): tensor.numel() for tensor in (weight, bias) if tensor is not None},
            n_macs=n_macs,
        )
        self.calls.append(call)
        self._open[id(result)] = call
        return result

    def read(self, units: str) -> list[_Call]:
        """The calls of a reading; of ``layers`` those whose place of the images is known."""
        usual = [call for call in self.calls if call.kind != "transposed"]
        if units == "layers":
            found = [call for call in self.calls if call.place is not None]
            for call in found:
                call.activation_input = call.feeding
            return found
        return usual if units == "all" else [call for call in usual if call.is_complete] or usual

    def _alias(self, tensor: Tensor) -> Tensor:
        return self._noted(tensor.view_as(tensor) if self.gradients else tensor)

    def _noted(self, tensor: Tensor) -> Tensor:
        self._versions.setdefault(id(tensor), tensor._version)
        return tensor

    def refuse_overwritten(self, calls: Iterable[_Call], names: Collection[str]) -> None:
        """Raises if a tensor of these names that `calls` refer to holds other values than when it was recorded."""
        for index, call in enumerate(calls):
            for name in names:
                tensor = call.value(name)
                if tensor._version != self._versions[id(tensor)]:
                    raise RuntimeError(
                        f"The {name} of unit {index} was overwritten later in the forward pass; expected it unchanged, "
                        f"replace the operation in place (an assignment to a slice, or out=) by one that returns a new "
                        f"tensor."
                    )


def _scattered(whole: Tensor, part: Tensor, view: Tensor) -> Tensor:
    """`whole` with `part` in the places that `view` has in its memory.

    Not ``as_strided_scatter``, whose gradient is that of another function (torch 2.13).
    """
    axes = sorted(range(whole.dim()), key=whole.stride, reverse=True)  # as they lie in memory, channels last or not
    laid_out = whole.permute(axes).contiguous()
    places = torch.arange(whole.numel(), device=whole.device)
    places = places.as_strided(view.shape, view.stride(), view.storage_offset())
    written = laid_out.flatten().scatter(0, places.flatten(), part.flatten()).view_as(laid_out)
    return written.permute([axes.index(axis) for axis in range(whole.dim())]).clone()  # with memory of its own


def _wire(kind: str, feeds: frozenset[int], source: Tensor, weight: Tensor, result: Tensor, n_images: int) -> Wire:
    """What a layer is, by its tensors."""
    if kind == "linear":
        return Wire(feeds, False, result.numel() > n_images * result.shape[-1], False)
    n_in, is_pointwise = source.shape[1], kind == "convolution" and weight[0, 0].numel() == 1
    is_depthwise = kind == "convolution" and weight.shape[1] == 1 and n_in > 1
    is_projection = is_pointwise and not is_depthwise and source.shape[1:] != result.shape[1:]
    return Wire(feeds, is_depthwise, is_pointwise and not is_depthwise, is_projection)


def run_probe(
    network: nn.Module,
    inputs: Tensor,
    *,
    gradients: bool = True,
    names: Collection[str] | None = None,
    units: str = "layers",
    targets: Tensor | None = None,
    linearised: bool = False,
    watch: Watch | None = None,
    places: list[Place | None] | None = None,
) -> ProbeRecord:
    """Sends one batch through `network` in train mode and records its units; the network is left as it was found.

    What the network draws is the same for each probe and in each call; see `own_draws`.
    On the CPU one thread is used, so that values are the same to the last bit whatever the number of cores.

    Args:
        network: maps `inputs` to one tensor of logits.
        inputs: (batch, ...) float tensor on the device of the network.
        gradients: also record the gradient of the sum of all logits with respect to every recorded tensor.
        names: the names to record, such as ``{"weight_grad"}``; by default all but those of ``convolution_output``.
        units: the reading, one of ``UNITS``.
        targets: (batch,) classes; gradients are then those of the mean cross-entropy.
        linearised: run the network with the magnitudes of its parameters and buffers in double precision, without batch
            normalisation, on one image of ones in place of `inputs`.
        watch: is told of the pass and of every call in it.
        places: of an earlier record of the network; else a pass more may be run to find them.

    Raises:
        Unfit: if the calls of the network cannot be seen, it does not return one tensor, gradients are asked for and it
            is not (batch, n_classes), or `targets` are not one class of the network for each image.
        RuntimeError: if the network overwrites a recorded tensor in a way that cannot be done out of place.
    """
    if names is None:
        names = [name for value in ("weight", *VALUES) for name in (value, f"{value}_grad")]
    values = [name for name in ("weight", *RECORDED) if name in names]
    differentiated = [name for name in ("weight", *RECORDED) if gradients and f"{name}_grad" in names]
    state = magnitudes(network) if linearised else {}
    parameters = state.values() if linearised else [*network.parameters(), *network.buffers()]
    refuse_hidden(network)
    grad_mode = torch.set_grad_enabled(bool(differentiated))
    with one_thread(), as_found(network), own_draws(network, inputs.device), grad_mode:
        probe = torch.ones_like(inputs[:1], dtype=torch.float64) if linearised else inputs.detach().clone()
        probe.requires_grad_(bool(differentiated))
        tracer = _Tracer(probe, parameters, gradients=bool(differentiated), linearised=linearised, watch=watch)
        if watch is not None:
            watch.began(probe)
        with tracer:
            logits = called_with(network, state, probe) if linearised else network(probe)
        logits = tracer.current(logits)
        if not isinstance(logits, Tensor):
            raise Unfit(
                f"{type(network).__name__} must return one tensor of logits but returned a {type(logits).__name__}; "
                f"wrap it in a module that returns the logits alone."
            )
        if units == "layers":
            places = _places(network, probe, state, tracer) if places is None else places
            for call, place in zip(tracer.calls, places, strict=True):
                call.place, call.n_images = place, len(probe)
        calls = tracer.read(units)
        if watch is not None:
            chosen = set(map(id, calls))
            watch.ended(logits, [place for place, call in enumerate(tracer.calls) if id(call) in chosen])
        tracer.refuse_overwritten(calls, {*values, *differentiated} & set(RECORDED))
        if tracer.gradients:
            require_logits(network, logits, len(probe))
        total = logits.sum() if targets is None else _loss(logits, targets)
        if tracer.gradients and calls:
            require_gradient(total)
        derivatives = iter(_gradients(total, [call.value(name) for call in calls for name in differentiated]))
        all_roles = tracer.wiring.roles(logits)
        roles = [all_roles[call.number] for call in calls]
        found = []
        for call, role in zip(calls, roles, strict=True):
            unit = {name: call.laid_out(name, call.value(name).detach()) for name in values}
            for name in differentiated:
                unit[f"{name}_grad"] = call.laid_out(name, next(derivatives))
            if "weight" in unit:
                unit["weight"] = unit["weight"].clone()
            for name in ROLE_STATISTICS:
                if name in names:
                    unit[name] = torch.tensor(float(name == f"is_{role}"), device=inputs.device)
            found.append(unit)
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    coverage = Coverage(
        layers=len(calls) / max(len(tracer.calls), 1),
        parameters=min(1.0, sum(_parameters(calls).values()) / max(n_parameters, 1)),
        macs=sum(call.n_macs for call in calls) / max(sum(call.n_macs for call in tracer.calls), 1),
    )
    return ProbeRecord(found, roles, coverage, logits.detach(), places or [])


def _parameters(calls: Iterable[_Call]) -> dict[int, int]:
    """Sizes of the weights and biases of calls, each once."""
    return {place: size for call in calls for place, size in call.parameters.items()}


def _by_image(tensor: Tensor, place: Place, n_images: int) -> Tensor:
    """(n_images, others, ...): `tensor` with the axis that has the images first, the others on it second."""
    axis, n_parts = place
    tensor = tensor.movedim(axis, 0)
    return tensor.unflatten(0, (n_parts, n_images, -1)).transpose(0, 1).flatten(1, 2)


def _places(network: nn.Module, probe: Tensor, state: Mapping[str, Tensor], tracer: _Tracer) -> list[Place | None]:
    """For each call of a pass where its input has the images, alone or with windows or tokens on the same axis.

    Where that could be elsewhere than on the first axis, another number of images, all alike, is sent through the
    network: the axis is the one that grows in proportion, and divided rightly it shows the same for each of them. None
    for a layer that the images do not reach, and where no axis is theirs, as where they are folded into the channels.
    """
    calls, n = tracer.calls, len(probe)
    reached = [tracer.wiring.sees_images(call.number) for call in calls]
    if all(call.is_surely_by_image and len(call.convolution_input) == n for call in calls):
        return [(0, 1) if is_reached else None for is_reached in reached]
    n_alike = 2 if n != 2 else 3
    alike = probe.detach()[:1].repeat(n_alike, *(1 for _ in probe.shape[1:]))
    again = _Tracer(alike, tracer.parameters, gradients=False, linearised=tracer.linearised)
    with torch.no_grad(), again:
        called_with(network, state, alike) if tracer.linearised else network(alike)
    if [call.kind for call in again.calls] != [call.kind for call in calls]:
        raise Unfit(
            f"{type(network).__name__} calls {len(calls)} layers for {n} images and {len(again.calls)} for {n_alike}, "
            f"so that it cannot be told which of their values belong to which image; read it by units 'convolutional' "
            f"or 'all'."
        )
    found: list[Place | None] = []
    for call, twin, is_reached in zip(calls, again.calls, reached, strict=True):
        shape, other = call.convolution_input.shape, twin.convolution_input.shape
        axes = [axis for axis in range(len(shape)) if len(shape) == len(other) and shape[axis] != other[axis]]
        channels = len(shape) - 1 if call.kind == "linear" else 1
        is_theirs = len(axes) == 1 and axes[0] != channels and shape[axes[0]] * n_alike == other[axes[0]] * n
        found.append(_place(twin.convolution_input, axes[0], n_alike) if is_reached and is_theirs else None)
    return found


def _place(tensor: Tensor, axis: int, n_alike: int) -> Place:
    """The place of images that are all alike on an axis; the outermost if no division shows them alike."""
    n_others = tensor.shape[axis] // n_alike
    for n_parts in (n for n in range(1, n_others + 1) if n_others % n == 0):
        first, second = _by_image(tensor, (axis, n_parts), n_alike)[:2]
        if torch.allclose(first, second, rtol=1e-3, atol=1e-5):
            return axis, n_parts
    return axis, 1


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean cross-entropy of (batch, n_classes) logits, in nats."""
    if logits.dim() != 2 or targets.shape != logits.shape[:1]:
        raise Unfit(
            f"Labelled statistics compare logits of shape (batch, n_classes) with (batch,) classes, but got logits of "
            f"shape {tuple(logits.shape)} and classes of shape {tuple(targets.shape)}; give one class for each image."
        )
    outside = targets[(targets < 0) | (targets >= logits.shape[1])]
    if len(outside):
        raise Unfit(
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


class Captured(NamedTuple):
    """The statistics of a network.

    Attributes:
        units: one mapping per unit from statistic to tensor, in the order of ``ALL_STATISTICS``.
        quantities: ``parameter_count`` and, with classes, ``same_class``, (batch, batch): 1
            where two images share a class, else 0.
        roles: of each unit.
        coverage: how much of the network the units are.
    """

    units: list[dict[str, Tensor]]
    quantities: dict[str, float | Tensor]
    roles: list[str]
    coverage: Coverage


def capture_units(
    network: nn.Module,
    inputs: Tensor,
    *,
    seed: int,
    statistics: Collection[str] | None = None,
    targets: Tensor | None = None,
    units: str = "layers",
    watch: Watch | None = None,
) -> Captured:
    """The statistics of every unit of `network`, and the quantities of the network as a whole.

    Only the probes and gradients that `statistics` needs are run. Statistics of the perturbed probe are the difference
    perturbed minus data, gradients included, as the released EZNAS stores them.

    Args:
        network: maps `inputs` to one tensor of logits; left as it was found.
        inputs: (batch, ...) float tensor on the device of the network.
        seed: of the noise and of the perturbation.
        statistics: names from ``ALL_STATISTICS``, such as ``"weight_grad.noise"``; all of ``STATISTICS`` by default.
        targets: (batch,) class of each image, for labelled statistics and ``same_class``.
        units: the reading, one of ``UNITS``.
        watch: is told of the first pass that is run.

    Raises:
        Unfit: if the network has no unit, or `run_probe` raises it.
        ValueError: if a name is unknown, `inputs` is no float batch, or `targets` lack.
    """
    wanted = STATISTICS if statistics is None else tuple(name for name in ALL_STATISTICS if name in set(statistics))
    _check_request(inputs, statistics or (), targets, units)
    names = {
        probe: {name.partition(".")[0] for name in wanted if name.endswith(f".{probe}")}
        for probe in (*PROBES, LABELLED, LINEARISED)
    }
    names["data"] |= names["perturbed"] | ({"weight", *ROLE_STATISTICS} & set(wanted))
    if not any(names.values()):
        names["data"] = {"weight"}  # no statistic is asked for, but the quantities still need a forward pass
    batches = {**probe_inputs(inputs, seed), LABELLED: inputs, LINEARISED: inputs}
    watched = next(probe for probe in batches if names[probe])
    records: dict[str, ProbeRecord] = {}
    for probe, batch in batches.items():
        if names[probe]:
            records[probe] = run_probe(
                network, batch, names=names[probe], units=units, targets=targets if probe == LABELLED else None,
                linearised=probe == LINEARISED, watch=watch if probe == watched else None,
                places=next((record.places for record in records.values()), None),
            )  # fmt: skip
    first = next(iter(records.values()))
    if not first.units:
        raise Unfit(
            f"{type(network).__name__} has no unit: expected at least one convolution or linear layer called in its "
            f"forward pass, found none."
        )
    found: list[dict[str, Tensor]] = []
    for index in range(len(first.units)):
        shown = {probe: record.units[index] for probe, record in records.items()}
        found.append({name: _statistic(name, shown) for name in wanted})
        for values in shown.values():
            values.clear()  # frees what only the difference needed
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    quantities: dict[str, float | Tensor] = {"parameter_count": float(n_parameters)}
    if targets is not None:
        quantities["same_class"] = (targets[:, None] == targets[None, :]).double().to(inputs.device)
    return Captured(found, quantities, first.roles, first.coverage)


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

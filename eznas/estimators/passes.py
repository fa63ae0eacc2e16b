"""Forward and backward passes that leave no trace: what every estimator runs a network with.

A pass runs on copies of the parameters and buffers, so that batch normalisation cannot write its running statistics
into the network; in train mode unless asked otherwise, whatever mode the network is in; with dropout as the identity,
because an estimator scores the network and not one draw of a mask; and with all generators seeded inside and put back
afterwards, so that other random layers draw the same each time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from enum import Enum
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.rnn import RNNBase, RNNCellBase
from torch.overrides import TorchFunctionMode

from eznas.errors import CaptureError, ConfigError, EznasError, UnfitError
from eznas.names import one_line
from eznas.statistics.rectifiers import Rectifiers
from eznas.statistics.running import Unfit, called_with, own_draws, require_gradient, require_logits
from eznas.statistics.torch_functions import ACTIVATIONS, DROPOUT, argument, functions, without_dropout

Function = Callable[..., Any]
Call = tuple[Function, tuple[Any, ...], dict[str, Any]]
"""A function, its positional arguments and its named ones."""

OnActivation = Callable[["Activation", Tensor], None]
"""What is shown each activation of a pass: its kind and its input, before it is overwritten."""


class Activation(Enum):
    """Kinds of activations, by what the sign of their input decides."""

    RELU = "with a kink at zero, see `Rectifiers`"
    SMOOTH = "ReLU rounded off: SiLU, GELU, Hardswish, Mish, Softplus, ELU, SELU, CELU"
    OTHER = "sigmoid, tanh and their like, which are often gates"


_SMOOTH: Final = functions(
    *("silu", "gelu", "hardswish", "mish", "softplus", "elu", "selu", "celu", "elu_", "selu_", "celu_")
)
_OTHER: Final = ACTIVATIONS - _SMOOTH - functions("threshold") | functions("sigmoid_", "tanh_", "hardtanh_")


class Watch(TorchFunctionMode):
    """Sees each functional call: some become the identity, the inputs of activations and all results are reported.

    Which calls are ReLUs, `Rectifiers` says, of a pass that uses these parameters and buffers.
    """

    def __init__(
        self,
        identity: frozenset[Function],
        parameters: Iterable[Tensor] = (),
        on_activation: OnActivation | None = None,
        on_result: Callable[[Call, Any], Any] | None = None,
    ) -> None:
        super().__init__()
        self.identity, self.on_activation, self.on_result = identity, on_activation, on_result
        self.rectifiers = Rectifiers(parameters)

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in self.identity:
            return argument(args, kwargs).clone()  # a copy: what follows in place must not reach the input
        args, kwargs = without_dropout(func, args, kwargs)
        if self.on_activation is None:
            result = func(*args, **kwargs)
        else:
            self._report(self.on_activation, func, args, kwargs)
            result = func(*args, **kwargs)
            self.rectifiers.note(func, args, kwargs, result)
        return result if self.on_result is None else self.on_result((func, args, kwargs), result)

    def _report(
        self, on_activation: OnActivation, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        rectified = self.rectifiers.input_of(func, args, kwargs)
        if rectified is not None:
            on_activation(Activation.RELU, rectified)
        elif (func in _SMOOTH or func in _OTHER) and self.rectifiers.is_activation(argument(args, kwargs)):
            on_activation(Activation.SMOOTH if func in _SMOOTH else Activation.OTHER, argument(args, kwargs))


# ------------------------------------------------------------------------------------------------------------ the state


def copied_state(network: nn.Module, copy: Callable[[Tensor], Tensor] = Tensor.clone) -> dict[str, Tensor]:
    """A copy of every parameter and buffer, by name, detached from the network."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    return {name: copy(tensor.detach()) for name, tensor in tensors}


def weights_of(module: nn.Module) -> list[str]:
    """Names of the weights that estimators sum over and draw, of what is a linear layer or a convolution by its work.

    These are convolutions, linear layers, the projections of attention, and the maps inside recurrent layers.
    """
    match module:
        case _ConvNd() | nn.Linear():
            names = ["weight"]
        case nn.MultiheadAttention() | RNNBase() | RNNCellBase():
            names = [name for name in module._parameters if "weight" in name]
        case _:
            names = []
    return [name for name in names if module._parameters.get(name) is not None]


def weight_names(network: nn.Module) -> list[str]:
    """Names of the weights of `weights_of` in a network; a weight that layers share appears once."""
    weights = {id(module._parameters[name]) for module in network.modules() for name in weights_of(module)}
    return [name for name, parameter in network.named_parameters() if id(parameter) in weights]


def differentiable(state: Mapping[str, Tensor], names: list[str]) -> list[Tensor]:
    """The tensors of these names in `state`, made to require gradients."""
    return [state[name].requires_grad_() for name in names]


def kaiming_deviation(weight: Tensor) -> float:
    """Standard deviation of Kaiming's normal scheme for ReLU, fan in: sqrt(2 / weights per output)."""
    return math.sqrt(2 / max(weight[0].numel(), 1))


def gaussian_state(
    network: nn.Module, generator: torch.Generator, deviation: Callable[[Tensor], float] = lambda weight: 1.0
) -> dict[str, Tensor]:
    """A copy of the state with Gaussian weights in place of the network's own.

    The weights of convolutions and linear layers (`weights_of`) are drawn from N(0, deviation^2), by default N(0, 1),
    in the order of ``network.named_modules()``, on the CPU in single precision so that every device and every precision
    sees the same; their biases are 0; normalisation gets weight 1, bias 0 and fresh running statistics. Other
    parameters stay as they are.
    """
    state = copied_state(network)
    fills = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0, "num_batches_tracked": 0}
    for prefix, module in network.named_modules():
        prefix += "." if prefix else ""
        if isinstance(module, _NormBase | nn.GroupNorm | nn.LayerNorm | nn.RMSNorm):
            for name, value in fills.items():
                if f"{prefix}{name}" in state:
                    state[f"{prefix}{name}"].fill_(value)
        weights = weights_of(module)
        for name in module._parameters if weights else ():
            tensor = state.get(f"{prefix}{name}")
            if tensor is None:  # there is none, or it is another layer's
                continue
            if name in weights:
                tensor.copy_(torch.randn(tensor.shape, generator=generator, dtype=torch.float32) * deviation(tensor))
            elif name not in ("bias_k", "bias_v"):  # which are tokens
                tensor.zero_()
    return state


def gaussian_images(shape: Sequence[int], like: Tensor, generator: torch.Generator) -> Tensor:
    """N(0, 1) images of a shape, of the precision and on the device of `like`; drawn as the weights are.

    Raises:
        CaptureError: if `like` holds integers.
    """
    if not like.is_floating_point():
        raise CaptureError(f"Noise in place of images needs floating point inputs, but they are {like.dtype}.")
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float32).to(like)


# ----------------------------------------------------------------------------------------------------------- the passes


def forward(
    network: nn.Module,
    inputs: Tensor,
    state: Mapping[str, Tensor],
    *,
    identity: frozenset[Function] = DROPOUT,
    on_activation: OnActivation | None = None,
    on_result: Callable[[Call, Any], Any] | None = None,
    training: bool = True,
) -> Tensor:
    """Logits of `network` with the tensors of `state` in place of its own.

    Args:
        network: maps `inputs` to one tensor of logits.
        inputs: (batch, ...) on the device of the network.
        state: every parameter and buffer by name; batch normalisation updates its running statistics here.
        identity: functions that return a copy of their input.
        on_activation: is shown each activation.
        on_result: is shown each functional call and its result; what it returns takes the place of the result.
        training: the mode: batch statistics in train mode, running ones in evaluation mode.

    Raises:
        CaptureError: if the pass fails; `UnfitError` if it returns something else than one tensor.
    """
    watch = Watch(identity, state.values(), on_activation, on_result)
    with readable_errors(), _mode(network, training), own_draws(network, inputs.device), watch:
        logits = called_with(network, state, inputs.clone())  # a network may write into what it is given
    if not isinstance(logits, Tensor):
        raise UnfitError(
            f"{type(network).__name__} must return one tensor of logits but returned a {type(logits).__name__}; wrap "
            f"it in a module that returns the logits alone."
        )
    return logits


def summed_logits(network: nn.Module, logits: Tensor, n_images: int) -> Tensor:
    """The sum of all logits, scalar.

    Raises:
        UnfitError: if they are neither (n_images, n_classes) nor (n_images,).
    """
    try:
        require_logits(network, logits, n_images)
    except Unfit as error:
        raise UnfitError(str(error)) from None
    return logits.sum()


def cross_entropy(network: nn.Module, logits: Tensor, targets: Tensor | None, n_images: int) -> Tensor:
    """Mean cross-entropy of `logits` (n_images, n_classes) for `targets` (n_images,), in nats.

    Raises:
        ConfigError, UnfitError: as `class_labels`.
    """
    return F.cross_entropy(logits, class_labels(network, logits, targets, n_images))


def class_labels(network: nn.Module, logits: Tensor, targets: Tensor | None, n_images: int) -> Tensor:
    """The class of each image, (n_images,) int64 on the device of the logits, which must have one column per class.

    Raises:
        ConfigError: if `targets` is absent or not (n_images,) integers.
        UnfitError: if the logits are not (n_images, n_classes), or a target is no class of the network.
    """
    if logits.dim() != 2 or len(logits) != n_images:
        raise UnfitError(
            f"{type(network).__name__} must return logits of shape (batch, n_classes) but returned "
            f"{tuple(logits.shape)} for {n_images} images; the loss compares one row of logits with one class."
        )
    targets = one_label_per_image(targets, n_images)
    n_classes = logits.shape[1]
    outside = targets[(targets < 0) | (targets >= n_classes)]
    if len(outside):
        raise UnfitError(
            f"Target {int(outside[0])} is not a class of {type(network).__name__}, which has {n_classes} logits: "
            f"expected 0 to {n_classes - 1}; build the network for as many classes as the data set has."
        )
    return targets.to(logits.device, torch.int64)


def one_label_per_image(targets: Tensor | None, n_images: int) -> Tensor:
    """`targets`, if they are (n_images,) integers.

    Raises:
        ConfigError: if they are not, or absent.
    """
    if targets is None:
        raise ConfigError("This estimator needs the class of each image; pass targets of shape (n,).")
    if targets.shape != (n_images,) or targets.is_floating_point() or targets.dtype == torch.bool:
        raise ConfigError(
            f"Expected targets to be ({n_images},) integers, one class per image, but got {targets.dtype} of shape "
            f"{tuple(targets.shape)}."
        )
    return targets


def gradients(
    total: Tensor, tensors: list[Tensor], *, create_graph: bool = False, retain_graph: bool | None = None
) -> list[Tensor]:
    """The gradient of `total` for each of `tensors`; zero where it does not depend on them.

    Raises:
        UnfitError: if no gradient is computed at all.
    """
    if not tensors:
        return []
    try:
        require_gradient(total)
    except Unfit as error:
        raise UnfitError(f"{error}.") from error
    with readable_errors():
        found = torch.autograd.grad(
            total, tensors, allow_unused=True, create_graph=create_graph, retain_graph=retain_graph
        )
    return [torch.zeros_like(t) if g is None else g for t, g in zip(tensors, found, strict=True)]


def refuse_zero_layer(network: nn.Module, weights: Iterable[Tensor], gradients: Iterable[Tensor]) -> None:
    """Refuses a network in which gradients reach zero weights alone, and none behind them.

    So it is where the last layer is zero, as some networks are initialised: a sum over the weights would say nothing of
    the others. A network whose output is a constant for other reasons is not refused.

    Raises:
        UnfitError: if it is such a network.
    """
    is_reached = False
    for weight, gradient in zip(weights, gradients, strict=True):
        if bool(gradient.any()):
            if bool(weight.any()):
                return  # at the first weight, usually
            is_reached = True
    if is_reached:
        raise UnfitError(
            f"The last layer of {type(network).__name__} is zero as it is initialised, so that no gradient reaches the "
            f"layers before it and the score would say nothing of them; draw its weights (--initialise default, or "
            f"eznas.spaces.initialise_)."
        )


def exact_sum(values: Iterable[float]) -> float:
    """The sum, rounded once; NaN or infinite, as float addition has it, where a value or the sum is."""
    values = list(values)
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # of finite values beyond the largest float; of both infinities
        return sum(values)


@contextmanager
def hooked(modules: Iterable[nn.Module], hook: Any, *, before: Any = None) -> Iterator[None]:
    """Forward hooks, and hooks `before` the pass, on each of `modules` inside, none of them afterwards."""
    with ExitStack() as stack:
        for module in modules:
            if before is not None:
                stack.callback(module.register_forward_pre_hook(before).remove)
            stack.callback(module.register_forward_hook(hook).remove)
        yield


@contextmanager
def readable_errors() -> Iterator[None]:
    """Turns what a forward or backward pass raises into one sentence; a foreign network may raise anything."""
    try:
        yield
    except EznasError:
        raise
    except Exception as error:
        raise CaptureError(
            f"The network could not be scored, because a pass through it failed: {one_line(error, 300)}"
        ) from error


@contextmanager
def _mode(network: nn.Module, training: bool) -> Iterator[None]:
    """Train or evaluation mode inside, the mode in which each module was found afterwards."""
    in_other_mode = [module for module in network.modules() if module.training != training]
    try:
        for module in in_other_mode:
            module.training = training
        yield
    finally:
        for module in in_other_mode:
            module.training = not training

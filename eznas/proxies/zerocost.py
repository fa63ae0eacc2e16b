"""Published zero-cost estimators, each as its authors' code computes it.

All score a network at initialisation, in train mode, and leave it as they found it: the forward pass runs on copies of
the buffers, so that batch normalisation cannot write its running statistics into the network. Dropout is the identity
in all of them: an estimator scores the network, not one draw of a mask.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from eznas.errors import CaptureError, ConfigError
from eznas.proxies.estimator import Estimator
from eznas.statistics.tracing import DROPOUT, run_probe

Function = Callable[..., Any]

BATCH_NORMALISATION: Final[frozenset[Function]] = frozenset({F.batch_norm, torch.batch_norm})
RELUS: Final[frozenset[Function]] = frozenset(
    {
        *(F.relu, F.relu_, F.relu6, F.leaky_relu, F.leaky_relu_, F.prelu, F.rrelu, F.rrelu_),
        *(torch.relu, torch.relu_, torch.prelu, torch.rrelu, torch.rrelu_),
        *(Tensor.relu, Tensor.relu_, Tensor.prelu),
    }
)
"""All ways to call an activation with a kink at zero, except `HARDTANH`, of which only ReLU6 has it there."""
HARDTANH: Final[frozenset[Function]] = frozenset({F.hardtanh, F.hardtanh_})

JACOB_COV_EPS: Final = 1e-5
_WEIGHTED: Final = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def parameter_count(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Number of parameters, the affine ones of batch normalisation included."""
    del inputs, targets
    return float(sum(parameter.numel() for parameter in network.parameters()))


def mac_count(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Multiply-accumulates of all convolutions and linear layers for one image; a bias counts as one.

    This is the "FLOPs" of NAS-Bench-201, which counts neither normalisation nor pooling.
    """
    del targets
    with _readable_errors():
        return float(run_probe(network, inputs[:2], gradients=False, names=()).mac_count)


def synflow(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Natural logarithm of the synaptic flow: ln of the sum over weights of \\|w dR/dw\\|.

    R is the sum of the logits of one image of ones, with every parameter and buffer replaced by its absolute value and
    batch normalisation by the identity; the sum is over the weights of convolutions and linear layers. In float64,
    because R spans 1e32 to 1e61 on NAS-Bench-201.

    Returns:
        The score in nats; ``-inf`` for a network that no weight of which reaches the output.

    Source: `Tanaka 2020 <https://arxiv.org/abs/2006.05467>`_, eq. 2; as a score of a network `Abdelfattah 2021
    <https://arxiv.org/abs/2101.08134>`_, section 3.1. The logarithm is NAS-Bench-Suite-Zero's.
    """
    del targets
    state = _state(network, lambda tensor: tensor.abs().double() if tensor.is_floating_point() else tensor.clone())
    layers = [(name, module) for name, module in network.named_modules() if isinstance(module, _WEIGHTED)]
    names = [f"{name}.weight" if name else "weight" for name, _ in layers]
    weights = [state[name].requires_grad_() for name in names if name in state]  # a shared weight has one name
    if not weights:
        return -torch.inf
    ones = torch.ones((1, *inputs.shape[1:]), dtype=torch.float64, device=inputs.device)
    with torch.enable_grad():
        flow = _forward(network, ones, state, identity=DROPOUT | BATCH_NORMALISATION).sum()
    gradients = _gradients(flow, weights)
    total = sum(((w.detach() * g).abs().sum() for w, g in zip(weights, gradients, strict=True)), torch.zeros(()))
    return float(torch.log(total))


def jacob_cov(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """How far apart the network's linear maps at the images of a batch lie ("NASWOT v1", also "jacov").

    With R the (batch, batch) Pearson correlation of the gradients of the summed logits with respect to each image, and
    L_i its eigenvalues,

        score = - sum_i [ ln(L_i + k) + 1 / (L_i + k) ],   k = 1e-5,

    at most ``-batch`` (all L_i = 1: uncorrelated maps). Eigenvalues are those of a symmetric matrix; the released code
    uses a general solver, which can return tiny negative or complex ones.

    Returns:
        The score; NaN if the gradient of an image is constant, such as for a network with zero output.

    Source: `Mellor 2021 <https://arxiv.org/abs/2006.04647>`_, first version of the preprint (eq. 2).
    """
    del targets
    images = inputs.detach().clone().requires_grad_()
    with torch.enable_grad():
        total = _forward(network, images, _state(network, Tensor.clone)).sum()
    (jacobian,) = _gradients(total, [images])
    correlation = torch.corrcoef(jacobian.flatten(1).double())
    if not correlation.isfinite().all():
        return float("nan")
    shifted = torch.linalg.eigvalsh(correlation) + JACOB_COV_EPS
    return float(-(shifted.log() + 1 / shifted).sum())


def naswot(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Log determinant of the agreement kernel of a batch's ReLU patterns ("NASWOT v2").

    K[i, j] is the number of ReLU inputs, over the whole network, that are positive for both of images i and j or for
    neither; the score is ln \\|det K\\|, in nats. It grows with the batch and with the number of ReLUs and is not
    normalised: compare within one batch size and resolution only. Counts are exact in float32 up to 2^24 per ReLU
    call, the determinant is in float64.

    Every call of a ReLU counts, functional ones too. The released code drops ReLUs that no gradient reaches, which
    removes nothing on NAS-Bench-201.

    Returns:
        The score; ``-inf`` if K is singular: two images have one pattern, or the network has no ReLU.

    Raises:
        CaptureError: if a ReLU does not see the batch on its first axis.

    Source: `Mellor 2021 <https://arxiv.org/abs/2006.04647>`_, section 3, eq. 2.
    """
    del targets
    n_images = len(inputs)
    kernel = torch.zeros((n_images, n_images), dtype=torch.float64, device=inputs.device)

    def add(relu_input: Tensor) -> None:
        if relu_input.dim() < 1 or len(relu_input) != n_images:
            raise CaptureError(
                f"A ReLU of {type(network).__name__} sees a tensor of shape {tuple(relu_input.shape)} for a batch of "
                f"{n_images} images; naswot needs the batch on the first axis."
            )
        signs = (relu_input.detach().reshape(n_images, -1) > 0).float().mul_(2).sub_(1)
        kernel.add_((signs @ signs.T + signs.shape[1]) / 2)  # agreements = (n + <s_i, s_j>) / 2 for signs of ±1

    with torch.no_grad():
        _forward(network, inputs, _state(network, Tensor.clone), on_relu=add)
    return float(torch.linalg.slogdet(kernel).logabsdet)


# ----------------------------------------------------------------------------------- forward passes that leave no trace


class _Watch(TorchFunctionMode):
    """Sees each functional call: some functions become the identity, and the inputs of ReLUs are reported."""

    def __init__(self, identity: frozenset[Function], on_relu: Callable[[Tensor], None] | None) -> None:
        super().__init__()
        self.identity, self.on_relu = identity, on_relu

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in self.identity:
            return _first(args, kwargs).clone()  # a copy: what follows in place must not reach the input
        if self.on_relu is not None and (func in RELUS or (func in HARDTANH and _lower_bound(args, kwargs) == 0)):
            self.on_relu(_first(args, kwargs))
        return func(*args, **kwargs)


def _first(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    found: Tensor = args[0] if args else kwargs["input"]
    return found


def _lower_bound(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> float:
    return float(args[1] if len(args) > 1 else kwargs.get("min_val", -1.0))


def _state(network: nn.Module, copy: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """A copy of every parameter and buffer, by name, detached from the network."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    return {name: copy(tensor.detach()) for name, tensor in tensors}


def _forward(
    network: nn.Module,
    inputs: Tensor,
    state: Mapping[str, Tensor],
    *,
    identity: frozenset[Function] = DROPOUT,
    on_relu: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """Logits of `network` in train mode with the tensors of `state` in place of its own."""
    with _readable_errors(), _training(network), _Watch(identity, on_relu):
        logits = functional_call(network, dict(state), (inputs,))
    if not isinstance(logits, Tensor):
        raise CaptureError(
            f"{type(network).__name__} must return one tensor of logits but returned a {type(logits).__name__}; wrap "
            f"it in a module that returns the logits alone."
        )
    return logits


@contextmanager
def _training(network: nn.Module) -> Iterator[None]:
    """Train mode inside, the mode in which each module was found afterwards."""
    in_evaluation = [module for module in network.modules() if not module.training]
    try:
        for module in in_evaluation:
            module.training = True
        yield
    finally:
        for module in in_evaluation:
            module.training = False


@contextmanager
def _readable_errors() -> Iterator[None]:
    """Turns what torch raises in a forward or backward pass into one sentence."""
    try:
        yield
    except (TypeError, ValueError, RuntimeError) as error:
        raise CaptureError(f"The network could not be scored, because a pass through it failed: {error}") from error


def _gradients(total: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    """The gradient of `total` for each of `tensors`; zero where it does not depend on them."""
    if not total.requires_grad:
        return [torch.zeros_like(tensor) for tensor in tensors]
    with _readable_errors():
        found = torch.autograd.grad(total, tensors, allow_unused=True)
    return [torch.zeros_like(t) if g is None else g for t, g in zip(tensors, found, strict=True)]


# -------------------------------------------------------------------------------------------------------- the contents

PUBLISHED: Final[tuple[Estimator, ...]] = (
    Estimator(
        name="parameter_count",
        title="parameters",
        direction=1,
        needs_targets=False,
        needs_gradients=False,
        function=parameter_count,
        source="baseline",
    ),
    Estimator(
        name="mac_count",
        title="MACs",
        direction=1,
        needs_targets=False,
        needs_gradients=False,
        function=mac_count,
        source="baseline; convention of Dong & Yang 2020, https://arxiv.org/abs/2001.00326",
    ),
    Estimator(
        name="synflow",
        title="log synflow",
        direction=1,
        needs_targets=False,
        needs_gradients=True,
        function=synflow,
        source="Tanaka et al. 2020, https://arxiv.org/abs/2006.05467",
    ),
    Estimator(
        name="jacob_cov",
        title="jacob_cov",
        direction=1,
        needs_targets=False,
        needs_gradients=True,
        function=jacob_cov,
        source="Mellor et al. 2021, version 1, https://arxiv.org/abs/2006.04647v1",
    ),
    Estimator(
        name="naswot",
        title="NASWOT",
        direction=1,
        needs_targets=False,
        needs_gradients=False,
        function=naswot,
        source="Mellor et al. 2021, https://arxiv.org/abs/2006.04647",
    ),
)

_BY_NAME: Final = MappingProxyType({estimator.name: estimator for estimator in PUBLISHED})


def by_name(name: str) -> Estimator:
    """The published estimator of this name.

    Raises:
        ConfigError: if there is none; the message lists the names and the nearest one.
    """
    found = _BY_NAME.get(name)
    if found is None:
        near = difflib.get_close_matches(name, _BY_NAME, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ConfigError(f"No published estimator is called {name!r}: expected one of {', '.join(_BY_NAME)}{hint}")
    return found

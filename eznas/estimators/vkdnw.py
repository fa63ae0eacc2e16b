"""VKDNW: how evenly the Fisher information of a network is spread over its parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.func import jvp

from eznas.errors import UnfitError
from eznas.estimators.counts import trainable_layers
from eznas.estimators.passes import (
    Call,
    Function,
    forward,
    gaussian_images,
    gaussian_state,
    gradients,
    kaiming_deviation,
)
from eznas.statistics.torch_functions import CONVOLUTIONS, LINEAR, NORMALISATIONS, functions

VKDNW_SEED: Final = 0
"""Of the weights and the images."""
VKDNW_TENSORS: Final = 128
"""The first parameter tensors, which enter the Fisher information with one element each."""
VKDNW_SMOOTHING: Final = 0.05
"""Share of the uniform distribution in the predicted classes."""
VKDNW_EPS: Final = 1e-10
"""Added to a sum and before a logarithm."""

IMAGE_BY_IMAGE: Final = CONVOLUTIONS | LINEAR | NORMALISATIONS | functions("prelu")
"""Functions whose result for an image, in evaluation mode, depends on that image alone, images on the first axis."""


def vkdnw(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Number of parameter tensors plus the entropy of the spectrum of the Fisher information.

    With J_n the (classes, K) derivatives of the logits of image n for the first element of each of the first 128 named
    parameter tensors, and q_n its predicted classes, .95 softmax + .05 / classes,

        F = mean_n J_n^T (diag q_n - q_n q_n^T) J_n,   t = deciles .1, .2, ..., .9 of the eigenvalues of F,
        score = `trainable_layers` - sum_i t_i ln(t_i + 1e-10)   with t divided by its sum + 1e-10,

    where the entropy, at most ln 9, orders networks of equal depth. Evaluation mode, weights by Kaiming's normal scheme
    (fan in; biases 0, normalisation as new), N(0, 1) images of the shape of `inputs`, whose values are not used. This
    is the published single-network score; VKDNW proper joins ranks of it and of others among candidates. The released
    code has an empty selection of elements for NAS-Bench-201; one element per tensor is that of its ImageNet code.

    One forward pass and one backward pass per class.

    Returns:
        The score; NaN if the derivatives are not finite; the number of tensors if all of them are zero, as with a zero
        output and no bias behind it.

    Raises:
        CaptureError: if the logits are not (batch, n_classes).

    Source: `Tybl 2025 <https://arxiv.org/abs/2502.04975>`_, as in the released code.
    """
    del targets
    return trainable_layers(network, inputs) + spectrum_entropy(fisher_spectrum(*logit_derivatives(network, inputs)))


def logit_derivatives(network: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The derivatives of `vkdnw`, (batch, classes, K), and its logits, (batch, classes), in float64.

    Every call of a convolution, linear layer or normalisation with a chosen parameter tells how its result moves with
    the chosen element, image by image; a backward pass per class tells how the logits move with the results. A network
    that uses a chosen parameter in another way is differentiated image by image and class by class instead.
    """
    generator = torch.Generator().manual_seed(VKDNW_SEED)
    state = gaussian_state(network, generator, kaiming_deviation)
    images = gaussian_images(inputs.shape, inputs, generator)
    names = [name for name, parameter in network.named_parameters() if parameter.numel()][:VKDNW_TENSORS]
    found = _derivatives_by_call(network, images, state, names)
    return _derivatives_one_by_one(network, images, state, names) if found is None else found


def fisher_spectrum(derivatives: Tensor, logits: Tensor) -> Tensor:
    """The (K,) eigenvalues of F, ascending: squared singular values of a factor of it; NaN if they are not finite."""
    n_images, n_classes, n_elements = derivatives.shape
    shares = (1 - VKDNW_SMOOTHING) * logits.softmax(dim=1) + VKDNW_SMOOTHING / n_classes
    centred = derivatives - (shares[:, None, :] @ derivatives)  # less the mean over classes
    factor = (centred * (shares / n_images).sqrt()[..., None]).flatten(0, 1)  # F is its transpose times itself
    if not factor.isfinite().all():
        return factor.new_full((n_elements,), torch.nan)
    values = torch.linalg.svdvals(factor).square()
    return torch.cat([values.new_zeros(n_elements - len(values)), values.flip(0)])


def spectrum_entropy(eigenvalues: Tensor) -> float:
    """Entropy of the deciles of the (K,) eigenvalues, in nats; NaN if they are not finite or there are none."""
    if not len(eigenvalues) or not eigenvalues.isfinite().all():
        return float("nan")
    levels = torch.arange(1, 10, dtype=eigenvalues.dtype, device=eigenvalues.device) / 10
    shares = eigenvalues.quantile(levels)
    shares = shares / (shares.sum() + VKDNW_EPS)
    return float(-(shares * (shares + VKDNW_EPS).log()).sum())


# ------------------------------------------------------------------------------------------------------- derivatives


def _derivatives_by_call(
    network: nn.Module, images: Tensor, state: Mapping[str, Tensor], names: list[str]
) -> tuple[Tensor, Tensor] | None:
    """As `logit_derivatives`; None if a chosen parameter is used in a way that mixes images or hides them."""
    column = {id(state[name]): k for k, name in enumerate(names)}
    moves: list[tuple[int, Tensor, Tensor, Tensor]] = []  # element, result of a call, places that move, how they do
    is_elsewhere = False

    def record(call: Call, result: Any) -> Any:
        nonlocal is_elsewhere
        function, args, kwargs = call
        chosen = {id(value): value for value in _tensors(args, kwargs) if id(value) in column}
        if not chosen or not any(True for _ in _tensors((result,), {})):
            return result
        if function not in IMAGE_BY_IMAGE or result.dim() < 2 or len(result) != len(images):
            is_elsewhere = True
            return result
        result = result if result.requires_grad else result.requires_grad_()
        for key, parameter in chosen.items():
            move = _derivative(function, args, kwargs, parameter).flatten(1)
            places = move.any(dim=0).nonzero().flatten()  # those of one channel, usually
            moves.append((column[key], result, places, move[:, places]))
        return result.clone()  # so that an activation in place does not overwrite it

    with torch.enable_grad():
        logits = _logits(network, images, state, record)
        totals = [logits[:, label].sum() for label in range(logits.shape[1])]
    if is_elsewhere:
        return None
    derivatives = torch.zeros((len(images), len(totals), len(names)), dtype=torch.float64, device=images.device)
    results = {id(result): result for _, result, _, _ in moves}
    for label, total in enumerate(totals):
        found = gradients(total, list(results.values()), retain_graph=label + 1 < len(totals))
        by_result = dict(zip(results, found, strict=True))
        for k, result, places, move in moves:
            products = by_result[id(result)].flatten(1)[:, places] * move
            derivatives[:, label, k] += products.sum(dim=1, dtype=torch.float64)
    return derivatives, logits.detach().double()


def _derivative(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], parameter: Tensor) -> Tensor:
    """How the result of a call moves with the first element of one of its parameters."""
    direction = torch.zeros_like(parameter)
    direction.view(-1)[0] = 1

    def called(value: Tensor) -> Tensor:
        def put(given: Any) -> Any:
            return value if given is parameter else given.detach() if isinstance(given, Tensor) else given

        found: Tensor = function(*map(put, args), **{name: put(given) for name, given in kwargs.items()})
        return found

    return jvp(called, (parameter.detach(),), (direction,))[1]


def _derivatives_one_by_one(
    network: nn.Module, images: Tensor, state: Mapping[str, Tensor], names: list[str]
) -> tuple[Tensor, Tensor]:
    """As `logit_derivatives`, by one backward pass per image and class: the definition."""
    parameters = [state[name].requires_grad_() for name in names]
    rows, all_logits = [], []
    for image in images:
        with torch.enable_grad():
            logits = _logits(network, image[None], state)
            totals = logits[0].unbind()
        for label, total in enumerate(totals):
            found = gradients(total, parameters, retain_graph=label + 1 < len(totals))
            rows.append(torch.stack([gradient.flatten()[0] for gradient in found]))
        all_logits.append(logits.detach()[0])
    logits = torch.stack(all_logits).double()
    return torch.stack(rows).double().reshape(*logits.shape, len(names)), logits


def _logits(network: nn.Module, images: Tensor, state: Mapping[str, Tensor], on_result: Any = None) -> Tensor:
    logits = forward(network, images, state, on_result=on_result, training=False)
    if logits.dim() != 2 or len(logits) != len(images):
        raise UnfitError(
            f"{type(network).__name__} must return logits of shape (batch, n_classes) but returned "
            f"{tuple(logits.shape)}; flatten them, because vkdnw predicts a class for each image."
        )
    return logits


def _tensors(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    """The tensors among the arguments of a call, and in lists of them."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from _tensors(tuple(value), {})

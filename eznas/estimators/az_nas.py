"""The terms of AZ-NAS that look at features: how rich they are, how they grow, how gradients pass between them.

The *features* of a network are feature maps F_0, F_1, ..., F_L along its depth: the output of the stem and of every
block after it, reductions included. `feature_blocks` says which modules those are. All terms score a copy of the
network with weights drawn by Kaiming's normal scheme (fan in; biases 0, normalisation as new), in train mode, for
N(0, 1) images of the shape of `inputs`, whose values are not used. AZ-NAS itself joins the ranks of the three terms and
of the MACs (`mac_count`) among candidates, so that a single network has no such score.

Source of all: `Lee 2024 <https://arxiv.org/abs/2403.19232>`_ and the released code.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from eznas.errors import UnfitError
from eznas.estimators.passes import (
    copied_state,
    exact_sum,
    forward,
    gaussian_images,
    gaussian_state,
    gradients,
    hooked,
    kaiming_deviation,
)
from eznas.estimators.reading import Reading

AZ_SEED: Final = 0
"""Of the weights, the images and the signs that are sent back."""
ENTROPY_EPS: Final = 1e-8
"""Added to a share before its logarithm."""
SPECTRUM_EPS: Final = 1e-6
"""Added to a singular value before its reciprocal."""


def az_expressivity(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Sum over features of the entropy of their principal components.

        E_l = - sum_i p_i ln(p_i + 1e-8),   score = sum_l E_l,

    with p the eigenvalues of the (channels, channels) covariance of F_l over images and places, divided by their sum.
    In nats; E_l is at most the logarithm of the channels.

    Returns:
        The score; ``-inf`` if a feature is constant or not finite, as in a cell with zero output.

    Raises:
        UnfitError: if fewer than two features are found, see `feature_blocks`.

    Source: `Lee 2024 <https://arxiv.org/abs/2403.19232>`_, as in the released code.
    """
    return EXPRESSIVITY.alone(network, inputs, targets)


def az_progressivity(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Smallest growth of that entropy from one feature to the next: min_l (E_{l+1} - E_l), E as in `az_expressivity`.

    In nats; negative where a block loses directions, which every block without a convolution or more channels does.

    Returns:
        The score; ``-inf`` if a feature is constant or not finite, as in a cell with zero output.

    Raises:
        UnfitError: if fewer than two features are found, see `feature_blocks`.

    Source: `Lee 2024 <https://arxiv.org/abs/2403.19232>`_, as in the released code.
    """
    return PROGRESSIVITY.alone(network, inputs, targets)


def az_trainability(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """How near the blocks are to keeping the length of a gradient: the mean of 2 - s_l - 1 / (s_l + 1e-6) over blocks.

    s_l is the largest singular value of

        G = mean over images and places of g_in g_out^T   (channels of F_{l-1}, channels of F_l),

    with g_out at F_l random signs and g_in = g_out pulled back to F_{l-1} through the block. Where the block halves the
    size, the places of F_{l-1} that belong to one place of F_l are counted as its channels; sizes that do not divide
    are cropped or filled with zeros evenly at the borders (by us: the published networks have none). A term is largest,
    about 0, at s = 1. A block that returns exactly the gradient it gets, such as an identity, has -inf in the released
    code, and with it the network.

    Returns:
        The score, at most about 1e-6; ``-inf`` if a block is the identity, or a gradient not finite; about -1e6 / L
        for each block of L with zero output, or that does not depend on the feature before.

    Raises:
        UnfitError: if fewer than two features are found, see `feature_blocks`.

    Source: `Lee 2024 <https://arxiv.org/abs/2403.19232>`_, as in the released code.
    """
    return TRAINABILITY.alone(network, inputs, targets)


# ----------------------------------------------------------------------------------------------------- what is measured


class _Features:
    """What the terms read: the features with and without gradients, each of a pass of its own, and their blocks."""

    def __init__(self, network: nn.Module, inputs: Tensor, targets: Tensor | None, parts: tuple[None, ...]) -> None:
        del targets, parts
        self._network, self._inputs = network, inputs

    @cached_property
    def blocks(self) -> list[tuple[nn.Module, int]]:
        """As `feature_blocks`, which takes a pass."""
        return feature_blocks(self._network, self._inputs)

    @cached_property
    def entropies(self) -> list[float]:
        """E_l of every feature; NaN where it is constant or not finite."""
        with torch.no_grad():
            features = self.drawn(torch.Generator().manual_seed(AZ_SEED))
        return [spectral_entropy(feature) for feature in features]

    def drawn(self, generator: torch.Generator) -> list[Tensor]:
        """F_0, ..., F_L of random weights and images; gradients, if enabled, begin at F_0."""
        return _features(self._network, self._inputs, self.blocks, generator)


def _richness(shown: _Features) -> float:
    """`az_expressivity`."""
    return _number_or_minus_infinity(exact_sum(shown.entropies))


def _smallest_growth(shown: _Features) -> float:
    """`az_progressivity`."""
    entropies = shown.entropies
    if not all(map(math.isfinite, entropies)):
        return -math.inf
    return min(after - before for before, after in itertools.pairwise(entropies))


def _kept_length(shown: _Features) -> float:
    """`az_trainability`."""
    generator = torch.Generator().manual_seed(AZ_SEED)
    with torch.enable_grad():
        features = shown.drawn(generator)
    terms = []
    for before, after in itertools.pairwise(features):
        signs = torch.randint(0, 2, after.shape, generator=generator).to(after) * 2 - 1
        with torch.enable_grad():
            along = (after * signs).sum()
        (pulled_back,) = gradients(along, [before], retain_graph=True)
        if pulled_back.shape == signs.shape and torch.equal(pulled_back, signs):
            return -math.inf
        pulled_back = _unshuffled(pulled_back, after.shape[2:])
        coupling = _by_place(pulled_back).T @ _by_place(signs) / signs[:, 0].numel()
        if not coupling.isfinite().all():
            return -math.inf
        largest = float(torch.linalg.matrix_norm(coupling, 2))
        terms.append(2 - largest - 1 / (largest + SPECTRUM_EPS))
    return exact_sum(terms) / len(terms)


EXPRESSIVITY: Final = Reading(_Features, None, _richness)
PROGRESSIVITY: Final = Reading(_Features, None, _smallest_growth)
TRAINABILITY: Final = Reading(_Features, None, _kept_length)


def spectral_entropy(feature: Tensor) -> float:
    """Entropy of the principal components of a (batch, channels, height, width) feature, in nats, in float64.

    Returns:
        At most ln(channels); NaN if the feature is constant or not finite.
    """
    rows = _by_place(feature)
    centred = rows - rows.mean(dim=0)
    covariance = centred.T @ centred  # up to a factor, which the shares lose
    if not covariance.isfinite().all():
        return math.nan
    eigenvalues = torch.linalg.eigvalsh(covariance).clamp(min=0)
    shares = eigenvalues / eigenvalues.sum()
    return float(-(shares * (shares + ENTROPY_EPS).log()).sum())


def _by_place(feature: Tensor) -> Tensor:
    """(batch, channels, height, width) -> (batch height width, channels) float64."""
    return feature.detach().movedim(1, -1).flatten(0, -2).double()


def _unshuffled(gradient: Tensor, size: torch.Size) -> Tensor:
    """(b, c, about s h, about t w) -> (b, c s t, h, w): the places of each cell of s by t as channels."""
    (b, c, *places), (h, w) = gradient.shape, size
    s, t = (max(1, round(n / m)) for n, m in zip(places, size, strict=True))
    above, left = ((m - n) // 2 for n, m in zip(places, (s * h, t * w), strict=True))
    margins = (left, t * w - places[1] - left, above, s * h - places[0] - above)
    cells = F.pad(gradient, margins).reshape(b, c, h, s, w, t)  # a negative margin crops
    return cells.permute(0, 1, 3, 5, 2, 4).reshape(b, c * s * t, h, w)


def _number_or_minus_infinity(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


# ------------------------------------------------------------------------------------------------------- which features


@dataclass(eq=False)
class _Call:
    """One call of a module: what it returned, and the calls inside it."""

    module: nn.Module
    number: int  # of the calls of this module, from 0
    inside: list[_Call] = field(default_factory=list)
    is_map: bool = False  # returned a (batch, channels, height, width) tensor
    is_global_pooling: bool = False  # returned one place for several

    @property
    def is_composite(self) -> bool:
        return next(self.module.children(), None) is not None


def feature_blocks(network: nn.Module, inputs: Tensor) -> list[tuple[nn.Module, int]]:
    """The modules whose outputs are the features, each with the number of its call in a forward pass, from 0.

    A network can say it: an attribute or method ``feature_blocks`` gives its modules, the stem first, in order of
    execution. Otherwise they are found in a forward pass of at most two images:

    * The network itself, every ``nn.Sequential`` and every module that does not return a (batch, channels, height,
      width) tensor is opened; what is called inside takes its place, so that the network becomes a chain of calls.
    * A module in the chain that has modules inside is a block.
    * Layers without modules inside are taken together: each convolution begins a block, and the layers after it
      (normalisation, activation, pooling) belong to it up to the next convolution or block. Layers with no convolution
      before them since the last block are passed over.
    * The chain ends where a layer pools over all places.

    On NAS-Bench-201 this gives the stem, every cell and both reductions, the authors' choice; on a residual network the
    stem with its pooling and every residual block.

    Raises:
        UnfitError: if there are fewer than two.
    """
    declared = getattr(network, "feature_blocks", None)
    if declared is not None:
        modules: Iterable[nn.Module] = declared() if callable(declared) else declared
        found = [(module, 0) for module in modules]
    else:
        found = [(call.module, call.number) for call in _block_ends(_chain(_traced_calls(network, inputs)))]
    if len(found) < 2:
        raise UnfitError(
            f"{type(network).__name__} shows {len(found)} feature map(s) of shape (batch, channels, height, width) "
            f"along its depth, but at least 2 are needed, a stem and a block; give it a method feature_blocks() that "
            f"returns the modules whose outputs they are."
        )
    return found


def _traced_calls(network: nn.Module, inputs: Tensor) -> list[_Call]:
    """The module calls directly inside the network's, in a forward pass of at most two images."""
    root = _Call(network, 0)
    stack = [root]
    n_calls: dict[nn.Module, int] = {}

    def enter(module: nn.Module, arguments: Any) -> None:
        call = _Call(module, n_calls.get(module, 0))
        n_calls[module] = call.number + 1
        stack[-1].inside.append(call)
        stack.append(call)

    def leave(module: nn.Module, arguments: Any, output: Any) -> None:
        call = stack.pop()
        if isinstance(output, Tensor) and output.dim() == 4:
            call.is_map = True
            came_in = arguments[0] if arguments and isinstance(arguments[0], Tensor) else output
            call.is_global_pooling = output.shape[2:].numel() == 1 < came_in.shape[2:].numel()

    with torch.no_grad(), hooked(network.modules(), leave, before=enter):
        forward(network, inputs[:2], copied_state(network))
    return root.inside[0].inside


def _chain(calls: Iterable[_Call]) -> Iterator[_Call]:
    """The calls that return feature maps, with those opened that are to be."""
    for call in calls:
        if isinstance(call.module, nn.Sequential) or not call.is_map:
            yield from _chain(call.inside)
        else:
            yield call


def _block_ends(chain: Iterable[_Call]) -> list[_Call]:
    """The last call of each block."""
    ends: list[_Call] = []
    is_open = False  # whether layers still belong to the last block
    for call in chain:
        if call.is_composite or isinstance(call.module, _ConvNd):
            is_open = not call.is_composite
            ends.append(call)
        elif call.is_global_pooling:
            break
        elif is_open:
            ends[-1] = call
    return ends


def _features(
    network: nn.Module, inputs: Tensor, blocks: list[tuple[nn.Module, int]], generator: torch.Generator
) -> list[Tensor]:
    """The outputs of `blocks` for random weights and images; gradients, if enabled, begin at the first."""
    state = gaussian_state(network, generator, kaiming_deviation)
    images = gaussian_images(inputs.shape, inputs, generator)
    found: dict[tuple[nn.Module, int], Tensor] = {}
    n_calls: dict[nn.Module, int] = {}

    def record(module: nn.Module, arguments: Any, output: Any) -> Any:
        number = n_calls.get(module, 0)
        n_calls[module] = number + 1
        if (module, number) not in blocks:
            return output
        if not isinstance(output, Tensor) or output.dim() != 4:
            raise UnfitError(
                f"A feature block of {type(network).__name__} must return one tensor of shape (batch, channels, "
                f"height, width), but a {type(module).__name__} returned something else; name other modules in "
                f"feature_blocks()."
            )
        if torch.is_grad_enabled() and not output.requires_grad:
            output = output.detach().requires_grad_()
        found[module, number] = output
        return output.clone()  # so that what follows in place does not overwrite it

    with hooked({module for module, _ in blocks}, record):
        forward(network, images, state)
    missing = [type(module).__name__ for module, number in blocks if (module, number) not in found]
    if missing:
        raise UnfitError(
            f"{type(network).__name__} names a {missing[0]} as a feature block that its forward pass does not call; "
            f"let feature_blocks() return modules that are called."
        )
    return [found[block] for block in blocks]

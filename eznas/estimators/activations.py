"""Estimators that look at what a forward pass shows: the patterns of activations and the correlations of features.

A *pattern* has one bit for each input of an activation, 1 where it is positive. Published are the patterns of ReLUs.
Here activations are generalised, by the sign of what enters them, so that networks without ReLUs have patterns too:

* ReLUs of any kind and spelling (`eznas.statistics.rectifiers.Rectifiers`) and, in the same way, ReLUs that are rounded
  off: SiLU, GELU, Hardswish, Mish, Softplus, ELU, SELU, CELU;
* in a network that has none of these, whatever other activations it calls: sigmoid, tanh, hardtanh and so on.

For a network whose activations are ReLUs, gates beside them or not, these are the published patterns. Activations
inside recurrent layers and scripted functions are not seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from eznas.errors import CaptureError, ConfigError, UnfitError
from eznas.estimators.passes import (
    Activation,
    copied_state,
    exact_sum,
    forward,
    gaussian_images,
    gaussian_state,
    hooked,
)
from eznas.estimators.reading import Reading

SWAP_SEED: Final = 0
"""Of the weights that `swap` draws."""
SWAP_REPEATS: Final = 32
"""Draws of the weights that `swap` averages."""
SWAP_MU: Final = 1531.546
"""Preferred size of `swap_regularised`: the largest CIFAR-10 network of NAS-Bench-201, in thousands of parameters."""
SWAP_SIGMA: Final = (1531.546 - 73.306) ** 2
"""Breadth of that preference: the squared distance to the smallest network."""
MECO_SEED: Final = 0
"""Of the image of noise of `meco`."""
MECO_SIZE: Final = 64
"""Height and width of that image, in pixels."""
_WORD_BITS: Final = 62


def naswot(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Log determinant of the agreement kernel of a batch's activation patterns ("NASWOT v2").

    K[i, j] is the number of inputs of activations, over the whole network, that are positive for both of images i and j
    or for neither; the score is ln \\|det K\\|, in nats. It grows with the batch and with the number of activations and
    is not normalised: compare within one batch size and resolution only. Counts are exact in float32 up to 2^24 per
    call, the determinant is in float64.

    Published are ReLUs; which other activations count, this module says (`eznas.estimators.activations`). The released
    code drops ReLUs that no gradient reaches, which removes nothing on NAS-Bench-201.

    Returns:
        The score; ``-inf`` if K is singular: two images have one pattern.

    Raises:
        UnfitError: if the network has no activation that can be seen, or one does not see the batch on its first axis.

    Source: `Mellor 2021 <https://arxiv.org/abs/2006.04647>`_, section 3, eq. 2.
    """
    return NASWOT.alone(network, inputs, targets)


def linear_regions(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Number of linear regions a batch falls into: distinct patterns of the activations of feature maps.

    The pattern of an image has one bit per unit, 1 where the input of the activation is positive. Feature maps are
    (batch, channels, height, width); in a network that has no activation of such, all others count. At most the size of
    the batch, which any network of usual width reaches on images: the published search counts 3,000 crops of 3x3 pixels
    of one channel through thin copies of its networks. Use it with narrow networks, small inputs and large batches.

    Published are ReLUs; which other activations count, this module says (`eznas.estimators.activations`).

    Returns:
        A count of at least 1.

    Raises:
        UnfitError: if the network has no activation that can be seen, or one does not see the batch on its first axis.

    Source: `Chen 2021 <https://arxiv.org/abs/2102.11535>`_, as in the released code.
    """
    return LINEAR_REGIONS.alone(network, inputs, targets)


def swap(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Number of distinct patterns that units show over the batch ("sample-wise activation patterns").

    The pattern of a unit, one channel at one place of an activation as in `linear_regions`, has one bit per image, 1
    where the input of the activation is positive. Weights of convolutions and linear layers are re-drawn from N(0, 1)
    on a copy, biases are 0, normalisation is as new; the score is the mean over `SWAP_REPEATS` draws. It saturates at
    2^batch; the published batch has 16 images.

    Returns:
        The mean count.

    Raises:
        UnfitError: if the network has no activation that can be seen, or one does not see the batch on its first axis.

    Source: `Peng 2024 <https://arxiv.org/abs/2403.04161>`_, without its regularisation by size.
    """
    return SWAP.alone(network, inputs, targets)


def swap_regularised(
    network: nn.Module,
    inputs: Tensor,
    targets: Tensor | None = None,
    *,
    mu: float = SWAP_MU,
    sigma: float = SWAP_SIGMA,
) -> float:
    """`swap` times a preference for networks of about a certain size: exp(-(P - mu)^2 / sigma) swap.

    P is the number of parameters in thousands. The authors set mu and sigma for each search space. **The defaults are
    not theirs**: mu is the size of the largest network of NAS-Bench-201 (CIFAR-10, 1,531,546 parameters), and sigma
    gives the smallest one (73,306) a factor of 1/e, so that within the space a larger network always has the larger
    factor. Give your own for another space or skeleton.

    Args:
        network: maps `inputs` to one tensor of logits.
        inputs: (batch, channels, height, width).
        targets: not used.
        mu: preferred size, in thousands of parameters.
        sigma: breadth of the preference, in thousands of parameters squared.

    Returns:
        The regularised mean count; 0 for a network far from the preferred size.

    Raises:
        ConfigError: if `sigma` is not positive.
        CaptureError: as `swap`.

    Source: `Peng 2024 <https://arxiv.org/abs/2403.04161>`_, the released code.
    """
    if not sigma > 0:
        raise ConfigError(f"The breadth sigma of swap_regularised must be positive, but it is {sigma}.")
    return _regularised(_swapped(network, inputs, targets, (None,)), mu, sigma)


def meco(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Sum over modules of the smallest eigenvalue of the correlation of their channels, for one image of noise.

    The output of a module for the image, (channels, ...), gives the Pearson correlation of its channels over places,
    with entries that are not finite set to 0; a module with at least as many channels as places adds 0. The image is
    N(0, 1), `MECO_SIZE` pixels high and wide as published, in train mode. A network that cannot be run on an image of
    that size, such as one with a classifier for another, is shown one of the size of `inputs`, and so is one whose
    inputs have no height and width. Scores for images of two sizes cannot be compared. As in the released code every
    module counts that returns a tensor, containers and the network itself too, so that the same network in another
    wrapper has another score.

    Returns:
        The sum; 0 for a network whose outputs are all constant.

    Raises:
        UnfitError: if no module returns more places than channels.
        CaptureError: if the network takes an image of neither size, or has a batch normalisation that sees a single
            value per channel, as after global pooling.

    Source: `Jiang 2023 <https://openreview.net/forum?id=KFm2lZiI7n>`_ and the released code.
    """
    del targets
    own = tuple(inputs.shape[1:])
    published = (own[0], MECO_SIZE, MECO_SIZE) if len(own) == 3 else own
    try:
        return exact_sum(_smallest_eigenvalues(network, inputs, published))
    except UnfitError:
        raise
    except CaptureError:
        if published == own:
            raise
        return exact_sum(_smallest_eigenvalues(network, inputs, own))


PATTERNS: Final = frozenset({naswot, linear_regions, swap, swap_regularised})
"""Estimators of patterns, which are generalised beyond the published ReLUs."""


def _smallest_eigenvalues(network: nn.Module, inputs: Tensor, shape: tuple[int, ...]) -> list[float]:
    """One for each module whose output has more places than channels, for one image of noise of this shape."""
    image = gaussian_images((1, *shape), inputs, torch.Generator().manual_seed(MECO_SEED))
    smallest: list[float] = []

    def add(module: nn.Module, arguments: Any, output: Any) -> None:
        del module, arguments
        if not isinstance(output, Tensor) or output.dim() < 2:
            return
        features = output.detach()[0].double()
        features = features.reshape(len(features), -1)  # (channels, places)
        if not features.isfinite().all():
            smallest.append(math.nan)
            return
        if len(features) >= features.shape[1]:
            return  # centred rows span fewer directions than there are channels: the smallest eigenvalue is 0
        centred = features - features.mean(dim=1, keepdim=True)
        rows = centred / centred.norm(dim=1, keepdim=True)
        correlation = torch.nan_to_num(rows @ rows.T, nan=0.0, posinf=0.0, neginf=0.0)
        smallest.append(float(torch.linalg.eigvalsh(correlation)[0]))

    with torch.no_grad(), hooked(network.modules(), add):
        forward(network, image, copied_state(network))
    if not smallest:
        raise UnfitError(
            f"No module of {type(network).__name__} returns features with more places than channels for one image, and "
            f"meco correlates channels over places."
        )
    return smallest


# -------------------------------------------------------------------------------------------------- patterns of signs


@dataclass(frozen=True, slots=True)
class _Bits:
    """What is kept of the (batch, units) Booleans of each activation, and which activations count.

    Those of the most suitable kind count: rectifying ones before others and, if it `has_maps`, within both those of
    (batch, channels, height, width) maps before those of other features.
    """

    name: str  # of the estimator, for people
    kept: Callable[[Tensor], Tensor]
    has_maps: bool

    def suitability(self, kind: Activation, entering: Tensor) -> tuple[bool, bool]:
        """Of an activation; the best is (False, False)."""
        return kind is Activation.OTHER, self.has_maps and entering.dim() != 4


class _Patterns:
    """What several `_Bits` keep of the activations of one forward pass, without gradients.

    Raises:
        CaptureError, UnfitError: as `forward`.
    """

    def __init__(self, network: nn.Module, inputs: Tensor, state: dict[str, Tensor], parts: Sequence[_Bits]) -> None:
        self._network, self.n_images = network, len(inputs)
        self._kept: dict[_Bits, dict[tuple[bool, bool], list[Tensor]]] = {bits: {} for bits in parts}
        self._problems: dict[_Bits, dict[tuple[bool, bool], str]] = {bits: {} for bits in parts}
        with torch.no_grad():
            forward(network, inputs, state, on_activation=self._add)

    def _add(self, kind: Activation, entering: Tensor) -> None:
        has_batch = entering.dim() > 0 and len(entering) == self.n_images
        positive = entering.detach().reshape(self.n_images, -1) > 0 if has_batch else None
        for bits, kept in self._kept.items():
            suitability = bits.suitability(kind, entering)
            kept.setdefault(suitability, [])
            if positive is not None:
                kept[suitability].append(bits.kept(positive))
            else:
                self._problems[bits].setdefault(suitability, f"{tuple(entering.shape)}")

    def of(self, bits: _Bits) -> list[Tensor]:
        """What is kept of each activation that counts, in order.

        Raises:
            UnfitError: if there is none, or one does not see the batch on its first axis.
        """
        kept, problems, name = self._kept[bits], self._problems[bits], type(self._network).__name__
        if not kept:
            raise UnfitError(
                f"{name} calls no activation that can be seen, neither a ReLU nor another, and {bits.name} compares "
                f"the signs of what enters them; those inside recurrent layers and scripted functions are hidden."
            )
        best = min(kept)
        if best in problems:
            raise UnfitError(
                f"An activation of {name} sees a tensor of shape {problems[best]} for a batch of {self.n_images} "
                f"images; {bits.name} needs the batch on the first axis."
            )
        return kept[best]


def _agreements(positive: Tensor) -> Tensor:
    """(batch, batch) number of units that are positive for both of two images, or for neither."""
    signs = positive.float().mul_(2).sub_(1)
    return ((signs @ signs.T + signs.shape[1]) / 2).double()  # (n + <s_i, s_j>) / 2 for n signs of ±1


def _themselves(positive: Tensor) -> Tensor:
    return positive


_AGREEMENTS: Final = _Bits("naswot", _agreements, has_maps=False)
_REGIONS: Final = _Bits("linear_regions", _themselves, has_maps=True)
_SWAPPED: Final = _Bits("swap", _themselves, has_maps=True)


def _own_patterns(network: nn.Module, inputs: Tensor, targets: Tensor | None, parts: tuple[_Bits, ...]) -> _Patterns:
    """Those of the network's own weights."""
    del targets
    return _Patterns(network, inputs, copied_state(network), parts)


def _log_determinant(shown: _Patterns) -> float:
    """`naswot`."""
    each = shown.of(_AGREEMENTS)
    kernel = torch.zeros_like(each[0])
    for agreements in each:
        kernel.add_(agreements)
    return float(torch.linalg.slogdet(kernel).logabsdet)


def _distinct_rows(shown: _Patterns) -> float:
    """`linear_regions`."""
    patterns = torch.cat(shown.of(_REGIONS), dim=1)
    return float(len({row.tobytes() for row in patterns.cpu().numpy()}))


@dataclass(frozen=True, slots=True)
class _Swapped:
    """The mean count of `swap`, and the thousands of parameters of the network."""

    count: float
    size: float


def _swapped(network: nn.Module, inputs: Tensor, targets: Tensor | None, parts: tuple[None, ...]) -> _Swapped:
    del targets, parts
    generator = torch.Generator().manual_seed(SWAP_SEED)
    counts = []
    for _ in range(SWAP_REPEATS):
        shown = _Patterns(network, inputs, gaussian_state(network, generator), (_SWAPPED,))
        counts.append(_distinct_columns(torch.cat(shown.of(_SWAPPED), dim=1)))
    size = sum(parameter.numel() for parameter in network.parameters()) / 1000
    return _Swapped(exact_sum(counts) / SWAP_REPEATS, size)


def _regularised(shown: _Swapped, mu: float = SWAP_MU, sigma: float = SWAP_SIGMA) -> float:
    """`swap_regularised`."""
    return shown.count * math.exp(-((shown.size - mu) ** 2) / sigma)


def _distinct_columns(patterns: Tensor) -> int:
    """Number of distinct columns of a (batch, units) matrix of Booleans, packed into words of 62 bits."""
    words = []
    for rows in patterns.split(_WORD_BITS):
        word = torch.zeros(patterns.shape[1], dtype=torch.int64, device=patterns.device)
        for row in rows:
            word = word * 2 + row
        words.append(word)
    if len(words) == 1:
        return len(words[0].unique())
    return len(torch.stack(words, dim=1).unique(dim=0))


NASWOT: Final = Reading(_own_patterns, _AGREEMENTS, _log_determinant)
LINEAR_REGIONS: Final = Reading(_own_patterns, _REGIONS, _distinct_rows)
SWAP: Final = Reading(_swapped, None, lambda shown: shown.count)
SWAP_REGULARISED: Final = Reading(_swapped, None, _regularised)

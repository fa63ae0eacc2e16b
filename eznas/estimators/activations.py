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
from collections.abc import Callable
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
    del targets
    n_images = len(inputs)

    def agreements(positive: Tensor) -> Tensor:
        signs = positive.float().mul_(2).sub_(1)
        return ((signs @ signs.T + signs.shape[1]) / 2).double()  # (n + <s_i, s_j>) / 2 for n signs of ±1

    kernel = torch.zeros((n_images, n_images), dtype=torch.float64, device=inputs.device)
    for each in _patterns(network, inputs, copied_state(network), "naswot", agreements, has_maps=False):
        kernel.add_(each)
    return float(torch.linalg.slogdet(kernel).logabsdet)


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
    del targets
    patterns = _of_units(network, inputs, copied_state(network), "linear_regions")
    return float(len({row.tobytes() for row in patterns.cpu().numpy()}))


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
    del targets
    generator = torch.Generator().manual_seed(SWAP_SEED)
    counts = []
    for _ in range(SWAP_REPEATS):
        patterns = _of_units(network, inputs, gaussian_state(network, generator), "swap")
        counts.append(_distinct_columns(patterns))
    return exact_sum(counts) / SWAP_REPEATS


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
    size = sum(parameter.numel() for parameter in network.parameters()) / 1000
    return swap(network, inputs, targets) * math.exp(-((size - mu) ** 2) / sigma)


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


def _of_units(network: nn.Module, inputs: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    """(batch, units) Booleans: which inputs of activations are positive, of feature maps if there are any."""
    return torch.cat(_patterns(network, inputs, state, name, lambda positive: positive, has_maps=True), dim=1)


def _patterns(
    network: nn.Module,
    inputs: Tensor,
    state: dict[str, Tensor],
    name: str,
    of: Callable[[Tensor], Tensor],
    *,
    has_maps: bool,
) -> list[Tensor]:
    """What `of` makes of the (batch, units) Booleans of each activation that counts, in order.

    Those of the most suitable kind count: rectifying ones before others and, if it `has_maps`, within both those of
    (batch, channels, height, width) maps before those of other features.
    """
    found: dict[tuple[bool, bool], list[Tensor]] = {}
    problems: dict[tuple[bool, bool], str] = {}

    def add(kind: Activation, entering: Tensor) -> None:
        suitability = kind is Activation.OTHER, has_maps and entering.dim() != 4  # the best is (False, False)
        found.setdefault(suitability, [])
        if entering.dim() and len(entering) == len(inputs):
            found[suitability].append(of(entering.detach().reshape(len(inputs), -1) > 0))
        else:
            problems.setdefault(suitability, f"{tuple(entering.shape)}")

    with torch.no_grad():
        forward(network, inputs, state, on_activation=add)
    if not found:
        raise UnfitError(
            f"{type(network).__name__} calls no activation that can be seen, neither a ReLU nor another, and {name} "
            f"compares the signs of what enters them; those inside recurrent layers and scripted functions are hidden."
        )
    best = min(found)
    if best in problems:
        raise UnfitError(
            f"An activation of {type(network).__name__} sees a tensor of shape {problems[best]} for a batch of "
            f"{len(inputs)} images; {name} needs the batch on the first axis."
        )
    return found[best]


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

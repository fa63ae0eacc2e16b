"""The table of published estimators, and the ways into it.

The direction of each is the one its authors gave it: a higher score predicts a higher accuracy in all but `ntk`.
"""

from __future__ import annotations

import difflib
from types import MappingProxyType
from typing import Final

from torch import Tensor, nn

from eznas.errors import ConfigError
from eznas.proxies.activations import linear_regions, meco, naswot, swap
from eznas.proxies.counts import mac_count, parameter_count
from eznas.proxies.estimator import Estimator, ScoreFunction
from eznas.proxies.gradients import gradsign, ntk, zico
from eznas.proxies.jacobian import epe_nas, epe_nas_as_released, jacob_cov
from eznas.proxies.saliency import fisher, grad_norm, grasp, l2_norm, plain, snip, synflow, synflow_bn
from eznas.proxies.zen import zen


def _row(
    function: ScoreFunction,
    title: str,
    source: str,
    *,
    direction: int = 1,
    targets: bool = False,
    gradients: bool = False,
) -> Estimator:
    return Estimator(
        name=function.__name__,
        title=title,
        direction=direction,
        needs_targets=targets,
        needs_gradients=gradients,
        function=function,
        source=source,
    )


_ABDELFATTAH: Final = "Abdelfattah et al. 2021, https://arxiv.org/abs/2101.08134"

PUBLISHED: Final[tuple[Estimator, ...]] = (
    _row(parameter_count, "parameters", "baseline"),
    _row(mac_count, "MACs", "baseline; convention of Dong & Yang 2020, https://arxiv.org/abs/2001.00326"),
    # sums of saliencies over the weights
    _row(l2_norm, "l2 norm", _ABDELFATTAH),
    _row(grad_norm, "gradient norm", _ABDELFATTAH, targets=True, gradients=True),
    _row(plain, "plain", _ABDELFATTAH, targets=True, gradients=True),
    _row(snip, "SNIP", "Lee et al. 2019, https://arxiv.org/abs/1810.02340", targets=True, gradients=True),
    _row(grasp, "GraSP", "Wang et al. 2020, https://arxiv.org/abs/2002.07376", targets=True, gradients=True),
    _row(fisher, "Fisher", "Turner et al. 2020, https://arxiv.org/abs/1906.04113", targets=True, gradients=True),
    _row(synflow, "log synflow", "Tanaka et al. 2020, https://arxiv.org/abs/2006.05467", gradients=True),
    _row(synflow_bn, "log synflow (BN kept)", _ABDELFATTAH, gradients=True),
    # gradients for the images
    _row(jacob_cov, "jacob_cov", "Mellor et al. 2021, version 1, https://arxiv.org/abs/2006.04647v1", gradients=True),
    _row(epe_nas, "EPE-NAS", "Lopes et al. 2021, https://arxiv.org/abs/2102.08099", targets=True, gradients=True),
    _row(
        epe_nas_as_released,
        "EPE-NAS (as released)",
        "Lopes et al. 2021, the released code, https://arxiv.org/abs/2102.08099",
        targets=True,
        gradients=True,
    ),
    # what a forward pass shows
    _row(naswot, "NASWOT", "Mellor et al. 2021, https://arxiv.org/abs/2006.04647"),
    _row(linear_regions, "linear regions", "Chen et al. 2021, https://arxiv.org/abs/2102.11535"),
    _row(swap, "SWAP", "Peng et al. 2024, https://arxiv.org/abs/2403.04161"),
    _row(meco, "MeCo", "Jiang et al. 2023, https://openreview.net/forum?id=KFm2lZiI7n"),
    _row(zen, "Zen", "Lin et al. 2021, https://arxiv.org/abs/2102.01063"),
    # weight gradients of several batches or single images
    _row(zico, "ZiCo", "Li et al. 2023, https://arxiv.org/abs/2301.11300", targets=True, gradients=True),
    _row(gradsign, "GradSign", "Zhang & Jia 2022, https://arxiv.org/abs/2110.08616", targets=True, gradients=True),
    _row(ntk, "NTK condition", "Chen et al. 2021, https://arxiv.org/abs/2102.11535", direction=-1, gradients=True),
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


def score(name: str, network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """The score a published estimator gives one network, which is left exactly as it was found.

        >>> score("synflow", network, images)

    Args:
        name: of a row of `PUBLISHED`.
        network: maps `inputs` to one tensor of logits.
        inputs: (batch, channels, height, width) on the device of the network.
        targets: (batch,) class of each image, for estimators that need them.

    Returns:
        The raw score, as its formula gives it: higher predicts a higher accuracy where ``by_name(name).direction`` is
        +1, a lower one where it is -1. NaN or infinite where the formula has no finite value.

    Raises:
        ConfigError: if the name is unknown, or targets are needed and absent or of no class of the network.
        CaptureError: if the network cannot be scored by this estimator.
    """
    return by_name(name)(network, inputs, targets)

"""The table of published estimators, and the ways into it.

The direction of each is the one its authors gave it: a higher score predicts a higher accuracy in all but `ntk`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final

from torch import Tensor, nn

from eznas.errors import ConfigError
from eznas.estimators import activations, az_nas, jacobian, saliency
from eznas.estimators.activations import SWAP_REPEATS, linear_regions, meco, naswot, swap, swap_regularised
from eznas.estimators.az_nas import az_expressivity, az_progressivity, az_trainability
from eznas.estimators.counts import mac_count, parameter_count, relu_count, trainable_layers
from eznas.estimators.estimator import Estimator, ScoreFunction
from eznas.estimators.gradients import gradsign, ntk, zico
from eznas.estimators.jacobian import epe_nas, epe_nas_as_released, jacob_cov
from eznas.estimators.reading import Reading
from eznas.estimators.saliency import fisher, grad_norm, grasp, l2_norm, logsynflow, plain, snip, synflow, synflow_bn
from eznas.estimators.vkdnw import vkdnw
from eznas.estimators.zen import zen
from eznas.names import unknown


def _row(
    function: ScoreFunction,
    title: str,
    source: str,
    *,
    direction: int = 1,
    targets: bool = False,
    gradients: bool = False,
    images: bool = True,
    passes: str = "1 forward",
    cost: float | None = None,
    reading: Reading[Any, Any] | None = None,
) -> Estimator:
    return Estimator(
        name=function.__name__,
        title=title,
        direction=direction,
        needs_targets=targets,
        needs_gradients=gradients,
        needs_images=images,
        passes=passes,
        cost=cost if cost is not None else (passes != "none") * (1.0 + 2.0 * gradients),
        function=function,
        source=source,
        reading=reading,
    )


_ABDELFATTAH: Final = "Abdelfattah et al. 2021, https://arxiv.org/abs/2101.08134"

_LEE: Final = "Lee & Ham 2024, https://arxiv.org/abs/2403.19232"
_BOTH: Final = "1 forward, 1 backward"
_TRACED: Final = "2 forward (one of two images)"

PUBLISHED: Final[tuple[Estimator, ...]] = (
    # size
    _row(parameter_count, "parameters", "baseline", images=False, passes="none"),
    _row(mac_count, "MACs", "baseline; convention of Dong & Yang 2020, https://arxiv.org/abs/2001.00326", images=False),
    _row(
        trainable_layers, "parameter tensors", "Tybl & Neumann 2025, https://arxiv.org/abs/2502.04975", images=False,
        passes="none",
    ),
    _row(relu_count, "ReLUs", "Ning et al. 2021, https://arxiv.org/abs/2008.03064", images=False),
    # sums of saliencies over the weights
    _row(l2_norm, "l2 norm", _ABDELFATTAH, images=False, passes="none"),
    _row(
        grad_norm, "gradient norm", _ABDELFATTAH, targets=True, gradients=True, passes=_BOTH,
        reading=saliency.GRAD_NORM,
    ),
    _row(plain, "plain", _ABDELFATTAH, targets=True, gradients=True, passes=_BOTH, reading=saliency.PLAIN),
    _row(
        snip, "SNIP", "Lee et al. 2019, https://arxiv.org/abs/1810.02340", targets=True, gradients=True, passes=_BOTH,
        reading=saliency.SNIP,
    ),
    _row(
        grasp, "GraSP", "Wang et al. 2020, https://arxiv.org/abs/2002.07376", targets=True, gradients=True,
        passes="1 forward, 2 backward (the second through the first)", cost=7.0,
    ),
    _row(
        fisher, "Fisher", "Turner et al. 2020, https://arxiv.org/abs/1906.04113", targets=True, gradients=True,
        passes=_BOTH, reading=saliency.FISHER,
    ),
    _row(
        synflow, "log synflow", "Tanaka et al. 2020, https://arxiv.org/abs/2006.05467", gradients=True, images=False,
        passes=_BOTH, reading=saliency.SYNFLOW,
    ),
    _row(synflow_bn, "log synflow (BN kept)", _ABDELFATTAH, gradients=True, images=False, passes=_BOTH),
    _row(
        logsynflow, "LogSynflow", "Cavagnero et al. 2023, https://arxiv.org/abs/2207.05135", gradients=True,
        images=False, passes=_BOTH, reading=saliency.LOGSYNFLOW,
    ),
    # gradients for the images
    _row(
        jacob_cov, "jacob_cov", "Mellor et al. 2021, version 1, https://arxiv.org/abs/2006.04647v1", gradients=True,
        passes=_BOTH, reading=jacobian.JACOB_COV,
    ),
    _row(
        epe_nas, "EPE-NAS", "Lopes et al. 2021, https://arxiv.org/abs/2102.08099", targets=True, gradients=True,
        passes=_BOTH, reading=jacobian.EPE_NAS,
    ),
    _row(
        epe_nas_as_released, "EPE-NAS (as released)",
        "Lopes et al. 2021, the released code, https://arxiv.org/abs/2102.08099", targets=True, gradients=True,
        passes=_BOTH, reading=jacobian.EPE_NAS_AS_RELEASED,
    ),
    # what a forward pass shows
    _row(naswot, "NASWOT", "Mellor et al. 2021, https://arxiv.org/abs/2006.04647", reading=activations.NASWOT),
    _row(
        linear_regions, "linear regions", "Chen et al. 2021, https://arxiv.org/abs/2102.11535",
        reading=activations.LINEAR_REGIONS,
    ),
    _row(
        swap, "SWAP", "Peng et al. 2024, https://arxiv.org/abs/2403.04161", passes=f"{SWAP_REPEATS} forward",
        cost=SWAP_REPEATS, reading=activations.SWAP,
    ),
    _row(
        swap_regularised, "SWAP (regularised)", "Peng et al. 2024, https://arxiv.org/abs/2403.04161",
        passes=f"{SWAP_REPEATS} forward", cost=SWAP_REPEATS, reading=activations.SWAP_REGULARISED,
    ),
    _row(meco, "MeCo", "Jiang et al. 2023, https://openreview.net/forum?id=KFm2lZiI7n", images=False),
    _row(zen, "Zen", "Lin et al. 2021, https://arxiv.org/abs/2102.01063", images=False, passes="2 forward", cost=2.0),
    # what features and gradients show between blocks
    _row(az_expressivity, "AZ-NAS expressivity", _LEE, images=False, passes=_TRACED, reading=az_nas.EXPRESSIVITY),
    _row(az_progressivity, "AZ-NAS progressivity", _LEE, images=False, passes=_TRACED, reading=az_nas.PROGRESSIVITY),
    _row(
        az_trainability, "AZ-NAS trainability", _LEE, gradients=True, images=False, passes=f"{_TRACED}, 1 backward",
        reading=az_nas.TRAINABILITY,
    ),
    # weight gradients of several batches, single images or single classes
    _row(
        zico, "ZiCo", "Li et al. 2023, https://arxiv.org/abs/2301.11300", targets=True, gradients=True,
        passes="2 forward, 2 backward (of half a batch each)",
    ),
    _row(
        gradsign, "GradSign", "Zhang & Jia 2022, https://arxiv.org/abs/2110.08616", targets=True, gradients=True,
        passes="1 forward and 1 backward per image",
    ),
    _row(
        ntk, "NTK condition", "Chen et al. 2021, https://arxiv.org/abs/2102.11535", direction=-1, gradients=True,
        passes="1 forward, 1 backward per image",
    ),
    _row(
        vkdnw, "VKDNW", "Tybl & Neumann 2025, https://arxiv.org/abs/2502.04975", gradients=True, images=False,
        passes="1 forward, 1 backward per class",
    ),
)  # fmt: skip

_BY_NAME: Final = MappingProxyType({estimator.name: estimator for estimator in PUBLISHED})


def by_name(name: str) -> Estimator:
    """The published estimator of this name.

    Raises:
        ConfigError: if there is none; the message names the nearest one.
    """
    found = _BY_NAME.get(name)
    if found is None:
        raise ConfigError(unknown("published estimator", name, _BY_NAME))
    return found


def estimators_table() -> list[dict[str, str]]:
    """What each published estimator needs and where it comes from, one row each, for people."""

    def said(needed: bool) -> str:
        return "yes" if needed else "no"

    return [
        {
            "name": row.name,
            "title": row.title,
            "better": "higher" if row.direction > 0 else "lower",
            "labels": said(row.needs_targets),
            "gradients": said(row.needs_gradients),
            "images": "values" if row.needs_images else "shape",
            "passes": row.passes,
            "source": row.source,
        }
        for row in PUBLISHED
    ]


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

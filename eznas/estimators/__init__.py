"""Published zero-cost estimators: the yardsticks beside which an evolved proxy is measured.

* `estimator`: what an estimator is.
* `published`: the table `PUBLISHED` of all of them; `by_name` finds one, `score` scores a network in one call,
  `estimators_table` is for people.
* By what they look at: `counts` (size), `saliency` (sums over weights), `jacobian` (gradients for the images),
  `activations` (patterns and features of a forward pass), `zen`, `az_nas` (features and gradients between blocks),
  `gradients` (weight gradients of several batches), `vkdnw` (the Fisher information).
* `passes`: the forward and backward passes they run, which leave no trace; `gradient_pass` is one that many read.
* `together`: `outcomes` of several on one network, which share the passes that their `reading` says they can.
"""

from __future__ import annotations

from eznas.estimators.activations import linear_regions, meco, naswot, swap, swap_regularised
from eznas.estimators.az_nas import az_expressivity, az_progressivity, az_trainability
from eznas.estimators.counts import mac_count, parameter_count, relu_count, trainable_layers
from eznas.estimators.estimator import Estimator, ScoreFunction
from eznas.estimators.gradients import gradsign, ntk, zico
from eznas.estimators.jacobian import epe_nas, epe_nas_as_released, jacob_cov
from eznas.estimators.published import PUBLISHED, by_name, estimators_table, score
from eznas.estimators.reading import Reading
from eznas.estimators.saliency import fisher, grad_norm, grasp, l2_norm, logsynflow, plain, snip, synflow, synflow_bn
from eznas.estimators.together import families, family_of, outcomes
from eznas.estimators.vkdnw import vkdnw
from eznas.estimators.zen import zen

__all__ = [
    "PUBLISHED", "Estimator", "Reading", "ScoreFunction", "az_expressivity", "az_progressivity", "az_trainability",
    "by_name", "epe_nas", "epe_nas_as_released", "estimators_table", "families", "family_of", "fisher",
    "grad_norm", "gradsign", "grasp", "jacob_cov", "l2_norm", "linear_regions", "logsynflow", "mac_count", "meco",
    "naswot", "ntk", "outcomes", "parameter_count", "plain", "relu_count", "score", "snip", "swap",
    "swap_regularised", "synflow", "synflow_bn", "trainable_layers", "vkdnw", "zen", "zico",
]  # fmt: skip

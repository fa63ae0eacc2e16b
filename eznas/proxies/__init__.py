"""Published zero-cost estimators: the yardsticks beside which an evolved proxy is measured.

* `estimator`: what an estimator is.
* `published`: the table `PUBLISHED` of all of them; `by_name` finds one, `score` scores a network in one call,
  `estimators_table` is for people.
* By what they look at: `counts` (size), `saliency` (sums over weights), `jacobian` (gradients for the images),
  `activations` (patterns and features of a forward pass), `zen`, `az_nas` (features and gradients between blocks),
  `gradients` (weight gradients of several batches), `vkdnw` (the Fisher information).
* `passes`: the forward and backward passes they run, which leave no trace.
* `known`: published proxies that the language can express, as programs.
* `aggregate`: several proxies as one, by ranks in a reference sample; `aggregate_file`: its stored form.
* `scoring`: programs and estimators on networks never seen before.
"""

from __future__ import annotations

from eznas.proxies.activations import linear_regions, meco, naswot, swap, swap_regularised
from eznas.proxies.aggregate import (
    RECIPES,
    Member,
    RankAggregate,
    Recipe,
    Reference,
    ReferenceConditions,
    member_named,
    recipe_for,
)
from eznas.proxies.aggregate_file import aggregate_from_json, aggregate_to_json, is_aggregate_file, load_aggregate
from eznas.proxies.az_nas import az_expressivity, az_progressivity, az_trainability
from eznas.proxies.counts import mac_count, parameter_count, relu_count, trainable_layers
from eznas.proxies.estimator import Estimator, ScoreFunction
from eznas.proxies.gradients import gradsign, ntk, zico
from eznas.proxies.jacobian import epe_nas, epe_nas_as_released, jacob_cov
from eznas.proxies.known import KNOWN_PROGRAMS, KnownProgram
from eznas.proxies.published import PUBLISHED, by_name, estimators_table, score
from eznas.proxies.saliency import fisher, grad_norm, grasp, l2_norm, logsynflow, plain, snip, synflow, synflow_bn
from eznas.proxies.scoring import Conditions, ProxyScores, score_architectures
from eznas.proxies.vkdnw import vkdnw
from eznas.proxies.zen import zen

__all__ = [
    "KNOWN_PROGRAMS",
    "PUBLISHED",
    "RECIPES",
    "Conditions",
    "Estimator",
    "KnownProgram",
    "Member",
    "ProxyScores",
    "RankAggregate",
    "Recipe",
    "Reference",
    "ReferenceConditions",
    "ScoreFunction",
    "az_expressivity",
    "az_progressivity",
    "az_trainability",
    "aggregate_from_json",
    "aggregate_to_json",
    "by_name",
    "epe_nas",
    "epe_nas_as_released",
    "estimators_table",
    "fisher",
    "grad_norm",
    "gradsign",
    "grasp",
    "is_aggregate_file",
    "jacob_cov",
    "l2_norm",
    "linear_regions",
    "logsynflow",
    "load_aggregate",
    "mac_count",
    "meco",
    "member_named",
    "naswot",
    "ntk",
    "parameter_count",
    "plain",
    "relu_count",
    "recipe_for",
    "score",
    "score_architectures",
    "snip",
    "swap",
    "swap_regularised",
    "synflow",
    "synflow_bn",
    "trainable_layers",
    "vkdnw",
    "zen",
    "zico",
]

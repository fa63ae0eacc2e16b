"""The words allowed in a run: the named primitive sets.

`PAPER` is the language of the EZNAS paper: one type, no constants, mean over entries and then over layers at the end of
every program. `EXTENDED` is the typed language: kernels between samples, aggregation over layers as an operator,
quantities of the whole network, constants. `LABELLED` adds the words of published estimators that look at classes and
at the linearised network; `ROLES` adds the roles of layers to `EXTENDED`, and operators that leave layers out; `GRAPH`
the words of the graph of layers. `GENERAL` is the language that is meant to travel: both of these, spectra that know no
scale, and aggregations that do not count layers. `METRICS` is arithmetic
on scores of published estimators and on counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from primitives.aggregations import AGGREGATIONS, mean_layers
from primitives.classes import CLASS_OPERATORS
from primitives.elementwise import ELEMENTWISE_OPERATORS, SCALE_OPERATORS
from primitives.kernels import KERNELS
from primitives.paper import PAPER_OPERATORS, element_mean
from primitives.primitive import Primitive, table
from primitives.profiles import PROFILES
from primitives.reductions import REDUCTIONS
from primitives.roles import ROLE_OPERATORS
from primitives.spectra import SPECTRA
from primitives.statistics import (
    GRAPH_STATISTICS,
    LABELLED_STATISTICS,
    LAYER_STATISTICS,
    METRIC_STATISTICS,
    NETWORK_QUANTITIES,
    ROLE_STATISTICS,
    Statistic,
)


@dataclass(frozen=True, slots=True)
class PrimitiveSet:
    """Words a search may combine.

    Attributes:
        name: how configurations call it.
        primitives: operators, in a fixed order.
        statistics: leaves, in a fixed order.
        constants: whether numbers may appear.
        ending: operators put around every program, innermost first; with an ending the set counts as untyped, and the
            search combines anything with anything.
    """

    name: str
    primitives: tuple[Primitive, ...]
    statistics: tuple[Statistic, ...]
    constants: bool
    ending: tuple[Primitive, ...]


PAPER = PrimitiveSet("paper", PAPER_OPERATORS, LAYER_STATISTICS, False, (element_mean, mean_layers))
EXTENDED = PrimitiveSet(
    "extended",
    (*ELEMENTWISE_OPERATORS, *REDUCTIONS, *KERNELS, *AGGREGATIONS),
    (*LAYER_STATISTICS, *NETWORK_QUANTITIES),
    True,
    (),
)
LABELLED = PrimitiveSet(
    "labelled",
    (*EXTENDED.primitives, *CLASS_OPERATORS),
    (*EXTENDED.statistics, *LABELLED_STATISTICS),
    True,
    (),
)
GRAPH = PrimitiveSet("graph", EXTENDED.primitives, (*EXTENDED.statistics, *GRAPH_STATISTICS), True, ())
ROLES = PrimitiveSet(
    "roles",
    (*EXTENDED.primitives, *ROLE_OPERATORS),
    (*EXTENDED.statistics, *ROLE_STATISTICS),
    True,
    (),
)
GENERAL = PrimitiveSet(
    "general",
    (*ROLES.primitives, *SCALE_OPERATORS, *SPECTRA, *PROFILES),
    (*EXTENDED.statistics, *ROLE_STATISTICS, *GRAPH_STATISTICS),
    True,
    (),
)
_LEFT_OUT = {"metric.epe_nas_as_released", "metric.swap", "metric.swap_regularised", "metric.gradsign", "metric.ntk",
             "metric.vkdnw"}  # fmt: skip
METRICS = PrimitiveSet(
    "metrics",
    ELEMENTWISE_OPERATORS,
    (*NETWORK_QUANTITIES, *(s for s in METRIC_STATISTICS if s.name not in _LEFT_OUT)),
    True,
    (),
)
"""A run computes all metrics of all its networks, so that those are left out which take a pass for every image, class
or repeat, and one that equals another on up to 100 classes; formulas may hold them all the same."""
PRIMITIVE_SETS: Mapping[str, PrimitiveSet] = {
    s.name: s for s in (PAPER, EXTENDED, LABELLED, ROLES, GRAPH, GENERAL, METRICS)
}
PRIMITIVES: Mapping[str, Primitive] = table(
    *dict.fromkeys((*LABELLED.primitives, *GENERAL.primitives, *PAPER.primitives)),
)
"""Every operator of the language by name."""

"""The language of zero-cost proxies: operators, network statistics, types and numerics.

`PRIMITIVES` and `STATISTICS` are the whole vocabulary; `PAPER`, `EXTENDED`, `LABELLED`, `ROLES`, `GRAPH`, `GENERAL` and
`METRICS` are the parts a search may use.
"""

from primitives.aspects import Aspect
from primitives.primitive import Layers, Primitive, ShapeError, primitive
from primitives.sets import (
    EXTENDED,
    GENERAL,
    GRAPH,
    LABELLED,
    METRICS,
    PAPER,
    PRIMITIVE_SETS,
    PRIMITIVES,
    ROLES,
    PrimitiveSet,
)
from primitives.statistics import (
    GRAPH_STATISTICS,
    LABELLED_STATISTICS,
    LAYER_STATISTICS,
    METRIC_PREFIX,
    METRIC_STATISTICS,
    NETWORK_QUANTITIES,
    ROLE_STATISTICS,
    STATISTICS,
    EstimatorFacts,
    Probe,
    Quantity,
    Statistic,
)
from primitives.types import (
    CHANNEL_KERNEL,
    DYNAMIC,
    INPUT_ACTIVATION,
    LAYER_KERNEL,
    LAYER_SCALAR,
    NETWORK_KERNEL,
    NETWORK_SCALAR,
    OUTPUT_ACTIVATION,
    TYPES,
    WEIGHT,
    LanguageTypeError,
    Level,
    Signature,
    Sort,
    Type,
)

__all__ = [
    "CHANNEL_KERNEL", "DYNAMIC", "EXTENDED", "GENERAL", "GRAPH", "GRAPH_STATISTICS", "INPUT_ACTIVATION", "LABELLED",
    "LABELLED_STATISTICS", "LAYER_KERNEL", "LAYER_SCALAR", "LAYER_STATISTICS", "METRICS", "METRIC_PREFIX",
    "METRIC_STATISTICS", "NETWORK_KERNEL", "NETWORK_QUANTITIES",
    "NETWORK_SCALAR", "OUTPUT_ACTIVATION", "PAPER", "PRIMITIVES", "PRIMITIVE_SETS", "ROLES", "ROLE_STATISTICS",
    "STATISTICS", "TYPES", "WEIGHT",
    "Aspect", "EstimatorFacts", "LanguageTypeError", "Layers", "Level", "Primitive", "PrimitiveSet", "Probe",
    "Quantity", "ShapeError", "Signature", "Sort", "Statistic", "Type", "primitive",
]  # fmt: skip

"""Which architectures a step of a supernet trains.

``uniform``
    every operation of every edge is equally likely (`Guo et al. 2020 <https://arxiv.org/abs/1904.00420>`_).
``fair``
    in rounds of five, in which every edge has each operation exactly once
    (`Chu et al. 2021 <https://arxiv.org/abs/1907.01845>`_).
``isomorphic``
    every function is equally likely: of the cells that the benchmark calls equal, 6,466 classes, the first one stands
    for all, in training and in evaluation (`Ning et al. 2021 <https://arxiv.org/abs/2008.03064>`_).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

import numpy as np

from eznas.spaces import nb201

Operations = tuple[str, ...]
Method = Literal["uniform", "fair", "isomorphic"]


def drawn_cells(method: Method, n: int, rng: np.random.Generator) -> list[Operations]:
    """The cells of one step.

    Args:
        method: one of this module's.
        n: how many; with ``fair`` a multiple of five.
        rng: of the draw.
    """
    if method == "isomorphic":
        one_each = representatives()
        return [one_each[int(place)] for place in rng.integers(len(one_each), size=n)]
    n_operations, n_edges = len(nb201.OPERATIONS), len(nb201.EDGES)
    if method == "uniform":
        chosen = rng.integers(n_operations, size=(n, n_edges))
    else:
        rounds = [np.arange(n_operations)[:, None].repeat(n_edges, axis=1) for _ in range(n // n_operations)]
        chosen = np.concatenate([rng.permuted(one, axis=0) for one in rounds])
    return [tuple(nb201.OPERATIONS[int(place)] for place in cell) for cell in chosen]


@lru_cache(maxsize=1)
def groups() -> Mapping[str, tuple[Operations, ...]]:
    """The cells of each function by its official name (`nb201.canonical_function`), in the official order."""
    found: dict[str, list[Operations]] = {}
    for arch in nb201.all_architectures():
        found.setdefault(nb201.canonical_function(arch), []).append(nb201.operations(arch))
    return MappingProxyType({name: tuple(cells) for name, cells in found.items()})


def group_of(operations: Operations) -> tuple[Operations, ...]:
    """The cells of the same function, in the official order."""
    return groups()[nb201.canonical_function(nb201.architecture(operations))]


@lru_cache(maxsize=1)
def representatives() -> tuple[Operations, ...]:
    """The first cell of each of the 6,466 functions."""
    return tuple(cells[0] for cells in groups().values())

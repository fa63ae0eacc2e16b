"""Which networks many programs order as their accuracies do, pair by pair, without looking at every pair.

For one list of accuracies y and each program's scores x, the concordance of network i is

    K_i = sum over j of sign(x_i - x_j) sign(y_i - y_j).

Without ties, number the networks by ascending y and let v_i be the rank of x_i, both from 0. Then K_i follows from how
many earlier networks have a lower rank,

    a_i = #{j < i : v_j < v_i},    K_i = 4 a_i + n - 1 - 2 i - 2 v_i,

and those are counted in blocks of `WIDTH`: blocks of networks against blocks of ranks from a table of partial sums,
and only within one block pair by pair. That is n**1.5 steps, all of them on whole arrays of small integers.

Ties: those in x are broken in the order of y, so that each counts +1 and is subtracted again; those in y are broken
anyhow, and what they contributed is subtracted pair by pair.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer]

_SHIFT = 5
WIDTH = 2**_SHIFT
"""Networks of a block; 1,000 networks make about as many blocks."""


@dataclass(frozen=True)
class Order:
    """The order of many lists, one in each row.

    Attributes:
        rows: (n_programs, n) values without NaN.
        order: (n_programs, n) positions of the values, ascending.
        ranks: (n_programs, n) from 0, ties broken anyhow.
        is_tied: (n_programs,) whether two values of a row are equal.
    """

    rows: FloatArray
    order: IntArray
    ranks: IntArray
    is_tied: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, rows: FloatArray) -> Order:
        """Sort every row."""
        n = rows.shape[1]
        order = np.argsort(rows, axis=1)
        ranks = np.empty(rows.shape, dtype=_integers(n))
        np.put_along_axis(ranks, order, np.arange(n, dtype=ranks.dtype)[None, :], axis=1)
        ordered = np.take_along_axis(rows, order, axis=1)
        return cls(rows, order, ranks, (ordered[:, 1:] == ordered[:, :-1]).any(axis=1))

    @cached_property
    def bounds(self) -> tuple[IntArray, IntArray]:
        """(n_programs, n) first and last rank of the group of ties that each value belongs to."""
        first, last = self.ranks.copy(), self.ranks.copy()
        tied = np.flatnonzero(self.is_tied)
        if tied.size:
            ordered = np.take_along_axis(self.rows[tied], self.order[tied], axis=1)
            positions = np.arange(ordered.shape[1], dtype=self.ranks.dtype)
            begins = np.ones(ordered.shape, dtype=bool)
            begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
            starts = np.maximum.accumulate(np.where(begins, positions, 0), axis=1)
            ends = np.where(np.roll(begins, -1, axis=1), positions, positions[-1])
            ends = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
            first[tied] = np.take_along_axis(starts, self.ranks[tied], axis=1)
            last[tied] = np.take_along_axis(ends, self.ranks[tied], axis=1)
        return first, last

    @property
    def untied(self) -> npt.NDArray[np.int64]:
        """(n_programs, n) pairs of each value with another one of its row."""
        first, last = self.bounds
        return np.asarray(self.ranks.shape[1] - 1 - (last - first).astype(np.int64))

    @cached_property
    def n_untied(self) -> npt.NDArray[np.int64]:
        """(n_programs,) ordered pairs of different values in each row."""
        n_programs, n = self.ranks.shape
        found = np.full(n_programs, n * (n - 1), dtype=np.int64)
        first, last = (bound[self.is_tied] for bound in self.bounds)
        found[self.is_tied] -= (last - first).sum(axis=1, dtype=np.int64)
        return found


def concordance(x: Order, y: Order) -> npt.NDArray[np.int64]:
    """(n_programs, n) concordances K_i of each network: scores `x`, and one list of accuracies `y`."""
    n_programs, n = x.ranks.shape
    by_y = y.order[0]
    ranks, places = _permutations(x, y)
    counts = _Counts.of(ranks, places)
    columns = np.arange(n_programs)
    lower_before = counts.in_earlier_blocks.ravel()[counts.cells].astype(np.int64)
    lower_before += counts.in_block_of_places
    lower_before += counts.in_block_of_ranks.ravel()[counts.ranks.astype(np.int64) * n_programs + columns]
    found = 4 * lower_before[:n] + (n - 1) - 2 * np.arange(n)[:, None] - 2 * ranks.astype(np.int64)
    found -= (n - 1 - x.untied[:, by_y]).T  # tied in x, in the order of y: each pair counted +1
    for upper, lower, sign in _signs_tied_in_y(x, y):
        np.subtract.at(found, upper, sign)
        np.subtract.at(found, lower, sign)
    result = np.empty((n_programs, n), dtype=np.int64)
    result[:, by_y] = found.T
    return result


def total_concordance(x: Order, y: Order) -> npt.NDArray[np.int64]:
    """(n_programs,) the sum of `concordance` over the networks, for half the work."""
    n = x.ranks.shape[1]
    counts = _Counts.of(*_permutations(x, y))
    lower_before = np.einsum("abp,abp->p", counts.table, counts.in_earlier_blocks, dtype=np.int64)
    for part in (counts.in_block_of_places, counts.in_block_of_ranks):
        lower_before += part.sum(axis=0, dtype=np.int64)
    lower_before -= np.arange(n, len(counts.ranks)).sum()  # of the filling
    found = 4 * lower_before - n * (n - 1) - (n * (n - 1) - x.n_untied)
    for _, _, sign in _signs_tied_in_y(x, y):
        found -= 2 * sign.sum(axis=0, dtype=np.int64)
    return np.asarray(found)


def _permutations(x: Order, y: Order) -> tuple[IntArray, IntArray]:
    """Ranks of x in the order of y, ties in x in that order too, and the inverse; both (n, n_programs)."""
    by_y = y.order[0]
    ranks = np.ascontiguousarray(x.ranks.T[by_y])
    places = np.ascontiguousarray(y.ranks[0][x.order].T)
    tied = np.flatnonzero(x.is_tied)
    if tied.size:
        order = np.argsort(x.bounds[0][tied][:, by_y], axis=1, kind="stable").T.astype(ranks.dtype)
        places[:, tied] = order
        inverse = np.empty_like(order)
        np.put_along_axis(inverse, order.astype(np.int64), np.arange(len(order), dtype=order.dtype)[:, None], axis=0)
        ranks[:, tied] = inverse
    return ranks, places


def _signs_tied_in_y(x: Order, y: Order) -> Iterator[tuple[IntArray, IntArray, npt.NDArray[np.int8]]]:
    """What pairs tied in y contribute though they should not: two lists of places, and the signs (pairs, n_programs).

    Pairs tied in x as well have sign 0.
    """
    starts = y.bounds[0][0][y.order[0]]
    if not y.is_tied[0]:
        return
    ranks = np.ascontiguousarray(x.bounds[0].T[y.order[0]])
    for lag in range(1, len(starts)):
        lower = np.flatnonzero(starts[lag:] == starts[:-lag])
        if not lower.size:
            return
        first, second = ranks[lower], ranks[lower + lag]
        yield lower + lag, lower, (second > first).view(np.int8) - (second < first).view(np.int8)


@dataclass(frozen=True, slots=True)
class _Counts:
    """How many earlier entries of each column are lower, in three parts; the columns are permutations of 0 to n - 1.

    Columns are filled up to whole blocks; entries are numbered by place in all arrays but `in_block_of_ranks`.

    Attributes:
        ranks: (n_filled, m) the permutations.
        cells: (n_filled, m) where each entry is found in the two tables.
        table: (n_blocks, n_blocks, m) entries by block of places and block of ranks.
        in_earlier_blocks: (n_blocks, n_blocks, m) for the entries of each cell: those of earlier places and ranks.
        in_block_of_places: (n_filled, m) those of the same block of places.
        in_block_of_ranks: (n_filled, m), by rank: those of the same block of ranks, but of an earlier one of places.
    """

    ranks: IntArray
    cells: npt.NDArray[np.int64]
    table: IntArray
    in_earlier_blocks: IntArray
    in_block_of_places: npt.NDArray[np.uint8]
    in_block_of_ranks: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, ranks: IntArray, places: IntArray) -> _Counts:
        """Count; both (n, m), and inverse to each other."""
        n, m = ranks.shape
        n_blocks = -(-n // WIDTH)
        missing = np.arange(n, n_blocks * WIDTH, dtype=ranks.dtype)[:, None].repeat(m, axis=1)
        ranks, places = np.concatenate([ranks, missing]), np.concatenate([places, missing])
        rows = np.arange(len(ranks))[:, None] // WIDTH * n_blocks
        cells = (rows + (ranks >> _SHIFT)) * m + np.arange(m)
        table = np.bincount(cells.ravel(), minlength=n_blocks**2 * m).astype(ranks.dtype).reshape(n_blocks, n_blocks, m)
        earlier = np.zeros_like(table)
        earlier[1:, 1:] = table[:-1, :-1]
        for axis in (0, 1):
            np.cumsum(earlier, axis=axis, dtype=earlier.dtype, out=earlier)
        blocks = (places >> _SHIFT).astype(np.uint8 if n_blocks <= 256 else places.dtype)
        return cls(ranks, cells, table, earlier, _lower_before(ranks), _lower_before(blocks))


def _lower_before(values: IntArray) -> npt.NDArray[np.uint8]:
    """(n_filled, m) how many earlier entries of the same block of `WIDTH` are lower."""
    values = values.reshape(-1, WIDTH, values.shape[1])
    result = np.zeros(values.shape, dtype=np.uint8)
    for place in range(1, WIDTH):
        is_lower = values[:, :place] < values[:, place : place + 1]
        np.add.reduce(is_lower.view(np.uint8), axis=1, dtype=np.uint8, out=result[:, place])
    return result.reshape(-1, values.shape[2])


def _integers(n: int) -> type[np.signedinteger]:
    """The smallest signed integers that count to n and a block beyond."""
    return np.int16 if n + WIDTH < np.iinfo(np.int16).max else np.int32

"""Which networks many programs order as their accuracies do, pair by pair, without looking at every pair.

For one list of accuracies y and each program's scores x, the concordance of network i is

    K_i = sum over j of sign(x_i - x_j) sign(y_i - y_j).

Without ties, put the networks in the order of x, and let v_i be the rank of y at place i, both from 0. Then K_i follows
from how many earlier places have a lower rank,

    a_i = #{j < i : v_j < v_i},    K_i = 4 a_i + n - 1 - 2 i - 2 v_i,

and those are counted in blocks of `WIDTH`: blocks of places against blocks of ranks from a table of partial sums, and
only within one block pair by pair. That is n**1.5 steps, all of them on whole arrays of small integers.

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
        ordered: (n_programs, n) the values, ascending, none of them NaN.
        order: (n_programs, n) positions of the values, ascending.
        ranks: (n_programs, n) from 0, ties broken anyhow.
        tied: the rows in which two values are equal.
    """

    ordered: FloatArray
    order: npt.NDArray[np.intp]
    ranks: IntArray
    tied: npt.NDArray[np.intp]

    @classmethod
    def of(cls, rows: FloatArray) -> Order:
        """Sort every row."""
        n = rows.shape[1]
        order = np.argsort(rows, axis=1)
        ranks = np.empty(rows.shape, dtype=_integers(n))
        np.put_along_axis(ranks, order, np.arange(n, dtype=ranks.dtype)[None, :], axis=1)
        ordered = np.sort(rows, axis=1)
        return cls(ordered, order, ranks, np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1)))

    @cached_property
    def bounds(self) -> tuple[IntArray, IntArray]:
        """(n_programs, n) first and last rank of the group of ties that each value belongs to."""
        if not self.tied.size:
            return self.ranks, self.ranks
        first, last = self.ranks.copy(), self.ranks.copy()
        ordered = self.ordered[self.tied]
        places = np.arange(ordered.shape[1], dtype=self.ranks.dtype)
        begins = np.ones(ordered.shape, dtype=bool)
        begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        starts = np.maximum.accumulate(np.where(begins, places, 0), axis=1)
        ends = np.where(np.roll(begins, -1, axis=1), places, places[-1])
        ends = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
        first[self.tied] = np.take_along_axis(starts, self.ranks[self.tied], axis=1)
        last[self.tied] = np.take_along_axis(ends, self.ranks[self.tied], axis=1)
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
        if self.tied.size:
            first, last = (bound[self.tied] for bound in self.bounds)
            found[self.tied] -= (last - first).sum(axis=1, dtype=np.int64)
        return found

    @cached_property
    def networks(self) -> npt.NDArray[np.intp]:
        """(n_filled, n_programs) the network at each place; see `_layout` for the order of the places."""
        n = self.order.shape[1]
        return np.concatenate([self.order.T, _filling(n, self.order)])[_layout(n)]

    @cached_property
    def first_cells(self) -> npt.NDArray[np.int64]:
        """(n_filled, n_programs) the first cell of each place in a table (blocks of places, programs, blocks)."""
        n_programs, n = self.order.shape
        layout = _layout(n)
        return np.asarray(((layout >> _SHIFT)[:, None] * n_programs + np.arange(n_programs)) * (len(layout) // WIDTH))

    @cached_property
    def blocks(self) -> IntArray:
        """(n_filled, n_programs) the block that the place of each network is in."""
        blocks = (self.ranks.T >> _SHIFT).astype(np.uint8 if self.ranks.shape[1] <= 2**8 * WIDTH else self.ranks.dtype)
        n = len(blocks)
        return np.concatenate([blocks, (_filling(n, self.ranks) >> _SHIFT).astype(blocks.dtype)])


def concordance(x: Order, y: Order) -> npt.NDArray[np.int64]:
    """(n_programs, n) concordances K_i of each network: scores `x`, and one list of accuracies `y`."""
    n_programs, n = x.ranks.shape
    counts = _Counts.of(x, y)
    columns = np.arange(n_programs)
    ranks = counts.ranks.astype(np.int64)
    lower_before = counts.in_earlier_blocks.ravel()[counts.cells].astype(np.int64)
    lower_before += counts.in_block_of_places
    lower_before += counts.in_block_of_ranks[np.argsort(_layout(n))[ranks], columns]
    found = 4 * lower_before + (n - 1) - 2 * _layout(n)[:, None] - 2 * ranks
    by_network = np.empty((len(ranks), n_programs), dtype=np.int64)
    by_network[np.concatenate([y.order[0], np.arange(n, len(ranks))])[ranks], columns] = found
    result = by_network[:n].T - (n - 1 - x.untied)  # tied in x, in the order of y: each pair counted +1
    for upper, lower, sign in _signs_tied_in_y(x, y):
        for networks in (upper, lower):  # none occurs twice in one list
            result[:, networks] -= sign.T
    return np.asarray(result)


def total_concordance(x: Order, y: Order) -> npt.NDArray[np.int64]:
    """(n_programs,) the sum of `concordance` over the networks, for much less work."""
    n = x.ranks.shape[1]
    counts = _Counts.of(x, y)
    lower_before = np.einsum("apb,apb->p", counts.table, counts.in_earlier_blocks, dtype=np.int64)
    for part in (counts.in_block_of_places, counts.in_block_of_ranks):
        lower_before += part.sum(axis=0, dtype=np.int64)
    lower_before -= np.arange(n, len(counts.ranks)).sum()  # of the filling
    found = 4 * lower_before - n * (n - 1) - (n * (n - 1) - x.n_untied)
    for _, _, sign in _signs_tied_in_y(x, y):
        found -= 2 * sign.sum(axis=0, dtype=np.int64)
    return np.asarray(found)


def _signs_tied_in_y(
    x: Order, y: Order
) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.int8]]]:
    """What pairs tied in y contribute though they should not: two lists of networks, and the signs (pairs, n_programs).

    Pairs tied in x as well have sign 0.
    """
    if not y.tied.size:
        return
    by_y = y.order[0]
    starts = y.bounds[0][0][by_y]
    ranks = np.ascontiguousarray(x.bounds[0].T)
    for lag in range(1, len(starts)):
        lower = np.flatnonzero(starts[lag:] == starts[:-lag])
        if not lower.size:
            return
        upper, lower = by_y[lower + lag], by_y[lower]
        first, second = ranks[lower], ranks[upper]
        yield upper, lower, (second > first).view(np.int8) - (second < first).view(np.int8)


@dataclass(frozen=True, slots=True)
class _Counts:
    """How many earlier places of each program have a lower rank, in three parts.

    Rows are places, or in one case ranks, in the order of `_layout` and filled up to whole blocks.

    Attributes:
        ranks: (n_filled, n_programs) rank of y at each place.
        cells: (n_filled, n_programs) the cell of each place in the two tables, flattened.
        table: (n_blocks, n_programs, n_blocks) entries by block of places and block of ranks.
        in_earlier_blocks: of the shape of the table, for the entries of each cell: those of earlier places and ranks.
        in_block_of_places: (n_filled, n_programs) those of the same block of places.
        in_block_of_ranks: (n_filled, n_programs), by rank: those of the same block of ranks, but of an earlier one of
            places.
    """

    ranks: IntArray
    cells: npt.NDArray[np.int64]
    table: IntArray
    in_earlier_blocks: IntArray
    in_block_of_places: npt.NDArray[np.uint8]
    in_block_of_ranks: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, x: Order, y: Order) -> _Counts:
        """Count for scores `x` and one list of accuracies `y`."""
        m, n = x.ranks.shape
        layout = _layout(n)
        n_blocks = len(layout) // WIDTH
        filling = np.arange(n, len(layout))
        ranks = np.concatenate([y.ranks[0], filling.astype(y.ranks.dtype)])[x.networks]
        blocks = x.blocks[np.concatenate([y.order[0], filling])[layout]]
        if x.tied.size:
            tied = np.argsort(x.bounds[0][x.tied][:, y.order[0]], axis=1, kind="stable").T
            tied = np.concatenate([tied, _filling(n, tied.T)])
            inverse = np.empty(tied.shape, dtype=blocks.dtype)
            inverse[tied, np.arange(len(x.tied))] = (np.arange(len(tied)) >> _SHIFT).astype(blocks.dtype)[:, None]
            ranks[:, x.tied], blocks[:, x.tied] = tied[layout], inverse[layout]
        cells = x.first_cells + (ranks >> _SHIFT)
        table = np.bincount(cells.ravel(), minlength=n_blocks**2 * m).astype(ranks.dtype).reshape(n_blocks, m, n_blocks)
        earlier = np.zeros_like(table)
        earlier[1:, :, 1:] = table[:-1, :, :-1]
        for axis in (0, 2):
            np.cumsum(earlier, axis=axis, dtype=earlier.dtype, out=earlier)
        return cls(ranks, cells, table, earlier, _lower_before(ranks), _lower_before(blocks))


def _lower_before(values: IntArray) -> npt.NDArray[np.uint8]:
    """(n_filled, n_programs) how many earlier entries of the same block are lower."""
    of_blocks = values.reshape(WIDTH, -1)
    result = np.zeros(of_blocks.shape, dtype=np.uint8)
    for place in range(1, WIDTH):
        is_lower = of_blocks[:place] < of_blocks[place]
        np.add.reduce(is_lower.view(np.uint8), axis=0, dtype=np.uint8, out=result[place])
    return result.reshape(values.shape)


def _layout(n: int) -> npt.NDArray[np.intp]:
    """(n_filled,) places, filled up to whole blocks, so that the first of all blocks come first, then the second ..."""
    return np.arange(-(-n // WIDTH) * WIDTH).reshape(-1, WIDTH).T.ravel()


def _filling(n: int, like: IntArray) -> IntArray:
    """(n_filled - n, n_programs) places behind the last."""
    return np.arange(n, -(-n // WIDTH) * WIDTH, dtype=like.dtype)[:, None].repeat(len(like), axis=1)


def _integers(n: int) -> type[np.signedinteger]:
    """The smallest signed integers that count to n and a block beyond."""
    return np.int16 if n + WIDTH < np.iinfo(np.int16).max else np.int32

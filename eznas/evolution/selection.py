"""Selection over several objectives, all to be maximised: rows of an (n, k) matrix in, row numbers out.

Programs that behave alike have equal rows, or rows that differ in size and cost only; `niches` finds these and the near
copies from the scores. Copies must not fill a population, so `select_nsga2` takes second copies only when there are not
enough distinct rows, `select_survivors` takes a second program of one behaviour only when there are not enough
behaviours, and `non_dominated` names one row of each.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import moocore
import numpy as np
import numpy.typing as npt

from eznas.evolution import _deap
from eznas.fitness import spearman_matrix

Objectives = npt.NDArray[np.float64]


def select_nsga2(objectives: npt.ArrayLike, n_selected: int, rng: np.random.Generator) -> list[int]:
    """The rows that survive by non-dominated sorting and crowding distance, in no meaningful order.

    Equal rows are dealt with in rounds: the first round has one copy of each distinct row, the second round the second
    copies, and so on. Rounds survive whole as long as there is room; NSGA-II chooses from the round that overflows.
    Which copy is the first, and which of two equally crowded rows wins, is drawn from `rng`.

    Args:
        objectives: (n, k) finite values to maximise.
        n_selected: number of rows wanted, at most n.
        rng: for ties only.

    Returns:
        `n_selected` distinct row numbers.

    Raises:
        ValueError: if an objective is NaN or infinite, the matrix has no columns, or more rows are wanted than exist.

    Source: Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II"; the sort is that of Fortin
    et al. 2013.
    """
    values = _checked(objectives)
    if not 0 <= n_selected <= len(values):
        raise ValueError(f"The number of rows to select must be 0 to {len(values)}, got {n_selected}.")
    selected: list[int] = []
    for rows in _rounds(values, rng.permutation(len(values)).tolist()):
        room = n_selected - len(selected)
        if len(rows) >= room:
            return selected + _deap.nsga2(values, rows, room)
        selected += rows
    return selected


def select_survivors(
    objectives: npt.ArrayLike,
    behaviours: Sequence[Hashable],
    n_selected: int,
    rng: np.random.Generator,
    elite_share: float,
) -> list[int]:
    """The rows that survive when copies are known: a share by the first objective alone, the others by NSGA-II.

    Of rows that behave alike only the best (in the first objective, then the second, ...) counts at first; the others
    come in, by `select_nsga2`, only if there are not enough distinct behaviours. NSGA-II alone keeps the small and the
    cheap whatever they are worth, and a population of those has little to build better programs from.

    Args:
        objectives: (n, k) finite values to maximise, the most important first.
        behaviours: of the rows; equal means alike.
        n_selected: number of rows wanted, at most n.
        elite_share: of the rows wanted, the share chosen by the first objective (then the second, ...), in [0, 1].
        rng: for ties only.

    Returns:
        `n_selected` distinct row numbers.

    Raises:
        ValueError: as `select_nsga2`, or if there is not one behaviour per row, or `elite_share` is not a share.
    """
    values = _checked(objectives)
    if len(behaviours) != len(values) or not 0 <= elite_share <= 1:
        raise ValueError(
            f"Survivors need one behaviour for each of {len(values)} rows and a share in [0, 1], got "
            f"{len(behaviours)} behaviour(s) and elite_share={elite_share}."
        )
    by_merit = sorted(range(len(values)), key=lambda row: (*(-values[row]), row))
    leaders: dict[Hashable, int] = {}
    for row in by_merit:
        leaders.setdefault(behaviours[row], row)
    distinct = list(leaders.values())
    n_elite = round(elite_share * min(n_selected, len(distinct)))
    selected, rest = distinct[:n_elite], distinct[n_elite:]
    is_leader = set(distinct)
    twins = [row for row in by_merit if row not in is_leader]
    n_distinct = min(n_selected - n_elite, len(rest))
    selected += [rest[i] for i in select_nsga2(values[rest], n_distinct, rng)]
    return selected + [twins[i] for i in select_nsga2(values[twins], n_selected - len(selected), rng)]


def niches(scores: npt.ArrayLike, objectives: npt.ArrayLike, likeness: float) -> list[int]:
    """For each row the number of its leader: the best row that ranks the networks nearly as it does, or itself.

    Rows are taken from the best to the worst; each joins the first leader whose ranks correlate with its own at
    `likeness` or more, in either direction, and leads a niche of its own otherwise.

    Args:
        scores: (n, n_networks) of the programs; failures rank last.
        objectives: (n, k) values to maximise, the most important first.
        likeness: Spearman's rho from which two rankings count as one, in (0, 1].

    Source: clearing, `Pétrowski 1996 <https://doi.org/10.1109/ICEC.1996.542703>`_, with rank correlation as distance.
    """
    values = _checked(objectives)
    finite = np.where(np.isfinite(scores), scores, -np.inf)
    alike = np.abs(spearman_matrix(finite, finite)) >= likeness - 1e-9
    found = list(range(len(values)))
    leaders: list[int] = []
    for row in sorted(range(len(values)), key=lambda row: (*(-values[row]), row)):
        like = np.flatnonzero(alike[row, leaders])
        if like.size:
            found[row] = leaders[like[0]]
        else:
            leaders.append(row)
    return found


def select_tournament(objectives: npt.ArrayLike, n_selected: int, size: int, rng: np.random.Generator) -> list[int]:
    """The winners of `n_selected` tournaments, each among `size` rows drawn with replacement: a mating pool.

    With several objectives the lower front wins, then the larger crowding distance (the crowded comparison of
    NSGA-II); with one, the higher value.

    Args:
        objectives: (n, k) or (n,) finite values to maximise, n at least 1.
        n_selected: number of tournaments; a row may win several.
        size: rows in each tournament, at least 1; 1 means no preference.
        rng: source of randomness.

    Raises:
        ValueError: if an objective is NaN or infinite, there are no rows, or `size` is below 1.
    """
    values = _checked(objectives)
    if len(values) == 0 or size < 1 or n_selected < 0:
        raise ValueError(
            f"A tournament needs at least 1 row and a size of at least 1, got {len(values)} row(s), size {size} and "
            f"{n_selected} tournament(s)."
        )
    return _deap.tournament(values, n_selected, size, rng)


def non_dominated(objectives: npt.ArrayLike) -> list[int]:
    """The rows no other row is at least as good as in everything and better in something, in ascending order.

    Of equal rows the first is named.

    Raises:
        ValueError: if an objective is NaN or infinite.
    """
    values = _checked(objectives)
    if len(values) == 0:
        return []
    _, first = np.unique(values, axis=0, return_index=True)
    distinct = np.sort(first)
    is_best = moocore.is_nondominated(values[distinct], maximise=True)
    return [int(row) for row in distinct[is_best]]


def hypervolume(objectives: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Volume of objective space that the rows dominate and that is better than the reference in every objective.

    Args:
        objectives: (n, k) finite values to maximise; rows not better than the reference add nothing.
        reference: (k,) finite values.

    Raises:
        ValueError: if a value is NaN or infinite, or the numbers of objectives differ.
    """
    values = _checked(objectives)
    corner = np.asarray(reference, dtype=np.float64)
    if corner.ndim != 1 or not np.isfinite(corner).all():
        raise ValueError(f"The reference point must be one finite value per objective, got {reference!r}.")
    if len(values) == 0:
        return 0.0
    if corner.size != values.shape[1]:
        raise ValueError(f"The reference point has {corner.size} value(s), but there are {values.shape[1]} objectives.")
    return float(moocore.hypervolume(values, ref=corner, maximise=True))


def _checked(objectives: npt.ArrayLike) -> Objectives:
    values = np.asarray(objectives, dtype=np.float64)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.shape[1] == 0:
        raise ValueError(f"Objectives must have shape (n, k) with k of at least 1, got {values.shape}.")
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(
            f"Objectives must be finite, got {values[row, column]} in row {row}, column {column}; leave out programs "
            f"without a fitness."
        )
    return values


def _rounds(values: Objectives, order: list[int]) -> list[list[int]]:
    """Rows in the given order, split so that each round holds at most one of equal rows and the first round all."""
    rounds: list[list[int]] = []
    n_copies: dict[tuple[float, ...], int] = {}
    for row in order:
        key = tuple(values[row].tolist())
        copy = n_copies.get(key, 0)
        n_copies[key] = copy + 1
        if copy == len(rounds):
            rounds.append([])
        rounds[copy].append(row)
    return rounds

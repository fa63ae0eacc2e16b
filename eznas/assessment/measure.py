"""From scores and accuracies to measurements: the one measurer, for one proxy or for all of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from eznas.assessment.resamples import Resamples
from eznas.errors import BenchmarkError
from eznas.fitness import OBJECTIVES, Labels, scores_with_failures_last, unrankable_reason
from eznas.fitness.concordance import Order
from eznas.fitness.labels import FloatArray
from eznas.fitness.measurement import CRITERIA, Criterion, Measurement

LEVEL: Final = 0.95
"""Share of resamples inside an interval."""
UNSTATED: Final = "unstated"
"""Kind of a failure that is known by its score alone."""

Failures = Sequence[str | None]
"""Per network, how the proxy failed on it; None where it did not, or where it is not known."""


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much a proxy is better than a reference.

    Attributes:
        reference: its place among the proxies.
        criterion: the difference, with its 95 % interval over the same resamples for both.
    """

    reference: int
    criterion: Criterion


def measure(
    scores: npt.ArrayLike,
    labels: Labels,
    *,
    direction: int,
    rng: np.random.Generator,
    n_resamples: int = 1000,
    failures: Failures | None = None,
) -> Measurement:
    """Every criterion of one proxy on one task, with 95 % percentile bootstrap intervals over the choice of networks.

    Args:
        scores: (n_networks,) scores as the proxy gives them; NaN and ±inf mean that it failed on the network. The
            labels name the columns that count.
        labels: the task.
        direction: +1 if a higher score predicts a higher accuracy, -1 if a lower one does; fixed before looking.
        rng: draws the resamples, the same for all criteria. The intervals of tau and rho are those of
            `eznas.fitness.bootstrap_interval` with the same generator.
        n_resamples: how many times the networks are drawn with replacement.
        failures: (n_networks,) kinds of failure.

    Returns:
        The measurement. Without criteria, and with the reason, if the proxy failed on more than
        `eznas.fitness.MAX_FAILED_SHARE` of the networks or gives all others one and the same score.

    Raises:
        ValueError: if shapes disagree, the direction is neither +1 nor -1, there are no resamples, or a network with a
            finite score has a kind of failure.

    Source: `Efron 1979 <https://doi.org/10.1214/aos/1176344552>`_ for the bootstrap; `eznas.fitness.criteria` for the
    criteria.
    """
    scores = np.asarray(scores, dtype=np.float64)
    (found,) = measure_many(
        scores[None],
        labels,
        directions=[direction],
        rng=rng,
        n_resamples=n_resamples,
        failures=None if failures is None else [failures],
    )
    return found


def measure_many(
    scores: npt.ArrayLike,
    labels: Labels,
    *,
    directions: Sequence[int],
    rng: np.random.Generator,
    n_resamples: int = 1000,
    failures: Sequence[Failures | None] | None = None,
) -> tuple[Measurement, ...]:
    """The measurements of several proxies on one task, all on the same resamples.

    What depends on the labels alone is computed once: 20 proxies on 500 networks take about five seconds on one core.

    Args:
        scores: (n_proxies, n_networks) scores, as `measure` takes them.
        directions: (n_proxies,) +1 or -1.
        labels, rng, n_resamples: as `measure` takes them.
        failures: (n_proxies, n_networks) kinds of failure; None for a proxy of which they are not known.

    Returns:
        (n_proxies,) measurements. Each is that of `measure` with a generator in the same state, up to rounding.

    Raises:
        ValueError: as `measure`.
    """
    return compare_many(
        scores, labels, references=(), directions=directions, rng=rng, n_resamples=n_resamples, failures=failures
    )[0]


def compare_many(
    scores: npt.ArrayLike,
    labels: Labels,
    *,
    references: Sequence[int],
    directions: Sequence[int],
    rng: np.random.Generator,
    n_resamples: int = 1000,
    failures: Sequence[Failures | None] | None = None,
) -> tuple[tuple[Measurement, ...], tuple[dict[str, Difference], ...]]:
    """`measure_many`, and by how much every proxy is better than the best of some references, on the same resamples.

    Args:
        references: places of the references among the proxies.
        scores, labels, directions, rng, n_resamples, failures: as `measure_many` takes them.

    Returns:
        The measurements, and for each proxy by criterion its value less that of the reference that is best by this
        criterion; nothing where one of the two has no value, and 0 for that reference itself.

    Raises:
        ValueError: as `measure`.
    """
    matrix = _checked(scores, labels, directions, n_resamples)
    kinds = [None] * len(matrix) if failures is None else list(failures)
    if len(kinds) != len(matrix):
        raise ValueError(f"Expected the failures of each of {len(matrix)} proxies, got {len(kinds)}.")
    failed = ~np.isfinite(matrix)
    reasons = [unrankable_reason(row, [labels]) for row in matrix]
    x = np.stack([_last(row, labels, direction) for row, direction in zip(matrix, directions, strict=True)])
    ranked = [index for index, reason in enumerate(reasons) if reason is None]
    criteria: dict[int, dict[str, Criterion]] = {index: {} for index in range(len(matrix))}
    differences: tuple[dict[str, Difference], ...] = tuple({} for _ in matrix)
    if ranked:
        names = [name for name in CRITERIA if not (OBJECTIVES[name].needs_covariates and labels.covariates is None)]
        values = {name: _estimates(name, x[ranked], labels) for name in names}
        spread = _resampled(x[ranked], labels, names, n_resamples, rng)
        for row, index in enumerate(ranked):
            criteria[index] = {
                name: _criterion(float(values[name][row]), spread[name][row])
                for name in names
                if np.isfinite(values[name][row])
            }
        for name in names:
            known = [row for row, index in enumerate(ranked) if index in references and name in criteria[index]]
            if not known:
                continue
            best = max(known, key=lambda row, of=values[name]: of[row])  # type: ignore[misc]
            for row, index in enumerate(ranked):
                if name in criteria[index]:
                    gap = float(values[name][row] - values[name][best])
                    apart = _criterion(gap, spread[name][row] - spread[name][best])
                    differences[index][name] = Difference(reference=ranked[best], criterion=apart)
    n = labels.networks.size
    n_untied = Order.of(x).n_untied
    measurements = tuple(
        Measurement(
            n=n,
            n_failed=int(failed[index, labels.networks].sum()),
            failures=_counted(kinds[index], failed[index], labels),
            share_tied=float(1 - n_untied[index] / (n * (n - 1))),
            reason=reasons[index],
            **criteria[index],  # type: ignore[arg-type]
        )
        for index in range(len(matrix))
    )
    return measurements, differences


def paired_difference(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    labels: Labels,
    *,
    criterion: str = "tau",
    directions: tuple[int, int] = (1, 1),
    rng: np.random.Generator,
    n_resamples: int = 1000,
) -> Criterion:
    """By how much one proxy is better than another on the same networks, with its 95 % percentile bootstrap interval.

    The two share every resample, so that what the choice of networks does to both alike cancels out: the interval is
    much narrower than two separate ones suggest.

    Args:
        first, second: (n_networks,) scores of the two, as `measure` takes them.
        labels, rng, n_resamples: as `measure` takes them.
        criterion: one of `CRITERIA`.
        directions: of the first and of the second.

    Returns:
        The first's value less the second's. An interval that does not hold 0 tells the two apart.

    Raises:
        BenchmarkError: if one of them orders no networks, or has no value of this criterion.
        ValueError: as `measure`, or if the criterion is unknown.
    """
    if criterion not in CRITERIA:
        raise ValueError(f"A difference is taken of one of {', '.join(CRITERIA)}, got {criterion!r}.")
    matrix = _checked(np.stack([np.asarray(first), np.asarray(second)]), labels, directions, n_resamples)
    for which, row in zip(("first", "second"), matrix, strict=True):
        reason = unrankable_reason(row, [labels])
        if reason is not None:
            raise BenchmarkError(f"The {which} proxy cannot be compared because {reason}")
    x = np.stack([_last(row, labels, direction) for row, direction in zip(matrix, directions, strict=True)])
    values = _estimates(criterion, x, labels)
    for which, value in zip(("first", "second"), values, strict=True):
        if not np.isfinite(value):
            row = OBJECTIVES[criterion]
            raise BenchmarkError(f"The {which} proxy has no {row.title} on task {labels.task!r}: {row.undefined}")
    spread = _resampled(x, labels, [criterion], n_resamples, rng)[criterion]
    return _criterion(float(values[0] - values[1]), spread[0] - spread[1])


def _last(row: FloatArray, labels: Labels, direction: int) -> FloatArray:
    """(n,) scores of the networks of a task in which higher is better and failures are last."""
    x = row[labels.networks]
    return scores_with_failures_last(x, ~np.isfinite(x), direction)


def _estimates(name: str, x: FloatArray, labels: Labels) -> FloatArray:
    of = OBJECTIVES[name].of
    assert of is not None
    return of(x, labels)[0]


def _resampled(
    x: FloatArray, labels: Labels, names: Sequence[str], n_resamples: int, rng: np.random.Generator
) -> dict[str, FloatArray]:
    """By criterion (n_proxies, n_resamples) values."""
    found: dict[str, list[FloatArray]] = {name: [] for name in names}
    for resamples in Resamples.draw(labels, n_resamples, rng):
        for name in names:
            found[name].append(np.stack([resamples.values(row, name) for row in x]))
    return {name: np.concatenate(parts, axis=1) for name, parts in found.items()}


def _criterion(value: float, resampled: FloatArray) -> Criterion:
    known = resampled[np.isfinite(resampled)]
    if not known.size:
        return Criterion(value=value)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Criterion(value=value, low=float(low), high=float(high))


def _counted(kinds: Failures | None, failed: npt.NDArray[np.bool_], labels: Labels) -> dict[str, int]:
    """Failures of the networks of a task by kind, the most frequent first."""
    stated: Failures = [None] * failed.size if kinds is None else kinds
    if len(stated) != failed.size:
        raise ValueError(f"Expected one kind of failure or None per network, {failed.size} in all, got {len(stated)}.")
    for network in labels.networks.tolist():
        if stated[network] is not None and not failed[network]:
            raise ValueError(f"Network {network} has a finite score, but failed: {stated[network]!r}.")
    counts = Counter(stated[network] or UNSTATED for network in labels.networks.tolist() if failed[network])
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _checked(scores: npt.ArrayLike, labels: Labels, directions: Sequence[int], n_resamples: int) -> FloatArray:
    matrix = np.asarray(scores, dtype=np.float64)
    if matrix.ndim != 2 or labels.networks.max() >= matrix.shape[1]:
        raise ValueError(
            f"Scores of {labels.networks.max() + 1} networks or more are needed for task {labels.task!r}, got an array "
            f"of shape {matrix.shape}."
        )
    if len(directions) != len(matrix):
        raise ValueError(f"Expected the direction of each of {len(matrix)} proxies, got {len(directions)}.")
    if n_resamples < 1:
        raise ValueError(f"A bootstrap needs at least one resample, got {n_resamples!r}.")
    return matrix

"""The assessment of proxies on one sample: measurements, the criteria of the study, biases, beside baselines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from eznas.assessment.bias import Edit, Pairs, SizeGroup, edit_bias, most_misjudged, ranking_differences, size_bias
from eznas.assessment.measure import Failures, compare_many
from eznas.assessment.picks import PICKS, PRECISION_SHARES, RANK_SHARES, n_of_share
from eznas.assessment.resamples import Resamples
from eznas.assessment.standing import STANDING, Standing, standing_of, weighted_tau
from eznas.fitness import Criterion, Labels, Measurement, scores_with_failures_last
from eznas.fitness.labels import FloatArray
from eznas.randomness import stream

N_MISJUDGED: Final = 5
"""Networks listed that are most over- and under-estimated."""
MIN_RESAMPLES: Final = 100
MAX_RESAMPLES: Final = 1000
N_WEIGHTED: Final = 10_000
"""Networks in all resamples of weighted tau, whose resamples are at least 20."""
N_PICKED: Final = 40_000
"""Networks in all resamples of the criteria of first and last picks, whose resamples are 20 to 200."""
_PAIRS: Final = 2 * 10**9
"""Pairs of networks that are resampled in one correlation; more networks have fewer resamples."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Stability:
    """How a proxy changes with what should not matter.

    Attributes:
        what: is drawn anew: ``"seeds"`` (initialisation and images) or ``"batches"`` (images alone).
        taus: tau-b with the accuracies of each draw.
        retest: mean tau-b between two draws: what noise leaves, the ceiling of any tau with such scores.
        averaged: by number of draws whose scores are averaged, tau-b with the accuracies.
    """

    what: str
    taus: tuple[float, ...]
    retest: float
    averaged: Mapping[int, float]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Assessed:
    """What is known of one proxy.

    Attributes:
        name: of the proxy.
        is_baseline: whether it was measured unasked.
        measurement: the criteria of a run, with intervals.
        differences: by criterion, the best baseline and the value less that of it.
        standing: the criteria of the study; None if the proxy ranks no networks, as the next three.
        intervals: of the criteria of the standing.
        pick_intervals: by name (`eznas.assessment.picks.PICKS`) and share of the networks.
        scores: (n,) in which higher is better; failures ``-inf``.
        sizes: bias by size.
        shapes: bias by width, depth and resolution, as far as the space varies them.
        edits: bias by operation.
        over, under: positions of the most over- and under-estimated networks.
        differences_of_rank: (n,) ranking differences.
        stability: over seeds and batches, as far as asked.
    """

    name: str
    is_baseline: bool
    measurement: Measurement
    differences: Mapping[str, tuple[str, Criterion]]
    scores: FloatArray
    standing: Standing | None = None
    intervals: Mapping[str, Criterion] = field(default_factory=dict)
    pick_intervals: Mapping[str, Mapping[float, Criterion]] = field(default_factory=dict)
    sizes: tuple[SizeGroup, ...] = ()
    shapes: Mapping[str, tuple[SizeGroup, ...]] = field(default_factory=dict)
    edits: tuple[Edit, ...] = ()
    over: tuple[int, ...] = ()
    under: tuple[int, ...] = ()
    differences_of_rank: FloatArray = field(default_factory=lambda: np.empty(0))
    stability: tuple[Stability, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Assessment:
    """Proxies on one sample.

    Attributes:
        benchmark, dataset, split, epochs: of the accuracies; epochs are words.
        conditions: under which scores were made, in words.
        n_benchmark: networks of the benchmark; the sample may be fewer.
        architectures: texts of the networks.
        accuracies: (n,) in percent.
        size: what the groups of the bias by size are made by.
        label_noise: standard deviation between trainings of one network in percent points; None if not known.
        n_resamples: of the intervals of measurements and differences, and of the standing.
        seed: of all draws.
        proxies: those asked for, then the baselines.
        notes: what a reader must know, a sentence each.
    """

    benchmark: str
    dataset: str
    split: str
    epochs: str
    conditions: str
    n_benchmark: int
    architectures: tuple[str, ...]
    accuracies: FloatArray
    size: str
    label_noise: float | None
    n_resamples: tuple[int, int]
    seed: int
    proxies: tuple[Assessed, ...]
    notes: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """Networks of the sample."""
        return len(self.architectures)

    @property
    def caption(self) -> str:
        """What every table and figure is of."""
        noise = "not known" if self.label_noise is None else f"{self.label_noise:.2g} percent points"
        return (
            f"{self.benchmark}, {self.n:,} of {self.n_benchmark:,} networks, {self.dataset} {self.split} accuracy, "
            f"{self.epochs}; label noise {noise}; {self.conditions}; 95 % bootstrap intervals over the choice of "
            f"networks ({self.n_resamples[0]:,} resamples), differences paired; failures rank last, ties by "
            "expectation."
        )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Scored:
    """The scores of one proxy as they come.

    Attributes:
        name: of the proxy.
        scores: (n,) in its direction; not finite where it failed.
        kinds: (n,) kind of failure, None where there is none or none is known.
        is_baseline: whether nobody asked for it.
        stability: over seeds and batches.
    """

    name: str
    scores: FloatArray
    kinds: Failures | None = None
    is_baseline: bool = False
    stability: tuple[Stability, ...] = ()


def n_resamples_for(n: int) -> tuple[int, int]:
    """Resamples of the criteria of a measurement, and of those of the study, that n networks have time for."""
    return int(np.clip(_PAIRS // n**2, MIN_RESAMPLES, MAX_RESAMPLES)), int(
        np.clip(_PAIRS // (5 * n**2), 20, MAX_RESAMPLES)
    )


def assess_scores(
    scored: Sequence[Scored],
    labels: Labels,
    sizes: FloatArray,
    *,
    pairs: Pairs,
    seed: int,
    shapes: Mapping[str, FloatArray] = MappingProxyType({}),
) -> tuple[Assessed, ...]:
    """Everything that scores and accuracies say of each proxy.

    Args:
        scored: the proxies, those asked for and the baselines.
        labels: of the n networks.
        sizes: (n,) MACs or parameters of the networks, for the groups of the bias by size.
        pairs: networks one edit apart; nothing where the space does not tell.
        seed: of all draws.
        shapes: (n,) numbers of the networks by name, such as their depth; each gives groups of its own.
    """
    n_measure, n_study = n_resamples_for(labels.accuracies.size)
    measurements, differences = compare_many(
        np.stack([one.scores for one in scored]),
        labels,
        references=[place for place, one in enumerate(scored) if one.is_baseline],
        directions=[1] * len(scored),
        rng=stream(seed, "assess", "resamples"),
        n_resamples=n_measure,
        failures=[one.kinds for one in scored],
    )
    rows = [scores_with_failures_last(one.scores, ~np.isfinite(one.scores), 1) for one in scored]
    ranked = [place for place, measurement in enumerate(measurements) if measurement.reason is None]
    intervals: dict[int, dict[str, Criterion]] = {}
    if ranked:
        made = _intervals(np.stack([rows[place] for place in ranked]), labels, stream(seed, "assess", "study"), n_study)
        intervals = dict(zip(ranked, made, strict=True))
    found = []
    for place, (one, measurement, apart) in enumerate(zip(scored, measurements, differences, strict=True)):
        x = rows[place]
        common: dict[str, Any] = {
            "name": one.name, "is_baseline": one.is_baseline, "measurement": measurement, "scores": x,
            "differences": {name: (scored[gap.reference].name, gap.criterion) for name, gap in apart.items()},
            "stability": one.stability,
        }  # fmt: skip
        if measurement.reason is not None:
            found.append(Assessed(**common))
            continue
        over, under = most_misjudged(x, labels.accuracies, N_MISJUDGED)
        found.append(
            Assessed(
                **common,
                standing=standing_of(x, labels, stream(seed, "assess", "ties", one.name)),
                intervals=intervals[place],
                pick_intervals=_pick_intervals(x, labels, stream(seed, "assess", "picks")),
                sizes=size_bias(x, labels.accuracies, sizes),
                shapes={name: size_bias(x, labels.accuracies, values) for name, values in shapes.items()},
                edits=edit_bias(x, labels.accuracies, pairs),
                over=over,
                under=under,
                differences_of_rank=ranking_differences(x, labels.accuracies),
            )
        )
    return tuple(found)


def _intervals(x: FloatArray, labels: Labels, rng: np.random.Generator, n_resamples: int) -> list[dict[str, Criterion]]:
    """95 % percentile bootstrap intervals of the criteria of the study, for each of (n_proxies, n) scores.

    Weighted tau is computed on each drawn list, of at most `N_WEIGHTED` networks in all.
    """
    found: list[dict[str, list[FloatArray]]] = [{name: [] for name in STANDING} for _ in x]
    n_weighted = int(np.clip(N_WEIGHTED // x.shape[1], 20, n_resamples))
    for resamples in Resamples.draw(labels, n_resamples, rng):
        lists = [np.repeat(np.arange(x.shape[1]), counts.astype(np.int64)) for counts in resamples.counts[:n_weighted]]
        n_weighted -= len(lists)
        for of_proxy, row in zip(found, x, strict=True):
            for name in STANDING:
                if name == "weighted_tau":
                    of_proxy[name].append(np.array([_weighted(row[drawn], labels, drawn) for drawn in lists]))
                elif name != "partial_tau" or labels.covariates is not None:
                    of_proxy[name].append(resamples.values(row, name))
    intervals = []
    for of_proxy, row in zip(found, x, strict=True):
        made = {}
        for name, of in STANDING.items():
            values = np.concatenate(of_proxy[name] or [np.empty(0)])
            known, value = values[np.isfinite(values)], of(row, labels)
            if known.size and math.isfinite(value):
                low, high = np.quantile(known, [0.025, 0.975])
                made[name] = Criterion(value=value, low=float(low), high=float(high))
        intervals.append(made)
    return intervals


def _pick_intervals(x: FloatArray, labels: Labels, rng: np.random.Generator) -> dict[str, dict[float, Criterion]]:
    """95 % percentile bootstrap intervals of the criteria of picks, of (n,) scores.

    Each is computed on the drawn list, in which a network that is drawn twice ties with itself. All proxies share the
    resamples of a generator in the same state.
    """
    y, n = labels.accuracies, labels.accuracies.size
    n_resamples = int(np.clip(N_PICKED // n, 20, 200))
    values: dict[tuple[str, float], list[float]] = {}
    for _ in range(n_resamples):
        drawn = rng.integers(n, size=n)
        for name, of in PICKS.items():
            for share in RANK_SHARES if name.endswith("rank") else PRECISION_SHARES:
                if k := n_of_share(share, n):
                    values.setdefault((name, share), []).append(of(x[drawn], y[drawn], k))
    found: dict[str, dict[float, Criterion]] = {name: {} for name in PICKS}
    for (name, share), resampled in values.items():
        low, high = np.quantile(resampled, [0.025, 0.975])
        value = PICKS[name](x, y, n_of_share(share, n))
        found[name][share] = Criterion(value=value, low=float(low), high=float(high))
    return found


def _weighted(x: FloatArray, labels: Labels, drawn: npt.NDArray[np.int64]) -> float:
    y = labels.accuracies[drawn]
    return math.nan if y.min() == y.max() else weighted_tau(x, Labels(labels.task, y, np.arange(y.size)))


# ------------------------------------------------------------------------------------------------------- for programs


def as_document(assessment: Assessment) -> dict[str, Any]:
    """The assessment as plain values for JSON; what has no value is None."""
    return {
        "format": "eznas-assessment",
        "version": 1,
        **{
            name: getattr(assessment, name)
            for name in ("benchmark", "dataset", "split", "epochs", "conditions", "n_benchmark", "n", "size", "seed")
        },
        "label_noise": assessment.label_noise,
        "n_resamples": list(assessment.n_resamples),
        "caption": assessment.caption,
        "notes": list(assessment.notes),
        "proxies": [_proxy_document(one, assessment) for one in assessment.proxies],
    }


def _proxy_document(one: Assessed, assessment: Assessment) -> dict[str, Any]:
    standing = one.standing
    return {
        "name": one.name,
        "is_baseline": one.is_baseline,
        "measurement": one.measurement.model_dump(mode="json"),
        "differences": {
            name: {"from": reference, **gap.model_dump(mode="json")}
            for name, (reference, gap) in one.differences.items()
        },
        "criteria": {
            name: one.intervals[name].model_dump(mode="json") if name in one.intervals else {"value": _known(value)}
            for name, value in (standing.criteria.items() if standing else ())
        },
        "picks": {
            name: {f"{share:g}": _known(value) for share, value in by_share.items()}
            for name, by_share in (standing.picks.items() if standing else ())
        },
        "pick_intervals": {
            name: {f"{share:g}": [found.low, found.high] for share, found in by_share.items()}
            for name, by_share in one.pick_intervals.items()
        },
        "bias": {
            "by_size": [_size_group(group) for group in one.sizes],
            "by_shape": {name: [_size_group(group) for group in groups] for name, groups in one.shapes.items()},
            "by_edit": [asdict(edit) for edit in one.edits],
            "most_over_estimated": [_network(one, place, assessment) for place in one.over],
            "most_under_estimated": [_network(one, place, assessment) for place in one.under],
        },
        "stability": [
            {
                "over": kind.what, "taus": [_known(tau) for tau in kind.taus], "retest": _known(kind.retest),
                "averaged": {str(n): _known(tau) for n, tau in kind.averaged.items()},
            }
            for kind in one.stability
        ],
    }  # fmt: skip


def _size_group(group: SizeGroup) -> dict[str, Any]:
    tau = group.tau
    return {
        "n": group.n, "low": group.low, "high": group.high, "difference": group.difference,
        "tau": tau.value if tau else None, "tau_interval": [tau.low, tau.high] if tau else None,
    }  # fmt: skip


def _network(one: Assessed, place: int, assessment: Assessment) -> dict[str, Any]:
    return {
        "network": assessment.architectures[place],
        "accuracy": float(assessment.accuracies[place]),
        "score": _known(float(one.scores[place])),
        "difference": float(one.differences_of_rank[place]),
    }


def as_rows(assessment: Assessment) -> list[dict[str, Any]]:
    """One row per proxy, criterion and share, for CSV."""
    rows: list[dict[str, Any]] = []

    def add(one: Assessed, criterion: str, value: float, **more: Any) -> None:
        rows.append(
            {"proxy": one.name, "baseline": one.is_baseline, "criterion": criterion, "share": None}
            | {"value": _known(value), "low": None, "high": None, "from": None, "n": assessment.n}
            | {"failed": one.measurement.n_failed}
            | more
        )

    for one in assessment.proxies:
        for name, found in (*one.measurement.criteria.items(), *one.intervals.items()):
            add(one, name, found.value, low=found.low, high=found.high)
        for name, (reference, gap) in one.differences.items():
            add(one, f"{name}_difference", gap.value, low=gap.low, high=gap.high, **{"from": reference})
        for name, by_share in one.standing.picks.items() if one.standing else ():
            for share, value in by_share.items():
                known = one.pick_intervals.get(name, {}).get(share)
                ends = {} if known is None else {"low": known.low, "high": known.high}
                add(one, name, value, share=share, **ends)
        for kind in one.stability:
            add(one, f"retest_tau_{kind.what}", kind.retest)
    return rows


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


__all__ = ["Assessed", "Assessment", "PICKS", "Scored", "Stability", "as_document", "as_rows", "assess_scores"]

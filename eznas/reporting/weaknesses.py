"""Where a proxy fails: networks it puts in the wrong place, and samples that counting ranks better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from eznas.fitness import Criterion
from eznas.reporting.figures import rank_shares
from eznas.runs.front import Entry, Front, SampleCard
from eznas.runs.history import Scores

N_WORST: Final = 10
"""Networks that are named."""
LEAST: Final = 15
"""Networks of a sample in which a place says something; smaller ones are looked at if there are no others."""
COUNTS: Final = ("mac_count", "parameter_count")
"""Published proxies that only count."""


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A held-out network that a proxy puts in the wrong place.

    Attributes:
        sample: that it is of.
        network: what it is called.
        accuracy: in percent.
        by_score, by_accuracy: its places among the n networks of the sample, 1 the best; ties share their mean.
        n: networks of the sample.
        is_failed: whether it has no finite score.
    """

    sample: str
    network: str
    accuracy: float
    by_score: float
    by_accuracy: float
    n: int
    is_failed: bool

    @property
    def error(self) -> float:
        """How much too high the proxy puts it, in percent of the networks; below zero too low."""
        return 100 * (self.by_accuracy - self.by_score) / max(self.n - 1, 1)


@dataclass(frozen=True, slots=True)
class OnSample:
    """A proxy on one sample beside the better one of parameters and MACs.

    Attributes:
        sample: its card.
        tau, level_rho, share_tied, n_failed: of the proxy, held out.
        count: name of the one that counts; None if none was measured.
        count_tau: its tau.
        difference: tau of the proxy less that, on the same resamples.
    """

    sample: SampleCard
    tau: Criterion
    level_rho: Criterion | None
    share_tied: float
    n_failed: int
    count: str | None
    count_tau: float | None
    difference: Criterion | None

    @property
    def is_behind(self) -> bool:
        """Whether counting ranks the sample better."""
        return self.count_tau is not None and self.count_tau > self.tau.value


def worst_placed(front: Front, scores: Scores, entry: Entry, n: int = N_WORST) -> list[Misplaced]:
    """The held-out networks farthest from their place, the worst first; of equal errors the more accurate one."""
    own = scores.by_proxy.get(entry.id)
    if own is None or not scores.networks:
        return []
    samples = [sample for sample in front.learnt if sample.name in scores.accuracies]
    samples = [sample for sample in samples if sample.report.n >= LEAST] or samples
    found = []
    for sample in samples:
        accuracies = scores.accuracies[sample.name]
        (places,) = np.nonzero(np.isfinite(accuracies))
        total = len(places)
        by_score = total - rank_shares(own[places]) * max(total - 1, 1) / 100
        by_accuracy = total - rank_shares(accuracies[places]) * max(total - 1, 1) / 100
        found += [
            Misplaced(
                sample.name, scores.networks[place], float(accuracies[place]), float(by_score[row]),
                float(by_accuracy[row]), total, not np.isfinite(own[place]),
            )
            for row, place in enumerate(places)
        ]  # fmt: skip
    found.sort(key=lambda one: (-abs(one.error), -one.accuracy, one.network))
    return [one for one in found[:n] if one.error]


def by_sample(front: Front, entry: Entry) -> list[OnSample]:
    """The proxy on each sample that it has a held-out tau on, those first on which counting is ahead by most."""
    found = []
    counts = [one for one in front.published if one.id in COUNTS]
    for sample in front.samples:
        measured = entry.report.get(sample.name)
        if measured is None or measured.tau is None:
            continue
        taus = {one.id: its.tau.value for one in counts if (its := one.report.get(sample.name)) and its.tau}
        best = max(taus, key=lambda name: taus[name], default=None)
        versus = next((one.versus_pick.get(sample.name) for one in counts if one.id == best), None)
        found.append(
            OnSample(
                sample, measured.tau, measured.level_rho, measured.share_tied, measured.n_failed, best,
                None if best is None else taus[best], versus if entry is front.pick else None,
            )
        )  # fmt: skip
    return sorted(found, key=lambda one: one.tau.value - (one.count_tau if one.count_tau is not None else 1.0))


def in_words(front: Front, entry: Entry) -> str:
    """On how many samples counting parameters or MACs ranks better than the proxy."""
    rows = [one for one in by_sample(front, entry) if one.count is not None]
    if not rows:
        return ""
    behind = [one for one in rows if one.is_behind]
    if len(rows) == 1:
        (one,) = rows
        side = "ranks these networks better than it" if behind else "ranks these networks worse than it"
        return f"{_name(one.count)} {side}: {one.count_tau:.3f} against {one.tau.value:.3f}."
    told = [
        one for one in rows
        if one.difference is not None and one.difference.high is not None and one.difference.high < 0
    ]  # fmt: skip
    said = f"Counting parameters or MACs ranks better than it on {len(behind)} of {len(rows)} samples"
    return f"{said}, on {len(told) or 'none'} of these beyond the paired 95 % interval." if behind else f"{said}."


def _name(count: str | None) -> str:
    return {"mac_count": "Counting MACs", "parameter_count": "Counting parameters"}.get(count or "", "Counting")

"""What the numbers of a run say, in words: the same for the terminal and for the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from eznas.fitness import CRITERIA, OBJECTIVES, Criterion, Measurement
from eznas.names import one_line
from eznas.reporting.compared import means_of
from eznas.runs.choice import neighbours
from eznas.runs.front import Entry, Front, PartCard, RunCard, SampleCard, criterion_text, tau_text

TITLES: Final = {name: OBJECTIVES[name].title for name in CRITERIA}
"""Of the criteria of a measurement, as tables print them."""
MEANINGS: Final = {name: OBJECTIVES[name].summary for name in CRITERIA}
"""What each criterion is, a sentence."""


@dataclass(frozen=True, slots=True)
class Headline:
    """What the run found, in a title and a few sentences."""

    title: str
    text: str


def headline(front: Front) -> Headline:
    """The pick on the sample that is hardest for it, against the best published proxy on the same networks."""
    pick, run = front.pick, front.run
    if pick is None:
        return Headline("No proxy was found", "No program of this run ranked its networks well enough to be kept.")
    sample = hardest_sample(front, pick)
    if sample is None:
        return Headline(f"Proxy {short(pick.label)}", "It has no tau on held-out networks.")
    tau, name = tau_text(pick.report[sample.name]), short(sample.name, 40)
    value = pick.report[sample.name].tau
    assert value is not None
    if run.n_folds is None:
        title = f"A proxy with tau {value.value:.3f} on held-out {name}"
        text = (
            f"Evolved on {sample.evolve}, and chosen on {sample.select.n if sample.select else 0:,} others, it has tau "
            f"{tau} on held-out ones: {sample.report}."
        )
    else:
        title = f"A proxy with cross-fitted tau {value.value:.3f} on {name}"
        text = (
            f"Evolved and chosen on all {sample.report.n:,} networks, it has tau {tau}, cross-fitted in {run.n_folds} "
            f"folds: {sample.report}, each ranked by the pick of a search that did not see it. Other discovered "
            "proxies have no such figure."
        )
    if len(front.learnt) > 1:
        text += f" Of {len(front.learnt)} samples, {name} is the hardest for it."
    together = front.tau(pick, "report")
    if len(front.learnt) > 1 and run.aggregate != "worst" and together is not None:
        title = f"A proxy with mean tau {together:.3f} on held-out networks of {len(front.learnt)} samples"
        means = means_of(front, (pick,))
        its = "" if means is None else f"Its mean is {criterion_text(means.taus[0])} (95 %, over networks). "
        text = f"{its}{against_best(front, pick)} The hardest for it is {name}, where it has {tau} ({sample.report})."
        return Headline(title, " ".join(filter(None, (text, outside(front, pick)))))
    return Headline(title, " ".join(filter(None, (text, verdict(front, sample), outside(front, pick)))))


def outside(front: Front, pick: Entry) -> str:
    """The pick on the samples that nothing was learnt from, against the published proxy that ranks them best."""
    tau = front.left_out_tau(pick)
    if tau is None:
        return ""
    n = len(front.left_out)
    where = f"{n} samples that nothing was learnt from" if n > 1 else "the sample that nothing was learnt from"
    said = f"On {where} it has {'a mean tau of' if n > 1 else 'tau'} {tau:.3f}"
    others = {entry.label: value for entry in front.published if (value := front.left_out_tau(entry)) is not None}
    if not others:
        return f"{said}."
    best = max(others, key=lambda name: others[name])
    return f"{said}, the best published proxy there, {short(best)}, {others[best]:.3f}."


RULES: Final = {
    "simplest-within-se": "the smallest within one standard error of the best there",
    "cheapest-within-se": "the cheapest within one standard error of the best there",
    "best": "the best there",
}
"""How a run takes its pick from the front, by the name of the rule."""


def rule_text(front: Front) -> str:
    """How the run took its pick from the front; a run by another objective than tau says so where that shows."""
    pick, rule = front.pick, RULES[front.run.pick]
    tau = None if pick is None else front.tau(pick, "select")
    best = max((its for entry in front.discovered if (its := front.tau(entry, "select")) is not None), default=None)
    if front.run.pick == "best" and tau is not None and best is not None and best - tau >= 0.0005:
        return f"{rule} by the first objective of the run"
    return rule


def over_samples(front: Front) -> str:
    """``the smallest `` or ``the mean `` of several samples; empty of one."""
    if len(front.learnt) == 1:
        return ""
    return "the smallest " if front.run.aggregate == "worst" else "the mean "


def against_best(front: Front, pick: Entry) -> str:
    """The mean of the best published proxy, and on how many samples the pick is ahead of it."""
    best = front.best_published
    tau = None if best is None else front.tau(best, "report")
    if best is None or tau is None:
        return ""
    found, its = front.taus(pick, "report"), front.taus(best, "report")
    n_ahead = sum(found[name] > its.get(name, -2.0) for name in found)
    means = means_of(front, (pick, best))
    paired = "" if means is None else f"; {comparison(means.less_first[0])}"
    return (
        f"The best published proxy, {short(best.label)}, has a mean of {tau:.3f} on the same networks{paired}; the "
        f"pick is ahead on {n_ahead} of {len(found)} samples."
    )


def beside(front: Front, pick: Entry) -> str:
    """The pick less its neighbours on the front, the next smaller and the next larger; see `less`."""
    compared = []
    for entry in neighbours(front, pick):
        difference = less(front, pick, entry)
        if difference is not None:
            which = "smaller" if (entry.size or 0) <= (pick.size or 0) else "larger"
            compared.append(
                f"the next {which}, {short(entry.label)} of {entry.size} nodes, {difference_text(difference)}"
            )
    if not compared:
        return ""
    what, where = less_of(front, pick)
    return (
        f"{what[0].upper()}{what[1:]} of the pick less that of its neighbours on the front{where} (paired, 95 %): "
        f"{'; '.join(compared)}."
    )


def less(front: Front, pick: Entry, entry: Entry) -> Criterion | None:
    """Tau of the pick less that of another, paired: the mean over samples, or on the sample hardest for the pick."""
    if _is_mean(front):
        means = means_of(front, (pick, entry))
        return None if means is None else means.less_first[0]
    sample = hardest_sample(front, pick)
    return None if sample is None else entry.versus_pick.get(sample.name)


def less_of(front: Front, pick: Entry) -> tuple[str, str]:
    """What `less` is of, and where: ``("mean tau", " over 21 samples")``."""
    if _is_mean(front):
        return "mean tau", f" over {len(front.learnt)} samples"
    sample = hardest_sample(front, pick)
    return "tau", f" on {short(sample.name, 40)}" if sample is not None and len(front.samples) > 1 else ""


def _is_mean(front: Front) -> bool:
    return len(front.learnt) > 1 and front.run.aggregate != "worst"


def difference_text(difference: Criterion) -> str:
    """``+0.021 [-0.004, +0.046]``."""
    if difference.low is None or difference.high is None:
        return f"{difference.value:+.3f}"
    return f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"


def hardest_sample(front: Front, entry: Entry) -> SampleCard | None:
    """The sample learnt from with the smallest held-out tau; None if there is no tau."""
    taus = {name: measured.tau.value for name, measured in entry.report.items() if measured.tau is not None}
    samples = [sample for sample in front.learnt if sample.name in taus]
    return min(samples, key=lambda sample: taus[sample.name], default=None)


def verdict(front: Front, sample: SampleCard, where: str = "the same networks") -> str:
    """The pick against the best published proxy on one sample, by their paired difference; empty if there is none."""
    best = front.best_published
    measured = best.report.get(sample.name) if best is not None else None
    if best is None or measured is None or measured.tau is None:
        return ""
    text = f"The best published proxy, {short(best.label)}, has {tau_text(measured)} on {where}"
    difference = best.versus_pick.get(sample.name)
    if difference is None:
        return f"{text}; the two were not compared."
    return f"{text}; {comparison(difference)}."


def comparison(difference: Criterion) -> str:
    """What a paired difference of tau, the pick's less another's, says of the pick, as a clause."""
    size = abs(difference.value)
    side = "ahead" if difference.value >= 0 else "behind"
    if difference.low is None or difference.high is None:
        return f"the pick is {side} by {size:.3f}"
    if difference.low <= 0 <= difference.high:
        return f"the pick less it, {criterion_text(difference)} (paired, 95 %), does not tell the two apart"
    ends = sorted((abs(difference.low), abs(difference.high)))
    return f"the pick is {side} by {size:.3f} [{ends[0]:.3f}, {ends[1]:.3f}] (paired difference, 95 %)"


def training_text(part: PartCard) -> str:
    """Split and training of accuracies, ``test, 200 epochs``."""
    return f"{part.split}, {'full training' if part.epochs is None else f'{part.epochs} epochs'}"


def measured_on(samples: Sequence[SampleCard]) -> str:
    """What the held-out networks of samples are, those of which it is the same together."""
    named: dict[str, list[str]] = {}
    for sample in samples:
        named.setdefault(str(sample.report), []).append(short(sample.name, 40))
    if len(named) == 1 and len(samples) == 1:
        return next(iter(named))
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in named.items())


def aggregate_text(front: Front) -> str:
    """What one number over several samples is."""
    return f"Over {len(front.learnt)} samples it is {over_samples(front).strip()} tau." if len(front.learnt) > 1 else ""


def share_text(share: float | None) -> str:
    """By how much scores move, in percent of their spread."""
    if share is None:
        return "–"
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.2g} %"


def run_name(run: RunCard) -> str:
    """The name, and whether the run started from given programs."""
    return short(run.name, 80) + (f" ({seeds_text(run)})" if run.seeds else "")


def seeds_text(run: RunCard) -> str:
    """``started from 2 given programs``."""
    return f"started from {len(run.seeds)} given program{'s' if len(run.seeds) != 1 else ''}"


def ties_text(measured: Measurement) -> str:
    """Share of the pairs of networks with equal scores, in percent."""
    share = 100 * measured.share_tied
    return "<0.1 %" if 0 < share < 0.1 else f"{share:.1f} %"


def kinds_text(measured: Measurement) -> str:
    """Failures by kind, ``2 non-finite, 1 network``; empty if there are none."""
    counts = Counter(measured.failures).most_common()
    return ", ".join(f"{count:,} {short(kind)}" for kind, count in counts)


def time_text(seconds: float) -> str:
    """Seconds or milliseconds, in three digits."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def short(text: str, limit: int = 24) -> str:
    """A name from a file on one line, without control characters, at most `limit` long; the middle is left out."""
    line = one_line(text, 4 * limit) or "?"
    if len(line) <= limit:
        return line
    tail = (limit - 1) // 2
    return f"{line[: limit - 1 - tail]}…{line[-tail:]}"


def short_names(names: Sequence[str], limit: int) -> list[str]:
    """Names as headers of columns: shortened, numbered where they would be the same."""
    found = [short(name, limit) for name in names]
    counts = Counter(found)
    return [name if counts[name] == 1 else f"sample {place}" for place, name in enumerate(found, start=1)]

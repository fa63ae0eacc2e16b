"""An assessment as one HTML page: self-contained, without scripts, readable offline, in light and dark."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from eznas.assessment.assessment import Assessed, Assessment
from eznas.assessment.picks import n_of_share
from eznas.files import write_output
from eznas.fitness import Criterion
from eznas.reporting import assessment_figures as figures
from eznas.reporting import words
from eznas.reporting.page import markup, rendered

CRITERIA: Final[Mapping[str, tuple[str, str]]] = {
    "tau": ("tau", "Kendall's tau-b with the accuracies"),
    "level_rho": ("equal size", "rho within equal complexity, the mean over levels"),
    "rho": ("rho", "Spearman's rho"),
    "pearson": ("Pearson", "linear correlation; failures count with the lowest score"),
    "sparse_tau": ("sparse tau", "tau-b with accuracies in bins of 1 percent point"),
    "weighted_tau": ("weighted tau", "tau in which the best networks weigh most"),
    "partial_tau": ("partial tau", "tau-b given the logarithms of parameters and MACs"),
    "top_tau": ("top tau", "tau-b within the top tenth by accuracy"),
    "top_rho": ("top rho", "rho within the top tenth by accuracy"),
    "ndcg": ("nDCG", "discounted gain of the first 1,000 picks"),
}
"""Title and meaning of each column."""
PICKS: Final[Mapping[str, tuple[str, tuple[float, ...]]]] = {
    "precision_top": ("P@top", (0.01, 0.05, 0.1)),
    "precision_bottom": ("P@bottom", (0.01, 0.05, 0.1)),
    "best_rank": ("BR@", (0.005, 0.01, 0.05)),
    "worst_rank": ("WR@", (0.01, 0.05)),
    "tau_top": ("tau in top", (0.1,)),
    "tau_bottom": ("tau in bottom", (0.1,)),
}


def write_assessment_page(assessment: Assessment, output: Path) -> None:
    """Write the page of an assessment.

    Raises:
        OutputError: if it cannot be written.
    """
    write_output(Path(output), render_assessment_page(assessment))


def render_assessment_page(assessment: Assessment) -> str:
    """The page of an assessment as HTML."""
    columns = [
        (name, title, f"{100 * share:g} %", share)
        for name, (title, shares) in PICKS.items()
        for share in shares
        if n_of_share(share, assessment.n) >= 1
    ]
    return rendered(
        "assessment.html",
        assessment=assessment,
        headline=_headline(assessment),
        criteria=CRITERIA,
        columns=columns,
        criterion=_value,
        pick=_pick,
        ends=_ends,
        words=words,
        shapes=next((one.shapes for one in assessment.proxies if one.shapes), {}),
        has_stability=any(one.stability for one in assessment.proxies),
        figures={
            "ranks": markup(figures.rank_figure(assessment)),
            "picks": markup(figures.picks_figure(assessment)),
            "sizes": markup(figures.size_figure(assessment)),
            "edits": markup(figures.edits_figure(assessment)),
        },
    )


def _headline(assessment: Assessment) -> str:
    """Who is better than the best baseline, in a sentence."""
    asked = [one for one in assessment.proxies if not one.is_baseline]
    better = [one.name for one in asked if (gap := one.differences.get("tau")) and (gap[1].low or 0.0) > 0]
    reference = next((gap[0] for one in asked if (gap := one.differences.get("tau"))), "the baselines")
    if not better:
        return f"By tau, none of these proxies is told to be better than the best baseline, {reference}."
    return (
        f"By tau, {', '.join(better)} {'is' if len(better) == 1 else 'are'} better than the best baseline, {reference}."
    )


def _value(one: Assessed, name: str) -> Criterion | None:
    return one.measurement.criteria.get(name) or one.intervals.get(name)


def _pick(one: Assessed, name: str, share: float) -> str:
    value = None if one.standing is None else one.standing.picks[name].get(share)
    if value is None or value != value:
        return "–"
    return (
        f"{value:.3f}" if name.startswith("tau") else f"{100 * value:.2g} %" if value < 0.01 else f"{100 * value:.1f} %"
    )


def _ends(one: Assessed, name: str, share: float) -> str:
    """The interval of a pick in percent; empty where there is none."""
    found = one.pick_intervals.get(name, {}).get(share)
    if found is None or found.low is None or found.high is None:
        return ""
    return (
        f"[{100 * found.low:.2g}, {100 * found.high:.0f}]"
        if found.high > 0.1
        else (f"[{100 * found.low:.2g}, {100 * found.high:.2g}]")
    )

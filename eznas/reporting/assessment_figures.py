"""The figures of an assessment, drawn as those of a report are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import scipy

from eznas.assessment.assessment import Assessed, Assessment
from eznas.randomness import stream
from eznas.reporting.figures import INKS, _dots, _figure, _plain, _svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS: Final = 8
"""Proxies that each have a panel of the scatter."""
MOST_LINES: Final = 7
"""Proxies asked for that each have a line; baselines come on top."""
MOST_EDITS: Final = 12
"""Edits that each have a row."""
MOST_DOTS: Final = 1500
"""Networks of a panel; of more so many are drawn at random."""
COLOURS: Final = (INKS["found"], INKS["pick"], "#009e73", "#cc79a7", "#c99700", "#8f6bd1", "#4aa3d8")
"""Of proxies, after Okabe and Ito; baselines are grey."""
MARKERS: Final = ("o", "D", "s", "^", "v", "P", "X")
STYLES: Final = ("--", ":", "-.", (0, (1, 3)))
"""Lines of the baselines."""


def rank_figure(assessment: Assessment) -> str:
    """Rank by accuracy against rank by score, 100 % the best, a panel for each proxy; on the line both agree."""
    shown = [one for one in assessment.proxies if one.standing is not None][:MOST_PANELS]
    if not shown:
        return ""
    n_rows = -(-len(shown) // 4)
    figure = _figure(0.3 + 2.55 * n_rows)
    axes = figure.subplots(
        n_rows, 4, sharex=True, sharey=True, squeeze=False, gridspec_kw={"hspace": 0.4, "wspace": 0.1}
    )
    n = assessment.n
    drawn = np.arange(n)
    if n > MOST_DOTS:
        drawn = stream(assessment.seed, "assess", "dots").choice(n, size=MOST_DOTS, replace=False)
    truth = 100 * (scipy.stats.rankdata(assessment.accuracies) - 0.5) / n
    for place, ax in enumerate(axes.flat):
        if place >= len(shown):
            ax.set_axis_off()
            continue
        one = shown[place]
        ink = INKS["known"] if one.is_baseline else COLOURS[place % len(COLOURS)]
        estimate = 100 * (scipy.stats.rankdata(one.scores) - 0.5) / n
        ax.plot([0, 100], [0, 100], color=INKS["muted"], linewidth=0.8, zorder=1)
        _dots(ax, estimate[drawn], truth[drawn], ink)
        ax.set(xlim=(-3, 103), ylim=(-3, 103), xticks=[0, 50, 100], yticks=[0, 50, 100])
        tau = one.measurement.tau
        ax.set_title(f"{_plain(_title(one), 22)}\n{'no tau' if tau is None else f'tau {tau.value:.3f}'}", loc="left")
    for row in axes:
        row[0].set_ylabel("rank of accuracy (%)")
    for column in range(min(4, len(shown))):
        last = max(place for place in range(len(shown)) if place % 4 == column)
        axes.flat[last].set_xlabel("rank of score (%)")
        axes.flat[last].tick_params(labelbottom=True)
    return _svg(figure, "Rank by accuracy against rank by score, one panel for each proxy")


def picks_figure(assessment: Assessment) -> str:
    """Precision at the top and at the bottom, best and worst rank, against the share K of the networks."""
    panels = (
        ("precision_top", "precision at the top"), ("precision_bottom", "precision at the bottom"),
        ("best_rank", "best rank of the picks"), ("worst_rank", "worst rank of the picks"),
    )  # fmt: skip
    shown = _lines(assessment)
    if not shown:
        return ""
    figure = _figure(5.6)
    axes = figure.subplots(2, 2, gridspec_kw={"hspace": 0.42, "wspace": 0.16})
    for (name, title), ax in zip(panels, axes.flat, strict=True):
        for one, colour, style, marker in shown:
            assert one.standing is not None
            shares = one.standing.picks[name]
            values = np.array(list(shares.values()))
            if name.endswith("rank"):
                values = np.maximum(values, 0.5 / assessment.n)
            ax.plot(
                [100 * share for share in shares], 100 * values, color=colour, linestyle=style, marker=marker,
                markersize=4, linewidth=1.3 if one.is_baseline else 1.9, label=_plain(_title(one), 20),
            )  # fmt: skip
        if name.startswith("precision"):
            grid = np.geomspace(0.1, 100, 60)
            ax.plot(grid, grid, color=INKS["muted"], linewidth=0.8, zorder=1)
            ax.set_ylim(-3, 103)
        ax.set_xscale("log")
        if name == "best_rank":
            ax.set_yscale("log")
        _percentages(ax, log_y=name == "best_rank")
        ax.set_title(f"{title} (%)", loc="left")
    for ax in axes[1]:
        ax.set_xlabel("share K of the networks (%)")
    _legend(axes[0, 0], axes[1, 0], len(shown))
    return _svg(figure, "Precision and best and worst rank of the first picks against their share of the networks")


def size_figure(assessment: Assessment) -> str:
    """Mean ranking difference, and tau within, of five groups by size."""
    shown = [line for line in _lines(assessment) if line[0].sizes]
    if not shown:
        return ""
    figure = _figure(3.0)
    left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.18})
    for one, colour, style, marker in shown:
        x = np.arange(len(one.sizes)) + 1
        options = {
            "color": colour, "linestyle": style, "marker": marker, "markersize": 4,
            "linewidth": 1.3 if one.is_baseline else 1.9,
        }  # fmt: skip
        left.plot(x, [100 * group.difference for group in one.sizes], label=_plain(_title(one), 20), **options)  # type: ignore[arg-type]
        right.plot(x, [np.nan if group.tau is None else group.tau.value for group in one.sizes], **options)  # type: ignore[arg-type]
    left.axhline(0, color=INKS["muted"], linewidth=0.8)
    right.axhline(0, color=INKS["muted"], linewidth=0.8)
    left.set_title("ranked too high (%)", loc="left")
    right.set_title("tau within the group", loc="left")
    groups = shown[0][0].sizes
    for ax in (left, right):
        ax.set_xticks(np.arange(len(groups)) + 1, [_short(group.low, group.high) for group in groups])
        ax.set_xlabel(f"{assessment.size} of the group")
    _legend(left, left, len(shown), below=-85)
    return _svg(figure, f"Ranking difference and tau of groups of networks by {assessment.size}")


def edits_figure(assessment: Assessment) -> str:
    """How often accuracies and scores rise with each edit; a row for each, the most frequent ones.

    Returns:
        SVG; empty if no two networks are known to be one edit apart.
    """
    shown = [line for line in _lines(assessment) if line[0].edits and not line[0].is_baseline]
    shown += [line for line in _lines(assessment) if line[0].edits and line[0].name == "parameters"]
    if not shown:
        return ""
    edits = shown[0][0].edits[:MOST_EDITS]
    figure = _figure(0.9 + 0.4 * len(edits))
    ax = figure.subplots()
    for place, edit in enumerate(edits):
        y = len(edits) - 1 - place
        values = [100 * edit.truth]
        for row, (one, colour, _, marker) in enumerate(shown):
            same = next((o for o in one.edits if (o.before, o.after) == (edit.before, edit.after)), None)
            if same is not None:
                values.append(100 * same.estimate)
                ax.plot(
                    100 * same.estimate, y + 0.5 * ((len(shown) - 1 - row) / max(len(shown) - 1, 1) - 0.5),
                    marker or "o", color=colour, markersize=5.5, markeredgewidth=0, alpha=0.9,
                    label=_plain(_title(one), 20) if place == 0 else None, zorder=3,
                )  # fmt: skip
        ax.plot([min(values), max(values)], [y, y], color=INKS["grid"], linewidth=2, zorder=1)
        ax.plot(
            100 * edit.truth, y, "|", color=INKS["ink"], markersize=13, markeredgewidth=2.4, zorder=4,
            label="accuracy" if place == 0 else None,
        )  # fmt: skip
    names = [f"{_plain(edit.before, 16)} → {_plain(edit.after, 16)} ({edit.n:,})" for edit in edits]
    ax.set_yticks(range(len(edits)), names[::-1])
    ax.set_ylim(-0.7, len(edits) - 0.3)
    ax.set_xlim(-3, 103)
    ax.axvline(50, color=INKS["muted"], linewidth=0.8)
    ax.set_xlabel("pairs in which it rises (%)")
    _legend(ax, ax, len(shown) + 1)
    return _svg(figure, "How often accuracy and scores rise when one operation is replaced")


Line = tuple[Assessed, str, object, str | None]
"""A proxy with its colour, its style of line and its marker."""


def _lines(assessment: Assessment) -> Sequence[Line]:
    asked = [one for one in assessment.proxies if one.standing is not None and not one.is_baseline][:MOST_LINES]
    known = [one for one in assessment.proxies if one.standing is not None and one.is_baseline]
    lines: list[Line] = [(one, COLOURS[place], "-", MARKERS[place]) for place, one in enumerate(asked)]
    return [*lines, *((one, INKS["known"], STYLES[place % len(STYLES)], None) for place, one in enumerate(known))]


def _title(one: Assessed) -> str:
    return f"({one.name})" if one.is_baseline else one.name


def _percentages(ax: Axes, *, log_y: bool) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    for axis in (ax.xaxis, ax.yaxis) if log_y else (ax.xaxis,):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def _legend(source: Axes, target: Axes, n: int, *, below: float = -60) -> None:
    """Names of the lines of one panel under another, so many hundredths of an inch below it."""
    handles, labels = source.get_legend_handles_labels()
    height = target.get_window_extent().height
    target.legend(
        handles, labels, loc="upper left", bbox_to_anchor=(-0.02, below / height), ncols=min(n, 5),
        frameon=False, fontsize=9.5, labelcolor=INKS["ink"], handlelength=2.4, columnspacing=1.4,
    )  # fmt: skip


def _short(low: float, high: float) -> str:
    """Sizes in millions or thousands."""
    unit, of = (1e6, "M") if high >= 1e6 else (1e3, "k") if high >= 1e3 else (1.0, "")
    return f"{low / unit:.3g}{of}" if low == high else f"{low / unit:.3g}–\n{high / unit:.3g}{of}"

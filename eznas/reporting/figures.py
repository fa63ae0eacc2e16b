"""The figures of a report: drawn as figures of matplotlib, and of these SVG that follows the page around it.

The same input gives the same bytes. Colours are safe for colour-blind readers, are named once in `INKS`, and end up in
the SVG as CSS variables with these values to fall back on, so that a figure also stands alone.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from eznas.fitness import Criterion
from eznas.programs import directed_infix
from eznas.reporting.compared import mean_criteria, worst_criteria
from eznas.reporting.words import short
from eznas.runs.front import Entry, Front, SampleCard
from eznas.runs.history import History, Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from eznas.reporting.drawn import Drawn

INKS: Mapping[str, str] = {
    "ink": "#1c2430",
    "muted": "#5d6878",
    "grid": "#dfe3e9",
    "found": "#0072b2",
    "pick": "#d55e00",
    "known": "#7a8699",
    "paper": "#fefefe",
}
"""Name of the CSS variable -> colour on a light page; the hues are those of Okabe and Ito."""
WIDTH = 9.2
"""Inches; at 100 units per inch the width of a report's column."""


MOST_ROWS = 6
"""Samples that each have a row of a figure."""


def front_figure(front: Front) -> str:
    """`draw_front` as SVG, where a proxy says its formula if one points at it."""
    svg = _svg(draw_front(front), "Held-out tau of discovered proxies against their size, and of published proxies")
    return _with_hovers(svg, front)


def draw_front(front: Front) -> Drawn:
    """Held-out tau against size, one row per sample with 95 % intervals; published proxies to the right.

    Of more than `MOST_ROWS` samples the rows are two: over those learnt from, as they count together, and the mean of
    those left out.
    """
    rows = _rows_of(front)
    figure = _figure(3.5 * len(rows))
    share = max(0.22, min(0.5, 0.055 * len(front.published)))
    axes = figure.subplots(
        len(rows), 2, sharey="row", squeeze=False, width_ratios=(1 - share, share),
        gridspec_kw={"wspace": 0.03, "hspace": 0.72},
    )  # fmt: skip
    for row, (left, right) in zip(rows, axes, strict=True):
        _front_panel(front, row, left)
        _published_panel(front, row, right)
    return _dressed(figure)


_HOVER = "proxy-"
_MAX_HOVER = 300
"""Characters of a formula that are shown where one points at it."""


def _with_hovers(svg: str, front: Front) -> str:
    """Each proxy's mark with its id, size and formula as the title, which a browser shows where one points at it."""
    for entry in front.discovered:
        formula = "" if entry.formula is None else directed_infix(entry.formula, entry.direction)
        said = html.escape(f"{entry.label}, {entry.size} nodes: {short(formula, _MAX_HOVER)}")
        svg = svg.replace(f'<g id="{_HOVER}{entry.id}">', f'<g class="hover"><title>{said}</title>')
    return svg


def parts_figure(front: Front) -> str:
    """`draw_parts` as SVG; empty where there is nothing to draw."""
    figure = draw_parts(front)
    said = "Tau of discovered proxies from the networks they evolved on to those that chose nothing"
    return "" if figure is None else _svg(figure, said)


def draw_parts(front: Front) -> Drawn | None:
    """Tau of each discovered proxy on the networks it evolved on, was chosen on and is reported on, and where left out.

    Over several samples it is that of the run: the smallest or the mean.

    Returns:
        None if no proxy has figures of two parts.
    """
    lines = []
    for entry in front.discovered:
        taus = [front.tau(entry, part) for part in ("evolve", "select", "report")]
        taus += [front.left_out_tau(entry)] if front.left_out else []
        if sum(tau is not None for tau in taus) > 1:
            lines.append((entry, np.array([np.nan if tau is None else tau for tau in taus])))
    if not lines:
        return None
    figure = _figure(2.8)
    ax = figure.subplots()
    names = ["evolved on", "selected on", "held out", "left out"][: len(lines[0][1])]
    for entry, shown in sorted(lines, key=lambda line: line[0] is front.pick):
        is_pick = entry is front.pick
        ink = INKS["pick" if is_pick else "found"]
        known = np.flatnonzero(np.isfinite(shown))
        ax.plot(
            known, shown[known], color=ink, linewidth=2.4 if is_pick else 1.2, alpha=1.0 if is_pick else 0.55,
            marker="D" if is_pick else "o", markersize=6 if is_pick else 4, zorder=3 if is_pick else 2,
        )  # fmt: skip
        if is_pick:
            ax.annotate(
                f"pick {_plain(entry.label)}", (known[-1], shown[known[-1]]), xytext=(9, 0), textcoords="offset points",
                color=ink, va="center", fontweight="bold", annotation_clip=False,
            )  # fmt: skip
    ax.set_xticks(range(len(names)), names)
    ax.set_xlim(-0.25, len(names) - 0.35)
    ax.set_ylabel("Kendall's tau-b")
    return _dressed(figure)


def scatter_figure(front: Front, scores: Scores, *, n_baselines: int = 3) -> str:
    """`draw_scatter` as SVG; empty where there is nothing to draw."""
    figure = draw_scatter(front, scores, n_baselines=n_baselines)
    return "" if figure is None else _svg(figure, "Accuracy of held-out networks against the rank of their score")


def draw_scatter(front: Front, scores: Scores, *, n_baselines: int = 3) -> Drawn | None:
    """Accuracy against the rank of the score on the held-out networks: the pick beside the best published proxies.

    One row per sample, of many those that are hardest for the pick. Rank 100 % is the network the proxy likes best.
    Networks below the axis are drawn at its foot.

    Returns:
        None if there are no scores to draw.
    """
    samples = [sample for sample in front.samples if sample.name in scores.accuracies]
    if front.pick is not None and len(samples) > MOST_ROWS:
        taus = {sample.name: tau.value for sample in samples if (tau := _tau(front.pick, sample)) is not None}
        hardest = sorted(taus, key=lambda name: taus[name])[:MOST_ROWS]
        samples = [sample for sample in samples if sample.name in hardest]
    drawn = [e for e in _scatter_entries(front, n_baselines) if np.isfinite(scores.by_proxy.get(e.id, np.nan)).any()]
    if not samples or not drawn:
        return None
    figure = _figure(0.45 + 2.35 * len(samples))
    axes = figure.subplots(
        len(samples), len(drawn), sharex=True, sharey="row", squeeze=False,
        gridspec_kw={"wspace": 0.12, "hspace": 0.42},
    )  # fmt: skip
    for row, sample in zip(axes, samples, strict=True):
        for entry, ax in zip(drawn, row, strict=True):
            is_pick, accuracies = entry is front.pick, scores.accuracies[sample.name]
            _scatter_panel(ax, entry, is_pick, sample, scores.by_proxy[entry.id], accuracies)
        name = _plain(sample.name.partition("/")[0], 18)
        row[0].set_ylabel(f"{name}\n{_plain(sample.report.split, 12)} accuracy (%)")
    for ax in axes[-1]:
        ax.set_xlabel("rank of the score (%)")
    return _dressed(figure)


def history_figure(history: History) -> str:
    """`draw_history` as SVG; empty where there is nothing to draw."""
    figure = draw_history(history)
    return "" if figure is None else _svg(figure, "Progress of the run over its generations")


def draw_history(history: History) -> Drawn | None:
    """Best correlation, hypervolume of the front, and shares of programs that came to nothing, over the generations.

    Returns:
        None for a run without a finished generation.
    """
    if not len(history):
        return None
    figure = _figure(2.5)
    best, volume, shares = figure.subplots(1, 3, gridspec_kw={"wspace": 0.3})
    so_far = np.maximum.accumulate(np.nan_to_num(history.best_correlation, nan=-np.inf))
    _curve(best, history.generation, np.where(np.isfinite(so_far), so_far, np.nan), "best correlation so far")
    _curve(volume, history.generation, history.hypervolume, "hypervolume of the front")
    for share, ink in _shares(history).values():
        _curve(shares, history.generation, share, "share of programs (%)", ink=ink)
    shares.set_ylim(0, max(1.0, shares.get_ylim()[1]))
    _end_labels(shares, history)
    for ax in (best, volume, shares):
        ax.set_xlabel("generation")
        _whole_numbers(ax)
    return _dressed(figure)


# --- panels -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """What a row of the front's figure shows: a title, what it was measured on, and tau of an entry."""

    title: str
    measured_on: str
    tau: Callable[[Entry], Criterion | None]


def _rows_of(front: Front) -> list[_Row]:
    if len(front.samples) <= MOST_ROWS:
        return [
            _Row(_plain(sample.name, 30), _plain(str(sample.report), 70), partial(_tau, sample=sample))
            for sample in front.samples
        ]
    n = len(front.learnt)
    title = f"smallest of {n} samples" if front.run.aggregate == "worst" else f"mean of {n} samples"
    taus = worst_criteria(front) if front.run.aggregate == "worst" else mean_criteria(front, front.learnt)
    rows = [_Row(title, "held-out networks", lambda entry: taus.get(entry.id))]
    if front.left_out:
        others = mean_criteria(front, front.left_out)
        outside = f"mean of {len(front.left_out)} samples left out"
        rows.append(_Row(outside, "nothing was learnt from them", lambda entry: others.get(entry.id)))
    return rows


def _best_published(front: Front, row: _Row) -> float | None:
    """Tau of the published proxy that is best in a row; where rows are samples, of the run's hardest rival."""
    if len(front.samples) <= MOST_ROWS:
        best = None if front.best_published is None else row.tau(front.best_published)
        return None if best is None else best.value
    return max((tau.value for entry in front.published if (tau := row.tau(entry)) is not None), default=None)


def _front_panel(front: Front, row: _Row, ax: Axes) -> None:
    points = [
        (e, float(e.size), tau) for e in front.discovered if e.size is not None and (tau := row.tau(e)) is not None
    ]
    for entry, size, tau in points:
        is_pick = entry is front.pick
        ink = INKS["pick" if is_pick else "found"]
        _interval(ax, size, tau, ink)
        ax.plot(
            size, tau.value, marker="D" if is_pick else "o", markersize=8 if is_pick else 6.5, color=ink,
            markeredgecolor=INKS["paper"], markeredgewidth=1.2, zorder=4 if is_pick else 3, linestyle="none",
            gid=f"{_HOVER}{entry.id}",
        )  # fmt: skip
        if is_pick:
            is_right = size > 0.6 * max(other for _, other, _ in points)  # then there is room on the left only
            ax.annotate(
                f"pick {_plain(entry.label)}", (size, tau.value), xytext=(-9 if is_right else 9, -9), va="top",
                textcoords="offset points", ha="right" if is_right else "left", color=ink, fontweight="bold", zorder=5,
            )  # fmt: skip
    if (best := _best_published(front, row)) is not None:
        ax.axhline(best, color=INKS["known"], linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    ax.set_xlabel("size of the program (nodes)")
    ax.set_ylabel("Kendall's tau-b")
    ax.set_title(row.title, loc="left")
    ax.set_title(row.measured_on, loc="right")
    sizes = [size for _, size, _ in points] or [1.0]
    margin = max(1.0, 0.07 * (max(sizes) - min(sizes)))
    ax.set_xlim(min(sizes) - margin, max(sizes) + 2.0 * margin)
    ax.margins(y=0.2)
    _whole_numbers(ax)


def _published_panel(front: Front, row: _Row, ax: Axes) -> None:
    measured = [(e, tau) for e in front.published if (tau := row.tau(e)) is not None]
    ranked = sorted(measured, key=lambda pair: -pair[1].value)
    for position, (_, tau) in enumerate(ranked):
        _interval(ax, float(position), tau, INKS["known"])
        ax.plot(
            position, tau.value, marker="s", markersize=6, color=INKS["known"], markeredgecolor=INKS["paper"],
            markeredgewidth=1.2, linestyle="none", zorder=3,
        )  # fmt: skip
    if (best := _best_published(front, row)) is not None:
        ax.axhline(best, color=INKS["known"], linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    labels = [_plain(entry.label) for entry, _ in ranked]
    ax.set_xticks(range(len(ranked)), labels, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_xlim(-0.7, max(len(ranked), 1) - 0.3)
    ax.set_title("published", loc="left")
    ax.tick_params(axis="y", left=False)
    ax.grid(axis="x", visible=False)
    ax.spines["left"].set_visible(False)


def _scatter_panel(
    ax: Axes, entry: Entry, is_pick: bool, sample: SampleCard, scores: np.ndarray, accuracies: np.ndarray
) -> None:
    known = np.isfinite(accuracies)
    accuracies, scores = accuracies[known], scores[known]
    ink = INKS["pick" if is_pick else "known"]
    ranks = _rank_shares(scores)
    floor = _floor(accuracies)
    below = accuracies < floor
    _dots(ax, ranks[~below], accuracies[~below], ink)
    at_foot = np.full(int(below.sum()), floor)
    ax.plot(ranks[below], at_foot, "v", color=ink, alpha=0.6, markersize=3.2, markeredgewidth=0)
    top = float(accuracies.max()) if len(accuracies) else 1.0
    margin = 0.06 * max(top - floor, 1e-9)
    ax.set_ylim(floor - margin, top + margin)
    ax.set_xlim(-3, 103)
    ax.set_xticks([0, 50, 100])
    tau = _tau(entry, sample)
    name = f"pick {_plain(entry.label)}" if is_pick else _plain(entry.label)
    said = "no tau" if tau is None else f"tau {tau.value:.3f}"
    ax.set_title(f"{name}\n{said}", loc="left", color=INKS["pick"] if is_pick else INKS["ink"])


def _dots(ax: Axes, x: np.ndarray, y: np.ndarray, ink: str) -> None:
    """Points as one path of strokes with round ends: a tenth of the bytes of one element per point.

    They have no length in SVG, and in pictures of pixels, which leave out what has none, a billionth of the range.
    """
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if not len(x):
        return
    vertices = np.repeat(np.column_stack([x, y]), 2, axis=0).astype(float)
    vertices[1::2, 0] += 1e-9 * (np.ptp(x) or 1.0)
    path = Path(vertices, [Path.MOVETO, Path.LINETO] * len(x))
    path.should_simplify = False
    ax.add_patch(
        PathPatch(
            path, fill=False, edgecolor=ink, alpha=0.6, linewidth=3.2, capstyle="round", zorder=2, snap=False
        )
    )  # fmt: skip


def _curve(ax: Axes, x: np.ndarray, y: np.ndarray, title: str, *, ink: str = "found") -> None:
    ax.plot(x, y, color=INKS[ink], linewidth=2, marker="o" if len(x) < 25 else None, markersize=3.5, clip_on=False)
    ax.set_title(title, loc="left")
    if len(x) == 1:
        ax.set_xlim(x[0] - 1, x[0] + 1)


def _shares(history: History) -> dict[str, tuple[np.ndarray, str]]:
    """By name, what became of programs of each generation that are not new and ranked, in percent; and its ink."""
    proposed = np.maximum(history.n_evaluated + np.nan_to_num(history.n_duplicates), 1)
    evaluated = np.maximum(history.n_evaluated, 1)
    return {
        "duplicates": (100 * history.n_duplicates / proposed, "found"),
        "failed": (100 * history.n_invalid / evaluated, "pick"),
    }


def _end_labels(ax: Axes, history: History) -> None:
    low, high = ax.get_ylim()
    below = -np.inf
    ends = [(float(share[-1]), name, ink) for name, (share, ink) in _shares(history).items()]
    for value, name, ink in sorted(end for end in ends if np.isfinite(end[0])):
        place = max(value, below + 0.11 * (high - low))
        below = place
        ax.annotate(
            name, (float(history.generation[-1]), place), xytext=(7, 0), textcoords="offset points",
            color=INKS[ink], va="center", annotation_clip=False,
        )  # fmt: skip


def _whole_numbers(ax: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def _interval(ax: Axes, x: float, tau: Criterion, ink: str) -> None:
    if tau.low is not None and tau.high is not None:
        ends = (tau.low, tau.high)
        ax.plot([x, x], ends, color=ink, linewidth=1.6, alpha=0.45, solid_capstyle="round", zorder=2)


def _plain(text: str, limit: int = 24) -> str:
    """Text from a file, short and not to be read as mathematics between dollar signs."""
    return short(text, limit).replace("$", r"\$")


def _tau(entry: Entry, sample: SampleCard) -> Criterion | None:
    measured = entry.report.get(sample.name)
    return None if measured is None else measured.tau


def _scatter_entries(front: Front, n_baselines: int) -> Sequence[Entry]:
    ranked = [(tau, entry) for entry in front.published if (tau := front.tau(entry, "report")) is not None]
    ranked.sort(key=lambda pair: -pair[0])
    pick = [front.pick] if front.pick is not None else []
    return [*pick, *(entry for _, entry in ranked[:n_baselines])]


def _rank_shares(scores: np.ndarray) -> np.ndarray:
    """Ranks from 0 to 100, ties sharing their mean; scores that are not finite share the last place."""
    from scipy.stats import rankdata

    finite = np.isfinite(scores)
    lowest = scores[finite].min() - 1.0 if finite.any() else 0.0
    return 100 * (rankdata(np.where(finite, scores, lowest)) - 1) / max(len(scores) - 1, 1)


def _floor(accuracies: np.ndarray) -> float:
    """Where the accuracy axis begins: a few networks that never learned must not flatten all others."""
    if not len(accuracies):
        return 0.0
    low, median, top = np.quantile(accuracies, (0.06, 0.5, 1.0))
    return float(max(accuracies.min(), min(low, median - 1.5 * (top - median))))


# --- drawing ------------------------------------------------------------------------------------------------------


def _figure(height: float) -> Drawn:
    """An empty figure of a report; made without pyplot, so that no global state is touched."""
    from eznas.reporting.drawn import Drawn

    return Drawn(figsize=(WIDTH, height))


def _dressed(figure: Drawn) -> Drawn:
    """The figure in the style of a report."""
    for ax in figure.axes:
        _dress(ax)
    return figure


def _svg(figure: Drawn, description: str) -> str:
    """The figure as an inline SVG element that inherits its font and takes its colours from the page."""
    import matplotlib

    style: Any = {
        "svg.fonttype": "none", "svg.hashsalt": "eznas",
        "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"],
    }  # fmt: skip
    _dressed(figure)
    buffer = io.StringIO()
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the page has fonts of its own
        figure.savefig(
            buffer, format="svg", transparent=True, bbox_inches="tight", pad_inches=0.04,
            metadata={"Date": None, "Creator": None},
        )  # fmt: skip
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    attributes = f'class="figure" role="img" aria-label="{html.escape(description)}"'
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', rf"\1 {attributes}", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r"(font: (?:bold |700 )?[\d.]+px) [^;\"]*", r"\1 var(--figure-font, sans-serif)", text)
    text = re.sub(r"font-family: [^;\"]*", "font-family: var(--figure-font, sans-serif)", text)
    for name, colour in INKS.items():
        text = text.replace(colour, f"var(--{name}, {colour})")
    return text.strip() + "\n"


def _dress(ax: Axes) -> None:
    ax.set_axisbelow(True)
    ax.set_facecolor("none")
    if not any(line.get_visible() for line in ax.xaxis.get_gridlines()):
        ax.grid(axis="y", color=INKS["grid"], linewidth=0.8)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(INKS["known"])
        ax.spines[side].set_linewidth(0.8)
    ax.tick_params(colors=INKS["muted"], labelsize=9.5, length=3, width=0.8)
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set_color(INKS["muted"])
        label.set_fontsize(9.5)
    for text in ax.texts:
        text.set_fontsize(9.5)
    for place, colour, weight in (("left", INKS["ink"], "bold"), ("right", INKS["muted"], "normal")):
        title = {"left": ax._left_title, "right": ax._right_title}[place]  # type: ignore[attr-defined]
        title.set_fontsize(10.5 if place == "left" else 9.5)
        title.set_fontweight(weight)
        if title.get_color() == "black":
            title.set_color(colour)

"""Plots of the bench as SVG files that stand alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from benchmark.ways import OperatorTime
from eznas.reporting.figures import INKS

Rows = Sequence[Mapping[str, Any]]


def plot_growth(growth: Mapping[str, Mapping[int, float]], rows: Rows, path: Path) -> None:
    """Seconds against size on doubling axes, with the line of proportional growth."""
    exponents = {row["id"].removeprefix("growth_"): row["value"] for row in rows if row["id"].startswith("growth_")}
    labels = {"population": "programs", "networks": "networks", "depth": "layers"}
    figure = _figure(9.2, 3.0)
    for ax, (name, seconds) in zip(figure.subplots(1, 3), growth.items(), strict=True):
        sizes, spent = np.array(list(seconds)), np.array(list(seconds.values()))
        ax.plot(sizes, spent[0] * sizes / sizes[0], color=INKS["known"], linestyle="--", label="proportional")
        ax.plot(sizes, spent, color=INKS["found"], marker="o", label="measured")
        ax.set_xscale("log", base=2)
        ax.set_yscale("log", base=2)
        ax.set_xticks(sizes, [str(size) for size in sizes])
        ax.set_xlabel(labels[name])
        ax.set_title(f"{name}: exponent {exponents[name]:.2f}", loc="left", fontsize=10)
    figure.axes[0].set_ylabel("seconds, one core")
    figure.axes[0].legend(frameon=False, fontsize=9)
    _save(figure, path)


def plot_rates(rows: Rows, path: Path) -> None:
    """Programs per second of the two ways, by generation."""
    value = {row["id"]: row["value"] for row in rows}
    names = [id_.removeprefix("plain_rate_") for id_ in value if id_.startswith("plain_rate_")]
    figure = _figure(6.4, 3.0)
    ax = figure.subplots()
    places = np.arange(len(names))
    for shift, way, ink in ((-0.2, "plain", "known"), (0.2, "shared", "found")):
        bars = ax.bar(places + shift, [value[f"{way}_rate_{n}"] for n in names], 0.4, color=INKS[ink], label=way)
        ax.bar_label(bars, fmt="{:.3g}", fontsize=9)
    ax.set_xticks(places, [f"generation {n}" if n.isdigit() else "larger trees" for n in names])
    ax.set_ylabel("programs/s, S, one core")
    ax.margins(y=0.12)
    ax.legend(frameon=False)
    _save(figure, path)


def plot_memory(trace: Sequence[tuple[float, float]], budget: float, path: Path) -> None:
    """Memory over time, with the budget."""
    figure = _figure(6.4, 2.6)
    ax = figure.subplots()
    seconds, mib = np.array(trace).reshape(-1, 2).T
    ax.plot(seconds, mib, color=INKS["found"], linewidth=1.5)
    ax.axhline(budget, color=INKS["known"], linestyle="--")
    ax.annotate("budget", (1, budget), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=9)
    ax.set_ylim(0, 1.1 * max(budget, mib.max(initial=0.0)))
    ax.set_xlabel("seconds")
    ax.set_ylabel("MiB above the idle process")
    _save(figure, path)


def plot_profile(profile: Sequence[OperatorTime], total: float, path: Path) -> None:
    """Seconds of the slowest operators, and of everything outside operators."""
    shown = [(one.name, one.seconds) for one in profile[:15]]
    shown.append(("outside operators", total - sum(one.seconds for one in profile)))
    figure = _figure(6.4, 4.2)
    ax = figure.subplots()
    bars = ax.barh([name for name, _ in shown], [seconds for _, seconds in shown], color=INKS["found"])
    ax.bar_label(bars, fmt="{:.2f}", fontsize=9, padding=2)
    ax.invert_yaxis()
    ax.set_xlabel(f"seconds of {total:.1f}")
    _save(figure, path)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure


def _save(figure: Figure, path: Path) -> None:
    for ax in figure.axes:
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
    figure.savefig(path, format="svg", metadata={"Date": None})

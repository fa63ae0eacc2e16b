"""The gallery for people: the table of what is shipped, a model card for the terminal, and the page of all cards."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any, Final

from eznas.assessment.badges import BADGES, KEPT
from eznas.assessment.card import Card, PartLine, SampleFigure, card_of
from eznas.fitness.measurement import Criterion
from eznas.programs import directed_infix, parse, to_infix
from eznas.proxies import ProgramProxy, StoredProxy, gallery_names, gallery_proxy

WIDTH: Final = 80
MAX_PARTS: Final = 12
"""Parts that a card shows; of a smaller formula all, as a tree."""


def gallery_rows() -> list[dict[str, Any]]:
    """What is shipped, a row each, in full."""
    rows = []
    for name in gallery_names():
        stored, card = gallery_proxy(name), card_of(name)
        proxy = stored.proxy
        program = proxy.program if isinstance(proxy, ProgramProxy) else None
        rows.append({
            "name": name, "kind": stored.card.get("Kind", ""), "nodes": program.size if program else None,
            "needs": needs_text(stored), "passes": round(card.cost.passes if card else proxy.cost, 1),
            "own_tau": None if card is None or card.own_tau is None else round(card.own_tau, 3),
            "tau": round(card.mean_tau, 3) if card else None, "macs": round(card.mean_macs, 3) if card else None,
            "samples": len(card.figures) if card else None, "evolved on": stored.card.get("Evolved on", ""),
            "formula": program.text if program else "",
        })  # fmt: skip
    return rows


def gallery_text(width: int = WIDTH) -> str:
    """The table for a terminal: a line for each proxy, and one on where it was evolved."""
    rows = gallery_rows()
    longest = max([4, *(len(row["name"]) for row in rows)])
    lines = [f"{'name':<{longest}}  nodes  passes   own   all  MACs  needs"]
    for row in rows:
        taus = "  ".join(f"{_tau(row[key]):>4}" for key in ("own_tau", "tau", "macs"))
        numbers = f"{row['nodes'] or '-':>5}  {row['passes']:>6}  {taus}"
        lines.append(f"{row['name']:<{longest}}  {numbers}  {row['needs']}"[:width])
        lines += _folded(row["kind"], width, "    ")
        lines += _folded(f"evolved on {_briefly(row['evolved on'])}", width, "    ")
    lines += ["", *_folded(
        "passes: cost in forward passes, measured. own: mean tau on networks that it was not evolved on, of the spaces "
        "that it was evolved on; all: of all spaces of its card; MACs: of counting multiply-accumulates on these. "
        "eznas gallery NAME prints the card, eznas score "
        "gallery:NAME scores networks.", width, "",
    )]  # fmt: skip
    return "\n".join(lines) + "\n"


def card_text(name: str, width: int = WIDTH) -> str:
    """The model card of a proxy of the gallery, for a terminal.

    Raises:
        ConfigError: if there is no such proxy, or its card is of another formula.
    """
    stored, card = gallery_proxy(name), card_of(name)
    lines = [f"gallery:{name}", *(_folded(stored.card["Kind"], width, "  ") if "Kind" in stored.card else [])]
    for title, text in _facts(stored, card):
        lines += ["", title, *(_hanging(text, "  ", "  ", width) if title == "Formula" else _folded(text, width, "  "))]
    if card is None:
        return "\n".join([*lines, "", "No card was measured yet (make cards)."]) + "\n"
    lines += ["", "Figures (tau-b with 95 % intervals)", f"  {_averages(card)}"]
    lines += _figure_lines(card.figures)
    lines += ["", "What carries the ranking (tau lost if a part is made its median)", *_part_lines(card, width)]
    lines += ["", f"Badges (on {card.badges_on}; won from tau {KEPT:g}; moved: of the spread)"]
    for line in card.badges:
        tau = "   -" if line.tau is None else f"{line.tau:5.2f}"
        change = "same scores" if line.is_exact else f"moved by {_share(line.change or 0.0)}"
        lines.append(f"  {'yes' if line.is_won else 'no ':<3}  {BADGES[line.badge].title:<28}  tau {tau}  {change}")
    lines += ["", "Where it fails", *_folded(_where(card), width, "  ")]
    lines += ["", "Worst ranked networks (rank by score, rank by accuracy, of n; 1 is the best)"]
    lines += _worst_lines(card, width)
    return "\n".join(lines) + "\n"


def gallery_page() -> str:
    """docs/gallery.md: every card."""
    lines = [
        "# The gallery", "",
        "Discovered proxies that are shipped. `eznas gallery` lists them, `eznas gallery NAME` prints a card,",
        "`eznas score gallery:NAME` scores networks. This page is written by `make cards`.", "",
        "| proxy | kind | nodes | needs | passes | ms | tau, own spaces | tau, all | MACs |",
        "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    names = gallery_names()
    for name in names:
        stored, card = gallery_proxy(name), card_of(name)
        size = stored.proxy.program.size if isinstance(stored.proxy, ProgramProxy) else ""
        cost = f"{card.cost.passes:.1f} | {card.cost.milliseconds:.0f}" if card else " | "
        taus = " | ".join(map(_tau, (card.own_tau, card.mean_tau, card.mean_macs))) if card else " | | "
        lines.append(
            f"| [`{name}`](#{name}) | {stored.card.get('Kind', '')} | {size} | {needs_text(stored)} | {cost} | {taus} |"
        )
    lines += ["", *_folded(_READING, 120, "")]
    for name in names:
        lines += ["", *_card_page(name)]
    return "\n".join(lines) + "\n"


_SPLITS: Final = {"validation": "val", "predicted": "model"}
"""How a split is called where there is little room."""
_READING: Final = (
    "Passes: what a score takes, in forward passes of the same network over the same batch, measured; ms: on one core, "
    "on the network that the card names. tau: Kendall tau-b, the mean over samples of networks that the run of the "
    "formula did not learn from; own: of spaces of which that run had other networks. Some formulas were picked from "
    "the front of a run with "
    "held-out figures in view, as their cards say; these are a little too good."
)


def _card_page(name: str) -> Iterator[str]:
    stored, card = gallery_proxy(name), card_of(name)
    yield f"## {name}"
    for title, text in _facts(stored, card):
        if title == "Formula":
            yield from ("", "```", *_hanging(text, "", "", 116), "```")
        else:
            yield from ("", *_folded(f"**{title}.** {text}", 120, ""))
    if card is None:
        return
    yield from (
        "", "| sample | n | split, epochs | tau | MACs | less MACs | partial tau | rho within | top tenth |",
        "|---|---|---|---|---|---|---|---|---|",
    )  # fmt: skip
    for one in card.figures:
        measured = one.measured
        yield (
            f"| {one.sample}{'' if one.is_seen else ' (unseen space)'} | {measured.n} | {one.split}, "
            f"{one.epochs or '?'} | {_interval(measured.tau)} | {_value(one.baselines.get('mac_count'))} | "
            f"{_interval(one.over_macs)} | {_tau(one.partial_tau)} | {_value(measured.level_rho)} | "
            f"{_value(measured.top_tau)} |"
        )
    yield from ("", f"Means: {_averages(card)}.")
    yield from ("", "**What carries the ranking** (tau lost if a part is made its median):")
    yield from ("", "```", *_part_lines(card, 116), "```")
    badges = [f"{BADGES[line.badge].title} {'yes' if line.is_won else 'no'} ({_tau(line.tau)})" for line in card.badges]
    alike = f"**Ranks alike** (tau from {KEPT:g}, on {card.badges_on}): {'; '.join(badges)}."
    yield from ("", *_folded(alike, 120, ""))
    yield from ("", *_folded(f"**Where it fails.** {_where(card)}", 120, ""))
    yield from ("", "**Worst ranked** (rank by score, rank by accuracy, of n; 1 is the best):", "", "```")
    yield from (*_worst_lines(card, 116), "```")


def _worst_lines(card: Card, width: int) -> Iterator[str]:
    for miss in card.worst:
        yield f"  {miss.by_score:>4} {miss.by_accuracy:>4} of {miss.n:<4} {miss.sample}"
        yield from _hanging(miss.network, " " * 20, " " * 20, width)


# --- in words -----------------------------------------------------------------------------------------------------


def _briefly(text: str) -> str:
    return re.split(r"[:,]", text)[0]


def needs_text(stored: StoredProxy) -> str:
    """What a proxy is given or takes: images, labels, gradients."""
    return ", ".join(sorted(stored.proxy.needs)) or "nothing but the network"


def _facts(stored: StoredProxy, card: Card | None) -> Iterator[tuple[str, str]]:
    proxy = stored.proxy
    if isinstance(proxy, ProgramProxy):
        yield "Formula", directed_infix(proxy.program, proxy.direction)
        without = [kind for kind in ("images", "labels", "gradients") if kind not in proxy.needs]
        yield (
            "Reads",
            f"{', '.join(proxy.program.statistics)}; layers: {proxy.units}. Needs {needs_text(stored)}"
            f"{'; no ' + ', no '.join(without) if without else ''}"
            f"{'; no backward pass' if 'gradients' not in proxy.needs else ''}.",
        )
    if card is not None:
        yield (
            "Cost",
            f"{card.cost.milliseconds:.1f} ms on one core, {card.cost.passes:.1f} forward passes (a plain one takes "
            f"{card.cost.forward_milliseconds:.1f} ms; {card.cost.estimate:.1f} by the count of its operators), of "
            f"{card.cost.network}.",
        )
    for title in ("Evolved on", "Held out"):
        if title in stored.card:
            yield title, f"{stored.card[title]}."


def _figure_lines(figures: Sequence[SampleFigure]) -> Iterator[str]:
    yield f"  {'sample':<24} {'n':>4} {'tau':>20} {'MACs':>5} {'part':>5} {'with':>5}  labels"
    for one in figures:
        measured = one.measured
        name = one.sample if one.is_seen else f"{one.sample[:23]}*"
        yield (
            f"  {name[:24]:<24} {measured.n:>4} {_interval(measured.tau):>20} "
            f"{_value(one.baselines.get('mac_count')):>5} {_tau(one.partial_tau):>5} {_value(measured.level_rho):>5}"
            f"  {_SPLITS.get(one.split, one.split)} {one.epochs or ''}".rstrip()
        )
    yield "  part: tau given parameters and MACs; with: rho within equal complexity"
    if not all(one.is_seen for one in figures):
        yield "  *: it was evolved on no network of this space"


def _part_lines(card: Card, width: int) -> list[str]:
    parts, is_tree = list(card.parts), len(card.parts) <= MAX_PARTS
    if not is_tree:
        is_sum = ("(add ", "(subtract ")
        parts = [part for part in parts if not part.program.startswith(is_sum) and not _is_scaled(part, card)]
        parts = sorted(parts, key=lambda part: -part.loss)[:MAX_PARTS]
    lines = [f"  {card.tau:+.3f}  the formula, mean tau over {card.ablated_on}"]
    for part in parts:
        bypass = "" if part.bypass is None or not is_tree else f" (left to an argument: {part.bypass:+.3f})"
        note = " (says nothing)" if part.is_idle else ""
        indent = "  " * part.depth if is_tree else ""
        text = to_infix(parse(part.program))
        margin = f"  {part.loss:+.3f}  {indent}"
        lines += _hanging(f"{text}{note}{bypass}", margin, " " * len(margin) + "  ", width)
    if card.share_idle:
        lines.append(f"  {card.share_idle:.0%} of the nodes are in parts without which all networks rank as before")
    return lines


def _is_scaled(part: PartLine, card: Card) -> bool:
    """Whether a part stands with a constant alone under an operator, which is then a part that says the same."""
    before = card.parts[: card.parts.index(part)]
    above = next((one for one in reversed(before) if one.depth == part.depth - 1), None)
    return above is not None and above.size == part.size + 2


def _where(card: Card) -> str:
    worse = card.worse_than_macs
    if not worse:
        return "Multiply-accumulates rank better on none of these samples."
    return f"Multiply-accumulates rank better on {len(worse)} of {len(card.figures)} samples: {', '.join(worse)}."


def _averages(card: Card) -> str:
    failed = sum(one.measured.n_failed for one in card.figures)
    means = f"mean {_tau(card.mean_tau)}, own spaces {_tau(card.own_tau)}, MACs {_tau(card.mean_macs)}"
    return f"{means}, over {len(card.figures)} samples" + (f", {failed} failures" if failed else "")


def _share(value: float) -> str:
    return f"{value:.0%}" if value < 10 else f"{value:.2g} times"


def _tau(value: float | None) -> str:
    if value is None:
        return "-"
    text = f"{value:.2f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def _value(one: Criterion | None) -> str:
    return _tau(None if one is None else one.value)


def _interval(one: Criterion | None) -> str:
    if one is None:
        return "-"
    return _value(one) if one.low is None or one.high is None else f"{_value(one)} [{_tau(one.low)}, {_tau(one.high)}]"


def _folded(text: str, width: int, indent: str) -> list[str]:
    """Lines of prose."""
    return wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False) or [indent]


def _hanging(text: str, first: str, rest: str, width: int) -> list[str]:
    """Lines of a text that also breaks behind brackets, commas and the signs of architectures."""
    lines, line = [], first
    for piece in re.split(r"(?<=[ (|+;:/])|(?<=,)(?=\D)", text):
        if len(line) + len(piece.rstrip()) > width and line.strip():
            lines.append(line.rstrip())
            line = rest
        line += piece
    return [*lines, line.rstrip()]

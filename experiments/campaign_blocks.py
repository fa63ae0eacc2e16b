"""The campaign's tables: what its scripts left in files, to lines of Markdown for `experiments.blocks`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

KINDS: Final = ("benchmarks", "families")
FREE: Final = {
    "parameter_count": "parameters", "mac_count": "MACs", "naswot": "NASWOT", "zen": "Zen", "synflow": "synflow",
    "meco": "MeCo",
}  # fmt: skip
DATASETS: Final = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet16": "ImageNet16-120"}


def short(value: float | None) -> str:
    """``.53``; empty for nothing."""
    return "" if value is None else f"{value:.2f}".replace("0.", ".", 1)


# Spaces left out ------------------------------------------------------------------------------------------------------


def kinds_of(folder: Path, machine: str = "") -> dict[str, Any]:
    """As `left_out_of`, of the groups that are a whole kind of spaces."""
    return {"groups": [group for group in _groups(folder) if group["group"] in KINDS], "machine": machine}


def left_out_of(folder: Path, machine: str = "") -> dict[str, Any]:
    """What ``leave_one_out.py`` left under a folder: of every seed, group and space tau of what was found there.

    Args:
        folder: with ``seed-N/GROUP.json``.
        machine: what it ran on, for people.
    """
    return {"groups": [group for group in _groups(folder) if group["group"] not in KINDS], "machine": machine}


def _groups(folder: Path) -> list[dict[str, Any]]:
    groups = []
    for path in sorted(folder.glob("seed-*/*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        sizes, select = found["sizes"], found["select"]
        named = {
            "pick": found["pick"],
            "best": max(sizes, key=lambda name: (select[name] or -1.0, -sizes[name], name)),
            "smallest": min(sizes, key=lambda name: (sizes[name], -(select[name] or 0.0), name)),
        }
        spaces = {}
        for space, of in found["spaces"].items():
            rows = {name: of["proxies"][of_proxy].get("tau") for name, of_proxy in named.items()}
            rows |= {name: of["proxies"][name].get("tau") for name in FREE}
            spaces[space] = {"n": of["n"], "split": of["split"], "epochs": of["epochs"], "tau": rows}
        groups.append({
            "seed": int(path.parent.name.removeprefix("seed-")), "group": path.stem, "spaces": spaces,
            "sizes": {name: sizes[of_proxy] for name, of_proxy in named.items()}, "formula": found["formula"],
        })  # fmt: skip
    return groups


def means_of(groups: list[Mapping[str, Any]]) -> dict[str, tuple[float, float, int]]:
    """By proxy mean and worst tau, and the number of spaces; a proxy without tau counts 0 there."""
    values: dict[str, list[float]] = {}
    for group in groups:
        for of in group["spaces"].values():
            for name, tau in of["tau"].items():
                values.setdefault(name, []).append(0.0 if tau is None else tau[0])
    return {name: (float(np.mean(taus)), float(np.min(taus)), len(taus)) for name, taus in values.items()}


def left_out_lines(result: Mapping[str, Any]) -> list[str]:
    """A row for each space that was left out alone, in the first seed, and the means of every seed."""
    alone = result["groups"]
    titles = ["best on selection", "nodes", "pick", "smallest", *FREE.values()]
    lines = [f"| left out | n | {' | '.join(titles)} |", f"|---|---|{'---|' * len(titles)}"]
    first = min(group["seed"] for group in alone)
    for group in (group for group in alone if group["seed"] == first):
        ((space, of),) = group["spaces"].items()
        best = of["tau"]["best"]
        shown = f"{short(best[0])} [{short(best[1])}, {short(best[2])}]"
        others = [short(None if tau is None else tau[0]) for name, tau in of["tau"].items() if name != "best"]
        lines.append(f"| {space} | {of['n']} | {shown} | {group['sizes']['best']} | {' | '.join(others)} |")
    for seed in sorted({group["seed"] for group in alone}):
        found = means_of([group for group in alone if group["seed"] == seed])
        n = next(iter(found.values()))[2]
        others = [short(found[name][0]) for name in ("pick", "smallest", *FREE)]
        lines.append(f"| **mean, seed {seed}** | {n} spaces | **{short(found['best'][0])}** | | {' | '.join(others)} |")
        others = [short(found[name][1]) for name in ("pick", "smallest", *FREE)]
        lines.append(f"| worst, seed {seed} | | {short(found['best'][1])} | | {' | '.join(others)} |")
    return lines


def kinds_lines(result: Mapping[str, Any]) -> list[str]:
    """Means where all benchmarks, or all families, were left out."""
    titles = ["best on selection", "pick", "smallest", *FREE.values()]
    lines = [f"| left out | seed | spaces | {' | '.join(titles)} |", f"|---|---|---|{'---|' * len(titles)}"]
    for group in result["groups"]:
        found, sizes = means_of([group]), group["sizes"]
        cells = [
            f"{short(found[name][0])}{f' ({sizes[name]} nodes)' if name in sizes else ''}"
            for name in ("best", "pick", "smallest", *FREE)
        ]
        lines.append(f"| {group['group']} | {group['seed']} | {len(group['spaces'])} | {' | '.join(cells)} |")
    return lines


# All cells ------------------------------------------------------------------------------------------------------------


def all_cells_of(folder: Path, machine: str = "") -> dict[str, Any]:
    """What ``all_cells.py --into`` wrote into files of a folder; the best of a front only where the pick is another."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.json")):
        found |= json.loads(path.read_text(encoding="utf-8"))
    picks = [one for name, one in found.items() if name.endswith(":pick")]
    proxies = {name: one for name, one in found.items() if not (name.endswith(":best") and one in picks)}
    return {"proxies": dict(sorted(proxies.items(), key=lambda one: (":" not in one[0], one[0]))), "machine": machine}


def all_cells_lines(result: Mapping[str, Any]) -> list[str]:
    """A row for each proxy: tau, rho, rho within levels and in the top tenth, accuracy of the cell it likes best."""
    lines = [
        "| proxy | nodes | cells | tau | rho | levels: mean (worst) | top tenth rho | accuracy of the pick |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, one in result["proxies"].items():
        of = [one["datasets"][dataset] for dataset in DATASETS]
        columns = (
            [f"{d['tau'][0]:.3f}".removeprefix("0") for d in of],
            [f"{d['rho'][0]:.3f}".removeprefix("0") for d in of],
            [f"{short(float(np.mean(d['levels'])))} ({short(min(d['levels']))})" for d in of],
            [short(d["top_rho"]) for d in of],
            [f"{d['pick']:.2f}" for d in of],
        )
        cells = " | ".join(" / ".join(column) for column in columns)
        run, _, which = name.partition(":")
        title = f"`{run}`, {which}" if which in ("pick", "best") else name.replace("_count", "s").replace("mac", "MAC")
        lines.append(f"| {title} | {one['size'] or ''} | {one['n']:,} | {cells} |")
    return lines


# Words ----------------------------------------------------------------------------------------------------------------


def word_ablation_of(path: Path, machine: str = "") -> dict[str, Any]:
    """What ``word_ablation.py --into`` wrote."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {**found, "machine": machine}


def word_ablation_lines(result: Mapping[str, Any]) -> list[str]:
    """A row for each group of words: means with all words, and what is lost without the group."""
    groups, kinds = result["groups"], ("in_space", "word", "law")
    whole = {kind: np.array([seed[kind] for seed in groups[""]["seeds"]]) for kind in kinds}
    lines = [
        "| without | words | in-space, sum of four | out of space, one word | out of space, law of four |",
        "|---|---|---|---|---|",
        f"| **nothing** | | {' | '.join(f'**{short(float(whole[kind].mean()))}**' for kind in kinds)} |",
    ]
    rows = []
    for name, group in groups.items():
        if name:
            changes = [np.array([seed[kind] for seed in group["seeds"]]) - whole[kind] for kind in kinds]
            rows.append((name, group["n_words"], changes))
    for name, n_words, changes in sorted(rows, key=lambda row: sum(float(change.mean()) for change in row[2])):
        cells = [f"{change.mean():+.3f} ± {change.std(ddof=1):.3f}".replace("0.", ".") for change in changes]
        lines.append(f"| {name} | {n_words:,} | {' | '.join(cells)} |")
    return lines

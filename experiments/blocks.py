"""The blocks of numbers in README and docs, each written from the file of results it comes from.

    python -m experiments.blocks                    writes every block of README.md and docs/*.md
    python -m experiments.blocks NAME RUN_FOLDER    writes results/NAME.json from a finished run, NAME out of `RUNS`

A block stands between ``<!-- block:NAME -->`` and ``<!-- end -->``, and its numbers are in ``results/NAME.json``.
To add one, add a row of `BLOCKS`, and of `RUNS` if it comes from a run.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from types import MappingProxyType
from typing import Any, Final

from experiments.assessment_blocks import assessment_lines
from experiments.campaign_blocks import (
    all_cells_lines,
    all_cells_of,
    kinds_lines,
    kinds_of,
    left_out_lines,
    left_out_of,
    word_ablation_lines,
    word_ablation_of,
)
from experiments.coverage import coverage_lines
from experiments.oneshot import oneshot_lines
from experiments.search_tables import picks_lines
from eznas.errors import EznasError, RunError
from eznas.files import write_output
from eznas.runs import Entry, load_front
from eznas.runs.history import read_history, read_manifest
from eznas.training import summaries

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / "experiments" / "results"
SHIPPED: Final = ROOT / "eznas" / "benchmarks" / "shipped"
_BLOCK: Final = re.compile(r"^<!-- block:(?P<name>[a-z0-9_-]+) -->\n(?P<lines>.*?)^<!-- end -->$", re.M | re.S)
_MARK: Final = re.compile(r"^<!-- (?:block:.*|end) -->$", re.M)


class BlockError(EznasError):
    """A block that cannot be written."""


# Numbers as text ------------------------------------------------------------------------------------------------------


def number(value: float | None, digits: int = 3) -> str:
    """``.738``, ``-.042``, ``1.000``; empty if there is none."""
    if value is None:
        return ""
    text = f"{value:.{digits}f}"
    return re.sub(r"^(-?)0\.", r"\1.", text)


def interval(criterion: Mapping[str, Any] | None) -> str:
    """A criterion with its interval, ``.738 [.706, .767]``; empty if there is none."""
    if criterion is None:
        return ""
    if criterion["low"] is None or criterion["high"] is None:
        return number(criterion["value"])
    return f"{number(criterion['value'])} [{number(criterion['low'])}, {number(criterion['high'])}]"


def duration(seconds: float) -> str:
    """``45 s`` or ``8 min``."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


# Demo -----------------------------------------------------------------------------------------------------------------


def quickstart_of_run(folder: Path, machine: str = "") -> dict[str, Any]:
    """The figures of a finished run of one sample.

    Args:
        folder: of the run.
        machine: what it ran on, for people; the platform of its manifest without.

    Raises:
        RunError: if the run is not finished, is damaged or has more samples.
    """
    front, manifest = load_front(folder), read_manifest(folder)
    if len(front.samples) != 1 or front.pick is None or manifest is None:
        raise RunError(f"The quickstart is a run of one sample with a pick, which {folder} is not; name another run")
    (sample,) = front.samples
    shown = [front.pick, *front.published]
    return {
        "id": front.pick.id,
        "seed": front.run.seed,
        "n_programs": front.run.n_programs,
        "dataset": sample.dataset,
        "n": {"evolve": sample.evolve.n, "select": sample.select.n, "report": sample.report.n},
        "label": {"split": sample.report.split, "epochs": sample.report.epochs},
        "seconds": {
            "evolution": round(float(read_history(folder).seconds.sum()), 1),
            "all": round(front.run.seconds, 1),
        },
        "machine": machine or manifest.platform,
        "versions": {name: manifest.versions.get(name, "") for name in ("python", "torch")},
        "proxies": [_row(entry, sample.name) for entry in shown],
    }


def _row(entry: Entry, sample: str) -> dict[str, Any]:
    found = entry.report[sample]
    return {
        "name": entry.title or entry.label,
        "kind": entry.kind,
        "tau": _criterion(found.tau),
        "rho": _criterion(found.rho),
        "partial_rho": _criterion(found.partial_rho),
        "top_tau": _criterion(found.top_tau),
        "n_failed": found.n_failed,
        "size": entry.size,
        "direction": entry.direction,
        "formula": entry.formula.text if entry.kind == "discovered" and entry.formula is not None else None,
    }


def _criterion(criterion: Any) -> dict[str, float | None] | None:
    if criterion is None:
        return None
    values = ((name, getattr(criterion, name)) for name in ("value", "low", "high"))
    return {name: None if value is None else round(value, 6) for name, value in values}


def quickstart_lines(result: Mapping[str, Any]) -> list[str]:
    """The pick of the quickstart beside the published proxies, and how it was found."""
    pick, *published = result["proxies"]
    n, seconds = result["n"], result["seconds"]
    epochs = result["label"]["epochs"]
    training = f"after {epochs} epochs" if epochs else "after full training"
    found = (
        f"What `quickstart.toml` ends with (seed {result['seed']}): {result['n_programs']:,} programs evolved on "
        f"{n['evolve']} networks, the best chosen on {n['select']} others, everything measured on {n['report']} "
        f"networks that chose nothing ({result['dataset']}, {result['label']['split']} accuracy {training})."
    )
    lines = [
        *wrap(found, 120),
        "",
        "| proxy | tau | rho | rho given size | tau in the best tenth | failed |",
        "|---|---|---|---|---|---|",
    ]
    for row in (pick, *sorted(published, key=lambda row: -row["tau"]["value"])):
        name = f"**evolved, `{row['name'][:8]}`**, {row['size']} nodes" if row is pick else row["name"]
        cells = (interval(row[key]) for key in ("tau", "rho", "partial_rho", "top_tau"))
        lines.append(f"| {name} | {' | '.join(cells)} | {row['n_failed'] or ''} |")
    took = (
        f"It took {duration(seconds['evolution'])} of evolution, {duration(seconds['all'])} in all, on "
        f"{result['machine']}. Kendall's tau-b and Spearman's rho with 95 % bootstrap intervals; failures rank last; "
        "*given size* means given parameters and MACs. The formula:"
    )
    return [*lines, "", *wrap(took, 120), "", "```", *wrap(pick["formula"], 120, subsequent_indent="  "), "```"]


# The demo: several spaces, and some that nothing was learnt from ----------------------------------------------------


def demo_of_run(folder: Path, machine: str = "") -> dict[str, Any]:
    """The figures of a finished run that learns from several samples and leaves others out.

    Args:
        folder: of the run.
        machine: what it ran on, for people; the platform of its manifest without.

    Raises:
        RunError: if the run is not finished, is damaged or leaves nothing out.
    """
    front, manifest = load_front(folder), read_manifest(folder)
    if not front.left_out or front.pick is None or manifest is None:
        raise RunError(f"The demo is a run with a pick that leaves samples out, which {folder} is not; name another")
    pick = front.pick
    return {
        "id": pick.id,
        "seed": front.run.seed,
        "n_programs": front.run.n_programs,
        "n": {
            part: sum(card.n for sample in front.samples if (card := getattr(sample, part)) is not None)
            for part in ("evolve", "select", "report")
        },
        "learnt": [sample.name for sample in front.learnt],
        "left_out": {sample.name: str(sample.report) for sample in front.left_out},
        "seconds": round(front.run.seconds, 1),
        "machine": machine or manifest.platform,
        "versions": {name: manifest.versions.get(name, "") for name in ("python", "torch")},
        "proxies": [
            {
                "name": entry.title or entry.label,
                "kind": entry.kind,
                "size": entry.size,
                "mean": front.tau(entry, "report"),
                "worst": front.worst_tau(entry, "report"),
                "outside": front.left_out_tau(entry),
                "left_out": {sample.name: _criterion(entry.report[sample.name].tau) for sample in front.left_out},
                "formula": entry.formula.text if entry is pick and entry.formula is not None else None,
            }
            for entry in (pick, *front.published)
        ],
    }


def demo_lines(result: Mapping[str, Any]) -> list[str]:
    """The pick of the demo beside the published proxies, where it evolved and where it did not."""
    pick, *published = result["proxies"]
    n = result["n"]
    families = [name.partition("/")[0].removeprefix("net_").replace("_", " ") for name in result["left_out"]]
    found = (
        f"What `make demo` ends with (seed {result['seed']}): formulas found on {n['evolve']} networks of "
        f"{len(result['learnt'])} spaces (NAS-Bench-201 and families of small networks), the pick chosen on "
        f"{n['select']} others, all measured on {n['report']} networks that chose nothing. From the last "
        f"{len(families)} families nothing was learnt at all."
    )
    lines = [
        *wrap(found, 120),
        "",
        f"| proxy | spaces seen: mean | worst | never seen: mean | {' | '.join(families)} |",
        f"|---|---|---|---|{'---|' * len(families)}",
    ]
    for row in (pick, *sorted(published, key=lambda row: -(row["outside"] or -1.0))):
        name = f"**evolved, `{row['name'][:8]}`**, {row['size']} nodes" if row is pick else row["name"]
        values = (number(row["mean"], 3), number(row["worst"], 3), number(row["outside"], 3))
        cells = [*values, *(interval(tau) for tau in row["left_out"].values())]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    took = (
        f"It took {duration(result['seconds'])} on {result['machine']}. Kendall's tau-b with 95 % bootstrap intervals; "
        f"a proxy that fails somewhere has no mean. Never seen: {'; '.join(sorted({*result['left_out'].values()}))} "
        "each. The formula:"
    )
    return [*lines, "", *wrap(took, 120), "", "```", *wrap(pick["formula"], 120, subsequent_indent="  "), "```"]


# Runs of several samples, or cross-fitted -----------------------------------------------------------------------------


def samples_of_run(folder: Path, machine: str = "") -> dict[str, Any]:
    """The figures of a finished run on each of its samples: of the pick, and of the published proxies beside it.

    Args:
        folder: of the run.
        machine: what it ran on, for people; the platform of its manifest without.

    Raises:
        RunError: if the run is not finished or is damaged.
    """
    front, manifest = load_front(folder), read_manifest(folder)
    if front.pick is None or manifest is None:
        raise RunError(f"{folder} has no pick or no manifest; name a finished run")
    return {
        "id": front.pick.id,
        "seed": front.run.seed,
        "n_programs": front.run.n_programs,
        "samples": {
            sample.name: {"n": sample.report.n, "split": sample.report.split, "epochs": sample.report.epochs}
            for sample in front.samples
        },
        "notes": list(front.run.notes),
        "seconds": round(front.run.seconds, 1),
        "machine": machine or manifest.platform,
        "proxies": [
            {sample.name: _row(entry, sample.name) for sample in front.samples}
            for entry in (front.pick, *front.published)
        ],
        "pick_minus_this": [
            {name: _criterion(found) for name, found in entry.versus_pick.items()} for entry in front.published
        ],
    }


def samples_lines(result: Mapping[str, Any]) -> list[str]:
    """One row for each proxy, the pick first; tau, and rho given size, on each sample."""
    names = list(result["samples"])
    pick, *published = result["proxies"]
    labels = "; ".join(
        f"{name}: {of['n']} networks, {of['split']} accuracy{_after(of['epochs'])}"
        for name, of in result["samples"].items()
    )
    found = (
        f"Seed {result['seed']}, {result['n_programs']:,} programs, {duration(result['seconds'])} on "
        f"{result['machine']}. Held-out networks: {labels}. Kendall's tau-b with 95 % intervals; *given size* "
        "is Spearman's rho given parameters and MACs; the difference is of tau, paired, the pick less this one."
    )
    header = [f"{title} {name}" for name in names for title in ("tau", "rho given size", "difference")]
    lines = [*wrap(found, 120), "", f"| proxy | {' | '.join(header)} |", f"|---|{'---|' * len(header)}"]
    differences = [{}, *result["pick_minus_this"]]
    rows = dict(enumerate(result["proxies"]))
    order = sorted(range(1, len(published) + 1), key=lambda i: -min(rows[i][name]["tau"]["value"] for name in names))
    for i in (0, *order):
        row = rows[i]
        first = row[names[0]]
        title = first["name"] if i else f"**evolved, `{first['name'][:8]}`**, {first['size']} nodes"
        cells = [
            cell
            for name in names
            for cell in (
                interval(row[name]["tau"]),
                number((row[name]["partial_rho"] or {}).get("value")),
                interval(differences[i].get(name)),
            )
        ]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    formula, direction = pick[names[0]]["formula"], pick[names[0]]["direction"]
    meaning = f"The formula, of which a {'higher' if direction == 1 else 'lower'} value predicts a higher accuracy:"
    return [*lines, "", meaning, "", "```", *wrap(formula, 120, subsequent_indent="  "), "```"]


def _after(epochs: int | None) -> str:
    return f" after {epochs} epochs" if epochs else ""


# Families -------------------------------------------------------------------------------------------------------------

SHOWN: Final = ("parameter_count", "mac_count", "depth", "width", "naswot", "synflow", "zen", "meco")
"""Columns of the families, as ``experiments/every_space.py`` calls them."""


def families_of(path: Path, machine: str = "") -> dict[str, Any]:
    """What the shipped trainings are worth, and how some proxies rank each family.

    Args:
        path: the figures of ``experiments/every_space.py``.
        machine: what the trainings ran on.

    Raises:
        RunError: if the file lacks a shipped family.
    """
    found = json.loads(path.read_text(encoding="utf-8"))
    rows = summaries(SHIPPED)
    lacking = [row["benchmark"] for row in rows if row["benchmark"] not in found]
    if lacking:
        raise RunError(f"{path} lacks {', '.join(lacking)}; measure them with experiments/every_space.py")
    taus = {row["benchmark"]: found[row["benchmark"]]["proxies"] for row in rows}
    shown = {name: {proxy: (of.get(proxy) or {}).get("tau") for proxy in SHOWN} for name, of in taus.items()}
    return {"machine": machine, "rows": rows, "tau": shown}


def families_lines(result: Mapping[str, Any]) -> list[str]:
    """One row for each family."""
    hours = sum(row["hours"] for row in result["rows"])
    n = sum(row["networks"] for row in result["rows"])
    said = (
        f"{n} networks, {sum(row['trainings'] for row in result['rows']):,} trainings, {hours:.1f} hours of one core "
        f"of {result['machine']}. Accuracy and noise in percent points; retest and ceiling as above; then Kendall's "
        "tau-b of some proxies with the accuracy (no interval is narrower than about .15 to either side)."
    )
    titles = ["parameters", "MACs", "depth", "width", "NASWOT", "synflow", "zen", "MeCo"]
    header = ["family", "networks", "accuracy", "spread", "noise", "retest", "ceiling", *titles]
    lines = [*wrap(said, 120), "", f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    for row in result["rows"]:
        taus = result["tau"][row["benchmark"]]
        cells = [
            f"`{row['benchmark']}`", str(row["networks"]), row["accuracy"], *(
                "" if row[key] is None else f"{row[key]:.2f}" for key in ("spread", "noise", "retest", "ceiling")
            ),
            *("" if not taus[name] else number(taus[name][0], 2) for name in SHOWN),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


# Every space ----------------------------------------------------------------------------------------------------------


def spaces_lines(result: Mapping[str, Any]) -> list[str]:
    """One row for each proxy: its mean over the families, its worst, and each other benchmark.

    The interval of a mean is that of a sum of independent errors, as the networks of benchmarks are drawn on their own.
    A proxy without a score for more than 5 % of the networks of a benchmark has no figure there.
    """
    families = [name for name in result if name.startswith("net_")]
    others = [name for name in result if name not in families]
    tau = {name: {proxy: of["tau"] for proxy, of in one["proxies"].items()} for name, one in result.items()}
    proxies = dict.fromkeys(name for one in tau.values() for name in one)

    def known(proxy: str, names: Sequence[str]) -> dict[str, list[float]]:
        return {name: tau[name][proxy] for name in names if tau[name].get(proxy)}

    def mean(found: Mapping[str, Sequence[float]]) -> list[float]:
        centre = sum(one[0] for one in found.values()) / len(found)
        half = sum(((one[2] - one[1]) / 2) ** 2 for one in found.values()) ** 0.5 / len(found)
        return [centre, centre - half, centre + half]

    def cell(found: Sequence[float] | None) -> str:
        return f"{number(found[0], 2)} [{number(found[1], 2)}, {number(found[2], 2)}]" if found else ""

    rows = {proxy: known(proxy, families) for proxy in proxies}
    rows = {proxy: of for proxy, of in rows.items() if len(of) > len(families) / 2}
    titles = ["estimator or size", f"mean of {len(families)} families", "worst family", "above parameters"]
    lines = [f"| {' | '.join([*titles, *(f'`{name}`' for name in others)])} |"]
    lines.append(f"|{'---|' * (len(titles) + len(others))}")
    for proxy, found in sorted(rows.items(), key=lambda item: -mean(item[1])[0]):
        worst = min(found, key=lambda name: found[name][0])
        n_above = sum(one[0] > tau[name]["parameter_count"][0] for name, one in found.items())
        fewer = f" ({len(found)} of them)" if len(found) < len(families) else ""
        cells = [
            f"`{proxy}`", cell(mean(found)) + fewer, f"{number(found[worst][0], 2)} ({worst.removeprefix('net_')})",
            "" if proxy == "parameter_count" else f"{n_above} of {len(found)}",
            *(cell(tau[name].get(proxy)) for name in others),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    said = "; ".join(
        f"{name}: {one['n']} networks, {one['dataset']} {one['split']}{_after(one['epochs'])}"
        for name, one in result.items()
        if name in others
    )
    return [*wrap(f"Each family: 60 networks. {said}.", 120), "", *lines]


# Generality -----------------------------------------------------------------------------------------------------------

RIVALS: Final = {"parameter_count": "parameters", "mac_count": "MACs", "naswot": "NASWOT"}


def generality_of(folder: Path, machine: str = "") -> dict[str, Any]:
    """Two picks of each seed, of a run on one space and of one on many, on all benchmarks (``make generality``).

    Args:
        folder: with ``seed-N.json`` of ``experiments/every_space.py``, in which the pick of the one space comes first.
        machine: not used.

    Raises:
        RunError: if there is none.
    """
    del machine
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("seed-*.json"))]
    if not found:
        raise RunError(f"{folder} has no seed-N.json; run make generality")
    seeds: list[dict[str, Any]] = []
    for one in found:
        picks = [name for name in one["nb201"]["proxies"] if name.endswith(":best")]
        named = dict(zip(picks, ("one", "many"), strict=True)) | {name: name for name in RIVALS}
        seeds.append({
            bench: {"n": of["n"], **{key: of["proxies"][name]["tau"] for name, key in named.items()}}
            for bench, of in one.items()
        })  # fmt: skip
    return {"seeds": seeds}


def generality_lines(result: Mapping[str, Any]) -> list[str]:
    """One row for each kind of benchmark and each benchmark that neither run saw; the means over seeds."""
    seeds = result["seeds"]
    benches = list(seeds[0])
    families = [name for name in benches if name.startswith("net_")]
    unseen = [name for name in benches if name not in families and name != "nb201"]
    rows = {
        "`nb201`, seen by both": ["nb201"], f"{len(families)} families, seen by the second (mean)": families,
        f"{len(unseen)} benchmarks that neither saw (mean)": unseen, **{f"`{name}`": [name] for name in unseen},
    }  # fmt: skip
    columns = {"one": "evolved on `nb201`", "many": "evolved on many spaces", **RIVALS}
    lines = [f"| benchmark | networks | {' | '.join(columns.values())} |", f"|{'---|' * (len(columns) + 2)}"]
    for title, names in rows.items():
        n = sum(seeds[0][name]["n"] for name in names)
        cells = []
        for key in columns:
            known = [name for name in names if all(seed[name][key] for seed in seeds)]
            if not known:
                cells.append("")
                continue
            by_seed = [sum(seed[name][key][0] for name in known) / len(known) for seed in seeds]
            halves = [(seed[name][key][2] - seed[name][key][1]) / 2 for seed in seeds for name in known]
            # Seeds share benchmarks and most networks: more of them lessen the luck of the search, not that of labels.
            half = (sum(half**2 for half in halves) / len(seeds)) ** 0.5 / len(known)
            mean = sum(by_seed) / len(by_seed)
            each = f" ({', '.join(number(tau, 2) for tau in by_seed)})" if key in ("one", "many") else ""
            fewer = f", of {len(known)}" if len(known) < len(names) else ""
            cells.append(f"{number(mean, 2)} [{number(mean - half, 2)}, {number(mean + half, 2)}]{each}{fewer}")
        lines.append(f"| {title} | {n} | {' | '.join(cells)} |")
    return lines


# All ------------------------------------------------------------------------------------------------------------------

BLOCKS: Final[Mapping[str, Callable[[Any], list[str]]]] = MappingProxyType(
    {
        "coverage": coverage_lines,
        "demo": demo_lines,
        "quickstart": quickstart_lines,
        "every_space": spaces_lines,
        "families": families_lines,
        "pytorchcv": samples_lines,
        "two_spaces": samples_lines,
        "generality": generality_lines,
        "all_cells": all_cells_lines,
        "kinds": kinds_lines,
        "left_out": left_out_lines,
        "word_ablation": word_ablation_lines,
        "oneshot": oneshot_lines,
        "oneshot_darts": oneshot_lines,
        "assessment": assessment_lines,
        "picks": picks_lines,
    }
)
"""By name: what is in ``results/NAME.json`` to lines of Markdown."""

RUNS: Final[Mapping[str, Callable[[Path, str], dict[str, Any]]]] = MappingProxyType(
    {
        "demo": demo_of_run,
        "quickstart": quickstart_of_run,
        "families": families_of,
        "pytorchcv": samples_of_run,
        "two_spaces": samples_of_run,
        "generality": generality_of,
        "all_cells": all_cells_of,
        "kinds": kinds_of,
        "left_out": left_out_of,
        "word_ablation": word_ablation_of,
    }
)
"""By name: folder of a finished run, and the machine, to what ``results/NAME.json`` holds."""


def documents(root: Path = ROOT) -> list[Path]:
    """The files that may have blocks."""
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def with_blocks(text: str, where: str, results: Path = RESULTS) -> str:
    """A document with its blocks written anew.

    Raises:
        BlockError: if a block has no row in `BLOCKS` or no results, or does not end.
    """

    def written(found: re.Match[str]) -> str:
        name = found["name"]
        if name not in BLOCKS:
            raise BlockError(f"{where} has a block {name!r}, but known are {', '.join(BLOCKS)}; add a row of BLOCKS")
        try:
            result = json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BlockError(f"Block {name!r} of {where} has no results {name}.json in {results}: {error}") from None
        return "\n".join([f"<!-- block:{name} -->", *BLOCKS[name](result), "<!-- end -->"])

    if len(_MARK.findall(text)) != 2 * len(_BLOCK.findall(text)):
        raise BlockError(f"{where} has a block that does not end, or an end without a block; write both marks")
    return _BLOCK.sub(written, text)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=[*RUNS], help="results to write from a finished run")
    parser.add_argument("run", nargs="?", type=Path, help="folder of the run")
    parser.add_argument("--machine", default="", help="what it ran on, for people")
    arguments = parser.parse_args(argv)
    try:
        if arguments.name is not None:
            if arguments.run is None:
                parser.error(f"name the folder of the run after {arguments.name}")
            found = RUNS[arguments.name](arguments.run, arguments.machine)
            write_output(RESULTS / f"{arguments.name}.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")
            return 0
        for path in documents():
            before = path.read_text(encoding="utf-8")
            after = with_blocks(before, path.name)
            if after != before:
                write_output(path, after)
                print(path.relative_to(ROOT))
    except EznasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

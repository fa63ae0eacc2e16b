"""The blocks of numbers in README and docs, each written from the file of results it comes from.

    python -m experiments.blocks                    writes every block of README.md and docs/*.md
    python -m experiments.blocks demo RUN_FOLDER    writes results/demo.json from a finished run of the quickstart

A block stands between ``<!-- block:NAME -->`` and ``<!-- end -->``, and its numbers are in ``results/NAME.json``.
To add one, add a row of `BLOCKS`.
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

from eznas.errors import EznasError, RunError
from eznas.files import write_output
from eznas.runs import Entry, load_front
from eznas.runs.records import read_history, read_manifest

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / "experiments" / "results"
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


def demo_of_run(folder: Path, machine: str = "") -> dict[str, Any]:
    """The figures of a finished run of one sample.

    Args:
        folder: of the run.
        machine: what it ran on, for people; the platform of its manifest without.

    Raises:
        RunError: if the run is not finished, is damaged or has more samples.
    """
    front, manifest = load_front(folder), read_manifest(folder)
    if len(front.samples) != 1 or front.pick is None or manifest is None:
        raise RunError(f"The demo is a run of one sample with a pick, which {folder} is not; name another run")
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
        "formula": entry.formula.text if entry.kind == "discovered" and entry.formula is not None else None,
    }


def _criterion(criterion: Any) -> dict[str, float | None] | None:
    if criterion is None:
        return None
    values = ((name, getattr(criterion, name)) for name in ("value", "low", "high"))
    return {name: None if value is None else round(value, 6) for name, value in values}


def demo_lines(result: Mapping[str, Any]) -> list[str]:
    """The pick of the demo beside the published proxies, and how it was found."""
    pick, *published = result["proxies"]
    n, seconds = result["n"], result["seconds"]
    epochs = result["label"]["epochs"]
    training = f"after {epochs} epochs" if epochs else "after full training"
    found = (
        f"What `make demo` ends with (seed {result['seed']}): {result['n_programs']:,} programs evolved on "
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


# All ------------------------------------------------------------------------------------------------------------------

BLOCKS: Final[Mapping[str, Callable[[Any], list[str]]]] = MappingProxyType({"demo": demo_lines})
"""By name: what is in ``results/NAME.json`` to lines of Markdown."""


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
    commands = parser.add_subparsers(dest="command")
    demo = commands.add_parser("demo", help="write results/demo.json from a finished run")
    demo.add_argument("run", type=Path, help="folder of the run")
    demo.add_argument("--machine", default="", help="what it ran on, for people")
    arguments = parser.parse_args(argv)
    try:
        if arguments.command == "demo":
            found = demo_of_run(arguments.run, arguments.machine)
            write_output(RESULTS / "demo.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")
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

"""How much of networks each reading reads: shares of layers and multiply-accumulates, and the roles of layers.

A row for each family or network that is named: as ``eznas score --networks`` names them, or ``timm:NAME`` and
``pytorchcv:NAME`` for networks of these packages, built without trained weights. Without names: the search spaces, the
shipped families, and the networks of `expected/sizes.toml`, whose parameters and multiply-accumulates are shown beside
those that their packages state.

    python experiments/coverage.py [NAME ...] [--into FILE.json]
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import nn

from eznas.errors import EznasError
from eznas.spaces import families, networks_named, space_of
from eznas.spaces.families import family
from eznas.statistics import UNITS
from eznas.statistics.macs import count_macs
from eznas.statistics.tracing import Coverage, run_probe

EXPECTED: Final = Path(__file__).parent / "expected" / "sizes.toml"
SIZE: Final = 16
"""Height and width of an image for search spaces."""
USUAL: Final = 224
"""Of an image for networks of packages that do not say theirs."""
MAKERS: Final = {"timm": ("timm", "create_model"), "pytorchcv": ("pytorchcv.model_provider", "get_model")}
SPACES: Final = (
    "nb201", "nb101", "darts", "nds_darts", "nds_amoeba", "nds_enas", "nds_pnas", "nds_nasnet", "nds_resnet",
    "nds_resnext_a", "sss",
)  # fmt: skip
N: Final = 20
"""Networks that are drawn of each space and family."""


class Network(NamedTuple):
    """A network, the shape of an image, and parameters and multiply-accumulates in millions as its package has them."""

    module: nn.Module
    shape: tuple[int, ...]
    stated: Mapping[str, float] | None = None


def usual_names() -> list[str]:
    """The spaces, the families and the networks of packages."""
    of_grammar = [f"{families.NAME}:{family}" for family in family.families()]
    stated = tomllib.loads(EXPECTED.read_text(encoding="utf-8"))
    packages = [f"{package}:{name}" for package, networks in stated.items() for name in networks if name != "source"]
    return [*(f"{name}:random:{N}" for name in (*SPACES, *of_grammar)), *packages]


def built(name: str) -> Iterator[Network]:
    """The networks of a name."""
    package, _, model = name.partition(":")
    if package in MAKERS:
        module, maker = MAKERS[package]
        network = getattr(importlib.import_module(module), maker)(model, pretrained=False)
        stated = tomllib.loads(EXPECTED.read_text(encoding="utf-8"))[package].get(model)
        given = getattr(network, "default_cfg", {}).get("input_size")
        size = (stated["size"],) * 2 if stated else given[1:] if given else getattr(network, "in_size", (USUAL, USUAL))
        yield Network(network, (3, *size), stated)
        return
    for arch in networks_named(name):
        space = space_of(arch)
        yield Network(space.build(arch, space.settings(), 0), (3, SIZE, SIZE))


def measured(name: str) -> dict[str, Any]:
    """The means over the networks of a name, and of one of a package its size."""
    shares: dict[str, list[Coverage]] = {units: [] for units in UNITS}
    roles: Counter[str] = Counter()
    size = None
    for network, shape, stated in built(name):
        images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
        for units, found in shares.items():
            record = run_probe(network, images, gradients=False, names=(), units=units)
            found.append(record.coverage)
        roles.update(record.roles)
        if stated is not None:
            millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
            macs = count_macs(network, images) / 1e6
            size = {"parameters": [round(millions, 3), stated["parameters"]], "macs": [round(macs, 1), stated["macs"]]}
    n = len(found)
    return {
        "name": name,
        "n": n,
        "read": {
            units: [round(float(np.mean([getattr(one, share) for one in of_units])), 4) for share in ("layers", "macs")]
            for units, of_units in shares.items()
        },
        "roles": {role: round(count / n, 1) for role, count in roles.most_common()},
        "size": size,
    }


def coverage_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One row for each space, family or network, as ``experiments/coverage.py`` measures them."""
    readings = list(rows[0]["read"])
    titles = [*readings, "roles of layers, mean number", "parameters, M (stated)", "multiply-accumulates, M (stated)"]
    lines = [f"| layers / multiply-accumulates read | {' | '.join(titles)} |", f"|{'---|' * (len(titles) + 1)}"]
    for row in rows:
        cells = [" / ".join(f"{share:.2f}" for share in row["read"][units]) for units in readings]
        counts = ", ".join(f"{count:.3g} {role}" for role, count in row["roles"].items())
        sizes = ["", ""]
        if row["size"]:
            sizes = ["{:,.2f} ({:,.2f})".format(*row["size"][which]) for which in ("parameters", "macs")]
        lines.append(f"| `{row['name']}` | {' | '.join((*cells, counts, *sizes))} |")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table; 1 if a network cannot be had."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="families or networks, a row each; the usual ones without")
    parser.add_argument("--into", type=Path, help="JSON file of the figures")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = []
    try:
        for name in given.networks or usual_names():
            rows.append(measured(name))
            print(f"{name}: {rows[-1]['read']}", file=sys.stderr)
    except (EznasError, ImportError, ValueError, RuntimeError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    if given.into is not None:
        given.into.write_text("[\n " + ",\n ".join(map(json.dumps, rows)) + "\n]\n", encoding="utf-8")
    print("\n".join(coverage_lines(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

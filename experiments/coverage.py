"""How much of networks each reading reads: shares of layers and multiply-accumulates, and the roles of layers.

A row for each family or network that is named: as `eznas score --networks` names them, or ``timm:NAME`` and
``pytorchcv:NAME`` for networks of these packages, built without trained weights. Prints Markdown.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import nn

from eznas.errors import EznasError
from eznas.spaces import networks_named, space_of
from eznas.statistics import UNITS
from eznas.statistics.tracing import Coverage, run_probe

SIZES = (16, 224)
"""Height and width of an image for search spaces, and for networks of packages that do not say theirs."""
MAKERS = {"timm": ("timm", "create_model"), "pytorchcv": ("pytorchcv.model_provider", "get_model")}


def built(name: str) -> Iterator[tuple[nn.Module, tuple[int, ...]]]:
    """Networks with the shape of an image each."""
    package, _, model = name.partition(":")
    if package in MAKERS:
        module, maker = MAKERS[package]
        network = getattr(importlib.import_module(module), maker)(model, pretrained=False)
        size = getattr(network, "in_size", None)
        given = getattr(network, "default_cfg", {}).get("input_size")
        yield network, tuple(given) if given else (3, *(size or (SIZES[1], SIZES[1])))
        return
    for arch in networks_named(name):
        space = space_of(arch)
        yield space.build(arch, space.settings(), 0), (3, SIZES[0], SIZES[0])


def row(name: str, networks: Iterable[tuple[nn.Module, tuple[int, ...]]]) -> str:
    """The means over the networks."""
    shares: dict[str, list[Coverage]] = {units: [] for units in UNITS}
    roles: Counter[str] = Counter()
    for network, shape in networks:
        images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
        for units, found in shares.items():
            record = run_probe(network, images, gradients=False, names=(), units=units)
            found.append(record.coverage)
        roles.update(record.roles)
    n = len(found)
    cells = [
        " / ".join(f"{np.mean([getattr(one, share) for one in of_units]):.2f}" for share in ("layers", "macs"))
        for of_units in shares.values()
    ]
    counts = ", ".join(f"{count / n:.3g} {role}" for role, count in roles.most_common())
    return f"| {name} | {' | '.join(cells)} | {counts} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table; 1 if a network cannot be had."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="+", help="families or networks, a row each")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(f"| layers / multiply-accumulates read | {' | '.join(UNITS)} | roles of layers, mean number |")
    print("|---" * (len(UNITS) + 2) + "|")
    try:
        for name in given.networks:
            print(row(name, built(name)), flush=True)
    except (EznasError, ImportError, ValueError, RuntimeError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

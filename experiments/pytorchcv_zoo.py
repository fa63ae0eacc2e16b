"""The CIFAR-10 networks of the package pytorchcv with the errors it ships: networks of one's own with accuracies.

The table of the package has the test error of one training of each network; accuracies are 100 less that error. The
networks are made as the package initialises them, nothing is downloaded. Left out are those of more than
`MAX_PARAMETERS`: their statistics fill the disk and take the time of all others together.

    pip install --no-deps pytorchcv==0.0.74        # without torchvision, which these networks do not need
    python experiments/pytorchcv_zoo.py --csv runs/pytorchcv/accuracies.csv
    eznas evolve experiments/pytorchcv.toml
"""

from __future__ import annotations

import argparse
import csv
import importlib
import io
import pkgutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from pathlib import Path

from torch import nn

from eznas.files import replace_file

TABLE = "models/common/model_metainfos.csv"
"""In the package: names, parameters, and errors in hundredths of a percent."""
SUFFIX = "_cifar10"
MAX_PARAMETERS = 5_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """One network of the table.

    Attributes:
        name: of the function that makes it.
        n_parameters: trainable ones.
        error: on the CIFAR-10 test images, in percent.
    """

    name: str
    n_parameters: int
    error: float

    @property
    def is_taken(self) -> bool:
        """Whether it is small enough."""
        return self.n_parameters <= MAX_PARAMETERS


def rows() -> tuple[Row, ...]:
    """The CIFAR-10 networks of the table that have an error, in its order."""
    text = (files("pytorchcv") / TABLE).read_text(encoding="utf-8")
    return tuple(
        Row(row["model_name"], int(row["net_weights"]), int(row["error_value"]) / 100)
        for row in csv.DictReader(io.StringIO(text))
        if row["model_name"].endswith(SUFFIX) and row["error_value"] != "NA"
    )


@cache
def _makers() -> Mapping[str, Callable[[], nn.Module]]:
    """By name, the functions of the modules with CIFAR networks."""
    import pytorchcv.models as models

    found = {}
    for info in pkgutil.iter_modules(models.__path__):
        if "cifar" in info.name:
            found.update(vars(importlib.import_module(f"{models.__name__}.{info.name}")))
    return found


def make(name: str) -> nn.Module:
    """The untrained network of that name."""
    return _makers()[name]()


def networks() -> list[tuple[str, Callable[[], nn.Module]]]:
    """(name, maker) pairs of the networks that are small enough."""
    return [(row.name, partial(make, row.name)) for row in rows() if row.is_taken]


def main(argv: Sequence[str] | None = None) -> int:
    """Write the accuracies, and say what is left out."""
    parser = argparse.ArgumentParser(description="Accuracies of the CIFAR-10 networks of pytorchcv as a CSV file.")
    parser.add_argument("--csv", type=Path, required=True, help="file to write")
    arguments = parser.parse_args(argv)
    found = rows()
    lines = ["name,cifar10_test", *(f"{row.name},{100 - row.error:.2f}" for row in found if row.is_taken)]
    replace_file(arguments.csv, "\n".join(lines) + "\n")
    left_out = [row.name for row in found if not row.is_taken]
    print(f"{len(lines) - 1} networks in {arguments.csv}; {len(left_out)} of more than {MAX_PARAMETERS:,} parameters "
          f"are left out: {', '.join(left_out)}", file=sys.stderr)  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

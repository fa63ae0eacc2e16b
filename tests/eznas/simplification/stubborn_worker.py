"""A simplification worker with the faults real ones have: run as a script by the tests."""

from __future__ import annotations

import os
import sys

from eznas.programs import Program
from eznas.simplification.algebra import Rewriting, rewrite
from eznas.simplification.worker import main


def stubborn(program: Program) -> Rewriting:
    """Never ends on ``mac_count``, dies on ``unit_count``, lies on ``weight``; honest otherwise."""
    if "mac_count" in program.statistics:
        while True:
            pass
    if "unit_count" in program.statistics:
        os._exit(3)
    if "weight" in program.statistics:
        return Rewriting(Program(program.nodes[2:]), "")
    sys.stdout.write("libraries print\n")
    return rewrite(program)


if __name__ == "__main__":
    raise SystemExit(main(stubborn))

"""What a program costs to compute on a new network, as a deterministic estimate.

Measured times depend on the machine and would make two runs of one seed differ; this estimate does not. Its unit is
one forward pass of the network over the batch.
"""

from __future__ import annotations

from eznas.programs.program import Program
from primitives import STATISTICS, Level, Primitive, Probe, Statistic

PASS_SHARE = 0.02
"""One pass over the layers' tensors relative to a forward pass of the network, measured on reduced NAS-Bench-201."""


def cost(program: Program) -> float:
    """Estimated cost in forward passes: probes run, backward passes, published estimators, and distinct operators over
    layer tensors.

    0 for a program that reads quantities of the architecture only.
    """
    estimators = sum(STATISTICS[name].passes for name in program.metrics)
    return round(sum(probe_passes(program).values()) + estimators + PASS_SHARE * _operator_passes(program), 6)


def probe_passes(program: Program) -> dict[Probe, float]:
    """Forward-pass equivalents spent on each probe; a perturbed statistic needs the data statistic as well."""
    needs: dict[Probe, float] = {}
    for node in program.nodes:
        if isinstance(node, Statistic) and node.probe is not None:
            for probe in node.probe.runs:
                needs[probe] = max(needs.get(probe, 0.0), node.passes)
    return needs


def _operator_passes(program: Program) -> float:
    seen: dict[str, float] = {}
    for index, node in enumerate(program.nodes):
        if isinstance(node, Primitive) and program.types[index].level is Level.LAYER:
            seen[program.subprogram(index).digest] = node.passes
    return sum(seen.values())

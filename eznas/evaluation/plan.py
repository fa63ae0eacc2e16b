"""A population as one graph: every distinct sub-expression is one step, computed once for all programs that hold it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from eznas.errors import ProgramError
from eznas.programs import Node, Program
from primitives import Level, Primitive, Statistic, Type


@dataclass(frozen=True, slots=True)
class Step:
    """One distinct sub-expression.

    Attributes:
        node: what it is.
        arguments: indices of earlier steps.
        type: its type.
        key: hash of the canonical sub-expression, equal in every plan and process.
    """

    node: Node
    arguments: tuple[int, ...]
    type: Type
    key: bytes

    @property
    def is_layer_level(self) -> bool:
        """Whether it gives one value per layer."""
        return self.type.level is Level.LAYER


@dataclass(frozen=True)
class Plan:
    """Steps in an order in which arguments come first, and the step of each program's root."""

    steps: tuple[Step, ...]
    roots: tuple[int, ...]

    @cached_property
    def n_nodes(self) -> int:
        """Distinct sub-expressions."""
        return len(self.steps)

    @cached_property
    def statistics(self) -> tuple[str, ...]:
        """Names of the layer statistics read."""
        return tuple(s.node.name for s in self.steps if s.is_layer_level and isinstance(s.node, Statistic))


def make_plan(programs: Sequence[Program]) -> Plan:
    """The graph of a population; programs that differ only in the order of commuting arguments share everything.

    Raises:
        ProgramError: if a program is not complete.
    """
    steps: list[Step] = []
    index_of: dict[bytes, int] = {}
    roots = []
    for program in programs:
        if not program.is_complete:
            raise ProgramError(f"A proxy gives one number per network, got {program.type} from {program.text}")
        roots.append(_intern(program.canonical, steps, index_of))
    return Plan(tuple(steps), tuple(roots))


def _intern(program: Program, steps: list[Step], index_of: dict[bytes, int]) -> int:
    stack: list[int] = []
    for position in range(program.size - 1, -1, -1):
        node = program.nodes[position]
        arguments = tuple(stack.pop() for _ in range(node.arity)) if isinstance(node, Primitive) else ()
        digest = hashlib.blake2b(node.name.encode(), digest_size=16)
        for argument in arguments:
            digest.update(steps[argument].key)
        key = digest.digest()
        if key not in index_of:
            index_of[key] = len(steps)
            steps.append(Step(node, arguments, program.types[position], key))
        stack.append(index_of[key])
    return stack[0]

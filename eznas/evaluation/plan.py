"""A population as one graph: every distinct sub-expression is one step, computed once for all programs that hold it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    def statistics(self) -> tuple[str, ...]:
        """Names of the layer statistics read."""
        return tuple(s.node.name for s in self.steps if s.is_layer_level and isinstance(s.node, Statistic))


def make_plan(programs: Sequence[Program]) -> Plan:
    """The graph of a population; programs that differ only in the order of commuting arguments share everything.

    So do those that differ by what cannot change a result, such as two changes of sign, as their operators declare.

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
    return _without_dead_steps(steps, roots)


def _without_dead_steps(steps: Sequence[Step], roots: Sequence[int]) -> Plan:
    """The plan of the steps that lead to a root; others were left out of what reads them."""
    needed = set(roots)
    for index in range(len(steps) - 1, -1, -1):
        if index in needed:
            needed.update(steps[index].arguments)
    place = {index: position for position, index in enumerate(sorted(needed))}
    kept = (replace(steps[i], arguments=tuple(place[a] for a in steps[i].arguments)) for i in sorted(needed))
    return Plan(tuple(kept), tuple(place[root] for root in roots))


def _relevant(steps: Sequence[Step], operator: Primitive, argument: int) -> int:
    """The step an operator may read instead of an argument, because it ignores what was done last."""
    while isinstance(node := steps[argument].node, Primitive) and operator.ignores(node, exactly=True):
        (argument,) = steps[argument].arguments
    return argument


def _same(steps: Sequence[Step], operator: Primitive, arguments: tuple[int, ...]) -> int | None:
    """The earlier step that is the result of an operator already, whatever the values."""
    if operator.idempotent and len(set(arguments)) == 1:
        return arguments[0]
    if operator.involution and steps[arguments[0]].node == operator:
        return steps[arguments[0]].arguments[0]
    return None


def _intern(program: Program, steps: list[Step], index_of: dict[bytes, int]) -> int:
    stack: list[int] = []
    for position in range(program.size - 1, -1, -1):
        node = program.nodes[position]
        arguments = tuple(stack.pop() for _ in range(node.arity)) if isinstance(node, Primitive) else ()
        if isinstance(node, Primitive):
            arguments = tuple(_relevant(steps, node, argument) for argument in arguments)
            same = _same(steps, node, arguments)
            if same is not None:
                stack.append(same)
                continue
        digest = hashlib.blake2b(node.name.encode(), digest_size=16)
        for argument in arguments:
            digest.update(steps[argument].key)
        key = digest.digest()
        if key not in index_of:
            index_of[key] = len(steps)
            steps.append(Step(node, arguments, program.types[position], key))
        stack.append(index_of[key])
    return stack[0]

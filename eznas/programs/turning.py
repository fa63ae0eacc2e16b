"""The opposite of a program without a minus before it: where "lower is better" is said by the formula itself."""

from __future__ import annotations

from eznas.programs.program import Constant, Node, Program, fold
from primitives import PRIMITIVES, Primitive

_NEGATE, _ADD, _SUBTRACT, _MULTIPLY = (PRIMITIVES[name] for name in ("negate", "add", "subtract", "multiply"))
_PRODUCTS = (_MULTIPLY, PRIMITIVES["divide"])


def turned(program: Program) -> Program | None:
    """A program of no more nodes whose value is the opposite to the last bit; None if none is found.

    A difference changes its sides, a minus goes, a number changes its sign, and a product or a ratio turns one of its
    sides. Rounding is the same for both signs, so that nothing else of the values changes.
    """
    found = _opposite(program)
    return found if found is not None and found.size <= program.size else None


def directed(program: Program, direction: int) -> tuple[Program, bool]:
    """A program for which higher is better, and whether a minus must still be written before it.

    Args:
        program: any.
        direction: -1 if lower values of `program` are better.
    """
    if direction > 0:
        return _tidied(program), False
    found = turned(program)
    return (_tidied(program), True) if found is None else (_tidied(found), False)


def _tidied(program: Program) -> Program:
    """With ``a - b`` for ``a + -b``, also of ``-2 * b``, ``a + b`` for ``a - -b``, ``a`` for ``--a`` and ``2 * a`` for
    ``a * 2``, to the last bit the same."""
    return fold(program, leaf=lambda node: Program((node,)), branch=_tidied_branch)


def _tidied_branch(root: Primitive, arguments: tuple[Program, ...]) -> Program:
    if root is _MULTIPLY and isinstance(arguments[1].nodes[0], Constant):
        arguments = arguments[::-1]  # numbers come first
    inner = [_without_minus(one) for one in arguments]
    if root is _NEGATE and inner[0] is not None:
        return inner[0]
    if root is _ADD and inner[1] is not None:
        return _joined(_SUBTRACT, arguments[0], inner[1])
    if root is _ADD and inner[0] is not None:
        return _joined(_SUBTRACT, arguments[1], inner[0])
    if root is _SUBTRACT and inner[1] is not None:
        return _joined(_ADD, arguments[0], inner[1])
    return Program((root, *(node for one in arguments for node in one.nodes)))


def _without_minus(program: Program) -> Program | None:
    """What stands behind the minus of ``-x`` or ``-2 * x``; None if there is none."""
    root, *rest = program.nodes
    if root is _NEGATE:
        return program.subprogram(1)
    if root is _MULTIPLY and isinstance(rest[0], Constant) and rest[0].value < 0:
        return Program((root, Constant(-rest[0].value, rest[0].level), *rest[1:]))
    return None


def _opposite(program: Program) -> Program | None:
    """The smallest one found, of any size."""
    root = program.nodes[0]
    arguments = [program.subprogram(index) for index in program.children(0)]
    if isinstance(root, Constant):
        return Program((Constant(-root.value, root.level),))
    if root is _NEGATE:
        return arguments[0]
    if root is _SUBTRACT:
        return _joined(_SUBTRACT, arguments[1], arguments[0])
    if root is _ADD:
        return _opposite_sum(*arguments)
    if root in _PRODUCTS:
        left, right = arguments
        ways = [(_opposite(left), right), (left, _opposite(right))]
        made = [_joined(root, a, b) for a, b in ways if a is not None and b is not None]
        return min(made, key=lambda one: one.size, default=None)
    return None


def _opposite_sum(left: Program, right: Program) -> Program | None:
    """``-(a + b)`` as ``-a + -b``, or as one of them less the other where the minus of one goes."""
    turned_left, turned_right = _opposite(left), _opposite(right)
    made = []
    if turned_left is not None:
        made.append(_joined(_SUBTRACT, turned_left, right))
        if turned_right is not None:
            made.append(_joined(_ADD, turned_left, turned_right))
    if turned_right is not None:
        made.append(_joined(_SUBTRACT, turned_right, left))
    return min(made, key=lambda one: one.size, default=None)


def _joined(root: Node, left: Program, right: Program) -> Program:
    return Program((root, *left.nodes, *right.nodes))

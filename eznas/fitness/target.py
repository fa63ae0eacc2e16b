"""What a search may be asked to find, such as ``tau > .8 and size < 10``: read by a grammar of our own.

    target     = conjunct { "or" conjunct }
    conjunct   = comparison { "and" comparison }
    comparison = name ( ">" | ">=" | "<" | "<=" ) number

Names are objectives, in the sense of their titles: ``size`` is the number of nodes, and smaller is better. A text is
data: nothing of it is ever evaluated.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from eznas.fitness.fitness import Fitness
from eznas.fitness.objectives import OBJECTIVES
from eznas.names import one_line, unknown

LONGEST: Final = 400
"""Characters of a target."""
_SIGNS: Final[Mapping[str, Callable[[float, float], bool]]] = MappingProxyType(
    {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
)
_NUMBER: Final = r"[+-]?(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(?:e[+-]?\d{1,2})?"
_COMPARISON: Final = re.compile(
    rf"\s*(?P<name>[a-z_]{{1,40}})\s*(?P<sign>[<>]=?)\s*(?P<number>{_NUMBER})\s*", re.ASCII | re.IGNORECASE
)
_WORD: Final = re.compile(r"(and|or)\b", re.IGNORECASE)
ALWAYS: Final = ("size", "cost")
"""What every program has, whatever the run selects by."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One condition.

    Attributes:
        name: of an objective.
        sign: one of ``> >= < <=``.
        number: to compare with.
    """

    name: str
    sign: str
    number: float

    def holds(self, values: Mapping[str, float]) -> bool:
        """Whether it is so, for values by name."""
        return _SIGNS[self.sign](values[self.name], self.number)


@dataclass(frozen=True, slots=True)
class Target:
    """Conditions on one program.

    Attributes:
        any_of: it is met where all comparisons of one of these hold.
    """

    any_of: tuple[tuple[Comparison, ...], ...]

    def holds(self, values: Mapping[str, float]) -> bool:
        """Whether a program of these values, by name of the objective, meets it."""
        return any(all(one.holds(values) for one in conjunct) for conjunct in self.any_of)

    @property
    def names(self) -> tuple[str, ...]:
        """The objectives that it speaks of."""
        return tuple(dict.fromkeys(one.name for conjunct in self.any_of for one in conjunct))


def parse_target(text: str, objectives: Collection[str] = tuple(OBJECTIVES)) -> Target:
    """The target that a text states.

    Args:
        text: see the module.
        objectives: that it may speak of, beside those in `ALWAYS`.

    Raises:
        ValueError: if it states none; says where and what was expected.
    """
    if len(text) > LONGEST:
        raise ValueError(f"a target has at most {LONGEST} characters, got {len(text)}")
    known = tuple(dict.fromkeys((*objectives, *ALWAYS)))
    any_of: list[list[Comparison]] = [[]]
    position = 0
    while True:
        found = _COMPARISON.match(text, position)
        if found is None:
            raise ValueError(
                f"expected a comparison such as tau > .8 or size < 10 at character {position + 1}, got "
                f"{one_line(text[position:], 40)!r}"
            )
        name = found["name"].lower()
        if name not in known:
            raise ValueError(unknown("objective of this run", name, known))
        any_of[-1].append(Comparison(name, found["sign"], float(found["number"])))
        position = found.end()
        if position == len(text):
            return Target(tuple(map(tuple, any_of)))
        word = _WORD.match(text, position)
        if word is None:
            raise ValueError(
                f"expected 'and', 'or' or the end at character {position + 1}, got {one_line(text[position:], 40)!r}"
            )
        if word[1].lower() == "or":
            any_of.append([])
        position = word.end()


def plain_values(fitness: Fitness, objectives: Sequence[str]) -> dict[str, float]:
    """What a target compares, by name: values in the sense of the titles, where less of the size is better.

    Args:
        fitness: of a program.
        objectives: of the run, in their order.
    """
    values = dict(zip(objectives, fitness.values, strict=True))
    signed = {name: value if OBJECTIVES[name].higher_is_better else -value for name, value in values.items()}
    return {"size": float(fitness.size), "cost": fitness.cost} | signed

"""Formulas as inline SVG: programs typeset by matplotlib's mathtext, long ones broken at their sums or set in parts.

A glyph is a path filled with ``currentColor``, so formulas need no font, follow the page's colours and look the same
everywhere.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from eznas.programs import Program, directed, to_latex
from primitives import Level, Primitive, Quantity, Statistic

MAX_WIDTH = 34.0
"""Widest line, in ems."""
MAX_SIZE = 150
"""Programs of more nodes are shown as text."""
_UNIT = 100
"""Units of an SVG per em."""


@dataclass(frozen=True, slots=True)
class TypesetLine:
    """One line of a formula or of a part of it.

    Attributes:
        latex: of the line.
        svg: the same.
        is_part: whether it says what a part is that a line before it names.
        goes_on: whether it goes on with the sum of the line before it.
    """

    latex: str
    svg: str
    is_part: bool = False
    goes_on: bool = False


def formula_lines(
    program: Program, *, direction: int = 1, max_width: float = MAX_WIDTH, smoothed: bool = False
) -> tuple[TypesetLine, ...]:
    """A formula as lines of at most about `max_width` ems.

    A long sum goes on in the next line. What is too wide even so has parts with names, which are explained in the
    order in which one meets them. A program of more than `MAX_SIZE` nodes gives no lines; show its text.

    Args:
        program: any.
        direction: -1 turns the formula, so that higher is better; a minus before it where it does not go into it.
        smoothed: divisions as what they are, see `to_latex`.
        max_width: in ems.
    """
    if program.size > MAX_SIZE:
        return ()
    shown, has_minus = directed(program, direction)
    latex, parts = _in_parts(shown, -1 if has_minus else 1, max_width, smoothed)
    found = []
    for statement in (latex, *(f"{symbol} = {part}" for symbol, part in parts)):
        for place, line in enumerate(_broken(statement, max_width)):
            found.append(
                TypesetLine(line, latex_svg(line), is_part=statement is not latex, goes_on=place > 0)
            )
    return tuple(found)


def latex_svg(latex: str) -> str:
    """Inline SVG of a formula in mathtext's subset of LaTeX, on the baseline of the text around it.

    Raises:
        ValueError: if the formula cannot be typeset.
    """
    outline = _outline(latex)
    pad = 4
    top, bottom = outline.top + pad, outline.bottom - pad
    width, height = outline.width + 2 * pad, top - bottom
    style = f"width:{width / _UNIT:.2f}em;height:{height / _UNIT:.2f}em;vertical-align:{bottom / _UNIT:.2f}em"
    return (
        f'<svg class="formula" role="img" aria-label="{html.escape(latex)}" style="{style}" '
        f'viewBox="{-pad} {-top:.0f} {width:.0f} {height:.0f}"><path fill="currentColor" d="{outline.path}"/></svg>'
    )


@dataclass(frozen=True, slots=True)
class _Outline:
    """The glyphs of a line as one path, y downwards, and their extent from the origin of the baseline."""

    path: str
    width: float
    top: float
    bottom: float


@lru_cache(maxsize=2_000)
def _outline(latex: str) -> _Outline:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath, text_to_path

    font = FontProperties(family="serif", math_fontfamily="cm", size=_UNIT)
    text = f"${_spelled_for_display(latex)}$"
    width, height, descent = text_to_path.get_text_width_height_descent(text, font, ismath=True)
    shape = TextPath((0, 0), text, size=_UNIT, prop=font)
    box = shape.get_extents()
    return _Outline(_path_data(shape), max(width, box.x1), max(height - descent, box.y1), min(-descent, box.y0))


def _spelled_for_display(latex: str) -> str:
    """Fractions at the size of the text, where mathtext would make them small, and a little room after sums."""
    return latex.replace(r"\frac", r"\dfrac").replace(r"\sum_\ell ", r"\sum_\ell\, ")


def _path_data(shape: Any) -> str:
    """SVG path data; whole units, a hundredth of an em, are fine enough to print."""
    letters = {1: "M", 2: "L", 3: "Q", 4: "C"}
    parts = []
    for vertices, code in shape.iter_segments(simplify=False, curves=True):
        if code == 79:
            parts.append("Z")
            continue
        numbers = " ".join(str(round(-v if i % 2 else v)) for i, v in enumerate(vertices))
        parts.append(letters[code] + numbers)
    return "".join(parts)


_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|.", re.DOTALL)
_MARGIN = 1.08
"""Lines that turn out a little wider than estimated still fit."""
_SMALL = 0.7
"""Size of sub- and superscripts beside the text."""
_COMMANDS = {r"\left": 0.0, r"\right": 0.0, r"\,": 0.17, r"\;": 0.28, r"\!": -0.17, r"\sum": 1.1, r"\mathrm": 0.0}
_LETTER, _NARROW, _SIGN = 0.53, 0.33, 1.0
"""Ems of a letter or digit, of a bracket or full stop, and of a sign with the room around it."""


def estimated_width(latex: str) -> float:
    """About how many ems a line takes: an estimate, since typesetting takes a tenth of a second and many are tried."""
    width, _ = _extent(_TOKEN.findall(latex.replace(r"\operatorname", r"\mathrm").replace(r"\dfrac", r"\frac")), 0)
    return _MARGIN * width


def _extent(tokens: list[str], at: int) -> tuple[float, int]:
    """Width of the tokens from one on, to the end of its group, and where that is."""
    width = 0.0
    while at < len(tokens) and tokens[at] != "}":
        one, at = _extent_of_one(tokens, at)
        width += one
    return width, at + 1


def _extent_of_one(tokens: list[str], at: int) -> tuple[float, int]:
    token = tokens[at] if at < len(tokens) else " "
    if token == "{":
        return _extent(tokens, at + 1)
    if token == r"\frac":
        above, at = _extent_of_one(tokens, at + 1)
        below, at = _extent_of_one(tokens, at)
        return max(above, below) + 0.2, at
    if token in "_^":
        small, at = _extent_of_one(tokens, at + 1)
        return _SMALL * small, at
    if token in _COMMANDS:
        return _COMMANDS[token], at + 1
    if token in "+-=<>" or token in (r"\cdot", r"\times", r"\odot"):
        return _SIGN, at + 1
    if token.isspace():
        return 0.0, at + 1
    if len(token) > 2 and token[1:].isalpha() and token[1:] in _NAMES:
        return 0.48 * len(token[1:]) + 0.17, at + 1
    return _NARROW if token in "()[]|.,:;!il'" else _LETTER, at + 1


_NAMES = frozenset({"log", "exp", "min", "max", "tanh", "det", "cos", "sin", "ln"})


def _in_parts(program: Program, direction: int, max_width: float, smoothed: bool) -> tuple[str, list[tuple[str, str]]]:
    """LaTeX of the formula with its widest parts named, and the parts in the order one meets them."""
    parts: dict[str, str] = {}
    while _widest_term(to_latex(program, smoothed=smoothed)) > max_width:
        widths = {
            index: estimated_width(to_latex(program.subprogram(index), smoothed=smoothed))
            for index, node in enumerate(program.nodes)
            if index and isinstance(node, Primitive)
        }
        fitting = {i: w for i, w in widths.items() if 4.0 < w <= max_width - 3.0}
        if not fitting:
            break
        chosen = program.subprogram(max(fitting, key=lambda i: fitting[i]))
        symbol = f"{'s' if chosen.type.level is Level.NETWORK else 'u'}_{{{chr(_UNNUMBERED + len(parts))}}}"
        parts[symbol] = to_latex(chosen, smoothed=smoothed)
        program = _replaced(program, chosen, Statistic(Quantity(symbol, chosen.type, symbol, "part of the formula")))
    return _numbered(to_latex(program, direction=direction, smoothed=smoothed), parts)


_UNNUMBERED = 0xE000
"""Characters for private use, which stand for the numbers of parts until their order is known."""
_PART = re.compile(r"[su]_\{[\ue000-\uf8ff]\}")


def _numbered(latex: str, parts: dict[str, str]) -> tuple[str, list[tuple[str, str]]]:
    """The formula and its parts, these numbered and ordered as they are met, the formula first."""
    met = list(dict.fromkeys(_PART.findall(latex)))
    for symbol in met:  # which grows: what a part names comes after it
        met += dict.fromkeys(inner for inner in _PART.findall(parts[symbol]) if inner not in met)
    names = {symbol: f"{symbol[0]}_{{{number}}}" for number, symbol in enumerate(met, start=1)}

    def named(text: str) -> str:
        return _PART.sub(lambda found: names[found[0]], text)

    return named(latex), [(names[symbol], named(parts[symbol])) for symbol in met]


def _terms(latex: str) -> list[str]:
    """The summands of a line with their signs; one if it is no sum."""
    depth, terms = 0, [""]
    for token in _TOKEN.findall(latex):
        depth += (token in ("{", "(", r"\left")) - (token in ("}", ")", r"\right"))
        if depth == 0 and token in "+-" and terms[-1].strip() and terms[-1].rstrip()[-1] not in "=+-":
            terms.append("")
        terms[-1] += token
    return [term.strip() for term in terms]


def _widest_term(latex: str) -> float:
    return max(map(estimated_width, _terms(latex)))


def _broken(latex: str, max_width: float) -> list[str]:
    """A sum in lines of as many terms as fit."""
    lines: list[str] = []
    for term in _terms(latex):
        if lines and estimated_width(f"{lines[-1]} {term}") <= max_width:
            lines[-1] += f" {term}"
        else:
            lines.append(term)
    return lines


def _replaced(program: Program, part: Program, leaf: Statistic) -> Program:
    """`program` with every occurrence of `part` replaced by `leaf`."""
    nodes: list[Any] = []
    index = 0
    while index < program.size:
        end = program.spans[index]
        if program.nodes[index:end] == part.nodes:
            nodes.append(leaf)
            index = end
        else:
            nodes.append(program.nodes[index])
            index += 1
    return Program(tuple(nodes))

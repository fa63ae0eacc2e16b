"""Programs: expressions of the language as values, with their text, stored, SymPy and LaTeX forms."""

from eznas.programs.cost import cost, probe_passes
from eznas.programs.invalid import FailureKind, Invalid
from eznas.programs.program import MAX_HEIGHT, MAX_SIZE, Constant, Node, Program, arity, fold
from eznas.programs.rendering import directed_infix, directed_sympy, to_infix, to_latex, to_sympy
from eznas.programs.storage import directed_from_json, from_json, from_tree, load, load_directed, to_json, to_tree
from eznas.programs.text import parse
from eznas.programs.turning import directed, turned

__all__ = [
    "MAX_HEIGHT", "MAX_SIZE", "Constant", "FailureKind", "Invalid", "Node", "Program", "arity", "cost", "directed",
    "directed_from_json", "directed_infix", "directed_sympy", "fold", "from_json", "from_tree", "load", "load_directed",
    "parse", "probe_passes", "to_infix", "to_json", "to_latex", "to_sympy", "to_tree", "turned",
]  # fmt: skip

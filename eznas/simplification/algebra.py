"""Algebra on programs: to SymPy, simplified, and back to a typed program.

A program is cut into *regions*: connected elementwise operators, which act entry by entry on values of one type, so
that the algebra of real numbers holds. Everything else (statistics, reductions, kernels, aggregations) is a symbol in
the region above it; equal sub-programs are equal symbols. Regions are simplified from the leaves to the root. The way
back recognises the closed form of each operator and refuses whatever the language cannot say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import sympy

from eznas.errors import ProgramError
from eznas.programs import Constant, Node, Program, fold
from eznas.simplification.rules import merge
from primitives import PRIMITIVE_SETS, PRIMITIVES, Level, Primitive, Sort, Statistic, Type
from primitives.elementwise import DIVISION_EPSILON, LOG_EPSILON

Nodes = tuple[Node, ...]

MAX_ROUNDS = 4
"""Most passes of rules and algebra over a program; each must make it smaller."""


class Inexpressible(Exception):
    """A formula says something that the language cannot."""


@dataclass(frozen=True, slots=True)
class Rewriting:
    """What algebra made of a program.

    Attributes:
        program: the smallest equal program found; the one given if there is none smaller.
        refused: why a shorter formula could not be said in the language; empty if none was refused.
    """

    program: Program
    refused: str


def rewrite(program: Program) -> Rewriting:
    """The smallest equal program that the rules and SymPy find. Takes as long as it takes: set a deadline outside."""
    words = vocabulary(program)
    best, refused = program, ""
    for _ in range(MAX_ROUNDS):
        regions = _Regions(words)
        candidate = Program(regions.simplified(merge(best, words)))
        candidate = merge(candidate, words)
        refused = regions.refused
        if candidate.size >= best.size or candidate.type != program.type:
            break
        best = candidate
    return Rewriting(best, refused)


def vocabulary(program: Program) -> frozenset[str]:
    """Names of the operators a simplification may use: those of every primitive set the program could come from."""
    used = {n.name for n in program.nodes if isinstance(n, Primitive)}
    words = set(used)
    for primitive_set in PRIMITIVE_SETS.values():
        names = {p.name for p in (*primitive_set.primitives, *primitive_set.ending)}
        if used <= names:
            words |= names
    return frozenset(words)


@dataclass(frozen=True, slots=True)
class _Term:
    """A sub-program during the pass: as it stands, and as two formulas of its region.

    In the first, operators that claim to be `guarded` have their closed forms; in the second they are opaque.
    """

    nodes: Nodes
    forms: tuple[sympy.Expr, ...]
    size: int  # nodes, with symbols of one node each


@dataclass(slots=True)
class _Regions:
    """One pass over a program, region by region.

    Attributes:
        words: operators that may be used.
        atoms: symbol -> the sub-program it stands for.
        refused: why a shorter formula was not expressible, the last such reason.
    """

    words: frozenset[str]
    atoms: dict[sympy.Symbol, Program] = field(default_factory=dict)
    refused: str = ""

    def simplified(self, program: Program) -> Nodes:
        """The program with every region as small as found."""
        return self._close(fold(program, leaf=self._leaf, branch=self._branch))

    def _leaf(self, node: Statistic | Constant) -> _Term:
        if isinstance(node, Constant):
            return _Term((node,), (_exact(node.value),) * 2, 1)
        return self._atom((node,))

    def _branch(self, operator: Primitive, arguments: tuple[_Term, ...]) -> _Term:
        if operator.symbolic is None:
            return self._atom((operator, *(node for a in arguments for node in self._close(a))))
        opened = operator.symbolic(*(a.forms[0] for a in arguments))
        inner = tuple(a.forms[1] for a in arguments)
        guarded = _opaque(operator.name)(*inner) if operator.guarded else operator.symbolic(*inner)
        return _Term(
            (operator, *(node for a in arguments for node in a.nodes)),
            (opened, guarded),
            1 + sum(a.size for a in arguments),
        )

    def _atom(self, nodes: Nodes) -> _Term:
        program = Program(nodes)
        root = nodes[0]
        is_non_negative = isinstance(root, Primitive | Statistic) and root.non_negative
        symbol = sympy.Symbol(f"s_{program.digest}", real=True, nonnegative=True if is_non_negative else None)
        self.atoms.setdefault(symbol, program)
        return _Term(nodes, (symbol, symbol), 1)

    def _close(self, term: _Term) -> Nodes:
        """The smallest program found for a finished region."""
        if term.size == 1:
            return term.nodes
        original = Program(term.nodes)
        found = [original]
        for form in term.forms:
            for formula in _alternatives(form):
                try:
                    program = Program(_Translator(self.atoms, original.type, self.words).nodes(formula))
                except (Inexpressible, ProgramError) as error:
                    if sum(1 for _ in sympy.preorder_traversal(formula)) < term.size:
                        self.refused = str(error)
                    continue
                if program.type == original.type:
                    found.append(program)
        return min(found, key=lambda p: (p.size, p is not original, p.text)).nodes


def _alternatives(form: sympy.Expr) -> Iterator[sympy.Expr]:
    """The formula as SymPy builds it, and shorter ways to write it, each once."""
    seen: set[sympy.Expr] = set()
    ways: Sequence[Callable[[sympy.Expr], sympy.Expr]] = (
        lambda e: e, sympy.simplify, sympy.together, sympy.cancel, sympy.factor, sympy.expand,
    )  # fmt: skip
    for way in ways:
        try:
            formula = way(form)
        except (sympy.PolynomialError, NotImplementedError, ValueError, TypeError, AttributeError):
            continue  # this way does not apply to such a formula
        if isinstance(formula, sympy.Expr) and formula not in seen:
            seen.add(formula)
            yield formula


def _exact(value: float) -> sympy.Number:
    """A constant as SymPy number; integers as such, for 1.0 x is not x to SymPy."""
    return sympy.Integer(int(value)) if value.is_integer() and abs(value) < 2**53 else sympy.Float(value)


def _opaque(name: str) -> sympy.Function:
    return sympy.Function(name, real=True)


@dataclass(slots=True)
class _Translator:
    """From a SymPy formula back to nodes of one region.

    Attributes:
        atoms: symbol -> the sub-program it stands for.
        type: type of every value in the region; only scalars may be constants.
        words: operators that may be used.
    """

    atoms: Mapping[sympy.Symbol, Program]
    type: Type
    words: frozenset[str]

    def nodes(self, formula: sympy.Expr) -> Nodes:
        """Prefix nodes of a formula.

        Raises:
            Inexpressible: naming the part that the language cannot say.
        """
        if formula in self.atoms:
            return self.atoms[formula].nodes
        if formula.is_number:
            return self._number(formula)
        match formula:
            case sympy.Add():
                return self._sum(formula)
            case sympy.Mul():
                return self._product(formula)
            case sympy.Pow():
                return self._power(formula.base, formula.exp)
            case sympy.exp():
                return self._exponential(formula.args[0])
            case sympy.log():
                return self._logarithm(formula.args[0])
            case sympy.Max() | sympy.Min():
                return self._extreme(formula)
            case sympy.Heaviside() if formula.args[1] == 0:
                return self._apply("heaviside", formula.args[0])
        names: dict[type[sympy.Expr], str] = {sympy.Abs: "abs", sympy.sign: "sign", sympy.tanh: "tanh"}
        name = names.get(formula.func, getattr(formula.func, "__name__", ""))
        if formula.func in names or (name in PRIMITIVES and PRIMITIVES[name].guarded):
            return self._apply(name, *formula.args)
        raise Inexpressible(f"The language has no word for {formula.func}")

    def _apply(self, name: str, *arguments: sympy.Expr) -> Nodes:
        return self._combine(name, *(self.nodes(a) for a in arguments))

    def _combine(self, name: str, *arguments: Nodes) -> Nodes:
        if name not in self.words:
            raise Inexpressible(f"The operator {name!r} is not in the primitive set of the program")
        return (PRIMITIVES[name], *(node for argument in arguments for node in argument))

    def _number(self, formula: sympy.Expr) -> Nodes:
        if self.type.sort is not Sort.SCALAR or "add" not in self.words:
            raise Inexpressible(f"There are no constants of type {self.type}")
        if not formula.is_real or not math.isfinite(value := float(formula)):
            raise Inexpressible(f"The number {formula} is not a finite real one")
        level = Level.LAYER if self.type.level is Level.LAYER else Level.NETWORK
        return (Constant(value, level),)

    def _sum(self, formula: sympy.Add) -> Nodes:
        logistic = _logistic_argument(formula)
        if logistic is not None:
            return self._apply("sigmoid", logistic)
        terms = sorted(formula.args, key=sympy.default_sort_key)
        negative = [-t for t in terms if t.could_extract_minus_sign()]
        positive = [t for t in terms if not t.could_extract_minus_sign()]
        if not positive:
            return self._combine("negate", self._chain("add", negative))
        total = self._chain("add", positive)
        return self._combine("subtract", total, self._chain("add", negative)) if negative else total

    def _chain(self, name: str, formulas: Sequence[sympy.Expr]) -> Nodes:
        """Several arguments of a commutative operator of two."""
        first, *others = (self.nodes(f) for f in formulas)
        for other in others:
            first = self._combine(name, first, other)
        return first

    def _product(self, formula: sympy.Mul) -> Nodes:
        quotient = _quotient(formula)
        if quotient is not None:
            return self._apply("divide", *quotient)
        coefficient, rest = formula.as_coeff_Mul()
        if float(coefficient) == -1:
            return self._combine("negate", self.nodes(rest))
        if float(coefficient) != 1:
            return self._multiple(coefficient, rest)
        if coefficient is not sympy.S.One:  # the float 1.0
            return self.nodes(rest)
        squares = [f.base for f in formula.args if isinstance(f, sympy.Pow) and f.exp == 2]
        others = [f for f in formula.args if not (isinstance(f, sympy.Pow) and f.exp == 2)]
        if len(squares) < 2:
            return self._chain("multiply", sorted(formula.args, key=sympy.default_sort_key))
        square = self._combine("square", self._chain("multiply", squares))
        return self._combine("multiply", self._chain("multiply", others), square) if others else square

    def _multiple(self, coefficient: sympy.Number, rest: sympy.Expr) -> Nodes:
        """A number times something; without constants only doubling can be said."""
        if self.type.sort is Sort.SCALAR and "multiply" in self.words:
            return self._combine("multiply", self._number(coefficient), self.nodes(rest))
        if coefficient == 2:
            return self._apply("add", rest, rest)
        if coefficient == -2:
            return self._combine("negate", self._apply("add", rest, rest))
        raise Inexpressible(f"There are no constants of type {self.type}, so {coefficient} times it cannot be said")

    def _power(self, base: sympy.Expr, exponent: sympy.Expr) -> Nodes:
        if exponent == sympy.Rational(1, 2) and (isinstance(base, sympy.Abs) or base.is_nonnegative):
            return self._apply("sqrt", base.args[0] if isinstance(base, sympy.Abs) else base)
        if exponent.is_Integer and exponent.is_positive:
            if exponent % 2:
                return self._apply("multiply", base, base ** (exponent - 1))
            half = self.nodes(base) if exponent == 2 else self._power(base, exponent / 2)
            return self._combine("square", half)
        raise Inexpressible(f"The language has no power {exponent}")

    def _exponential(self, argument: sympy.Expr) -> Nodes:
        coefficient, rest = argument.as_coeff_Mul()
        if coefficient.is_Integer and coefficient > 0 and coefficient % 2 == 0:
            return self._combine("square", self._exponential(coefficient / 2 * rest))
        return self._apply("exp", argument)

    def _logarithm(self, argument: sympy.Expr) -> Nodes:
        if LOG_EPSILON in sympy.Add.make_args(argument):
            inner = argument - LOG_EPSILON
            if isinstance(inner, sympy.Abs):
                return self._apply("log", inner.args[0])
            if inner.is_nonnegative:
                return self._apply("log", inner)
        raise Inexpressible("The language has only ln(|x| + LOG_FLOOR)")

    def _extreme(self, formula: sympy.Max | sympy.Min) -> Nodes:
        arguments = sorted(formula.args, key=sympy.default_sort_key)
        is_max = isinstance(formula, sympy.Max)
        if len(arguments) == 2 and arguments[0] == -arguments[1]:
            magnitude = self._apply("abs", max(arguments, key=lambda a: not a.could_extract_minus_sign()))
            return magnitude if is_max else self._combine("negate", magnitude)
        if is_max and 0 in arguments:
            return self._combine("relu", self._chain("maximum", [a for a in arguments if a != 0]))
        if not is_max and 0 in arguments and self.type.sort is not Sort.SCALAR:
            return self._combine("negate", self._apply("relu", sympy.Max(*(-a for a in arguments if a != 0))))
        return self._chain("maximum" if is_max else "minimum", arguments)


def _logistic_argument(formula: sympy.Add) -> sympy.Expr | None:
    """x if the formula is (1 + tanh(x/2)) / 2."""
    inner = sympy.expand(2 * formula - 1)
    return sympy.expand(2 * inner.args[0]) if isinstance(inner, sympy.tanh) else None


def _quotient(formula: sympy.Mul) -> tuple[sympy.Expr, sympy.Expr] | None:
    """(x, y) if the formula is x y / (y² + DIVISION_EPSILON²)."""
    for factor in formula.args:
        if not (isinstance(factor, sympy.Pow) and factor.exp == -1 and factor.base.has(DIVISION_EPSILON)):
            continue
        squared = sympy.factor(factor.base - DIVISION_EPSILON**2)
        if squared.has(DIVISION_EPSILON):
            continue
        y = squared.base if isinstance(squared, sympy.Pow) and squared.exp == 2 else sympy.sqrt(squared)
        y = y.args[0] if isinstance(y, sympy.Abs) else y
        x = sympy.cancel(formula / factor / y)
        if sympy.denom(x) == 1 and not x.has(sympy.zoo, sympy.nan):
            return x, y
    return None

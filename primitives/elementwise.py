"""Operators that act entry by entry, on tensors, kernels and scalars alike."""

from __future__ import annotations

import sympy
import torch
from jaxtyping import Float
from torch import Tensor

from primitives.aspects import Aspect
from primitives.numerics import DIVISION_FLOOR, LOG_FLOOR, is_above
from primitives.primitive import primitive
from primitives.types import ELEMENTWISE, TYPED

_HALF = sympy.Rational(1, 2)
LOG_EPSILON = sympy.Symbol("epsilon_log", positive=True)
"""Stands for `LOG_FLOOR` in SymPy forms, so that formulas stay readable and simplification exact."""
DIVISION_EPSILON = sympy.Symbol("epsilon_div", positive=True)
"""Stands for `DIVISION_FLOOR` in SymPy forms."""


@primitive(
    "add", (TYPED, TYPED), TYPED,
    symbolic=lambda x, y: x + y, latex="{0} + {1}", precedence=10, commutative=True,
)  # fmt: skip
def add(x: Float[Tensor, "n *s"], y: Float[Tensor, "n *s"]) -> Float[Tensor, "n *s"]:
    """Sum."""
    return x + y


@primitive(
    "subtract", (TYPED, TYPED), TYPED,
    symbolic=lambda x, y: x - y, latex="{0} - {1}", precedence=11,
)  # fmt: skip
def subtract(x: Float[Tensor, "n *s"], y: Float[Tensor, "n *s"]) -> Float[Tensor, "n *s"]:
    """Difference."""
    return x - y


@primitive(
    "multiply", (TYPED, TYPED), TYPED,
    symbolic=lambda x, y: x * y, latex=r"{0} \cdot {1}", precedence=20, commutative=True,
)  # fmt: skip
def multiply(x: Float[Tensor, "n *s"], y: Float[Tensor, "n *s"]) -> Float[Tensor, "n *s"]:
    """Product, entry by entry."""
    return x * y


@primitive(
    "divide", (TYPED, TYPED), TYPED,
    symbolic=lambda x, y: x * y / (y**2 + DIVISION_EPSILON**2), latex=r"\frac{{{0}}}{{{1}}}", passes=3.0,
    guarded=True,
)  # fmt: skip
def divide(x: Float[Tensor, "n *s"], y: Float[Tensor, "n *s"]) -> Float[Tensor, "n *s"]:
    """Ratio ``x y / (y² + DIVISION_FLOOR²)``: smooth, 0 where ``y`` is 0; finite for ``|y| < 1e18``."""
    return x * (y / (y * y + DIVISION_FLOOR**2))


@primitive(
    "maximum", (TYPED, TYPED), TYPED,
    symbolic=lambda x, y: sympy.Max(x, y), latex=r"\max\left({0}, {1}\right)", commutative=True,
    idempotent=True,
)  # fmt: skip
def maximum(x: Float[Tensor, "n *s"], y: Float[Tensor, "n *s"]) -> Float[Tensor, "n *s"]:
    """The larger of the two; NaN if either is."""
    return torch.maximum(x, y)


@primitive(
    "minimum", (TYPED, TYPED), TYPED,
    symbolic=lambda x, y: sympy.Min(x, y), latex=r"\min\left({0}, {1}\right)", commutative=True,
    idempotent=True,
)  # fmt: skip
def minimum(x: Float[Tensor, "n *s"], y: Float[Tensor, "n *s"]) -> Float[Tensor, "n *s"]:
    """The smaller of the two; NaN if either is."""
    return torch.minimum(x, y)


@primitive(
    "abs", (ELEMENTWISE,), ELEMENTWISE, symbolic=sympy.Abs, latex=r"\left|{0}\right|",
    sees=Aspect.MAGNITUDES, bitwise=True, keeps=Aspect.MAGNITUDES, non_negative=True, power=1.0,
)  # fmt: skip
def absolute(x: Float[Tensor, "n *s"]) -> Float[Tensor, "n *s"]:
    """Magnitude."""
    return x.abs()


@primitive(
    "negate", (ELEMENTWISE,), ELEMENTWISE, symbolic=lambda x: -x, latex="-{0}", precedence=15,
    keeps=Aspect.UP_TO_SIGN, involution=True,
)  # fmt: skip
def negate(x: Float[Tensor, "n *s"]) -> Float[Tensor, "n *s"]:
    """Opposite."""
    return -x


@primitive(
    "square", (ELEMENTWISE,), ELEMENTWISE, symbolic=lambda x: x**2, latex="{0}^{{2}}", precedence=30,
    sees=Aspect.MAGNITUDES, bitwise=True, non_negative=True, power=2.0,
)  # fmt: skip
def square(x: Float[Tensor, "n *s"]) -> Float[Tensor, "n *s"]:
    """Second power; finite for ``|x| < 1.8e19`` in float32."""
    return x * x


@primitive(
    "sqrt", (ELEMENTWISE,), ELEMENTWISE, symbolic=lambda x: sympy.sqrt(sympy.Abs(x)),
    latex=r"\sqrt{{\left|{0}\right|}}", sees=Aspect.MAGNITUDES, bitwise=True, non_negative=True, power=0.5,
)  # fmt: skip
def sqrt(x: Float[Tensor, "n *s"]) -> Float[Tensor, "n *s"]:
    """Square root of the magnitude."""
    return x.abs().sqrt()


@primitive(
    "log", (ELEMENTWISE,), ELEMENTWISE,
    symbolic=lambda x: sympy.log(sympy.Abs(x) + LOG_EPSILON), latex=r"\ln\left|{0}\right|", passes=4.0,
    sees=Aspect.MAGNITUDES, bitwise=True, guarded=True,
)  # fmt: skip
def log(x: Float[Tensor, "n *s"]) -> Float[Tensor, "n *s"]:
    """``ln(|x| + LOG_FLOOR)``: even in x, -27.6 at 0."""
    return torch.log(x.abs() + LOG_FLOOR)


@primitive(
    "log_one_plus", (ELEMENTWISE,), ELEMENTWISE,
    symbolic=lambda x: sympy.log(1 + sympy.Abs(x)), latex=r"\ln\left(1 + \left|{0}\right|\right)", passes=4.0,
    sees=Aspect.MAGNITUDES, bitwise=True, non_negative=True,
)  # fmt: skip
def log_one_plus(x: Float[Tensor, "n *s"]) -> Float[Tensor, "n *s"]:
    """``ln(1 + |x|)``: never below 0, so that a sum of such logarithms cannot change its direction."""
    return torch.log1p(x.abs())


@primitive(
    "exp", (ELEMENTWISE,), ELEMENTWISE, symbolic=sympy.exp, latex=r"\exp\left({0}\right)", passes=4.0,
    non_negative=True,
)  # fmt: skip
def exp(x: Float[Tensor, "n *s"]) -> Float[Tensor, "n *s"]:
    """Exponential; finite for ``x < 88`` in float32."""
    return x.exp()


@primitive(
    "sigmoid", (ELEMENTWISE,), ELEMENTWISE,
    symbolic=lambda x: _HALF * (1 + sympy.tanh(x * _HALF)), latex=r"\sigma\left({0}\right)", passes=6.0,
    non_negative=True, guarded=True,
)  # fmt: skip
def sigmoid(x: Float[Tensor, "n *s"]) -> Float[Tensor, "n *s"]:
    """Logistic function ``1 / (1 + exp(-x))``, written by tanh so that every entry is rounded alike."""
    return 0.5 * (1.0 + torch.tanh(x * 0.5))


@primitive("tanh", (ELEMENTWISE,), ELEMENTWISE, symbolic=sympy.tanh, latex=r"\tanh\left({0}\right)", passes=5.0)
def tanh(x: Float[Tensor, "n *s"]) -> Float[Tensor, "n *s"]:
    """Hyperbolic tangent."""
    return x.tanh()


@primitive(
    "relu", (ELEMENTWISE,), ELEMENTWISE, symbolic=lambda x: sympy.Max(x, 0), latex=r"\left[{0}\right]_+",
    sees=Aspect.POSITIVE_PARTS, bitwise=True, keeps=Aspect.POSITIVE_PARTS, non_negative=True,
)  # fmt: skip
def relu(x: Float[Tensor, "n *s"]) -> Float[Tensor, "n *s"]:
    """Positive part."""
    return x.relu()


@primitive(
    "sign", (ELEMENTWISE,), ELEMENTWISE, symbolic=sympy.sign, latex=r"\mathrm{{sgn}}\left({0}\right)",
    sees=Aspect.SIGNS, bitwise=True, keeps=Aspect.SIGNS,
)  # fmt: skip
def sign(x: Float[Tensor, "n *s"]) -> Float[Tensor, "n *s"]:
    """-1, 0 or 1; NaN gives 0, as in torch."""
    return x.sign()


@primitive(
    "heaviside", (ELEMENTWISE,), ELEMENTWISE,
    symbolic=lambda x: sympy.Heaviside(x, 0), latex=r"\mathbf{{1}}\left[{0} > 0\right]",
    sees=Aspect.POSITIVES, bitwise=True, keeps=Aspect.POSITIVES, non_negative=True,
)  # fmt: skip
def heaviside(x: Float[Tensor, "n *s"]) -> Float[Tensor, "n *s"]:
    """1 where positive, else 0."""
    return is_above(x)


ELEMENTWISE_OPERATORS = (
    add, subtract, multiply, divide, maximum, minimum,
    absolute, negate, square, sqrt, log, exp, sigmoid, tanh, relu, sign, heaviside,
)  # fmt: skip
SCALE_OPERATORS = (log_one_plus,)

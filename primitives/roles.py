"""Operators that leave out layers: of one role, or wherever a number of the layer says so.

A layer that is left out has the value 0. So sums over layers leave it out, and a network that has no layer of a role
sums to 0; the mean over the layers of a role is the sum of `only` over them, divided by their number:
``(divide (sum_layers (only (mean weight) is_depthwise)) (sum_layers is_depthwise))``, 0 if there are none. Other
aggregations see the 0.
"""

from __future__ import annotations

import sympy
import torch
from jaxtyping import Float
from torch import Tensor

from primitives.numerics import per_item
from primitives.primitive import primitive
from primitives.types import LAYER_SCALAR, PER_LAYER


@primitive(
    "only", (PER_LAYER, LAYER_SCALAR), PER_LAYER,
    symbolic=lambda x, where: x * sympy.Heaviside(where, 0), latex=r"\left[{0}\right]_{{{1} > 0}}",
)  # fmt: skip
def only(x: Float[Tensor, "n *s"], where: Float[Tensor, " n"]) -> Float[Tensor, "n *s"]:
    """The value of the layers where another number is above 0, whatever the value elsewhere; 0 elsewhere."""
    return torch.where(per_item(where, x) > 0, x, 0.0)


@primitive(
    "without", (PER_LAYER, LAYER_SCALAR), PER_LAYER,
    symbolic=lambda x, where: x * (1 - sympy.Heaviside(where, 0)), latex=r"\left[{0}\right]_{{{1} \leq 0}}",
)  # fmt: skip
def without(x: Float[Tensor, "n *s"], where: Float[Tensor, " n"]) -> Float[Tensor, "n *s"]:
    """0 for the layers where another number is above 0, whatever their value; the value of the others."""
    return torch.where(per_item(where, x) > 0, 0.0, x)


ROLE_OPERATORS = (only, without)

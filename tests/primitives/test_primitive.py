"""A declaration that contradicts itself is refused, and claims about sight and keeping make the algebra."""

from __future__ import annotations

from typing import Any

import pytest

from primitives import LAYER_SCALAR, PRIMITIVES, Aspect, primitive
from primitives.elementwise import absolute, negate
from primitives.reductions import mean
from primitives.types import DYNAMIC, ELEMENTWISE, TENSOR, TYPED, ScalarOf


@pytest.mark.parametrize(
    ("inputs", "output", "claims", "message"),
    [
        ((TYPED, TYPED), TYPED, {"keeps": Aspect.SIGNS}, "claims 'keeps', which needs a result of the type"),
        ((TENSOR,), ScalarOf(TENSOR), {"keeps": Aspect.SIGNS}, "claims 'keeps', which needs"),
        ((DYNAMIC,), DYNAMIC, {"keeps": Aspect.SHAPE}, "claims 'keeps', which needs"),
        ((TENSOR,), ScalarOf(TENSOR), {"involution": True}, "claims 'involution', which needs a result of the type"),
        ((TENSOR,), ScalarOf(TENSOR), {"power": 2.0}, "claims 'power', which needs a result of the type"),
        ((ELEMENTWISE,), ELEMENTWISE, {"idempotent": True}, "claims 'idempotent', which needs two arguments"),
        ((ELEMENTWISE,), ELEMENTWISE, {"commutative": True}, "claims 'commutative', which needs two arguments"),
        ((TYPED, TYPED), TYPED, {"merges": (mean, absolute)}, "claims 'merges', which needs one argument"),
        ((ELEMENTWISE,), ELEMENTWISE, {"guarded": True}, "claims 'guarded', which needs a SymPy form"),
        ((ELEMENTWISE,), ELEMENTWISE, {"bitwise": True}, "claims 'bitwise', which needs to see less than the values"),
    ],
)
def test_a_claim_that_the_signature_contradicts_is_refused(
    inputs: Any, output: Any, claims: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^Primitive 'own' {message}.*; drop the claim$"):
        primitive("own", inputs, output, latex="{0}", **claims)(lambda *arguments: arguments[0])


def test_a_result_of_the_type_of_the_argument_keeps_at_least_the_shape() -> None:
    assert PRIMITIVES["exp"].keeps is Aspect.SHAPE
    assert PRIMITIVES["standardise"].keeps is Aspect.SHAPE
    assert PRIMITIVES["mean"].keeps is None
    assert PRIMITIVES["determinant"].keeps is None, "a value of unknown shape may have changed it"
    assert PRIMITIVES["add"].keeps is None, "which of the two?"


@pytest.mark.parametrize(
    ("outer", "inner", "exactly", "up_to_rounding"),
    [
        ("mean_abs", "abs", True, True),
        ("mean_abs", "negate", True, True),
        ("mean_abs", "sign", False, False),
        ("mean_abs", "tanh", False, False),
        ("frobenius_norm", "relu", False, False),
        ("relu", "relu", True, True),
        ("relu", "heaviside", False, False),
        ("sign", "sign", True, True),
        ("sign", "relu", False, False),
        ("heaviside", "relu", True, True),
        ("heaviside", "sign", True, True),
        ("agreement_kernel", "heaviside", True, True),
        ("row_share_dead", "negate", True, True),
        ("row_share_dead", "sign", False, True),  # of NaN it makes a zero
        ("row_share_dead", "relu", False, False),
        ("standard_deviation", "negate", False, True),
        ("standard_deviation", "abs", False, False),
        ("numel", "softmax", False, True),
        ("numel", "determinant", False, False),
        ("mean", "negate", False, False),
    ],
)
def test_an_operator_ignores_what_keeps_all_that_it_sees(
    outer: str, inner: str, exactly: bool, up_to_rounding: bool
) -> None:
    assert PRIMITIVES[outer].ignores(PRIMITIVES[inner], exactly=True) is exactly
    assert PRIMITIVES[outer].ignores(PRIMITIVES[inner], exactly=False) is up_to_rounding


def test_what_is_the_identity_above_zero_follows_from_other_claims() -> None:
    assert {p.name for p in PRIMITIVES.values() if p.is_identity_above_zero} == {"abs", "relu"}
    declare = primitive("opposite", (ELEMENTWISE,), ELEMENTWISE, latex="-{0}", keeps=Aspect.MAGNITUDES)
    opposite = declare(lambda x: -x.abs())
    assert not opposite.is_identity_above_zero


def test_an_aspect_follows_from_itself_and_from_the_values() -> None:
    for aspect in Aspect:
        assert aspect.follows_from(aspect, exactly=True)
        assert aspect.follows_from(Aspect.VALUES, exactly=True)
        assert Aspect.SHAPE.follows_from(aspect, exactly=True)
        assert Aspect.VALUES.follows_from(aspect, exactly=False) is (aspect is Aspect.VALUES)


def test_operators_of_one_name_are_equal() -> None:
    twin = primitive("negate", (LAYER_SCALAR,), LAYER_SCALAR, latex="-{0}")(lambda x: -x)
    assert twin == negate
    assert hash(twin) == hash(negate)

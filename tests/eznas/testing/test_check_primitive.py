"""The checks pass an honest operator of one's own and refuse every kind of lie."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from eznas.testing import CHECKS, BrokenPromise, check_primitive
from eznas.testing import primitives as checks
from eznas.testing.values import agrees, hard_value, random_value, redrawn, same_bits
from primitives import LAYER_KERNEL, LAYER_SCALAR, NETWORK_SCALAR, TYPES, Aspect, Layers, Primitive, primitive
from primitives.elementwise import absolute, heaviside, square
from primitives.paper import softmax
from primitives.primitive import ShapeError
from primitives.reductions import mean
from primitives.types import ACTIVATION, DYNAMIC, ELEMENTWISE, KERNEL, TENSOR, TYPED, WITH_CHANNELS, ScalarOf


@primitive("leaky_relu", (ELEMENTWISE,), ELEMENTWISE, latex=r"\mathrm{{leaky}}\left({0}\right)", keeps=Aspect.SIGNS)
def leaky_relu(x: Tensor) -> Tensor:
    """The value, a tenth of it below zero."""
    return torch.where(x < 0, 0.1 * x, x)


@primitive(
    "mean_square", (TENSOR,), ScalarOf(TENSOR), latex=r"\overline{{{0}^2}}",
    sees=Aspect.MAGNITUDES, bitwise=True, non_negative=True, merges=(mean, square),
)  # fmt: skip
def mean_square(x: Tensor) -> Tensor:
    """Mean of the squares of the entries."""
    return x.reshape(x.shape[0], -1).square().mean(dim=1)


@primitive(
    "largest_magnitude_layers", (LAYER_SCALAR,), NETWORK_SCALAR, latex=r"\max_\ell \left|{0}\right|",
    is_aggregation=True, sees=Aspect.MAGNITUDES, bitwise=True,
)  # fmt: skip
def largest_magnitude_layers(x: Tensor, layers: Layers) -> Tensor:
    """Largest magnitude over the layers of each network; NaN for a network without layers."""
    empty = x.new_full((layers.n_networks,), torch.nan)
    return empty.scatter_reduce(0, layers.network, x.abs(), reduce="amax", include_self=False)


@primitive("reciprocal", (ELEMENTWISE,), ELEMENTWISE, symbolic=lambda x: 1 / x, latex=r"\frac{{1}}{{{0}}}")
def reciprocal(x: Tensor) -> Tensor:
    """One over the value; infinite at 0, where its SymPy form has no value."""
    return 1.0 / x


OWN = (leaky_relu, mean_square, largest_magnitude_layers, reciprocal)


@pytest.mark.parametrize("operator", OWN, ids=lambda p: p.name)
def test_an_honest_operator_of_ones_own_passes(operator: Primitive) -> None:
    check_primitive(operator)


def test_an_operator_for_an_untyped_set_need_not_keep_kernels_symmetric() -> None:
    with pytest.raises(BrokenPromise, match=r"^Operator 'softmax' gives a kernel of type .* that is not symmetric"):
        check_primitive(softmax)
    check_primitive(softmax, untyped=True)


def test_a_few_claims_give_an_own_operator_its_algebra() -> None:
    assert heaviside.ignores(leaky_relu, exactly=True)
    assert not mean.ignores(leaky_relu, exactly=False)
    assert mean_square.ignores(absolute, exactly=True)
    assert not mean_square.ignores(leaky_relu, exactly=False)


def unary(function: Callable[[Tensor], Tensor], *, name: str = "liar", **claims: Any) -> Primitive:
    """An operator of one argument of any type, entry by entry."""
    return _declared(function, name, (ELEMENTWISE,), ELEMENTWISE, "f({0})", claims)


def binary(function: Callable[[Tensor, Tensor], Tensor], **claims: Any) -> Primitive:
    """An operator of two arguments of one type."""
    return _declared(function, "liar", (TYPED, TYPED), TYPED, "f({0}, {1})", claims)


def reduction(function: Callable[[Tensor], Tensor], *, of: Any = TENSOR, **claims: Any) -> Primitive:
    """An operator from a tensor to a scalar."""
    return _declared(function, "liar", (of,), ScalarOf(of), "f({0})", claims)


def _declared(
    function: Callable[..., Tensor], name: str, inputs: Any, output: Any, latex: str, claims: dict[str, Any]
) -> Primitive:
    if function.__doc__ is None:
        function.__doc__ = "Lies."
    return primitive(name, inputs, output, **{"latex": latex, **claims})(function)


def entries(x: Tensor) -> Tensor:
    return x.reshape(x.shape[0], -1)


def magnitudes_by_halves(x: Tensor) -> Tensor:
    """Sum of magnitudes, those above and those below zero apart: the same up to rounding whatever the signs."""
    return entries(x).relu().sum(dim=1) + entries(-x).relu().sum(dim=1)


def shuffled(x: Tensor) -> Tensor:
    """Another order of the entries each time."""
    return x + torch.rand(())


LIES: list[tuple[str, Callable[[], Primitive], str]] = [
    ("name", lambda: unary(torch.abs, name="My Abs"), "The name 'My Abs' cannot be written in a program"),
    ("name", lambda: unary(lambda x: x.abs(), name="abs"), "The name 'abs' is taken by another word"),
    ("name", lambda: unary(lambda x: x.abs(), name="weight"), "The name 'weight' is taken by another word"),
    ("latex", lambda: unary(lambda x: x, latex=r"\frac{0}"), "has a LaTeX template that cannot be typeset"),
    ("latex", lambda: unary(lambda x: x, latex="{1}"), "has a LaTeX template that cannot be typeset"),
    ("purity", lambda: unary(lambda x: x.abs_()), "changes its arguments InputActivation@layer"),
    ("purity", lambda: unary(shuffled), "does not give the same result again"),
    ("dtype", lambda: unary(lambda x: x.float()), r"makes torch.float32 on cpu of torch.float64"),
    ("device", lambda: unary(lambda x: x + torch.zeros(x.shape)), "fails for .* on another device, as on a graphics"),
    ("device", lambda: unary(lambda x: torch.from_numpy(x.numpy())), "on another device.*: can't convert"),
    ("device", lambda: unary(lambda x: torch.tensor(x.tolist())), "makes a result on the processor of InputActivation"),
    ("device", lambda: unary(lambda x: x * (1 + (x.device.type != "cpu"))), "makes something else on another device"),
    ("shape", lambda: unary(lambda x: x.unsqueeze(1)), "gives shape .* which is no stack of 10 values of type"),
    ("shape", lambda: unary(lambda x: x.movedim(1, -1) if x.ndim > 2 else x), "which is no stack of 10 values"),
    ("shape", lambda: reduction(lambda x: x.reshape(-1)[:1]), r"gives shape \(1,\) for"),
    (
        "symmetry",
        lambda: _declared(lambda x: x.tril(), "liar", (KERNEL,), KERNEL, "f({0})", {}),
        "gives a kernel of type ChannelKernel@layer that is not symmetric",
    ),
    ("stack", lambda: unary(lambda x: x - x.mean()), "gives another result for a stack than for its layers"),
    ("isolation", lambda: unary(lambda x: x + 0 * x.sum()), "lets a layer of nan change the results of others"),
    ("commutative", lambda: binary(lambda x, y: x - y, commutative=True), "claims to be commutative, but is not"),
    (
        "commutative",
        lambda: _declared(
            lambda x, y: x,
            "liar",
            (ACTIVATION, LAYER_SCALAR),
            LAYER_SCALAR,
            "f",
            {"commutative": True},
        ),
        "claims to be commutative, but argument 1 of 'liar' must be",
    ),
    ("symbolic", lambda: unary(lambda x: x + 1e-6, symbolic=lambda x: x), r"gives .*, but its SymPy form x gives"),
    ("symbolic", lambda: unary(lambda x: x, symbolic=lambda x: 1 / x), "gives 0.0 for .*, but its SymPy form 1/x"),
    ("sees", lambda: unary(lambda x: x.tanh(), sees=Aspect.MAGNITUDES), "claims to see no more than the magnitudes"),
    ("sees", lambda: unary(lambda x: x.abs() + x, sees=Aspect.UP_TO_SIGN), "no more than the values, up to one sign"),
    ("sees", lambda: unary(lambda x: x.abs(), sees=Aspect.POSITIVE_PARTS), "no more than the positive parts"),
    ("sees", lambda: unary(lambda x: x.relu(), sees=Aspect.SIGNS), "no more than the signs"),
    ("sees", lambda: unary(lambda x: x.sign(), sees=Aspect.ZEROS), "no more than which entries are zero"),
    ("sees", lambda: unary(lambda x: x.sign(), sees=Aspect.POSITIVES), "no more than which entries are above zero"),
    ("sees", lambda: reduction(lambda x: entries(x).sum(dim=1), sees=Aspect.SHAPE), "no more than the shape"),
    ("sees", lambda: binary(lambda x, y: x.abs() + y, sees=Aspect.MAGNITUDES), "no more than the magnitudes"),
    (
        "sees",
        lambda: reduction(magnitudes_by_halves, sees=Aspect.MAGNITUDES, bitwise=True),
        "no more than the magnitudes, but sees more",
    ),
    (
        "sees",
        lambda: unary(lambda x: (x.sign() == 0).to(x.dtype), sees=Aspect.ZEROS, bitwise=True),
        "which entries are zero, but sees more",
    ),
    ("keeps", lambda: unary(lambda x: x.abs(), keeps=Aspect.UP_TO_SIGN), "claims to keep the values, up to one sign"),
    ("keeps", lambda: unary(lambda x: 2 * x, keeps=Aspect.MAGNITUDES), "claims to keep the magnitudes of"),
    ("keeps", lambda: unary(lambda x: x.sign(), keeps=Aspect.POSITIVE_PARTS), "claims to keep the positive parts of"),
    ("keeps", lambda: unary(lambda x: x.abs(), keeps=Aspect.SIGNS), "claims to keep the signs"),
    ("keeps", lambda: unary(lambda x: x * x, keeps=Aspect.ZEROS), "claims to keep which entries are zero"),
    ("keeps", lambda: unary(lambda x: -x, keeps=Aspect.POSITIVES), "claims to keep which entries are above zero"),
    (
        "ignored",
        lambda: unary(lambda x: 2 * x, keeps=Aspect.MAGNITUDES),
        "claims to see the magnitudes, which 'liar' claims to keep, but it makes a difference",
    ),
    (
        "ignored",
        lambda: reduction(lambda x: entries(x).sum(dim=1), of=WITH_CHANNELS, sees=Aspect.ZEROS),
        "Operator 'liar' claims to see which entries are zero, which .* claims to keep",
    ),
    ("non_negative", lambda: unary(lambda x: x.tanh(), non_negative=True), "claims never to be below zero, but gives"),
    ("involution", lambda: unary(lambda x: x.abs(), involution=True), "claims to undo itself, but does not"),
    ("involution", lambda: unary(lambda x: 1 / x, involution=True), "claims to undo itself, but does not"),
    ("idempotent", lambda: binary(lambda x, y: x + y, idempotent=True), "claims to give back two equal arguments"),
    ("idempotent", lambda: binary(lambda x, y: (x / 3 + y / 3) * 1.5, idempotent=True), "claims to give back two"),
    ("power", lambda: unary(lambda x: x * x, power=3.0), "claims to be the power 3.0 of the magnitude"),
    ("power", lambda: unary(lambda x: x, power=1.0), "claims to be the power 1.0 of the magnitude"),
    (
        "merges",
        lambda: reduction(lambda x: entries(x).sum(dim=1), merges=(mean, absolute)),
        "claims to be 'mean' after 'abs', but is not",
    ),
    (
        "merges",
        lambda: _declared(lambda x: x, "liar", (LAYER_KERNEL,), LAYER_KERNEL, "f({0})", {"merges": (mean, absolute)}),
        "claims to be 'mean' after 'abs', but no type goes through all three",
    ),
]


@pytest.mark.parametrize(("check", "liar", "message"), LIES)
def test_a_lie_is_found_by_its_check(check: str, liar: Callable[[], Primitive], message: str) -> None:
    with pytest.raises(BrokenPromise, match=message) as caught:
        getattr(checks, f"check_{check}")(liar())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("liar", [liar for check, liar, _ in LIES if check != "symmetry"])
def test_a_lie_is_found_by_all_checks_together(liar: Callable[[], Primitive]) -> None:
    with pytest.raises(BrokenPromise):
        check_primitive(liar())


def test_every_check_has_a_liar() -> None:
    assert {f"check_{check}" for check, _, _ in LIES} == {check.__name__ for check in CHECKS}


def test_what_holds_up_to_rounding_is_no_lie() -> None:
    check_primitive(reduction(magnitudes_by_halves, sees=Aspect.MAGNITUDES, non_negative=True))


def test_a_function_without_a_word_about_it_is_refused() -> None:
    operator = unary(lambda x: x)
    operator.function.__doc__ = None
    with pytest.raises(BrokenPromise, match="'liar' has no docstring"):
        check_primitive(operator)


def test_an_operator_that_fails_is_named_with_what_it_was_given() -> None:
    def fails(x: Tensor) -> Tensor:
        """Fails."""
        raise RuntimeError("no")

    message = "Operator 'liar' fails for InputActivation@layer: RuntimeError: no"
    with pytest.raises(BrokenPromise, match=f"^{re.escape(message)}$"):
        check_primitive(unary(fails))


def test_an_operator_that_takes_nothing_it_says_is_refused() -> None:
    def fussy(x: Tensor, y: Tensor) -> Tensor:
        """Refuses."""
        raise ShapeError("never")

    operator = _declared(fussy, "liar", (ELEMENTWISE, ELEMENTWISE), DYNAMIC, "f", {})
    with pytest.raises(BrokenPromise, match="'liar' takes none of the values its signature allows"):
        check_primitive(operator)


@pytest.mark.parametrize("aspect", Aspect, ids=lambda a: a.name)
@pytest.mark.parametrize("exactly", [False, True])
def test_what_is_drawn_anew_agrees_in_its_aspect_and_in_no_finer_one(aspect: Aspect, exactly: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    for type_ in TYPES:
        x = (hard_value if exactly else random_value)(type_, 12, generator)
        other = redrawn(aspect, type_, x, generator, exactly=exactly)
        for coarser in Aspect:
            if coarser.follows_from(aspect, exactly=exactly):
                assert agrees(coarser, x, other), (type_, coarser)
    if aspect is not Aspect.VALUES:
        assert not same_bits(x, other)
        x = hard_value(DYNAMIC, 12, generator)
        finer = [a for a in Aspect if a is not aspect and aspect.follows_from(a, exactly=True)]
        other = redrawn(aspect, DYNAMIC, x, generator, exactly=True)
        assert not any(agrees(a, x, other) for a in finer)


def test_bits_tell_zeros_apart_but_not_nan() -> None:
    assert same_bits(torch.tensor([torch.nan, 1.0]), -torch.tensor([torch.nan, -1.0]))
    assert not same_bits(torch.tensor([0.0]), torch.tensor([-0.0]))
    assert not same_bits(torch.zeros(2), torch.zeros(3))

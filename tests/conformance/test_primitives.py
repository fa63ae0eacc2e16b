"""What every operator of the language promises, checked over the whole table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.mathtext import MathTextParser
from torch import Tensor

from primitives import (
    DYNAMIC,
    EXTENDED,
    LAYER_STATISTICS,
    PAPER,
    PRIMITIVES,
    STATISTICS,
    Layers,
    Level,
    Primitive,
    ShapeError,
    Sort,
    Type,
)
from primitives.elementwise import DIVISION_EPSILON, LOG_EPSILON
from primitives.numerics import DIVISION_FLOOR, LOG_FLOOR
from primitives.primitive import table
from tests.strategies import SHAPES, random_value

N = 5
LAYERS = Layers(torch.tensor([0, 0, 0, 2, 2]), torch.tensor([0, 1, 2, 0, 1]), 3)
NOT_ALWAYS_FINITE = {
    "abs_log": "negative entries give NaN, as published",
    "kl_divergence": "negative second arguments give NaN, as published",
    "log_determinant": "an exactly singular matrix gives -inf, as published",
    "symmetric_eigen_ratio": "a rank-deficient value divides by an eigenvalue that rounds to 0",
    "eigen_ratio": "a rank-deficient value divides by an eigenvalue that rounds to 0",
}


def over(operators: Iterable[Primitive]) -> pytest.MarkDecorator:
    """One test for each operator, named after it."""
    return pytest.mark.parametrize("operator", list(operators), ids=lambda p: p.name)


every_primitive = over(PRIMITIVES.values())
per_layer_primitives = over(p for p in PRIMITIVES.values() if not p.is_aggregation)
symbolic_primitives = over(p for p in PRIMITIVES.values() if p.symbolic is not None)


def cases(
    operator: Primitive, dtype: torch.dtype = torch.float32
) -> Iterator[tuple[tuple[Type, ...], Type, list[Tensor]]]:
    """Every concrete signature of an operator with ordinary arguments; untyped shapes that do not fit are left out."""
    generator = torch.Generator().manual_seed(7)
    for inputs, output in operator.signature.instances():
        arguments = [random_value(t, N, generator, dtype) for t in inputs]
        if any(t is DYNAMIC for t in (*inputs, output)) or operator in PAPER.primitives:
            try:
                call(operator, arguments)
            except (ShapeError, RuntimeError):
                continue
        yield inputs, output, arguments


def call(operator: Primitive, arguments: list[Tensor], layers: Layers = LAYERS) -> Tensor:
    return operator(*arguments, layers) if operator.is_aggregation else operator(*arguments)


@every_primitive
def test_has_at_least_one_case_and_a_summary(operator: Primitive) -> None:
    assert any(True for _ in cases(operator))
    assert operator.summary.endswith(".") or ";" in operator.summary
    assert len(operator.summary) > 3


@every_primitive
def test_is_pure(operator: Primitive) -> None:
    for _, _, arguments in cases(operator):
        kept = [a.clone() for a in arguments]
        first = call(operator, arguments).clone()
        assert all(torch.equal(a, k) for a, k in zip(arguments, kept, strict=True))
        torch.testing.assert_close(call(operator, arguments), first, rtol=0, atol=0, equal_nan=True)


@every_primitive
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_keeps_dtype_and_device(operator: Primitive, dtype: torch.dtype) -> None:
    for _, _, arguments in cases(operator, dtype):
        result = call(operator, arguments)
        assert result.dtype == dtype
        assert result.device == arguments[0].device


@every_primitive
def test_result_has_the_shape_of_its_type(operator: Primitive) -> None:
    for inputs, output, arguments in cases(operator):
        result = call(operator, arguments)
        n = LAYERS.n_networks if operator.is_aggregation else N
        assert result.shape[0] == n
        if output is not DYNAMIC:
            assert result.ndim == 1 + len(SHAPES[output.sort]), (inputs, output)
        if output.sort in {t.sort for t in inputs} - {Sort.DYNAMIC}:
            assert tuple(result.shape[1:]) == SHAPES[output.sort]


@every_primitive
def test_kernels_are_symmetric(operator: Primitive) -> None:
    for _, output, arguments in cases(operator):
        if output.sort in (Sort.SAMPLE_KERNEL, Sort.CHANNEL_KERNEL):
            result = call(operator, arguments)
            if operator not in PAPER.primitives or operator in EXTENDED.primitives:
                torch.testing.assert_close(result, result.mT, equal_nan=True)


@over(p for p in PRIMITIVES.values() if p.name not in NOT_ALWAYS_FINITE)
def test_is_finite_on_ordinary_input(operator: Primitive) -> None:
    layers = Layers(torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 1, 2, 0, 1]), 2)
    for inputs, _, arguments in cases(operator):
        assert call(operator, arguments, layers).isfinite().all(), inputs


@per_layer_primitives
def test_stack_of_layers_equals_a_loop_over_single_layers(operator: Primitive) -> None:
    for _, _, arguments in cases(operator):
        together = operator(*arguments)
        one_by_one = torch.cat([operator(*(a[i : i + 1] for a in arguments)) for i in range(N)])
        torch.testing.assert_close(together, one_by_one, rtol=0, atol=0, equal_nan=True)


@per_layer_primitives
@pytest.mark.parametrize("hole", [math.nan, math.inf], ids=str)
def test_a_layer_that_is_not_finite_harms_no_other(operator: Primitive, hole: float) -> None:
    for _, _, arguments in cases(operator):
        spoilt = [a.clone() for a in arguments]
        for argument in spoilt:
            argument[2] = hole
        expected, found = operator(*arguments), operator(*spoilt)
        others = [i for i in range(N) if i != 2]
        torch.testing.assert_close(found[others], expected[others], rtol=1e-5, atol=1e-6, equal_nan=True)


@over(p for p in PRIMITIVES.values() if p.commutative)
def test_commutes_if_it_says_so(operator: Primitive) -> None:
    assert operator.arity == 2
    for inputs, _, (x, y) in cases(operator):
        torch.testing.assert_close(operator(x, y), operator(y, x), rtol=1e-6, atol=1e-6, equal_nan=True)
        assert operator.signature.resolve(inputs, name="") == operator.signature.resolve(inputs[::-1], name="")


BOUND = 40.0
numbers = st.floats(-BOUND, BOUND) | st.sampled_from([0.0, 1e-3, -1e-3, 1e-8, -1e-8, 1e-13])


@symbolic_primitives
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_torch_and_sympy_agree(operator: Primitive, data: st.DataObject) -> None:
    values = [data.draw(numbers) for _ in range(operator.arity)]
    symbols = sympy.symbols("x y", real=True)[: operator.arity]
    form = operator.to_symbolic(*symbols)
    exact = dict(zip(symbols, map(sympy.Float, values), strict=True))
    exact |= {LOG_EPSILON: sympy.Float(LOG_FLOOR), DIVISION_EPSILON: sympy.Float(DIVISION_FLOOR)}
    expected = float(form.subs(exact).evalf())
    found = operator(*(torch.tensor([v], dtype=torch.float64) for v in values)).item()
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "template"),
    [(p.name, p.latex.format(*(rf"{{x^{{D}}_{i}}}" for i in range(p.arity)))) for p in PRIMITIVES.values()]
    + [(s.name, s.latex) for s in STATISTICS.values()],
)
def test_latex_typesets(text: str, template: str) -> None:
    width, height, *_ = MathTextParser("path").parse(f"${template}$")
    assert min(width, height) > 0, text


def test_names_say_what_texts_can_spell() -> None:
    for name in (*PRIMITIVES, *STATISTICS):
        assert name == name.lower(), name
        assert not set(name) & set("() @"), name
    assert not set(PRIMITIVES) & set(STATISTICS)


def test_a_table_refuses_two_of_one_name() -> None:
    operator = PRIMITIVES["add"]
    with pytest.raises(ValueError, match="Two primitives are called 'add'; names must be unique"):
        table(operator, operator)


def test_the_sets_are_what_the_paper_and_the_design_say() -> None:
    assert len(PAPER.primitives) == 33
    assert len(LAYER_STATISTICS) == len(PAPER.statistics) == 22
    assert [p.name for p in PAPER.ending] == ["element_mean", "mean_layers"]
    assert not PAPER.constants
    assert EXTENDED.constants
    assert not EXTENDED.ending
    assert all(t.sort is not Sort.DYNAMIC for s in EXTENDED.statistics for t in [s.type])


def test_typed_operators_of_two_arguments_never_take_untyped_values() -> None:
    """Values of unknown shape could broadcast along the axis of layers and mix layers up without an error."""
    for operator in EXTENDED.primitives:
        if operator.arity == 2:
            assert all(DYNAMIC not in inputs for inputs, _ in operator.signature.instances()), operator.name


@pytest.mark.parametrize(
    ("name", "edge", "is_finite"),
    [
        ("divide", (1.0, 0.99e18), True),
        ("divide", (1e10, 1e-10), True),
        ("square", (1.8e19,), True),
        ("square", (1.9e19,), False),
        ("exp", (88.0,), True),
        ("exp", (89.0,), False),
        ("log", (0.0,), True),
        ("log", (3e38,), True),
        ("sigmoid", (-3e38,), True),
        ("invert", (0.0,), False),
        ("log_positive", (-1.0,), True),
        ("abs_log", (-1.0,), False),
    ],
)
def test_is_finite_to_the_edge_of_the_range_it_states(name: str, edge: tuple[float, ...], is_finite: bool) -> None:
    assert PRIMITIVES[name](*(torch.tensor([v]) for v in edge)).isfinite().item() is is_finite


def test_division_is_exact_above_its_floor_and_zero_at_zero() -> None:
    divide = PRIMITIVES["divide"]
    y = torch.tensor([1e-7, 1e-4, 1.0, 1e4, 1e17]) * 1.01
    torch.testing.assert_close(divide(torch.ones_like(y), y), 1 / y, rtol=2e-6, atol=0)
    assert divide(torch.ones(1), torch.zeros(1)).item() == 0.0


@pytest.mark.parametrize("name", ["cosine", "standardise", "correlation_kernel", "filter_correlation"])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6], ids=str)
def test_scale_free_operators_are_scale_free(name: str, scale: float) -> None:
    operator = PRIMITIVES[name]
    for inputs, _, arguments in cases(operator):
        if inputs[0].level is Level.LAYER:
            scaled = [a * scale for a in arguments]
            torch.testing.assert_close(operator(*scaled), operator(*arguments), rtol=1e-4, atol=1e-5)


def unbatched(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda *arguments: torch.stack([function(*of_layer) for of_layer in zip(*arguments, strict=True)])


PLAIN: dict[str, Callable[..., Tensor]] = {
    "mean": lambda x: x.sum() / x.numel(),
    "sum": lambda x: x.sum(),
    "mean_abs": lambda x: x.abs().sum() / x.numel(),
    "standard_deviation": lambda x: ((x - x.mean()) ** 2).mean() ** 0.5,
    "frobenius_norm": lambda x: (x**2).sum() ** 0.5,
    "largest": lambda x: x.max(),
    "share_positive": lambda x: (x > 0).double().mean(),
    "numel": lambda x: torch.tensor(float(x.numel()), dtype=x.dtype),
    "cosine": lambda x, y: (x * y).sum() / ((x**2).sum() * (y**2).sum()) ** 0.5,
    "standardise": lambda x: (x - x.mean()) / ((x - x.mean()) ** 2).mean() ** 0.5,
    "row_share_dead": lambda x: torch.stack([(r == 0).all().double() for r in x]).mean(),
    "gram_kernel": lambda x: torch.stack([torch.stack([(a * b).mean() for b in x]) for a in x]),
    "agreement_kernel": lambda x: torch.stack(
        [torch.stack([((a > 0) == (b > 0)).sum() for b in x]) for a in x]
    ).double(),
    "correlation_kernel": lambda x: torch.corrcoef(x.flatten(1)),
    "channel_covariance": lambda x: torch.cov(x.transpose(0, 1).flatten(1), correction=0),
    "filter_correlation": lambda x: torch.corrcoef(x.flatten(1)),
    "log_abs_determinant": lambda x: torch.linalg.det(x).abs().log(),
    "spectral_score": lambda x: (
        -sum((v.clamp(min=0) + 1e-5).log() + 1 / (v.clamp(min=0) + 1e-5) for v in torch.linalg.eigvalsh(x))
    ),
    "spectral_entropy": lambda x: torch.distributions.Categorical(torch.linalg.eigvalsh(x).abs()).entropy(),
    "condition_number": lambda x: (torch.linalg.svdvals(x)[0] + 1e-5) / (torch.linalg.svdvals(x)[-1] + 1e-5),
    "trace": lambda x: sum(x[i, i] for i in range(len(x))),
    "off_diagonal_mean_abs": lambda x: x[~torch.eye(len(x), dtype=torch.bool)].abs().mean(),
}


@pytest.mark.parametrize("name", PLAIN)
def test_reductions_and_kernels_equal_their_plain_definition(name: str) -> None:
    for _, _, arguments in cases(PRIMITIVES[name], torch.float64):
        if name == "row_share_dead":
            arguments[0][:, 0] = 0.0
        found = PRIMITIVES[name](*arguments)
        torch.testing.assert_close(found, unbatched(PLAIN[name])(*arguments), rtol=1e-7, atol=1e-9)


def test_every_typed_operator_has_a_plain_definition_or_a_symbolic_form() -> None:
    for operator in EXTENDED.primitives:
        assert operator.is_aggregation or operator.symbolic is not None or operator.name in PLAIN, operator.name


@pytest.mark.parametrize("name", ["log_abs_determinant", "spectral_score", "spectral_entropy", "condition_number"])
def test_degenerate_kernels_have_a_stated_outcome(name: str) -> None:
    zero, hole = torch.zeros(1, 3, 3), torch.full((1, 3, 3), torch.nan)
    found = PRIMITIVES[name](torch.cat([zero, hole]))
    expected = {"log_abs_determinant": -math.inf, "spectral_entropy": 0.0, "condition_number": 1.0}
    expected["spectral_score"] = -3 * (math.log(1e-5) + 1e5)
    assert found[0].item() == pytest.approx(expected[name])
    assert found[1].isnan()


def test_a_dead_sample_correlates_with_nothing() -> None:
    x = torch.randn(1, 3, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    x[0, 1] = 0.0
    kernel = PRIMITIVES["correlation_kernel"](x)
    assert torch.equal(kernel[0, 1], torch.zeros(3))

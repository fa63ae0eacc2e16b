"""What every operator of the language promises, checked over the whole table."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor

from eznas.testing import CHECKS
from eznas.testing.primitives import N_LAYERS, cases, check_symmetry
from eznas.testing.values import random_value
from primitives import DYNAMIC, EXTENDED, LAYER_STATISTICS, PAPER, PRIMITIVES, Layers, Level, Primitive, Sort
from primitives.primitive import table

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


UNTYPED = {p for p in PAPER.primitives if p not in EXTENDED.primitives}
"""They may make a kernel of something else, or leave one that is not symmetric."""


@pytest.mark.parametrize(
    ("operator", "check"),
    [
        pytest.param(operator, check, id=f"{operator.name}-{check.__name__.removeprefix('check_')}")
        for operator, check in itertools.product(PRIMITIVES.values(), CHECKS)
        if not (operator in UNTYPED and check is check_symmetry)
    ],
)
def test_keeps_its_promises(operator: Primitive, check: Callable[[Primitive], None]) -> None:
    check(operator)


@over(p for p in PRIMITIVES.values() if p.name not in NOT_ALWAYS_FINITE)
def test_is_finite_on_ordinary_input(operator: Primitive) -> None:
    layers = Layers.of_one_network(N_LAYERS)
    for inputs, _, arguments in cases(operator, random_value):
        last = (layers,) if operator.is_aggregation else ()
        assert operator(*arguments, *last).isfinite().all(), inputs


def test_no_two_operators_merge_the_same_pair() -> None:
    pairs = [operator.merges for operator in PRIMITIVES.values() if operator.merges]
    assert len(set(pairs)) == len(pairs) > 0


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
    for inputs, _, arguments in cases(operator, random_value):
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
def test_reductions_and_kernels_equal_their_plain_definition(name: str, device: str) -> None:
    for _, _, arguments in cases(PRIMITIVES[name], random_value, torch.float64):
        if name == "row_share_dead":
            arguments[0][:, 0] = 0.0
        found = PRIMITIVES[name](*(argument.to(device) for argument in arguments)).cpu()
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

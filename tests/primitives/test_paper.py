"""The paper's operators against plain definitions, one layer at a time, written from its operator table."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from primitives import PAPER, PRIMITIVES, ShapeError

N = 3
SHAPES = [(), (1,), (4,), (3, 3), (3, 4), (2, 3, 3), (1, 4, 4), (3, 4, 5, 5), (5, 4, 3, 3), (4, 1, 1, 1)]


def promoted_matmul(a: Tensor, b: Tensor) -> Tensor:
    return torch.matmul(a.reshape(1) if a.ndim == 0 else a, b.reshape(1) if b.ndim == 0 else b)


def over_matrices(function: Callable[[Tensor], float]) -> Callable[[Tensor], Tensor]:
    def apply(a: Tensor) -> Tensor:
        if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
            raise ShapeError("not square")
        matrices = a.reshape(-1, *a.shape[-2:]).double()
        return torch.tensor([function(m) for m in matrices], dtype=a.dtype).reshape(a.shape[:-2])

    return apply


def log_of_determinant(m: Tensor) -> float:
    eigenvalues = torch.linalg.eigvals(m)
    sign = eigenvalues.prod().real.sign().item()
    return 0.0 if sign < 0 else float(eigenvalues.abs().log().sum())


def z_normalise(a: Tensor) -> Tensor:
    if a.numel() < 2:
        return torch.zeros_like(a)
    mean = a.sum() / a.numel()
    deviation = (((a - mean) ** 2).sum() / (a.numel() - 1)) ** 0.5
    z = (a - mean) / deviation
    return torch.where(z.isnan(), torch.zeros_like(z), z)


def gram(a: Tensor) -> Tensor:
    rows = a.reshape(a.shape[0], -1).double()
    return torch.stack([torch.stack([(r * s).sum() for s in rows]) for r in rows])


def symmetric_ratio(a: Tensor) -> Tensor:
    if a.ndim == 0:
        return torch.zeros_like(a)
    values = torch.linalg.eigvalsh(gram(a) + gram(a).T)
    return (values.max() / values.min()).to(a.dtype)


def general_ratio(a: Tensor) -> Tensor:
    if a.ndim == 0:
        return torch.zeros_like(a)
    values = torch.linalg.eigvals(gram(a))
    return (values[-1].real / values[0].real).to(a.dtype)


def hamming(a: Tensor, b: Tensor) -> Tensor:
    if a.numel() != b.numel():
        raise ShapeError("lengths")
    return torch.tensor(
        float(sum((p > 0) != (q > 0) for p, q in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)))
    )


def kl_divergence(a: Tensor, b: Tensor) -> Tensor:
    a, b = torch.broadcast_tensors(a, b)
    terms = torch.where(b == 0, torch.zeros_like(b), b * (b.log() - a))
    return terms.sum() / (a.shape[0] if a.ndim else 1)


def cosine_similarity(a: Tensor, b: Tensor) -> Tensor:
    if a.ndim == 0 or b.ndim == 0:
        return torch.tensor(0.0)
    a, b = a.reshape(a.shape[0], -1), b.reshape(b.shape[0], -1)
    if a.shape != b.shape:
        raise ShapeError("shapes")
    return sum(((r @ s) / (r.norm() * s.norm()) for r, s in zip(a, b, strict=True)), torch.tensor(0.0))


def softmax(a: Tensor) -> Tensor:
    axis = 0 if a.ndim in (0, 1, 3) else 1
    powers = (a - a.max()).exp()
    return powers / (powers.sum() if a.ndim == 0 else powers.sum(axis, keepdim=True))


DEFINITIONS: dict[str, Callable[..., Tensor]] = {
    "broadcast_add": lambda a, b: a + b,
    "broadcast_multiply": lambda a, b: a * b,
    "matmul": promoted_matmul,
    "less": lambda a, b: (a < b).float(),
    "greater": lambda a, b: (a > b).float(),
    "equal": lambda a, b: (a == b).float(),
    "log_positive": lambda a: torch.where(a <= 0, torch.ones_like(a), a).log(),
    "abs_log": lambda a: torch.where(a == 0, torch.ones_like(a), a).log().abs(),
    "abs": lambda a: torch.where(a < 0, -a, a),
    "square": lambda a: a**2,
    "exp": lambda a: math.e**a,
    "z_normalise": z_normalise,
    "relu": lambda a: a * (a > 0),
    "sign": lambda a: (a > 0).float() - (a < 0).float(),
    "heaviside": lambda a: torch.heaviside(a, torch.zeros(())),
    "invert": lambda a: 1 / a,
    "element_norm": lambda a: (a**2).sum() ** 0.5,
    "determinant": over_matrices(lambda m: float(torch.linalg.eigvals(m).prod().real)),
    "log_determinant": over_matrices(log_of_determinant),
    "symmetric_eigen_ratio": symmetric_ratio,
    "eigen_ratio": general_ratio,
    "element_mean": lambda a: a.sum() / a.numel(),
    "element_mean_abs": lambda a: a.abs().sum() / a.numel(),
    "hamming": hamming,
    "kl_divergence": kl_divergence,
    "cosine_similarity": cosine_similarity,
    "softmax": softmax,
    "sigmoid": lambda a: 1 / (1 + (-a).exp()),
    "ones_like": lambda a: a * 0 + 1,
    "zeros_like": lambda a: a * 0,
    "positive": lambda a: (a > 0).float(),
    "negative": lambda a: (a < 0).float(),
    "element_count": lambda a: torch.tensor(float(a.numel())),
}


def arguments(shapes: tuple[tuple[int, ...], ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(11)
    return [torch.randn((N, *shape), generator=generator) for shape in shapes]


def combinations(arity: int) -> list[tuple[tuple[int, ...], ...]]:
    return [(s,) for s in SHAPES] if arity == 1 else [(s, t) for s in SHAPES for t in SHAPES]


def is_rank_deficient(x: Tensor) -> bool:
    return x.ndim > 1 and x.shape[1] > x[0, 0].numel()


@pytest.mark.parametrize("name", DEFINITIONS)
def test_equals_its_plain_definition_or_fails_with_it(name: str) -> None:
    operator = PRIMITIVES[name]
    for shapes in combinations(operator.arity):
        given = arguments(shapes)
        if name.endswith("eigen_ratio") and is_rank_deficient(given[0]):
            continue  # the smallest eigenvalue is rounding noise, and so is the ratio
        try:
            expected = torch.stack([DEFINITIONS[name](*(a[i] for a in given)) for i in range(N)])
        except (ShapeError, RuntimeError):
            with pytest.raises((ShapeError, RuntimeError)):
                operator(*given)
            continue
        found = operator(*given)
        where = f"{name} of shapes {shapes}"
        torch.testing.assert_close(found, expected, rtol=2e-4, atol=2e-5, equal_nan=True, msg=where)


def test_every_paper_operator_is_defined_here() -> None:
    assert {p.name for p in PAPER.primitives} == set(DEFINITIONS)


def test_log_determinant_of_tiny_and_huge_entries_neither_vanishes_nor_overflows() -> None:
    matrices = torch.eye(16).repeat(3, 1, 1) * torch.tensor([1e-8, 1.0, 1e8])[:, None, None]
    expected = torch.tensor([16 * math.log(1e-8), 0.0, 16 * math.log(1e8)])
    torch.testing.assert_close(PRIMITIVES["log_determinant"](matrices), expected)


def test_log_determinant_of_singular_negative_and_undefined() -> None:
    singular, negative, undefined = (
        torch.zeros(2, 2),
        torch.diag(torch.tensor([1.0, -1.0])),
        torch.full((2, 2), torch.nan),
    )
    found = PRIMITIVES["log_determinant"](torch.stack([singular, negative, undefined]))
    assert found.tolist() == [-math.inf, 0.0, 0.0]


def test_conventions_at_zero() -> None:
    x = torch.tensor([[-1.0, 0.0, 1.0]])
    assert PRIMITIVES["heaviside"](x).tolist() == [[0.0, 0.0, 1.0]]
    assert PRIMITIVES["log_positive"](x).tolist() == [[0.0, 0.0, 0.0]]
    assert PRIMITIVES["abs_log"](x)[0, 1:].tolist() == [0.0, 0.0]
    assert PRIMITIVES["z_normalise"](torch.ones(1, 4)).tolist() == [[0.0] * 4]


@pytest.mark.parametrize(
    ("name", "shapes", "message"),
    [
        (
            "determinant",
            ((3, 4),),
            r"determinant needs square matrices along the last two axes, got \(3, 4\) per layer",
        ),
        ("log_determinant", ((4,),), r"log_determinant needs square matrices along the last two axes, got \(4,\)"),
        ("hamming", ((3,), (4,)), "hamming needs equal numbers of entries, got 3 and 4 per layer"),
        ("cosine_similarity", ((3, 4), (4, 3)), r"cosine_similarity needs equal shapes, got \(3, 4\) and \(4, 3\)"),
        ("broadcast_add", ((3,), (4,)), r"broadcast_add cannot broadcast shapes \(3,\) and \(4,\) per layer"),
        ("matmul", ((3, 4), (3, 4)), r"matmul cannot multiply shapes \(3, 4\) and \(3, 4\) per layer"),
    ],
)
def test_shape_errors_name_operator_and_shapes(name: str, shapes: tuple[tuple[int, ...], ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        PRIMITIVES[name](*arguments(shapes))

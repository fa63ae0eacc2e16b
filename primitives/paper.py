"""The operators of the EZNAS paper in pure form: one type for everything, shapes checked when computed.

Source: EZNAS (Akhauri et al. 2022) and the operator table of its released code, whose 33 registered operators are
listed here by their numbers there. Where an operator of the typed language has the same meaning it is that operator;
where the paper's convention differs it is a separate operator with a name of its own. Two of the released operators
write into their argument; none of these does.

| released number | here | | released number | here |
|---|---|---|---|---|
| 0 sum | broadcast_add | | 20 log_determinant | log_determinant |
| 1 product | broadcast_multiply | | 21 symmetric_eigen_ratio | symmetric_eigen_ratio |
| 2 matmul | matmul | | 22 eigen_ratio | eigen_ratio |
| 3, 4, 5 | less, greater, equal | | 23 normalised sum | element_mean |
| 7 log | log_positive | | 24 mean_abs | element_mean_abs |
| 8 abs_log | abs_log | | 25 hamming | hamming |
| 9, 10, 11 | abs, square, exp | | 26 kl_divergence | kl_divergence |
| 12 z_normalise | z_normalise | | 27 cosine_similarity | cosine_similarity |
| 13, 14, 15 | relu, sign, heaviside | | 28 softmax | softmax |
| 16 invert | invert | | 29 sigmoid | sigmoid |
| 18 frobenius_norm | element_norm | | 30, 31 | ones_like, zeros_like |
| 19 determinant | determinant | | 32, 33, 34 | positive, negative, element_count |
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from primitives.aspects import Aspect
from primitives.elementwise import absolute, exp, heaviside, relu, sigmoid, sign, square
from primitives.numerics import each_alike, flat, general_spectrum, is_above, products, row_products, rows, spectrum
from primitives.primitive import ShapeError, primitive
from primitives.types import ANY_LAYER, ANY_LAYER_TOO, DYNAMIC, ELEMENTWISE, LAYER_SCALAR


def _aligned(x: Tensor, y: Tensor, what: str, n_free: int = 0) -> tuple[Tensor, Tensor]:
    """Both with equal numbers of axes, as broadcasting item by item would align them.

    Args:
        x: (n, ...) value.
        y: (n, ...) value.
        what: the operator and its verb, for the message.
        n_free: trailing axes that need not broadcast.

    Raises:
        ShapeError: if the other axes do not broadcast.
    """
    axes = max(x.ndim, y.ndim)
    aligned_x = x.reshape(x.shape[0], *([1] * (axes - x.ndim)), *x.shape[1:])
    aligned_y = y.reshape(y.shape[0], *([1] * (axes - y.ndim)), *y.shape[1:])
    pairs = zip(aligned_x.shape[: axes - n_free], aligned_y.shape[: axes - n_free], strict=True)
    if any(a != b and 1 not in (a, b) for a, b in pairs):
        raise ShapeError(f"{what} shapes {tuple(x.shape[1:])} and {tuple(y.shape[1:])} per layer")
    return aligned_x, aligned_y


def _empty_for(x: Tensor, y: Tensor) -> Tensor:
    """An empty tensor of the shape and dtype of an elementwise result."""
    return x.new_empty(torch.broadcast_shapes(x.shape, y.shape))


@primitive("broadcast_add", (ANY_LAYER, ANY_LAYER_TOO), DYNAMIC, latex="{0} + {1}", precedence=10, commutative=True)
def broadcast_add(x: Float[Tensor, "n ..."], y: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """Sum with broadcasting.

    Raises:
        ShapeError: if the shapes do not broadcast.
    """
    x, y = _aligned(x, y, "broadcast_add cannot broadcast")
    return x + y


@primitive(
    "broadcast_multiply", (ANY_LAYER, ANY_LAYER_TOO), DYNAMIC, latex=r"{0} \cdot {1}", precedence=20, commutative=True
)
def broadcast_multiply(x: Float[Tensor, "n ..."], y: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """Product with broadcasting.

    Raises:
        ShapeError: if the shapes do not broadcast.
    """
    x, y = _aligned(x, y, "broadcast_multiply cannot broadcast")
    return x * y


@primitive("matmul", (ANY_LAYER, ANY_LAYER_TOO), DYNAMIC, latex=r"{0} \, {1}", precedence=20, passes=10.0)
def matmul(x: Float[Tensor, "n ..."], y: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """Matrix product over the last two axes, the others broadcast; a scalar counts as a vector of one.

    Raises:
        ShapeError: if the shapes do not fit.
    """
    x = x if x.ndim > 1 else x[:, None]
    y = y if y.ndim > 1 else y[:, None]
    row, column = x.ndim == 2, y.ndim == 2
    x = x[:, None, :] if row else x
    y = y[:, :, None] if column else y
    if x.shape[-1] != y.shape[-2]:
        raise ShapeError(f"matmul cannot multiply shapes {tuple(x.shape[1:])} and {tuple(y.shape[1:])} per layer")
    x, y = _aligned(x, y, "matmul cannot multiply", n_free=2)
    product = products(x, y)
    product = product.squeeze(-1) if column else product
    return product.squeeze(-1 if column else -2) if row else product


@primitive(
    "less", (ANY_LAYER, ANY_LAYER_TOO), DYNAMIC, latex=r"\mathbf{{1}}\left[{0} < {1}\right]", non_negative=True
)
def less(x: Float[Tensor, "n ..."], y: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """1 where x < y, else 0, with broadcasting.

    Raises:
        ShapeError: if the shapes do not broadcast.
    """
    x, y = _aligned(x, y, "less cannot compare")
    return torch.lt(x, y, out=_empty_for(x, y))


@primitive(
    "greater", (ANY_LAYER, ANY_LAYER_TOO), DYNAMIC, latex=r"\mathbf{{1}}\left[{0} > {1}\right]", non_negative=True
)
def greater(x: Float[Tensor, "n ..."], y: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """1 where x > y, else 0, with broadcasting.

    Raises:
        ShapeError: if the shapes do not broadcast.
    """
    x, y = _aligned(x, y, "greater cannot compare")
    return torch.gt(x, y, out=_empty_for(x, y))


@primitive(
    "equal", (ANY_LAYER, ANY_LAYER_TOO), DYNAMIC, latex=r"\mathbf{{1}}\left[{0} = {1}\right]", commutative=True,
    non_negative=True,
)  # fmt: skip
def equal(x: Float[Tensor, "n ..."], y: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """1 where x = y, else 0, with broadcasting.

    Raises:
        ShapeError: if the shapes do not broadcast.
    """
    x, y = _aligned(x, y, "equal cannot compare")
    return torch.eq(x, y, out=_empty_for(x, y))


@primitive("log_positive", (ELEMENTWISE,), ELEMENTWISE, latex=r"\ln_+\left({0}\right)", passes=5.0)
def log_positive(x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """ln x where x > 0, else 0 (operator 7)."""
    return torch.where(x <= 0, torch.ones_like(x), x).log()


@primitive("abs_log", (ELEMENTWISE,), ELEMENTWISE, latex=r"\left|\ln {0}\right|", passes=5.0, non_negative=True)
def abs_log(x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """|ln x|; 0 where x = 0, NaN where x < 0 (operator 8)."""
    return torch.where(x == 0, torch.ones_like(x), x).log().abs()


@primitive("z_normalise", (ELEMENTWISE,), ELEMENTWISE, latex=r"z\left({0}\right)", passes=4.0)
def z_normalise(x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """(x - mean) / sd over all entries, unbiased sd; NaN becomes 0 (operator 12)."""
    flattened = flat(x)
    if flattened.shape[1] < 2:
        return torch.zeros_like(x)
    # not torch.std: it rounds a stack of one value in another way than a stack of several
    centred = flattened - flattened.mean(dim=1, keepdim=True)
    deviation = torch.linalg.vector_norm(centred, dim=1, keepdim=True) / (flattened.shape[1] - 1) ** 0.5
    return torch.nan_to_num(centred / deviation, nan=0.0, posinf=torch.inf, neginf=-torch.inf).reshape(x.shape)


@primitive("invert", (ELEMENTWISE,), ELEMENTWISE, latex=r"\frac{{1}}{{{0}}}")
def invert(x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """1 / x; infinite at 0 (operator 16)."""
    return 1.0 / x


@primitive(
    "element_norm", (ANY_LAYER,), LAYER_SCALAR, latex=r"\left\|{0}\right\|_F", passes=2.0,
    sees=Aspect.MAGNITUDES, non_negative=True,
)  # fmt: skip
def element_norm(x: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    """Square root of the sum of squares over all entries (operator 18, ``frobenius_norm`` of any value)."""
    return torch.linalg.vector_norm(flat(x), dim=1)


def _matrices(x: Tensor, name: str) -> Tensor:
    if x.ndim < 3 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"{name} needs square matrices along the last two axes, got {tuple(x.shape[1:])} per layer")
    return x


@primitive("determinant", (ANY_LAYER,), DYNAMIC, latex=r"\det\left({0}\right)", passes=10.0)
def determinant(x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """Determinant over the last two axes (operator 19).

    Raises:
        ShapeError: if the last two axes are missing or differ.
    """
    return each_alike(torch.linalg.det, _matrices(x, "determinant"))


@primitive("log_determinant", (ANY_LAYER,), DYNAMIC, latex=r"\ln\det\left({0}\right)", passes=10.0)
def log_determinant(x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """ln of the determinant over the last two axes (operator 20).

    0 where the determinant is negative or NaN, -inf where it is 0; its logarithm is computed without the determinant,
    which would leave the range of float32.

    Raises:
        ShapeError: if the last two axes are missing or differ.
    """
    found = each_alike(lambda m: torch.stack(torch.linalg.slogdet(m), dim=-1), _matrices(x, "log_determinant"))
    signs, logs = found.unbind(dim=-1)
    return torch.where((signs < 0) | logs.isnan(), torch.zeros_like(logs), logs)


def _gram_of_first_axis(x: Tensor) -> Tensor:
    """(n, d0, ...) -> (n, d0, d0) in float64: A Aᵀ with A the value reshaped to (d0, -1)."""
    return row_products(rows(x).double())


@primitive("symmetric_eigen_ratio", (ANY_LAYER,), LAYER_SCALAR, latex=r"\rho_s\left({0}\right)", passes=20.0)
def symmetric_eigen_ratio(x: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    """Largest over smallest eigenvalue of G + Gᵀ, G = A Aᵀ; 0 for a scalar (operator 21).

    A is the value reshaped to (d0, -1). NaN if it is not finite; noise if G is singular, as published.
    """
    if x.ndim == 1:
        return torch.zeros_like(x)
    gram = _gram_of_first_axis(x)
    values = spectrum(gram + gram.mT)
    return (values[:, -1] / values[:, 0]).to(x.dtype)


@primitive("eigen_ratio", (ANY_LAYER,), LAYER_SCALAR, latex=r"\rho\left({0}\right)", passes=40.0)
def eigen_ratio(x: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    """Real part of the last over that of the first eigenvalue of A Aᵀ; 0 for a scalar (operator 22).

    A is the value reshaped to (d0, -1); the eigenvalues keep the solver's order. NaN if it is not finite.
    """
    if x.ndim == 1:
        return torch.zeros_like(x)
    values = general_spectrum(_gram_of_first_axis(x)).real
    return (values[:, -1] / values[:, 0]).to(x.dtype)


@primitive("element_mean", (ANY_LAYER,), LAYER_SCALAR, latex=r"\overline{{{0}}}")
def element_mean(x: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    """Sum over all entries divided by their number (operator 23, and the reduction that ends every paper program)."""
    return flat(x).mean(dim=1)


@primitive(
    "element_mean_abs", (ANY_LAYER,), LAYER_SCALAR, latex=r"\overline{{\left|{0}\right|}}", passes=2.0,
    sees=Aspect.MAGNITUDES, non_negative=True, merges=(element_mean, absolute),
)  # fmt: skip
def element_mean_abs(x: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    """Mean magnitude over all entries (operator 24)."""
    return flat(x).abs().mean(dim=1)


@primitive(
    "hamming",
    (ANY_LAYER, ANY_LAYER_TOO),
    LAYER_SCALAR,
    latex=r"\mathrm{{ham}}\left({0}, {1}\right)",
    commutative=True,
    passes=4.0,
    non_negative=True,
)
def hamming(x: Float[Tensor, "n ..."], y: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    """Number of positions at which [x > 0] and [y > 0] differ, both flattened (operator 25).

    Raises:
        ShapeError: if they have different numbers of entries.
    """
    x, y = flat(x), flat(y)
    if x.shape != y.shape:
        raise ShapeError(f"hamming needs equal numbers of entries, got {x.shape[1]} and {y.shape[1]} per layer")
    return (is_above(x) - is_above(y)).abs().sum(dim=1)


@primitive(
    "kl_divergence", (ANY_LAYER, ANY_LAYER_TOO), LAYER_SCALAR, latex=r"\mathrm{{KL}}\left({0}, {1}\right)", passes=6.0
)
def kl_divergence(x: Float[Tensor, "n ..."], y: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    """Σ y (ln y - x) over the length of the first axis; y = 0 gives 0, y < 0 NaN (operator 26).

    Raises:
        ShapeError: if the shapes do not broadcast.
    """
    x, y = _aligned(x, y, "kl_divergence cannot broadcast")
    terms = torch.xlogy(y, y) - x * y
    length = terms.shape[1] if terms.ndim > 1 else 1
    return flat(terms).sum(dim=1) / length


@primitive(
    "cosine_similarity",
    (ANY_LAYER, ANY_LAYER_TOO),
    LAYER_SCALAR,
    latex=r"\mathrm{{cos}}\left({0}, {1}\right)",
    commutative=True,
    passes=5.0,
)
def cosine_similarity(x: Float[Tensor, "n ..."], y: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    """Sum over the first axis of the cosines between rows; 0 with a scalar (operator 27).

    Each value is reshaped to (d0, -1).

    Raises:
        ShapeError: if the reshaped values differ in shape.
    """
    if x.ndim == 1 or y.ndim == 1:
        return x.new_zeros(x.shape[0])
    x, y = x.reshape(x.shape[0], x.shape[1], -1), y.reshape(y.shape[0], y.shape[1], -1)
    if x.shape != y.shape:
        raise ShapeError(f"cosine_similarity needs equal shapes, got {tuple(x.shape[1:])} and {tuple(y.shape[1:])}")
    return torch.nn.functional.cosine_similarity(x, y, dim=2).sum(dim=1)


@primitive(
    "softmax", (ELEMENTWISE,), ELEMENTWISE, latex=r"\mathrm{{softmax}}\left({0}\right)", passes=6.0, non_negative=True
)
def softmax(x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """Softmax along the axis older torch chose by itself (operator 28).

    That is the first axis of values with 0, 1 or 3 axes, else the second.
    """
    axes = x.ndim - 1
    if axes == 0:
        return torch.ones_like(x)
    axis = 1 if axes in (1, 3) else 2
    return x.movedim(axis, -1).softmax(dim=-1).movedim(-1, axis)  # along another axis, rounding depends on the stack


@primitive(
    "ones_like", (ELEMENTWISE,), ELEMENTWISE, latex=r"\mathbf{{1}}\left({0}\right)", passes=0.5,
    sees=Aspect.SHAPE, non_negative=True,
)  # fmt: skip
def ones_like(x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """Ones of the same shape (operator 30)."""
    return torch.ones_like(x)


@primitive(
    "zeros_like", (ELEMENTWISE,), ELEMENTWISE, latex=r"\mathbf{{0}}\left({0}\right)", passes=0.5,
    sees=Aspect.SHAPE, non_negative=True,
)  # fmt: skip
def zeros_like(x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """Zeros of the same shape (operator 31)."""
    return torch.zeros_like(x)


@primitive(
    "positive", (ELEMENTWISE,), ELEMENTWISE, latex=r"\mathbf{{1}}\left[{0} > 0\right]",
    sees=Aspect.POSITIVES, non_negative=True,
)  # fmt: skip
def positive(x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """1 where x > 0, else 0 (operator 32)."""
    return is_above(x)


@primitive("negative", (ELEMENTWISE,), ELEMENTWISE, latex=r"\mathbf{{1}}\left[{0} < 0\right]", non_negative=True)
def negative(x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """1 where x < 0, else 0 (operator 33)."""
    return is_above(-x)


@primitive(
    "element_count", (ANY_LAYER,), LAYER_SCALAR, latex=r"\#\left({0}\right)", passes=0.0,
    sees=Aspect.SHAPE, non_negative=True,
)  # fmt: skip
def element_count(x: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    """Number of entries (operator 34)."""
    return x.new_full((x.shape[0],), float(flat(x).shape[1]))


PAPER_OPERATORS = (
    broadcast_add, broadcast_multiply, matmul, less, greater, equal, log_positive, abs_log, absolute, square, exp,
    z_normalise, relu, sign, heaviside, invert, element_norm, determinant, log_determinant, symmetric_eigen_ratio,
    eigen_ratio, element_mean, element_mean_abs, hamming, kl_divergence, cosine_similarity, softmax, sigmoid,
    ones_like, zeros_like, positive, negative, element_count,
)  # fmt: skip

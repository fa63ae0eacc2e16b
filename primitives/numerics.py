"""The numerics policy: the guards and the few helpers that operators share, in one place.

Guards are smooth closed forms that SymPy can write exactly, so simplification cannot change a meaning. The constants
come from the measured range of the statistics: gradients of a freshly initialised network go down to about 1e-8 in
magnitude, activations up to about 1e3; `LOG_FLOOR` and `DIVISION_FLOOR` lie well below the former.

This module imports torch and the standard library only: exported proxies carry its source.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

LOG_FLOOR = 1e-12
"""Added inside logarithms; the smallest value of ``log`` is ln 1e-12 = -27.6."""

DIVISION_FLOOR = 1e-10
"""``x / y`` is ``x y / (y**2 + DIVISION_FLOOR**2)``: exact to 1e-6 for ``1e-7 < |y| < 1e18``, 0 at ``y = 0``."""

SPECTRUM_FLOOR = 1e-5
"""Added to eigenvalues before logarithms and reciprocals, the constant of the Jacobian-covariance estimator."""

_LINE = 16
"""Elements of single precision that fill the widest register, and a line of the cache, of a CPU."""


def flat(x: Tensor) -> Tensor:
    """(n, ...) -> (n, elements): everything but the leading axis in one."""
    return x.reshape(x.shape[0], -1)


def is_above(x: Tensor, threshold: float | Tensor = 0.0) -> Tensor:
    """1 where ``x > threshold``, else 0 (also for NaN), in the dtype of `x`; five times as fast as by way of a mask."""
    return torch.gt(x, threshold, out=torch.empty_like(x))


def deviation(x: Tensor) -> Tensor:
    """(n, elements) -> (n,) population standard deviation, by two passes."""
    centred = x - x.mean(dim=1, keepdim=True)
    return torch.linalg.vector_norm(centred, dim=1) / x.shape[1] ** 0.5


def rows(x: Tensor) -> Tensor:
    """(n, d, ...) -> (n, d, features): one row per sample or channel."""
    return x.reshape(x.shape[0], x.shape[1], -1)


def per_item(values: Tensor, like: Tensor) -> Tensor:
    """(n,) -> (n, 1, ..., 1), ready to combine with `like`, an (n, ...) tensor."""
    return values.reshape(values.shape[0], *([1] * (like.ndim - 1)))


def centred_rows(x: Tensor) -> Tensor:
    """(n, d, features) with the mean of each row removed."""
    return x - x.mean(dim=2, keepdim=True)


def row_products(x: Tensor) -> Tensor:
    """(n, d, features) -> (n, d, d) inner products between rows; the same bits in whatever company a matrix is.

    Matrix multiplication on a CPU takes another path, and rounds differently, if a matrix does not begin at a multiple
    of so many bytes. Zeros at the end of the rows put every matrix of a stack at such an address.
    """
    missing = -x.shape[2] % _LINE
    x = _at_line(torch.nn.functional.pad(x, (0, missing)) if missing else x)
    return x @ x.mT


def products(x: Tensor, y: Tensor) -> Tensor:
    """(..., a, b) and (..., b, c) -> (..., a, c) matrix products, with the same bits in whatever company; see above."""
    a, b, c = *x.shape[-2:], y.shape[-1]
    if a * b % _LINE == 0 and b * c % _LINE == 0 and a * c % _LINE == 0:
        return _at_line(x) @ _at_line(y)
    x = torch.nn.functional.pad(x, (0, -b % _LINE))
    y = torch.nn.functional.pad(y, (0, -c % _LINE, 0, -b % _LINE))
    return (_at_line(x) @ _at_line(y))[..., :c]


def _at_line(x: Tensor) -> Tensor:
    """The same values, contiguous from a multiple of a line on; nothing is copied if they are that already."""
    is_there = x.is_contiguous() and x.data_ptr() % (_LINE * x.element_size()) == 0
    return x if is_there else x.clone(memory_format=torch.contiguous_format)


def row_cosines(x: Tensor) -> Tensor:
    """(n, d, features) -> (n, d, d) cosines between rows; 0 with a row of zeros."""
    gram = row_products(x)
    lengths = torch.diagonal(gram, dim1=1, dim2=2).sqrt()
    scales = lengths / (lengths.square() + DIVISION_FLOOR**2)
    return gram * scales[:, :, None] * scales[:, None, :]


def reciprocal_length(x: Tensor) -> Tensor:
    """(n, elements) -> (n,) one over the Euclidean length; 0 for a vector of zeros."""
    length = torch.linalg.vector_norm(x, dim=1)
    return length / (length * length + DIVISION_FLOOR**2)


def spectrum(matrices: Tensor) -> Tensor:
    """(n, d, d) symmetric -> (n, d) eigenvalues in float64, ascending; NaN for a matrix that is not finite."""
    return _eigenvalues(matrices, torch.linalg.eigvalsh)


def general_spectrum(matrices: Tensor) -> Tensor:
    """(n, d, d) -> (n, d) complex eigenvalues in the solver's order; NaN for a matrix that is not finite."""
    return _eigenvalues(matrices, torch.linalg.eigvals)


def _eigenvalues(matrices: Tensor, solve: Callable[[Tensor], Tensor]) -> Tensor:
    """`solve` of each matrix of a stack in float64, so that one bad matrix harms no other."""
    finite = matrices.isfinite().all(dim=2).all(dim=1)
    safe = torch.where(finite[:, None, None], matrices, torch.eye(matrices.shape[1], device=matrices.device)).double()
    try:
        values = each_alike(solve, safe)
    except torch.linalg.LinAlgError:  # one matrix of the stack did not converge: find out which
        values = torch.cat([_eigenvalues_of_one(matrix[None], solve) for matrix in safe])
    return torch.where(finite[:, None], values, torch.full_like(values, torch.nan))


def _eigenvalues_of_one(matrix: Tensor, solve: Callable[[Tensor], Tensor]) -> Tensor:
    try:
        return solve(matrix)
    except torch.linalg.LinAlgError:
        return torch.full_like(matrix[:, 0], torch.nan)


def log_abs_det(matrices: Tensor) -> Tensor:
    """(n, d, d) -> (n,) ln |det| in float64; -inf if singular, NaN if not finite."""
    return each_alike(lambda stack: torch.linalg.slogdet(stack).logabsdet, matrices.double())


def each_alike(solve: Callable[[Tensor], Tensor], matrices: Tensor) -> Tensor:
    """`solve` of each matrix of a stack (..., d, d), with the same bits in whatever company a matrix is.

    For the reason `row_products` gives: if d is odd, every second matrix of a stack begins between two multiples of 16
    bytes. Then identities are put there.

    Args:
        solve: from (..., d, d) to (..., *any shape).
        matrices: the stack.
    """
    if matrices.shape[-1] % 2 == 0:
        return solve(matrices)
    identities = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device).expand_as(matrices)
    return solve(torch.stack((matrices, identities), dim=-3)).select(matrices.ndim - 2, 0)


def segment_sum(values: Tensor, network: Tensor, n_networks: int) -> Tensor:
    """(n_layers, ...) -> (n_networks, ...): sum of each network's layers, in order of the layers."""
    total = values.new_zeros((n_networks, *values.shape[1:]))
    return total.index_add(0, network, values)


def segment_extreme(values: Tensor, network: Tensor, n_networks: int, reduce: str) -> Tensor:
    """(n_layers, ...) -> (n_networks, ...): "amin" or "amax" of each network's layers; NaN without any or with NaN."""
    index = network.reshape(-1, *([1] * (values.ndim - 1))).expand_as(values)
    empty = values.new_full((n_networks, *values.shape[1:]), torch.nan)
    return empty.scatter_reduce(0, index, values, reduce=reduce, include_self=False)


def count_layers(network: Tensor, n_networks: int, like: Tensor) -> Tensor:
    """(n_networks, 1, ...) number of layers of each network, in the dtype of `like`; NaN where it is 0."""
    ones = torch.ones(network.shape[0], dtype=like.dtype, device=like.device)
    counts = segment_sum(ones, network, n_networks)
    counts = torch.where(counts > 0, counts, torch.full_like(counts, torch.nan))
    return per_item(counts, like)

"""Contracts for a search space, a benchmark, an estimator or an operator of one's own; pytest is not needed."""

from eznas.testing.benchmarks import check_benchmark
from eznas.testing.devices import pretended_device
from eznas.testing.estimators import check_estimator
from eznas.testing.primitives import CHECKS, BrokenPromise, check_primitive
from eznas.testing.spaces import check_space

__all__ = [
    "CHECKS", "BrokenPromise", "check_benchmark", "check_estimator", "check_primitive", "check_space",
    "pretended_device",
]  # fmt: skip

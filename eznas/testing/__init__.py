"""Contracts that a search space, a benchmark or an operator of one's own can be held to; pytest is not needed."""

from eznas.testing.benchmarks import check_benchmark
from eznas.testing.primitives import CHECKS, BrokenPromise, check_primitive
from eznas.testing.spaces import check_space

__all__ = ["CHECKS", "BrokenPromise", "check_benchmark", "check_primitive", "check_space"]

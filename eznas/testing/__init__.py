"""Contracts that a search space, a benchmark, an estimator or an operator of one's own can be held to."""

from eznas.testing.benchmarks import check_benchmark
from eznas.testing.estimators import check_estimator
from eznas.testing.spaces import check_space

__all__ = ["check_benchmark", "check_estimator", "check_space"]

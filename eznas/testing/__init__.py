"""Contracts of the parts that can be added, as checks to run on your own; pytest is not needed."""

from eznas.testing.benchmarks import check_benchmark

__all__ = ["check_benchmark"]

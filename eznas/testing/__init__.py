"""Contracts of the parts that can be added, as checks to run on your own; pytest is not needed."""

from eznas.testing.spaces import check_space

__all__ = ["check_space"]

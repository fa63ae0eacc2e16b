"""Simplification: a smaller program of equal value, found within a deadline, certified on real scores."""

from eznas.simplification.certify import certify
from eznas.simplification.simplification import Outcome, Simplification, simplify

__all__ = ["Outcome", "Simplification", "certify", "simplify"]

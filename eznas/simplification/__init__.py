"""Simplification: a smaller program of equal value, found within a deadline, certified on real scores.

`simplify` finds it by algebra, `settle` by values on networks; `certify` has the last word on both.
`divides_plainly` says whether divisions are plain fractions on data.
"""

from eznas.simplification.certify import certify
from eznas.simplification.division import divides_plainly
from eznas.simplification.settle import settle
from eznas.simplification.simplification import Outcome, Simplification, simplify

__all__ = ["Outcome", "Simplification", "certify", "divides_plainly", "settle", "simplify"]

"""Evolution: programs drawn, varied, selected and recorded.

`Search` is the loop, `Assessor` ranks its populations; `Grammar`, `Variation` and the selection functions are its
parts. DEAP stays behind `_deap`.
"""

from eznas.evolution.assessor import Assessor, check_objectives
from eznas.evolution.combination import Combiner
from eznas.evolution.grammar import Grammar
from eznas.evolution.search import Search, check_seeds
from eznas.evolution.selection import (
    hypervolume,
    niches,
    non_dominated,
    select_nsga2,
    select_survivors,
    select_tournament,
)
from eznas.evolution.variation import Offspring, Variation

__all__ = [
    "Assessor", "Combiner", "Grammar", "Offspring", "Search", "Variation", "check_objectives",
    "check_seeds", "hypervolume", "niches", "non_dominated", "select_nsga2", "select_survivors",
    "select_tournament",
]  # fmt: skip

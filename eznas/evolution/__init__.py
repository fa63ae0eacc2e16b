"""Evolution: programs drawn, varied, selected and recorded.

`Search` is the loop, `Assessor` ranks its populations, `Journal` and `RunFolder` keep it on disk; `Grammar`,
`Variation` and the selection functions are its parts. DEAP stays behind `_deap`.
"""

from eznas.evolution.assessor import Assessor, Stopped, check_objectives
from eznas.evolution.candidate import Candidate
from eznas.evolution.combination import Combiner
from eznas.evolution.grammar import Grammar
from eznas.evolution.journal import Journal, SearchState, hall_of_fame
from eznas.evolution.run_folder import RunFolder
from eznas.evolution.search import GenerationSummary, Search, is_finished
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
    "Assessor", "Candidate", "Combiner", "GenerationSummary", "Grammar", "Journal", "Offspring", "RunFolder", "Search",
    "SearchState", "Stopped", "Variation", "check_objectives", "hall_of_fame", "hypervolume", "is_finished", "niches",
    "non_dominated", "select_nsga2", "select_survivors", "select_tournament",
]  # fmt: skip

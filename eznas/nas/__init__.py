"""Architecture searches with zero-cost scores, simulated on recorded accuracies.

* `table`: `SearchTable`, what a search looks up; `search_table` makes one of NAS-Bench-201.
* `scores`: scores from a file or in closed form, ties and failures.
* `searches`: score-only and random search, regularised evolution, AREA, warm-up, aging evolution, move proposal.
* `repeats`: a search many times over, and what its picks are worth.
* `protocols`: searches by name with their published settings.
"""

from __future__ import annotations

from eznas.nas.protocols import (
    CLOSED_FORM,
    PROTOCOLS,
    Guide,
    Protocol,
    clock_of,
    compare,
    guides_named,
    log_rank_sum,
    protocol_named,
)
from eznas.nas.repeats import Repeats, Search, Summary, repeat, repeat_once
from eznas.nas.scores import best, best_first, convolution_counts, parameter_counts, read_scores, read_scoring_seconds
from eznas.nas.searches import (
    Budget,
    Outcome,
    Streams,
    aging_evolution,
    area,
    move_proposal,
    optimum_search,
    random_search,
    regularised_evolution,
    score_search,
    warm_up_evolution,
    warm_up_random,
)
from eznas.nas.table import SearchTable, Training, search_table

__all__ = [
    "CLOSED_FORM",
    "PROTOCOLS",
    "Budget",
    "Guide",
    "Outcome",
    "Protocol",
    "Repeats",
    "Search",
    "SearchTable",
    "Streams",
    "Summary",
    "Training",
    "aging_evolution",
    "area",
    "best",
    "best_first",
    "clock_of",
    "compare",
    "convolution_counts",
    "guides_named",
    "log_rank_sum",
    "move_proposal",
    "optimum_search",
    "parameter_counts",
    "protocol_named",
    "random_search",
    "read_scores",
    "read_scoring_seconds",
    "regularised_evolution",
    "repeat",
    "repeat_once",
    "score_search",
    "search_table",
    "warm_up_evolution",
    "warm_up_random",
]

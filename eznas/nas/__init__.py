"""Architecture searches with zero-cost scores, simulated on recorded accuracies.

* `table`: `SearchTable`, what a search looks up; `search_table` makes one of a benchmark.
* `scores`: scores from a file or in closed form, ties, failures, and tests between repeated scores.
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
    Settings,
    budget_of,
    check_options,
    clock_of,
    compare,
    guides_named,
    log_rank_sum,
    protocol_named,
)
from eznas.nas.repeats import Repeats, Search, Summary, repeat, repeat_once
from eznas.nas.scores import (
    MIN_DRAWS,
    best,
    best_by_test,
    best_first,
    convolution_counts,
    parameter_counts,
    read_scores,
    read_scoring_seconds,
)
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
    score_evolution,
    score_search,
    warm_up_evolution,
    warm_up_random,
)
from eznas.nas.table import SearchTable, Training, nearest, search_table

__all__ = [
    "CLOSED_FORM",
    "MIN_DRAWS",
    "PROTOCOLS",
    "Budget",
    "Guide",
    "Outcome",
    "Protocol",
    "Repeats",
    "Search",
    "SearchTable",
    "Settings",
    "Streams",
    "Summary",
    "Training",
    "aging_evolution",
    "area",
    "best",
    "best_by_test",
    "best_first",
    "budget_of",
    "check_options",
    "clock_of",
    "compare",
    "convolution_counts",
    "guides_named",
    "log_rank_sum",
    "move_proposal",
    "nearest",
    "optimum_search",
    "parameter_counts",
    "protocol_named",
    "random_search",
    "read_scores",
    "read_scoring_seconds",
    "regularised_evolution",
    "repeat",
    "repeat_once",
    "score_evolution",
    "score_search",
    "search_table",
    "warm_up_evolution",
    "warm_up_random",
]

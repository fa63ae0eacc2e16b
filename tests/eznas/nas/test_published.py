"""NAS-Bench-201's own numbers: what a search on its official accuracies must give.

Expected: 500 runs with other random numbers, see the parameter and optimum rows of `EXPECTED`. 2,000 repeats must lie
within 4 standard errors of the mean of those 500 runs.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from eznas.benchmarks import DATASETS, Benchmark, Split
from eznas.nas import optimum_search, parameter_counts, repeat, score_search, search_table

COLUMNS = [(dataset, split) for dataset in DATASETS for split in Split]
POPULATION = [(83.35, 12.74), (87.06, 12.93), (61.33, 12.18), (61.41, 12.17), (33.51, 9.53), (33.59, 9.51)]
EXPECTED = {
    ("optimum", 10): [(89.73, 0.67), (93.07, 0.55), (69.86, 1.13), (69.79, 1.16), (43.30, 1.79), (43.28, 1.80)],
    ("optimum", 100): [(90.77, 0.31), (93.78, 0.30), (71.54, 0.74), (71.41, 0.88), (45.63, 0.69), (45.46, 0.80)],
    ("optimum", 1000): [(91.21, 0.17), (94.04, 0.22), (72.76, 0.39), (72.72, 0.54), (46.71, 0.34), (46.36, 0.46)],
    ("params", 10): [(88.73, 3.74), (92.36, 3.85), (68.46, 3.98), (68.54, 3.95), (40.78, 4.20), (40.80, 4.19)],
    ("params", 100): [(89.52, 0.80), (93.19, 0.56), (69.93, 1.55), (69.98, 1.51), (41.92, 3.51), (41.90, 3.40)],
    ("params", 1000): [(89.89, 0.52), (93.49, 0.35), (70.58, 0.81), (70.55, 0.91), (41.32, 3.03), (41.56, 2.54)],
}


def test_the_population(official: Benchmark) -> None:
    table = search_table(official)
    assert list(table.reported) == COLUMNS
    for column, (mean, std) in zip(COLUMNS, POPULATION, strict=True):
        values = table.reported[column]
        assert (round(values.mean(), 2), round(values.std(), 2)) == (mean, std)


def test_the_best_of_the_benchmark(official: Benchmark) -> None:
    reported = search_table(official).reported
    best = [(int(v.argmax()), round(float(v.max()), 2)) for (_, split), v in reported.items() if split is Split.TEST]
    assert best == [(6111, 94.37), (9930, 73.51), (857, 47.31)]


@pytest.mark.parametrize(("method", "n"), EXPECTED)
def test_score_only_searches(official: Benchmark, method: str, n: int) -> None:
    tables = {dataset: search_table(official, dataset) for dataset in DATASETS}
    scores = parameter_counts(official.architectures)
    for (dataset, split), (mean, std) in zip(COLUMNS, EXPECTED[method, n], strict=True):
        table = tables[dataset]  # the optimum sees the data set it is reported on
        search = partial(optimum_search, table) if method == "optimum" else partial(score_search, table, scores)
        found = repeat(partial(search, n=n), 2_000, seed=0).summary(table, dataset, split)
        assert abs(found.mean - mean) < 4 * std / np.sqrt(500)
        assert found.low is not None
        assert found.high is not None
        assert found.low < found.mean < found.high

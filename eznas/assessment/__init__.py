"""Assessment: what is known of a proxy on a sample of networks, by the criteria of the field, each with its interval.

`measure` is the one way from scores and accuracies to figures that are shown; `measure_many` does it for all proxies of
a table on the same resamples, and `paired_difference` says by how much one is better than another.

* `standing`, with `picks`: the criteria of the study of estimators; `bias` by size, by operation and one by one;
  `stability` over seeds and images.
* `assessment`: all of these for several proxies beside baselines.
"""

from eznas.assessment.measure import Difference, compare_many, measure, measure_many, paired_difference
from eznas.fitness.measurement import CRITERIA, Criterion, Measurement

__all__ = [
    "CRITERIA", "Criterion", "Difference", "Measurement", "compare_many", "measure", "measure_many",
    "paired_difference",
]  # fmt: skip

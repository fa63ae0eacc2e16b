"""Assessment: what is known of a proxy on a sample of networks, by the criteria of the field, each with its interval.

`measure` is the one way from scores and accuracies to figures that are shown; `measure_many` does it for all proxies of
a table on the same resamples, and `paired_difference` says by how much one is better than another. `ablate` says which
part of a formula carries its ranking, `read_badges` what a proxy does not mind.
"""

from eznas.assessment.ablation import Ablation, ablate
from eznas.assessment.ablation import Part as AblatedPart
from eznas.assessment.badges import BADGES, Badge, Reading, read_badges
from eznas.assessment.measure import measure, measure_many, paired_difference
from eznas.fitness.measurement import CRITERIA, Criterion, Measurement

__all__ = [
    "BADGES", "CRITERIA", "AblatedPart", "Ablation", "Badge", "Criterion", "Measurement", "Reading", "ablate",
    "measure", "measure_many", "paired_difference", "read_badges",
]  # fmt: skip

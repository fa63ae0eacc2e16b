"""Published zero-cost estimators: the yardsticks beside which an evolved proxy is measured.

* `estimator`: what an estimator is.
* `zerocost`: parameter and MAC counts, synflow, jacob_cov, NASWOT; `PUBLISHED` lists them, `by_name` finds one.
* `known`: published proxies that the language can express, as programs.
* `scoring`: programs and estimators on networks never seen before.
"""

from __future__ import annotations

from eznas.proxies.estimator import Estimator, ScoreFunction
from eznas.proxies.known import KNOWN_PROGRAMS, KnownProgram
from eznas.proxies.scoring import Conditions, ProxyScores, score_architectures
from eznas.proxies.zerocost import PUBLISHED, by_name, jacob_cov, mac_count, naswot, parameter_count, synflow

__all__ = [
    "KNOWN_PROGRAMS",
    "PUBLISHED",
    "Conditions",
    "Estimator",
    "KnownProgram",
    "ProxyScores",
    "ScoreFunction",
    "by_name",
    "jacob_cov",
    "mac_count",
    "naswot",
    "parameter_count",
    "score_architectures",
    "synflow",
]

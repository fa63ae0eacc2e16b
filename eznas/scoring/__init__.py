"""Scoring: proxies on networks never seen before."""

from __future__ import annotations

from eznas.scoring.networks import Conditions, ProxyScores, score_architectures

__all__ = [
    "Conditions", "ProxyScores", "score_architectures",
]  # fmt: skip

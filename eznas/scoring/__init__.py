"""Scoring: proxies on networks, each failure a row with its reason.

* `networks`: scores of proxies on networks, with the workers of a pool.
* `resolve`: what settings mean for some networks: conditions, covariates.
* `request`: what a user asks for by names; `file`: scores that grow network by network; `given`: scores of others.
"""

from __future__ import annotations

from eznas.scoring.file import ScoreFile, ScoresSettings, rows_of
from eznas.scoring.given import GivenScores, names_file, read_given
from eznas.scoring.networks import NetworkScorer, Scores, score_networks
from eznas.scoring.request import Request, one_space, reference_remedy, request_for, split_names
from eznas.scoring.resolve import counted, covariates_from, covariates_of, resolved_conditions

__all__ = [
    "GivenScores", "NetworkScorer", "Request", "ScoreFile", "Scores", "ScoresSettings", "counted", "covariates_from",
    "covariates_of", "names_file", "one_space", "read_given", "reference_remedy", "request_for", "resolved_conditions",
    "rows_of", "score_networks", "split_names",
]  # fmt: skip

"""Runs: everything a run was, is and found, in one folder that survives being killed.

* `config`: the settings of a run.
* `folder`: paths and safe writing.
* `candidate`, `journal`: what each generation found.
* `choice`: choosing from a finished front.
* `interim`: what was found up to now; `stopping`: when a search is finished, and why.
* `records`: what the growing files hold; `front`: what a run found; `badges`: what its proxies do not mind;
  `history`: all of these, read for its report.
"""

from __future__ import annotations

from eznas.runs.candidate import Candidate
from eznas.runs.choice import Choice, chosen
from eznas.runs.folder import RunFolder
from eznas.runs.front import Entry, Front, PartCard, RunCard, SampleCard, load_front
from eznas.runs.journal import Journal, SearchState, hall_of_fame

__all__ = [
    "Candidate", "Choice", "Entry", "Front", "Journal", "PartCard", "RunCard", "RunFolder", "SampleCard", "SearchState",
    "chosen", "hall_of_fame", "load_front",
]  # fmt: skip

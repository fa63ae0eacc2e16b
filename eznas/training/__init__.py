"""Training networks for real, to make benchmarks: one (`train`), many (`campaign`), their worth (`summary`)."""

from __future__ import annotations

from eznas.training.campaign import BuildRequest, Trainer, build_benchmark, drawn_by_size, planned, title_of
from eznas.training.summary import summaries, summary
from eznas.training.train import Trained, accuracy, train

__all__ = [
    "BuildRequest", "Trained", "Trainer", "accuracy", "build_benchmark", "drawn_by_size", "planned", "summaries",
    "summary", "title_of", "train",
]  # fmt: skip

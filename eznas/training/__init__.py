"""Training networks for real, to make benchmarks: images (`images`), one training (`train`), many (`campaign`)."""

from __future__ import annotations

from eznas.training.campaign import BuildRequest, Trainer, build_benchmark, drawn_by_size, planned, title_of
from eznas.training.images import TrainingImages, training_images
from eznas.training.summary import summaries, summary
from eznas.training.train import Trained, accuracy, augmented, train

__all__ = [
    "BuildRequest", "Trained", "Trainer", "TrainingImages", "accuracy", "augmented", "build_benchmark", "drawn_by_size",
    "planned", "summaries", "summary", "title_of", "train", "training_images",
]  # fmt: skip

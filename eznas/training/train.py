"""Training a network on labelled images: one recipe for every network, and what it says after some epochs."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eznas.benchmarks import Recipe
from eznas.conditions import TrainingImages, augmented
from eznas.randomness import stream

EVALUATION_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training came to.

    Attributes:
        accuracies: percent of the validation images, after each of `Recipe.measured`; those of chance, if the loss
            was not finite from some step on, after which nothing was trained.
        seconds: of training, without validation.
        diverged: whether the loss was not finite.
    """

    accuracies: tuple[float, ...]
    seconds: float
    diverged: bool


def train(network: nn.Module, images: TrainingImages, recipe: Recipe, seed: int) -> Trained:
    """Train a network in place.

    Args:
        network: at initialisation; it must take the images and return logits.
        images: see `TrainingImages`; on the device of the network.
        recipe: how.
        seed: of the order of images and their changes; the stream is ``training``. Whatever the network itself draws
            comes from torch's global generator, which is seeded with it and put back.

    Returns:
        The accuracies. The same arguments give the same on the same machine.
    """
    device = images.train.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        return _train(network, images, recipe, stream(seed, "training"))


def _train(network: nn.Module, images: TrainingImages, recipe: Recipe, rng: np.random.Generator) -> Trained:
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster on a core
    n = len(images.train)
    n_steps = recipe.epochs * math.ceil(n / recipe.batch_size)
    optimiser = _optimiser(network, recipe)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    accuracies: list[float] = []
    step, seconds = 0, 0.0
    for epoch in range(1, recipe.epochs + 1):
        start = time.perf_counter()
        network.train()
        order = rng.permutation(n)
        for first in range(0, n, recipe.batch_size):
            batch = torch.as_tensor(order[first : first + recipe.batch_size], device=images.train.device)
            for group in optimiser.param_groups:
                group["lr"] = recipe.learning_rate * _share(step, n_steps, recipe.warm_up)
            inputs = augmented(images.train[batch], rng, shift=recipe.shift, flip=recipe.flip)
            loss = F.cross_entropy(network(inputs), images.train_labels[batch], label_smoothing=recipe.smoothing)
            if not math.isfinite(loss.item()):
                chance = 100.0 / (int(images.train_labels.max()) + 1)
                left = len(recipe.measured) - len(accuracies)
                return Trained((*accuracies, *[chance] * left), seconds + time.perf_counter() - start, True)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, recipe.clip)
            optimiser.step()
            step += 1
        seconds += time.perf_counter() - start
        if epoch in recipe.measured:
            accuracies.append(accuracy(network, images.validation, images.validation_labels))
    return Trained(tuple(accuracies), seconds, False)


def _optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    decayed = [p for p in network.parameters() if p.requires_grad and p.dim() > 1]
    others = [p for p in network.parameters() if p.requires_grad and p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(
        [group for group in groups if group["params"]], lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=True
    )


def _share(step: int, n_steps: int, warm_up: float) -> float:
    """Of the largest learning rate, that of a step."""
    n_warm = warm_up * n_steps
    if step < n_warm:
        return (step + 1) / (n_warm + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - n_warm) / (n_steps - n_warm)))


def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Percent of the images that a network in evaluation mode puts into their classes; it stays in that mode."""
    network.eval()
    with torch.no_grad():
        n_right = sum(
            int((network(images[i : i + EVALUATION_BATCH]).argmax(1) == labels[i : i + EVALUATION_BATCH]).sum())
            for i in range(0, len(images), EVALUATION_BATCH)
        )
    return 100.0 * n_right / len(images)
